"""What every rounding operation means.  There is no second definition.

Only + * // << >>, `clamp` and `root` are used, so each function runs unchanged on Python ints (width inference), numpy
(the reference), torch (training and evaluation), TVM expressions and ONNX expressions.
"""
import math
from functools import singledispatch

import numpy as np


@singledispatch
def clamp(x, lo, hi):
    """Spelled differently by libraries; numpy and torch share this one."""
    return x.clip(lo, hi)


@clamp.register
def _(x: int, lo, hi):
    return max(lo, min(x, hi))


@singledispatch
def root(x):
    """floor(sqrt(x)) of 0 <= x < 2**52: so far the floor of a correctly rounded float64 root is right.  Here as torch spells it."""
    return x.double().sqrt().long()


@root.register
def _(x: np.ndarray):
    return np.sqrt(x.astype(np.float64)).astype(np.int64)


@root.register
def _(x: int):
    return math.isqrt(x)


def half(n: int) -> int:
    """What is added before n bits are cut off: half of the last place that stays, 0 if nothing is cut."""
    return (1 << n) >> 1


def round_shift(x, n: int):
    """floor(x / 2**n + 1/2): to the nearest, ties towards +infinity.  n >= 0."""
    return (x + half(n)) >> n


def divide(a, b):
    """floor(a / b + 1/2): to the nearest, ties towards +infinity.  b >= 1."""
    return (a + a + b) // (b + b)


def requant(acc, mul, shift: int, zero: int, lo: int, hi: int):
    """An accumulator to a narrow integer: clamp(round_shift(acc * mul, shift) + zero, lo, hi)."""
    return clamp(round_shift(acc * mul, shift) + zero, lo, hi)
