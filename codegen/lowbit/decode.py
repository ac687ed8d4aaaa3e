"""Packed bytes -> signed bytes, in registers."""
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..tir import intrinsic
from .formats import Format
from .isa import Isa
from .vectors import as_signed, constant, splat


@dataclass(frozen=True)
class Mix:
    """What a vector of signed bytes is, in every lane: sum over j of by[j] * weight of field j, plus `more`; at most `magnitude` from 0."""
    by: tuple[int, ...]
    more: int = 0
    magnitude: int = 128


class Decoder:
    """decoder(bytes) -> a vector of signed bytes for each of `mixes`, from whose sums kernels.py finds those of the weights.

    The rows of a byte meet the same activations, so a vector may mix them: the byte itself is one, and sums are taken apart at the end
    of a row.  The last weight that a mix has is in no mix before it.  `centred`: every mix is a multiple of one weight and nothing more,
    so that sums of the activations are not needed.  Where sums begin in int16 (not isa.wide) mixes are single digits or weights.
    """

    def __init__(self, isa: Isa, f: Format, centred: bool):
        self.isa, self.format, self.centred = isa, f, centred
        self.lookup = "shuffle" if centred and isa.lookup == "permute" else isa.lookup  # for many tables the small ones are faster
        if f.name != "base3":
            self._decode, self.mixes = self._digits, self._digit_mixes()
        elif isa.wide and not centred:
            self._decode, self.mixes = self._remainders, self._remainder_mixes()
        else:
            self._decode, self.mixes = self._trits, self._trit_mixes()
        self.tables = self._tables() if f.name == "base3" else []

    def __call__(self, v) -> list:
        return [T.bind(as_signed(part, self.isa.width)) for part in self._decode(v)]

    @property
    def _base(self) -> int:
        """What is added to a byte of packed weights that goes into a product as it is."""
        return 0 if self.isa.signed else -128

    def _whole(self, v): return v if self.isa.signed else v ^ self._splat(128)

    def _splat(self, value: int): return splat(value, "uint8", self.isa.width)

    def _mix(self, by, digits: int = 0, **more) -> Mix:
        """A Mix of fields, where the first `digits` of them come as digits, not as weights."""
        by = tuple(by) + (0,) * (self.format.fields - len(by))
        return Mix(by, self.format.zero * sum(by[:digits]) + more.pop("less", 0), **more)

    # Formats whose radix is a power of two.

    def _digit_mixes(self) -> list[Mix]:
        f, wide = self.format, self.isa.wide
        scales = [f.radix ** j if wide else 1 for j in range(f.fields)]
        if self.centred:
            return [self._mix((0,) * j + (s,), magnitude=f.zero * s) for j, s in enumerate(scales)]
        low = [self._mix((0,) * j + (s,), j + 1, magnitude=(f.radix - 1) * s) for j, s in enumerate(scales)]
        return [*low[:-1], self._mix(scales, f.fields, less=self._base)] if wide else low

    def _digits(self, v) -> list:
        f, top = self.format, self.format.fields - 1
        if not self.isa.wide:
            found = [v >> self._splat((f.radix ** j).bit_length() - 1) if j else v for j in range(f.fields)]
            found = [d & self._splat(f.radix - 1) if j < top else d for j, d in enumerate(found)]
            return [d - self._splat(f.zero) for d in found] if self.centred else found
        found = [v & self._splat((f.radix - 1) * f.radix ** j) for j in range(f.fields)]
        if not self.centred:
            return [*found[:-1], self._whole(v)]
        return [d - self._splat(f.zero * f.radix ** j) for j, d in enumerate(found)]

    # Base 3, mixed: v modulo 3, 9, ...

    def _remainder_mixes(self) -> list[Mix]:
        powers = [3 ** j for j in range(self.format.fields)]
        mixes = [self._mix(powers[:n], n) for n in range(1, self.format.fields)]
        if self.lookup == "permute":  # of the table: digit 0 in bits 0 and 1, digit 1 in bits 2 and 3, weight (or digit) 2 above
            mixes[:3] = self._mix((1,), 1), self._mix((0, 4), 2), self._mix((1, 4, 16), 3 if self.isa.signed else 2)
        return [*mixes, self._mix(powers, self.format.fields, less=self._base)]

    def _remainders(self, v) -> list:
        found = [self._whole(v)]
        for n in range(self.format.fields - 1, {"permute": 3, "shuffle": 1, "": 0}[self.lookup], -1):
            v, _ = self._modulo(v, 3 ** n)
            found.append(v)
        if self.lookup == "permute":
            d = T.bind(T.reinterpret(f"uint8x{self.isa.width}", self._look_up(self.tables[0], v)))
            found += [d, d & self._splat(12), d & self._splat(3)]
        elif self.lookup == "shuffle":
            found.append(self._look_up(self.tables[0], v))
        return found[::-1]

    # Base 3, weight by weight.

    def _trit_mixes(self) -> list[Mix]:
        if self.isa.signed:
            return [self._mix((0,) * j + (1,), j + 1, magnitude=2) for j in range(self.format.fields)]
        compared = range(self._looked_up(), self.format.fields)
        return [self._mix((0,) * j + (3 ** j if self.isa.wide and j in compared else 1,), magnitude=3 ** j if self.isa.wide else 1)
                for j in range(self.format.fields)]

    def _looked_up(self) -> int: return 2 if self.lookup else 1

    def _trits(self, v) -> list:
        high = []
        for n in range(self.format.fields - 1, self._looked_up() - 1, -1):
            v, weight = self._modulo(v, 3 ** n)
            if not self.isa.wide:
                one = splat(1, "int8", self.isa.width)
                weight = tirx.max(tirx.min(as_signed(weight, self.isa.width), one), splat(-1, "int8", self.isa.width))
                weight = weight + one if self.isa.signed else weight
            high.append(T.bind(weight))
        low = [self._look_up(t, v) for t in self.tables] or [v if self.isa.signed else v - self._splat(1)]
        return low + high[::-1]

    def _modulo(self, v, power: int):
        """(v % power, power * (v // power - 1)) of bytes below 3 * power <= 243.

        Of v, v - power and v - 2 * power modulo 256 the least is the remainder: the others have not wrapped and are larger, or have
        and are at least 256 - 2 * power + (v % power), which 2 * power <= 162 keeps above v % power.
        """
        less = T.bind(v - self._splat(power))
        rest = T.bind(tirx.min(tirx.min(v, less), v - self._splat(2 * power)))
        return rest, less - rest

    def _tables(self) -> list:
        """What is looked up by remainder: 128 entries in two vectors, or 16 in every 16 bytes."""
        rest = np.arange(128 if self.lookup == "permute" else 16)
        digits = [rest // 3 ** n % 3 for n in range(4)]
        if not self.lookup:
            return []
        if self._decode == self._trits:
            tables = [d - (not self.isa.signed) for d in digits[:self._looked_up()]]
        else:
            tables = [digits[0] + 4 * digits[1] + 16 * (digits[2] - (not self.isa.signed)) if self.lookup == "permute" else digits[0]]
        tables = [t.astype(np.int8).view(np.uint8) for t in tables]
        if self.lookup == "permute":
            return [(constant(t[:64]), constant(t[64:])) for t in tables]
        return [constant(np.tile(t, self.isa.width // len(t))) for t in tables]

    def _look_up(self, table, v):
        index, out = as_signed(v, self.isa.width), f"int8x{self.isa.width}"
        if self.lookup == "permute":
            return intrinsic("llvm.x86.avx512.vpermi2var.qi.512", table[0], index, table[1], dtype=out)
        name = {16: "ssse3.pshuf.b.128", 32: "avx2.pshuf.b", 64: "avx512.pshuf.b.512"}[self.isa.width]
        return intrinsic(f"llvm.x86.{name}", table, index, dtype=out)
