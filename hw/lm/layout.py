"""Where the trits of a language model stand: each engine has one linear stream of beats for a whole token.

Row m of a matrix belongs to engine m mod E.  The matrices follow each other as they are used: of each layer g, f, i, o, the rows v of
the gate, its rows u, down; then the head.  A row takes whole beats, and each engine has equally many rows of a matrix: what is missing
is zeros.
"""
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ir import UserError
from ir.lm import Program

ENCODINGS = ("base3", "two_bit", "fields")  # in the order of hw/rtl/qs_lm_unpack.sv
ENGINES, LANES, TOP_K = 24, 16, 64  # at most


@dataclass(frozen=True)
class Machine:
    """Parameters of a core: engines, trits of a beat, lanes of the quantizer, encoding of the weights, candidates of a draw,
    whether weights stand in an outer memory, whether intermediates can be seen.

    UserError: parameters that no core has.
    """
    engines: int = 2
    trits: int = 80
    lanes: int = 2
    encoding: str = "base3"
    top_k: int = 8
    far: bool = False
    taps: bool = False

    def __post_init__(self):
        if self.encoding not in ENCODINGS:
            raise UserError(f"unknown encoding {self.encoding!r} of weights; give {', '.join(ENCODINGS)}")
        step = 4 if self.two_bit else 5
        if self.trits < step or self.trits % step:
            raise UserError(f"{self.trits} trits a beat: give a multiple of {step} with weights in {self.encoding}")
        for name, value, most in (("engines", self.engines, ENGINES), ("lanes", self.lanes, LANES), ("top-k", self.top_k, TOP_K)):
            if not 1 <= value <= most:
                raise UserError(f"{value} {name}: give 1 to {most}")
        if self.lanes & self.lanes - 1 or self.trits % self.lanes:
            raise UserError(f"{self.lanes} lanes: give a power of two that divides the {self.trits} trits of a beat")
        if self.far and (self.beat_bits < 8 or self.beat_bits & self.beat_bits - 1):
            raise UserError(f"a beat of {self.beat_bits} bits from an outer memory: give trits that make a power of two, such as "
                            "80 in base3 or fields, 64 in two_bit")

    @property
    def two_bit(self) -> bool: return self.encoding == "two_bit"

    @property
    def beat_bits(self) -> int:
        """Bits of a beat of weights."""
        return 2 * self.trits if self.two_bit else self.trits // 5 * 8

    def beats(self, columns: int) -> int:
        """Beats of a row of so many trits."""
        return -(-columns // self.trits)

    def rows(self, rows: int) -> int:
        """Rows of each engine, of so many in all."""
        return -(-rows // self.engines)


@dataclass(frozen=True, eq=False)
class Run:
    """A matrix, or a part of its rows, as it is used: `at` is its first beat in every engine's stream, `start` its first row."""
    name: str
    codes: np.ndarray
    at: int
    start: int = 0

    def length(self, m: Machine) -> int:
        """Beats of each engine."""
        return m.rows(self.codes.shape[0]) * m.beats(self.codes.shape[1])


def runs(p: Program, m: Machine) -> list[Run]:
    """All matrices in the order of their use."""
    out: list[Run] = []
    for name, codes, start in _parts(p):
        out.append(Run(name, codes, out[-1].at + out[-1].length(m) if out else 0, start))
    return out


def _parts(p: Program) -> Iterator[tuple[str, np.ndarray, int]]:
    for n, layer in enumerate(p.layers):
        yield from ((f"layers.{n}.attn.{k}_proj", getattr(layer.attn, k).codes, 0) for k in "gfio")
        gate, name = layer.mlp.gate.codes, f"layers.{n}.mlp.gate_proj"
        yield name, gate[p.hidden:], p.hidden
        yield name, gate[:p.hidden], 0
        yield f"layers.{n}.mlp.down_proj", layer.mlp.down.codes, 0
    yield "lm_head", p.head.codes, 0


def stream(all_runs: list[Run], m: Machine, engine: int) -> np.ndarray:
    """(beats, bytes of a beat) uint8: the weights of one engine."""
    parts = []
    for r in all_runs:
        rows, columns = r.codes.shape
        wide = np.zeros((m.rows(rows), m.beats(columns) * m.trits), np.int8)
        mine = r.codes[engine::m.engines]
        wide[:len(mine), :columns] = mine
        parts.append(wide.reshape(-1, m.trits))
    return pack(np.concatenate(parts), m)


def pack(trits: np.ndarray, m: Machine) -> np.ndarray:
    """(n, trits) -> (n, bytes): sum of (t + 1) * 3**j of five, their code in fields, or 2 bits each (01 is 1, 11 is -1), the first lowest."""
    if m.two_bit:
        return ((trits.reshape(len(trits), -1, 4) & 3) << np.arange(0, 8, 2)).sum(2).astype(np.uint8)
    base3 = ((trits.reshape(len(trits), -1, 5).astype(np.int64) + 1) * 3 ** np.arange(5)).sum(2).astype(np.uint8)
    return FIELDS[base3] if m.encoding == "fields" else base3


def _fields(t: tuple[int, ...]) -> int:
    """The byte that hw/rtl/qs_lm_fields.sv reads as five trits."""
    def field(v: int) -> int: return v & 3
    if t[2] != -1:
        three = (t[2] == 1) << 4 | field(t[1]) << 2 | field(t[0])
    else:
        three = (t[1] == 1) << 4 | field(t[0]) << 2 | 0b10 if t[1] != -1 else 0b10 << 2 | field(t[0])
    if t[3] == t[4] == -1:
        return (three >> 2) << 5 | 0b110 << 2 | three & 3
    return ((t[4] == 1) << 2 | field(t[3]) if t[4] != -1 else (t[3] == 1) << 2 | 0b10) << 5 | three


FIELDS = np.array([_fields(tuple(k // 3 ** j % 3 - 1 for j in range(5))) for k in range(243)], np.uint8)  # of a byte in base 3
