"""Random valid graphs over the whole closed op set, and inputs for them: what every backend is tested on.

`random_graph(r)` takes any random.Random; `graphs()` is the hypothesis strategy that shrinks.
"""
import random

import numpy as np
from hypothesis import strategies as st

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Pad, Recur,
                Requant, Reshape, Slice, Sqrt, SumPool, Transpose, UserError)

MAX_SIZE = 400  # elements of one value
RANGES = [(0, 255), (-128, 127), (-8, 7), (0, 15), (-1, 1), (0, 1), (-2, 1), (3, 9), (-7, -2), (0, 65535), (-32768, 32767), (-100, 300)]
WIDE = [(-2**31, 2**31 - 1), (0, 2**32 - 1), (-2**40, 2**40), (2**24, 2**24 + 5), (2**40, 2**40 + 9), (-2**55 - 1, 2**55 + 1)]


def graphs(kinds=None, max_ops: int = 8, wide: bool = True):
    """Strategy of small valid graphs; `kinds` names the ops to use, wide=False keeps inputs within 16 bits and weights within 8."""
    return st.randoms(use_true_random=False).map(lambda r: random_graph(r, kinds, max_ops, wide))


def samples(g: Graph, n: int, seed: int = 0):
    """n inputs: all lo, all hi, lo and hi mixed, then random; an array, or {input name: array} where there are several."""
    rng = np.random.default_rng(seed)

    def draw(t: Ints) -> np.ndarray:
        x = rng.integers(t.lo, t.hi + 1, (n, *t.shape))
        corners = [np.full(t.shape, t.lo), np.full(t.shape, t.hi), np.where(rng.random(t.shape) < .5, t.lo, t.hi)]
        for i, c in enumerate(corners[:n]):
            x[i] = c
        return x
    x = {i.name: draw(i.type) for i in g.inputs}
    return x if len(x) > 1 else next(iter(x.values()))


def random_graph(r: random.Random, kinds=None, max_ops: int = 8, wide: bool = True) -> Graph:
    """A graph of up to max_ops random ops (and the requants between them); its output shows several of its values."""
    g, makers = Graph(), [m for k, m in MAKERS.items() if kinds is None or k in kinds]
    for i in range(r.choice((1, 1, 1, 2))):
        g.add(f"x{i}", Input(Ints(_shape(r), *r.choice(WIDE if wide and r.random() < .1 else RANGES))))
    for i in range(r.randint(1, max_ops)):
        x = g.nodes[r.choice(list(g.nodes)[-3:])].name
        if g.nodes[x].type.bits > 20 and r.random() < .8 and (kinds is None or Requant in kinds):
            x = _narrow(r, g, x, r.choice(WIDE if wide and r.random() < .1 else RANGES))
        made = r.choice(makers)(r, g, x, wide)
        if made is None:
            continue
        op, args = made
        try:
            g.add(f"n{i}_{type(op).__name__.lower()}", op, *args)
        except UserError as e:  # wider than a word: that is infer's right; anything else is a defect of a maker
            if "bits" not in str(e):
                raise
    return show_leaves(g, kinds)


def show_leaves(g: Graph, kinds=None) -> Graph:
    """With every value that nobody reads, flattened, in one output: nothing computed escapes comparison."""
    leaves = [n for n, users in g.users().items() if not users]
    if len(leaves) > 1 and (kinds is None or {Concat, Reshape} <= set(kinds)):
        flat = [g.add(f"flat_{n}", Reshape((g.nodes[n].type.size,)), n) for n in leaves]
        g.add("all", Concat(0), *flat)
    return g


def _shape(r) -> tuple[int, ...]:
    rank = r.choice((1, 2, 2, 3, 3, 3))
    return (r.choice((1, 2, 3, 4, 6)), *(r.randint(1, 7) for _ in range(rank - 1)))


def _ints(r, shape, bits: int) -> np.ndarray:
    half = 1 << bits - 1
    return np.random.default_rng(r.getrandbits(32)).integers(-half, half, shape)


def _weights(r, shape, wide: bool) -> np.ndarray:
    return _ints(r, shape, r.choice((1, 2, 4, 8, 8, 8, 12, 20, 30) if wide else (1, 2, 4, 8)))


def _requant(r, g, x, wide): return requant_to(r, g.nodes[x].type, r.choice(WIDE if wide and r.random() < .1 else RANGES)), [x]


