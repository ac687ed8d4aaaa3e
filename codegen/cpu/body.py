"""Elementwise nodes as expressions of one element, and the requant in the narrowest words that are exact."""
from dataclasses import dataclass, replace

import numpy as np
from tvm import tirx

from ir import Add, Conv, Div, Ints, Lut, Mul, Node, Requant, Sqrt, UserError, ops
from ir.ops import requant as reference

from ..tir import bits, cast, kind_of
from ..words import INT32, INT64, calc, magnitude, narrow, word_of
from .kernel import Kernel, Tensor
from .tables import in_registers, looked_up


class Body:
    """What happens to the elements of an anchor (or of stored values alone) on their way to the sink."""

    def __init__(self, k: Kernel, nodes: tuple[Node, ...], tensors: dict[str, Tensor], types: dict[str, Ints], sink: str):
        self.k, self.tensors, self.types, self.sink = k, tensors, types, sink
        self.nodes = tuple(replace(n, op=simplest(n.op)) if isinstance(n.op, Requant) else n for n in nodes)
        self.constants: dict[tuple, tirx.Buffer] = {}
        self.lifted: str | None = None

    def store(self, index, **known) -> None:
        """Computes element `index` of the sink out of the `known` values {name: expression} and stores it."""
        self.tensors[self.sink].put(self.value(index, known), *index)

    def value(self, index, known: dict):
        env = dict(known)
        for n in self.nodes:
            args = [self.argument(a, index, env) for a in n.args]
            env[n.name] = self.compute(n, [self.types[a] for a in n.args], args, index)
        return self.argument(self.sink, index, env)

    def argument(self, name: str, index, env: dict):
        if name not in env:
            env[name] = self.tensors[name].value(*index, dtype=calc(magnitude(self.types[name])))
        return env[name]

    def compute(self, n: Node, types: list[Ints], args: list, index):
        op, t, x = n.op, types[0], args[0]
        match op:
            case Requant():
                return self.requant(n, t, x, index[op.axis % len(t.shape)] if t.shape else 0, n.args[0] == self.lifted)
            case Add() | Mul():
                dtype = calc(max(magnitude(n.type), *map(magnitude, types)))
                a, b = cast(x, dtype), cast(args[-1], dtype)
                return a + b if isinstance(op, Add) else a * b
            case Div():
                return divide(x, args[-1], max(2 * magnitude(t) + 5 * types[-1].hi, magnitude(n.type)), n.type)
            case Sqrt():
                root = ops.root(x)
                return cast(root, calc(magnitude(n.type)))
            case Lut(table, base):
                base = self.k.number((n.name, "base"), base, kind_of(x)[0])
                at = cast(x, "int32") - cast(base, "int32") if magnitude(t) <= INT32 else cast(x - base, "int32")
                if in_registers(self.k, table, at):
                    return cast(looked_up(self.k, table, at, n.name), calc(magnitude(n.type)))
                return cast(self.constant(narrow(table))[at], calc(magnitude(n.type)))
        raise UserError(f"node {n.name!r}: the CPU backend has no rule for {type(op).__name__}")

    def constant(self, values: np.ndarray) -> tirx.Buffer:
        key = (str(values.dtype), values.tobytes())
        if key not in self.constants:
            self.constants[key] = self.k.constant(values)
        return self.constants[key]

    def each(self, values: np.ndarray, channel, dtype: str, key):
        """The constant of a channel, a number if all are equal."""
        if (values == values[0]).all():
            return self.k.number(key, int(values[0]), dtype)
        return self.constant(values.astype(dtype))[channel]

    def lift(self, anchor: Node, single: bool = False) -> np.ndarray | None:
        """What the anchor may subtract from its results, one number a channel, because the requant behind it would: from then on it must.

        None: nothing.  single: only if it is the same number for all channels.
        """
        first = self.nodes[0] if self.nodes else None
        readers = [n for n in self.nodes if anchor.name in n.args]
        if first is None or readers != [first] or not isinstance(first.op, Requant) or self.plain(first.op, anchor.type):
            return None
        channels = 0 if isinstance(anchor.op, Conv) else len(anchor.type.shape) - 1
        if len(first.op.mul) > 1 and first.op.axis % len(anchor.type.shape) != channels:
            return None
        narrowed = unsaturated(first.op, anchor.type)
        if narrowed is None or max(anchor.type.hi - int(narrowed.lowest.min()), int(narrowed.lowest.max()) - anchor.type.lo) > INT32:
            return None
        if single and (narrowed.lowest != narrowed.lowest[0]).any():
            return None
        self.lifted = anchor.name
        return narrowed.lowest

    @staticmethod
    def plain(op: Requant, t: Ints) -> bool:
        """Whether int32 holds every intermediate."""
        return max(magnitude(t), 1) * int(abs(op.mul).max()) + (1 << op.shift) + abs(op.zero) <= INT32

    def unsigned(self, narrowed: "Unsaturated", n: Node, x, channel, t: Ints, lifted: bool):
        """The requant of an accumulator, less `narrowed.lowest` if it is lifted; no intermediate leaves [0, 2**32): TVM forbids wrapping."""
        op, lowest, span = n.op, narrowed.lowest, narrowed.highest - narrowed.lowest

        def each(what: str, values: np.ndarray, dtype: str = "int32"):
            return self.each(values, channel, dtype, (n.name, what))

        def number(what: str, value: int): return self.k.number((n.name, what), value, "uint32")
        if not lifted:
            x = tirx.max(x, each("lowest", lowest)) if (lowest > t.lo).any() else x
            x = tirx.min(x, each("highest", narrowed.highest)) if (narrowed.highest < t.hi).any() else x
            x = x - each("lowest", lowest) if lowest.any() else x
        else:
            x = tirx.max(x, 0) if (lowest > t.lo).any() else x
            x = tirx.min(x, each("span", span)) if (narrowed.highest < t.hi).any() else x
        start = narrowed.lowest * op.mul + ((op.zero - narrowed.bottom) << op.shift) + ops.half(op.shift)
        y, mul = bits(x, "uint32"), each("mul", op.mul, "uint32")
        if cut := narrowed.cut:  # floor((high * 2**cut + low) / 2**shift) = floor((high + floor(low / 2**cut)) / 2**(shift - cut))
            bit, mask = number("cut", cut), (1 << cut) - 1
            low = (y & number("mask", mask)) * mul + each("low", start & mask, "uint32")
            y = (y >> bit) * mul + each("high", start >> cut, "uint32") + (low >> bit)
        else:
            y = y * mul + each("start", start, "uint32")
        y = bits(y >> number("shift", op.shift - cut), "int32")
        return y + self.k.number((n.name, "bottom"), narrowed.bottom, "int32") if narrowed.bottom else y

    def requant(self, n: Node, t: Ints, x, channel, lifted: bool):
        """ops.requant, in int32 if it can be proven to be enough, in uint32 behind a clamp if that can, else in int64."""
        op, mul, narrow_x = n.op, n.op.mul, kind_of(x)[0] == "int32"
        if not self.plain(op, t) and narrow_x and (narrowed := unsaturated(op, t)) is not None:
            return self.unsigned(narrowed, n, x, channel, t, lifted)
        dtype = calc(max(max(magnitude(t), 1) * int(abs(mul).max()) + (1 << op.shift) + abs(op.zero), abs(op.lo), abs(op.hi)))
        dtype = "int32" if self.plain(op, t) and narrow_x else dtype
        factor = cast(self.each(mul, channel, word_of(int(mul.min()), int(mul.max())) if dtype != "int32" else dtype, (n.name, "mul")), dtype)
        if dtype == "uint64":
            y = reference(cast(x, dtype), factor, op.shift, op.zero, op.lo, op.hi)
        else:
            y = cast(x, dtype) * factor if (mul != 1).any() else cast(x, dtype)
            if op.shift:
                y = (y + self.k.number((n.name, "half"), ops.half(op.shift), dtype)) >> self.k.number((n.name, "shift"), op.shift, dtype)
            y = self.clamped(y + self.k.number((n.name, "zero"), op.zero, dtype) if op.zero else y, n, t, dtype)
        return cast(y, calc(max(abs(op.lo), abs(op.hi))))

    def clamped(self, y, n: Node, t: Ints, dtype: str):
        """y within [lo, hi], as far as it can leave it."""
        op = n.op
        ends = [reference(x, int(m), op.shift, op.zero, -INT64, INT64) for x in (t.lo, t.hi) for m in (op.mul.min(), op.mul.max())]
        y = tirx.max(y, self.k.number((n.name, "lo"), op.lo, dtype)) if min(ends) < op.lo else y
        return tirx.min(y, self.k.number((n.name, "hi"), op.hi, dtype)) if max(ends) > op.hi else y


