"""Packed weights: the layout on disk, and kernels that must give the exact product on every instruction set this machine has."""
import functools

import numpy as np
import pytest
import tvm

from codegen import lowbit
from codegen.lowbit import FORMATS, ISAS, Geometry
from codegen.lowbit.geometry import MAX_K
from codegen.lowbit.standalone import module
from ir import UserError

CPUS = {"avx512vbmi": "znver4", "avx512vnni": "cascadelake", "avx512bw": "skylake-avx512", "avx2": "x86-64-v3", "ssse3": "x86-64-v2",
        "generic": "x86-64"}
SHAPES = ((5, 7, 1), (197, 131, 1), (20, 3, 2), (101, 83, 10))  # rows, k, m


def weights_of(f, rows: int, k: int, r) -> np.ndarray: return r.integers(f.lo, f.hi + 1, (rows, k))


def runs_here(cpu: str) -> bool:
    """Whether this machine has all that LLVM says of a CPU's vectors."""
    have = {str(n) for n, on in tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")().items() if on}
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu})
    vectors = ("ssse3", "sse4.1", "sse4.2", "avx2", "avx512bw", "avx512vl", "avx512vnni", "avx512vbmi", "avx512bf16")
    return all(n in have for n in vectors if tvm.target.codegen.target_has_features(n, target))


@functools.cache
def compiled(isa: str, cpu: str, g: Geometry):
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu, "cl-opt": ["-vectorize-loops=0"]})
    return tvm.compile(module(ISAS[isa], g), target=target)["main"]


def product(isa: str, cpu: str, f, w: np.ndarray, x: np.ndarray, threads: int = 1) -> np.ndarray:
    """x w^T by the compiled kernel."""
    (m, k), rows = x.shape, len(w)
    y = tvm.runtime.tensor(np.full((m, rows), -1, np.int32))
    data = tvm.runtime.tensor(lowbit.pack(w, f.name)[0])
    compiled(isa, cpu, Geometry(f, rows, k, m))(tvm.runtime.tensor(x), data, y, threads)
    return y.numpy()