def requant_to(r, t: Ints, bounds: tuple[int, int]) -> Requant:
    """A requant of type t whose result about fills `bounds`: one multiplier, or one an index on an axis by either convention."""
    axis = r.randrange(-len(t.shape), len(t.shape)) if t.shape else 0
    count = t.shape[axis] if r.random() < .6 else 1
    top = max(1, min(r.choice((1, 4, 10, 16, 24)), 60 - t.bits))
    least = 1 if r.random() < .8 else -(1 << top) + 1  # some turn the sign
    mul = np.random.default_rng(r.getrandbits(32)).integers(least, 1 << top, count) if top > 1 else np.ones(count)
    product = (max(t.hi, -t.lo).bit_length() or 1) + top
    shift = max(0, min(60, product - max(map(abs, bounds)).bit_length() + r.randint(-2, 1)))
    return Requant(mul, shift, r.randint(*bounds) if r.random() < .5 else 0, *bounds, axis)


def _narrow(r, g, x: str, bounds) -> str:
    if g.nodes[x].type.bits > 60:  # no requant can hold its product
        return x
    return g.add(f"{x}_to_{len(g.nodes)}", requant_to(r, g.nodes[x].type, bounds), x)


def _window(r, space) -> tuple:
    """kernel, stride and padding that fit."""
    padding = tuple((r.randint(0, 2), r.randint(0, 2)) if r.random() < .5 else (0, 0) for _ in space)
    kernel = tuple(r.randint(1, min(4, n + sum(p))) for n, p in zip(space, padding))
    return kernel, tuple(r.choice((1, 1, 2, 3)) for _ in space), padding


def _dense(r, g, x, wide):
    t = g.nodes[x].type
    out = r.randint(1, 20)
    if t.size // t.shape[-1] * out > MAX_SIZE:
        return None
    return Dense(_weights(r, (out, t.shape[-1]), wide), _ints(r, out, r.choice((1, 8, 20)))), [x]


