"""Weights of few bits, packed: the formats, the one layout on disk, packing and unpacking (numpy)."""
from dataclasses import dataclass

import numpy as np

from ir import UserError

LANES = 16   # rows that lie side by side: the int32 lanes of 64 bytes
QUAD = 4     # neighbouring weights of a row: what one lane of a dot product instruction takes
LINE = LANES * QUAD   # bytes
STREAMED = 1 << 20    # bytes of a matrix that is not expected to stay in the caches between two uses


@dataclass(frozen=True)
class Format:
    """Integers lo..hi, `fields` to a byte: the digits weight - lo of a number to the base `radix`, each of another row."""
    name: str
    fields: int
    radix: int
    lo: int
    hi: int

    @property
    def zero(self) -> int:
        """The digit of weight 0."""
        return -self.lo

    @property
    def rows(self) -> int:
        """Rows of a panel."""
        return LANES * self.fields

    def bytes(self, rows: int, k: int) -> int:
        """Of a packed matrix (rows, k)."""
        return -(-rows // self.rows) * lines(k) * LINE


FORMATS = {f.name: f for f in (Format("int4", 2, 16, -8, 7), Format("int2", 4, 4, -2, 1), Format("base3", 5, 3, -1, 1))}


def lines(k: int) -> int:
    """Lines of a panel whose rows have k weights."""
    return -(-k // QUAD)


def format_named(name: str) -> Format:
    if name not in FORMATS:
        raise UserError(f"no packed weight format {name!r}; known: {', '.join(FORMATS)}")
    return FORMATS[name]


def choose(weights: np.ndarray, isa, m: int = 1, streamed: bool | None = None) -> str | None:
    """The format in which integers (rows, k) are multiplied fastest by m rows of activations; None: keep 8 bits.

    base3 pays where weights come from memory and its digits are looked up in one step, for a vector of activations; else it is int2 that
    is faster.  `streamed` says whether they do; by default matrices above STREAMED bytes.  None also where so few rows fill a panel
    badly, that 8 bits take no more.
    """
    w = _matrix(weights)
    lo, hi, (rows, k) = int(w.min()), int(w.max()), w.shape
    if streamed is None:
        streamed = FORMATS["int2"].bytes(rows, k) > STREAMED
    quick = [n for n in FORMATS if n != "base3" or streamed and m == 1 and isa.lookup == "permute"]
    holding = [n for n in quick if FORMATS[n].lo <= lo and hi <= FORMATS[n].hi]
    best = min(holding, key=lambda n: FORMATS[n].bytes(rows, k), default=None)
    return best if best and FORMATS[best].bytes(rows, k) < -(-rows // LANES) * lines(k) * LINE else None


def pack(weights: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(packed bytes, sum of each row as int64) of integers (rows, k).

    UserError: not a matrix of integers, a weight outside of the format's interval.
    """
    f, w = format_named(name), _matrix(weights)
    if not f.lo <= w.min() <= w.max() <= f.hi:
        raise UserError(f"{name} holds {f.lo}..{f.hi}, given weights in {w.min()}..{w.max()}; take a wider format")
    rows, k = w.shape
    panels, n = -(-rows // f.rows), lines(k)
    digits = np.full((panels * f.rows, n * QUAD), f.zero, np.uint8)  # what is padded is weight 0
    digits[:rows, :k] = w + f.zero
    split = digits.reshape(panels, f.fields, LANES, n, QUAD).transpose(1, 0, 3, 2, 4)  # (field, panel, line, lane, quad)
    packed = sum(d * np.uint8(f.radix ** j) for j, d in enumerate(split))
    return np.ascontiguousarray(packed, np.uint8).reshape(-1), w.sum(1, dtype=np.int64)


def unpack(packed: np.ndarray, name: str, rows: int, k: int) -> np.ndarray:
    """The int8 weights (rows, k) of packed bytes.

    UserError: too many or too few bytes, a byte that is no number of `fields` digits (243..255 of base3), padding that is not 0.
    """
    f, data = format_named(name), np.asarray(packed)
    if data.dtype != np.uint8 or data.shape != (f.bytes(rows, k),):
        raise UserError(f"{name} weights ({rows}, {k}) take {f.bytes(rows, k)} bytes, given {data.dtype} {data.shape}; they are damaged "
                        "or of another shape")
    if data.size and data.max() >= f.radix ** f.fields:
        at = int(np.argmax(data >= f.radix ** f.fields))
        raise UserError(f"byte {at} of {name} weights is {data[at]}, the largest legal one is {f.radix ** f.fields - 1}; they are damaged")
    panels = data.reshape(-1, lines(k), LANES, QUAD)
    digits = np.stack([panels // f.radix ** j % f.radix for j in range(f.fields)])  # (field, panel, line, lane, quad)
    w = digits.transpose(1, 0, 3, 2, 4).reshape(len(panels) * f.rows, -1).astype(np.int8) - np.int8(f.zero)
    if w[rows:].any() or w[:, k:].any():
        raise UserError(f"the padding of {name} weights ({rows}, {k}) is not zero; they are damaged or of another shape")
    return w[:rows, :k]


def _matrix(weights) -> np.ndarray:
    w = np.asarray(weights)
    if w.ndim != 2 or not np.issubdtype(w.dtype, np.integer) or not w.size:
        raise UserError(f"weights to pack: give integers (rows, k), given {w.dtype} {w.shape}")
    return w
