"""Dense layers and convolutions: which kernel is exact for which."""
import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import Ints, Node
from ir.infer import exact_bound

from ..words import calc, magnitude
from .body import Body
from .dots import dot_for
from .field import Field, field_of, joined
from .kernel import Kernel, Tensor, loops, pieces
from .packed import packed_format, write_packed
from .tiles import Tiles


def write_products(k: Kernel, n: Node, x: Tensor, types: dict[str, Ints], body: Body) -> None:
    """A dense layer or convolution."""
    f, bound = field_of(n, x), exact_bound(n.op, types[n.args[0]])
    if max(bound, magnitude(n.type), magnitude(types[n.args[0]])) < 1 << 31 and (f.channel == 1 or f.depth == 1):
        if name := packed_format(k, f, x):
            return write_packed(k, n, x, body, f, name)
        lanes = k.isa.lanes // 2 if k.isa.lanes > 8 and len(f.weight) <= 8 else k.isa.lanes
        f = joined(f, lanes)
        dot = dot_for(k.isa, x.place.dtype, stored_magnitude(x), Tiles.taps(f), lanes, sums(f, x) + magnitude(n.type) >= 1 << 31)
        if dot:
            return Tiles(k, n, x, body, f, dot).write()
    return write_plain(k, n, x, types, body)


def stored_magnitude(x: Tensor) -> int:
    """The largest magnitude of what stands in memory."""
    p = x.place
    ends = (p.type.lo, p.type.hi, p.fill) if any(map(any, p.halo)) else (p.type.lo, p.type.hi)
    return max(abs(v - p.base) for v in ends)


def sums(f: Field, x: Tensor) -> int:
    """A bound of every sum of products of what stands in memory, or of that less a Dot's shift, and of the bias that makes up for it."""
    w = f.weight.reshape(len(f.weight), -1)
    return int((abs(w).sum(1) * (stored_magnitude(x) + 1) + abs(f.bias + x.place.base * w.sum(1))).max())


def write_plain(k: Kernel, n: Node, x: Tensor, types: dict[str, Ints], body: Body) -> None:
    """Any dense layer or convolution, in int32 or wider: channels side by side, one position at a time."""
    f, t = field_of(n, x), types[n.args[0]]
    dtype, each, per = calc(max(exact_bound(n.op, t), magnitude(n.type))), len(f.weight) // f.groups, f.depth
    w = k.constant(np.moveaxis(f.weight, 0, -1).astype("int32" if int(abs(f.weight).max()) < 1 << 31 else "int64"))  # (I, kr, kc, O)
    b = k.constant(f.bias.astype(dtype if dtype != "uint64" else "int64"))
    kr, kc = f.weight.shape[2:]
    blocks = [(start + i * size, size) for start, count, size in pieces(each, k.isa.lanes) for i in range(count)]
    with k.tasks(f.rows, f.columns) as (r, c), loops(f.groups) as (g,):
        for start, size in blocks:
            acc = k.registers(size, dtype)
            o = g * each + start
            with T.vectorized(size) as v:
                T.buffer_store(acc, b[o + v].astype(dtype), [v])
            with loops(per, kr, kc) as (i, y, z):
                at = f.origin + r * f.step[0] + c * f.step[1] + y * f.tap[0] + z * f.tap[1] + (g * per + i) * f.channel
                value = x.buffer[at].astype(dtype) + tirx.const(x.place.base, dtype)
                with T.vectorized(size) as v:
                    T.buffer_store(acc, acc[v] + value * w[((i * kr + y) * kc + z) * len(f.weight) + o + v].astype(dtype), [v])
            with T.vectorized(size) as v:
                body.store(f.index(o + v, r, c), **{n.name: acc[v]})
