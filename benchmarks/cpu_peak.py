"""The most int8 products that a core makes: AVX-512 VNNI instructions on registers alone, with no memory between them."""
from collections.abc import Callable

import numpy as np
import tvm
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from codegen.tvm import parse_target

CHAINS = 24    # accumulators that do not wait for each other: more than an instruction's latency times those begun a cycle
LANES = 16
STEPS = 20000  # of each chain in one call
OPS = CHAINS * STEPS * LANES * 4 * 2  # additions and multiplications in one call


def kernel() -> tirx.PrimFunc:
    """sums[i] += the dot products of 64 bytes, STEPS times over, with every chain in a register of its own."""
    dot = T.llvm_lookup_intrinsic_id("llvm.x86.avx512.vpdpbusd.512")
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        T.func_attr({"tirx.noalias": True})
        codes = T.match_buffer(T.arg("codes", T.handle()), (2, 64), "int8")
        sums = T.match_buffer(T.arg("sums", T.handle()), (CHAINS, LANES), "int32")
        chains, every = [T.alloc_buffer((LANES,), "int32") for _ in range(CHAINS)], T.ramp(T.int32(0), 1, LANES)
        a, b = (codes.vload([i, 0], "int8x64") for i in range(2))
        for i, c in enumerate(chains):
            T.buffer_store(c, sums.vload([i, 0], "int32x16"), [every])
        with T.serial(STEPS):
            for c in chains:
                T.buffer_store(c, T.call_llvm_pure_intrin("int32x16", dot, c.vload([0], "int32x16"), a, b), [every])
        for i, c in enumerate(chains):
            T.buffer_store(sums, c.vload([0], "int32x16"), [i, every])
    return ib.get()


def peak() -> Callable[[], object] | None:
    """A call that makes OPS int8 operations on one core; None where the CPU has no AVX-512 VNNI."""
    if not tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")().get("avx512vnni", False):
        return None
    f = tvm.compile(kernel(), target=parse_target("llvm"))["main"]
    codes = tvm.runtime.tensor(np.random.default_rng(0).integers(0, 128, (2, 64)).astype(np.int8))
    sums = tvm.runtime.tensor(np.zeros((CHAINS, LANES), np.int32))
    return lambda: f(codes, sums)
