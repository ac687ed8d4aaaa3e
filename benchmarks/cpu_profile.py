"""Where the time of a net goes: each step of our program, and each node of ONNX Runtime.

    QSEARCH_DATA=... python -m benchmarks.cpu_profile FOLDER NET ... [--plan w8a8] [--form "static u8s8"] [--rounds 30] [--least 0.01]

A step of ours is timed as a function of its own, again and again, so its data are in the nearest cache that holds them, and the call from
Python, which is timed as well, is taken off.  ONNX Runtime's figures are those of its own profiler, which adds a microsecond or two a node.
"""
import argparse
import collections
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tvm
from tvm import tirx
from tvm.ir import GlobalVar
from tvm.runtime import tensor
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from benchmarks import cpu_graphs
from benchmarks.cpu_ours import samples
from codegen.cpu.isa import isa_of
from codegen.cpu.layout import Layout, Pack, Run
from codegen.cpu.program import ALIGN, address, call, constants, kernels, plan
from codegen.tvm import parse_target
from codegen.words import word
from ir import Graph

CALLS = 20


def ours(g: Graph, rounds: int) -> list[tuple[str, float]]:
    """(step, microseconds) of the program for one sample."""
    target = parse_target("llvm")
    layout, functions = Layout(g, isa_of(target)), {}
    steps = [kernels(g, layout.isa, s, functions) for s in layout.steps]
    weights, size = constants(steps), plan(steps)
    ends = layout.ends
    alone = {GlobalVar(name): entry(name, s, ends) for name, s in [("empty", None), *((f"step{i}", s) for i, s in enumerate(steps))]}
    made = tvm.compile(tvm.IRModule(functions | alone), target=target)
    x = samples(g, 1).astype(word(g.inputs[0].type)).reshape(-1)
    args = [tensor(x), tensor(np.zeros(ends[-1].size, ends[-1].dtype)), tensor(weights), tensor(np.zeros(size, np.uint8))]
    seconds = collections.defaultdict(list)
    ready = {v.name_hint: made[v.name_hint] for v in alone}
    for _ in range(rounds):
        for name, f in ready.items():
            f(*args)
            start = time.process_time()
            for _ in range(CALLS):
                f(*args)
            seconds[name].append((time.process_time() - start) / CALLS)
    us = {k: 1e6 * statistics.median(v) for k, v in seconds.items()}
    return [(about(s), max(0.0, us[f"step{i}"] - us["empty"])) for i, s in enumerate(layout.steps)]


def entry(name: str, step, ends) -> tirx.PrimFunc:
    """A function that takes what the whole program takes and does one step."""
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name(name)
        handles = [T.arg(n, T.handle()) for n in (*(f"e{i}" for i in range(len(ends))), "weights", "workspace")]
        held = [T.match_buffer(h, (T.int64(),), s.dtype) for h, s in zip(handles, ends)]
        blobs = [T.match_buffer(h, (T.int64(),), "uint8", align=ALIGN) for h in handles[-2:]]
        own, bytes_ = {s: b.data for s, b in zip(ends, held)}, dict(zip(("weights", "workspace"), (b.data for b in blobs)))
        for gv, k in step.calls if step else ():
            call(gv, 0, k.count, [address(s, own, bytes_) for s in k.storages])
        T.evaluate(tirx.const(0, "int32"))
    return ib.get()


def about(step) -> str:
    if not isinstance(step, Run):
        return f"{type(step).__name__.lower()} {(step.right if isinstance(step, Pack) else step.to).type}"
    return f"{', '.join(type(n.op).__name__.lower() for n in step.group.nodes)}: {step.group.sink.name} {step.to.type}"


def theirs(path: Path, rounds: int) -> list[tuple[str, float]]:
    """(node, microseconds) of ONNX Runtime for one sample."""
    from benchmarks import cpu_onnx
    with tempfile.TemporaryDirectory() as scratch:
        s = cpu_onnx.session(path, 1, 1, enable_profiling=True, profile_file_prefix=f"{scratch}/trace")
        run = cpu_onnx.bound(s, 1)
        for _ in range(rounds):
            run()
        events = json.loads(Path(s.end_profiling()).read_text())
    seen, shown = collections.defaultdict(list), {}
    for e in events:
        if e.get("cat") == "Node" and e["name"].endswith("_kernel_time"):
            seen[e["name"]].append(e["dur"])
            shapes = ["x".join(map(str, next(iter(d.values())))) for d in e["args"].get("output_type_shape", []) if any(d.values())]
            shown[e["name"]] = f"{e['args']['op_name']} {', '.join(shapes)}"
    return [(shown[k], statistics.median(v[len(v) // 5:])) for k, v in seen.items()]


def table(title: str, rows: list[tuple[str, float]], least: float) -> None:
    """Steps in order, without those that take less than the part `least` of all; before that the sums by kind."""
    total, kinds = sum(us for _, us in rows), collections.Counter()
    for name, us in rows:
        kinds[name.split(":")[0] if ":" in name else name.split()[0]] += us
    print(f"{title}: {total:.1f} us in {len(rows)} steps; " + ", ".join(f"{k} {us:.1f}" for k, us in kinds.most_common(8)))
    for name, us in rows:
        if us >= least * total:
            print(f"  {us:9.1f} us {100 * us / total:5.1f} %  {name}")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("nets", nargs="+", choices=list(cpu_graphs.CASES))
    p.add_argument("--plan", default="w8a8", choices=cpu_graphs.PLANS)
    p.add_argument("--form", help="also that int8 form of ONNX Runtime, for example 'static u8s8'")
    p.add_argument("--rounds", type=int, default=30)
    p.add_argument("--least", type=float, default=0.01)
    args = p.parse_args()
    for net in args.nets:
        g = cpu_graphs.graph(net, args.plan, args.folder)
        table(f"{net} {args.plan}, ours", ours(g, args.rounds), args.least)
        if args.form:
            from benchmarks import cpu_onnx
            fit = cpu_graphs.CASES[net].data()["calib_x"][:cpu_graphs.SAMPLES]
            files = cpu_onnx.int8_files(net, cpu_graphs.float_onnx(net, args.folder), g, fit, args.folder)
            table(f"{net}, ONNX Runtime {args.form}", theirs(files[args.form], args.rounds), args.least)


if __name__ == "__main__":
    main()
