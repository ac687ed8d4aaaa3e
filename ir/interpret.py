"""The reference: what an integer graph computes.  Batch axis first, int64 in, int64 out.

Sums of products run through BLAS in the narrowest float that holds every partial sum exactly (2**24, 2**53); wider ones
in integers.  That is free: which one is taken never changes a value.
"""
from typing import assert_never

import numpy as np

from . import ops
from .errors import UserError
from .graph import (Add, Concat, Conv, Dense, Gather, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Node, Op, Pad, Requant,
                    Reshape, Slice, SumPool, Transpose)
from .infer import exact_bound

CHUNK_BYTES = 1 << 28  # images are taken in groups so that one layer's windows stay below this


def run(g: Graph, x, keep: bool = False):
    """(N, *input.shape) integers -> (N, *output.shape) int64; keep=True gives every node's values, by name.

    A graph with several inputs takes a dict {input name: array}.  UserError: wrong shape, values out of the type.
    """
    feeds = {n.name: check_input(n, x[n.name] if isinstance(x, dict) else x) for n in g.inputs}
    if not isinstance(x, dict) and len(feeds) != 1:
        raise UserError(f"the graph has the inputs {', '.join(feeds)}; give a dict of arrays")
    count = len(next(iter(feeds.values())))
    step = max(1, CHUNK_BYTES // max(1, max(_window_bytes(g, n) for n in g.nodes.values())))
    parts = [_run(g, {k: v[i:i + step] for k, v in feeds.items()}, keep) for i in range(0, count, step)] or [_run(g, feeds, keep)]
    return {k: np.concatenate([p[k] for p in parts]) for k in (parts[0] if keep else [g.output.name])} if keep \
        else np.concatenate([p[g.output.name] for p in parts])


def check_input(node: Node, x) -> np.ndarray:
    """x as int64, after a look at its shape and range."""
    x = np.asarray(x)
    if x.dtype.kind not in "iub":
        raise UserError(f"input {node.name!r} takes integers, not {x.dtype}; encode reals with graph.encodings[{node.name!r}].encode")
    if x.shape[1:] != node.type.shape:
        raise UserError(f"input {node.name!r} takes (N, {', '.join(map(str, node.type.shape))}), not {x.shape}")
    if x.size and (x.min() < node.type.lo or x.max() > node.type.hi):
        raise UserError(f"input {node.name!r} takes integers in [{node.type.lo}, {node.type.hi}], got [{x.min()}, {x.max()}]")
    return x.astype(np.int64, copy=False)


def evaluate(op: Op, types: tuple[Ints, ...], *xs: np.ndarray) -> np.ndarray:
    """One op on int64 arrays with the batch axis first; `types` are the types of its arguments."""
    match op:
        case Dense(w, b):
            dt = _exact_dtype(exact_bound(op, types[0]))
            return (xs[0].astype(dt) @ w.T.astype(dt)).astype(np.int64) + b
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
        case MatMul():
            bound = max(abs(types[0].lo), types[0].hi) * max(abs(types[1].lo), types[1].hi) * types[0].shape[-1]
            dt = _exact_dtype(bound)
            return (xs[0].astype(dt) @ xs[1].astype(dt)).astype(np.int64)
        case MaxPool(k, s, p):
            return _taps(np.maximum, _pad(xs[0], p, types[0].lo), k, s)
        case SumPool(k, s, p, pad):
            return _taps(np.add, _pad(xs[0], p, pad), k, s)
        case Lut(table, base):
            return table[xs[0] - base]
        case Concat(axis):
            return np.concatenate(xs, axis + 1)
        case Reshape(shape):
            return xs[0].reshape(-1, *shape)
        case Transpose(perm):
            return np.ascontiguousarray(xs[0].transpose(0, *(p + 1 for p in perm)))
        case Slice(start, stop, step):
            return xs[0][(slice(None), *map(slice, start, stop, step))]
        case Pad(padding, value):
            return np.pad(xs[0], ((0, 0), *padding), constant_values=value)
        case Gather(table):
            return table[xs[0]]
        case Input():
            raise TypeError("an input has no value of its own")
        case _:
            assert_never(op)


def _run(g: Graph, env: dict[str, np.ndarray], keep: bool) -> dict[str, np.ndarray]:
    env, last = dict(env), {a: n.name for n in g.nodes.values() for a in n.args}
    for n in g.nodes.values():
        if not isinstance(n.op, Input):
            env[n.name] = evaluate(n.op, tuple(g.nodes[a].type for a in n.args), *[env[a] for a in n.args])
        if not keep:
            for a in n.args:
                if last[a] == n.name and a != g.output.name:
                    env.pop(a, None)
    return env


def _exact_dtype(bound: int):
    return np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64


def _pad(x: np.ndarray, padding, value: int) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value) if any(map(any, padding)) else x


def _windows(n: tuple[int, ...], kernel, stride, dilation):
    """For each kernel tap, the slices that pick its element of every window out of a padded (N, C, *spatial)."""
    out = [(s - d * (k - 1) - 1) // st + 1 for s, k, st, d in zip(n, kernel, stride, dilation)]
    for tap in np.ndindex(*kernel):
        yield tap, (..., *(slice(t * d, t * d + (o - 1) * st + 1, st) for t, d, o, st in zip(tap, dilation, out, stride)))


def _taps(fold, x: np.ndarray, kernel, stride) -> np.ndarray:
    parts = _windows(x.shape[2:], kernel, stride, (1,) * len(kernel))
    y = x[next(parts)[1]].copy()
    for _, at in parts:
        fold(y, x[at], out=y)
    return y


def _conv(op: Conv, t: Ints, x: np.ndarray) -> np.ndarray:
    """One group: all taps gathered into columns, one matrix product.  Depthwise: a product for each tap."""
    dt = _exact_dtype(exact_bound(op, t))
    x = _pad(x.astype(dt), op.padding, op.pad)
    w, kernel = op.weight.astype(dt), op.weight.shape[2:]
    taps = list(_windows(x.shape[2:], kernel, op.stride, op.dilation))
    bias = op.bias.reshape(-1, *[1] * len(kernel))
    if op.weight.shape[1] == 1 and op.groups > 1:
        rep = len(w) // op.groups
        x = np.repeat(x, rep, axis=1) if rep > 1 else x
        y = sum(x[at] * w[(slice(None), 0, *tap)].reshape(bias.shape) for tap, at in taps)
        return y.astype(np.int64) + bias
    outs = []
    per, o = op.weight.shape[1], len(w) // op.groups
    for gr in range(op.groups):
        xg = x[:, gr * per:(gr + 1) * per]
        cols = np.stack([xg[at] for _, at in taps], 2)                                 # (N, C, taps, *out)
        y = w[gr * o:(gr + 1) * o].reshape(o, -1) @ cols.reshape(len(x), per * len(taps), -1)
        outs.append(y.reshape(len(x), o, *cols.shape[3:]))
    return np.concatenate(outs, 1).astype(np.int64) + bias


def _window_bytes(g: Graph, n: Node) -> int:
    taps = n.op.weight[0, 0].size if isinstance(n.op, Conv) else 1
    sources = [g.nodes[a].type.size * taps for a in n.args]
    return 8 * max([n.type.size, *sources])
