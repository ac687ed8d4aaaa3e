"""What a processor offers to a kernel: the width of its vectors and the instructions for sums of products."""
from dataclasses import dataclass, replace

import tvm
from tvm.script.ir_builder import tirx as T
from tvm.target import codegen

from .. import lowbit
from ..tir import intrinsic

FOUR = {4: "llvm.aarch64.neon.sdot.v4i32.v16i8", 8: "llvm.x86.avx512.vpdpbusd.256", 16: "llvm.x86.avx512.vpdpbusd.512"}  # four products of bytes
PAIRS = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}  # lanes: sums of two products of int16


@dataclass(frozen=True)
class Isa:
    """name; lanes of int32 in a vector; how many vector registers there are; how narrow tensors are stored ("uint8" or "int8").

    products: what one instruction adds up: "vnni" (four of bytes or two of words, into an accumulator), "sdot" (four of bytes), "madd"
    (two of words), "none".
    """
    name: str
    lanes: int
    registers: int
    byte: str
    products: str
    needs: tuple[str, ...]  # LLVM's names of the features that the kernels use
    packed: lowbit.Isa | None = None  # of kernels for packed weights; None: weights stay bytes
    vbmi: bool = False      # whether bytes of a whole vector can be picked by index (AVX-512 VBMI)

    @property
    def four(self) -> bool:
        """Whether one instruction adds four products of bytes to each lane."""
        return self.products in ("vnni", "sdot")

    def together(self, lowest: int, highest: int) -> int:
        """How many products of stored bytes with weights in [lowest, highest] one instruction adds to a lane."""
        if self.four and -128 <= lowest and highest <= 127:
            return 4
        return 2 if self.products == "madd" and -(1 << 15) <= lowest and highest < 1 << 15 else 1

    def add_products(self, acc, x, w, many: int, lanes: int):
        """acc + the sums of `many` neighbouring products: 4 of stored bytes and int8, 2 of int16, or 1 of int32 and any; lanes as in a register."""
        to = f"int32x{lanes}"
        if many == 1:
            return acc + x * w.astype(to)
        if many == 2:
            return acc + intrinsic(PAIRS[lanes], x, w, dtype=to)
        name = FOUR[lanes] if self.products == "sdot" or lanes > 4 else "llvm.x86.avx512.vpdpbusd.128"
        return intrinsic(name, acc, T.reinterpret(x, dtype=f"int8x{4 * lanes}"), w, dtype=to)


ISAS = (Isa("avx512vnni", 16, 32, "uint8", "vnni", ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")),
        Isa("avx512", 16, 32, "uint8", "madd", ("avx512f", "avx512bw", "avx512dq", "avx512vl")),
        Isa("avxvnni", 8, 16, "uint8", "vnni", ("avx2", "avxvnni")),
        Isa("avx2", 8, 16, "uint8", "madd", ("avx2",)),
        Isa("sse4", 4, 16, "uint8", "madd", ("ssse3", "sse4.1")),
        Isa("sse2", 4, 16, "uint8", "madd", ("sse2",)),
        Isa("dotprod", 4, 32, "int8", "sdot", ("neon", "dotprod")),
        Isa("generic", 4, 16, "uint8", "none", ()))  # the last one fits any processor
SCALAR = Isa("scalar", 1, 16, "uint8", "none", ())  # for C, which has no vectors


def isa_of(target: tvm.target.Target) -> Isa:
    """The first of ISAS whose features the target has; another processor's features are never assumed."""
    arch = str(target.attrs.get("mtriple", "")) or codegen.llvm_get_system_triple()
    kinds = {"x86": arch.startswith(("x86", "i386", "i686")), "aarch64": arch.startswith("aarch64")}

    def has(name: str) -> bool:
        return bool(codegen.target_has_features([name], target))
    isa = next(i for i in ISAS if not i.needs or kinds["aarch64" if i.byte == "int8" else "x86"] and all(map(has, i.needs)))
    packed = lowbit.isa_of(target)
    return replace(isa, vbmi=isa.lanes == 16 and has("avx512vbmi"), packed=packed if packed.word == isa.byte else None)
