"""Loop nests in TIR: the few shapes of computation that all ops of the graph share.

A kernel is a PrimFunc (arguments, constants, result) whose first axis is the batch.  Values are stored in the narrowest word
(codegen/words.py) and computed in int32 where the type proves that enough, else in int64; there are no floats.  `post(value,
index)` is what happens to a finished element on its way to the result: nothing, or a fused requant.
"""
import math
from contextlib import ExitStack, contextmanager

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

LANES = 16    # accumulators side by side: output channels, one AVX-512 vector or two AVX2 vectors of int32
COLUMNS = 8   # at most so many output columns share one load of weights


class Kernel:
    """Buffers of one PrimFunc: `args` and `consts` to read, `out` to write; `func` is the result after the with block."""

    def __init__(self, batch: int | None, args, consts, out):
        """Each of args, consts and out is (shape, dtype), args and out without the batch axis; batch None is symbolic."""
        self.batch, self.shapes, self.out_shape = batch, (args, consts, out), out[0]

    @contextmanager
    def define(self):
        args, consts, out = self.shapes
        with IRBuilder() as ib:
            with T.prim_func(is_private=True, s_tir=True):
                T.func_name("kernel")
                n = self.batch if self.batch else T.int64()
                handles = [T.arg(f"p{i}", T.handle()) for i in range(len(args) + len(consts) + 1)]
                shapes = [*((n, *s) for s, _ in args), *(s for s, _ in consts), (n, *out[0])]
                buffers = [T.match_buffer(h, s, d) for h, s, (_, d) in zip(handles, shapes, (*args, *consts, out))]
                self.n, self.args, self.consts, self.out = n, buffers[:len(args)], buffers[len(args):-1], buffers[-1]
                with T.sblock("root"):  # the passes of Relax look for it
                    yield self
        self.func = ib.get()

    @contextmanager
    def outer(self, *extents: int):
        """Indices of the batch and of axes of these extents: one parallel loop."""
        with T.parallel(self.n * math.prod(extents)) as i:
            index = []
            for e in reversed(extents):
                index.append(i % e)
                i = i // e
            yield i, *reversed(index)


@contextmanager
def loops(*extents: int):
    """Indices of nested serial loops."""
    with ExitStack() as stack:
        yield [stack.enter_context(T.serial(e)) for e in extents]


def lanes(width: int, body) -> None:
    """body(j) for every j < width, in vectors of LANES and, at the end, of smaller powers of two.

    Vectors are written out because LLVM's own are switched off (codegen/tvm.py says why).
    """
    start, size = 0, LANES
    while start < width:
        count = (width - start) // size
        if count:
            with loops(count) as (o,), T.vectorized(size) as v:
                body(start + o * size + v if count > 1 else start + v)
        start, size = start + count * size, size // 2


def elementwise(k: Kernel, space, body, place=lambda *index: index) -> None:
    """out[place(index)] = body(index) for every index of (batch, *space)."""
    def store(*index):
        T.buffer_store(k.out, body(*index).astype(k.out.dtype), list(place(*index)))
    if not space:
        with k.outer() as index:
            return store(*index)
    with k.outer(*space[:-1][:2]) as first, loops(*space[:-1][2:]) as rest:
        lanes(space[-1], lambda j: store(*first, *rest, j))


def rows(k: Kernel, dtype: str, start, reduction, step, post) -> None:
    """out[..., j] = post(fold of step(acc, taps, index) over `reduction`), the whole last axis side by side."""
    *head, width = k.out_shape
    with k.outer(*head) as first:
        acc = T.alloc_buffer((width,), dtype)
        lanes(width, lambda j: T.buffer_store(acc, start(*first, j).astype(dtype), [j]))
        with loops(*reduction) as taps:
            lanes(width, lambda j: T.buffer_store(acc, step(acc[j], taps, (*first, j)), [j]))
        lanes(width, lambda j: T.buffer_store(k.out, post(acc[j], (*first, j)).astype(k.out.dtype), [*first, j]))


def tiles(k: Kernel, dtype: str, grid, columns: int, reduction, x, w, bias, place, post) -> None:
    """Dot products, tile by tile: some positions (`columns`) by some channels (lanes) are summed in registers.

    grid is (groups, channels of a group, *rows).  For group g, row r, position c and channel o of the group:
    out[place(i, g, o, r, c)] = post(bias(g, o) + sum over taps of x(i, g, r, c, taps) * w(g, block, taps, lane)), where
    o = block * lanes + lane.  x must be readable up to the last whole tile of positions.
    """
    groups, channels, *space = grid
    width, wide = lanes_of(channels), columns_of(columns)
    with k.outer(groups, -(-channels // width), *space) as (i, g, block, *r), loops(-(-columns // wide)) as (strip,):
        acc = T.alloc_buffer((wide * width,), dtype, scope="local")
        with T.unroll(wide) as c, T.vectorized(width) as v:
            T.buffer_store(acc, tirx.const(0, dtype), [c * width + v])
        with loops(*reduction) as taps, T.unroll(wide) as c, T.vectorized(width) as v:
            term = x(i, g, r, strip * wide + c, taps).astype(dtype) * w(g, block, taps, v).astype(dtype)
            T.buffer_store(acc, acc[c * width + v] + term, [c * width + v])
        done = T.alloc_buffer((wide * width,), dtype)  # only constant indices into acc: that keeps it in registers
        with T.unroll(wide) as c, T.vectorized(width) as v:
            T.buffer_store(done, acc[c * width + v], [c * width + v])
        with ExitStack() as stack:
            v, c = stack.enter_context(loops(width, wide))
            position, channel = strip * wide + c, block * width + v
            inside = [p < n for p, n, d in ((position, columns, wide), (channel, channels, width)) if n % d]
            if inside:
                stack.enter_context(T.If(tirx.all(*inside)))
                stack.enter_context(T.Then())
            index = place(i, g, channel, r, position)
            value = post(done[c * width + v] + bias(g, channel).astype(dtype), index)
            T.buffer_store(k.out, value.astype(k.out.dtype), list(index))


def lanes_of(channels: int) -> int:
    """Channels of one tile: LANES, or the next power of two where there are fewer."""
    return min(LANES, 1 << (channels - 1).bit_length())


def columns_of(columns: int) -> int:
    """Positions of one tile: at most COLUMNS, so that little is computed in vain; a ragged end costs a padded copy besides."""
    def cost(c: int): return -(-columns // c) * (c + 2) + (columns % c > 0) * columns / 4, -c
    return min(range(1, COLUMNS + 1), key=cost)
