"""Sums of products of a few input channels in every lane: one spelling for each family of instructions."""
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..tir import intrinsic
from .isa import FOUR, PAIRS, Isa
from .kernel import Tensor

WORDS = {8: "llvm.x86.avx512.vpdpwssd.256", 16: "llvm.x86.avx512.vpdpwssd.512"}
BYTES = {4: "llvm.x86.ssse3.pmadd.ub.sw.128", 8: "llvm.x86.avx2.pmadd.ub.sw", 16: "llvm.x86.avx512.pmaddubs.w.512"}


@dataclass(frozen=True)
class Dot:
    """A step takes `each` input channels of one position and as many weights of `lanes` outputs, and adds the products to int32 x lanes.

    Weights lie as (each / sub, lanes, sub).  `shift` is subtracted from what is stored before it is multiplied.
    cost: instructions of an addition, of reading an input, of reading weights.
    """
    lanes: int
    each: int = 4
    sub: int = 4
    dtype: str = "int8"  # of the weights
    shift: int = 0
    cost: tuple[float, float, float] = (1, 0, 0)

    def registers(self, positions: int, vectors: int) -> int:
        """How many vector registers a tile keeps busy."""
        return positions * vectors + vectors + 1

    def pack(self, w: np.ndarray) -> np.ndarray:
        """(vectors, lanes, taps, channels) to (vectors, taps, steps, each / sub * lanes * sub)."""
        vectors, lanes, taps, channels = w.shape
        w = np.pad(w, ((0, 0), (0, 0), (0, 0), (0, -channels % self.each)))
        w = w.reshape(vectors, lanes, taps, -1, self.each // self.sub, self.sub).transpose(0, 2, 3, 4, 1, 5)
        return w.reshape(*w.shape[:3], -1).astype(self.dtype)

    def word(self, x: Tensor, at, count: int):
        """`count` stored elements that make up 32 bits, the same in all lanes."""
        return T.broadcast(T.reinterpret(x.buffer[T.ramp(at, 1, count)], dtype="int32"), self.lanes)

    def row(self, w: tirx.Buffer, at, i: int = 0):
        """Row i of the weights of a step."""
        size = self.lanes * self.sub
        return w[T.ramp(at + i * size, 1, size)]


class Four(Dot):
    """vpdpbusd or sdot: four products of bytes a lane and instruction."""

    def input(self, x: Tensor, at): return self.operand(self.word(x, at, 4))

    def operand(self, words):
        """What `add` takes, of words of four stored bytes."""
        return T.reinterpret(words, dtype=f"int8x{4 * self.lanes}")

    def weights(self, w, at): return self.row(w, at)

    def add(self, acc, x, w): return intrinsic(FOUR[self.lanes], acc, x, w, dtype=f"int32x{self.lanes}")


class Two(Dot):
    """vpdpwssd: two products of words a lane and instruction."""

    def input(self, x: Tensor, at):
        v = T.reinterpret(self.word(x, at, 2), dtype=f"int16x{2 * self.lanes}")
        return v ^ tirx.const(-self.shift, f"int16x{2 * self.lanes}") if self.shift else v

    def weights(self, w, at): return self.row(w, at)

    def add(self, acc, x, w): return intrinsic(WORDS[self.lanes], acc, x, w, dtype=f"int32x{self.lanes}")


class TwoAdd(Two):
    """The same by pmaddwd and an addition."""

    def add(self, acc, x, w): return acc + intrinsic(PAIRS[self.lanes], x, w, dtype=f"int32x{self.lanes}")


class Halves(Dot):
    """Bytes as words, those of even and odd channels apart, by pmaddwd; the weights stay bytes in memory."""

    def registers(self, positions: int, vectors: int) -> int: return positions * vectors + 2 * vectors + 3

    def input(self, x: Tensor, at): return self.operand(self.word(x, at, 4))

    def operand(self, words):
        """What `add` takes, of words of four stored bytes."""
        dtype = f"uint16x{2 * self.lanes}"
        v = T.reinterpret(words, dtype=dtype)
        return v & tirx.const(255, dtype), v >> tirx.const(8, dtype)

    def weights(self, w, at):
        dtype = f"int16x{2 * self.lanes}"
        v, eight = T.reinterpret(self.row(w, at), dtype=dtype), tirx.const(8, dtype)
        return (v << eight) >> eight, v >> eight

    def add(self, acc, x, w):
        for a, b in zip(x, w):
            acc = acc + intrinsic(PAIRS[self.lanes], T.reinterpret(a, dtype=f"int16x{2 * self.lanes}"), b, dtype=f"int32x{self.lanes}")
        return acc


class Unsaturated(Dot):
    """pmaddubsw where no sum of two products leaves 16 bits, nor the sum of those of each / 4 instructions."""

    def registers(self, positions: int, vectors: int) -> int: return positions * vectors + self.each // 4 + 3

    def input(self, x: Tensor, at):
        return [T.reinterpret(self.word(x, at + 4 * i, 4), dtype=f"int8x{4 * self.lanes}") for i in range(self.each // 4)]

    def weights(self, w, at): return [self.row(w, at, i) for i in range(self.each // 4)]

    def add(self, acc, x, w):
        pairs, ones = f"int16x{2 * self.lanes}", tirx.const(1, f"int16x{2 * self.lanes}")
        first, *more = (intrinsic(BYTES[self.lanes], a, b, dtype=pairs) for a, b in zip(x, w))
        return acc + intrinsic(PAIRS[self.lanes], sum(more, first), ones, dtype=f"int32x{self.lanes}")


class Plain(Dot):
    """One product of any integers at a time, as LLVM spells it."""

    def input(self, x: Tensor, at): return T.broadcast(x.buffer[at].astype("int32"), self.lanes)

    def weights(self, w, at): return self.row(w, at).astype(f"int32x{self.lanes}")

    def add(self, acc, x, w): return acc + x * w


def dot_for(isa: Isa, x: str, largest: int, w: np.ndarray, lanes: int, wraps: bool) -> Dot | None:
    """The fastest Dot for stored inputs of dtype `x`, which are at most `largest`, and weights w (..., channels).

    wraps: sums may leave int32 on the way to a result within it, which only single instructions may do.  None: no Dot is exact.
    """
    low, high = int(w.min()), int(w.max())
    byte, word = (-(1 << b) <= low and high < 1 << b for b in (7, 15))
    if x == isa.byte and byte and isa.products in ("vnni", "sdot"):
        return Four(lanes)
    if x in ("int16", "uint16") and word and isa.products == "vnni":
        return Two(lanes, 2, 2, "int16", 1 << 15 if x == "uint16" else 0)
    if wraps:
        return None
    if x == isa.byte and byte and isa.products == "madd":
        return unsaturated(isa, largest, w, lanes) or Halves(lanes, cost=(4, 2, 3))
    if x in ("int16", "uint16") and word and isa.products == "madd":
        return TwoAdd(lanes, 2, 2, "int16", 1 << 15 if x == "uint16" and largest >= 1 << 15 else 0, cost=(2, 0, 0))
    return Plain(lanes, 1, 1, "int8" if byte else "int16" if word else "int32", cost=(3, 1, 1))


def unsaturated(isa: Isa, largest: int, w: np.ndarray, lanes: int) -> Dot | None:
    if isa.name == "sse2":
        return None
    w = np.pad(w, [(0, 0)] * (w.ndim - 1) + [(0, -w.shape[-1] % 16)])
    pairs = [np.maximum(s * w, 0).reshape(-1, 2).sum(-1).reshape(-1, 4, 2) * largest for s in (1, -1)]  # 16 channels: 4 words of 2 pairs
    for count in (4, 2, 1):
        sums = [p.reshape(-1, count, 2).sum(1).max() for p in pairs]
        if sums[0] < 1 << 15 and sums[1] <= 1 << 15:
            return Unsaturated(lanes, 4 * count, 4, cost=(2 * count + 1, 0, 0))
    return None
