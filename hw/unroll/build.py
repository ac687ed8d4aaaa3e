"""From sums of many terms to adders of two or three: order, orientation and constants."""
from dataclasses import dataclass

import numpy as np

from .adders import Adders, Term
from .columns import operand
from .cost import AdderCost, bits, luts
from .sums import Sums
from .trees import groups


@dataclass(frozen=True)
class Piece:
    """sign * (value << shift) up to a constant, in the tree of one sum; span and depth of it."""
    value: int
    shift: int
    sign: int
    span: int
    depth: int


class Builder:
    """Adders in the making; every value's interval and offset is known as soon as it is there."""

    def __init__(self, lo: np.ndarray, hi: np.ndarray, family: AdderCost, plain: bool):
        self.family, self.plain = family, plain
        self.out = Adders(lo, hi)
        self.lo, self.hi = [int(v) for v in self.out.lo], [int(v) for v in self.out.hi]
        self.offset, self.depth = [0] * self.out.inputs, [0] * self.out.inputs
        self.coefs = list(np.eye(self.out.inputs, dtype=np.int64))
        self.known: dict[tuple, int] = {}

    def add(self, terms: tuple[Term, ...], total: int | None) -> int:
        """An adder whose value's constant part is `total`, or what costs nothing.  -> value."""
        parts = [operand(t, self.lo[t.value], self.hi[t.value]) for t in terms]
        own = sum((-1 if t.negative else 1) * self.offset[t.value] << t.shift for t in terms)
        if total is not None: constant = total - own
        else: constant = 0 if self.plain else -sum(rest for _, rest in parts)
        key = (tuple(sorted(terms)), constant)
        if key in self.known: return self.known[key]
        v = self.known[key] = self.out.inputs + len(self.out.adds)
        self.out.adds.append(terms)
        if constant: self.out.constants[v - self.out.inputs] = constant
        coef = sum((-1 if t.negative else 1) * self.coefs[t.value] << t.shift for t in terms)
        self.coefs.append(coef)
        self.offset.append(own + constant)
        self.lo.append(int(np.maximum(coef, 0) @ self.out.lo + np.minimum(coef, 0) @ self.out.hi) + own + constant)
        self.hi.append(int(np.maximum(coef, 0) @ self.out.hi + np.minimum(coef, 0) @ self.out.lo) + own + constant)
        self.depth.append(1 + max(self.depth[t.value] for t in terms))
        return v

    def price(self, terms: tuple[Term, ...]) -> float:
        """Look-up tables of an adder whose constant costs nothing."""
        parts = [operand(t, self.lo[t.value], self.hi[t.value])[0] for t in terms]
        top = sum((1 << p.width) - 1 << p.shift for p in parts)
        return luts(parts, 0, bits(0, top), self.family)

    def merge(self, pieces: list[Piece]) -> Piece:
        """One adder, turned so that it costs less: no bit is complemented that has nobody to be added to."""
        low = min(p.shift for p in pieces)
        ways = [tuple(Term(p.value, p.shift - low, p.sign != turn) for p in pieces) for turn in (1, -1)]
        if self.plain: second = all(t.negative for t in ways[0])
        else: second = self.price(ways[1]) < self.price(ways[0])
        v = self.add(ways[second], None)
        return Piece(v, low, -1 if second else 1, sum(p.span for p in pieces), self.depth[v])

    def tree(self, pieces: list[Piece], keep: int, hurry: bool) -> list[Piece]:
        """Merge pieces until `keep` of them are left."""
        return groups(pieces, keep, self.family.terms, self.merge, hurry)


def build(sums: Sums, lo: np.ndarray, hi: np.ndarray, bias: np.ndarray, family: AdderCost, limit: int | None) -> Adders:
    """Adders of all sums, as deep as `limit` at most where the sums allow that."""
    hurried: set[int] = set()
    while True:
        b, root = _attempt(sums, lo, hi, bias, family, hurried)
        late = [j for j, t in enumerate(b.out.outputs) if t and limit is not None and b.depth[t.value] > limit]
        more = _critical(sums, late, root) - hurried or _below(sums, late) - hurried
        if not more: return b.out
        hurried |= more


