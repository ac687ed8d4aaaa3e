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
SHAPES = ((5, 7, 1), (37, 131, 1), (16, 160, 1), (20, 3, 2), (37, 83, 10))  # rows, k, m


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
        w = np.zeros((20, 50), np.int64)
        w[18, 45] = f.hi
        data, zero = lowbit.pack(w, f.name)[0], lowbit.pack(0 * w, f.name)[0]
        line, column = divmod(45, 4 * f.fields)
        at = f.lines(50) * 64 + line * 64 + (18 - 16) * 4 + column % 4  # of the second panel
        assert np.flatnonzero(data != zero).tolist() == [at]
        assert data[at] - zero[at] == f.hi * f.radix ** (column // 4)


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
        np.testing.assert_array_equal(product(isa, CPUS[isa], f, w, x, threads=1 + rows % 2), x.astype(np.int64) @ w.T, f"{rows} {k} {m}")


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
    """Each of the 243 bytes of base3 once, on each instruction set."""
    digits = np.arange(243)[:, None] // 3 ** np.arange(5) % 3 - 1
    for isa, cpu in CPUS.items():
        if runs_here(cpu):
            for m in (1, 3):
                for j in range(5):  # byte b in row b: its field j alone meets an activation that is not 0
                    w, x = np.zeros((243, 20), int), np.zeros((m, 20), np.uint8)
                    w[:, ::4], x[:, 4 * j] = digits, 200
                    np.testing.assert_array_equal(product(isa, cpu, FORMATS["base3"], w, x), np.repeat(200 * digits[:, j][None], m, 0))


def test_narrow_vnni():
    """The kernels of AVX-VNNI, on an AVX-512 machine that has the same instruction."""
    if not runs_here("cascadelake"):
        pytest.skip("no VNNI here")
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
    wide, narrow = np.resize([-8, 7], (8, 8)), np.resize([-2, 1], (8, 8))
    ternary, large = np.resize([-1, 0, 1], (8, 8)), np.resize([-1, 0, 1], (2560, 2560))
    for name in ("avx512vbmi", "avx2"):
        assert [lowbit.choose(w, ISAS[name]) for w in (wide, narrow, ternary, 2 * wide)] == ["int4", "int2", "int2", None]
    assert lowbit.choose(large, ISAS["avx512vbmi"]) == "base3" == lowbit.choose(ternary, ISAS["avx512vbmi"], streamed=True)
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
    (lambda: lowbit.unpack(damaged(66, 120), "base3", 3, 21),
     "the padding of base3 weights (3, 21) is not zero; they are damaged or of another shape"),
    (lambda: lowbit.unpack(damaged(0, 0)[1:], "base3", 3, 21),
     "base3 weights (3, 21) take 128 bytes, given uint8 (127,); they are damaged or of another shape"),
    (lambda: Geometry(FORMATS["int4"], 4, MAX_K + 1),
     "packed weights (4, 65537) by 1 rows of activations: the kernels take 1..65536 weights a row; keep this layer at 8 bits"))


@pytest.mark.parametrize("mistake, message", REFUSED)
def test_refused(mistake, message):
    with pytest.raises(UserError) as e:
        mistake()
    assert str(e.value) == message
