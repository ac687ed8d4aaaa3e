"""Vector arithmetic of an integer graph in fixed point, one row a token: gains, the codes of a token, norms, scales and curves.

A value is (T, K) integers; its reals are integer / 2**frac, times a positive factor of each token where that cancels.  Every shift
follows from the proven intervals, so that no product leaves 62 bits.
"""
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ir import Add, Concat, Constant, Dense, Div, Expand, FORMATS, Graph, Lut, MaxPool, Mul, Op, Requant, Slice, Sqrt

WORD = 61          # bits of the magnitude of any product
VECTOR = 39        # of a vector that is divided by its own maximum: it then takes UNIT more bits
UNIT = 20          # fraction bits of a value relative to the maximum of its token, and of the ratio of two maxima
ROOT = 51          # of a sum of squares whose root is taken
FACTOR = 24        # fraction bits of a token's scale
TOP = FORMATS["int8"].hi
SLOPE = 16         # fraction bits of the slope of a curve's piece


@dataclass(frozen=True)
class Fixed:
    """A node and how many of its bits are fraction."""
    name: str
    frac: int


@dataclass(frozen=True)
class Norm:
    """The root of the mean square of a token: top / 2**frac * root / 2**unit / sqrt(count)."""
    top: Fixed
    root: str
    unit: int
    count: int


@dataclass(frozen=True)
class Scale:
    """A real factor of each token: value of the node * step."""
    name: str
    step: float


