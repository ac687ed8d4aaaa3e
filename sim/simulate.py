"""Integers in, simulated integers out: a graph or a generated design, run in Verilator."""
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path


from hw import Design, Folding, generate, load
from ir import Graph, UserError, run
from ir.interpret import check_inputs
from ir.store import load_graph

from . import layers as values
from . import testbench
from .batch import build, execute
from .jobs import Job, job, write_frames
from .result import SimResult, read


def simulate(design: Design | Graph | Path | str, x, stalls: bool | int = False, folding: Folding | None = None, reset: int = 0,
             layers: bool = False, waves: Path | str | None = None, chance: float | None = None, power_up: int = 1) -> SimResult:
    """Simulate a design (or its folder, or a graph) on x, (N, *input.shape) integers or a dict of them; frames follow without a gap.

    stalls: a seed (True is 1) of random stalls on both sides, in a part `chance` of the cycles (None: drawn from the seed for each side).
    reset: after so many cycles all is reset and the frames start again.  layers: the values within are recorded and compared with
    the graph's.  waves: a .fst or .vcd file to write.  power_up: seed of the registers' and memories' first values.
    The build is kept for the next call.
    UserError: wrong inputs; a tool that is missing; a deadlock, with the streams that stand still.
    """
    if chance is not None and not 0 < chance < 1:
        raise UserError(f"stalls in a part of {chance:g} of the cycles: give a number between 0 and 1")
    often = 0 if chance is None else min(255, max(1, round(256 * chance)))
    with tempfile.TemporaryDirectory() as d:
        work = Path(d)
        if isinstance(design, Graph):
            design = generate(design, work / "design", folding)
        elif not isinstance(design, Design):
            design = load(design)
        g = load_graph(design.folder)
        feeds = check_inputs(g, x)
        frames = len(next(iter(feeds.values())))
        if frames == 0:
            raise UserError("nothing to simulate: the inputs hold no frame")
        if layers and not design.values:
            raise UserError(f"{design.folder}: the design does not say where its nodes' values can be seen; leave the layers out")
        write_frames(work, design, feeds)
        r = play(design, work, job(design, frames, int(stalls), often, reset), layers, waves, power_up)
        return r if not layers else replace(r, layers=values.check(work, design, run(g, feeds, keep=True)))


def play(d: Design, work: Path, j: Job, layers: bool = False, waves: Path | str | None = None, power_up: int = 1) -> SimResult:
    """Run a design on the files of beats that lie in `work`."""
    waves = None if waves is None else Path(waves)
    binary = build(testbench.text(d, layers), [*sorted(testbench.SV.glob("*.sv")), *d.sources], "" if waves is None else waves.suffix[1:])
    for mem in d.folder.glob("*.mem"):
        os.symlink(mem.resolve(), work / mem.name)
    said = execute(binary, work, j, power_up, "waves" if waves else "")
    if j.reset and "reset" not in said:
        raise UserError(f"the simulation was over before cycle {j.reset}, when it was to be reset; name an earlier one")
    if waves:
        _move(work / "waves", waves)
    return read(work, d, j)


def _move(made: Path, to: Path) -> None:
    try:
        shutil.move(made, to)
    except OSError as e:
        raise UserError(f"cannot write {to}: {e.strerror or e}") from None
