"""Packed weights by signed activations: exact on every instruction set this machine has, with nothing to add for a base."""
import functools

import numpy as np
import pytest
import tvm

from codegen import lowbit
from codegen.lowbit import FORMATS, ISAS, Geometry
from codegen.lowbit.geometry import MAX_K
from codegen.lowbit.isa import signed
from codegen.lowbit.standalone import module
from test_lowbit import CPUS, runs_here, weights_of


@functools.cache
def compiled(isa: str, cpu: str, g: Geometry):
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu, "cl-opt": ["-vectorize-loops=0"]})
    return tvm.compile(module(signed(ISAS[isa]), g), target=target)["main"]


def product(isa: str, cpu: str, f, w: np.ndarray, x: np.ndarray) -> np.ndarray:
    """w x by the compiled kernel."""
    y = tvm.runtime.tensor(np.full((1, len(w)), -1, np.int32))
    data = tvm.runtime.tensor(lowbit.pack(w, f.name)[0])
    compiled(isa, cpu, Geometry(f, len(w), len(x)))(tvm.runtime.tensor(x[None]), data, y, 1)
    return y.numpy()[0]


@pytest.mark.parametrize("isa", [*CPUS, "avxvnni"])
@pytest.mark.parametrize("f", FORMATS.values(), ids=FORMATS)
def test_exact(isa, f):
    cpu = CPUS.get(isa, "cascadelake")  # which has the instruction of AVX-VNNI as well
    if not runs_here(cpu):
        pytest.skip(f"this machine is no {cpu}")
    r = np.random.default_rng(len(isa) + f.fields)
    for rows, k in ((5, 7), (197, 131), (20, 3)):
        w, x = weights_of(f, rows, k, r), r.integers(-128, 128, k, dtype=np.int8)
        np.testing.assert_array_equal(product(isa, cpu, f, w, x), w @ x.astype(np.int64), f"{rows} {k}")
    for end in (-128, 127):  # the largest sums: no step leaves its integers
        w = np.where(np.arange(16)[:, None] % 2, f.lo, f.hi) + np.zeros((16, MAX_K), int)
        x = np.full(MAX_K, end, np.int8)
        np.testing.assert_array_equal(product(isa, cpu, f, w, x), w @ x.astype(np.int64))


@pytest.mark.parametrize("isa", CPUS)
def test_every_legal_byte_is_decoded(isa):
    """Each of the 243 bytes of base3, in one place of a lane."""
    if not runs_here(CPUS[isa]):
        pytest.skip(f"this machine is no {CPUS[isa]}")
    digits, w = np.arange(243)[:, None] // 3 ** np.arange(5) % 3 - 1, np.zeros((80 * 16, 4), int)
    for byte in range(256):
        w[byte // 16 * 80 + byte % 16 + 16 * np.arange(5)] = digits[byte % 243][:, None]
    x = np.array([0, -127, 0, 0], np.int8)
    np.testing.assert_array_equal(product(isa, CPUS[isa], FORMATS["base3"], w, x), w @ x.astype(np.int64))


def test_one_vector_only():
    with pytest.raises(ValueError, match="2 rows of signed activations: these kernels multiply one"):
        module(signed(ISAS["avx2"]), Geometry(FORMATS["base3"], 5, 7, 2))
