"""Convolutions whose every output channel reads one input channel: channels side by side, the taps of several rows in each lane.

Where an instruction adds four (or two) products to a lane, a lane takes the elements of four (two) rows of one column.  A column that was put
together once serves all output rows of the tile and all kernel columns.
"""
import itertools
import math
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import Conv, Ints, Node

from ..words import INT32, magnitude, narrow
from .body import Body
from .field import field_of
from .kernel import Kernel, Tensor, lane, shuffle, starts

ROWS = (1, 2, 3, 4)  # output rows of a tile
VECTORS = 16         # results of a tile, in vectors of channels, at most
PRODUCTS = 200       # instructions of a tile that add products, about, at most: larger ones take long to compile
SPARE = 8            # channels behind the last one whose constants may be read in vain
EPILOGUE = 8         # instructions that finish a vector of results, about


def depthwise(n: Node, x: Tensor, types: dict[str, Ints]) -> bool:
    """Whether `write_depthwise` can compute the node: one input channel for each output, and no sum leaves int32 in any order."""
    op, t = n.op, types[n.args[0]]
    if not isinstance(op, Conv) or op.groups == 1 or op.weight.shape[1] != 1:
        return False
    out = len(op.weight)
    each, weights = out // op.groups, int(abs(op.weight).reshape(out, -1).sum(1).max())
    stored = 255 if x.place.dtype in ("uint8", "int8") else max(magnitude(t), abs(op.pad))
    bound = int(abs(op.bias).max()) + (abs(x.place.base) + stored) * weights + magnitude(n.type)
    return bound <= INT32 and (each == 1 or each in (2, 4) and out % 16 == 0)


@dataclass(frozen=True)
class Plane:
    """The convolution of one channel: results, taps, and how far apart (in elements of x) and in which steps."""
    size: tuple[int, int]      # results: rows, columns
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    unit: tuple[int, int]      # elements of memory from one row (column) of x to the next

    def turned(self) -> "Plane":
        """The same with rows for columns."""
        return Plane(*(v[::-1] for v in (self.size, self.kernel, self.stride, self.dilation, self.unit)))

    def chunks(self, rows: int, together: int) -> list[tuple[int, ...]]:
        """The rows of x that so many output rows read, as many in a chunk as an instruction adds up."""
        read = sorted({o * self.stride[0] + y * self.dilation[0] for o in range(rows) for y in range(self.kernel[0])})
        return [tuple(read[i:i + together]) for i in range(0, len(read), together)]

    def taps(self, row: int, chunk: tuple[int, ...]) -> list[int | None]:
        """The kernel row that meets each row of the chunk on behalf of an output row."""
        found = [divmod(c - row * self.stride[0], self.dilation[0]) for c in chunk]
        return [y if rest == 0 and 0 <= y < self.kernel[0] else None for y, rest in found]


