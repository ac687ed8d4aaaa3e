"""How fast designs are simulated: clock cycles and frames a second, and the seconds until the first.

    python -m benchmarks.sim_speed FOLDER [GRAPH ...] [--device ecp5-85k] [--seconds 5] [--rounds 3]

FOLDER keeps the designs.  Without a GRAPH (a folder that ir.store.save_graph wrote; see benchmarks.cpu_graphs) only the jet MLP of 16-64-32-32-5
at 4 bits is simulated, folded to one multiplier a layer, as wide as it goes, unrolled, and on the core.  Every run's outputs are compared
with ir.run.  Seconds are processor time: of the compiler (and Verilator) for the build, of the simulator and of Python for the run.
"modules" are all cases of a bench that cocotb drives cycle by cycle, as the tests of single modules are.
"""
import argparse
import functools
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import hw
from ir import Dense, Graph, Input, Ints, Requant, UserError, run
from ir.store import load_graph
from sim import Case, example, run_modules, simulate

FIRST, MORE, MOST = 4, 8, 200_000  # frames of the first run, times as many in the next until it is long enough, and at most
WIDTHS = (16, 64, 32, 32, 5)


def mlp() -> Graph:
    """Random weights of 4 bits, activations of 4 bits."""
    rng, g = np.random.default_rng(0), Graph()
    name = g.add("x", Input(Ints((WIDTHS[0],), -8, 7)))
    for k, (i, o) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        name = g.add(f"d{k}", Dense(rng.integers(-8, 8, (o, i)), rng.integers(-50, 50, o)), name)
        if k < len(WIDTHS) - 2:
            name = g.add(f"q{k}", Requant([77], 12, 0, 0, 15), name)
    return g


def spent() -> float:
    """Processor seconds of this process and of those that it waited for."""
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def timed(f: Callable):
    begin, wall = spent(), time.perf_counter()
    result = f()
    return result, spent() - begin, time.perf_counter() - wall


def speed(name: str, g: Graph, d, seconds: float, rounds: int) -> dict:
    """One line: build, then runs of about `seconds`."""
    few = x = example(g, FIRST)
    _, build_s, _ = timed(functools.partial(simulate, d, few))
    r, again_s, _ = timed(functools.partial(simulate, d, few))
    frames, s = FIRST, again_s
    while s < seconds / MORE and frames < MOST:
        frames = min(MOST, frames * MORE)
        x = example(g, frames)
        r, s, _ = timed(functools.partial(simulate, d, x))
    runs = []
    for _ in range(rounds):
        r, s, wall = timed(functools.partial(simulate, d, x))
        runs.append((s, wall))
    if not np.array_equal(r.outputs, run(g, x)):
        raise UserError(f"{name}: outputs differ")
    s, wall = (statistics.median(t) for t in zip(*runs))
    return {"design": name, "streams": len(d.streams), "cycles/frame": d.interval, "frames": frames, "build s": round(build_s - again_s, 1),
            "run s": round(s, 2), "wall s": round(wall, 2), "kcycles/s": round(r.cycles_total / s / 1e3), "frames/s": round(frames / s, 1)}


def modules(folder: Path, beats: int = 20_000) -> dict:
    """A FIFO, a skid buffer and an adder side by side under cocotb."""
    x = [k % 256 for k in range(beats)]
    cases = [Case("qs_fifo", {"DataWidth": 8, "Depth": 16}, {"s": x}, {"m": beats}), Case("qs_skid", {"DataWidth": 8}, {"s": x}, {"m": beats}),
             Case("qs_add", dict(AWidth=8, ASigned=0, BWidth=8, BSigned=0, OutWidth=9), {"a": x, "b": x}, {"m": beats})]
    few = [Case(c.top, c.params, {k: v[:8] for k, v in c.inputs.items()}, {"m": 8}) for c in cases]
    _, build_s, _ = timed(lambda: run_modules(few, folder))
    _, start_s, _ = timed(lambda: run_modules(few, folder))
    _, s, wall = timed(lambda: run_modules(cases, folder))
    return {"design": "modules", "streams": 7, "cycles/frame": 1, "frames": beats, "build s": round(build_s - start_s, 1), "run s": round(s, 2),
            "wall s": round(wall, 2), "kcycles/s": round(beats / s / 1e3), "frames/s": round(len(cases) * beats / s, 1)}


def designs(folder: Path, graphs: list[Path], device: str):
    """(name, graph, design) of everything that is simulated."""
    g = mlp()
    widest = {n: hw.legal(g, n)[-1] for n in g.nodes if hw.legal(g, n)}
    yield "mlp, one by one", g, hw.generate(g, folder / "mlp-narrow")
    yield "mlp, widest", g, hw.generate(g, folder / "mlp-wide", widest)
    yield "mlp, unrolled", g, hw.unroll_design(g, folder / "mlp-unrolled", effort=1)
    yield "mlp, core", g, hw.core_design(g, folder / "mlp-core")
    for path in graphs:
        g = load_graph(path)
        yield path.name, g, hw.generate(g, folder / path.name, hw.fold(g, hw.TARGETS[device]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("graphs", type=Path, nargs="*")
    parser.add_argument("--device", default="ecp5-85k")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    rows = [modules(a.folder / "modules")]
    print(*rows[0], sep="\t")
    print(*rows[0].values(), sep="\t", flush=True)
    for name, g, d in designs(a.folder, a.graphs, a.device):
        print(*speed(name, g, d, a.seconds, a.rounds).values(), sep="\t", flush=True)


if __name__ == "__main__":
    main()
