"""Integer graph -> scalars: one value for every element that the result depends on."""
import math
from collections.abc import Callable

import numpy as np

from ir import (Add, Concat, Constant, Conv, Dense, Expand, Graph, Input, Lut, MaxPool, Mul, Node, Pad, Requant, Reshape, Slice, SumPool,
                Transpose, UserError)
from ir.infer import kind

from . import scalars
from .requants import requant
from .scalars import Block, Largest, Linear, Product, Ref, Scalars, Table, constant, gathered

PRODUCTS = 1 << 18   # weights that are not 0, over all positions: more adders than any device holds
ENTRIES = 1 << 12    # of a table


def scalars_of(g: Graph, table_bits: int) -> Scalars:
    """The scalars of a graph, linear maps whole.  table_bits: width of a value whose every function is one look-up table a bit.

    UserError: an op that is not unrolled, a graph far too large.
    """
    _small_enough(g)
    s, made = Scalars(), {}
    for n in g.nodes.values():
        make = RULES.get(type(n.op))
        if make is None:
            raise UserError(f"node {n.name!r}: {kind(n.op)} cannot be unrolled ({', '.join(sorted(k.__name__.lower() for k in RULES))} can); "
                            "compile the graph without --unroll")
        made[n.name] = make(_Rule(s, n, table_bits), *(made[a] for a in n.args))
    s.outputs = list(made[g.output.name].flat)
    return s


class _Rule:
    """Where the scalars of one node go."""

    def __init__(self, s: Scalars, node: Node, table_bits: int):
        self.s, self.node, self.op, self.table_bits = s, node, node.op, table_bits

    def name(self, k: int) -> str:
        """Of element k: the node's name and the element's place on each axis."""
        shape = self.node.type.shape
        return "_".join([self.node.name, *map(str, np.unravel_index(k, shape))]) if shape else self.node.name

    def each(self, f: Callable, *tensors) -> np.ndarray:
        """f(name, element of each tensor) for every element of the node."""
        out = np.empty(self.node.type.size, object)
        for k, elements in enumerate(zip(*(t.flat for t in tensors))):
            out[k] = f(self.name(k), *elements)
        return out.reshape(self.node.type.shape)