class Rows:
    """Adds nodes to a graph for `tokens` rows; all names begin with `prefix`."""

    def __init__(self, graph: Graph, tokens: int, prefix: str = ""):
        self.graph, self.tokens, self.prefix = graph, tokens, prefix

    def under(self, prefix: str) -> "Rows": return Rows(self.graph, self.tokens, self.prefix + prefix)

    def op(self, name: str, op: Op, *args: str) -> str: return self.graph.add(self.prefix + name, op, *args)

    def type(self, node: str): return self.graph.nodes[node].type

    def width(self, node: str) -> int: return self.type(node).shape[1]

    def bound(self, node: str) -> int:
        """Largest magnitude that a node is proven to have."""
        return max(-self.type(node).lo, self.type(node).hi)

    def clamp(self, name: str, x: str, lo: int, hi: int) -> str: return self.op(name, Requant([1], 0, 0, lo, hi), x)

    def times(self, name: str, x: str, mul, shift: int = 0, zero: int = 0, limits: tuple[int, int] | None = None) -> str:
        """round(x * mul / 2**shift) + zero with one factor or one a column, clamped only where `limits` are given."""
        mul = np.atleast_1d(mul)
        reach = (self.bound(x) * int(np.abs(mul).max()) >> shift) + abs(zero) + 1
        return self.op(name, Requant(mul, shift, zero, *(limits or (-reach, reach)), -1), x)

    def tile(self, name: str, x: str, width: int) -> str:
        """(T, 1) or (1, K) repeated to (T, width)."""
        return self.op(name, Expand((self.tokens, width)), x)

    def constant(self, name: str, values, width: int) -> str:
        """A number, or one a column (K,), for each token."""
        return self.tile(name, self.op(f"{name}.value", Constant(np.atleast_2d(values))), width)

    def columns(self, name: str, x: str, start: int, stop: int) -> str:
        return self.op(name, Slice((0, start), (self.tokens, stop), (1, 1)), x)

    def gain(self, name: str, x: Fixed, gains: np.ndarray, bits: int, frac: int | None = None) -> Fixed:
        """x times real gains of `bits` fraction bits; with as many fraction bits as VECTOR allows, or with `frac`."""
        mul = np.rint(np.ldexp(np.asarray(gains, np.float64), bits)).astype(np.int64)
        most = self.bound(x.name) * max(int(np.abs(mul).max()), 1)
        shift = max(0, most.bit_length() - VECTOR) if frac is None else x.frac + bits - frac
        if shift < 0:
            mul, shift = mul << -shift, 0
        return Fixed(self.times(name, x.name, mul, shift), x.frac + bits - shift if frac is None else frac)

    def largest(self, name: str, x: str) -> str:
        """max |x| of each token, at least 1: (T, 1)."""
        both = self.op(f"{name}.both", Concat(1), x, self.times(f"{name}.minus", x, -1))
        top = self.op(f"{name}.max", MaxPool((2 * self.width(x),), (1,), ((0, 0),)), both)
        return self.clamp(name, top, 1, max(self.bound(x), 1))

    def share(self, name: str, x: str, top: str, one: int) -> str:
        """x / top in steps of 1 / one, which lies in [-one, one]."""
        wide = self.tile(f"{name}.wide", top, self.width(x))
        return self.clamp(name, self.op(f"{name}.div", Div(), self.times(f"{name}.scaled", x, one), wide), -one, one)

    def codes(self, name: str, x: Fixed) -> tuple[str, Fixed]:
        """int8 codes floor(127 * x / max|x| + 1/2) of each token, and the maximum.  A positive factor of the token cancels.

        One division replaces the reciprocal and the product of the usual form; it rounds exactly, so that it differs from a
        rounding half away from zero on negative ties alone.
        """
        top = self.largest(f"{name}.top", x.name)
        return self.share(name, x.name, top, TOP), Fixed(top, x.frac)

    def norm(self, name: str, *parts: Fixed) -> Norm:
        """Root of the sum of squares of all columns of the parts, which have equally many fraction bits; the mean is over the first."""
        x = self.op(f"{name}.all", Concat(1), *(p.name for p in parts))
        columns = self.width(x)
        unit = min(UNIT, (ROOT - columns.bit_length()) // 2)
        top = self.largest(f"{name}.top", x)
        y = self.share(f"{name}.share", x, top, 1 << unit)
        total = self.op(f"{name}.sum", Dense(np.ones((1, columns)), [0]), self.op(f"{name}.squares", Mul(), y, y))
        total = self.clamp(f"{name}.held", total, 1 << 2 * unit, columns << 2 * unit)  # the largest itself counts 1
        return Norm(Fixed(top, parts[0].frac), self.op(f"{name}.root", Sqrt(), total), unit, self.width(parts[0].name))

    def scale(self, name: str, top: Fixed, norm: Norm, most: float, step: float) -> Scale:
        """top / 127 / norm * step, where top is at most `most` times the top of the norm."""
        lift = top.frac - norm.top.frac
        ratio = self.op(f"{name}.div", Div(), self.times(f"{name}.up", top.name, 1 << UNIT), norm.top.name)
        ratio = self.clamp(f"{name}.ratio", ratio, 1, math.ceil(math.ldexp(most, UNIT + lift)))
        value = self.op(name, Div(), self.times(f"{name}.one", ratio, 1 << norm.unit + FACTOR - UNIT), norm.root)
        value = self.clamp(f"{name}.held", value, 1, max(self.bound(value), 1))
        return Scale(value, math.ldexp(math.sqrt(norm.count) * step / TOP, -FACTOR - lift))

    def inverse(self, name: str, scale: Scale, numerator: float, frac: int) -> Fixed:
        """numerator / scale with `frac` fraction bits, (T, 1): at most 2**VECTOR - 1."""
        value = min(max(1, round(math.ldexp(numerator / scale.step, frac))), 1 << WORD - 2)
        value = self.op(f"{name}.div", Div(), self.constant(f"{name}.one", value, 1), scale.name)
        return Fixed(self.clamp(name, value, 1, (1 << VECTOR) - 1), frac)

    def scaled(self, name: str, acc: str, scale: Scale, frac: int, limits: tuple[int, int]) -> Fixed:
        """acc * scale with `frac` fraction bits, clamped to `limits`."""
        product = self.op(f"{name}.product", Mul(), acc, self.tile(f"{name}.scale", scale.name, self.width(acc)))
        mul, shift = multiplier(math.ldexp(scale.step, frac), WORD - self.bound(product).bit_length())
        return Fixed(self.times(name, product, mul, shift, limits=limits), frac)

    def curve(self, name: str, x: Fixed, fn: Callable, pieces: int, frac: int, limits: tuple[int, int]) -> Fixed:
        """fn(x) with `frac` fraction bits by straight pieces, 2**pieces of them a unit, each around its middle.

        Two tables and one product; the largest error of a line is 1/16 of the curvature times the square of its length, and
        half a step.  Where x is no finer than the pieces it is one table.
        """
        below = x.frac - pieces
        if below <= 0:
            t = self.type(x.name)
            table = np.rint(np.ldexp(fn(np.ldexp(np.arange(t.lo, t.hi + 1.0), -x.frac)), frac))
            return Fixed(self.op(name, Lut(np.clip(table, *limits), t.lo), x.name), frac)
        piece = self.times(f"{name}.piece", x.name, 1, below)
        start = self.times(f"{name}.start", piece, -1 << below)
        offset = self.clamp(f"{name}.offset", self.op(f"{name}.from", Add(), x.name, start), -1 << below - 1, (1 << below - 1) - 1)
        t = self.type(piece)
        value, slope = lines(fn, np.arange(t.lo, t.hi + 1.0), pieces)
        fine = x.frac + SLOPE
        value = self.op(f"{name}.value", Lut(np.rint(np.ldexp(value, fine)), t.lo), piece)
        slope = self.op(f"{name}.slope", Lut(np.rint(np.ldexp(slope, SLOPE)), t.lo), piece)
        y = self.op(f"{name}.line", Add(), value, self.op(f"{name}.rise", Mul(), slope, offset))
        return Fixed(self.times(name, y, 1, fine - frac, limits=limits), frac)


def lines(fn: Callable, at: np.ndarray, pieces: int) -> tuple[np.ndarray, np.ndarray]:
    """Value in the middle and slope of the best straight line for fn on each [at - 1/2, at + 1/2] / 2**pieces."""
    middle, half = np.ldexp(at, -pieces), math.ldexp(0.5, -pieces)
    left, right = fn(middle - half), fn(middle + half)
    return ((left + right) / 2 + fn(middle)) / 2, (right - left) / (2 * half)


def multiplier(ratio: float, bits: int) -> tuple[int, int]:
    """ratio > 0 as mul / 2**shift, the largest mul of at most `bits` bits (and 24)."""
    bits = max(1, min(bits, 24))
    shift = min(max(0, bits - 1 - math.floor(math.log2(ratio))), WORD - 1)
    mul = round(math.ldexp(ratio, shift))
    return (mul, shift) if mul.bit_length() <= bits or shift == 0 else (mul + 1 >> 1, shift - 1)
