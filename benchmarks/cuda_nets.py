"""Integer graphs on a GPU: equality with `ir.run` on every value, and microseconds beside torch in float16 and torch._int_mm.

    [QSEARCH_DATA=...] python -m benchmarks.cuda_nets build FOLDER [--graphs GRAPHS] [--nets resnet8-w8a8 ...] [--arch sm_90]
    python -m benchmarks.cuda_nets run FOLDER --json FILE [--rounds 15] [--limit 150]

build needs TVM and nvcc but no GPU: it compiles every op, products of many shapes, layers, and the nets of GRAPHS (what
benchmarks.cpu_graphs has made; with QSEARCH_DATA their float files come along), and keeps samples with their answers.  run needs the
driver, numpy and torch, but no TVM: FOLDER can be taken to the machine that has the GPU.  Both sides are replayed as CUDA graphs,
many calls in a row, data on the GPU.
"""
import argparse
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.cpu_turns import turns
from ir import Conv, Dense, Graph, Option, UserError, run
from ir.store import load_graph, load_json, save_json, save_text

NETS = ("resnet8-w8a8", "resnet8-mixed4", "resnet20-w8a8", "kws_ds_cnn_mlperf-w8a8", "mobilenet_v1_075-w8a8", "mobilenet_v1_075-mixed4", "vit-w8a8",
        "deit_tiny-w8a8")
BATCHES = (1, 32)
FEW = 4            # different samples of a net
IN_A_ROW = 20      # calls between two looks at the clock
CACHE = 150 << 20  # bytes of weights that no cache holds
SAMPLES = "samples.npz"
KIND = "cuda benchmark"


def layers() -> dict[str, Graph]:
    """Layers with their requant, channels last in and out."""
    from benchmarks.cpu_layers import channel_last, conv, dense
    from ir.example import example
    made = {"dense 128x768x3072": (dense(128, 768, 3072), "int8/uint8"), "dense 1024x4096x4096": (dense(1024, 4096, 4096), "int8/uint8"),
            "conv 3x3 64 56x56": (conv("", 64, 64, 3, 56), "int8/uint8"), "conv 3x3 64 56x56 int4": (conv("", 64, 64, 3, 56), "int4/uint8"),
            "conv 1x1 256 64 56x56": (conv("", 256, 64, 1, 56), "int8/uint8"),
            "depthwise 3x3 96 112x112": (conv("", 96, 96, 3, 112, 1, 96), "int8/uint8"),
            **{f"vector 4096x4096 {w}": (dense(1, 4096, 4096), f"{w}/uint8") for w in ("int8", "int4", "ternary")}}
    return {name: channel_last(example(layer, Option.parse(option))) for name, (layer, option) in made.items()}


def build(folder: Path, graphs: Path | None, nets, arch: str) -> None:
    """Everything into folder: one sub-folder a net or layer, and `ops` for all small graphs in one library."""
    import codegen
    folder.mkdir(parents=True, exist_ok=True)
    _build_ops(folder / "ops", arch)
    cases = {name: (g, 1) for name, g in layers().items()}
    if graphs:
        cases |= {name: (load_graph(graphs / name), FEW) for name in nets}
    for name, (g, few) in cases.items():
        out = folder / name.replace(" ", "_")
        print(f"{name} ...", file=sys.stderr)
        codegen.cuda.build(g, out, archs=(arch,))
        x = _samples(g, few)
        np.savez_compressed(out / SAMPLES, y=run(g, x), **(x if isinstance(x, dict) else {"x": x}))
        if name in nets and (floats := _floats(name.rsplit("-", 1)[0], graphs)):
            shutil.copy(floats, out / "net.onnx")
        save_json(out / "case.json", KIND, {"name": name, "net": name in nets, **({} if name in nets else _shape(g))})


def _floats(net: str, graphs: Path) -> Path | None:
    """The float file of a net, for torch; none for what is made of torch's own layers anyway, or where the data are not there."""
    if not os.environ.get("QSEARCH_DATA") or net == "deit_tiny":
        return None
    from benchmarks import cpu_graphs
    return cpu_graphs.float_onnx(net, graphs) if net in cpu_graphs.CASES else None


def _shape(g: Graph) -> dict:
    """What a peer must know of a layer."""
    op = next(n.op for n in g.nodes.values() if isinstance(n.op, Conv | Dense))
    conv = {"stride": op.stride, "padding": [p[0] for p in op.padding], "dilation": op.dilation, "groups": op.groups} if isinstance(op, Conv) else {}
    return {"input": g.inputs[0].type.shape, "weight": op.weight.shape, "conv": conv}


