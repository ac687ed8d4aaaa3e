"""One op of the integer graph as TVM kernels (codegen/tvm_kernels.py)."""
import math
from dataclasses import replace

import numpy as np
import tvm
from tvm import tirx

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Ints, Lut, MatMul, MaxPool, Mul, Node, Pad, Recur, Requant,
                Reshape, Slice, Sqrt, SumPool, Transpose, UserError, ops)
from ir.infer import exact_bound

from .tvm_kernels import Kernel, T, columns_of, elementwise, lanes, lanes_of, loops, rows, tiles
from .words import magnitude, word, word_of

INT32, INT64 = (1 << 31) - 1, (1 << 63) - 1
FUSES = (Dense, Conv, Add, Mul, Div, MatMul, SumPool)  # ops that take the requant behind them into their kernel


@ops.clamp.register
def _(x: tvm.ir.Expr, lo, hi): return tirx.max(tirx.min(x, hi), lo)


@ops.root.register
def _(x: tvm.ir.Expr): return tirx.sqrt(x.astype("float64")).astype("int64")


def calc(bound: int) -> str:
    """What to compute in when no intermediate exceeds `bound` in magnitude; uint64 wraps, and ends right if the result fits."""
    return "int32" if bound <= INT32 else "int64" if bound <= INT64 else "uint64"


class Post:
    """What happens to a finished element of type t: cast to the calculation's word, and requantized if `op` is given."""

    def __init__(self, t: Ints, op: Requant | None):
        self.t, self.op = t, op
        self.consts = [narrow(op.mul)] if op is not None and len(op.mul) > 1 else []
        self.channel_only = not self.consts or op.axis % len(t.shape) == 0  # it looks at no index but the first

    def on(self, k: Kernel):
        """post(value, index) for kernel k, whose last constant is the multipliers if there are several."""
        if self.op is None:
            return lambda value, index: value
        mul, shift, zero, lo, hi, axis = (getattr(self.op, f) for f in ("mul", "shift", "zero", "lo", "hi", "axis"))
        rank = len(self.t.shape)
        dtype = calc(max(max(magnitude(self.t), 1) * int(abs(mul).max()) + (1 << shift) + abs(zero), abs(lo), abs(hi)))

        def post(value, index):
            m = k.consts[-1][index[1 + axis % rank]].astype(dtype) if self.consts else int(mul[0])
            return ops.requant(value.astype(dtype), m, shift, zero, lo, hi)
        return post


def lower(emit, n: Node, types: tuple[Ints, ...], xs: list, fused: Node | None):
    """The value of node n (or of the requant `fused` behind it) out of the values xs of its arguments (of `types`).

    emit.call(xs, constants, (shape, dtype) of the result, write) adds a kernel, where write(k) fills k.out; emit.reshape(x, shape).
    """
    if isinstance(n.op, Constant):
        return emit.call([], [narrow(n.op.value)], (n.type.shape, word(n.type)),
                         lambda k: elementwise(k, n.type.shape, lambda b, *i: k.consts[0][i]))
    op, x, t = n.op, xs[0], types[0]
    post = Post(n.type, fused.op if fused else None)
    out = (n.type.shape, word(fused.type if fused else n.type))
    match op:
        case Dense():
            return _dense(emit, n, t, x, post, out)
        case Conv():
            return _conv(emit, n, t, x, post, out)
        case Requant():
            post = Post(t, op)
            return emit.call([x], post.consts, out, lambda k: elementwise(k, t.shape, lambda *i: post.on(k)(k.args[0][i], i)))
        case Add() | Mul() | Div():
            bound = max(magnitude(n.type), *map(magnitude, types), *([2 * magnitude(t) + 4 * types[1].hi] if isinstance(op, Div) else []))
            dtype = calc(bound)
            divide = (lambda a, b: _divide(a, b).astype(dtype)) if bound < 1 << 53 else ops.divide
            join = {Add: lambda a, b: a + b, Mul: lambda a, b: a * b, Div: divide}[type(op)]

            def both(k):
                a, b = (lambda *i, buffer=b: buffer[i].astype(dtype) for b in (k.args[0], k.args[-1]))
                elementwise(k, n.type.shape, lambda *i: post.on(k)(join(a(*i), b(*i)), i))
            return emit.call(xs, post.consts, out, both)
        case Sqrt():
            return emit.call([x], [], out, lambda k: elementwise(k, t.shape, lambda *i: ops.root(k.args[0][i])))
        case MatMul():
            dtype = calc(magnitude(types[0]) * magnitude(types[1]) * t.shape[-1])

            def multiply(k):
                def step(acc, taps, i):
                    return acc + k.args[0][(*i[:-1], *taps)].astype(dtype) * k.args[-1][(*i[:-2], *taps, i[-1])].astype(dtype)
                rows(k, dtype, lambda *i: tirx.const(0, dtype), [t.shape[-1]], step, post.on(k))
            return emit.call(xs, post.consts, out, multiply)
        case MaxPool(_, _, padding):
            return _pool(emit, n, _padded(emit, x, t, padding, t.lo), word(t), t.lo, tirx.max, post, out)
        case SumPool(kernel, _, padding, pad):
            dtype = calc(math.prod(kernel) * max(magnitude(t), abs(pad)))
            return _pool(emit, n, _padded(emit, x, t, padding, pad), dtype, 0, lambda a, b: a + b, post, out)
        case Lut(table, base):
            dtype = calc(max(magnitude(t), abs(base)) + len(table))
            return emit.call([x], [narrow(table)], out,
                             lambda k: elementwise(k, t.shape, lambda *i: k.consts[0][k.args[0][i].astype(dtype) - base]))
        case Gather(table):
            return emit.call([x], [narrow(table)], out,
                             lambda k: elementwise(k, n.type.shape, lambda *i: k.consts[0][k.args[0][i[:-1]].astype("int32"), i[-1]]))
        case Concat(axis):
            def pieces(k):
                for j, piece in enumerate(types):
                    before = sum(p.shape[axis] for p in types[:j])
                    elementwise(k, piece.shape, lambda *i, j=j: k.args[j][i], lambda *i, at=before: shifted(i, axis, at))
            return emit.call(xs, [], out, pieces)
        case Expand(shape):
            return emit.call([x], [], out, lambda k: elementwise(
                k, shape, lambda b, *i: k.args[0][(b, *(0 if s == 1 else j for s, j in zip(t.shape, i)))]))
        case Recur():
            return _recur(emit, n, types, xs, out)
        case Reshape(shape):
            return emit.reshape(x, shape)
        case Transpose(perm):
            return emit.call([x], [], out, lambda k: elementwise(
                k, n.type.shape, lambda b, *i: k.args[0][(b, *(i[perm.index(a)] for a in range(len(perm))))]))
        case Slice(start, _, step):
            return emit.call([x], [], out, lambda k: elementwise(
                k, n.type.shape, lambda b, *i: k.args[0][(b, *(s + j * st for s, j, st in zip(start, i, step)))]))
        case Pad(padding, value):
            return _pad(emit, x, t, padding, value, out[1])
    raise UserError(f"node {n.name!r}: the TVM backend has no rule for {type(op).__name__}")


