"""The core's microprogram: passes, the register writes that start them, and their text.  Registers: hw/rtl/qs_core*.sv."""
from dataclasses import dataclass, field, replace
from enum import IntEnum

LEVELS, INNER = 6, 3  # loops of a pass; the innermost ones sum up one group of results
REG_BITS = 7
NO_DIGITS = 7


class Mode(IntEnum):
    """What the array does with each step."""
    MATRIX = 0   # dot products of Pe rows
    LANES = 1    # a weight for each lane
    SUM = 2
    MAX = 3
    PRODUCT = 4  # of two activations, read one after the other


class Command(IntEnum):
    """Values of register 0."""
    HALT = 0
    RUN = 1
    FETCH = 2
    SYNC = 3


@dataclass(frozen=True)
class Walk:
    """An address that moves with the loops: its start, and for each level how far one step of that level goes."""
    start: int = 0
    strides: tuple[int, ...] = (0,) * LEVELS

    def deltas(self, counts: tuple[int, ...]) -> list[int]:
        """What is added where the pass leaves level l and all levels below it wrap."""
        back = [(n - 1) * s for n, s in zip(counts, self.strides)]
        return [s - sum(back[:lvl]) for lvl, s in enumerate(self.strides)]


@dataclass(frozen=True)
class Pass:
    """One run of the core over counts[5] x ... x counts[0] steps.  x and y are in elements, w in units, p in words.

    row, col: where a step reads; what lies beyond (rows, cols) reads `outside`.  A group has `count` results; groups follow each other
    along lines of `line` results, of which the first `keep` count.  p is the place of the biases and multipliers, which `moves` with
    every result or stands for a group.
    """
    node: str
    mode: Mode
    counts: tuple[int, ...]
    x: Walk = Walk()
    row: Walk = Walk()
    col: Walk = Walk()
    w: Walk = Walk()
    y: Walk = Walk()
    p: Walk = Walk()
    rows: int = 1
    cols: int = 1
    outside: int = 0
    signed: bool = False
    second_signed: bool = False
    from_stream: bool = False
    to_stream: bool = False
    by_element: bool = False
    apart: bool = False       # the second factor of a product is at w, an address of the scratchpad
    format: int = 0
    digits: int = NO_DIGITS
    count: int = 1
    line: int = 1
    keep: int = 1
    moves: bool = False
    shift: int = 0
    zero: int = 0
    lo: int = 0
    hi: int = 0
    table: int | None = None

    def registers(self) -> dict[int, int]:
        """Register -> value."""
        out = {8 + k: n - 1 for k, n in enumerate(self.counts)} | {15: self.digits}
        turning = [k for k, n in enumerate(self.counts) if n > 1]   # a level of one step is never left alone
        for base, walk in ((16, self.x), (24, self.row), (32, self.col), (40, self.w)):
            deltas = walk.deltas(self.counts)
            out |= {base + k: deltas[k] for k in turning} | {base + 6: walk.start}
        for base, walk in ((48, self.y), (56, self.p)):
            outer = replace(walk, strides=(0,) * INNER + walk.strides[INNER:])
            out |= {base + k: outer.deltas(self.counts)[k] for k in turning if k >= INNER} | {base + 6: walk.start}
        mode = (self.mode | self.signed << 3 | self.second_signed << 4 | self.from_stream << 5 | self.to_stream << 6
                | self.by_element << 7 | self.format << 8 | (self.table is not None) << 10 | self.apart << 11)
        return out | {31: self.rows, 39: self.cols, 48: self.line, 49: self.keep, 55: self.count, 63: int(self.moves), 64: mode, 65: self.outside,
                      66: self.shift, 67: self.zero, 68: self.lo, 69: self.hi, 70: self.table or 0}


@dataclass(frozen=True)
class FetchRun:
    """Weights brought from the outer memory: `words` from word `far` to word `near`."""
    node: str
    far: int
    near: int
    words: int

    def registers(self) -> dict[int, int]:
        """Register -> value."""
        return {80: self.far, 81: self.near, 82: self.words}


@dataclass(frozen=True)
class Sync:
    """The core waits for the weights that it fetches."""
    node: str

    def registers(self) -> dict[int, int]: return {}


Step = Pass | FetchRun | Sync


@dataclass
class Assembled:
    """Program words (register, value), and for each step where its words begin and its command stands."""
    words: list[tuple[int, int]] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)


def assemble(steps: list[Step]) -> Assembled:
    """Register writes and commands; a register that holds the value already is left alone.

    The program repeats with each frame, so the first step writes all that it needs.
    """
    out, held = Assembled(), {}
    for s in steps:
        begin = len(out.words)
        for register, value in s.registers().items():
            if held.get(register) != value:
                out.words.append((register, value))
                held[register] = value
        out.spans.append((begin, len(out.words)))
        out.words.append((0, command(s)))
    out.words.append((0, Command.HALT))
    return out


def command(s: Step) -> Command:
    match s:
        case Pass():
            return Command.RUN
        case FetchRun():
            return Command.FETCH
    return Command.SYNC


def listing(steps: list[Step], program: Assembled) -> str:
    """The program as text: each step with its node, its loops, and its register writes."""
    rows = []
    for s, (begin, end) in zip(steps, program.spans):
        rows.append(f"{begin:5}  {s.node}: {describe(s)}")
        writes = program.words[begin:end]
        rows += ["         " + "  ".join(f"r{r}={v}" for r, v in writes[k:k + 10]) for k in range(0, len(writes), 10)]
    return "\n".join([*rows, f"{len(program.words) - 1:5}  halt", ""])


def describe(s: Step) -> str:
    """One line of a step."""
    match s:
        case FetchRun():
            return f"fetch {s.words} words from {s.far} to {s.near}"
        case Sync():
            return "wait for the weights"
    loops = "x".join(str(n) for n in reversed(s.counts[INNER:])) + " of " + "x".join(str(n) for n in reversed(s.counts[:INNER]))
    come = "stream" if s.from_stream else f"{s.x.start}"
    go = "stream" if s.to_stream else f"{s.y.start}"
    after = f" >> {s.shift}" * bool(s.shift) + f" clamp [{s.lo}, {s.hi}]" + " table" * (s.table is not None)
    return f"{s.mode.name.lower()}{' by element' * s.by_element} {loops}, {come} -> {go}, {s.count} a group{after}"
