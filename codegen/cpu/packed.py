"""Dense layers whose weights have few bits, packed in memory: less to read where a matrix meets few positions."""
import numpy as np
from tvm.script.ir_builder import tirx as T

from ir import Node

from .. import lowbit
from .body import Body
from .field import Field
from .kernel import Kernel, Tensor, pieces

POSITIONS = 4        # up to so many, reading the weights is what takes the time
LARGE = 32 << 10     # bytes of the weights at 8 bits, below which the first cache holds them


def packed_format(k: Kernel, f: Field, x: Tensor) -> str | None:
    """The packed format that suits a layer; None: its weights stay bytes."""
    isa, positions = k.isa.packed, f.rows * f.columns
    flat = f.groups == 1 and f.weight.shape[2:] == (1, 1) and f.channel == 1
    if isa is None or not flat or positions > POSITIONS or f.weight.size < LARGE or x.place.dtype != isa.word or f.depth > lowbit.MAX_K:
        return None
    return lowbit.choose(f.weight[:, :, 0, 0], isa, positions)


def write_packed(k: Kernel, n: Node, x: Tensor, body: Body, f: Field, name: str) -> None:
    """The layer in a packed format."""
    data, sums = lowbit.pack(f.weight[:, :, 0, 0], name)
    bias = f.bias + x.place.base * sums
    if (lift := body.lift(n)) is not None:
        bias = bias - lift
    w, b = k.constant(data), k.constant(((bias + (1 << 31)) % (1 << 32) - (1 << 31)).astype(np.int32))
    g = lowbit.Geometry(lowbit.FORMATS[name], len(f.weight), f.depth, f.rows * f.columns)

    def place(i): return (i // f.columns, i % f.columns) if f.rows > 1 else (0, i)

    def start(i):
        r, c = place(i)
        return f.origin + r * f.step[0] + c * f.step[1]

    def store(acc, i, row, lanes: int) -> None:
        for first, count, size in pieces(lanes, lowbit.LANES):
            for q in range(count):
                at = first + q * size
                with T.vectorized(size) as v:
                    o = row + at + v
                    body.store(f.index(o, *place(i)), **{n.name: acc[at + v] + b[o]})
    k.count = lowbit.tasks(g)
    lowbit.emit(k.isa.packed, g, x.buffer, start, w, T.int64(0), store, k.begin, k.end)