def _small_enough(g: Graph) -> None:
    for n in g.nodes.values():
        count = 0
        if isinstance(n.op, Dense):
            count = np.count_nonzero(n.op.weight) * (n.type.size // len(n.op.weight))
        elif isinstance(n.op, Conv):
            count = np.count_nonzero(n.op.weight) * math.prod(n.type.shape[1:])
        if max(count, n.type.size) > PRODUCTS:
            raise UserError(f"node {n.name!r} ({kind(n.op)}): unrolled it has {max(count, n.type.size):,} terms, more than {PRODUCTS:,}; "
                            "compile the graph without --unroll")


def _input(r: _Rule) -> np.ndarray:
    t = r.op.type
    return r.each(lambda name, k: Ref(r.s.add(scalars.Input(r.node.name, int(k)), name, t.lo, t.hi)), np.arange(t.size))


def _constants(values: np.ndarray) -> np.ndarray:
    out = np.empty(values.size, object)
    for k, v in enumerate(values.flat):
        out[k] = constant(v)
    return out.reshape(values.shape)


def linear(s: Scalars, name: str, names: list[str], refs: list[Ref], matrix: np.ndarray, bias) -> list[Ref]:
    """matrix @ refs + bias, as rows of a block but for those that need no adder."""
    values, columns, consts = gathered(refs, matrix)
    s.blocks.append(Block(name, values, columns))
    out = []
    for row, (c, b, label) in enumerate(zip(consts, bias, names)):
        used, c = np.flatnonzero(columns[row]), int(c) + int(b)
        if len(used) == 0:
            out.append(constant(c))
        elif len(used) == 1 and (w := abs(int(columns[row, used[0]]))).bit_count() == 1:
            out.append(Ref(values[used[0]], w.bit_length() - 1, bool(columns[row, used[0]] < 0), c))
        else:
            out.append(Ref(s.add(Linear(len(s.blocks) - 1, row), label), offset=c))
    return out


def _dense(r: _Rule, x: np.ndarray) -> np.ndarray:
    w, b = r.op.weight, r.op.bias
    rows = x.reshape(-1, w.shape[1])
    made = [linear(r.s, r.node.name, [r.name(k * len(w) + o) for o in range(len(w))], list(row), w, b) for k, row in enumerate(rows)]
    return _array([v for row in made for v in row], r.node.type.shape)


def _conv(r: _Rule, x: np.ndarray) -> np.ndarray:
    op, shape = r.op, r.node.type.shape
    x = _padded(x, ((0, 0), *op.padding), op.pad)
    kernel, per, out = op.weight.shape[2:], len(op.weight) // op.groups, np.empty(shape, object)
    names = np.array([r.name(k) for k in range(r.node.type.size)], object).reshape(shape)
    for at in np.ndindex(*shape[1:]):
        window = tuple(slice(p * s, p * s + d * (k - 1) + 1, d) for p, s, d, k in zip(at, op.stride, op.dilation, kernel))
        for group in range(op.groups):
            o, c = slice(group * per, (group + 1) * per), op.weight.shape[1]
            refs = list(x[(slice(group * c, (group + 1) * c), *window)].flat)
            out[(o, *at)] = _array(linear(r.s, r.node.name, list(names[(o, *at)]), refs, op.weight[o].reshape(per, -1), op.bias[o]), (per,))
    return out


def _requant(r: _Rule, x: np.ndarray) -> np.ndarray:
    mul = np.array(r.op.mul, object)
    if len(mul) > 1:
        mul = mul.reshape([-1 if a == r.op.axis % x.ndim else 1 for a in range(x.ndim)])
    return r.each(lambda name, v, m: requant(r.s, v, r.op, int(m), name, r.table_bits), x, np.broadcast_to(mul, x.shape))


def _add(r: _Rule, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return r.each(lambda name, p, q: linear(r.s, name, [name], [p, q], np.array([[1, 1]]), [0])[0], a, b)


def _mul(r: _Rule, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    def product(name: str, p: Ref, q: Ref) -> Ref:
        if p.value is None or q.value is None:
            p, q = (p, q) if q.value is None else (q, p)
            return linear(r.s, name, [name], [p], np.array([[q.offset]]), [0])[0]
        p, q = r.s.whole(p, f"{name}_a"), r.s.whole(q, f"{name}_b")
        return Ref(r.s.add(Product(*sorted((p.value, q.value))), name))
    return r.each(product, a, b)


def _lut(r: _Rule, x: np.ndarray) -> np.ndarray:
    def look(name: str, v: Ref) -> Ref:
        if v.value is None:
            return constant(r.op.table[v.offset - r.op.base])
        lo, hi = r.s.lo[v.value], r.s.hi[v.value]
        if hi - lo >= ENTRIES:
            raise UserError(f"node {r.node.name!r}: a table of {hi - lo + 1:,} entries cannot be unrolled (at most {ENTRIES:,}); "
                            "compile the graph without --unroll")
        words = r.op.table[np.arange(lo, hi + 1) * v.scaled(1) + v.offset - r.op.base]
        return constant(words[0]) if (words == words[0]).all() else Ref(r.s.add(Table(v.value, tuple(map(int, words))), name))
    return r.each(look, x)


def _largest(s: Scalars, name: str, refs: list[Ref]) -> Ref:
    """The largest of them, as a tree; an offset that all share stays one."""
    refs = list(dict.fromkeys(refs))
    shared = refs[0].offset if len({r.offset for r in refs}) == 1 else 0
    parts, floor = [], None
    for r in refs:
        if r.value is None:
            floor = r.offset if floor is None else max(floor, r.offset)
        else:
            parts.append(s.whole(r.moved(-shared), f"{name}_of"))
    if not parts:
        return constant(floor)
    while len(parts) > 1:
        pairs = [Ref(s.add(Largest(*sorted((a.value, b.value))), name)) for a, b in zip(parts[:-1:2], parts[1::2])]
        parts = pairs + parts[2 * len(pairs):]
    top = parts[0].value
    if floor is not None and floor - shared > s.lo[top]:
        top = s.add(scalars.Clamp(top, floor - shared, max(s.hi[top], floor - shared)), name)
    return Ref(top, offset=shared)


def _maxpool(r: _Rule, x: np.ndarray) -> np.ndarray:
    windows = _windows(r, x, None)
    return r.each(lambda name, w: _largest(r.s, name, [v for v in w if v is not None]), windows)


def _sumpool(r: _Rule, x: np.ndarray) -> np.ndarray:
    def total(name: str, w: list[Ref]) -> Ref: return linear(r.s, name, [name], w, np.ones((1, len(w)), np.int64), [0])[0]
    return r.each(total, _windows(r, x, r.op.pad))


def _windows(r: _Rule, x: np.ndarray, pad: int | None) -> np.ndarray:
    """The list of elements of each window; outside x stands `pad`, or None."""
    op, shape = r.op, r.node.type.shape
    x, out = _padded(x, ((0, 0), *op.padding), pad), np.empty(shape, object)
    for c, *at in np.ndindex(*shape):
        out[(c, *at)] = list(x[(c, *(slice(p * s, p * s + k) for p, s, k in zip(at, op.stride, op.kernel)))].flat)
    return out


def _padded(x: np.ndarray, padding, value: int | None) -> np.ndarray:
    out = np.empty([b + n + a for n, (b, a) in zip(x.shape, padding)], object)
    out.fill(None if value is None else constant(value))
    out[tuple(slice(b, b + n) for n, (b, _) in zip(x.shape, padding))] = x
    return out


def _array(refs: list[Ref], shape: tuple[int, ...]) -> np.ndarray:
    out = np.empty(len(refs), object)
    out[:] = refs
    return out.reshape(shape)


RULES: dict[type, Callable[..., np.ndarray]] = {
    Input: _input, Constant: lambda r: _constants(r.op.value), Dense: _dense, Conv: _conv, Requant: _requant, Add: _add, Mul: _mul, Lut: _lut,
    MaxPool: _maxpool, SumPool: _sumpool,
    Concat: lambda r, *xs: np.concatenate(xs, r.op.axis),
    Expand: lambda r, x: np.broadcast_to(x, r.op.shape),
    Reshape: lambda r, x: x.reshape(r.op.shape),
    Transpose: lambda r, x: x.transpose(r.op.perm),
    Slice: lambda r, x: x[tuple(map(slice, r.op.start, r.op.stop, r.op.step))],
    Pad: lambda r, x: _padded(x, r.op.padding, r.op.value),
}
