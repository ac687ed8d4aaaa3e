"""Exact integers over Z3's bit-vectors: the functions of ir/ops.py run on them unchanged.

Every word knows its interval and is as wide as the interval needs, so no operation wraps around.
"""
from __future__ import annotations

import z3

from ir import Ints


class Word:
    """A two's-complement bit-vector whose value lies in [lo, hi]."""

    def __init__(self, bits: z3.BitVecRef, lo: int, hi: int):
        self.bits, self.lo, self.hi = bits, lo, hi

    @staticmethod
    def of(bits: z3.BitVecRef, signed: bool) -> Word:
        """What a wire of the hardware carries."""
        n = bits.size()
        return Word(bits, -(1 << n - 1), (1 << n - 1) - 1) if signed else Word(z3.ZeroExt(1, bits), 0, (1 << n) - 1)

    @staticmethod
    def const(v: int) -> Word: return Word(z3.BitVecVal(v, width(v, v)), v, v)

    def wide(self, n: int) -> z3.BitVecRef:
        """The same value in n bits: extended by its sign, or cut to its lowest n bits."""
        have = self.bits.size()
        return self.bits if n == have else z3.SignExt(n - have, self.bits) if n > have else z3.Extract(n - 1, 0, self.bits)

    def within(self) -> z3.BoolRef:
        """That the value lies in its interval: what is to be assumed of a free word."""
        n = width(self.lo, self.hi)
        return z3.And(self.wide(n) >= self.lo, self.wide(n) <= self.hi) if n >= self.bits.size() else z3.BoolVal(True)

    def __add__(self, other): return self._join(other, lambda a, b: a + b)
    def __radd__(self, other): return self + other
    def __sub__(self, other): return self._join(other, lambda a, b: a - b)
    def __rsub__(self, other): return Word.const(other) - self
    def __neg__(self): return 0 - self

    def __mul__(self, other):
        o = _word(other)
        ends = [a * b for a in (self.lo, self.hi) for b in (o.lo, o.hi)]
        n = width(min(ends), max(ends))
        return Word(self.wide(n) * o.wide(n), min(ends), max(ends))

    __rmul__ = __mul__

    def __lshift__(self, n: int): return self * (1 << n)

    def __rshift__(self, n: int):
        lo, hi = self.lo >> n, self.hi >> n
        w = width(self.lo, self.hi)
        wide = self.wide(w) >> z3.BitVecVal(min(n, w - 1), w)
        return Word(Word(wide, lo, hi).wide(width(lo, hi)), lo, hi)

    def __floordiv__(self, other):
        """Floor of the quotient; the divisor is at least 1."""
        o = _word(other)
        ends = [a // b for a in (self.lo, self.hi) for b in (max(o.lo, 1), o.hi)]
        n = width(min(self.lo, o.lo), max(self.hi, o.hi))
        a, b = self.wide(n), o.wide(n)
        floor = z3.If(z3.And(a < 0, z3.SRem(a, b) != 0), a / b - 1, a / b)  # Z3's / drops the fraction
        return Word(Word(floor, 0, 0).wide(width(min(ends), max(ends))), min(ends), max(ends))

    def clip(self, lo: int, hi: int):
        """As numpy has it; what ops.clamp calls."""
        n = width(min(self.lo, lo), max(self.hi, hi))
        x = self.wide(n)
        ends = max(lo, min(self.lo, hi)), max(lo, min(self.hi, hi))
        cut = z3.If(x < lo, z3.BitVecVal(lo, n), z3.If(x > hi, z3.BitVecVal(hi, n), x))
        return Word(Word(cut, *ends).wide(width(*ends)), *ends)

    def max(self, other: Word) -> Word:
        n = width(min(self.lo, other.lo), max(self.hi, other.hi))
        lo, hi = max(self.lo, other.lo), max(self.hi, other.hi)
        a, b = self.wide(n), other.wide(n)
        return Word(Word(z3.If(a >= b, a, b), lo, hi).wide(width(lo, hi)), lo, hi)

    def _join(self, other, op):
        o = _word(other)
        ends = [op(self.lo, o.lo), op(self.lo, o.hi), op(self.hi, o.lo), op(self.hi, o.hi)]
        n = width(min(*ends, self.lo, o.lo), max(*ends, self.hi, o.hi))
        return Word(Word(op(self.wide(n), o.wide(n)), 0, 0).wide(width(min(ends), max(ends))), min(ends), max(ends))


def width(lo: int, hi: int) -> int:
    """Bits of the narrowest signed word that holds [lo, hi]."""
    return Ints((1,), min(lo, -1), hi).bits


def _word(v) -> Word: return v if isinstance(v, Word) else Word.const(int(v))


def choose(index: Word, entries: dict[int, int]) -> Word:
    """entries[index]; the index has no other value."""
    lo, hi = min(entries.values()), max(entries.values())
    n = width(lo, hi)
    *rest, last = entries
    out = z3.BitVecVal(entries[last], n)
    for v in rest:
        out = z3.If(index.wide(width(min(entries), max(entries))) == v, z3.BitVecVal(entries[v], n), out)
    return Word(out, lo, hi)


def equal(a: Word, b: Word) -> z3.BoolRef:
    n = max(a.bits.size(), b.bits.size())
    return a.wide(n) == b.wide(n)