def _build_ops(out: Path, arch: str) -> None:
    """Graphs of one op and products of many shapes, in one library."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from op_cases import CASES
    from product_cases import PRODUCTS
    from strategies import samples

    from codegen.cuda.compiler import compiled, describe
    from codegen.cuda.program import program
    from codegen.cuda.source import source
    graphs = CASES | PRODUCTS
    programs = {name: program(g, f"g{i}_") for i, (name, g) in enumerate(graphs.items())}
    text, launches = source(*programs.values())
    out.mkdir(exist_ok=True)
    (out / "kernels.cu").write_text(text)
    (out / "kernels.fatbin").write_bytes(compiled(text, (arch,)))
    manifests, arrays = [], {}
    for i, ((name, p), ours) in enumerate(zip(programs.items(), launches)):
        x = samples(graphs[name], 40)
        x = x if isinstance(x, dict) else {"": x}
        manifests.append({**describe(graphs[name], p, ours, [arch]), "name": name})
        arrays |= {f"{i}/weights": p.blob(), f"{i}/y": run(graphs[name], x.get("", x)), **{f"{i}/x/{k}": v for k, v in x.items()}}
    np.savez_compressed(out / SAMPLES, **arrays)
    save_json(out / "ops.json", KIND, {"manifests": manifests})


def _samples(g: Graph, count: int):
    r = np.random.default_rng(0)
    x = {n.name: r.integers(n.type.lo, n.type.hi + 1, (count, *n.type.shape)) for n in g.inputs}
    return x if len(x) > 1 else next(iter(x.values()))


def check_ops(folder: Path, load: Callable | None = None) -> dict:
    """{"graphs", "values", "wrong"} of all small graphs, each with several numbers of samples."""
    from codegen.cuda.model import CudaModel
    image, manifests = (folder / "kernels.fatbin").read_bytes(), load_json(folder / "ops.json", KIND)["manifests"]
    values, wrong = 0, {}
    with np.load(folder / SAMPLES) as z:
        arrays = dict(z)
    for i, m in enumerate(manifests):
        model = (load or CudaModel)(image, arrays[f"{i}/weights"], m)
        x, y = {k.split("/", 2)[2]: v for k, v in arrays.items() if k.startswith(f"{i}/x/")}, arrays[f"{i}/y"]
        for count in (1, 5, 40):
            got = model(x[""][:count] if "" in x else {k: v[:count] for k, v in x.items()})
            values += got.size
            if bad := int((got != y[:count]).sum()):
                wrong[m["name"]] = wrong.get(m["name"], 0) + bad
        model.close()
    return {"graphs": len(manifests), "values": values, "wrong": wrong}


def measure(folder: Path, rounds: int, limit_s: float) -> dict:
    """One net or layer: values compared and wrong, and for each batch microseconds of a call by each way."""
    from codegen.cuda import load
    model, case = load(folder), load_json(folder / "case.json", KIND)
    with np.load(folder / SAMPLES) as z:
        x, y = z["x"], z["y"]
    copies = 1 if case["net"] else max(1, math.ceil(CACHE / (folder / "weights.bin").stat().st_size)) if case["name"].startswith("vector") else 1
    models = [model, *(load(folder) for _ in range(copies - 1))]
    found = {"name": case["name"], "values": 0, "wrong": 0, "us": {}}
    for batch in BATCHES:
        take = np.arange(batch) % len(x)
        for m in models:
            got = m(x[take])
            found["values"] += got.size
            found["wrong"] += int((got != y[take]).sum())
        found["us"][str(batch)] = _times(folder, case, models, batch, rounds, limit_s)
    for m in models:
        m.close()
    return found


def _times(folder: Path, case: dict, models: list, batch: int, rounds: int, limit_s: float) -> dict:
    from benchmarks import cuda_torch
    try:
        peers = (cuda_torch.layer_ways(case, batch, len(models)) if not case["net"] else cuda_torch.net_ways(folder / "net.onnx", batch)
                 if (folder / "net.onnx").is_file() or case["name"].startswith("deit_tiny") else {})
    except Exception as e:  # a peer that cannot be had must not cost our own figures
        print(f"{case['name']}: no peer: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}", file=sys.stderr)
        peers = {}
    plans = [m.plan(batch) for m in models]
    ways = {"ours": _row(cuda_torch.in_turns([p.run for p in plans]), models[0].gpu.wait),
            **{name: _row(call, cuda_torch.wait) for name, call in peers.items()}}
    return {name: {"median": t.us, "low": t.low, "high": t.high} for name, t in
            ((name, t.per(IN_A_ROW)) for name, t in turns(ways, rounds, 0.005, 0, limit_s).items())}


def _row(call: Callable[[], object], wait: Callable[[], None]) -> Callable[[], None]:
    """IN_A_ROW calls and their end."""
    def row():
        for _ in range(IN_A_ROW):
            call()
        wait()
    return row


def report(folder: Path, rounds: int, limit_s: float) -> dict:
    """Everything that build has put into folder, until limit_s seconds are over."""
    import torch

    from codegen.cuda.driver import Driver
    start = time.perf_counter()
    found = {"gpu": torch.cuda.get_device_name(), "arch": Driver().arch, "torch": torch.__version__, "ops": check_ops(folder / "ops"), "cases": []}
    cases = sorted(p.parent for p in folder.glob("*/case.json"))
    for i, case in enumerate(cases):
        left = limit_s - (time.perf_counter() - start)
        if left <= 0:
            found["left out"] = [c.name for c in cases[i:]]
            break
        found["cases"].append(measure(case, rounds, left / (len(cases) - i) / len(BATCHES) / 2))
        print(json.dumps(found["cases"][-1]), file=sys.stderr)
    return found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("build", "run"))
    p.add_argument("folder", type=Path)
    p.add_argument("--graphs", type=Path)
    p.add_argument("--nets", nargs="*", default=NETS)
    p.add_argument("--arch", default="sm_90")
    p.add_argument("--json", type=Path)
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--limit", type=float, default=150, help="seconds for all that is measured")
    args = p.parse_args()
    try:
        if args.what == "build":
            build(args.folder, args.graphs, args.nets, args.arch)
        else:
            text = json.dumps(report(args.folder, args.rounds, args.limit), indent=1)
            print(text)
            if args.json:
                save_text(args.json, text + "\n")
    except UserError as e:
        sys.exit(str(e))


if __name__ == "__main__":
    main()
