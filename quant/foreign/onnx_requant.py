"""Stairs of codes become nodes of the integer graph: one requant, or an affine function before it, or two roundings and a table."""
from dataclasses import replace

import numpy as np

from ir import Add, Conv, Graph, Ints, Lut, Requant, Reshape, Transpose

from .onnx_real import Sum, whole
from .thresholds import Rounding, Staircase, fit, fit_affine, nearest, staircase

NEAREST_BITS = 30
OFFSETS = np.array([0, -1, 1, -2, 2, -3, 3])[:, None]


class Requants:
    """The graph under construction.

    bits: at most so many for the multiplier of a quantizer, which is then nearest; None: as many as equality with the file takes.
    """

    def __init__(self, bits: int | None = None):
        self.g, self.bits = Graph(), bits

    def add(self, name: str, op, *args: str) -> str:
        """Append a node under that name, or name_1 .. if it is taken."""
        free, i = name, 0
        while free in self.g.nodes:
            i += 1
            free = f"{name}_{i}"
        return self.g.add(free, op, *args)

    def type(self, node: str) -> Ints: return self.g.nodes[node].type

    def exact(self, source, sign, s: Staircase, axis: int, zero: int, lo: int, hi: int, name: str) -> str | None:
        """One requant, or an affine function and a requant, with exactly these stairs; None if there is none."""
        if isinstance(source, Sum):
            s, still = _freed(s, zero, lo)
            source = signed(source, sign * ~still)
            if found := fit(s, np.rint(_middle(s, zero) / s.a).astype(np.int64) + OFFSETS, zero):
                mul, shift, offset = found
                return self.requant(self.placed(source, offset), mul, shift, zero, lo, hi, axis, name)
            source = self.placed(source)
        elif (step := whole(s.b[0])) is not None and len(set(s.b)) == 1 and (found := fit(s, None, zero + step)):
            return self.requant(source, found[0], found[1], zero + step, lo, hi, axis, name)
        if found := fit_affine(s, zero):
            mul, add, shift = found
            return self.requant(self.affine(source, mul, add, axis, f"{name}.affine"), np.ones(1), shift, zero, lo, hi, axis, name)
        return None

    def placed(self, source: Sum, bias: np.ndarray | int = 0) -> str:
        """The sums in the graph."""
        return self.add(source.name, replace(source.op, bias=source.op.bias + bias), source.arg)

    def composed(self, source, sign, a, b, ends, axis, zero, lo, hi, rounding: Rounding, name: str) -> str:
        """A rounding that no single requant has: of its upper and its lower neighbour, the right one."""
        if isinstance(source, Sum):
            source, sign = self.placed(signed(source, sign)), np.ones_like(sign)

        def part(mode: str, first: int, last: int) -> str:
            s = staircase(a, b, *ends, first - zero, last - zero, Rounding(mode))
            title = f"{name}.{mode.lower()}"
            node = None if self.bits else self.exact(source, sign, replace(s, codes=s.codes + zero), axis, zero, first, last, title)
            return node or self.nearest(source, sign, a, b, ends, axis, zero, first, last, Rounding(mode), title)
        up, down = ("HALF_CEIL", "HALF_FLOOR") if rounding.mode.startswith("HALF") else ("FLOOR", "CEIL")
        if rounding.mode in (up, down):
            return self.nearest(source, sign, a, b, ends, axis, zero, lo, hi, rounding, name)
        if rounding.mode == "HALF_EVEN":  # the sum is odd just where the value lies half way
            return self.even(part(up, lo, hi), part(down, lo, hi), zero, rounding, name)
        above, below = (up, down) if rounding.mode in ("HALF_UP", "DOWN") else (down, up)
        origin = zero - rounding.base
        if lo >= origin or hi <= origin:
            return part(above if lo >= origin else below, lo, hi)
        total = self.add(f"{name}.both", Add(), part(above, origin, hi), part(below, lo, origin))
        return self.add(name, Requant([1], 0, -origin, lo, hi), total)

    def even(self, up: str, down: str, zero: int, rounding: Rounding, name: str) -> str:
        """Of the codes above and below, the even one where they differ."""
        pair = self.add(f"{name}.pair", Add(), up, down)
        both = np.arange(self.type(pair).lo, self.type(pair).hi + 1)
        odd = (both % 2 == 1) & ((both // 2 - zero + rounding.base) % 2 == 1)
        return self.add(name, Lut(both // 2 + odd, int(both[0])), pair)

    def nearest(self, source, sign, a, b, ends, axis, zero, lo, hi, rounding: Rounding, name: str) -> str:
        """The requant of the nearest multipliers, its offset a bias; which way it leans at a tie is not looked at."""
        if rounding.mode in ("UP", "DOWN"):
            return self.composed(source, sign, a, b, ends, axis, zero, lo, hi, rounding, name)
        b = b + {"FLOOR": -0.5, "CEIL": 0.5}.get(rounding.mode, 0.0)
        a = np.where(a > 0, a, a.max() if a.max() > 0 else 1.0)
        offset = np.rint(b / a).astype(np.int64)
        reach = int(max(np.abs(ends[0] + offset).max(), np.abs(ends[1] + offset).max()))
        mul, shift = nearest(a, self.bits or NEAREST_BITS, reach)
        if isinstance(source, Sum):
            source = self.placed(signed(source, sign), offset)
        elif len(set(b)) == 1 and whole(b[0]) is not None:
            zero += whole(b[0])
        else:
            source = self.affine(source, mul, np.rint(b * 2.0 ** shift).astype(np.int64), axis, f"{name}.affine")
            mul = np.ones(1)
        return self.requant(source, mul, shift, zero, lo, hi, axis, name)

    def requant(self, source: str, mul, shift: int, zero: int, lo: int, hi: int, axis: int, name: str) -> str:
        """A Requant with one multiplier where one is enough."""
        mul = mul[:1] if (mul == mul[0]).all() else mul
        return self.add(name, Requant(mul, shift, zero, lo, hi, axis if len(mul) > 1 else 0), source)

    def affine(self, source: str, mul: np.ndarray, add: np.ndarray, axis: int, name: str) -> str:
        """mul * q + add along an axis, as a convolution of one tap for each channel."""
        shape = self.type(source).shape
        if len(mul) == 1:
            axis, mul, add = 0, np.repeat(mul, shape[0]), np.repeat(add, shape[0])
        perm = (axis, *(i for i in range(len(shape)) if i != axis))
        turned = tuple(shape[p] for p in perm)
        if axis:
            source = self.add(f"{name}.turned", Transpose(perm), source)
        if len(shape) not in (2, 3):
            source = self.add(f"{name}.flat", Reshape((turned[0], int(np.prod(turned[1:])))), source)
        d = len(self.type(source).shape) - 1
        one = (1,) * d
        source = self.add(name, Conv(mul.reshape(-1, 1, *one), add, one, ((0, 0),) * d, one, len(mul)), source)
        if len(shape) not in (2, 3):
            source = self.add(f"{name}.shaped", Reshape(turned), source)
        return self.add(f"{name}.back", Transpose(tuple(np.argsort(perm).tolist())), source) if axis else source


def signed(source: Sum, sign: np.ndarray) -> Sum:
    """The sums with each output's weights times -1, 0 or 1."""
    w = source.op.weight * sign.reshape(-1, *[1] * (source.op.weight.ndim - 1))
    return replace(source, op=replace(source.op, weight=w))


def _freed(s: Staircase, zero: int, lo: int) -> tuple[Staircase, np.ndarray]:
    """The stairs with slopes that are easier to meet, and (C,) whether a channel is constant, so that its sum may be 0."""
    still = s.constant
    once = ((s.at > s.lo[:, None]) & (s.at <= s.hi[:, None])).sum(1) == 1  # one step may be steeper, if it stays the only one
    a = np.where(once, np.maximum(s.a, 0.5 / (s.hi - s.lo + 1)), s.a)
    a = np.where(still, np.median(a[~still]) if (~still).any() else 1.0, a)
    rank = (s.at <= s.lo[:, None]).sum(1)  # of a constant channel: which code it has
    level = np.concatenate([[s.codes[0] - 1], s.codes])[rank] - zero if len(s.codes) else np.full(len(a), lo - zero)
    at = np.where(still[:, None], np.arange(len(s.codes)) >= rank[:, None], s.at)
    return Staircase(at, s.codes, np.where(still, 0, s.lo), np.where(still, 0, s.hi), a, np.where(still, level, s.b)), still


def _middle(s: Staircase, zero: int) -> np.ndarray:
    """(C,) the offset with which round_shift(a * q + offset) has its steps in the middle of the places that they may take."""
    first, last = s.at <= s.hi[:, None], s.at - 1 >= s.lo[:, None]
    edge = s.codes - zero - 0.5
    low = np.where(first, edge - s.a[:, None] * s.at, -np.inf).max(1, initial=-np.inf)
    high = np.where(last, edge - s.a[:, None] * (s.at - 1), np.inf).min(1, initial=np.inf)
    both = np.isfinite(low) & np.isfinite(high)
    return np.where(both, (np.where(both, low, 0) + np.where(both, high, 0)) / 2, s.b)
