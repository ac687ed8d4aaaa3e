"""Sums as columns of bits: every operand unsigned, what is left over one constant.

A sign bit is complemented and a subtracted operand is complemented bit by bit, both inside the look-up table that adds it
(Baugh and Wooley 1973).  The constants of that are known; where the sum's own constant makes up for them nothing is left.
"""
from typing import NamedTuple

from ir import Ints

from . import scalars
from .adders import Term
from .scalars import Scalars, Sum


class Operand(NamedTuple):
    """((bits of `value` but for its lowest `drop`) ^ flips) << shift, unsigned; `width` bits before the shift."""
    value: int
    shift: int
    drop: int
    width: int
    flips: int


def operand(t: Term, lo: int, hi: int) -> tuple[Operand, int]:
    """A term, of a value in [lo, hi], as an operand and the constant to add to it."""
    drop, shift = max(-t.shift, 0), max(t.shift, 0)
    kind = Ints((), lo >> drop, hi >> drop)
    full, sign = (1 << kind.bits) - 1, 1 << kind.bits - 1
    if kind.signed:
        flips, rest = (sign - 1, 1 - sign) if t.negative else (sign, -sign)
    else:
        flips, rest = (full, -full) if t.negative else (0, 0)
    return Operand(t.value, shift, drop, kind.bits, flips), rest << shift


def operands(terms: tuple[Term, ...], lo, hi) -> tuple[list[Operand], int]:
    """All terms, and the sum of their constants."""
    parts = [operand(t, lo[t.value], hi[t.value]) for t in terms]
    return [o for o, _ in parts], sum(rest for _, rest in parts)


def free_columns(parts: list[Operand], rest: int, width: int, exact: bool) -> int:
    """Columns at the low end that have one bit of the lowest operand each, or none: wires.  exact: and that is not complemented."""
    base = 0
    lowest = min(parts, key=lambda o: o.shift)
    while base < width - 1:
        here = [o for o in parts if o.shift <= base < o.shift + o.width]
        if len(here) > 1 or rest >> base & 1 or here not in ([], [lowest]) or exact and here and lowest.flips >> base - lowest.shift & 1:
            break
        base += 1
    return base


class Polarity:
    """Which bits a wire holds complemented: those that a sum only passes on, if all who read it are sums, which can undo it.

    flipped: (values,) masks.  So no look-up table is spent on complementing a bit that nothing is added to.
    """

    def __init__(self, s: Scalars):
        self.flipped = [0] * len(s.ops)
        exact = self._exact(s)
        for k, op in enumerate(s.ops):
            if isinstance(op, Sum) and not exact[k] and _is_added(op):
                parts, rest = self.operands(op, s, k)
                lowest = min(parts, key=lambda o: o.shift)
                self.flipped[k] = lowest.flips << lowest.shift & (1 << free_columns(parts, rest, s.width(k), False)) - 1

    def operands(self, op: Sum, s: Scalars, k: int) -> tuple[list[Operand], int]:
        """What sum k adds up, as its wires hold it, and the constant left over, as bits."""
        parts, rest = operands(op.terms, s.lo, s.hi)
        parts = [o._replace(flips=o.flips ^ self.flipped[o.value] & (1 << o.width) - 1) for o in parts]
        return parts, rest + op.const & (1 << s.width(k)) - 1

    def free(self, parts: list[Operand], rest: int, width: int, k: int) -> int:
        """Columns of sum k that are wires."""
        most, want = free_columns(parts, rest, width, False), self.flipped[k]
        return most if want else free_columns(parts, rest, width, True)

    def _exact(self, s: Scalars) -> list[bool]:
        """Values whose bits are read as they are."""
        exact = [False] * len(s.ops)
        for op in s.ops:
            for a in scalars.args(op, []):
                exact[a] |= not isinstance(op, Sum) or not _is_added(op) or any(t.value == a and t.shift < 0 for t in op.terms)
        for r in s.outputs:
            if r.value is not None: exact[r.value] = True
        return exact


def _is_added(op: Sum) -> bool: return len(op.terms) > 1 or op.const != 0 or op.terms[0].negative
