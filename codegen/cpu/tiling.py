"""How a kernel of products goes about its positions and channels: the tile that stays in registers, and the order of tiles."""
import math
from dataclasses import dataclass

from .choices import Choices
from .dots import Dot
from .field import Field

L1, L2 = 20 << 10, 256 << 10  # bytes that one of the operands may take of a cache
TASKS = 48        # about so many tasks are enough for any number of threads
EPILOGUE = 7      # cycles for what happens to a vector of sums
LATENCY = 5       # cycles from a sum to the next one in the same register
START = 24        # cycles to begin and end a tile
VARIANT = 0.015   # share of time for which another body of code is not worth it


@dataclass(frozen=True)
class Tiling:
    """Tiles of `rows` x `columns` positions by `vectors` of channels, which `ways` chains of sums share.

    A task takes `chunk` rows of tiles (tiles, if there is one row only); inside: all blocks of channels for each tile in turn.
    """
    rows: int
    columns: int
    vectors: int
    ways: int
    chunk: int
    inside: bool


def tiling(f: Field, dot: Dot, vectors: int, taps: int, steps: int, registers: int, choices: Choices) -> Tiling:
    """The cheapest tile of a group, and an order in which what is used again lies in a cache."""
    forms = sorted(shapes(f, dot, vectors, registers), key=lambda s: cycles(f, dot, vectors, taps * steps, *s))
    key = (f"{type(dot).__name__} {dot.each}x{dot.lanes}: {f.rows}x{f.columns} positions {f.step[0]},{f.step[1]} apart, "
           f"{f.groups}x{vectors} vectors, {taps}x{steps} steps")
    rows, columns, nt = choices.take(key, forms)
    blocks = f.groups * -(-vectors // nt)
    item = dot.each * dot.lanes * (2 if dot.dtype == "int16" else 1)
    inside = blocks * nt * taps * steps * item <= L1
    lines = -(-f.columns // columns) if f.rows == 1 else -(-f.rows // rows)
    ways = next((u for u in (4, 2) if rows * columns * nt * u <= 8 and steps % u == 0), 1)
    read = math.prod((rows, abs(f.step[0])) if f.rows > 1 else (columns, abs(f.step[1])))  # from one line of tiles to the next
    chunk = max(1, min(L2 // max(read, 1), -(-lines * (1 if inside else blocks) // TASKS), lines))
    return Tiling(rows, columns, nt, ways, chunk, inside)


def shapes(f: Field, dot: Dot, vectors: int, registers: int):
    """(rows, columns, vectors) of every tile whose sums fit the registers; several rows only if they are whole."""
    for nt in range(1, min(vectors, 8) + 1):
        for columns in range(1, min(f.columns, 32) + 1):
            for rows in range(1, (f.rows if columns == f.columns else 1) + 1):
                if dot.registers(rows * columns, nt) <= registers:
                    yield rows, columns, nt


def cycles(f: Field, dot: Dot, vectors: int, steps: int, rows: int, columns: int, nt: int) -> float:
    """An estimate of the time for one group of channels."""
    total, parts = 0.0, []
    for r, times in split(f.rows, rows):
        for c, more in split(f.columns, columns):
            parts.append(r * c)
            total += times * more * (steps * step_cycles(dot, r * c, nt, steps) + EPILOGUE * r * c * nt + START)
    return total * -(-vectors // nt) * (1 + VARIANT * (len(parts) - 1) + VARIANT * sum(parts) * nt / 100)


def step_cycles(dot: Dot, positions: int, nt: int, steps: int) -> float:
    """Cycles of one step of one tile; wide vectors are taken to run at one an instruction and cycle, others at two, loads at two.

    Loads that hide behind the arithmetic still cost a little, whole vectors more than elements that go to all lanes.
    """
    pace, (add, read, weigh) = (1 if dot.lanes == 16 else 2), dot.cost
    vectors = nt * (1 if steps * nt * dot.lanes * dot.each <= L1 else 2.5)
    compute = (positions * nt * add + positions * read + nt * weigh) / pace
    return max(compute, (vectors + positions) / 2, LATENCY) + (vectors + positions / 2) / 8


def split(size: int, part: int) -> list[tuple[int, int]]:
    """(length, how many): whole parts, and what is left."""
    return [(p, n) for p, n in ((part, size // part), (size % part, 1)) if p and n]
