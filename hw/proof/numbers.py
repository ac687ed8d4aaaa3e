"""Expressions of Z3 computed on numpy arrays: many random runs of a system at once."""
from collections.abc import Callable, Mapping

import numpy as np
import z3

from .system import bits

WORD = 62  # bits that an int64 holds with room for a carry; wider ones are Python's integers

Array = np.ndarray


class Program:
    """Expressions, translated once.

    `leaves` are what it reads: (name, high, low) for each `extract high low` of `state`, (name,) for other constants.
    """

    def __init__(self, roots: list[z3.ExprRef], state: z3.BitVecRef):
        self.state = state
        self.leaves: dict[tuple, int] = {}
        self.steps: list[tuple[Callable, list[int]]] = []
        self.at: dict[int, int] = {}
        self.keep = roots  # whoever drops an expression gives its number free
        for root in roots:
            self._translate(root)
        self.roots = [self.at[r.get_id()] for r in roots]

    def _translate(self, root: z3.ExprRef) -> None:
        todo = [root]
        while todo:
            e = todo[-1]
            if e.get_id() in self.at:
                todo.pop()
                continue
            if (leaf := self._leaf(e)) is not None:
                self.leaves.setdefault(leaf, len(self.steps))
                self.at[e.get_id()] = self.leaves[leaf]
                if self.leaves[leaf] == len(self.steps):
                    self.steps.append((lambda given, xs, leaf=leaf: given[leaf], []))
                continue
            children = e.children()
            if missing := [c for c in children if c.get_id() not in self.at]:
                todo += missing
                continue
            self.at[e.get_id()] = len(self.steps)
            self.steps.append((_operation(e), [self.at[c.get_id()] for c in children]))

    def _leaf(self, e: z3.ExprRef) -> tuple | None:
        if e.decl().kind() == z3.Z3_OP_EXTRACT and e.arg(0).eq(self.state):
            return (str(self.state), *e.params())
        return (e.decl().name(),) if z3.is_const(e) and e.decl().kind() == z3.Z3_OP_UNINTERPRETED else None

    def run(self, given: Mapping[tuple, Array]) -> list[Array]:
        """Values (count,) of the expressions, unsigned (Bool: 0 or 1), from arrays (count,) of the leaves."""
        values: list[Array] = []
        for op, args in self.steps:
            values.append(op(given, [values[a] for a in args]))
        return [values[r] for r in self.roots]


def _hold(x: Array, n: int) -> Array:
    """Modulo 2**n, in a type that holds it."""
    if n > WORD:
        return x.astype(object) & ((1 << n) - 1)
    return (x & ((1 << n) - 1)).astype(np.int64)


def _signed(x: Array, n: int) -> Array: return x - ((x >> n - 1) << n)


def _operation(e: z3.ExprRef) -> Callable:
    n, kind, sizes, params = bits(e), e.decl().kind(), [bits(c) for c in e.children()], e.params() if z3.is_app(e) else []
    if kind in _CONSTANT:
        v = np.array([e.as_long() if z3.is_bv_value(e) else int(z3.is_true(e))], object if n > WORD else np.int64)
        return lambda given, xs: v
    wide = 2 * max(n, *sizes) > WORD  # a product or a shift may need more
    if kind in _COMPARE:
        signed, compare = _COMPARE[kind]
        op = lambda xs: compare(*(_signed(x, sizes[0]) for x in xs) if signed else xs).astype(np.int64)
    else:
        make = _OPS[kind]
        op = lambda xs: _hold(make((n, sizes, params), xs), n)
    return (lambda given, xs: op([x.astype(object) for x in xs])) if wide else (lambda given, xs: op(xs))


def _fold(op: Callable) -> Callable:
    def all_(e, xs):
        out = xs[0]
        for x in xs[1:]:
            out = op(out, x)
        return out
    return all_


def _concat(e, xs):
    out = xs[0]
    for n, x in zip(e[1][1:], xs[1:]):
        out = (out << n) | x
    return out


def _shift(left: bool, signed: bool) -> Callable:
    def moved(e, xs):
        x, by = xs[0].astype(object), np.minimum(xs[1], e[0]).astype(object)
        return x << by if left else (_signed(x, e[0]) if signed else x) >> by
    return moved


def _divide(floor: bool) -> Callable:
    """The quotient without its fraction, or what it leaves; by 0 as SMT-LIB defines it."""
    def divided(e, xs):
        a, b = (_signed(x, e[1][0]) for x in xs)
        safe = np.where(b == 0, 1, b)
        q = np.sign(a) * np.sign(safe) * (np.abs(a) // np.abs(safe))
        return np.where(b == 0, np.where(a < 0, 1, -1), q) if floor else np.where(b == 0, a, a - q * safe)
    return divided


_CONSTANT = {z3.Z3_OP_BNUM, z3.Z3_OP_TRUE, z3.Z3_OP_FALSE}
_COMPARE = {z3.Z3_OP_EQ: (False, np.equal), z3.Z3_OP_DISTINCT: (False, np.not_equal), z3.Z3_OP_ULT: (False, np.less),
            z3.Z3_OP_ULEQ: (False, np.less_equal), z3.Z3_OP_UGT: (False, np.greater), z3.Z3_OP_UGEQ: (False, np.greater_equal),
            z3.Z3_OP_SLT: (True, np.less), z3.Z3_OP_SLEQ: (True, np.less_equal), z3.Z3_OP_SGT: (True, np.greater),
            z3.Z3_OP_SGEQ: (True, np.greater_equal)}
_OPS: dict[int, Callable] = {
    z3.Z3_OP_AND: _fold(np.bitwise_and), z3.Z3_OP_OR: _fold(np.bitwise_or), z3.Z3_OP_BAND: _fold(np.bitwise_and),
    z3.Z3_OP_BOR: _fold(np.bitwise_or), z3.Z3_OP_BXOR: _fold(np.bitwise_xor), z3.Z3_OP_XOR: _fold(np.bitwise_xor),
    z3.Z3_OP_NOT: lambda e, xs: 1 - xs[0], z3.Z3_OP_BNOT: lambda e, xs: ~xs[0], z3.Z3_OP_BNEG: lambda e, xs: -xs[0],
    z3.Z3_OP_BADD: _fold(np.add), z3.Z3_OP_BSUB: _fold(np.subtract), z3.Z3_OP_BMUL: _fold(np.multiply),
    z3.Z3_OP_IMPLIES: lambda e, xs: (1 - xs[0]) | xs[1], z3.Z3_OP_ITE: lambda e, xs: np.where(xs[0] == 1, xs[1], xs[2]),
    z3.Z3_OP_CONCAT: _concat, z3.Z3_OP_EXTRACT: lambda e, xs: xs[0] >> e[2][1],
    z3.Z3_OP_ZERO_EXT: lambda e, xs: xs[0], z3.Z3_OP_SIGN_EXT: lambda e, xs: _signed(xs[0], e[1][0]),
    z3.Z3_OP_BSDIV: _divide(True), z3.Z3_OP_BSREM: _divide(False), z3.Z3_OP_BSDIV_I: _divide(True), z3.Z3_OP_BSREM_I: _divide(False),
    z3.Z3_OP_BSHL: _shift(True, False), z3.Z3_OP_BLSHR: _shift(False, False), z3.Z3_OP_BASHR: _shift(False, True)}
