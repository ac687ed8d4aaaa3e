"""The rule of requants: what multiplies, what counts thresholds, and which of the two is cheaper.

Thresholds: FINN's MultiThreshold (Umuroglu et al., FPGA 2017); we differ: each is computed from the integers of the
definition, falling channels included, and they are used only where they cost less than what multiplies.
"""
import math
from dataclasses import dataclass

import numpy as np

from ir import Ints, Requant, UserError, ops

from ..targets import DSP_BITS
from .netlist import Bits, Stream, signed_width
from .orders import periodic
from .rule import Rule

STEPS = 8         # bits of a result that thresholds may find
DSP_LUTS = 250    # what a multiplier block is worth: LUTs of a device for each of its blocks (ECP5 430 to 870, Artix-7 230)


@dataclass(frozen=True)
class Thresholds:
    """For each row and lane the ascending `values` (rows, lanes, 2**steps - 1) and whether it `falls`; y = lo + their number.

    A result falls where the multiplier is negative: then all bits of the number are turned over.
    """
    values: np.ndarray
    falls: np.ndarray
    lo: int

    @property
    def steps(self) -> int: return (self.values.shape[2] + 1).bit_length() - 1


def requant(r: Rule) -> Stream:
    """qs_requant or qs_threshold, as the node's folding says; "auto": whichever costs less."""
    op, x, s = r.node.op, r.types[0], r.args[0]
    rank = len(x.shape)
    along = np.broadcast_to(op.mul.reshape([-1 if a == op.axis % rank else 1 for a in range(rank)]), x.shape)
    table, repeat = periodic(along.ravel()[r.sources[0].order].reshape(-1, s.lanes))
    repeat = repeat if len(table) > 1 else 1
    if uses_thresholds(r.node.name, op, x, r.node.type, table, r.flow.fold.requant):
        return _count(r, thresholds(op, x, r.node.type, table), repeat)
    return _multiply(r, table, repeat)


def uses_thresholds(name: str, op: Requant, x: Ints, y: Ints, table: np.ndarray, how: str = "auto") -> bool:
    """Whether a requant of x to y with multipliers `table` (rows, lanes) counts thresholds.  UserError: asked for, but too many."""
    if how == "threshold" and number_bits(y) > STEPS:
        raise UserError(f"node {name!r} has results of {number_bits(y)} bits, thresholds find at most {STEPS}; use requant 'multiply'")
    if how == "auto" and number_bits(y) <= STEPS:
        return threshold_luts(x, y, table) < multiply_luts(op, x, y, table)
    return how == "threshold"


def number_bits(y: Ints) -> int:
    """Bits of the number of thresholds that are reached."""
    return max(1, (y.hi - y.lo).bit_length())


def threshold_luts(x: Ints, y: Ints, table: np.ndarray) -> float:
    """About what qs_threshold costs, in LUTs: a comparator and a memory for each bit and lane."""
    rows, lanes = table.shape
    bits = number_bits(y)
    memory = sum(rows << k for k in range(bits) if rows << k > 1) * x.bits / 16
    return lanes * (bits * x.bits + memory) + 10


def multiply_luts(op: Requant, x: Ints, y: Ints, table: np.ndarray) -> float:
    """About what qs_requant costs, in LUTs: a product, rounding, two bounds and a memory of multipliers."""
    rows, lanes = table.shape
    width, rounded = mul_width(op), signed_width(np.array(rounded_range(op, x), object))
    product = min(product_luts(x, width), constant_luts(x, op) if one_multiplier(table) else math.inf)
    return lanes * (product + 2 * rounded + y.bits + (width * rows / 16 if rows > 1 else 0))


def product_luts(x: Ints, width: int) -> float:
    """A product of x and a multiplier of `width` bits, in LUTs: rows of adders where it is small, else multiplier blocks."""
    if is_small(x, width):
        return min(x.bits, width) * (max(x.bits, width) + 1)
    return DSP_LUTS * math.ceil(max(1, x.bits - 1) / 17) * math.ceil(max(1, width - 1) / 17)


def constant_luts(x: Ints, op: Requant) -> float:
    """The same by additions of shifted x."""
    return (csd_digits(int(op.mul[0])) - 1) * (x.bits + mul_width(op)) if op.mul[0] else 0


def is_small(x: Ints, width: int) -> bool:
    """Whether synthesis builds the product of LUTs (hw/data/arith.v)."""
    return x.bits * width < DSP_BITS ** 2


