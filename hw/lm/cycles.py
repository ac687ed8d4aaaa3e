"""Cycles of a token, step by step: when the sequencer gives out each command, from how long every unit takes.

Exact where weights are on the chip and nothing outside makes the core wait; with an outer memory that keeps up, the same.  Numbers of
cycles are those of hw/rtl/qs_lm_*.sv.
"""
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil

from .micro import UNITS, Mode, Op, Scalar, Step

FETCH = 2            # from a command to the next one
ROOM = 16            # groups of rows that may be on their way in the engines
READ = 2             # of the vector memories
# From the last row in: until the vector path is idle; from the first: until it takes the next command, for those that have one behind them.
IDLE = {Mode.RAW: 5, Mode.FORGET: 17, Mode.INPUT: 38, Mode.GLU: 28, Mode.RESIDUAL: 19, Mode.EMBED: 12}
WEIGH = 14           # a candidate's weight, and what draws from all


@dataclass
class Clock:
    """When each unit is free; cycles are counted from that in which the token is taken."""
    taken: list[int] = field(default_factory=list)
    idle: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNITS, 0))
    gemv: int = 0
    vector: int = 0
    quant: int = 0
    scalar: int = 0
    answer: int = 0


@dataclass(frozen=True)
class Cycles:
    """token: from a token in to the next one in, whose number it was the answer; passed: the same where no answer is wanted."""
    token: int
    passed: int


def schedule(program: list[Step], params: dict[str, int], k: int = 1, head: bool = True) -> Clock:
    """When every step of a token is taken.  k: candidates of a draw, of which the middle one counts as drawn."""
    c, at = Clock(), FETCH
    for s in program:
        at = max([at, *(c.idle[UNITS[u]] for u in s.waits)])
        at = _take(s, params, c, at, k)
        c.taken.append(at)
        if s.op == Op.END_UNLESS_HEAD and not head:
            break
        at += FETCH
    return c


def cycles(program: list[Step], params: dict[str, int], k: int = 1) -> Cycles:
    """Of a token.  One more passes between an answer and the next token's entry, or between the end and that."""
    return Cycles(schedule(program, params, k).answer + 1, schedule(program, params, head=False).taken[-1] + 1)


def _take(s: Step, q: dict[str, int], c: Clock, at: int, k: int) -> int:
    """When the units take a step that is offered from cycle `at` on; what they then are busy with is noted."""
    f = s.fields
    match s.op:
        case Op.EMBED:
            at = max(at, c.vector)
            first, last = at + 2, at + 1 + f["rows"]
            _rows(c, Mode.EMBED, first, last)
        case Op.MATRIX | Op.HEAD:
            at = max(at, c.gemv, c.vector if s.op == Op.MATRIX else 0)
            first, last, free = product(f["rows"], f["beats"], q["Engines"], latency(q["Trits"]))
            c.gemv = at + free
            if s.op == Op.MATRIX:
                _rows(c, f["mode"], at + first, at + last)
            else:
                c.answer = at + last + draw(q["TopK"], min(k, q["TopK"]))
        case Op.QUANT:
            at = max(at, c.quant)
            words = ceil(f["count"] / q["Lanes"]) + f["norm"]
            done = at + words + READ + 2 + ranks(q)
            c.quant = at + words
            c.idle["norm" if f["norm"] else f"codes{f['buf']}"] = done + 4 * f["norm"]
        case Op.SCALAR:
            at = max(at, c.scalar)
            c.scalar = c.idle["scalar"] = at + scalar(f["op"], q)
    return at


def _rows(c: Clock, mode: int, first: int, last: int) -> None:
    """Rows go into the vector path, the first and the last one in these cycles."""
    c.vector = max(last + 1, first + IDLE[Mode(mode)])
    c.idle["vector"] = last + IDLE[Mode(mode)]


@lru_cache(maxsize=256)
def product(rows: int, beats: int, engines: int, late: int) -> tuple[int, int, int]:
    """Of a matrix, from its command on: cycles in which the first and the last row leave, and in which the next command is taken."""
    groups = ceil(rows / engines)
    left: list[int] = []   # cycle in which the last row of a group leaves
    go, first = 0, 0
    for g in range(groups):
        start = go + 1 if g < ROOM else max(go + 1, left[g - ROOM] + 1)
        go = start + beats - 1
        begins = max(go + late + 2, left[-1] + 1 if left else 0)
        first = first or begins
        left.append(begins + min(engines, rows - g * engines) - 1)
    return first, left[-1], go + 1


def latency(trits: int, link: int = 4) -> int:
    """Cycles of an engine (qs_lm_engine)."""
    group = next(n for n in (8, 5, 4, 1) if trits % n == 0)
    levels = (trits // group - 1).bit_length()
    return ceil(group / link) + (levels + 1) // 2 + 3


def ranks(q: dict[str, int]) -> int:
    """Of the divider (qs_lm_share)."""
    return (q["ActWidth"] - 1 if q["ActWidth"] > q["ShareBits"] + 2 else q["ShareBits"] + 1) + 2


def scalar(op: int, q: dict[str, int]) -> int:
    """Cycles of an operation of the scalar unit (qs_lm_scalar)."""
    root = (max(q["NormWidth"] + 8, q["SquareWidth"]) + 1) // 2
    digits = q["VecWidth"] + 3
    return {Scalar.ROOT: root + 3, Scalar.FACTOR: digits + 1, Scalar.GATED: root + digits + 2, Scalar.DOWN: digits}[Scalar(op)]


def draw(cells: int, k: int) -> int:
    """From the last sum of the head to the answer."""
    if k == 1:
        return 2 + (cells > 1)
    return 3 + cells + WEIGH + (k + 1) // 2
