"""A generated design with its own test beside it: one command in its folder simulates it."""
import json
import shutil
from pathlib import Path

import numpy as np

from hw import Design, Folding, generate
from ir import Graph, run
from ir.interpret import check_input

from . import testbench
from .frames import pack

HERE = Path(__file__).parent
TEXTS = {"design_test.py": "test_design.py", "design_run.py": "run.py"}


def ship(g: Graph, out: Path | str, folding: Folding | None = None, x=None, frames: int = 4, make=None) -> Design:
    """hw.generate, or make(g, out, extra=...) in its place, and a cocotb test: `python run.py` in the folder plays frames and checks each value.

    x: the frames, (N, *input.shape) integers or a dict of them; by default `frames` of them: the extremes and random ones.
    """
    feeds = inputs(g, example(g, frames) if x is None else x)
    want = run(g, feeds)

    def add(folder: Path, d: Design) -> None:
        add_bench(folder, d)
        write_job(folder, d, feeds, len(want), 0)
        (folder / "want.hex").write_text("\n".join(pack(d.output, want)) + "\n")
    return make(g, out, extra=add) if make else generate(g, out, folding, extra=add)


def add_bench(folder: Path, d: Design) -> None:
    """bench/*.sv, test_design.py and run.py."""
    (folder / "bench").mkdir()
    (folder / "bench" / "qs_bench.sv").write_text(testbench.text(d))
    for path in testbench.SV.glob("*.sv"):
        shutil.copyfile(path, folder / "bench" / path.name)
    for source, name in TEXTS.items():
        shutil.copyfile(HERE / source, folder / name)


def write_job(folder: Path, d: Design, feeds: dict[str, np.ndarray], frames: int, seed: int, reset: int = 0) -> None:
    """What the cocotb test reads: job.json and a file of beats for every input."""
    for p in d.inputs:
        (folder / f"{p.name}.hex").write_text("\n".join(pack(p, feeds[p.node])) + "\n")
    (folder / "job.json").write_text(json.dumps({"beats": frames * d.output.beats, "frame": d.output.beats, "seed": seed, "reset": reset,
                                                 "patience": patience(d), "streams": d.streams}))


def patience(d: Design) -> int:
    """Cycles without any transfer that prove a deadlock: no node is silent for longer than a frame of its own takes."""
    return 1000 + d.interval


def inputs(g: Graph, x) -> dict[str, np.ndarray]:
    """Input name -> checked frames."""
    return {n.name: check_input(n, x[n.name] if isinstance(x, dict) else x) for n in g.inputs}


def example(g: Graph, frames: int) -> dict[str, np.ndarray]:
    """All lowest, all highest, then random values."""
    rng = np.random.default_rng(0)
    x = {n.name: rng.integers(n.type.lo, n.type.hi + 1, (frames, *n.type.shape)) for n in g.inputs}
    for n in g.inputs:
        x[n.name][:1], x[n.name][1:2] = n.type.lo, n.type.hi
    return x
