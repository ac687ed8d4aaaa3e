"""Requantizers of scalars: as few adders as the exact function allows."""
from functools import cache
from typing import NamedTuple

import numpy as np

from ir import Requant, ops

from .scalars import Block, Clamp, Floor, Linear, Ref, Scalars, Table, constant

NEAR = 3          # multipliers tried on either side of the exact one, for every number of fractional bits
FEW = 12          # values to try first
LEVELS = 1 << 12  # of a result with more values than these the multiplier is taken as it stands


class Scale(NamedTuple):
    """floor((value * mul + add) / 2**shift)."""
    mul: int
    add: int
    shift: int


def requant(s: Scalars, r: Ref, op: Requant, mul: int, name: str, table_bits: int) -> Ref:
    """ops.requant of the reference.  A value of at most `table_bits` bits becomes a table where that saves a multiplication."""
    m, c = r.scaled(mul), r.offset * mul + ops.half(op.shift) + (op.zero << op.shift)
    if r.value is None or m == 0:
        return constant(ops.clamp((r.offset * mul + ops.half(op.shift) >> op.shift) + op.zero, op.lo, op.hi))
    lo, hi = s.lo[r.value], s.hi[r.value]
    scale = simplest(Scale(m, c, op.shift), lo, hi, op.lo, op.hi)
    if digits(scale.mul) > 1 and s.width(r.value) <= table_bits:
        words = ops.clamp((np.arange(lo, hi + 1, dtype=object) * m + c) >> op.shift, op.lo, op.hi)
        return Ref(s.add(Table(r.value, tuple(map(int, words))), name))
    return clamped(s, _product(s, r.value, scale.mul, name), scale, (op.lo, op.hi), name)


def clamped(s: Scalars, product: Ref, scale: Scale, bounds: tuple[int, int], name: str) -> Ref:
    """clamp(floor((product + add) / 2**shift), *bounds), where the bounds count at all.

    A range of 2**n values that starts at lo is moved to start at 0: its ends are then single bits, and lo is an offset again.
    """
    add, (lo, hi) = scale.add, bounds
    ends = [v + add >> scale.shift for v in s.interval(product)]
    if ends[1] <= lo or ends[0] >= hi:
        return constant(lo if ends[1] <= lo else hi)
    low, high = ends[0] < lo, ends[1] > hi
    zero = 0
    if low and not (high and _signed_word(lo, hi) and add == 0):
        zero = lo
    elif high and not low and (add or ends[0] < 0):
        zero = hi - (1 << (hi - ends[0]).bit_length()) + 1
    whole = s.whole(product.moved(add - (zero << scale.shift)), f"{name}_sum")
    value = whole.value
    if scale.shift:
        value = s.add(Floor(value, scale.shift), f"{name}_floor")
    if low or high:
        value = s.add(Clamp(value, lo - zero if low else s.lo[value], hi - zero if high else s.hi[value]), name)
    return Ref(value, offset=zero)


@cache
def simplest(scale: Scale, lo: int, hi: int, least: int, most: int) -> Scale:
    """The scale of the fewest signed digits with clamp(floor(...), least, most) equal for every value in [lo, hi].

    Only the values at which the result steps count: a narrow result needs no more fractional bits than tell its steps apart.
    """
    zeros = min(_zeros(scale.mul), scale.shift)
    scale = Scale(scale.mul >> zeros, scale.add >> zeros, scale.shift - zeros)
    if digits(scale.mul) == 1:
        return scale
    ends = _steps(scale, lo, hi, least, most)
    if ends is None:
        return scale
    best, cost = scale, (digits(scale.mul), scale.shift)
    apart = max(1, len(ends[0]) // FEW)
    few = ends[0][::apart], ends[1][::apart], least, most  # most multipliers fail at these already
    for shift in range(scale.shift):
        near = ops.round_shift(scale.mul, scale.shift - shift)
        for mul in range(near - NEAR, near + NEAR + 1):
            if mul and (new := (digits(mul), shift)) < cost and _offset(mul, shift, *few) is not None \
                    and (add := _offset(mul, shift, *ends)) is not None:
                zeros = min(_zeros(mul), shift)
                best, cost = Scale(mul >> zeros, add >> zeros, shift - zeros), new
    return best


def digits(m: int) -> int:
    """Nonzero digits of the canonical signed form."""
    return (m ^ 3 * m).bit_count()


def _steps(scale: Scale, lo: int, hi: int, least: int, most: int):
    """(values, result, whether it is bounded from below, from above): the first and last value of every level; None: too many."""
    def at(v: int) -> int: return ops.clamp(v * scale.mul + scale.add >> scale.shift, least, most)
    ends = sorted((at(lo), at(hi)))
    if ends[1] - ends[0] > LEVELS:
        return None
    edges = {lo, hi}
    for level in range(ends[0] + 1, ends[1] + 1):  # least v * mul + add >= level << shift, or the greatest for a negative mul
        q = (level << scale.shift) - scale.add
        first = -(-q // scale.mul) if scale.mul > 0 else q // scale.mul
        edges |= {v for v in (first - 1, first, first + 1) if lo <= v <= hi}
    values = sorted(edges)
    return values, [at(v) for v in values], least, most


def _offset(mul: int, shift: int, values: list[int], results: list[int], least: int, most: int) -> int | None:
    """What to add so that this multiplier gives the results, with as many low zeros as there can be; None: there is none."""
    low = max(((y << shift) - v * mul for v, y in zip(values, results) if y > least), default=None)
    high = min(((y + 1 << shift) - 1 - v * mul for v, y in zip(values, results) if y < most), default=None)
    if low is None or high is None:
        return low if high is None else high
    if low > high:
        return None
    for k in range(max(abs(low), abs(high)).bit_length(), -1, -1):
        if (v := -(-low >> k) << k) <= high:
            return v
    return None


def _product(s: Scalars, value: int, mul: int, name: str) -> Ref:
    """The value times a constant, as a linear map of its own where it is not just a shift."""
    zeros = _zeros(mul)
    odd = abs(mul) >> zeros
    if odd == 1:
        return Ref(value, zeros, mul < 0)
    s.blocks.append(Block(f"{name}_mul", (value,), np.array([[odd]])))
    return Ref(s.add(Linear(len(s.blocks) - 1, 0), f"{name}_mul"), zeros, mul < 0)


def _zeros(m: int) -> int: return (m & -m).bit_length() - 1


def _signed_word(lo: int, hi: int) -> bool:
    """Whether [lo, hi] is all that a two's-complement word holds."""
    return lo == -hi - 1 and hi & (hi + 1) == 0
