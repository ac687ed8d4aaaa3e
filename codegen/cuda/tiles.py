"""Which tiles a product of matrices is computed in, for few samples and for many."""
from collections.abc import Callable
from dataclasses import replace

from .gemm import Product, Tile, step
from .gemv import gemv
from .kernel import Step

WAVE = 132  # blocks that a large GPU runs at once: fewer leave it idle
TILES = {"mma": (Tile("mma", (2, 2), (1, 2)), Tile("mma", (2, 2), (2, 4)), Tile("mma", (2, 4), (4, 4))),  # 32 x 32, 64 x 64, 128 x 128
         "dp4a": (Tile("dp4a", (2, 2), (4, 2)), Tile("dp4a", (2, 2), (8, 4)))}                            # 32 x 32, 64 x 64
MANY = 256  # samples beyond which no tile is made: it would never be run
NARROW = 16  # columns up to which all warps stand one above the other
FEW = 8     # rows up to which a warp takes one element of the result


def steps(name: Callable[[], str], p: Product, tile: Tile | str) -> list[Step]:
    """One kernel for each range of sample counts: the largest tiles that still give every multiprocessor a block."""
    if isinstance(tile, Tile):
        return [step(name(), p, tile)]
    found, least = [], 1
    if p.joined and p.rows == 1 and p.stack == 1:
        found.append(gemv(name(), p, 1, FEW))
        least = FEW + 1
    return found + _ranges(name, p, TILES[tile], least)


def _ranges(name, p: Product, offered, least: int) -> list[Step]:
    """The tiles, smallest first, each from the number of samples on that fills the GPU."""
    narrow = p.columns <= NARROW
    begins: list[tuple[int, Tile]] = []
    for t in offered if not narrow else (replace(t, warps=(t.warps[0] * t.warps[1], 1), each=(t.each[0], 2)) for t in offered[:2]):
        blocks = p.rows * p.stack * -(-p.columns // t.columns)
        begin = -(-WAVE * t.rows // blocks)
        if not begins:
            begins.append((least, t))
        elif begin <= MANY and t.columns < 2 * p.columns:
            begins = [(b, u) for b, u in begins if b < begin] + [(max(begin, least), t)]
    ends = [b - 1 for b, _ in begins[1:]] + [None]
    return [step(name(), p, t, b, e) for (b, t), e in zip(begins, ends)]
