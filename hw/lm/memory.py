"""Which memories of a chip take what a language-model core has to keep."""
from dataclasses import dataclass
from math import ceil

from .layout import Machine
from .outline import PROG_BITS
from .room import SMALL, memories

BLOCK = {36: 512, 18: 1024, 9: 2048, 4: 4096, 2: 8192, 1: 16384}  # bits of a word -> words of a block RAM of 18 kbit (ECP5, Xilinx)
ULTRA_BITS, ULTRA_WORDS = 72, 4096
BUFFERS = 3                                                      # of activations


@dataclass(frozen=True)
class Store:
    """`copies` memories of `words` words of `bits` bits.  written: by the core; outer: it stands off the chip with the weights."""
    name: str
    words: int
    bits: int
    copies: int = 1
    written: bool = False
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


def stores(q: dict[str, int], m: Machine) -> list[Store]:
    """Everything that a core keeps; q: parameters of qs_lm_core.

    With weights in an outer memory the embeddings are there, too.
    """
    found = [Store("weights", q["WeightWords"], m.beat_bits, m.engines, outer=m.far)]
    found += [Store(name, words, bits, copies, written, m.far and name == "embeddings")
              for name, (words, bits, copies, written) in memories(q, m).items() if name != "weights"]
    found.append(Store("activation codes", BUFFERS * m.beats(max(q["Dim"], q["Hidden"])), m.lanes * q["ActWidth"], m.trits // m.lanes, True))
    found.append(Store("microprogram", q["ProgWords"], PROG_BITS))
    return [v for v in found if v.size]


def place(all_stores: list[Store], family: str, resources: dict[str, int], outer: str = "") -> list[Placed]:
    """Where each store goes, the largest first; what finds no room is counted as block RAM beyond what there is.

    outer: the kind of the outer memory.  A store goes where it takes the smaller share of what there is.
    """
    left, out = {k: resources[k] for k in ("bram", "uram")}, []
    for v in sorted(all_stores, key=lambda v: -v.size):
        if v.outer:
            out.append(Placed(v, outer, ceil(v.size / 8)))
            continue
        if v.words <= SMALL:
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
    """LUTs of a small memory: on ECP5 six for 16 words of 4 bits, on Xilinx eight for 64 words of 7."""
    return ceil(v.words / 16) * ceil(v.bits / 4) * 6 if family == "ecp5" else ceil(v.words / 64) * ceil(v.bits / 7) * 8