@pytest.mark.parametrize("f", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("rows, k", [(1, 1), (16, 40), (17, 41), (50, 119)])
def test_round_trip(f, rows, k):
    w = weights_of(f, rows, k, np.random.default_rng(k))
    data, sums = lowbit.pack(w, f.name)
    assert data.dtype == np.uint8 and data.shape == (f.bytes(rows, k),) and data.max() < f.radix ** f.fields
    np.testing.assert_array_equal(lowbit.unpack(data, f.name, rows, k), w)
    np.testing.assert_array_equal(sums, w.sum(1))


def test_layout():
    """Where a weight lies, as the package's text says."""
    for f in FORMATS.values():
        w = np.zeros((2 * f.rows, 50), np.int64)
        w[f.rows + 16 + 5, 45] = f.hi  # of the second panel: row 5 of field 1
        data, zero = lowbit.pack(w, f.name)[0], lowbit.pack(0 * w, f.name)[0]
        at = (13 + 45 // 4) * 64 + 5 * 4 + 45 % 4
        assert np.flatnonzero(data != zero).tolist() == [at]
        assert data[at] - zero[at] == f.hi * f.radix


def test_base3_zero_is_121():
    assert set(lowbit.pack(np.zeros((3, 3), int), "base3")[0].tolist()) == {121}


@pytest.mark.parametrize("isa", CPUS)
@pytest.mark.parametrize("f", FORMATS.values(), ids=FORMATS)
def test_exact(isa, f):
    if not runs_here(CPUS[isa]):
        pytest.skip(f"this machine is no {CPUS[isa]}")
    r = np.random.default_rng(len(isa) + f.fields)
    for rows, k, m in SHAPES:
        w, x = weights_of(f, rows, k, r), r.integers(0, 256, (m, k), dtype=np.uint8)
        np.testing.assert_array_equal(product(isa, CPUS[isa], f, w, x, 1 + rows % 2), x.astype(np.int64) @ w.T, f"{rows} {k} {m}")


@pytest.mark.parametrize("isa", CPUS)
@pytest.mark.parametrize("f", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("m", (1, 2))
def test_largest_sums(isa, f, m):
    """All activations 255, all weights at one end, as many as a row may have: no step leaves its integers."""
    if not runs_here(CPUS[isa]):
        pytest.skip(f"this machine is no {CPUS[isa]}")
    w = np.where(np.arange(16)[:, None] % 2, f.lo, f.hi) + np.zeros((16, MAX_K), int)
    x = np.full((m, MAX_K), 255, np.uint8)
    np.testing.assert_array_equal(product(isa, CPUS[isa], f, w, x), x.astype(np.int64) @ w.T)


def test_every_legal_byte_is_decoded():
    """Each of the 243 bytes of base3 in each place of a lane, on each instruction set."""
    digits = np.arange(243)[:, None] // 3 ** np.arange(5) % 3 - 1
    w = np.zeros((80 * 16, 4), int)
    for byte in range(256):
        w[byte // 16 * 80 + byte % 16 + 16 * np.arange(5)] = digits[byte % 243][:, None]
    assert set(lowbit.pack(w, "base3")[0]) == set(range(243))
    for isa, cpu in CPUS.items():
        for q in range(4 * runs_here(cpu)):
            for m in (1, 3):
                x = np.zeros((m, 4), np.uint8)
                x[:, q] = 255
                np.testing.assert_array_equal(product(isa, cpu, FORMATS["base3"], w, x), x.astype(np.int64) @ w.T)


def test_narrow_vnni():
    """The kernels of AVX-VNNI, on an AVX-512 machine that has the same instruction."""
    if not runs_here("cascadelake"):
        pytest.skip("this machine has no VNNI")
    r = np.random.default_rng(1)
    for f in FORMATS.values():
        for m in (1, 6):
            w, x = weights_of(f, 37, 150, r), r.integers(0, 256, (m, 150), dtype=np.uint8)
            np.testing.assert_array_equal(product("avxvnni", "cascadelake", f, w, x), x.astype(np.int64) @ w.T)


@pytest.mark.parametrize("cpu, isa", [(c, i) for i, c in CPUS.items()] + [("alderlake", "avxvnni")])
def test_isa_of(cpu, isa):
    assert lowbit.isa_of(tvm.target.Target({"kind": "llvm", "mcpu": cpu})).name == isa


def test_without_vbmi():
    target = tvm.target.Target({"kind": "llvm", "mcpu": "znver4", "mattr": ["-avx512vbmi"]})
    assert lowbit.isa_of(target).name == "avx512vnni"


def test_arm():
    """Compiled for an ARM with dot products, every format uses them."""
    target = tvm.target.Target({"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76"})
    assert lowbit.isa_of(target).name == "dotprod"
    for f in FORMATS.values():
        for m in (1, 4):
            text = tvm.compile(module(ISAS["dotprod"], Geometry(f, 16, 100, m)), target=target).mod.inspect_source("s")
            assert "sdot" in text


def test_choose():
    wide, narrow, ternary = (np.resize(v, (64, 8)) for v in ([-8, 7], [-2, 1], [-1, 0, 1]))
    large = np.resize([-1, 0, 1], (2560, 2560))
    for name in ("avx512vbmi", "avx2"):
        assert [lowbit.choose(w, ISAS[name]) for w in (wide, narrow, ternary, 2 * wide)] == ["int4", "int2", "int2", None]
    assert lowbit.choose(ternary[:16], ISAS["avx2"]) is None  # fewer rows than 8 bits pack as well
    assert lowbit.choose(ternary[:40], ISAS["avx2"]) == "int2"
    assert lowbit.choose(large, ISAS["avx512vbmi"]) == "base3" == lowbit.choose(np.resize(ternary, (80, 8)), ISAS["avx512vbmi"], streamed=True)
    assert {lowbit.choose(large, ISAS["avx2"]), lowbit.choose(large, ISAS["avx512vbmi"], m=16),
            lowbit.choose(large, ISAS["avx512vbmi"], streamed=False)} == {"int2"}


def damaged(byte: int, value: int) -> np.ndarray:
    data = lowbit.pack(np.zeros((3, 21), int), "base3")[0]
    data[byte] = value
    return data


REFUSED = (
    (lambda: lowbit.pack(np.full((2, 2), 2), "base3"), "base3 holds -1..1, given weights in 2..2; take a wider format"),
    (lambda: lowbit.pack(np.zeros((2, 2)), "int4"), "weights to pack: give integers (rows, k), given float64 (2, 2)"),
    (lambda: lowbit.pack(np.zeros((0, 2), int), "int4"), "weights to pack: give integers (rows, k), given int64 (0, 2)"),
    (lambda: lowbit.pack(np.zeros((2, 2), int), "int3"), "no packed weight format 'int3'; known: int4, int2, base3"),
    (lambda: lowbit.unpack(damaged(5, 243), "base3", 3, 21), "byte 5 of base3 weights is 243, the largest legal one is 242; they are damaged"),
    (lambda: lowbit.unpack(damaged(5, 255), "base3", 3, 21), "byte 5 of base3 weights is 255, the largest legal one is 242; they are damaged"),
    (lambda: lowbit.unpack(damaged(15, 120), "base3", 3, 21),
     "the padding of base3 weights (3, 21) is not zero; they are damaged or of another shape"),
    (lambda: lowbit.unpack(damaged(0, 0)[1:], "base3", 3, 21),
     "base3 weights (3, 21) take 384 bytes, given uint8 (383,); they are damaged or of another shape"),
    (lambda: Geometry(FORMATS["int4"], 4, MAX_K + 1),
     "packed weights (4, 65537) by 1 rows of activations: the kernels take 1..65536 weights a row; keep this layer at 8 bits"))


@pytest.mark.parametrize("mistake, message", REFUSED)
def test_refused(mistake, message):
    with pytest.raises(UserError) as e:
        mistake()
    assert str(e.value) == message