@dataclass(frozen=True)
class Unsaturated:
    """An accumulator clamped to [lowest, highest] (of each channel) gives what the requant gives, and that lies in [bottom, top]."""
    lowest: np.ndarray
    highest: np.ndarray
    bottom: int
    top: int
    cut: int  # bits of the accumulator that are multiplied apart, because 32 bits do not hold the whole product


def unsaturated(op: Requant, t: Ints) -> Unsaturated | None:
    """The accumulators that matter to a requant.

    None where a multiplier is not positive, a step of the accumulator is more than one of the result, or 32 bits do not hold the product.
    """
    mul = op.mul if len(op.mul) > 1 else op.mul[:1]
    reach = max(abs(op.lo - op.zero), abs(op.hi - op.zero) + 1) << op.shift
    if mul.min() < 1 or mul.max() >= 1 << 31 or op.shift > 40 or reach >= 1 << 62:  # numpy's int64 must hold the products
        return None
    half = ops.half(op.shift)
    lowest = np.maximum(t.lo, -((half - ((op.lo - op.zero) << op.shift)) // mul))             # the least with result >= lo
    highest = np.minimum(t.hi, -((half - ((op.hi - op.zero + 1) << op.shift)) // mul) - 1)    # the largest with result <= hi
    at_lowest, at_highest = (reference(x, mul, op.shift, op.zero, -INT64, INT64) for x in (lowest, highest))
    bottom, top = int(at_lowest.min()), int(at_highest.max())
    exact = ((lowest <= highest) & (at_lowest >= op.lo) & (at_highest <= op.hi) & ((lowest == t.lo) | (at_lowest == op.lo))
             & ((highest == t.hi) | (at_highest == op.hi)))
    cut = max(0, (top - bottom).bit_length() + op.shift - 32)
    fits = cut <= op.shift and ((1 << cut) - 1) * (int(mul.max()) + 1) < 1 << 32 and int((highest - lowest).max()) <= INT32
    return Unsaturated(lowest, highest, bottom, top, cut) if exact.all() and fits else None


def simplest(op: Requant) -> Requant:
    """The same requant with multipliers that are not all even, or without a shift."""
    twos = min(op.shift, *(((m & -m).bit_length() - 1) for m in map(int, op.mul)))
    return replace(op, mul=op.mul >> twos, shift=op.shift - twos) if twos > 0 else op


def divide(a, b, bound: int, t: Ints):
    """ops.divide: floor(n / d) with n = 2a + b, d = 2b; bound: of |n| + 4b and the result.

    float64 is exact if n is below 2**53: a quotient that is no integer is at least 1 / d below the next one, and less than that is lost by
    rounding.  float32 gives a quotient below 2**20 with an error of less than 1/2 (n, d, 1 / d and the product are rounded, each by at most
    2**-24 of itself), so that its floor is one off at most, and the remainder, in integers, says which way.
    """
    dtype, out = calc(bound), calc(magnitude(t))
    a, b = cast(a, dtype), cast(b, dtype)
    if bound >= 1 << 53:
        return cast(ops.divide(a, b), out)
    n, d = a + a + b, b + b
    if dtype == "int64" or magnitude(t) >= 1 << 20:
        return cast(tirx.floor(cast(n, "float64") / cast(d, "float64")), out)
    near = cast(n, "float32") * (tirx.const(1, "float32") / cast(d, "float32"))
    q = cast(tirx.floor(near), "int32")
    left = n - q * d
    return cast(q + cast(left >= d, "int32") - cast(left < 0, "int32"), out)

