"""The terms of which hw/cost/models.py makes up the cost of a module: memories, products, counters."""
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ir import Registry

from .memory import Memory, place

KNOWN = {"carry": 1.0, "lutram": 6.0}  # terms of LUTs that are counted, not fitted: carry chains, cells of LUT RAM
MODELS: Registry = Registry("hardware module")
Terms = dict[str, float]


@dataclass
class Parts:
    """The terms of one module with given parameters.

    `lut` and `ff`: term -> amount; `dsp` and `bram` are final; `roms`: parameter -> (words, bits of a word).
    """
    lut: Terms = field(default_factory=dict)
    ff: Terms = field(default_factory=dict)
    dsp: int = 0
    bram: int = 0
    roms: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, kind: str, **amounts: float) -> None:
        terms = getattr(self, kind)
        for k, v in amounts.items():
            terms[k] = terms.get(k, 0) + v


class Params:
    """Parameters of an instance by their SystemVerilog names; `family` and `dsp_bits` say how it is mapped."""

    def __init__(self, values: Mapping, family: str, dsp_bits: int):
        self._values, self.family, self.dsp_bits = values, family, dsp_bits

    def __getattr__(self, name: str) -> int:
        v = self._values[name]
        return getattr(v, "value", v)


def model(name: str) -> Callable: return MODELS.register(name)


def log2(n: int) -> int: return max(1, (n - 1).bit_length())


def pairs(width: int) -> int:
    """A carry chain takes LUTs in pairs."""
    return width + width % 2


def counter(out: Parts, *sizes: int) -> None:
    """Counters up to sizes - 1; one of a single step is nothing."""
    bits = sum(log2(s) for s in sizes if s > 1)
    out.add("lut", counter=bits)
    out.add("ff", counter=bits)


def distinct(width: int, depth: int) -> float:
    """Columns of a random table that no other column equals and that are not constant, as expected: Yosys merges the rest."""
    patterns = 2.0 ** min(depth, 60)
    return (patterns - 2) * -math.expm1(width * math.log1p(-1 / patterns))


def memory(out: Parts, p: Params, depth: int, width: int, writable: bool, rom: str = "", registered: int = 1, kind: int = 0) -> Memory:
    """A memory with `registered` words of output registers, of which a block RAM has the first."""
    m = place(depth, width, writable, p.family, kind=kind)
    out.bram += m.bram
    columns = distinct(width, depth) if m.rom_bits else width
    if m.rom_bits:
        out.add("lut", **({"rom": columns * depth / 16} if depth > 16 else {"small_rom": columns}))
    out.add("lut", lutram=m.lutram, memory_mux=m.mux)
    alone = writable if depth == 1 else -(m.bram > 0)  # a single word is a register, or a constant
    out.add("ff", memory_out=0 if depth == 1 and not writable else columns * (registered + alone),
            memory_mux=log2(m.mux // width + 1) if m.mux and m.bram else 0)
    if rom:
        out.roms[rom] = (depth, width)
    return m


def product(out: Parts, p: Params, count: int, a: int, a_signed: int, b: int, b_signed: int, constant: bool = False) -> int:
    """`count` products of an a-bit and a b-bit operand: rows of adders (hw/data/arith.v) or multiplier blocks; the width of one."""
    rows, other = (a, b + (not b_signed)) if a < b else (b, a + (not a_signed))
    small = rows * other < p.dsp_bits ** 2
    if small and constant:
        out.add("lut", constant_rows=count * (rows - 1) * pairs(other + 1))
    elif small:
        out.add("lut", carry=count * (rows - 1) * pairs(other + 1), row0=count * other)
    else:
        blocks = tiles(a + (not a_signed)) * tiles(b + (not b_signed))
        out.dsp += count * blocks
        out.add("lut", tiles=count * (blocks - 1) * pairs(max(2, a + b - 17)))
    return a + (not a_signed) + b + (not b_signed)


def tiles(width: int) -> int:
    """18-bit multiplier blocks side by side, 17 bits of a signed operand each; up to 2 bits that are left over go into LUTs."""
    return max(1, -(-(width - 2) // 17))
