"""A generated design with its own test beside it: one command in its folder simulates it."""
import functools
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hw import Design, Folding, generate
from ir import Graph, run
from ir.interpret import check_inputs

from . import testbench
from .frames import pack
from .jobs import example, job, write_frames

HERE = Path(__file__).parent
TEXTS = {"design_test.py": "test_design.py", "design_run.py": "run.py", "traffic.py": "traffic.py"}


def ship(g: Graph, out: Path | str, folding: Folding | None = None, x=None, frames: int = 4, make=None) -> Design:
    """hw.generate, or make(g, out, extra=...) in its place, and a cocotb test: `python run.py` in the folder plays frames and checks each value.

    x: the frames, (N, *input.shape) integers or a dict of them; by default `frames` of them: the extremes and random ones.
    """
    feeds = check_inputs(g, example(g, frames) if x is None else x)
    want = run(g, feeds)
    make = make or functools.partial(generate, folding=folding)
    return make(g, out, extra=lambda folder, d: add_test(folder, d, feeds, want))


def add_test(folder: Path, d: Design, feeds: Mapping[str, np.ndarray], want: np.ndarray) -> None:
    """The bench, the cocotb tests, the frames that go in and those that must come out: what hw.design.place takes as `extra`."""
    (folder / "bench").mkdir()
    (folder / "bench" / "qs_bench.sv").write_text(testbench.text(d))
    for path in testbench.SV.glob("*.sv"):
        shutil.copyfile(path, folder / "bench" / path.name)
    for source, name in TEXTS.items():
        shutil.copyfile(HERE / source, folder / name)
    write_frames(folder, d, feeds)
    (folder / "want.hex").write_bytes(pack(d.output, want))
    said = f"{len(want)} frames, every value right in all of {{ran}} runs: without a gap, with stalls, with a reset in a frame"
    about = {"frame": d.output.beats, "interval": d.interval, "streams": d.streams, "said": said}
    (folder / "job.json").write_text(json.dumps(asdict(job(d, len(want), seed=1)) | about))
