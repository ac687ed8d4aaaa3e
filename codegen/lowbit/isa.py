"""What an instruction set does with bytes: exact dot products of four in a lane of int32.

x are activation bytes as stored: unsigned on x86 (value - base), signed on aarch64; w are signed bytes that decode.py makes of
packed weights.
"""
from dataclasses import dataclass

from tvm.script.ir_builder import tirx as T
from tvm.target import Target
from tvm.target.codegen import target_has_features

from .formats import QUAD
from .vectors import Accumulator, intrinsic, splat

X_MAX = 255          # the largest magnitude of an activation byte
INT16_MAX = 2**15 - 1


@dataclass(frozen=True)
class Isa:
    """An instruction set: how many bytes its vectors have, how it multiplies, how it looks up bytes."""
    name: str
    features: tuple[str, ...]  # by LLVM's names
    width: int             # bytes of a vector
    multiply: str          # "dpbusd", "maddubs", "sdot" or "plain"
    lookup: str            # "permute": tables of 128 bytes; "shuffle": of 16; "": none
    tile: tuple[int, int]  # panels and rows of activations whose products with each other stay in registers

    @property
    def lanes(self) -> int: return self.width // QUAD

    @property
    def word(self) -> str:
        """The type of activation bytes."""
        return "int8" if self.multiply == "sdot" else "uint8"

    @property
    def scales(self) -> bool:
        """Whether weights may come multiplied by up to 81, as products are summed in int32 at once."""
        return self.multiply != "maddubs"

    def room(self, magnitude: int) -> int:
        """How many terms of that magnitude may be summed at once in int16."""
        return INT16_MAX // (2 * X_MAX * magnitude)

    def parts(self, fields: int) -> list[range]:
        """The fields of a line in the pieces that are best added together: all, where sums of pairs are folded, else one by one."""
        return [range(fields)] if self.multiply == "maddubs" else [range(j, j + 1) for j in range(fields)]

    def activations(self, x, at, valid: int = QUAD):
        """x[at:at + valid], and zeros up to QUAD, in every lane."""
        if self.multiply == "plain":
            return [T.broadcast(T.bind(x[at + i].astype("int32")), self.lanes) for i in range(valid)]
        if valid == QUAD:
            word = T.reinterpret("int32", x.vload([at], f"{x.dtype}x{QUAD}"))
        else:
            word = sum(T.reinterpret("uint8", x[at + i]).astype("int32") << 8 * i for i in range(valid))
        return T.bind(T.reinterpret(f"int8x{self.width}", T.broadcast(word, self.lanes)))

    def add(self, sums: list[Accumulator], terms: list) -> None:
        """sums[j % len(sums)] += dot product of the j-th of `terms` (activations, signed bytes, their largest magnitude)."""
        if self.multiply == "maddubs":
            return self._add_pairs(sums[0], terms)
        for j, (x, w, _) in enumerate(terms):
            total = sums[j % len(sums)]
            total.set(self._dot(total.value, x, w))

    def _dot(self, total, x, w):
        out = f"int32x{self.lanes}"
        if self.multiply == "dpbusd":
            return intrinsic(f"llvm.x86.avx512.vpdpbusd.{8 * self.width}", out, total, x, w)
        if self.multiply == "sdot":
            return intrinsic("llvm.aarch64.neon.sdot", out, total, x, w)
        words = T.bind(T.reinterpret(out, w))
        for i, factor in enumerate(x):
            signed = (words << splat(24 - 8 * i, "int32", self.lanes)) >> splat(24, "int32", self.lanes)
            total = total + signed * factor
        return total

    def _add_pairs(self, total: Accumulator, terms: list) -> None:
        """Products of pairs are summed in int16 as long as that is proven to hold them, then folded into int32."""
        half, out = f"int16x{self.width // 2}", f"int32x{self.lanes}"
        names = {16: ("ssse3.pmadd.ub.sw.128", "sse2.pmadd.wd"), 32: ("avx2.pmadd.ub.sw", "avx2.pmadd.wd"),
                 64: ("avx512.pmaddubs.w.512", "avx512.pmaddw.d.512")}[self.width]
        pairs, fold = (f"llvm.x86.{n}" for n in names)
        while terms:
            held, room = None, INT16_MAX
            while terms and (need := 2 * X_MAX * terms[0][2]) <= room:
                x, w, _ = terms.pop(0)
                product = intrinsic(pairs, half, x, w)
                held, room = product if held is None else held + product, room - need
            total.set(total.value + intrinsic(fold, out, held, splat(1, "int16", self.width // 2)))


ISAS = {i.name: i for i in (
    Isa("avx512vbmi", ("avx512vbmi", "avx512vnni"), 64, "dpbusd", "permute", (2, 8)),
    Isa("avx512vnni", ("avx512vnni",), 64, "dpbusd", "shuffle", (2, 8)),
    Isa("avxvnni", ("avxvnni",), 32, "dpbusd", "shuffle", (1, 4)),
    Isa("avx512bw", ("avx512bw",), 64, "maddubs", "shuffle", (2, 8)),
    Isa("avx2", ("avx2",), 32, "maddubs", "shuffle", (1, 4)),
    Isa("ssse3", ("ssse3",), 16, "maddubs", "shuffle", (1, 2)),
    Isa("dotprod", ("dotprod",), 16, "sdot", "", (1, 4)),
    Isa("generic", (), 64, "plain", "", (1, 2)))}


def isa_of(target: Target) -> Isa:
    """The fastest instruction set that a target of kind "llvm" has."""
    return next(i for i in ISAS.values() if all(target_has_features(f, target) for f in i.features))
