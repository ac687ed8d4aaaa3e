"""Maxima and sums of windows."""
import math

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import Ints, Node, SumPool

from ..tir import cast
from ..words import calc, magnitude, word_of
from .body import Body
from .kernel import Kernel, Tensor, lane, loops, pieces
from .moves import alike, recoded

TASKS = 64  # about so many tasks are enough for any number of threads


def write_pool(k: Kernel, n: Node, x: Tensor, types: dict[str, Ints], body: Body) -> None:
    """Channels side by side, in the narrowest words that hold the codes or their sums."""
    channels, *space = n.type.shape
    dtype = accumulator(n, x, types[n.args[0]])
    most = k.isa.lanes * 4 // np.dtype(dtype).itemsize if k.isa.lanes > 1 else 1
    count, rest = divmod(channels, most)
    rows = space if math.prod(space[:-1]) < TASKS else space[:-1]
    with k.tasks(*rows, max(1, count)) as (*position, block), loops(*space[len(rows):]) as more:
        at = [*position, *more]
        if count:
            pooled(k, n, x, body, dtype, at, block * most, most)
        if rest:
            with T.If(block == max(1, count) - 1), T.Then():
                for start, number, size in pieces(rest, most):
                    for i in range(number):
                        pooled(k, n, x, body, dtype, at, count * most + start + i * size, size)


def accumulator(n: Node, x: Tensor, t: Ints) -> str:
    """The word of a maximum of codes, or of a sum of codes: 16 bits if they hold it."""
    if not isinstance(n.op, SumPool):
        return x.place.dtype
    base, many = x.place.base, math.prod(n.op.kernel)
    lo, hi = min(t.lo, n.op.pad) - base, max(t.hi, n.op.pad) - base
    word = word_of(min(lo, 0) * many, hi * many) if max(-lo, hi) * many <= np.iinfo(np.int64).max else "int64"
    if word in ("int32", "int64"):
        return calc(max(magnitude(n.type), max(-lo, hi) * many))
    return "int16" if word.startswith("int") else "uint16"


def pooled(k: Kernel, n: Node, x: Tensor, body: Body, dtype: str, position: list, first, size: int) -> None:
    """The windows of some channels at a position."""
    op, all_of = n.op, lane(0, size)
    acc = k.registers(size, dtype)

    def code(taps):
        at = [i * s + d - p[0] for i, s, d, p in zip(position, op.stride, taps, op.padding)]
        return cast(x.stored(lane(first, size), *at), dtype)
    if isinstance(op, SumPool):
        start = tirx.const(0, dtype)
        T.buffer_store(acc, T.broadcast(start, size) if size > 1 else start, [all_of])
        with loops(*op.kernel) as taps:
            T.buffer_store(acc, acc[all_of] + code(taps), [all_of])
    else:
        T.buffer_store(acc, code([0] * len(position)), [all_of])
        with loops(*op.kernel) as taps:
            T.buffer_store(acc, tirx.max(acc[all_of], code(taps)), [all_of])
    y = body.tensors[body.sink].place
    if not isinstance(op, SumPool) and body.sink == n.name and alike(x.place, y):
        return body.tensors[body.sink].put_stored(recoded(acc[all_of], x.place, y), lane(first, size), *position)
    base, wide = x.place.base * (math.prod(op.kernel) if isinstance(op, SumPool) else 1), calc(magnitude(n.type))
    for start, number, width in pieces(size, k.isa.lanes):
        for i in range(number):
            value = cast(acc[lane(start + i * width, width)], wide)
            body.store([lane(first + start + i * width, width), *position], **{n.name: value + base if base else value})
