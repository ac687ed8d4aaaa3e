"""What a quantized ONNX file computes with, as integers: a constant (`Fixed`) or a tensor (`Real`) that is an affine function of integers."""
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ir import Conv, Dense

SAME = 1e-9  # two scales this close, relatively, are one


@dataclass(frozen=True)
class Fixed:
    """A constant: real value = scale * codes, `scale` broadcasting to `codes`."""
    codes: np.ndarray
    scale: np.ndarray

    @property
    def value(self) -> np.ndarray: return self.codes * self.scale

    def moved(self, move: Callable) -> "Fixed":
        """The same under a function that only moves elements about."""
        return Fixed(move(self.codes), squeezed(move(np.broadcast_to(self.scale, self.codes.shape))))


@dataclass(frozen=True)
class Sum:
    """Sums of products that are not in the graph yet: signs, offsets and constant channels may still go into the weights."""
    name: str
    op: Conv | Dense
    arg: str
    lo: np.ndarray  # (O,) least and largest value of each channel, without the bias of `op`, which is 0
    hi: np.ndarray
    axis: int       # of the channels, in the shape without batch


@dataclass(frozen=True)
class Pair:
    """a * m + b * n of two values of the graph that are not added yet: the quantizer's scale may still go into both multipliers."""
    name: str
    m: str
    n: str
    a: float
    b: float


@dataclass(frozen=True)
class Real:
    """real value = clip(a * integer + b, lo, hi), or `function` of that; shape is without the batch axis.

    source: the value of the graph that holds the integers, sums that are not in the graph yet, or None for the model's input.
    a, b, lo, hi: float64, of rank len(shape), broadcasting to it.
    """
    source: str | Sum | Pair | None
    shape: tuple[int, ...]
    a: np.ndarray
    b: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    function: Callable | None = None

    @property
    def clipped(self) -> bool: return bool(np.isfinite(self.lo).any() or np.isfinite(self.hi).any())

    def scaled(self, c: np.ndarray) -> "Real":
        """Times a constant that broadcasts to the shape."""
        if self.function:
            return self.then(lambda x: x * c.item())
        with np.errstate(invalid="ignore"):
            ends = [np.where(np.isinf(v), np.where(c < 0, -v, v), v * c) for v in np.broadcast_arrays(self.lo, self.hi)]
        return replace(self, a=self.a * c, b=self.b * c, lo=np.minimum(*ends), hi=np.maximum(*ends))

    def plus(self, c: np.ndarray) -> "Real":
        """Plus a constant that broadcasts to the shape."""
        if self.function:
            return self.then(lambda x: x + c.item())
        return replace(self, b=self.b + c, lo=self.lo + c, hi=self.hi + c)

    def within(self, lo: float, hi: float) -> "Real":
        """Clipped to [lo, hi]."""
        if self.function:
            return self.then(lambda x: np.clip(x, lo, hi))
        return replace(self, lo=np.clip(self.lo, lo, hi), hi=np.clip(self.hi, lo, hi))

    def then(self, f: Callable) -> "Real":
        """f of it, elementwise."""
        inner = self.function or (lambda x: np.clip(x, self.lo.item(), self.hi.item()))
        return replace(self, function=lambda x: f(inner(x)))

    def moved(self, source: str, shape: tuple[int, ...], move: Callable) -> "Real":
        """The affine function of a value `source` that holds the same integers elsewhere; move(array of self.shape) says where."""
        parts = [np.reshape(v, (1,) * len(shape)) if v.size == 1 else squeezed(move(np.broadcast_to(v, self.shape)))
                 for v in (self.a, self.b, self.lo, self.hi)]
        return Real(source, shape, *parts, self.function)


def real(source, shape: tuple[int, ...], a=1.0, b=0.0, lo=-np.inf, hi=np.inf) -> Real:
    """A Real of scalars or of arrays that broadcast to the shape."""
    return Real(source, tuple(shape), *(over(v, shape) for v in (a, b, lo, hi)))


def over(v, shape: tuple[int, ...]) -> np.ndarray:
    """v as float64 of rank len(shape)."""
    v = np.asarray(v, np.float64)
    return v.reshape((1,) * (len(shape) - v.ndim) + v.shape)


def squeezed(v: np.ndarray) -> np.ndarray:
    """v with length 1 on every axis along which it does not change."""
    for axis in range(v.ndim):
        first = v.take([0], axis)
        v = first if (v == first).all() else v
    return np.array(v)


def uniform(v: np.ndarray) -> float | None:
    """The one value of v, or None."""
    first = v.flat[0]
    with np.errstate(invalid="ignore"):  # infinities are equal
        return float(first) if ((v == first) | (np.abs(v - first) <= SAME * abs(first))).all() else None


def whole(v: float) -> int | None:
    """The integer that v is, up to the noise of float64; or None."""
    return int(round(v)) if np.isfinite(v) and abs(v - round(v)) <= 1e-9 * max(1.0, abs(v)) else None