def is_plain(bias: np.ndarray, family: AdderCost) -> bool:
    """Signs are extended: along a carry chain that costs nothing, but adding a constant does."""
    return family.ripple and not bias.any()


def order_of(sums: Sums) -> list[int]:
    """Sums after those that they are made of."""
    order, done = [], set(range(sums.inputs))
    for start in sums.rows:
        stack = [start]
        while stack:
            row = stack[-1]
            missing = [k >> 6 for k in sums.rows[row] if k >> 6 not in done] if row not in done else []
            stack += missing
            if not missing:
                stack.pop()
                if row not in done: order.append(row)
                done.add(row)
    return order


def _attempt(sums: Sums, lo, hi, bias, family: AdderCost, hurried: set[int]) -> tuple[Builder, dict[int, Piece]]:
    b = Builder(lo, hi, family, is_plain(bias, family))
    root = {i: Piece(i, 0, 1, int(hi[i] - lo[i]), 0) for i in range(sums.inputs)}
    outputs: list[Term | None] = [None] * len(sums.outputs)
    rest = np.array(bias, np.int64)
    for row in order_of(sums):
        own, spread = sums.of_output[row], bool(sums.users[row])
        pieces = []
        for k, sign in sorted(sums.rows[row].items()):
            p, shift = root[k >> 6], k & 63
            pieces.append(Piece(p.value, p.shift + shift, p.sign * sign, p.span << shift, p.depth))
        if len(own) == 1 and not spread:
            last = b.tree(pieces, 2 if b.plain else family.terms - 1, row in hurried)
            outputs[own[0]] = _finish(b, last, sums.outputs[own[0]], int(bias[own[0]]))
            rest[own[0]] = 0
            root[row] = Piece(outputs[own[0]].value, 0, 1, 0, b.depth[outputs[own[0]].value])
        else: root[row] = b.tree(pieces, 1, row in hurried)[0]
    for j, term in enumerate(sums.outputs):
        if term is None or outputs[j]: continue
        p = root[term[0]]
        outputs[j] = _finish(b, [p], term, int(bias[j]))
        rest[j] = bias[j] - (b.offset[outputs[j].value] << outputs[j].shift) * (-1 if outputs[j].negative else 1)
    b.out.outputs, b.out.bias = outputs, rest if rest.any() else None
    return b, root


def _finish(b: Builder, pieces: list[Piece], term: tuple[int, int, int], bias: int) -> Term:
    """An output from the last pieces of its sum: their adder with the constant in it, or a wire."""
    _, shift, sign = term
    terms = tuple(Term(p.value, p.shift, p.sign * sign < 0) for p in pieces)
    if len(terms) == 1 and (b.plain or not terms[0].negative and b.offset[terms[0].value] << terms[0].shift + shift == bias):
        return terms[0]._replace(shift=terms[0].shift + shift)
    if b.plain:
        last = b.merge([Piece(p.value, p.shift, p.sign * sign, p.span, p.depth) for p in pieces])
        return Term(last.value, last.shift + shift, last.sign < 0)
    if bias % (1 << shift): return Term(b.add(tuple(t._replace(shift=t.shift + shift) for t in terms), bias))
    low = min(t.shift for t in terms)
    low = low if (bias >> shift) % (1 << low) == 0 else 0
    v = b.add(tuple(t._replace(shift=t.shift - low) for t in terms), bias >> shift + low)
    return Term(v, shift + low)


def _critical(sums: Sums, late: list[int], root: dict[int, Piece]) -> set[int]:
    """The sums on the longest way to each late output."""
    found = set()
    for j in late:
        row = sums.outputs[j][0]
        while row >= sums.inputs and row not in found:
            found.add(row)
            row = max((k >> 6 for k in sums.rows[row]), key=lambda s: root[s].depth)
    return found


def _below(sums: Sums, late: list[int]) -> set[int]:
    """All sums that the late outputs are made of."""
    found, todo = set(), [sums.outputs[j][0] for j in late]
    while todo:
        row = todo.pop()
        if row < sums.inputs or row in found: continue
        found.add(row)
        todo += [k >> 6 for k in sums.rows[row]]
    return found
