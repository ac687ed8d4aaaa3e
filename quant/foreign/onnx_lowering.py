"""Affine functions of integers become nodes of the integer graph: quantizers, operands of products, the output."""
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ir import Add, Concat, Encoding, Expand, Input, Ints, Lut, Requant, Reshape, UserError

from .onnx_real import Pair, Real, Sum, real, squeezed, uniform, whole
from .onnx_requant import Requants
from .thresholds import Rounding, fit_pair, staircase

MOST_STEPS = 1 << 19   # thresholds of one quantizer that are looked at; beyond, the nearest multiplier is taken
MOST_PAIRS = 1 << 18   # of codes of two tensors whose sum is looked at
PAIR_NOISE = 1e-11     # of a sum in float64, in steps of the result
TABLE = 1 << 17        # largest table of a nonlinearity
OUTPUT_BITS = 24       # of an output whose channels have scales of their own
FINE = 256             # steps of the output in one step of sums whose offsets are no whole steps


class Lowering(Requants):
    """What a file computes, as nodes of the graph under construction; shape: of the model's input."""

    def __init__(self, shape: tuple[int, ...], bits: int | None = None):
        super().__init__(bits)
        self.shape = shape

    def held(self, v: Real, name: str) -> Real:
        """v with its integers in the graph."""
        if v.source is None:
            raise UserError(f"ONNX node {name!r} takes the model's input as it is, in float: give the input's integers, "
                            "for example input_format='uint8', input_scale=1/255")
        match v.source:
            case Sum(name, op, arg):
                return replace(v, source=self.add(name, op, arg))
            case Pair(name, m, n, a, b):
                p, q = ratio(a, abs(b))
                arms = [self._times(node, k, 0, f"{name}.{arm}") for node, k, arm in ((m, p, "a"), (n, q if b > 0 else -q, "b"))]
                return replace(v, source=self.add(name, Add(), *arms), a=v.a * (abs(b) / q))
        return v

    def integers(self, v: Real, name: str) -> tuple[str, float, float]:
        """(node, a, b) with v = a * node + b, no bounds left.  UserError: several scales, or a nonlinearity without a quantizer."""
        v = self.held(v, name)
        a, b = uniform(v.a), uniform(v.b)
        if v.function or a is None or b is None or a <= 0:
            raise UserError(f"ONNX node {name!r} takes a value that is not quantized; a quantizer has to stand before it")
        if not v.clipped:
            return v.source, a, b
        t = self.type(v.source)
        ends = []
        for end, own in ((v.lo, t.lo), (v.hi, t.hi)):
            q = (uniform(end) - b) / a if uniform(end) is not None else np.nan
            if not (np.isinf(q) or whole(q) is not None):
                raise UserError(f"ONNX node {name!r} takes a value clipped at {end.flat[0]:g}, which is not a step of its scale {a:g}; "
                                "a quantizer has to stand before it")
            ends.append(own if np.isinf(q) else min(max(whole(q), t.lo), t.hi))
        if ends == [t.lo, t.hi]:
            return v.source, a, b
        return self.add(f"{name}.clip", Requant([1], 0, 0, *ends), v.source), a, b

    def centred(self, v: Real, name: str) -> tuple[str, float]:
        """(node, a) with v = a * node."""
        node, a, b = self.integers(v, name)
        if b == 0:
            return node, a
        for step in (1, 2):  # codes {0, 1} of {-1, +1} have their zero half way
            if (zero := whole(step * b / a)) is not None:
                t = self.type(node)
                return self.add(f"{name}.centred", Requant([step], 0, zero, step * t.lo + zero, step * t.hi + zero), node), a / step
        raise UserError(f"ONNX node {name!r} takes a value of scale {a:g} whose offset {b:g} is no multiple of it; zero has no code")

    def quantize(self, v: Real, scale, zero: int, lo: int, hi: int, rounding: Rounding, name: str) -> str:
        """The node of clip(rounding(v / scale) + zero, lo, hi)."""
        v = v.scaled(1 / np.asarray(scale, np.float64))
        if v.function:
            return self._table(v, zero, lo, hi, rounding, name)
        if (low := uniform(v.lo)) is None or (high := uniform(v.hi)) is None:
            raise UserError(f"ONNX node {name!r}: bounds that differ from channel to channel; only one for all")
        lo, hi = (int(np.clip(rounding.round(end) + zero, lo, hi)) for end in (low, high))
        if v.source is None:
            return self._input(v, zero, lo, hi, rounding, name)
        if isinstance(v.source, Pair):
            if node := self._pair(v, zero, lo, hi, rounding, name):
                return node
            v = self.held(v, name)
        axis, a, b = along(v, name)
        if isinstance(v.source, Sum):
            if len(a) == 1:
                a, b = (np.repeat(w, len(v.source.lo)) for w in (a, b))
            elif axis != v.source.axis:
                v = self.held(v, name)
        source, sign = v.source, np.where(a < 0, -1, 1)
        if not isinstance(source, Sum):
            if (sign < 0).any():
                source, a = self.affine(source, np.sign(a).astype(np.int64), 0 * sign, axis, f"{name}.sign"), np.abs(a)
            t = self.type(source)
            ends = np.full(len(a), t.lo), np.full(len(a), t.hi)
        else:
            axis, a = source.axis, np.abs(a)
            ends = np.where(sign > 0, source.lo, -source.hi), np.where(sign > 0, source.hi, -source.lo)
        if self.bits is not None or (hi - lo) * len(a) > MOST_STEPS:
            return self.nearest(source, sign, a, b, ends, axis, zero, lo, hi, rounding, name)
        stairs = staircase(a, b, *ends, lo - zero, hi - zero, rounding)
        stairs = replace(stairs, codes=stairs.codes + zero)
        node = self.exact(source, sign, stairs, axis, zero, lo, hi, name)
        return node or self.composed(source, sign, a, b, ends, axis, zero, lo, hi, rounding, name)

    def _input(self, v: Real, zero: int, lo: int, hi: int, rounding: Rounding, name: str) -> str:
        a, b = uniform(v.a), uniform(v.b)
        if a is None or b is None or a <= 0 or whole(b) is None or rounding.mode not in ("HALF_EVEN", "HALF_CEIL"):
            raise UserError(f"ONNX node {name!r} quantizes the input in a way that no scale and zero point say: give the input's integers, "
                            "for example input_format='uint8', input_scale=1/255")
        e, t = Encoding(1 / a, whole(b) + zero), Ints(self.shape, lo, hi)
        if not self.g.inputs:
            self.g.encodings[self.g.add("input", Input(t))] = e
        if (self.g.encodings["input"], self.type("input")) != (e, t):
            raise UserError(f"ONNX node {name!r} quantizes the input in a second way; give the input's integers, "
                            "for example input_format='uint8', input_scale=1/255")
        return "input" if v.shape == self.shape else self.add(f"{name}.shaped", Reshape(v.shape), "input")

    def _table(self, v: Real, zero: int, lo: int, hi: int, rounding: Rounding, name: str) -> str:
        v = self.held(v, name)
        a, b, t = uniform(v.a), uniform(v.b), self.type(v.source)
        if a is None or b is None or t.hi - t.lo >= TABLE:
            raise UserError(f"ONNX node {name!r}: a nonlinearity of {t} is no table; quantize its input to 16 bits or fewer, with one scale")
        table = np.clip(rounding.round(v.function(a * np.arange(t.lo, t.hi + 1) + b)) + zero, lo, hi)
        return self.add(name, Lut(table.astype(np.int64), t.lo), v.source)

    def summed(self, x: Real, y: Real, sign: float, name: str) -> Real:
        """x + sign * y of two tensors of one shape."""
        (m, a, c), (n, b, d) = self.integers(x, name), self.integers(y, name)
        return real(Pair(name, m, n, a, sign * b), x.shape, 1.0, c + sign * d)

    def expanded(self, v: Real, shape: tuple[int, ...], name: str) -> Real:
        """v with axes of length 1 repeated."""
        v = self.held(v, name)
        return v.moved(self.add(f"{name}.wide", Expand(shape), v.source), shape, lambda w: np.broadcast_to(w, shape))

    def _times(self, node: str, k: int, c: int, name: str) -> str:
        """k * node + c."""
        ends = sorted(k * v + c for v in (self.type(node).lo, self.type(node).hi))
        return node if (k, c) == (1, 0) else self.add(name, Requant([k], 0, c, *ends), node)

    def _pair(self, v: Real, zero: int, lo: int, hi: int, rounding: Rounding, name: str) -> str | None:
        """The quantizer of a sum of two tensors, equal on every pair of their codes; None: too many pairs, or no word is wide enough."""
        s, a, c = v.source, uniform(v.a), uniform(v.b)
        if a is None or c is None or a <= 0 or self.bits is not None:
            return None
        m, n = ((self.type(node).lo, self.type(node).hi) for node in (s.m, s.n))
        if (m[1] - m[0] + 1) * (n[1] - n[0] + 1) > MOST_PAIRS:
            return None
        place = a * s.a * np.arange(m[0], m[1] + 1)[:, None] + a * s.b * np.arange(n[0], n[1] + 1) + c
        half = np.rint(2 * place)
        place = np.where(np.abs(2 * place - half) < PAIR_NOISE, half / 2, place)

        def quantizer(mode: Rounding, title: str) -> str | None:
            codes = np.clip(mode.round(place) + zero, lo, hi).astype(np.int64)
            if (found := fit_pair(codes, m, n, a * s.a, a * s.b, zero, lo, hi, c)) is None:
                return None
            p, q, add, shift = found
            total = self.add(f"{title}.sum", Add(), self._times(s.m, p, add, f"{title}.a"), self._times(s.n, q, 0, f"{title}.b"))
            return self.add(title, Requant([1], shift, zero, lo, hi), total)
        if node := quantizer(rounding, name):
            return node
        if rounding.mode != "HALF_EVEN":
            return None
        up, down = (quantizer(Rounding(mode), f"{name}.{mode.lower()}") for mode in ("HALF_CEIL", "HALF_FLOOR"))
        return self.even(up, down, zero, rounding, name) if up and down else None

    def joined(self, parts: list[Real], axis: int, name: str) -> Real:
        """Tensors one after the other along an axis, each with its own scale."""
        held = [self.held(v, name) for v in parts]
        if any(v.function for v in held):
            raise UserError(f"ONNX node {name!r} joins a nonlinearity that is not quantized; a quantizer has to stand before it")
        if len({(v.a.tobytes(), v.b.tobytes()) for v in held}) > 1:  # without offsets, which would differ along the axis
            held = [self.without_offset(v, f"{name}.{i}") if v.b.any() else v for i, v in enumerate(held)]
        node = self.add(name, Concat(axis), *[v.source for v in held])
        shape = self.type(node).shape
        spread = [np.concatenate([np.broadcast_to(getattr(v, f), v.shape) for v in held], axis) for f in ("a", "b", "lo", "hi")]
        return Real(node, shape, *map(squeezed, spread))

    def without_offset(self, v: Real, name: str) -> Real:
        """v with b = 0."""
        node, a = self.centred(v, name)
        return real(node, v.shape, a)

    def finish(self, v: Real, name: str) -> None:
        """Makes v the output: exact integers of one scale where it has one, else of OUTPUT_BITS."""
        if v.source is None and self.g.inputs:
            raise UserError("the output is the model's input; there is nothing to convert")
        v = self.held(self._rebased(v), name)
        a, b = uniform(v.a), uniform(v.b)
        if v.function:
            t = self.type(v.source)
            reach = np.arange(t.lo, t.hi + 1) if t.hi - t.lo < TABLE else np.array([t.lo, t.hi])
            top = float(np.abs(v.function((a or 1) * reach + (b or 0))).max()) or 1.0
            node, e = self._table(v.scaled(np.array(32767 / top)), 0, -32768, 32767, Rounding("HALF_EVEN"), name), Encoding(top / 32767)
        elif a is not None and b is not None and a > 0 and whole(2 * b / a) is not None and self._on_steps(v, a, b):
            (node, a), b = (self.centred(v, name), 0.0) if whole(b / a) is None else (self.integers(v, name)[:2], b)
            e = Encoding(a, whole(-b / a))
        else:
            axis, a, b = along(v, name)
            t = self.type(v.source)
            scale = float((np.abs(a) * max(abs(t.lo), t.hi) + np.abs(b)).max()) / 2.0 ** OUTPUT_BITS or 1.0
            scale = a[0] / FINE if uniform(a) is not None and a[0] > 0 else scale
            node, e = self.affine(v.source, *(np.rint(w / scale).astype(np.int64) for w in (a, b)), axis, f"{name}.real"), Encoding(scale)
            if v.clipped:
                if uniform(v.lo) is None or uniform(v.hi) is None:
                    raise UserError(f"ONNX node {name!r}: bounds that differ from channel to channel; only one for all")
                t = self.type(node)
                lo, hi = (int(np.clip(np.rint(w.flat[0] / scale), t.lo, t.hi)) for w in (v.lo, v.hi))
                node = self.add(f"{name}.clip", Requant([1], 0, 0, lo, hi), node)
        self.g.result = node
        self.g.encodings[node] = e

    def _on_steps(self, v: Real, a: float, b: float) -> bool:
        """Whether the bounds of v are integers of it."""
        ends = [uniform(end) for end in (v.lo, v.hi)]
        return None not in ends and all(np.isinf(end) or whole((end - b) / a) is not None for end in ends)

    def _rebased(self, v: Real) -> Real:
        """Sums of one scale whose offsets differ by whole steps, with these steps as biases."""
        if not isinstance(v.source, Sum) or (a := uniform(v.a)) is None:
            return v
        b = np.broadcast_to(v.b.reshape(-1), (len(v.source.lo),))
        steps = (b - b[0]) / a
        if any(whole(k) is None for k in steps):
            return v
        source = replace(v.source, op=replace(v.source.op, bias=np.rint(steps).astype(np.int64)))
        return replace(v, source=source, b=v.b.reshape(-1)[:1].reshape((1,) * v.b.ndim))


def along(v: Real, name: str) -> tuple[int, np.ndarray, np.ndarray]:
    """(axis, a, b): the scales and offsets of v as vectors along one axis, of length 1 if there is one only."""
    axes = [i for i, (m, n) in enumerate(zip(v.a.shape, v.b.shape)) if m > 1 or n > 1]
    if len(axes) > 1:
        raise UserError(f"ONNX node {name!r} takes a value whose scale changes along {len(axes)} axes; at most one")
    if not axes:
        return 0, v.a.reshape(1), v.b.reshape(1)
    n = max(v.a.shape[axes[0]], v.b.shape[axes[0]])
    return axes[0], *(np.broadcast_to(w.reshape(-1), (n,)).copy() for w in (v.a, v.b))


def ratio(a: float, b: float) -> tuple[int, int]:
    """Integers (p, q) of at most 20 bits with p / q nearest to a / b; farther apart, the smaller one is 1."""
    if a > b:
        return ratio(b, a)[::-1]
    r = Fraction(a) / Fraction(b)
    near = r.limit_denominator(1 << 20)
    return (near.numerator, near.denominator) if near else (1, round(1 / r))
