"""Integers in, simulated integers out: a graph or a generated design, run in Verilator under its cocotb test."""
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw import Design, Folding, generate, load
from ir import Graph, UserError
from ir.store import load_graph

from . import testbench
from .build import build, execute
from .frames import unpack
from .ship import inputs, write_job


@dataclass(frozen=True)
class SimResult:
    """outputs (N, *output.shape); cycles from the first input beat to the last output beat (cycles_total), from frame to
    frame (cycles_per_frame; the latency if there is one frame only) and from a frame's first beat in to its last one out (latency)."""
    outputs: np.ndarray
    cycles_total: int
    cycles_per_frame: float
    latency: int


def simulate(design: Design | Graph | Path | str, x, stalls: bool | int = False, folding: Folding | None = None,
             reset: int = 0) -> SimResult:
    """Simulate a design (or its folder, or a graph) on x, (N, *input.shape) integers or a dict of them.

    stalls: a seed (True is 1) of random stalls on both sides.  reset: after so many cycles all is reset and starts again.
    The build is kept for the next call.
    UserError: wrong inputs; a tool that is missing; a deadlock, with the streams that stand still.
    """
    with tempfile.TemporaryDirectory() as d:
        work = Path(d)
        if isinstance(design, Graph):
            design = generate(design, work / "design", folding)
        elif not isinstance(design, Design):
            design = load(design)
        feeds = inputs(load_graph(design.folder), x)
        frames = len(next(iter(feeds.values())))
        if frames == 0:
            raise UserError("nothing to simulate: the inputs hold no frame")
        return _play(design, feeds, frames, int(stalls), reset, work)


def _play(d: Design, feeds: dict[str, np.ndarray], frames: int, seed: int, reset: int, work: Path) -> SimResult:
    from .design_test import check  # brings in cocotb
    binary = build(testbench.text(d), [*sorted(testbench.SV.glob("*.sv")), *d.sources], fast=True)
    for mem in d.folder.glob("*.mem"):
        os.symlink(mem.resolve(), work / mem.name)
    write_job(work, d, feeds, frames, seed, reset)
    execute(binary, work, seed, "sim.design_test")
    try:
        check(work)
    except AssertionError as e:
        raise UserError(str(e)) from None
    rows = [line.split() for line in (work / "m_axis.hex").read_text().splitlines()]
    ends = [int(r[2]) for r in rows[d.output.beats - 1::d.output.beats]]
    per_frame = (ends[-1] - ends[0]) / (frames - 1) if frames > 1 else ends[0]
    return SimResult(unpack(d.output, [int(r[0], 16) for r in rows]), ends[-1], per_frame, ends[0])
