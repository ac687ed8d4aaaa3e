"""One op of the integer graph as ONNX nodes.

ONNX Runtime's CPU kernels are fastest, and complete, for floats, so a value is held in the first of float32, float64 and int64
that holds it exactly (2**24, 2**53, 2**63), and each op runs in the first that holds every partial sum exactly.  The order in
which a kernel sums, and whether it fuses multiply and add, then changes nothing.  (ConvInteger is no faster where it was
measured, and its u8 x s8 kernels saturate on CPUs with AVX2 and without VNNI, says ONNX Runtime's quantization page.)
"""
import math

import numpy as np
from onnx import helper, numpy_helper

from ir import (Add, Concat, Conv, Dense, Div, Expand, Gather, Ints, Lut, MatMul, MaxPool, Mul, Node, Pad, Recur, Requant,
                Reshape, Slice, Sqrt, SumPool, Transpose, UserError, ops)
from ir.infer import exact_bound

from .words import magnitude, word_of

HOLDERS = {"float32": 1 << 24, "float64": 1 << 53, "int64": 1 << 63}
MAX_PARTS = 16  # a convolution is split into at most so many float32 ones before float64 takes over


def holder(bound: int) -> str:
    """The dtype that holds every integer of magnitude up to `bound`; beyond 64 bits int64, whose sums wrap and end right if the
    result fits."""
    return next((d for d, limit in HOLDERS.items() if bound <= limit), "int64")


