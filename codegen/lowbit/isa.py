"""What an instruction set does with bytes: exact dot products of four in a lane of int32.

x are activation bytes as stored: unsigned on x86 (value - base), signed on aarch64; w are signed bytes that decode.py makes of
packed weights.  `signed` gives the kernels of x86 signed activations; w are then unsigned bytes.
"""
from dataclasses import dataclass, replace

from tvm.script.ir_builder import tirx as T
from tvm.target import Target
from tvm.target.codegen import target_has_features

from ..tir import intrinsic
from .formats import QUAD
from .vectors import Accumulator, splat

X_MAX, SIGNED_MAX = 255, 128  # the largest magnitude of an activation byte
INT16_MAX = 2**15 - 1


@dataclass(frozen=True)
class Isa:
    """An instruction set: how many bytes its vectors have, how it multiplies, how it looks up bytes."""
    name: str
    features: tuple[str, ...]  # by LLVM's names
    width: int     # bytes of a vector
    multiply: str  # "dpbusd", "maddubs", "sdot" or "plain"
    lookup: str    # "permute": tables of 128 bytes; "shuffle": of 16; "": none
    sums: int      # vectors of sums that fit into the registers beside all else
    signed: bool = False  # on x86: activations are signed bytes, and what stands for weights is unsigned

    @property
    def lanes(self) -> int: return self.width // QUAD

    @property
    def word(self) -> str:
        """The type of activation bytes."""
        return "int8" if self.multiply == "sdot" or self.signed else "uint8"

    @property
    def wide(self) -> bool:
        """Whether products are summed in int32 at once, so that any signed byte may stand for weights."""
        return self.multiply != "maddubs"

    def room(self, magnitude: int) -> int:
        """How many products with bytes of that magnitude may be summed in int16 before they are folded into int32."""
        return INT16_MAX // (2 * (SIGNED_MAX if self.signed else X_MAX) * magnitude)

    def activations(self, x, at, valid: int = QUAD):
        """x[at:at + valid], and zeros up to QUAD, in every lane."""
        if self.multiply == "plain":
            return [T.broadcast(T.bind(x[at + i].astype("int32")), self.lanes) for i in range(valid)]
        if valid == QUAD:
            word = T.reinterpret("int32", x.vload([at], f"{x.dtype}x{QUAD}"))
        else:
            word = sum(T.reinterpret("uint8", x[at + i]).astype("int32") << 8 * i for i in range(valid))
        return T.bind(T.reinterpret(f"int8x{self.width}", T.broadcast(word, self.lanes)))

    def total(self, x, start, k: int):
        """The sum of k neighbouring activations, an int32."""
        one, out = Accumulator(1), Accumulator(self.lanes)
        one.set(T.int32(0))
        whole = 0 if self.multiply == "plain" else k // self.width
        if whole:
            out.clear()
            with T.serial(whole) as i:
                bytes_ = T.reinterpret(f"int8x{self.width}", x.vload([start + i * self.width], f"{x.dtype}x{self.width}"))
                self.add(out, [(bytes_, splat(1, "int8", self.width))], 1)
            one.set(intrinsic("llvm.vector.reduce.add", out.value, dtype="int32"))
        if k > whole * self.width:
            with T.serial(whole * self.width, k) as i:
                one.set(one.value + x[start + i].astype("int32"))
        return one.value

    def add(self, total: Accumulator, products: list, magnitude: int) -> None:
        """total += the dot products of `products`, pairs of activations and signed bytes at most `magnitude` from 0."""
        if self.wide:
            for x, w in products:
                total.set(self._dot(total.value, x, w))
        while products and not self.wide:
            self._add_pairs(total, products[:self.room(magnitude)])
            products = products[self.room(magnitude):]

    def _dot(self, total, x, w):
        out = f"int32x{self.lanes}"
        if self.multiply == "dpbusd":  # unsigned bytes by signed ones
            return intrinsic(f"llvm.x86.avx512.vpdpbusd.{8 * self.width}", total, *((w, x) if self.signed else (x, w)), dtype=out)
        if self.multiply == "sdot":
            return intrinsic("llvm.aarch64.neon.sdot", total, x, w, dtype=out)
        words = T.bind(T.reinterpret(out, w))
        for i, factor in enumerate(x):
            byte = (words << splat(24 - 8 * i, "int32", self.lanes)) >> splat(24, "int32", self.lanes)
            total = total + (byte & splat(255, "int32", self.lanes) if self.signed else byte) * factor
        return total

    def _add_pairs(self, total: Accumulator, products: list) -> None:
        """Sums of pairs in int16, which they fit into, folded into int32."""
        half, out = f"int16x{self.width // 2}", f"int32x{self.lanes}"
        names = {16: ("ssse3.pmadd.ub.sw.128", "sse2.pmadd.wd"), 32: ("avx2.pmadd.ub.sw", "avx2.pmadd.wd"),
                 64: ("avx512.pmaddubs.w.512", "avx512.pmaddw.d.512")}[self.width]
        pairs, fold = (f"llvm.x86.{n}" for n in names)
        held = None
        for x, w in products:
            product = intrinsic(pairs, *((w, x) if self.signed else (x, w)), dtype=half)
            held = product if held is None else held + product
        total.set(total.value + intrinsic(fold, held, splat(1, "int16", self.width // 2), dtype=out))


ISAS = {i.name: i for i in (
    Isa("avx512vbmi", ("avx512vbmi", "avx512vnni"), 64, "dpbusd", "permute", 24),
    Isa("avx512vnni", ("avx512vnni",), 64, "dpbusd", "shuffle", 24),
    Isa("avxvnni", ("avxvnni",), 32, "dpbusd", "shuffle", 10),
    Isa("avx512bw", ("avx512bw",), 64, "maddubs", "shuffle", 16),
    Isa("avx2", ("avx2",), 32, "maddubs", "shuffle", 8),
    Isa("ssse3", ("ssse3",), 16, "maddubs", "shuffle", 8),
    Isa("dotprod", ("dotprod",), 16, "sdot", "", 20),
    Isa("generic", (), 64, "plain", "", 2))}


def isa_of(target: Target) -> Isa:
    """The fastest instruction set that a target of kind "llvm" has."""
    return next(i for i in ISAS.values() if all(target_has_features(f, target) for f in i.features))


def signed(isa: Isa) -> Isa:
    """The same instruction set for activations that are signed bytes; nothing is to be added to its sums for their base."""
    return isa if isa.word == "int8" else replace(isa, signed=True)