def write_depthwise(k: Kernel, n: Node, x: Tensor, types: dict[str, Ints], body: Body) -> None:
    f = field_of(n, x)
    flat = len(n.op.stride) == 1
    stride, dilation = ((1, *n.op.stride), (1, *n.op.dilation)) if flat else (n.op.stride, n.op.dilation)
    weight, index = f.weight[:, 0], f.index
    plane = Plane((f.rows, f.columns), weight.shape[1:], stride, dilation, tuple(t // d for t, d in zip(f.tap, dilation)))
    if plane.kernel[0] < plane.kernel[1]:
        plane, weight, index = plane.turned(), weight.swapaxes(1, 2), lambda o, r, c: f.index(o, c, r)
    bias = f.bias + x.place.base * weight.sum((1, 2))
    if (lift := body.lift(n)) is not None:
        bias = bias - lift
    Depthwise(k, n, x, plane, weight, bias, f.origin, index, body).write()


class Depthwise:
    def __init__(self, k: Kernel, n: Node, x: Tensor, plane: Plane, weight: np.ndarray, bias: np.ndarray, origin, index, body: Body):
        self.k, self.name, self.x, self.plane, self.weight, self.origin, self.index, self.body = k, n.name, x, plane, weight, origin, index, body
        self.out, self.each = len(weight), len(weight) // n.op.groups
        self.together = k.isa.together(weight.min(), weight.max()) if x.place.dtype == k.isa.byte else 1
        self.bias = k.constant(np.pad(((bias + (1 << 31)) % (1 << 32) - (1 << 31)).astype(np.int32), (0, SPARE)))
        self.rows, self.columns = self.tile()
        self.chunks = plane.chunks(self.rows, self.together)
        self.weights = self.packed()

    def tile(self) -> tuple[int, int]:
        """Output rows and columns of a tile: the fewest instructions for each result."""
        rows, columns = self.plane.size
        kc, sc = self.plane.kernel[1], self.plane.stride[1]

        def cost(tile):
            r, c = tile
            chunks = self.plane.chunks(r, self.together)
            weights = sum(any(y is not None for y in self.plane.taps(o, chunk)) for o in range(r) for chunk in chunks) * kc
            built = len(chunks) * self.together * ((c - 1) * min(sc, kc) + kc)
            spilt = max(0, weights + r * -(-kc // sc) + 6 - self.k.isa.registers)  # vectors that find no register
            each = c * (weights * (1 if self.together == 4 else 2) + (3 * spilt if self.together == 4 else 0) + EPILOGUE * r) + built
            return -(-rows // r) * -(-columns // c) * (each + 10)
        most = PRODUCTS * self.together * self.k.isa.lanes // (max(self.k.isa.lanes, 8) * math.prod(self.plane.kernel))
        fits = [(r, c) for r in ROWS if r <= rows for c in range(1, columns + 1) if r * c <= max(min(VECTORS, most), 1)]
        return min(fits, key=cost)

    def packed(self) -> dict[tuple[int, int, int], tirx.Buffer]:
        """Weights for (output row, chunk, kernel column): for each channel one for each row of the chunk; equal ones once."""
        made = {}
        for o, (i, chunk) in itertools.product(range(self.rows), enumerate(self.chunks)):
            taps = self.plane.taps(o, chunk)
            if any(y is not None for y in taps):
                w = np.zeros((self.plane.kernel[1], self.out, self.together), np.int64)
                for j, y in enumerate(taps):
                    if y is not None:
                        w[:, :, j] = self.weight[:, y].T
                for z in range(self.plane.kernel[1]):
                    made[o, i, z] = w[z]
        kinds = {v.tobytes(): v for v in made.values()}
        at = {key: i * self.out * self.together for i, key in enumerate(kinds)}
        dtype = {4: "int8", 2: "int16"}.get(self.together)
        table = np.stack(list(kinds.values()))
        table = np.pad((table.astype(dtype) if dtype else narrow(table)).reshape(-1), (0, SPARE * self.together))
        self.table = self.k.constant(table)
        return {key: at[v.tobytes()] for key, v in made.items()}

    def write(self) -> None:
        """All tiles; the last of a row, column or block of channels that does not fill one begins earlier and computes some results again."""
        size = min(max(self.k.isa.lanes, 8), self.out)
        count, rest = divmod(self.out, size)
        half = size // 2 if 0 < rest <= size // 2 else 0  # the last channels in a vector of half the width
        sizes, wide = (*self.plane.size, self.out - rest if half else self.out), (self.rows, self.columns, size)
        with self.k.tasks(*(s // w for s, w in zip(sizes, wide))) as task, starts(task, sizes, wide) as (r, c, o):
            self.block(o, size, r, c)
            if half:
                with T.If(task[-1] == count - 1), T.Then():
                    self.block(self.out - half, half, r, c)

    def block(self, o, lanes: int, r, c) -> None:
        """The tile of results of `lanes` channels from o, rows from r and columns from c."""
        kc, (sr, sc), dc = self.plane.kernel[1], self.plane.stride, self.plane.dilation[1]
        first = self.origin + r * (sr * self.plane.unit[0]) + c * (sc * self.plane.unit[1]) + (o // self.each if self.each > 1 else o)
        acc, width = {}, whole(lanes)
        for column in sorted({q * sc + z * dc for q in range(self.columns) for z in range(kc)}):
            built = [self.build(first + column * self.plane.unit[1], chunk, lanes) for chunk in self.chunks]
            for q, z, p in itertools.product(range(self.columns), range(kc), range(self.rows)):
                if q * sc + z * dc != column:
                    continue
                if z == 0:
                    acc[p, q] = self.k.registers(width)
                    T.buffer_store(acc[p, q], self.bias[T.ramp(o, 1, width)], [T.ramp(0, 1, width)])
                for i, taken in enumerate(built):
                    if (p, i, z) in self.weights:
                        self.add(acc[p, q], taken, self.weights[p, i, z], o, width)
                if z == kc - 1:
                    self.body.store(self.index(lane(o, lanes), r + p, c + q), **{self.name: acc[p, q][lane(0, lanes)]})

    def build(self, at, chunk: tuple[int, ...], lanes: int) -> tirx.Buffer:
        """One column of the rows of the chunk, those of a channel side by side."""
        taken, width, many = lanes // self.each, whole(lanes), self.together
        rows = [self.x.buffer[T.ramp(at + row * self.plane.unit[0], 1, taken)] for row in chunk]
        order = [min(j, len(chunk) - 1) * taken + min(i, lanes - 1) // self.each for i in range(width) for j in range(many)]
        made = rows[0] if order == list(range(taken)) else shuffle(rows, order)
        dtype = {1: "int32", 2: "int16", 4: self.x.place.dtype}[many]
        held = self.k.registers(width * many, dtype)
        T.buffer_store(held, made.astype(f"{dtype}x{width * many}"), [T.ramp(0, 1, width * many)])
        return held

    def add(self, acc: tirx.Buffer, taken: tirx.Buffer, at: int, o, width: int) -> None:
        """acc += the products of a chunk, whose weights lie at `at`."""
        many, size = self.together, min(width, self.k.isa.lanes)
        for start in range(0, width, size):
            a = T.ramp(start, 1, size)
            values = taken[T.ramp(start * many, 1, size * many)]
            weights = self.table[T.ramp(at + (o + start) * many, 1, size * many)]
            T.buffer_store(acc, self.k.isa.add_products(acc[a], values, weights, many, size), [a])


def whole(lanes: int) -> int:
    """The width of the vector that computes so many channels, some of them in vain."""
    return max(4, 1 << (lanes - 1).bit_length())