def _divide(a, b):
    """ops.divide of integers below 2**53 in float64, whose division runs in vectors.

    It is exact: a quotient n / d that is no integer is at least 1 / d below the next one, and less than that is lost by rounding.
    """
    whole = ops.divide(a, b)
    return tirx.floor(whole.a.astype("float64") / whole.b.astype("float64"))


def _recur(emit, n: Node, types, xs: list, out):
    """Step by step, a row of states side by side: each reads what the step before it has written."""
    op, (steps, *space) = n.op, n.type.shape
    state = max(magnitude(t) for t in (n.type, *types[2:]))
    dtype = calc(magnitude(types[0]) * state + magnitude(types[1]) + (1 << op.shift))

    def write(k):
        def step(s, t, i):
            f, c = (k.args[j][(i[0], t, *i[1:])].astype(dtype) for j in (0, 1))
            value = ops.clamp(ops.round_shift(f * s + c, op.shift), op.lo, op.hi).astype(k.out.dtype)
            T.buffer_store(k.out, value, [i[0], t, *i[1:]])
        first = (lambda i: k.args[2][(i[0], 0, *i[1:])].astype(dtype)) if len(xs) > 2 else lambda i: tirx.const(0, dtype)
        with k.outer(*space[:-1]) as head:
            _across(space, lambda *j: step(first((*head, *j)), 0, (*head, *j)))
            if steps > 1:
                with loops(steps - 1) as (t,):
                    _across(space, lambda *j: step(k.out[(head[0], t, *head[1:], *j)].astype(dtype), t + 1, (*head, *j)))
    return emit.call(xs, [], out, write)


def _across(space: list[int], body) -> None:
    """body(j) along the last axis of `space` in vectors, or body() where there is none."""
    lanes(space[-1], body) if space else body()


def narrow(a: np.ndarray) -> np.ndarray:
    """A constant in the narrowest word that holds it."""
    return a.astype(word_of(int(a.min()), int(a.max())))


def shifted(index, axis: int, by: int): return tuple(v + by if j == axis + 1 else v for j, v in enumerate(index))


def _pad(emit, x, t: Ints, padding, value: int, dtype: str):
    """x with `value` around it, stored as dtype."""
    shape = tuple(s + sum(p) for s, p in zip(t.shape, padding))

    def write(k):
        elementwise(k, shape, lambda *i: tirx.const(value, dtype))
        elementwise(k, t.shape, lambda *i: k.args[0][i], lambda b, *i: (b, *(j + p[0] for j, p in zip(i, padding))))
    return emit.call([x], [], (shape, dtype), write) if any(map(any, padding)) else x


def _padded(emit, x, t: Ints, padding, value: int, extra: int = 0):
    """x of channels and spatial axes with `value` around the latter, and `extra` more columns to read in vain."""
    *first, (before, after) = padding
    held = word_of(min(t.lo, value), max(t.hi, value))
    return _pad(emit, x, t, ((0, 0), *first, (before, after + extra)), value, held)


