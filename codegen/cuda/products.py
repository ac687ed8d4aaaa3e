"""Which nodes are products of matrices of bytes, and how their operands are brought into rows."""
import math
from dataclasses import dataclass, replace

import numpy as np

from ir import Conv, Dense, Ints, MatMul
from ir.infer import exact_bound

from ..words import INT32, magnitude, narrow
from . import depthwise, generic
from .gemm import Product
from .kernel import Step, T, unflattened
from .matrix import Packed, Rows, Windows, packed
from .pointwise import Chain
from .values import Value, stored, transposed

BYTES = ("int8", "uint8")
LEAST = 16  # bytes along k that are worth a tile


@dataclass(eq=False)
class Builder:
    """Turns an anchor into a Product.  low: the lowering, which gives memory and takes steps."""
    low: object
    chain: Chain

    def product(self, op, types: list[Ints], args: list[Value], out) -> Product | None:
        """None where the op is none, its values are no bytes or its sums no int32.  out(): memory for the result, made when it is needed."""
        match op:
            case Dense() if _narrow(op, types[0], args[0]):
                return self._dense(op, args[0], out)
            case Conv() if _narrow(op, types[0], args[0]) and _pads(op, args[0]):
                return self._conv(op, types[0], args[0], out)
            case MatMul() if all(v.dtype in BYTES for v in args) and _bound(types) <= INT32 and types[0].shape[-1] >= LEAST:
                return self._matmul(types, args, out)
        return None

    def _dense(self, op: Dense, x: Value, out) -> Product:
        rows, (columns, inner) = x.shape[:-1], op.weight.shape
        a, y, bias = self._rows(x, 0), out(), self.low.constant(narrow(op.bias))

        def finish(k, value, b, z, r, c):
            index = *unflattened(r, rows), c
            k.store(y, self.chain.at(k, _held(value + k.load(bias, b, c).astype("int32")), b, *index), b, *index)
        return Product(a, self._weights(op.weight[None]), inner, math.prod(rows), columns, 1, True, finish, [bias, *self.chain.reads], y,
                       (x.zero, 0))

    def _conv(self, op: Conv, t: Ints, x: Value, out) -> Product | None:
        outs, ins, *kernel = op.weight.shape
        outs //= op.groups
        if ins * math.prod(kernel) < LEAST or (op.groups > 1 and ins % 4):
            return None
        y, bias = out(), self.low.constant(narrow(op.bias))
        space = y.shape[1:]
        a = self._last(Windows(replace(x, zero=0), tuple(kernel), space, op.stride, op.padding, op.dilation, op.groups, op.pad - x.zero))
        if not a.vector:
            a = self._columns(a)
        weights = np.moveaxis(op.weight.reshape(op.groups, outs, ins, *kernel), 2, -1).reshape(op.groups, outs, -1)

        def finish(k, value, b, z, r, c):
            index = z * outs + c, *unflattened(r, space)
            k.store(y, self.chain.at(k, _held(value + k.load(bias, b, index[0]).astype("int32")), b, *index), b, *index)
        return Product(a, self._weights(weights), ins * math.prod(kernel), math.prod(space), outs, op.groups, True, finish,
                       [bias, *self.chain.reads], y, (x.zero, 0))

    def depthwise(self, op, types: list[Ints], args: list[Value], out) -> Step | None:
        """The step of a convolution that is one channel by itself, or None."""
        if not (isinstance(op, Conv) and depthwise.fits(op) and _narrow(op, types[0], args[0]) and _pads(op, args[0]) and not args[0].zero):
            return None
        y = out()
        x = self._last(Windows(args[0], op.weight.shape[2:], y.shape[1:], op.stride, op.padding, op.dilation, 1, op.pad))
        w, bias = self.low.constant(narrow(depthwise.weights(op))), self.low.constant(narrow(op.bias))
        return depthwise.step(self.low.name(), x, w, bias, self.chain, y)

    def _matmul(self, types: list[Ints], args: list[Value], out) -> Product:
        *lead, rows, inner = types[0].shape
        swap = (*range(len(lead)), len(lead) + 1, len(lead))
        a, b, y = self._rows(args[0], len(lead)), self._rows(transposed(args[1], swap), len(lead)), out()

        def finish(k, value, s, z, r, c):
            index = *unflattened(z, lead), r, c
            k.store(y, self.chain.at(k, _held(value), s, *index), s, *index)
        return Product(a, b, inner, rows, types[1].shape[-1], math.prod(lead), False, finish, self.chain.reads, y, (args[0].zero, args[1].zero))

    def _rows(self, v: Value, stacked: int) -> Rows:
        """The bytes of v as rows, copied, with zeros behind each row, where they do not lie so."""
        rows = Rows(replace(v, zero=0), stacked)
        if rows.vector and rows.depth >= LEAST:
            return rows
        padding = [(0, 0)] * (len(v.shape) - 1) + [(0, -v.shape[-1] % 16)]
        wide = stored("workspace", v.dtype, (*v.shape[:-1], v.shape[-1] + padding[-1][1]))
        return Rows(self.low.emit(generic.pad(self.low.name(), replace(v, zero=0), padding, 0, wide)), stacked)

    def _last(self, w: Windows) -> Windows:
        """The windows over a copy that lies channel-last, where that lets them be loaded in words."""
        if w.vector or w.channels % 4:
            return w
        order = (*range(1, len(w.value.shape)), 0)
        return replace(w, value=self.low.emit(generic.copy(self.low.name(), w.value, stored("workspace", w.dtype, w.value.shape, order))))

    def _columns(self, w: Windows) -> Rows:
        """Every window as a row of its own."""
        wide = stored("workspace", w.value.dtype, (*w.space, w.depth + -w.depth % 16))
        return Rows(self.low.emit(generic.columns(self.low.name(), w, wide)))

    def _weights(self, w: np.ndarray) -> Rows:
        """(stack, columns, K) in as few bits as a kernel can unpack."""
        w = np.pad(w, ((0, 0), (0, 0), (0, -w.shape[-1] % 16)))
        for bits in (2, 4):
            if -1 << bits - 1 <= w.min() and w.max() < 1 << bits - 1:
                return Packed(self.low.constant(packed(w, bits)), 1, bits)
        return Rows(self.low.constant(narrow(w)), 1)


def _held(value):
    """An int32 in a register of its own: a cast to 64 bits stays behind the sum, and the compiler sees a product of 32 bits by 32."""
    out = T.alloc_buffer((1,), "int32", scope="local")
    T.buffer_store(out, value, [0])
    return out[0]


def _narrow(op, t: Ints, x: Value) -> bool:
    """Bytes by bytes, with sums of stored bytes, and of what is added to them, in int32."""
    lo, hi = int(op.weight.min()), int(op.weight.max())
    return (x.dtype in BYTES and narrow(op.weight).dtype.name in BYTES and exact_bound(op, t) <= INT32
            and op.weight[0].size * max(-lo, hi) * (256 + abs(x.zero)) <= INT32)


def _pads(op: Conv, x: Value) -> bool: return np.iinfo(x.dtype).min <= op.pad - x.zero <= np.iinfo(x.dtype).max


def _bound(types: list[Ints]) -> int: return (magnitude(types[0]) + 256) * (magnitude(types[1]) + 256) * types[0].shape[-1]
