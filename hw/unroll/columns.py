"""Sums as columns of bits: every operand unsigned, what is left over one constant.

A sign bit is complemented and a subtracted operand is complemented bit by bit, both inside the look-up table that adds it
(Baugh and Wooley 1973).  The constants of that are known; where the sum's own constant makes up for them nothing is left.
"""
from typing import NamedTuple

from ir import Ints

from .adders import Term


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
