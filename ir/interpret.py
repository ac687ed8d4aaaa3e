"""The reference: what an integer graph computes.  Batch axis first, int64 in, int64 out.

Sums of products run through BLAS in the narrowest float that holds every partial sum exactly (2**24, 2**53); wider ones
in integers.  That is free: which one is taken never changes a value.
"""
import math
from typing import assert_never

import numpy as np

from . import ops
from .errors import UserError
from .graph import Graph, Node
from .opset import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Input, Ints, Lut, MatMul, MaxPool, Mul, Op, Pad, Recur,
                    Requant, Reshape, Slice, Sqrt, SumPool, Transpose)
from .infer import exact_bound

CHUNK_BYTES = 1 << 24  # images are taken in groups, so that the windows of one layer stay near this size (and in cache)


def run(g: Graph, x, keep: bool = False):
    """(N, *input.shape) integers -> (N, *output.shape) int64; keep=True gives every node's values, by name.

    A graph with several inputs takes a dict {input name: array}.  UserError: wrong shape, values out of the type.
    """
    feeds = check_inputs(g, x)
    count = len(next(iter(feeds.values())))
    step = max(1, CHUNK_BYTES // max(_window_bytes(g, n) for n in g.nodes.values()))
    parts = [_run(g, {k: v[i:i + step] for k, v in feeds.items()}, keep) for i in range(0, max(1, count), step)]
    values = {name: np.concatenate([p[name] for p in parts]) for name in (g.nodes if keep else [g.output.name])}
    return values if keep else values[g.output.name]


def check_inputs(g: Graph, x) -> dict[str, np.ndarray]:
    """{input name: int64 array} out of what `run` takes.  UserError: not one array for each input, or of unequal length."""
    names = [n.name for n in g.inputs]
    if not names:
        raise UserError("the graph has no input; there is nothing to run it on")
    if not isinstance(x, dict):
        if len(names) > 1:
            raise UserError(f"the graph has the inputs {', '.join(names)}; give a dict of arrays")
        x = {names[0]: x}
    if set(x) != set(names):
        raise UserError(f"the graph has the inputs {', '.join(names)}; the dict has {', '.join(map(str, x)) or 'nothing'}")
    feeds = {n.name: check_input(n, x[n.name]) for n in g.inputs}
    if len({len(v) for v in feeds.values()}) > 1:
        raise UserError(f"the inputs hold different numbers of samples: {', '.join(f'{k} {len(v)}' for k, v in feeds.items())}")
    return feeds


def check_input(node: Node, x) -> np.ndarray:
    """x as int64, after a look at its shape and range."""
    x = np.asarray(x)
    if x.dtype.kind not in "iub":
        raise UserError(f"input {node.name!r} takes integers, not {x.dtype}; encode reals with graph.encodings[{node.name!r}].encode")
    if x.ndim == 0 or x.shape[1:] != node.type.shape:
        raise UserError(f"input {node.name!r} takes ({', '.join(map(str, ('N', *node.type.shape)))}), not {x.shape}")
    if x.size and (x.min() < node.type.lo or x.max() > node.type.hi):
        raise UserError(f"input {node.name!r} takes integers in [{node.type.lo}, {node.type.hi}], got [{x.min()}, {x.max()}]")
    return x.astype(np.int64, copy=False)


def evaluate(op: Op, types: tuple[Ints, ...], *xs: np.ndarray) -> np.ndarray:
    """One op on int64 arrays with the batch axis first; `types` are the types of its arguments."""
    match op:
        case Dense(w, b):
            dt = _exact_dtype(exact_bound(op, types[0]))
            return (xs[0].astype(dt) @ w.T.astype(dt) + b.astype(dt)).astype(np.int64, copy=False)
        case Conv():
            return _conv(op, types[0], xs[0])
        case Requant(mul, shift, zero, lo, hi, axis):
            shape = [1] * xs[0].ndim
            shape[axis + 1 if axis >= 0 else axis] = len(mul)
            return ops.requant(xs[0], mul.reshape(shape), shift, zero, lo, hi)
        case Add():
            return xs[0] + xs[1]
        case Mul():
            return xs[0] * xs[1]
        case Div():
            return ops.divide(*xs)
        case Sqrt():
            return ops.root(xs[0])
        case MatMul():
            bound = max(abs(types[0].lo), types[0].hi) * max(abs(types[1].lo), types[1].hi) * types[0].shape[-1]
            dt = _exact_dtype(bound)
            return (xs[0].astype(dt) @ xs[1].astype(dt)).astype(np.int64)
        case MaxPool(k, s, p):
            return _pool(np.maximum, _pad(xs[0], p, types[0].lo), k, s)
        case SumPool(k, s, p, pad):
            return _pool(np.add, _pad(xs[0], p, pad), k, s)
        case Lut(table, base):
            return table[xs[0] - base]
        case Concat(axis):
            return np.concatenate(xs, axis + 1)
        case Expand(shape):
            return np.broadcast_to(xs[0], (len(xs[0]), *shape))
        case Reshape(shape):
            return xs[0].reshape(len(xs[0]), *shape)
        case Transpose(perm):
            return np.ascontiguousarray(xs[0].transpose(0, *(p + 1 for p in perm)))
        case Slice(start, stop, step):
            return xs[0][(slice(None), *map(slice, start, stop, step))]
        case Pad(padding, value):
            return np.pad(xs[0], ((0, 0), *padding), constant_values=value)
        case Gather(table):
            return table[xs[0]]
        case Recur(shift, lo, hi):
            return recur(np.stack, shift, lo, hi, *xs)
        case Input() | Constant():
            raise TypeError("an input or a constant has no arguments to compute it from")
        case _:
            assert_never(op)


def _run(g: Graph, feeds: dict[str, np.ndarray], keep: bool) -> dict[str, np.ndarray]:
    env, last = dict(feeds), {a: n.name for n in g.nodes.values() for a in n.args}
    count = len(next(iter(feeds.values())))
    for n in g.nodes.values():
        if isinstance(n.op, Constant):
            env[n.name] = np.broadcast_to(n.op.value, (count, *n.type.shape))
        elif not isinstance(n.op, Input):
            env[n.name] = evaluate(n.op, tuple(g.nodes[a].type for a in n.args), *[env[a] for a in n.args])
        if not keep:
            for a in n.args:
                if last[a] == n.name and a != g.output.name:
                    env.pop(a, None)
    return env


def recur(stack, shift: int, lo: int, hi: int, f, c, first=None):
    """Recur on (N, T, ...) integers, with numpy's or torch's `stack`."""
    s, out = 0 if first is None else first[:, 0], []
    for t in range(f.shape[1]):
        s = ops.clamp(ops.round_shift(f[:, t] * s + c[:, t], shift), lo, hi)
        out.append(s)
    return stack(out, 1)


def _exact_dtype(bound: int):
    return np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64


def _pad(x: np.ndarray, padding, value: int, dtype=np.int64) -> np.ndarray:
    """x (N, C, *spatial) as `dtype`, with `value` around its spatial axes."""
    if not any(map(any, padding)):
        return x.astype(dtype, copy=False)
    out = np.full((*x.shape[:2], *(b + s + a for s, (b, a) in zip(x.shape[2:], padding))), value, dtype)
    out[(..., *(slice(b, b + s) for s, (b, _) in zip(x.shape[2:], padding)))] = x
    return out


def _taps(space: tuple[int, ...], kernel, stride, dilation):
    """For each element of the kernel, the slices that pick its partner in every window out of a padded (N, C, *space)."""
    out = [(s - d * (k - 1) - 1) // st + 1 for s, k, st, d in zip(space, kernel, stride, dilation)]
    for tap in np.ndindex(*kernel):
        yield tap, (..., *(slice(t * d, t * d + (o - 1) * st + 1, st) for t, d, o, st in zip(tap, dilation, out, stride)))


def _pool(fold, x: np.ndarray, kernel, stride) -> np.ndarray:
    if x.shape[2:] == tuple(kernel):  # one window
        return fold.reduce(x, axis=tuple(range(2, x.ndim)), keepdims=True)
    (_, first), *rest = _taps(x.shape[2:], kernel, stride, (1,) * len(kernel))
    y = x[first].copy()
    for _, at in rest:
        fold(y, x[at], out=y)
    return y


def _conv(op: Conv, t: Ints, x: np.ndarray) -> np.ndarray:
    """Depthwise: a product for each tap.  Otherwise the windows become columns, and each group is one matrix product."""
    dt = _exact_dtype(exact_bound(op, t))
    x, w = _pad(x, op.padding, op.pad, dt), op.weight.astype(dt)
    taps = list(_taps(x.shape[2:], w.shape[2:], op.stride, op.dilation))
    y = _depthwise(op, x, w, taps) if op.groups > 1 and w.shape[1] == 1 else _columns(op, x, w, taps)
    y += op.bias.reshape(-1, *[1] * (w.ndim - 2)).astype(dt)  # exact_bound has counted the bias in
    return y.astype(np.int64, copy=False)


def _depthwise(op: Conv, x: np.ndarray, w: np.ndarray, taps: list) -> np.ndarray:
    x = np.repeat(x, len(w) // op.groups, axis=1) if len(w) > op.groups else x
    (tap, at), *rest = taps
    scale = w[:, 0].reshape(*w.shape[:1], *w.shape[2:], *[1] * len(tap))  # (C, *kernel, 1, ..): a factor for each channel
    y = x[at] * scale[(slice(None), *tap)]
    product = np.empty_like(y)
    for tap, at in rest:
        y += np.multiply(x[at], scale[(slice(None), *tap)], out=product)
    return y


def _columns(op: Conv, x: np.ndarray, w: np.ndarray, taps: list) -> np.ndarray:
    space = x[taps[0][1]].shape[2:]
    columns = np.empty((*x.shape[:2], len(taps), *space), x.dtype)  # (N, C, taps, *space)
    for i, (_, at) in enumerate(taps):
        columns[:, :, i] = x[at]
    groups, per_in, per_out = op.groups, w.shape[1] * len(taps), len(w) // op.groups
    y = w.reshape(groups, per_out, per_in) @ columns.reshape(len(x), groups, per_in, math.prod(space))
    return y.reshape(len(x), len(w), *space)


def _window_bytes(g: Graph, n: Node) -> int:
    """Memory that one sample of this node takes at the most, in bytes."""
    columns = math.prod(n.type.shape[1:]) * n.op.weight[0].size * n.op.groups if isinstance(n.op, Conv) else 0
    return 8 * max(n.type.size, columns, *(g.nodes[a].type.size for a in n.args), 1)
