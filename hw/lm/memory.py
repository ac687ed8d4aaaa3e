"""What a language-model core has to keep, and which memories of a chip that takes."""
from dataclasses import dataclass
from math import ceil

from ir.lm.words import GAIN_BITS, STATE_BITS, Words

from .layout import Machine
from .shape import Shape

BLOCK = {36: 512, 18: 1024, 9: 2048, 4: 4096, 2: 8192, 1: 16384}  # bits of a word -> words of a block RAM of 18 kbit (ECP5, Xilinx)
ULTRA_BITS, ULTRA_WORDS = 72, 4096
SMALL = {"ecp5": 64, "xc7": 64, "xcup": 64}  # words at most of a memory of LUTs
BUFFERS, PREFETCH, EXPONENTS = 3, 256, 512   # of activations; beats read ahead; entries of both tables
LISTING = 14                                 # steps of the microprogram for each of a layer's halves, at most
STEP_BITS = 144


@dataclass(frozen=True)
class Store:
    """`copies` memories of `words` words of `bits` bits.  constant: never written by the core; outer: it may stand off the chip."""
    name: str
    words: int
    bits: int
    copies: int = 1
    constant: bool = False
    outer: bool = False

    @property
    def size(self) -> int:
        """Bits in all."""
        return self.words * self.bits * self.copies


@dataclass(frozen=True)
class Placed:
    """A store, what it stands in (DDR4, uram, bram, lut ...) and how many of that it takes (bytes of an outer memory)."""
    store: Store
    where: str
    number: int


def stores(s: Shape, m: Machine, w: Words) -> list[Store]:
    """Everything that a core keeps of a model of this shape; the memories of hw/rtl/qs_lm_*.sv."""
    longest, lanes = max(s.dim, s.hidden), m.lanes
    curve, pieces = 2 * w.gate + w.sigmoid + 3, 1 << w.whole + 1 + w.pieces
    found = [
        Store("ternary weights", s.beats(m.engines, m.trits), m.beat_bits, m.engines, constant=True, outer=True),
        Store("embeddings", s.tokens * s.dim, s.embedding_bits, constant=True, outer=True),
        Store("gains", s.layers * (3 * s.dim + s.hidden) + s.dim, 2 * GAIN_BITS, constant=True),
        Store("gains of f and i", s.layers * s.dim, 2 * GAIN_BITS, constant=True),
        Store("lower bounds", s.layers * s.dim, w.sigmoid + 1, constant=True),
        Store("curves", 3 * pieces, curve, constant=True),
        Store("program", 2 * LISTING * s.layers + 8, STEP_BITS, constant=True),
        Store("state", s.layers * s.dim, STATE_BITS),
        Store("residual", s.dim, w.residual_bits),
        Store("vectors", ceil(longest / lanes), w.vector_bits, 4 * lanes),
        Store("sums", longest, (w.top * longest).bit_length() + 1),
        Store("forget gates", s.dim, w.sigmoid),
        Store("activation codes", BUFFERS * m.beats(longest), lanes * w.code_bits, m.trits // lanes),
        Store("exponents", EXPONENTS, 17, int(m.top_k > 1), constant=True),
        Store("prefetch", PREFETCH, m.beat_bits, m.engines * m.far)]
    return [v for v in found if v.size]


def place(all_stores: list[Store], family: str, resources: dict[str, int], outer: str = "") -> list[Placed]:
    """Where each store goes, the largest first; what finds no room is counted as block RAM beyond what there is.

    outer: the kind of the outer memory, or "" where all has to stand on the chip.  A store goes where it takes the smaller share of
    what there is.
    """
    left, out = {k: resources[k] for k in ("bram", "uram")}, []
    for v in sorted(all_stores, key=lambda v: -v.size):
        if outer and v.outer:
            out.append(Placed(v, outer, ceil(v.size / 8)))
            continue
        if v.words <= SMALL[family]:
            out.append(Placed(v, "lut", v.copies * luts(v, family)))
            continue
        need = {"bram": v.copies * blocks(v.words, v.bits), "uram": v.copies * ceil(v.words / ULTRA_WORDS) * ceil(v.bits / ULTRA_BITS)}
        able = [k for k in need if need[k] <= left[k]]
        where = min(able, key=lambda k: need[k] / resources[k]) if able else "bram"
        left[where] -= need[where]
        out.append(Placed(v, where, need[where]))
    order = {v.name: k for k, v in enumerate(all_stores)}
    return sorted(out, key=lambda p: order[p.store.name])


def blocks(words: int, bits: int) -> int:
    """Block RAMs of 18 kbit for such a memory with one port to read and one to write."""
    return min(ceil(bits / width) * ceil(words / depth) for width, depth in BLOCK.items())


def luts(v: Store, family: str) -> int:
    """LUTs of a small memory: on ECP5 six for 16 words of 4 bits, on Xilinx eight for 64 words of 7; of a constant its bits in LUTs."""
    if v.constant:
        return ceil(v.words / (16 if family == "ecp5" else 64)) * v.bits
    return ceil(v.words / 16) * ceil(v.bits / 4) * 6 if family == "ecp5" else ceil(v.words / 64) * ceil(v.bits / 7) * 8
