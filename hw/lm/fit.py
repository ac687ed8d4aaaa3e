"""A language model on a board: which core is best there, what it takes, how fast it runs, or by how much it does not fit.

Cycles are those of the core's schedule (hw/lm/cycles.py), exact where weights are on the chip; memories are the core's own, placed by their
sizes; LUTs, flip-flops and multipliers come from cores and engines that were synthesized (hw/data/lm_core.json, written by
benchmarks/lm_fit.py).  Beside a whole core of 160x400x4x65 with two engines on ECP5 that gives 2 % too many LUTs and 5 % too many block RAMs.
What a board's shell takes (memory controller, interconnect) is not in it: a chip counts as full at FULL of its LUTs.
"""
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ir import UserError
from ir.lm import WORDS, Words

from . import outline, pace
from .devices import BOARDS, Board
from .layout import ENGINES, Machine
from .memory import Placed, place, stores
from .shape import Shape

DATA = Path(__file__).parents[1] / "data" / "lm_core.json"
FULL = 0.85
LANES = (2, 4, 8, 16)
TRITS = {"base3": 5, "fields": 5, "two_bit": 4}  # of a byte
LIKE = {"xc7": "xcup"}                           # a family with the same LUTs
NAMES = {"lut": "LUT", "ff": "flip-flops", "dsp": "DSP blocks", "bram": "block RAMs of 18 kbit", "uram": "UltraRAMs", "MB": "MB of outer memory"}


@dataclass(frozen=True)
class Fit:
    """One core on one board.  used, there: resource -> number; over: resource -> how many are missing."""
    shape: Shape
    board: Board
    machine: Machine
    placed: list[Placed]
    used: dict[str, int]
    there: dict[str, int]
    cycles: float

    @property
    def over(self) -> dict[str, int]: return {k: n - self.there[k] for k, n in self.used.items() if n > self.there[k]}

    @property
    def fullest(self) -> float:
        """Share of what is there that the scarcest resource takes."""
        return max(n / max(1, self.there[k]) for k, n in self.used.items())

    @property
    def tokens_s(self) -> float: return self.board.clock_mhz * 1e6 / self.cycles

    @property
    def bytes_token(self) -> int:
        """Read from the outer memory for a token."""
        m, s = self.machine, self.shape
        return (s.beats(m.engines, m.trits) * m.engines * m.beat_bits + s.dim * s.embedding_bits) // 8 if m.far else 0

    @property
    def why(self) -> str:
        """One line: by how much it does not fit, and what takes the most."""
        missing = ", ".join(f"{n:,} of {self.there[k]:,} {NAMES[k]} ({n - self.there[k]:,} too many)" for k, n in self.used.items() if k in self.over)
        largest = max((p for p in self.placed if p.where == "bram"), key=lambda p: p.number, default=None)
        told = f"; largest on the chip: {largest.store.name}, {largest.store.size / 8e3:,.0f} KB" if largest and "bram" in self.over else ""
        return f"{self.shape.name} does not fit {self.board.name}: it needs {missing}{told}"


def fit(s: Shape, board: Board | str, machine: Machine, w: Words = WORDS["q14"], exact: bool = True) -> Fit:
    """A given core; without `exact` its cycles by the sizes alone, which is quick.

    UserError: weights in an outer memory of a board that has none."""
    b = BOARDS[board] if isinstance(board, str) else board
    if machine.far and not b.outer:
        raise UserError(f"{b.name} has no outer memory for weights; leave out --far, or take a board with one")
    share = b.outer.arriving(machine.engines, machine.beat_bits, b.clock_mhz) if machine.far else 1.0
    placed = place(stores(outline.params(s, machine, w), machine), b.family, b.resources, b.outer.kind if b.outer else "")
    used = logic(machine, b.family) | {k: sum(p.number for p in placed if p.where == k) for k in ("bram", "uram")}
    used["lut"] += sum(p.number for p in placed if p.where == "lut")
    there = {k: int(n * FULL) if k == "lut" else n for k, n in b.resources.items()}
    if machine.far:
        used["MB"], there["MB"] = sum(p.number for p in placed if p.store.outer) // 10**6, b.outer.megabytes
    cycles = outline.token(s, machine, w, share) if exact else pace.token(s, machine.engines, machine.trits, machine.lanes, share).cycles
    return Fit(s, b, machine, placed, used, there, cycles)


def best(s: Shape, board: Board | str, engines: int = 0, encoding: str = "", lanes: int = 0, w: Words = WORDS["q14"]) -> Fit:
    """The fastest core that fits, of as many LUTs as it needs; where none fits, the fastest of those that
    lack least, with its reasons (`over`).

    0 and "" leave the choice open.  Weights are on the chip where they have room there.  UserError: settings that no core has.
    """
    b = BOARDS[board] if isinstance(board, str) else board
    found = [fit(s, b, m, w, exact=False) for far in ((False, True) if b.outer else (False,)) for m in machines(b, far, engines, encoding, lanes)]
    if able := [f for f in found if not f.over]:
        fastest = max(f.tokens_s for f in able)
        chosen = min((f for f in able if f.tokens_s > 0.97 * fastest), key=lambda f: f.used["lut"])
    else:
        found = [f for f in found if f.machine.far == bool(b.outer)]
        least = min((len(f.over), f.fullest) for f in found)
        chosen = max((f for f in found if len(f.over) == least[0] and f.fullest <= 1.1 * least[1]), key=lambda f: f.tokens_s)
    return fit(s, b, chosen.machine, w)


def machines(b: Board, far: bool, engines: int, encoding: str, lanes: int) -> list[Machine]:
    """What is tried: engines of a port each, beats as wide as a port or half of it; on the chip beats of 16 bytes."""
    counts = [engines] if engines else range(1, (min(b.outer.ports, ENGINES) if far else ENGINES) + 1)
    found = []
    for width in ((b.outer.port_bits // 8, b.outer.port_bits // 16) if far and b.outer.port_bits > 128 else (16,)):
        for code in [encoding] if encoding else ("fields", "two_bit"):
            for n in counts:
                for k in [lanes] if lanes else LANES:
                    found.append(Machine(n, TRITS.get(code, 5) * width, k, code, far=far))
    return found


@cache
def logic(m: Machine, family: str) -> dict[str, int]:
    """LUT, flip-flops and multipliers: engines by their trits, all else as in the core that was measured, the quantizer by its lanes."""
    runs = json.loads(DATA.read_text())["runs"]
    like = LIKE.get(family, family)
    engine = next(r for r in runs if r["what"] == "engine" and (r["family"], r["encoding"]) == (like, m.encoding))
    core = next(r for r in runs if r["what"] == "core" and r["family"] == like)
    within = next(r for r in runs if r["what"] == "engine" and (r["family"], r["encoding"]) == (like, core["encoding"]))
    out = {}
    for k in ("lut", "ff", "dsp"):
        rest = sum(n[k] * (m.lanes / core["lanes"] if part == "quantizer" else 1) for part, n in core["parts"].items())
        rest -= core["engines"] * within[k] * core["trits"] / within["trits"]
        out[k] = round(rest + m.engines * engine[k] * m.trits / engine["trits"])
    return out
