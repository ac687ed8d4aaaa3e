"""Copies of values into another layout: rows at once, planes turned in registers, and the halo around a value."""
import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..tir import bits, kind_of
from .kernel import Kernel, Tensor, across, lane, loops, pieces, shuffle, starts
from .places import Place
from .pointwise import merged, sweep

BLOCK = 16     # bytes: blocks of so many by so many elements of one byte are turned at a time
INTERLEAVED = 4  # planes at most whose elements are put side by side straight away


def write_copy(k: Kernel, source: Place, to: Place) -> None:
    """The value at `source` again at `to`, as stored codes where both differ by a bit at most."""
    x, y = k.tensor(source), k.tensor(to)
    if not alike(source, to):
        dtype = "int32" if source.type.bits < 32 else "int64"
        return sweep(k, [source, to], to, set(), lambda i: y.put(x.value(*i, dtype=dtype), *i))
    axes = merged([source, to], to, set())
    across_x, across_y = (next((a for a, _ in axes if p.strides[a] == 1), None) for p in (source, to))
    if None in (across_x, across_y) or across_x == across_y or k.isa.lanes == 1:
        return sweep(k, [source, to], to, set(), lambda i: y.put_stored(recoded(x.stored(*i), source, to), *i), k.isa.lanes * 4)
    turn(k, x, y, dict(axes), across_x, across_y)


def alike(a: Place, b: Place) -> bool:
    """Whether the codes of both are equal, or bytes that differ in their first bit."""
    return a.dtype == b.dtype and a.base == b.base or {a.dtype, b.dtype} <= {"int8", "uint8"} and (a.base - b.base) % 128 == 0


def recoded(code, a: Place, b: Place):
    """A code of `a` as `b` stores it."""
    code = code if a.dtype == b.dtype else bits(code, b.dtype)
    if (a.base - b.base) % 256 == 0:
        return code
    first, (_, lanes) = tirx.const(-128 if b.dtype == "int8" else 128, b.dtype), kind_of(code)
    return code ^ (T.broadcast(first, lanes) if lanes > 1 else first)


def turn(k: Kernel, x: Tensor, y: Tensor, sizes: dict[int, int], inner_x: int, inner_y: int) -> None:
    """A copy between memories whose elements lie side by side along different axes."""
    size = BLOCK // np.dtype(x.place.dtype).itemsize
    outer = [a for a in sizes if a not in (inner_x, inner_y)]
    wide, planes = sizes[inner_x], sizes[inner_y]

    def at(place: Place, index: dict):
        return place.offset + sum(i * place.strides[a] for a, i in index.items())
    if planes <= INTERLEAVED and y.place.strides[inner_x] == planes and wide > 1:
        with k.tasks(*(sizes[a] for a in outer)) as index:
            for start, count, width in pieces(wide, size):
                with loops(count) as (i,):
                    first = start + i * width
                    here = dict(zip(outer, index))
                    rows = [x.buffer[lane(at(x.place, here | {inner_x: first, inner_y: p}), width)] for p in range(planes)]
                    made = shuffle(rows, [p * width + j for j in range(width) for p in range(planes)])
                    T.buffer_store(y.buffer, recoded(made, x.place, y.place), [lane(at(y.place, here | {inner_x: first}), width * planes)])
        return
    block = min(size, 1 << min(wide, planes).bit_length() - 1)
    ends = (*(sizes[a] for a in outer), planes, wide)
    edges = (*(1 for _ in outer), block, block)
    with k.tasks(*(e // w for e, w in zip(ends, edges))) as task, starts(task, ends, edges) as (*index, plane, first):
        here, lanes = dict(zip(outer, index)), [lane(0, block)]
        rows = [k.registers(block, x.place.dtype) for _ in range(block)]
        for i, row in enumerate(rows):
            T.buffer_store(row, x.buffer[lane(at(x.place, here | {inner_x: first, inner_y: plane + i}), block)], lanes)
        for i, column in enumerate(turned(k, rows, block)):
            to = lane(at(y.place, here | {inner_x: first + i, inner_y: plane}), block)
            T.buffer_store(y.buffer, recoded(column[lanes[0]], x.place, y.place), [to])


def turned(k: Kernel, rows: list[tirx.Buffer], size: int) -> list[tirx.Buffer]:
    """The columns of a square, by interleaving its rows log2(size) times: each time row i with row i + size / 2."""
    for _ in range(size.bit_length() - 1):
        made = []
        for low, high in zip(rows[:size // 2], rows[size // 2:]):
            both = [low[lane(0, size)], high[lane(0, size)]]
            for half in (0, size // 2):
                made.append(k.registers(size, low.dtype))
                T.buffer_store(made[-1], shuffle(both, [v * size + half + i for i in range(size // 2) for v in range(2)]), [lane(0, size)])
        rows = made
    return rows


def write_fill(k: Kernel, to: Place) -> None:
    """The halo of a place: what lies before and after its elements on each axis."""
    y, rank = k.tensor(to), len(to.shape)
    code = tirx.const(to.fill - to.base, to.dtype)
    with k.tasks(1):
        for i, axis in enumerate(a for a in to.order if any(to.halo[a])):
            outer = [a for a in to.order if any(to.halo[a])][:i]  # their halo is filled, with all that lies in it
            boxes = {a: (0, to.shape[a]) for a in range(rank)}
            boxes |= {a: (-to.halo[a][0], to.shape[a] + sum(to.halo[a])) for a in to.order if any(to.halo[a]) and a not in outer}
            for begin, count in ((-to.halo[axis][0], to.halo[axis][0]), (to.shape[axis], to.halo[axis][1])):
                if count:
                    fill(k, y, boxes | {axis: (begin, count)}, code)


def fill(k: Kernel, y: Tensor, box: dict[int, tuple[int, int]], code) -> None:
    """A box of stored codes: (first, count) of each axis."""
    *outer, inner = y.place.order
    with loops(*(box[a][1] for a in outer)) as at:
        index = {a: i + box[a][0] for a, i in zip(outer, at)}
        across(box[inner][1], k.isa.lanes * 4, lambda j: y.put_stored(code, *(index.get(a, j + box[inner][0]) for a in range(len(y.place.shape)))))
