"""A graph on symbols: what ir.run computes, as expressions of Z3, for every input at once."""
import itertools
from collections.abc import Mapping

import numpy as np
import z3

from ir import Conv, Dense, Div, Graph, Ints, Lut, MatMul, MaxPool, Op, Recur, Requant, Sqrt, SumPool, UserError, ops
from ir.infer import spatial
from ir.interpret import evaluate

from .word import Word, choose


def words(g: Graph) -> dict[str, np.ndarray]:
    """Free words for every input of the graph, (*shape): by the input's name."""
    return {n.name: symbols(n.name, n.type) for n in g.inputs}


def symbols(name: str, t: Ints) -> np.ndarray:
    """(*shape) words, each any value of t; `Word.within` has to be assumed of them."""
    out = np.empty(t.size, object)
    for k in range(t.size):
        w = Word.of(z3.BitVec(f"{name}.{k}", t.bits), t.signed)
        out[k] = Word(w.bits, t.lo, t.hi)
    return out.reshape(t.shape)


def run(g: Graph, x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Words (*shape) of every node, by name.  UserError: an op that cannot be followed on symbols."""
    env: dict[str, np.ndarray] = {}
    for n in g.nodes.values():
        if n.name in x:
            env[n.name] = x[n.name]
        elif not n.args:
            env[n.name] = np.frompyfunc(Word.const, 1, 1)(n.op.value)
        else:
            env[n.name] = apply(n.op, [g.nodes[a].type for a in n.args], [env[a] for a in n.args])
    return env


def apply(op: Op, types: list[Ints], xs: list[np.ndarray]) -> np.ndarray:
    """One op on arrays of words without a batch axis."""
    match op:
        case Dense(w, b):
            return xs[0] @ w.T.astype(object) + b.astype(object)
        case MatMul():
            return xs[0] @ xs[1]
        case Requant(mul, shift, zero, lo, hi, axis):
            shape = [1] * xs[0].ndim
            shape[axis] = len(mul)
            one = np.frompyfunc(lambda x, m: ops.requant(x, int(m), shift, zero, lo, hi), 2, 1)
            return one(xs[0], mul.reshape(shape))
        case Div():
            return np.frompyfunc(ops.divide, 2, 1)(*xs)
        case Lut(table, base):
            t = types[0]
            return np.frompyfunc(lambda x: choose(x, {v: int(table[v - base]) for v in range(t.lo, t.hi + 1)}), 1, 1)(xs[0])
        case Conv():
            return _conv(op, types[0], xs[0])
        case MaxPool(kernel, stride, padding) | SumPool(kernel, stride, padding, _):
            return _pool(op, types[0], xs[0], kernel, stride, padding)
        case Recur() | Sqrt():
            raise UserError(f"{type(op).__name__.lower()} is not followed on symbols; its module is proven alone")
        case _:
            return evaluate(op, tuple(types), *(x[None] for x in xs))[0]


def _taps(x: np.ndarray, at, stride, dilation, before, kernel, outside):
    """Elements of one window of x (C, *spatial), tap by tap: arrays (C,), or `outside`."""
    for tap in itertools.product(*map(range, kernel)):
        place = [i * s + t * d - p for i, s, t, d, p in zip(at, stride, tap, dilation, before)]
        inside = all(0 <= p < n for p, n in zip(place, x.shape[1:]))
        yield tap, (x[(slice(None), *place)] if inside else np.full(len(x), outside, object))


def _conv(op: Conv, t: Ints, x: np.ndarray) -> np.ndarray:
    space = spatial(op, t, op.weight.shape[2:], op.stride, op.padding, op.dilation)
    before, per, outs = [p[0] for p in op.padding], op.weight.shape[1], len(op.weight) // op.groups
    y = np.empty((len(op.weight), *space), object)
    for at in itertools.product(*map(range, space)):
        window = list(_taps(x, at, op.stride, op.dilation, before, op.weight.shape[2:], op.pad))
        for o in range(len(op.weight)):
            first = o // outs * per
            y[(o, *at)] = Word.const(int(op.bias[o])) + sum(int(op.weight[(o, c, *tap)]) * v[first + c] for tap, v in window for c in range(per))
    return y


def _pool(op, t: Ints, x: np.ndarray, kernel, stride, padding) -> np.ndarray:
    largest, ones = isinstance(op, MaxPool), (1,) * len(kernel)
    outside = Word.const(t.lo if largest else op.pad)
    y = np.empty((len(x), *spatial(op, t, kernel, stride, padding)), object)
    for at in itertools.product(*map(range, y.shape[1:])):
        taps = [v for _, v in _taps(x, at, stride, ones, [p[0] for p in padding], kernel, outside)]
        for c in range(len(x)):
            y[(c, *at)] = _fold([v[c] for v in taps], largest)
    return y


def _fold(terms: list[Word], largest: bool) -> Word:
    out = terms[0]
    for w in terms[1:]:
        out = out.max(w) if largest else out + w
    return out

