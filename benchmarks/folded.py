"""Networks as folded dataflow on an FPGA: accuracy, resources, routed clock and simulated cycles, beside published entries of MLPerf Tiny.

    QSEARCH_DATA=... python -m benchmarks.folded graphs FOLDER [--nets resnet8 ...]      plans and integer graphs (minutes)
    QSEARCH_DATA=... python -m benchmarks.folded run FOLDER --net resnet8 [--device ecp5-85k] [--cycles N] [--frames 3] [--no-route] [--json FILE]

graphs plans each net for few weight bits (calibration only) or imports it where it is a QONNX file.  run folds the net to a pace,
generates the design, simulates whole frames and compares every value of them, synthesizes, places and routes.
"""
import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hw
from benchmarks import real_data
from ir import Graph, UserError, run
from ir.store import load_graph, save_graph, save_text

EVERY = "ternary,int2,int3,int4,int5,int6,int8/uint8"


def digits() -> dict[str, np.ndarray]:
    """MNIST's test images as the TFC nets take them."""
    with np.load(real_data.root() / "mnist" / "mnist.npz") as z:
        return {"x": z["test_x"].reshape(-1, 1, 28, 28).astype(np.float32) / 255, "y": z["test_y"].astype(np.int64)}


def codes() -> dict[str, np.ndarray]:
    """For the keyword net of QONNX, whose data are not there: random codes of its input."""
    return {"x": np.random.default_rng(0).integers(-128, 128, (200, 490)).astype(np.float32)}


@dataclass(frozen=True)
class Case:
    """Where a net comes from, its samples, how its plan is made ("" for a QONNX file), and the pace asked for."""
    file: str
    data: Callable[[], dict[str, np.ndarray]]
    budget: str
    metric: str
    cycles: int


CASES = {"resnet8": Case("onnx/resnet8_cifar10_mlperf_tiny", real_data.cifar10_raw, "wbits=3", "kl", 73728),
         "kws_ds_cnn": Case("onnx/kws_ds_cnn_mlperf_tiny", real_data.keywords_tiny, "wbits=4", "kl", 20000),
         "ad_autoencoder": Case("onnx/ad_autoencoder", real_data.machines, "wbits=4", "output_mse", 2560),
         "tfc_1w1a": Case("mnist/qonnx/TFC_1W1A", digits, "", "", 784),
         "tfc_2w2a": Case("mnist/qonnx/TFC_2W2A", digits, "", "", 784),
         "kws_mlp_w3a3": Case("fpga_nets/qonnx/kwsmlp_w3a3", codes, "", "", 3920)}


def graphs(folder: Path, nets) -> None:
    """FOLDER/NET: the integer graph and what is known of its accuracy."""
    from qsearch import flow
    from qsearch.settings import Settings
    for name in nets:
        case, out = CASES[name], folder / name
        path = real_data.root() / f"{case.file}.onnx"
        if case.budget:
            s = Settings(targets=("cpu",), budgets=(case.budget,), metrics=(case.metric,), options=EVERY, check=20)
            found = flow.run(str(path), case.data(), folder / f"{name}-run", s)
            save_graph(load_graph(folder / f"{name}-run" / "graph"), out)
            about = {r["model"]: r["score"] for r in found.rows}
        else:
            from benchmarks.onnx_import import ZOO
            import quant
            g = quant.load_quantized(path, **ZOO[case.file][1])
            save_graph(g, out)
            about = {"README": ZOO[case.file][0]}
            data = case.data()
            if "y" in data:
                about["integer"] = f"{100 * np.mean(run(g, codes_of(g, data['x'])).reshape(len(data['y']), -1).argmax(1) == data['y']):.2f} %"
        save_text(out / "about.json", json.dumps(about))
        print(name, about, flush=True)


def codes_of(g: Graph, x: np.ndarray) -> np.ndarray:
    """Real samples as the graph's input codes."""
    i = g.inputs[0]
    return g.encodings[i.name].encode(x.reshape(len(x), *i.type.shape), i.type.lo, i.type.hi)


def measure(folder: Path, name: str, device: str, cycles: int, frames: int, route: bool, limit_s: float, max_lut: float | None) -> dict:
    """Everything that is known of one net on one device."""
    import sim
    g, case = load_graph(folder / name), CASES[name]
    row = {"net": name, "device": device, **json.loads((folder / name / "about.json").read_text())}
    start = time.perf_counter()
    folding = hw.fold(g, device, max_cycles=cycles, max_lut=max_lut)
    row["fold_s"], start = time.perf_counter() - start, time.perf_counter()
    row["predicted"] = hw.total(hw.graph_costs(g, folding, device))
    with tempfile.TemporaryDirectory() as d:
        design = hw.generate(g, Path(d) / "design", folding)
        row["generate_s"], row["cycles_scheduled"] = time.perf_counter() - start, design.interval
        x = codes_of(g, case.data()["x"][:frames])
        start = time.perf_counter()
        got = sim.simulate(design, x)
        row |= {"simulate_s": time.perf_counter() - start, "wrong": int((got.outputs != run(g, x)).sum()), "cycles": got.cycles_per_frame,
                "latency": got.latency, "frames": frames}
        start = time.perf_counter()
        row["synthesis"] = dict(hw.synth_design(design.folder, device, route=route, limit_s=limit_s))
        row["synthesis_s"] = time.perf_counter() - start
    return row


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("graphs", "run"))
    p.add_argument("folder", type=Path)
    p.add_argument("--nets", nargs="*", default=list(CASES), choices=list(CASES))
    p.add_argument("--net", choices=list(CASES))
    p.add_argument("--device", default="ecp5-85k")
    p.add_argument("--cycles", type=int)
    p.add_argument("--lut", type=float)
    p.add_argument("--frames", type=int, default=3)
    p.add_argument("--no-route", action="store_true")
    p.add_argument("--limit", type=float, default=3600, help="seconds for synthesis, placement and routing")
    p.add_argument("--json", type=Path)
    args = p.parse_args()
    if args.what == "graphs":
        return graphs(args.folder, args.nets)
    if not args.net:
        raise UserError(f"run takes one net: --net {'|'.join(CASES)}")
    row = measure(args.folder, args.net, args.device, args.cycles or CASES[args.net].cycles, args.frames, not args.no_route, args.limit, args.lut)
    print(json.dumps(row, indent=1))
    if args.json:
        save_text(args.json, json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