class Expr:
    """An ONNX value of exact integers, with the operators that ir/ops.py uses."""

    def __init__(self, nodes: list, name: str, dtype: str):
        self.nodes, self.name, self.dtype = nodes, name, dtype

    def emit(self, op: str, *args, dtype: str | None = None, **attrs) -> "Expr":
        """op(self, *args, **attrs); an arg is an Expr, a constant of self's dtype, or None for an input left out."""
        names = ["" if a is None else a.name if isinstance(a, Expr) else self.const(a).name for a in args]
        out = f"qs/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.name, *names], [out], **attrs))
        return Expr(self.nodes, out, dtype or self.dtype)

    def const(self, a, dtype: str | None = None) -> "Expr":
        """A constant, stored in the narrowest integer word and cast (once, when a session is made)."""
        a, dtype, name = np.asarray(a), dtype or self.dtype, f"qs/constant_{len(self.nodes)}"
        a = a.astype(dtype if a.dtype.kind == "f" or a.size < 16 else word_of(int(a.min()), int(a.max())))
        self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(a)))
        return Expr(self.nodes, name, str(a.dtype)).cast(dtype)

    def cast(self, dtype: str) -> "Expr":
        return self if dtype == self.dtype else self.emit("Cast", dtype=dtype, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def __add__(self, a): return self if isinstance(a, int) and a == 0 else self.emit("Add", a)
    def __mul__(self, a): return self if not isinstance(a, Expr) and np.all(np.asarray(a) == 1) else self.emit("Mul", a)

    def __rshift__(self, n: int):
        if n == 0:
            return self
        if self.dtype != "int64":
            return self.emit("Mul", 2.0 ** -n).emit("Floor")
        return self // self.const(1 << n)


    def __floordiv__(self, b: "Expr"):
        rest = self.emit("Mod", b)  # takes the divisor's sign, so the division below is exact and rounds to -infinity
        return self.emit("Sub", rest).emit("Div", b)


@ops.clamp.register
def _(x: Expr, lo, hi): return x.emit("Clip", lo, hi)


@ops.root.register
def _(x: Expr): return x.cast("float64").emit("Sqrt").emit("Floor")


def lower(n: Node, types: tuple[Ints, ...], *xs: Expr) -> Expr:
    """The value of node n out of its arguments (of `types`), in the holder of its type."""
    op, x, t = n.op, xs[0], types[0]
    out = holder(magnitude(n.type))
    match op:
        case Dense(w, b):
            wide = holder(exact_bound(op, t))
            return (x.cast(wide).emit("MatMul", w.T) + b).cast(out)
        case Conv():
            return _conv(n, t, x).cast(out)
        case Requant(mul, shift, zero, lo, hi, axis):
            shape = [1] * len(t.shape)
            if t.shape:
                shape[axis] = len(mul)
            wide = holder(max(magnitude(t) * int(abs(mul).max()) + (1 << shift), magnitude(Ints((1,), lo, hi)), abs(zero) + magnitude(t)))
            return ops.requant(x.cast(wide), mul.reshape(shape), shift, zero, lo, hi).cast(out)
        case Add() | Mul():
            wide = holder(max(magnitude(n.type), *map(magnitude, types)))
            a, b = (v.cast(wide) for v in xs)
            return (a + b if isinstance(op, Add) else a * b).cast(out)
        case Div():
            return ops.divide(*(v.cast("int64") for v in xs)).cast(out)
        case Sqrt():
            return ops.root(x).cast(out)
        case MatMul():
            wide = holder(magnitude(types[0]) * magnitude(types[1]) * t.shape[-1])
            return x.cast(wide).emit("MatMul", xs[1].cast(wide)).cast(out)
        case MaxPool():
            return _maxpool(op, t, x)
        case SumPool(k, s, p, pad):
            x = _pad(x.cast(holder(max(magnitude(t), abs(pad)) * math.prod(k))), ((0, 0), *p), pad)
            if k == (space := _padded_space(t, p)):  # one window: no tap by itself
                return x.emit("ReduceSum", x.const([*range(2, 2 + len(k))], "int64"), keepdims=1).cast(out)
            return _fold("Add", x, space, k, s).cast(out)
        case Lut(table, base):
            index = (x.cast("int64") + -base)
            return index.const(table, out).emit("Gather", index, axis=0)
        case Gather(table):
            return x.const(table, out).emit("Gather", x.cast("int64"), axis=0)
        case Concat(axis):
            first, *rest = (v.cast(out) for v in xs)
            return first.emit("Concat", *rest, axis=axis + 1)
        case Expand(shape):
            return x.emit("Expand", x.const([1, *shape], "int64"))
        case Recur():
            return _recur(n, *(v.cast("int64") for v in xs)).cast(out)
        case Reshape(shape):
            return x.emit("Reshape", x.const([0, *shape], "int64"))
        case Transpose(perm):
            return x.emit("Transpose", perm=[0, *(p + 1 for p in perm)])
        case Slice(start, stop, step):
            return _slice(x, [slice(*v) for v in zip(start, stop, step)])
        case Pad(padding, value):
            return _pad(x.cast(out), padding, value)
    raise UserError(f"node {n.name!r}: ONNX export has no rule for {type(op).__name__}")


def constant(n: Node, x: Expr) -> Expr:
    """The value of a constant node for each sample of the graph's input x."""
    count = x.emit("Shape", dtype="int64", start=0, end=1)
    shape = count.emit("Concat", count.const(np.array(n.type.shape, np.int64)), axis=0)
    return x.const(n.op.value[None], holder(magnitude(n.type))).emit("Expand", shape)


def _recur(n: Node, f: Expr, c: Expr, first: Expr | None = None) -> Expr:
    """One step after the other, on int64."""
    op, rows, s = n.op, [], first
    for t in range(n.type.shape[0]):
        at = [slice(t, t + 1, 1)]
        y = _slice(c, at) if s is None else _slice(f, at) * s + _slice(c, at)
        s = ops.clamp(ops.round_shift(y, op.shift), op.lo, op.hi)
        rows.append(s)
    return rows[0].emit("Concat", *rows[1:], axis=1)


def _conv(n: Node, t: Ints, x: Expr) -> Expr:
    """float32 convolutions over parts of the input channels if few suffice, else a wider matrix product for each tap."""
    op, bound = n.op, exact_bound(n.op, t)
    x = _pad(x.cast(holder(max(magnitude(t), abs(op.pad)))), ((0, 0), *op.padding), op.pad) if op.pad else x
    pads = [0] * 2 * len(op.padding) if op.pad else [p[i] for i in (0, 1) for p in op.padding]
    attrs = {"strides": op.stride, "dilations": op.dilation, "group": op.groups, "pads": pads, "kernel_shape": op.weight.shape[2:]}
    if bound <= HOLDERS["float32"]:  # x itself may be wider where every weight is 0
        return x.cast("float32").emit("Conv", op.weight, op.bias, **attrs)
    wide = holder(bound)
    bias = op.bias.reshape(-1, *[1] * len(op.padding))
    channels, parts = op.weight.shape[1], -(-bound // HOLDERS["float32"])
    if op.groups == 1 and x.dtype == "float32" and parts <= MAX_PARTS:
        for cuts in (np.array_split(np.arange(channels), k) for k in range(parts, min(MAX_PARTS, channels) + 1)):
            pieces = [Conv(op.weight[:, c], 0 * op.bias, op.stride, op.padding, op.dilation, 1, op.pad) for c in cuts]
            if all(exact_bound(p, t) <= HOLDERS["float32"] for p in pieces):
                spans = [_slice(x, [slice(int(c[0]), int(c[-1]) + 1, 1)]) for c in cuts]
                sums = [s.emit("Conv", p.weight, None, **attrs).cast(wide) for s, p in zip(spans, pieces)]
                return sum(sums[1:], sums[0]) + bias
    return _conv_by_taps(n, t, x.cast(wide) if op.pad else _pad(x.cast(wide), ((0, 0), *op.padding), 0)) + bias


def _conv_by_taps(n: Node, t: Ints, x: Expr) -> Expr:
    """The sum over taps of w[:, :, tap] @ x[tap], on x padded already, without bias."""
    op, total = n.op, None
    w = op.weight.reshape(op.groups, len(op.weight) // op.groups, *op.weight.shape[1:])  # (G, O/G, C/G, *kernel)
    positions = math.prod(n.type.shape[1:])
    for tap, at in _windows(_padded_space(t, op.padding), w.shape[3:], op.stride, op.dilation):
        columns = _slice(x, [slice(0, t.shape[0], 1), *at])
        columns = columns.emit("Reshape", x.const([0, op.groups, w.shape[2], positions], "int64"))
        product = x.const(w[(..., *tap)][None]).emit("MatMul", columns)
        total = product if total is None else total + product
    return total.emit("Reshape", x.const([0, *n.type.shape], "int64"))


def _maxpool(op: MaxPool, t: Ints, x: Expr) -> Expr:
    x = _pad(x, ((0, 0), *op.padding), t.lo)  # explicitly: runtimes disagree about uneven padding of pools
    if x.dtype != "int64":
        return x.emit("MaxPool", kernel_shape=op.kernel, strides=op.stride)
    return _fold("Max", x, _padded_space(t, op.padding), op.kernel, op.stride)


def _fold(fold: str, x: Expr, space, kernel, stride) -> Expr:
    """The spatial windows of x, already padded to `space`, folded tap by tap."""
    taps = [_slice(x, [None, *at]) for _, at in _windows(space, kernel, stride, (1,) * len(kernel))]
    total = taps[0]
    for tap in taps[1:]:
        total = total.emit(fold, tap)
    return total


def _windows(space, kernel, stride, dilation):
    """For each tap, the spatial slices that pick its element of every window."""
    out = [(s - d * (k - 1) - 1) // st + 1 for s, k, st, d in zip(space, kernel, stride, dilation)]
    for tap in np.ndindex(*kernel):
        yield tap, [slice(i * d, i * d + (o - 1) * st + 1, st) for i, d, o, st in zip(tap, dilation, out, stride)]


def _padded_space(t: Ints, padding) -> tuple[int, ...]: return tuple(s + sum(p) for s, p in zip(t.shape[1:], padding))


def _slice(x: Expr, at: list) -> Expr:
    """x[:, *at]; None stands for a whole axis."""
    kept = [(i + 1, s) for i, s in enumerate(at) if s is not None]
    fields = [[s.start for _, s in kept], [s.stop for _, s in kept], [i for i, _ in kept], [s.step for _, s in kept]]
    return x.emit("Slice", *[x.const(f, "int64") for f in fields])


def _pad(x: Expr, padding, value: int) -> Expr:
    """x with `value` around its axes beside the batch."""
    if not any(map(any, padding)):
        return x
    pads = [0, *(p[0] for p in padding), 0, *(p[1] for p in padding)]
    return x.emit("Pad", x.const(pads, "int64"), x.const(value))
