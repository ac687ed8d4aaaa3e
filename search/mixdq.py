"""MixDQ's own programme: the largest sum of sensitivities whose average bits lie in a window around a target."""
import math
from collections.abc import Mapping

from ir import Table, UserError

from .allocate import allocate


def mixdq(sensitivity: Mapping[str, Mapping[int, float]], sizes: Mapping[str, float], target: float, window: float = 0.02,
          **how) -> dict[str, int]:
    """{layer: bits} of the largest sum of sensitivities (similarity, decibels: higher is better) with

    (target - window) N <= sum of bits * size <= (target + window) N, N the sum of sizes.

    Zhao et al., 2024, section 4.3 and the released code (integer_programming.py).  We differ: a window that no choice of bits
    meets is an error, where the code takes 0 bits.  how: goes to allocate (solver, time_limit, gap; gap is 0 if not given).
    UserError: as above, no sensitivities, a layer without size, bits outside 2..16.
    """
    if missing := [k for k in sensitivity if k not in sizes]:
        raise UserError(f"no size of layer {missing[0]!r}; give its number of weights (or of inputs, for activations)")
    if odd := [(k, b) for k, row in sensitivity.items() for b in row if b not in range(2, 17)]:
        raise UserError(f"layer {odd[0][0]!r} is offered {odd[0][1]} bits; 2 to 16 are known")
    whole = math.fsum(sizes[k] for k in sensitivity)
    top = max((b for row in sensitivity.values() for b in row), default=0)
    damage = Table("sensitivity", "damage", {k: {_text(b): -v for b, v in row.items()} for k, row in sensitivity.items()})
    above = _cost("bits", {k: {_text(b): b * sizes[k] / whole for b in row} for k, row in sensitivity.items()})
    below = _cost(f"{top} - bits", {k: {_text(b): (top - b) * sizes[k] / whole for b in row} for k, row in sensitivity.items()})
    try:
        plan = allocate(damage, {t.name: t for t in (above, below)}, {above.name: target + window, below.name: top - target + window},
                        **{"gap": 0.0} | how)
    except UserError as e:
        raise UserError(f"no choice of bits averages {target - window:g} to {target + window:g}; widen the window or move the target ({e})") from None
    return {k: o.weight_format.bits for k, o in plan.options.items()}


def _text(bits: int) -> str: return f"int{bits}/int8"  # of an option whose other side plays no part


def _cost(name: str, rows: dict) -> Table: return Table(name, "cost", rows, "bits")
