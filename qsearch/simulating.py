"""`qsearch sim` of a SystemVerilog design: every value compared, cycles against the model, where the stages wait."""
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ir
from ir import Graph, UserError
from ir.store import load_graph, load_json

from .data import Data

SHOWN = 12     # stages, the busiest
CLOCK_MHZ = 100.0


@dataclass(frozen=True)
class SimOptions:
    """stalls: part of the cycles in which either side stands still; reset_at: cycle, or None with reset: drawn from the seed."""
    stalls: float = 0.0
    seed: int = 0
    reset: bool = False
    reset_at: int = 0
    layers: bool = False
    waves: Path | None = None
    clock: float = 0.0


def is_lm(folder: Path) -> bool:
    """Whether a folder holds the core of a language model."""
    from hw.lm.design import is_lm_design
    return is_lm_design(folder)


def is_design(folder: Path) -> bool:
    """Whether a folder holds a SystemVerilog design.  UserError: it holds no build of any kind."""
    if (folder / "qs_top.sv").exists():
        return True
    if not (folder / "build.json").exists():
        what = "no such folder" if not folder.exists() else "no folder" if not folder.is_dir() else "holds no build"
        raise UserError(f"{folder}: {what}; name what `qsearch compile` wrote")
    return False


def simulate(folder: Path, data: Data | None, samples: int, o: SimOptions, screen) -> str:
    """Simulate a design, without data on `samples` frames of its own, and print what is to be said of it.

    Returns what is wrong with its values, in one line, or nothing.
    """
    import hw
    import sim
    d, g = hw.load(folder), load_graph(folder)
    x = sim.example(g, samples, o.seed) if data is None else integers(g, data.x)
    frames = len(next(iter(x.values())) if isinstance(x, dict) else x)
    reset = o.reset_at or (random.Random(o.seed).randrange(min(2, frames) * d.interval) + 1 if o.reset else 0)
    with screen.step(f"simulate {frames} frames"):
        r = sim.simulate(d, x, stalls=o.seed + 1 if o.stalls else 0, chance=o.stalls or None, reset=reset, layers=o.layers, waves=o.waves,
                         power_up=o.seed + 1)
        want = ir.run(g, x)
    wrong = sim.output_difference(d, r.outputs, want)
    again = f", played anew after a reset at cycle {reset}" if reset else ""
    print(f"{frames} frames{again}: {wrong or f'all {want.size:,} values right'}")
    if data is not None and data.y is not None and g.output.name in g.encodings:
        _score(g, r.outputs, want, data)
    for line in map(str, r.layers or []):
        print(f"layer {line}")
    if o.layers:
        print(f"{len(r.layers)} of {len(d.values)} layers differ")
    if r.frame_error:
        print("frame_error_o is high: a frame came in too short or too long")
    _cycles(d, r, frames, o.clock or clock_of(folder), bool(o.stalls), screen)
    rows = sim.stages(g, d, r, frames)
    screen.table("", [_row(s) for s in rows[:SHOWN]] or [{"stream": t.name, "moved": t.moved, "waits for reader": t.blocked,
                                                          "waits for writer": t.starved} for t in r.traffic[:SHOWN]])
    first = f"; the first wrong layer is {r.layers[0]}" if r.layers else "" if o.layers else "; --layers tells in which layer it begins"
    return f"{wrong}{first}" if wrong else ""


def integers(g: Graph, x: np.ndarray):
    """Real inputs as the graph takes them; integers as they are where the graph has no encoding."""
    if len(g.inputs) > 1:
        raise UserError(f"the design has the inputs {', '.join(n.name for n in g.inputs)}; it is simulated without --data")
    node = g.inputs[0]
    if x.shape[1:] != node.type.shape:
        raise UserError(f"the design takes samples of shape {node.type.shape}, the data has {x.shape[1:]}")
    if node.name in g.encodings:
        return g.encodings[node.name].encode(x, node.type.lo, node.type.hi)
    if (x != np.round(x)).any():
        raise UserError("the design's graph has no scale for its input, so it takes integers; the data holds others")
    return x.astype(np.int64)


def clock_of(folder: Path) -> float:
    """MHz of the target that a design was made for."""
    from . import backends
    if not (folder / "build.json").exists():
        return CLOCK_MHZ
    return backends.target(load_json(folder / "build.json", "build")["target"]).clock_mhz or CLOCK_MHZ


def _score(g: Graph, got: np.ndarray, want: np.ndarray, data: Data) -> None:
    from .evaluate import score
    from .steps import decode
    print(f"score {score(decode(g, got), data.y, decode(g, want))}")


def _cycles(d, r, frames: int, clock: float, stalled: bool, screen) -> None:
    """Cycles and frames a second, measured beside the model's; with stalls from outside the model says nothing."""
    def per_second(cycles: float) -> str: return f"{clock * 1e6 / max(cycles, 1):,.0f}"
    one = frames == 1
    known = not (stalled or one)
    error = f"{100 * (r.cycles_per_frame / r.interval - 1):+.2f} %" if known else ""
    screen.table("", [
        {"": "cycles from frame to frame", "model": f"{r.interval:,}", "simulated": "" if one else f"{r.cycles_per_frame:,.1f}", "error": error},
        {"": "cycles from first beat in to last out", "model": "", "simulated": f"{r.latency:,}", "error": ""},
        {"": f"frames a second at {clock:g} MHz", "model": per_second(r.interval), "simulated": "" if one else per_second(r.cycles_per_frame),
         "error": ""}])
    print(f"latency {r.latency / clock:,.2f} us at {clock:g} MHz; {r.cycles_total:,} cycles for all")


def _row(s) -> dict:
    def percent(v: float | None) -> str: return "" if v is None else f"{100 * v:.1f} %"
    return {"stage": s.node, "cycles a frame": f"{s.cycles:,}", "works": percent(s.works), "waits for input": percent(s.waits_for_input),
            "waits for reader": percent(s.waits_for_reader)}