def _conv(r, g, x, wide):
    t = g.nodes[x].type
    if len(t.shape) not in (2, 3):
        return None
    kernel, stride, padding = _window(r, t.shape[1:])
    dilation = tuple(d if d * (k - 1) < n + sum(p) else 1
                     for d, k, n, p in zip((r.choice((1, 1, 2, 3)), r.choice((1, 1, 2))), kernel, t.shape[1:], padding))
    groups = r.choice([d for d in range(1, t.shape[0] + 1) if t.shape[0] % d == 0])
    out = groups * r.choice((1, 1, 2, 3, 5) if groups > 1 else (1, 3, 8, 16, 20))
    pad = r.choice((0, t.lo, t.hi, (t.lo + t.hi) // 2, t.lo - 3))
    return Conv(_weights(r, (out, t.shape[0] // groups, *kernel), wide), _ints(r, out, r.choice((1, 8, 20))), stride, padding, dilation,
                groups, pad), [x]


def _pool(kind):
    def make(r, g, x, wide):
        t = g.nodes[x].type
        if len(t.shape) not in (2, 3):
            return None
        kernel, stride, padding = _window(r, t.shape[1:])
        if kind is MaxPool:
            padding = tuple((min(p[0], k - 1), min(p[1], k - 1)) for p, k in zip(padding, kernel))
            if any(k > n + sum(p) for k, n, p in zip(kernel, t.shape[1:], padding)):
                return None
            return MaxPool(kernel, stride, padding), [x]
        return SumPool(kernel, stride, padding, r.choice((0, t.lo, t.hi + 2))), [x]
    return make


def _join(kind):
    def make(r, g, x, wide):
        t = g.nodes[x].type
        mates = [n.name for n in g.nodes.values() if n.type.shape == t.shape]
        return kind(), [x, r.choice(mates)]
    return make


def _matmul(r, g, x, wide):
    t = g.nodes[x].type
    if len(t.shape) < 2:
        return None
    mates = [n.name for n in g.nodes.values() if len(n.type.shape) == len(t.shape) and n.type.shape[:-2] == t.shape[:-2]
             and n.type.shape[-2] == t.shape[-1] and t.size * n.type.shape[-1] <= 16 * MAX_SIZE]
    if not mates:  # x times its own transpose
        swap = (*range(len(t.shape) - 2), len(t.shape) - 1, len(t.shape) - 2)
        mates = [g.add(f"{x}_t{len(g.nodes)}", Transpose(swap), x)]
    return MatMul(), [x, r.choice(mates)]


def _lut(r, g, x, wide):
    t = g.nodes[x].type
    if t.hi - t.lo > 600:
        x = _narrow(r, g, x, r.choice(RANGES[:9]))
        t = g.nodes[x].type
    extra = r.choice((0, 0, 3))
    return Lut(_ints(r, t.hi - t.lo + 1 + 2 * extra, r.choice((1, 4, 8, 16, 30))), t.lo - extra), [x]


def _gather(r, g, x, wide):
    t = g.nodes[x].type
    if t.lo < 0 or t.hi > 300 or t.size * 4 > MAX_SIZE:
        return None
    return Gather(_ints(r, (t.hi + 1 + r.choice((0, 2)), r.randint(1, 4)), r.choice((4, 8, 16)))), [x]


def _concat(r, g, x, wide):
    t = g.nodes[x].type
    axis = r.randrange(len(t.shape))
    mates = [n.name for n in g.nodes.values() if len(n.type.shape) == len(t.shape)
             and all(a == b for i, (a, b) in enumerate(zip(n.type.shape, t.shape)) if i != axis)]
    args = [x, *(r.choice(mates) for _ in range(r.choice((1, 1, 2))))]
    return (Concat(axis), args) if sum(g.nodes[a].type.size for a in args) <= MAX_SIZE else None


def _reshape(r, g, x, wide):
    size = g.nodes[x].type.size
    a = r.choice([d for d in range(1, size + 1) if size % d == 0])
    b = r.choice([d for d in range(1, size // a + 1) if size // a % d == 0])
    return Reshape(r.choice(((size,), (a, size // a), (a, b, size // a // b)))), [x]


def _transpose(r, g, x, wide):
    perm = list(range(len(g.nodes[x].type.shape)))
    r.shuffle(perm)
    return Transpose(tuple(perm)), [x]


def _slice(r, g, x, wide):
    start = [r.randrange(n) for n in g.nodes[x].type.shape]
    stop = [r.randint(a + 1, n) for a, n in zip(start, g.nodes[x].type.shape)]
    return Slice(tuple(start), tuple(stop), tuple(r.choice((1, 1, 2, 3)) for _ in start)), [x]


def _pad(r, g, x, wide):
    t = g.nodes[x].type
    padding = tuple((r.randint(0, 2), r.randint(0, 2)) if r.random() < .5 else (0, 0) for _ in t.shape)
    if np.prod([n + sum(p) for n, p in zip(t.shape, padding)]) > MAX_SIZE:
        return None
    return Pad(padding, r.choice((0, t.lo, t.hi, t.hi + 1))), [x]


def _positive(r, g, x: str) -> str:
    """x, clamped to what a divisor may be."""
    t = g.nodes[x].type
    return x if t.lo >= 1 else g.add(f"{x}_up{len(g.nodes)}", Requant([1], 0, 0, 1, max(2, t.hi)), x)


def _div(r, g, x, wide):
    t = g.nodes[x].type
    mates = [n.name for n in g.nodes.values() if n.type.shape == t.shape and n.type.bits < 40]
    return (Div(), [x, _positive(r, g, r.choice(mates))]) if mates else None


def _sqrt(r, g, x, wide):
    t = g.nodes[x].type
    if t.bits > 60:
        return None
    return Sqrt(), [x if t.lo >= 0 and t.bits <= 52 else g.add(f"{x}_abs{len(g.nodes)}", Requant([1], 0, 0, 0, min(max(t.hi, 1), 2**52 - 1)), x)]


def _expand(r, g, x, wide):
    shape = g.nodes[x].type.shape
    axis = r.randrange(len(shape))
    one = g.add(f"{x}_one{len(g.nodes)}", Slice(tuple(0 for _ in shape), tuple(1 if a == axis else n for a, n in enumerate(shape)),
                                                (1,) * len(shape)), x)
    return Expand(shape[:axis] + (r.randint(1, 4),) + shape[axis + 1:]), [one]


def _constant(r, g, x, wide):
    """A constant, joined with x so that the batch matters."""
    shape = g.nodes[x].type.shape
    return Add(), [x, g.add(f"const{len(g.nodes)}", Constant(_ints(r, shape, r.choice((1, 4, 8, 30)))))]


def _recur(r, g, x, wide):
    t = g.nodes[x].type
    if t.bits > 30:
        return None
    mates = [n.name for n in g.nodes.values() if n.type.shape == t.shape and n.type.bits < 40]
    shift = r.randint(0, t.bits)
    args = [x, r.choice(mates)]
    if r.random() < .4:
        args.append(g.add(f"state{len(g.nodes)}", Constant(_ints(r, (1, *t.shape[1:]), 8))))
    return Recur(shift, *r.choice(RANGES)), args


MAKERS = {Dense: _dense, Conv: _conv, Requant: _requant, Add: _join(Add), Mul: _join(Mul), MatMul: _matmul, MaxPool: _pool(MaxPool),
          SumPool: _pool(SumPool), Lut: _lut, Concat: _concat, Reshape: _reshape, Transpose: _transpose, Slice: _slice, Pad: _pad,
          Gather: _gather, Div: _div, Sqrt: _sqrt, Expand: _expand, Constant: _constant, Recur: _recur}
