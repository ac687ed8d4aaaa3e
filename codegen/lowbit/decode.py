"""Packed bytes -> signed bytes, in registers."""
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from .formats import Format
from .isa import Isa
from .vectors import as_signed, constant, intrinsic, splat


@dataclass(frozen=True)
class Field:
    """How a field is decoded: to the signed bytes scale * (weight + offset), at most `magnitude` from 0."""
    scale: int = 1
    offset: int = 0
    magnitude: int = 1


class Decoder:
    """decoder(bytes) -> for each of `fields` a vector of signed bytes.

    `exact` gives the weights themselves.  Else, where sums can take that (isa.scales), weights stay at the place they have in the
    byte, and digits stay unsigned: fewer instructions, and a correction that costs nothing per weight (kernels.py).
    """

    def __init__(self, isa: Isa, f: Format, exact: bool):
        self.isa, self.format, self.exact, self.scaled = isa, f, exact, isa.scales and not exact
        self.ternary = f.name == "base3"
        self.searched = {"permute": 1, "shuffle": 3, "": 4}[isa.lookup]  # digits of base 3 that are found by comparing
        self.tables = self._tables() if self.ternary else []
        self.fields = [self._field(j) for j in range(f.fields)]

    def __call__(self, v) -> list:
        return self._digits(v) if self.ternary else [T.bind(as_signed(self._bits(v, j), self.isa.width)) for j in range(self.format.fields)]

    def _field(self, j: int) -> Field:
        f = self.format
        if self.ternary:
            return Field(3 ** j, 0, 3 ** j) if self.scaled and j >= f.fields - self.searched else Field()
        if self.scaled:
            return Field(f.radix ** j, 0 if j == f.fields - 1 else f.zero, 128)
        return Field(1, 0, f.zero) if self.exact else Field(1, f.zero, f.radix - 1)

    def _splat(self, value: int): return splat(value, "uint8", self.isa.width)

    def _bits(self, v, j: int):
        """Field j of bytes whose radix is a power of two."""
        f, top = self.format, j == self.format.fields - 1
        if self.scaled:
            v = v & self._splat((f.radix - 1) * f.radix ** j)
            return v ^ self._splat(128) if top else v  # the highest bit, flipped, is the sign of digit - radix / 2: of the weight
        v = v >> self._splat((f.radix ** j).bit_length() - 1) if j else v
        v = v if top else v & self._splat(f.radix - 1)
        return v - self._splat(f.zero) if self.exact else v

    def _digits(self, v) -> list:
        """Digits of numbers to the base 3: the highest by comparing, the rest by looking them up."""
        high = []
        for n in range(self.format.fields - 1, self.format.fields - 1 - self.searched, -1):
            v, digit = self._highest(v, 3 ** n)
            high.append(T.bind(digit))
        low = [self._look_up(t, v) for t in self.tables] or [as_signed(v - self._splat(1), self.isa.width)]
        return [T.bind(digit) for digit in low] + high[::-1]

    def _highest(self, v, power: int):
        """(v % power, power * (v // power - 1), or the sign of that) of bytes below 3 * power <= 243.

        Of v, v - power and v - 2 * power modulo 256 the least is the remainder: the others have not wrapped and are larger, or have
        and are at least 256 - 2 * power + (v % power), which 2 * power <= 162 keeps above v % power.
        """
        less = T.bind(v - self._splat(power))
        rest = T.bind(tirx.min(tirx.min(v, less), v - self._splat(2 * power)))
        digit = as_signed(less - rest, self.isa.width)
        if self.scaled:
            return rest, digit
        return rest, tirx.max(tirx.min(digit, splat(1, "int8", self.isa.width)), splat(-1, "int8", self.isa.width))

    def _tables(self) -> list:
        """For each digit that is looked up, the weight by remainder: 128 entries in two vectors, or 16 in every 16 bytes."""
        if not self.isa.lookup:
            return []
        rest = np.arange(128 if self.isa.lookup == "permute" else 16)
        weights = [(rest // 3 ** n % 3 - 1).astype(np.int8).view(np.uint8) for n in range(self.format.fields - self.searched)]
        if self.isa.lookup == "permute":
            return [(constant(w[:64]), constant(w[64:])) for w in weights]
        return [constant(np.tile(w, self.isa.width // len(w))) for w in weights]

    def _look_up(self, table, v):
        index, out = as_signed(v, self.isa.width), f"int8x{self.isa.width}"
        if self.isa.lookup == "permute":
            return intrinsic("llvm.x86.avx512.vpermi2var.qi.512", out, table[0], index, table[1])
        name = {16: "ssse3.pshuf.b.128", 32: "avx2.pshuf.b", 64: "avx512.pshuf.b.512"}[self.isa.width]
        return intrinsic(f"llvm.x86.{name}", out, table, index)