def _pool(emit, n: Node, x, dtype: str, start: int, fold, post: Post, out):
    op = n.op

    def write(k):
        def step(acc, taps, i):
            return fold(acc, k.args[0][(*i[:2], *(j * s + d for j, s, d in zip(i[2:], op.stride, taps)))].astype(dtype))
        rows(k, dtype, lambda *i: tirx.const(start, dtype), op.kernel, step, post.on(k))
    return emit.call([x], post.consts, out, write)


def _dense(emit, n: Node, t: Ints, x, post: Post, out):
    op, (channels, inner), count = n.op, n.op.weight.shape, math.prod(t.shape[:-1])
    dtype, wide, lead = calc(exact_bound(op, t)), columns_of(count), t.shape[:-1]
    held = word_of(min(0, t.lo), max(0, t.hi))
    flat = _pad(emit, emit.reshape(x, (count, inner)), replace(t, shape=(count, inner)), ((0, -count % wide), (0, 0)), 0, held)

    def write(k):
        (x,), (w, b) = k.args, k.consts[:2]

        def place(i, g, o, r, c):
            return (i, *_unflatten(c, lead), o)
        tiles(k, dtype, (1, channels), count, (inner,), lambda i, g, r, c, taps: x[(i, c, *taps)],
              lambda g, block, taps, v: w[(g, block, *taps, v)], lambda g, o: b[o], place, post.on(k))
    return emit.call([flat], [_pack(op.weight, 1), narrow(op.bias), *post.consts], out, write)


def _conv(emit, n: Node, t: Ints, x, post: Post, out):
    op, kernel, space = n.op, n.op.weight.shape[2:], n.type.shape[1:]
    if math.prod(kernel) == math.prod(op.stride) == 1 and not any(map(any, op.padding)) and len(space) > 1 and post.channel_only:
        flat = math.prod(space)  # every position alike: one long row of them fills the tiles better
        op = replace(op, weight=op.weight.reshape(*op.weight.shape[:2], 1), stride=(1,), padding=((0, 0),), dilation=(1,))
        y = _conv(emit, replace(n, op=op, type=replace(n.type, shape=(len(op.weight), flat))), replace(t, shape=(t.shape[0], flat)),
                  emit.reshape(x, (t.shape[0], flat)), post, ((len(op.weight), flat), out[1]))
        return emit.reshape(y, n.type.shape)
    dtype = calc(exact_bound(op, t))
    groups, per, each = op.groups, op.weight.shape[1], len(op.weight) // op.groups

    def at(i, channel, position, taps):
        return (i, channel, *(j * s + d * k for j, s, d, k in zip(position, op.stride, op.dilation, taps)))
    if per == 1 and groups > 1:
        def depthwise(k):
            (x,), (w, b) = k.args, k.consts[:2]

            def step(acc, taps, i):
                return acc + x[at(i[0], i[1] // each, i[2:], taps)].astype(dtype) * w[(i[1], *taps)].astype(dtype)
            rows(k, dtype, lambda i, o, *p: b[o], kernel, step, post.on(k))
        constants = [narrow(op.weight[:, 0]), narrow(op.bias), *post.consts]
        return emit.call([_padded(emit, x, t, op.padding, op.pad)], constants, out, depthwise)
    wide = columns_of(space[-1])
    reach = (-(-space[-1] // wide) * wide - 1) * op.stride[-1] + op.dilation[-1] * (kernel[-1] - 1) + 1
    extra = max(0, reach - t.shape[-1] - sum(op.padding[-1]))

    def write(k):
        (x,), (w, b) = k.args, k.consts[:2]
        tiles(k, dtype, (groups, each, *space[:-1]), space[-1], (per, *kernel),
              lambda i, g, r, c, taps: x[at(i, g * per + taps[0], (*r, c), taps[1:])],
              lambda g, block, taps, v: w[(g, block, *taps, v)], lambda g, o: b[g * each + o],
              lambda i, g, o, r, c: (i, g * each + o, *r, c), post.on(k))
    constants = [_pack(op.weight, groups), narrow(op.bias), *post.consts]
    return emit.call([_padded(emit, x, t, op.padding, op.pad, extra)], constants, out, write)


def _pack(w: np.ndarray, groups: int) -> np.ndarray:
    """(O, I, *kernel) -> (groups, blocks of channels, I, *kernel, lanes), the last block filled up with zeros."""
    each = len(w) // groups
    lanes = lanes_of(each)
    w = np.pad(narrow(w).reshape(groups, each, *w.shape[1:]), ((0, 0), (0, -each % lanes), *[(0, 0)] * (w.ndim - 1)))
    return np.ascontiguousarray(np.moveaxis(w.reshape(groups, -1, lanes, *w.shape[2:]), 2, -1))


def _unflatten(i, shape):
    """The index in `shape` of flat index i."""
    index = []
    for s in reversed(shape):
        index.append(i % s)
        i = i // s
    return reversed(index)
