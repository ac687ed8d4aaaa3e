"""Rounded affine functions of an integer as thresholds, and the integers of a requant that meet every one of them.

The code of an accumulator q is round(a * q + b).  It does not fall as q grows (a > 0), so it is told in full by its thresholds:
T[k] = the least q whose code is k or more.  A requant that has the same thresholds within the interval that q is proven to lie in is
equal on every q that can occur; that is checked here in integers, threshold by threshold, never by samples.
"""
from dataclasses import dataclass

import numpy as np

NOISE = 1e-13          # relative error of a threshold in float64: closer to an integer, it is that integer
MAX_SHIFT = 60
WORD = float(1 << 60)  # a product inside a requant stays below


@dataclass(frozen=True)
class Rounding:
    """How a real becomes a code: the place of the step to code k, and whether that very place belongs to k.

    base: what is added before rounding, so that "even" and "towards zero" are said of x + base (0 if it is added after rounding).
    """
    mode: str
    base: int = 0

    def steps(self, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(place, included) of the steps to the codes k, which do not count `base` in."""
        y = k + self.base
        match self.mode:
            case "HALF_EVEN":
                return k - 0.5, y % 2 == 0
            case "HALF_CEIL":
                return k - 0.5, y == y
            case "HALF_FLOOR":
                return k - 0.5, y != y
            case "HALF_UP":      # away from zero
                return k - 0.5, y > 0
            case "HALF_DOWN":
                return k - 0.5, y <= 0
            case "FLOOR":
                return k + 0.0, y == y
            case "CEIL":
                return k - 1.0, y != y
            case "DOWN":         # towards zero
                return np.where(y > 0, k, k - 1.0), y > 0
            case "UP":           # away from zero
                return np.where(y > 0, k - 1.0, k), y <= 0
        raise ValueError(self.mode)

    def round(self, x):
        """Reals to integers (as floats)."""
        y = np.asarray(x, np.float64) + self.base
        match self.mode:
            case "HALF_EVEN":
                r = np.rint(y)
            case "HALF_CEIL":
                r = np.floor(y + 0.5)
            case "HALF_FLOOR":
                r = np.ceil(y - 0.5)
            case "HALF_UP":
                r = np.sign(y) * np.floor(np.abs(y) + 0.5)
            case "HALF_DOWN":
                r = np.sign(y) * np.ceil(np.abs(y) - 0.5)
            case "FLOOR":
                r = np.floor(y)
            case "CEIL":
                r = np.ceil(y)
            case "DOWN":
                r = np.trunc(y)
            case "UP":
                r = np.sign(y) * np.ceil(np.abs(y))
            case _:
                raise ValueError(self.mode)
        return r - self.base


@dataclass(frozen=True)
class Staircase:
    """Codes of the channels' accumulators: `at` (C, K) is the least q with a code of `codes` (K,) or more, within [lo, hi + 1] (C,).

    a, b (C,): the affine function, a > 0 or, where the code is constant, anything.
    """
    at: np.ndarray
    codes: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    a: np.ndarray
    b: np.ndarray

    @property
    def constant(self) -> np.ndarray:
        """(C,) whether a channel has one code only."""
        return ((self.at <= self.lo[:, None]) | (self.at > self.hi[:, None])).all(1)


def staircase(a, b, lo, hi, first: int, last: int, rounding: Rounding) -> Staircase:
    """The steps from code `first` to `last` of round(a * q + b), q in [lo, hi]; a, b, lo, hi (C,), a >= 0."""
    codes = np.arange(first + 1, last + 1, dtype=np.int64)
    place, included = rounding.steps(codes)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = 1 / a[:, None]
        t = (place - b[:, None]) / a[:, None]
        size = np.abs(place) * unit + np.abs(b[:, None]) * unit + 1
        flat = ~np.isfinite(t) | (a[:, None] == 0)
        reached = np.where(included, place <= b[:, None], place < b[:, None])
    lo, hi = np.asarray(lo, np.int64), np.asarray(hi, np.int64)
    t = np.where(flat, np.where(reached, lo[:, None], hi[:, None] + 1.0), t).clip(lo[:, None] - 2.0, hi[:, None] + 2.0)
    near = np.rint(t)
    tie = ~flat & (np.abs(t - near) <= NOISE * np.where(flat, 0, size))
    at = np.where(tie, near + ~included, np.ceil(t)).astype(np.int64)
    return Staircase(at.clip(lo[:, None], hi[:, None] + 1), codes, lo, hi, np.asarray(a, np.float64), np.asarray(b, np.float64))


def fit(s: Staircase, offsets: np.ndarray | None, zero: int = 0) -> tuple[np.ndarray, int, np.ndarray] | None:
    """(mul (C,), shift, offset (C,)) with requant(q + offset, mul, shift, zero) on the same stairs, the smallest such shift; or None.

    offsets: (T, C) integers to be tried for each channel, or None for 0 only.
    """
    half = s.codes - zero - 0.5
    c = len(s.a)
    tried = np.zeros((1, c), np.int64) if offsets is None else offsets
    low, high, offset = np.zeros(c), np.full(c, -1.0), np.zeros(c, np.int64)
    for o in tried:
        lower, upper = _bounds(s, half, o)
        with np.errstate(divide="ignore", invalid="ignore"):
            wider = np.where(high > low, upper / np.maximum(lower, 1e-300) > high / np.maximum(low, 1e-300), upper > lower)
        low, high, offset = np.where(wider, lower, low), np.where(wider, upper, high), np.where(wider, o, offset)
    if (high <= low).any():
        return None
    reach = float(np.maximum(np.abs(s.lo + offset), np.abs(s.hi + offset)).max())
    for shift in range(MAX_SHIFT):
        up, down = np.maximum(np.ceil(low * 2.0 ** shift), 1), np.minimum(np.floor(high * 2.0 ** shift), 2.0 ** 52)
        if up.max() * max(reach, 1) >= WORD or reach and shift > 55:
            return None
        if (up <= down).all():
            mul = np.clip(np.rint(s.a * 2.0 ** shift), up, down).astype(np.int64)
            if meets(s, mul, shift, mul * offset, zero):
                return mul, shift, offset
    return None


def fit_affine(s: Staircase, zero: int = 0) -> tuple[np.ndarray, np.ndarray, int] | None:
    """(mul, add, shift) with round_shift(mul * q + add, shift) + zero on the same stairs, the smallest such shift; or None."""
    reach = np.maximum(np.abs(s.lo), np.abs(s.hi))
    steps = s.codes - zero
    first, last = s.at <= s.hi[:, None], s.at - 1 >= s.lo[:, None]
    for shift in range(1, MAX_SHIFT):
        mul = np.rint(s.a * 2.0 ** shift)
        if (mul * reach).max() >= WORD or float(np.abs(steps).max(initial=0)) * 2.0 ** shift >= WORD:
            return None
        mul = mul.astype(np.int64)
        edge = (steps << shift) - (1 << shift) // 2
        low = np.where(first, edge - mul[:, None] * s.at, -(1 << 61)).max(1, initial=-(1 << 61))
        high = np.where(last, edge - mul[:, None] * (s.at - 1), 1 << 61).min(1, initial=1 << 61)  # add is below it
        if (low < high).all():
            guess = np.rint((s.b + 0.0) * 2.0 ** shift).clip(-WORD, WORD).astype(np.int64)
            add = np.where((low > -(1 << 61)) & (high < 1 << 61), low + (high - 1 - low) // 2, guess.clip(low, high - 1))
            if float(np.abs(add).max()) < WORD and meets(s, mul, shift, add, zero):
                return mul, add, shift
    return None


def fit_pair(codes: np.ndarray, m: tuple[int, int], n: tuple[int, int], a: float, b: float, zero: int, lo: int, hi: int,
             c: float) -> tuple[int, int, int, int] | None:
    """(p, q, add, shift) with clip(round_shift(p * m + q * n + add, shift) + zero, lo, hi) == codes (M, N); m, n the ends of both integers.

    p and q are the dyadic numbers nearest to a and b; the smallest shift that does.  None: there is none in a word.
    """
    grid = [np.arange(v[0], v[1] + 1, dtype=np.int64) for v in (m, n)]
    for shift in range(1, MAX_SHIFT):
        p, q = round(a * 2.0 ** shift), round(b * 2.0 ** shift)
        size = abs(p) * max(map(abs, m)) + abs(q) * max(map(abs, n)) + (abs(zero) + max(abs(lo), abs(hi)) + 1) * 2.0 ** shift
        if size + abs(c) * 2.0 ** shift >= WORD:
            return None
        total = p * grid[0][:, None] + q * grid[1]
        edge = ((codes - zero) << shift) - (1 << shift) // 2
        least = (edge - total)[codes > lo].max(initial=-(1 << 61))
        most = (edge + (1 << shift) - total)[codes < hi].min(initial=1 << 61)
        if least < most:
            both = abs(int(least)) < 1 << 61 and abs(int(most)) < 1 << 61
            return p, q, int(least + (most - 1 - least) // 2) if both else int(min(max(round(c * 2.0 ** shift), least), most - 1)), shift
    return None


def meets(s: Staircase, mul, shift: int, add, zero: int = 0) -> bool:
    """Whether round_shift(mul * q + add, shift) + zero has these very stairs, in exact integers."""
    largest = float(np.abs(mul).max()) * float(max(np.abs(s.lo).max(), np.abs(s.hi).max()) + 1) + float(np.abs(add).max())
    if largest + 2.0 ** shift >= 2 * WORD or float(np.abs(s.codes - zero).max(initial=0)) * 2.0 ** shift >= 2 * WORD:
        return False
    edge = ((s.codes - zero) << shift) - (1 << shift) // 2
    on, below = mul[:, None] * s.at + add[:, None], mul[:, None] * (s.at - 1) + add[:, None]
    first, last = s.at <= s.hi[:, None], s.at - 1 >= s.lo[:, None]
    return bool(((on >= edge) | ~first).all() and ((below < edge) | ~last).all())


def nearest(a: np.ndarray, bits: int, reach: int) -> tuple[np.ndarray, int]:
    """(mul, shift): the dyadic numbers nearest to a (C,) whose largest multiplier has `bits` bits, fewer if reach * mul needs it."""
    top = float(a.max())
    shift = int(np.floor(bits - np.log2(top)))
    while shift > 0 and (np.rint(top * 2.0 ** shift) >= 2.0 ** bits or np.rint(top * 2.0 ** shift) * max(reach, 1) >= WORD):
        shift -= 1
    return np.maximum(np.rint(a * 2.0 ** max(shift, 0)), 1).astype(np.int64), max(shift, 0)


def _bounds(s: Staircase, half: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends (C,) of the open interval of multipliers for which m * (q + offset) passes `half` (K,) at the thresholds and not before."""
    u, v = (s.at + offset[:, None]).astype(np.float64), (s.at - 1 + offset[:, None]).astype(np.float64)
    first, last = s.at <= s.hi[:, None], s.at - 1 >= s.lo[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        at, before = half / u, half / v
    lower = np.where(first & (half > 0), np.where(u > 0, at, np.inf), 0)
    lower = np.maximum(lower, np.where(last & (half < 0), np.where(v < 0, before, np.inf), 0))
    upper = np.where(first & (half < 0) & (u < 0), at, np.inf)
    upper = np.minimum(upper, np.where(last & (half > 0) & (v > 0), before, np.inf))
    return lower.max(1, initial=0), upper.min(1, initial=np.inf)
