"""Where Yosys puts a memory: block RAM, LUT RAM or logic.

Source: Yosys passes/memory/memory_libmap.cc (cost of a mapping), techlibs/lattice/brams_16kd.txt and lutrams_trellis.txt
(cost of a cell).  We differ: only memories with one read port and at most one write port are known.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """One kind of memory cell: `cost` of one in memory_libmap's scale, word widths by log2, address bits at width 1."""
    cost: float
    widths: tuple[int, ...]
    abits: int
    byte: int = 1  # granularity of write enables


@dataclass(frozen=True)
class Memory:
    """What a memory of one read and at most one write port becomes.

    Cells of block RAM, cells of LUT RAM, bits of a table in logic, and inputs of the multiplexers behind the cells (0 where
    one cell is deep enough).
    """
    bram: int = 0
    lutram: int = 0
    rom_bits: int = 0
    mux: int = 0


ROM_BIT = 1 / 16   # memory_libmap: a bit of a read-only memory in logic
EMULATION = 2.0    # of one port that is not shared; more for what is never used here
BLOCKS = {"ecp5": Block(128, (1, 2, 4, 9, 18, 36), 14, 9)}
LUTRAMS = {"ecp5": Block(4, (4,), 4)}


def place(depth: int, width: int, writable: bool, family: str, clocked: bool = True, kind: int = 0) -> Memory:
    """Where a memory of `depth` words of `width` bits goes; a single word is no memory, and block RAM is read with the clock.

    kind: 0 wherever it is cheapest, 1 or 2 a table in logic, 3 block RAM.
    """
    if depth == 1:
        return Memory()
    found = []
    block, small = BLOCKS[family], LUTRAMS.get(family)
    if clocked and kind in (0, 3):
        cost, cells, mux = _best(block, depth, width, writable)
        found.append((cost, Memory(bram=cells, mux=mux)))
    if writable and small:
        cost, cells, mux = _best(small, depth, width, writable)
        found.append((cost, Memory(lutram=cells, mux=mux)))
    if not writable and kind != 3:
        found.append((depth * width * ROM_BIT, Memory(rom_bits=depth * width)))
    return min(found, key=lambda f: f[0])[1]


def _best(block: Block, depth: int, width: int, writable: bool) -> tuple[float, int, int]:
    """(cost, cells, multiplexer inputs) of the cheapest word width."""
    options = []
    for log, bits in enumerate(block.widths):
        byte = min(block.byte, bits) if writable else 1
        rows = -(-depth // (1 << (block.abits - log if len(block.widths) > 1 else block.abits)))
        cells = -(-rows * (-(-width // byte) * byte) // bits)
        mux = (rows - 1) * width
        demux = rows if writable and rows > 1 else 0
        options.append((block.cost * cells + 0.5 * mux + 0.5 * demux + EMULATION, cells, mux))
    return min(options)
