"""The rule of requants: what multiplies, what counts thresholds, and which of the two is cheaper.

Thresholds: FINN's MultiThreshold (Umuroglu et al., FPGA 2017); we differ: each is computed from the integers of the
definition, falling channels included, and they are used only where they cost less than what multiplies.
"""
import math
from dataclasses import dataclass

import numpy as np

from ir import Ints, Requant, UserError

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
    width = signed_width(table)
    rounded = max(1, x.bits + width - op.shift)
    if len(np.unique(table)) == 1:
        product = (csd_digits(int(table.flat[0])) - 1) * (x.bits + width)
    else:
        tiles = math.ceil(max(1, x.bits - 2) / 17) * math.ceil(max(1, width - 2) / 17)
        product = min(DSP_LUTS * tiles, x.bits * width)
    return lanes * (max(0, product) + 2 * rounded + y.bits + (width * rows / 16 if rows > 1 else 0))


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
    op, s = r.node.op, r.args[0]
    signed = bool(op.mul.min() < 0)
    width = signed_width(op.mul) if signed else max(1, int(op.mul.max()).bit_length())
    return r.add("qs_requant", {
        "Lanes": s.lanes, "Rows": len(table), "Repeat": repeat, "InWidth": s.width, "InSigned": int(s.signed),
        "OutWidth": r.node.type.bits, "MulWidth": width, "MulSigned": int(signed), "Shift": op.shift, "Zero": Bits(64, op.zero, True),
        "Lo": Bits(64, op.lo, True), "Hi": Bits(64, op.hi, True), "MulFile": r.net.mem(f"{r.name}_mul", table, width)}, s)
