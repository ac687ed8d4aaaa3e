"""What every rounding operation means.  There is no second definition.

Only + * << >> and `clamp` are used, so each function runs unchanged on Python ints (width inference), numpy
(the reference), torch (training and evaluation), TVM expressions and ONNX expressions.
"""
from functools import singledispatch


@singledispatch
def clamp(x, lo, hi):
    """The one primitive whose spelling differs between libraries; numpy and torch share this one."""
    return x.clip(lo, hi)


@clamp.register
def _(x: int, lo, hi):
    return max(lo, min(x, hi))


def round_shift(x, n: int):
    """floor(x / 2**n + 1/2): to the nearest, ties towards +infinity.  n >= 0."""
    return (x + ((1 << n) >> 1)) >> n


def requant(acc, mul, shift: int, zero: int, lo: int, hi: int):
    """An accumulator to a narrow integer: clamp(round_shift(acc * mul, shift) + zero, lo, hi)."""
    return clamp(round_shift(acc * mul, shift) + zero, lo, hi)
