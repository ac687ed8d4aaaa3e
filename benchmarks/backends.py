"""Seconds that each backend takes for the same images, and their ratio to ONNX Runtime on the same integer network.

    QSEARCH_DATA=... python -m benchmarks.backends RUN [--data cifar10] [--images 100] [--repeats 5]

RUN is the folder of a finished run with the targets cpu and onnx.  Backends take turns, so that a busy machine slows all of
them; one thread each.
"""
import argparse
import statistics
import time
from pathlib import Path

import codegen
from benchmarks import real_data
from codegen import onnx
from ir import run
from ir.store import load_graph
from qsearch.data import load_data
from qsearch.steps import encode


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=Path)
    p.add_argument("--data", default="cifar10")
    p.add_argument("--images", type=int, default=100)
    p.add_argument("--repeats", type=int, default=5)
    args = p.parse_args()
    graph = load_graph(args.run / "graph")
    x = encode(graph, load_data(getattr(real_data, args.data)(), args.images).x)
    session, library = onnx.session(args.run / "onnx" / "model.onnx"), codegen.load(args.run / "cpu")
    ways = {"numpy (the reference)": lambda: run(graph, x), "TVM": lambda: library(x), "ONNX Runtime": lambda: onnx.run(session, x)}
    seconds = {name: [] for name in ways}
    for _ in range(args.repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    print(f"{len(x)} images, median of {args.repeats} (lowest .. highest) after one that does not count")
    base = statistics.median(seconds["ONNX Runtime"][1:])
    for name, all_ in seconds.items():
        s = all_[1:]
        print(f"{name:22} {statistics.median(s):7.3f} s ({min(s):.3f} .. {max(s):.3f})  {statistics.median(s) / base:5.2f} x ONNX Runtime")


if __name__ == "__main__":
    main()