def one_multiplier(table: np.ndarray) -> bool: return bool((table == table.flat[0]).all())


def mul_width(op: Requant) -> int:
    """Bits of a multiplier, two's complement if one is negative."""
    return signed_width(op.mul) if op.mul.min() < 0 else max(1, int(op.mul.max()).bit_length())


def rounded_range(op: Requant, x: Ints) -> tuple[int, int]:
    """Least and most of what is bounded: rounded products with the zero point."""
    ends = [ops.round_shift(v * int(m), op.shift) + op.zero for v in (x.lo, x.hi) for m in (op.mul.min(), op.mul.max())]
    return min(ends), max(ends)


def csd_digits(m: int) -> int:
    """Digits other than 0 of m in the canonical signed digit form."""
    return (m ^ 3 * m).bit_count()


def thresholds(op: Requant, x: Ints, y: Ints, table: np.ndarray) -> Thresholds:
    """The thresholds of a requant of x to y for multipliers `table` (rows, lanes), exactly.

    y >= v is  x * mul >= (v - zero) * 2**shift - half;  with a negative multiplier y < v is  x * -mul > half - (v - zero) * 2**shift.
    """
    half = (1 << op.shift) >> 1
    count = (1 << number_bits(y)) - 1
    made: dict[int, list[int]] = {}
    for m in map(int, np.unique(table)):
        edges = [((v - op.zero) << op.shift) - half for v in range(y.lo + 1, y.hi + 1)]
        if m > 0:
            found = [-(-e // m) for e in edges]
        elif m < 0:
            found = [-e // -m + 1 for e in reversed(edges)]
        else:  # always the same: reached by every x, or by none
            found = [x.lo if e <= 0 else x.hi + 1 for e in edges]
        found = [min(max(t, x.lo), x.hi + 1) for t in found]
        spare = count - len(found)  # never reached; where the number is turned over, always
        made[m] = [x.lo] * spare + found if m < 0 else found + [x.hi + 1] * spare
    values = np.array([[made[int(m)] for m in row] for row in table], object)
    return Thresholds(values, table < 0, y.lo)


def _count(r: Rule, t: Thresholds, repeat: int) -> Stream:
    s, steps = r.args[0], t.steps
    rows, lanes, _ = t.values.shape
    low, high = int(t.values.min()), int(t.values.max())
    signed = low < 0
    width = max(1, high.bit_length(), (~low).bit_length() if signed else 0) + signed
    files = {}
    for k in range(steps):  # of the binary search over ascending thresholds: the middles of what 2**k prefixes leave
        at = (np.arange(1 << k) * 2 + 1) * (1 << steps - 1 - k) - 1
        files[f"File{k}"] = r.net.mem(f"{r.name}_step{k}", t.values[:, :, at].transpose(0, 2, 1).reshape(-1, lanes), width)
    if t.falls.any():
        files["FallsFile"] = r.net.mem(f"{r.name}_falls", t.falls.astype(int), 1)
    return r.add("qs_threshold", {
        "Lanes": lanes, "Steps": steps, "Rows": rows, "Repeat": repeat, "InWidth": s.width, "InSigned": int(s.signed), "ThresholdWidth": width,
        "Signed": int(signed), "OutWidth": r.node.type.bits, "Lo": Bits(64, t.lo, True), "Falls": int(t.falls.any()), **files}, s)


def _multiply(r: Rule, table: np.ndarray, repeat: int) -> Stream:
    op, x, s = r.node.op, r.types[0], r.args[0]
    width, (least, most) = mul_width(op), rounded_range(op, x)
    constant = one_multiplier(table) and constant_luts(x, op) <= product_luts(x, width)
    params = {"Lanes": s.lanes, "Rows": len(table), "Repeat": repeat, "InWidth": s.width, "InSigned": int(s.signed),
              "OutWidth": r.node.type.bits, "MulWidth": width, "MulSigned": int(op.mul.min() < 0), "Constant": int(constant),
              "Split": int(not constant and width > 3 and is_small(x, width)), "Shift": op.shift,
              "RoundWidth": signed_width(np.array([least, most], object))}
    wide = {"Zero": op.zero, "Lo": op.lo, "Hi": op.hi, "Least": least, "Most": most} | ({"Mul": int(table.flat[0])} if constant else {})
    params |= {k: Bits(64, v, True) for k, v in wide.items()}
    return r.add("qs_requant", params if constant else params | {"MulFile": r.net.mem(f"{r.name}_mul", table, width)}, s)
