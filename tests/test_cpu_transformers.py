"""What transformers are made of, compiled for the kinds of processors that this machine is: equal to `ir.run` on every value."""
import subprocess

import numpy as np
import pytest
import tvm
from lm_nets import small_encoder, small_llama
from op_cases import pair
from strategies import samples

import codegen
import ir
from codegen.cpu.rowgroups import row_groups
from ir import Add, Concat, Constant, Div, Expand, Graph, Ints, Lut, MatMul, MaxPool, Mul, Plan, Requant, Sqrt, SumPool, Transpose
from quant import calibrate, quantize

HERE = {str(name) for name, on in tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")().items() if on}
TARGETS = [t for t, needs in (("llvm", ""), ("llvm -mcpu=alderlake", "avxvnni"), ("llvm -mcpu=x86-64-v3", "avx2"),
                              ("llvm -mcpu=x86-64-v2", "sse4.1"), ("llvm -mcpu=x86-64", "")) if not needs or needs in HERE]
targets = pytest.mark.parametrize("target", TARGETS)


def equal(g: Graph, target: str, count: int = 2) -> None:
    x = samples(g, count)
    model, y = codegen.tvm.build(g, target=target), ir.run(g, x)
    for threads in (1, 3):
        assert (model(x, threads=threads) == y).all()


def scores(heads: int, rows: int, inner: int, columns: int, a, b, *after) -> Graph:
    """a times b transposed, as attention has it."""
    g = Graph()
    g.add("a", ir.Input(Ints((heads, rows, inner), *a)))
    g.add("b", Transpose((0, 2, 1)), g.add("k", ir.Input(Ints((heads, columns, inner), *b))))
    g.add("m", MatMul(), "a", "b")
    for i, op in enumerate(after):
        g.add(f"n{i}", op, "m" if not i else f"n{i - 1}")
    return g


BYTES, SIGNED, ASIDE, WIDE = (0, 255), (-128, 127), (-131, 124), (-300, 300)
TO_BYTE = Requant([19], 12, 117, 0, 255)


@targets
@pytest.mark.parametrize("shape, a, b", [((1, 1, 1, 1), BYTES, BYTES), ((2, 5, 3, 17), ASIDE, ASIDE), ((3, 13, 32, 65), ASIDE, BYTES),
                                         ((1, 40, 66, 33), BYTES, SIGNED), ((2, 7, 9, 16), WIDE, BYTES), ((1, 3, 130, 97), (900, 1155), ASIDE)])
def test_products_of_activations(target, shape, a, b):
    heads, rows, inner, columns = shape
    equal(scores(*shape, a, b, TO_BYTE), target)
    equal(pair(MatMul(), Ints((heads, rows, inner), *a), Ints((heads, inner, columns), *b)), target)


def heads() -> Graph:
    """Rows of three heads side by side, their scores with themselves, and a requant for each column."""
    g = Graph()
    g.add("x", ir.Input(Ints((9, 3, 20), *ASIDE)))
    g.add("q", Requant([1], 1, 3, -60, 60), "x")
    g.add("heads", Transpose((1, 0, 2)), "q")
    g.add("turned", Transpose((1, 2, 0)), "q")
    g.add("m", MatMul(), "heads", "turned")
    g.add("y", Requant(np.arange(1, 10), 12, 3, -128, 127, -1), "m")
    return g


@targets
def test_heads_are_views(target): equal(heads(), target)


def rows(height: int, width: int, lo: int, hi: int) -> tuple[Graph, dict]:
    """A graph of rows, and the options of a pool over one."""
    g = Graph()
    g.add("x", ir.Input(Ints((height, width), lo, hi)))
    return g, dict(kernel=(width,), stride=(width,), padding=((0, 0),))


def softmax(height: int, width: int, sharp: float = 30.0) -> Graph:
    g, row = rows(height, width, 0, 255)
    g.add("max", MaxPool(**row), "x")
    g.add("minus", Requant([-1], 0, 0, -255, 0), "max")
    g.add("tops", Expand((height, width)), "minus")
    g.add("below", Add(), "x", "tops")
    g.add("far", Requant([1], 0, 0, -255, 0), "below")
    g.add("exp", Lut(np.rint(2**23 * np.exp(np.arange(-255, 1) / sharp)).astype(np.int64), -255), "far")
    g.add("sum", SumPool(**row), "exp")
    g.add("total", Requant([1], 11, 0, 4096, 1 << 40), "sum")
    g.add("totals", Expand((height, width)), "total")
    g.add("share", Div(), "exp", "totals")
    g.add("y", Requant([18824], 17, 0, 0, 255), "share")
    return g


def norm(height: int, width: int, after: bool = False) -> Graph:
    """A layer norm of 16-bit values, with a gain for each column and a bias; after: its root is read elsewhere as well."""
    g, row = rows(height, width, -32768, 32767)
    g.add("sum", SumPool(**row), "x")
    g.add("minus", Requant([-1], 0, 0, -1 << 40, 1 << 40), "sum")
    g.add("mean", Expand((height, width)), "minus")
    g.add("times", Requant([width], 0, 0, -1 << 40, 1 << 40), "x")
    g.add("centred", Add(), "times", "mean")
    g.add("narrow", Requant([1], 3, 0, -1 << 40, 1 << 40), "centred")
    g.add("squares", Mul(), "narrow", "narrow")
    g.add("power", SumPool(**row), "squares")
    g.add("eps", Requant([4], 0, 1234, 1234, 1 << 51), "power")
    g.add("sqrt", Sqrt(), "eps")
    g.add("root", Expand((height, width)), "sqrt")
    g.add("wide", Requant([30000], 0, 0, -1 << 50, 1 << 50), "narrow")
    g.add("ratio", Div(), "wide", "root")
    g.add("scaled", Requant(np.arange(width) * 37 % 911 + 1, 9, 0, -32768, 32767, -1), "ratio")
    g.add("bias", Constant(np.arange(width)[None] * 7 % 301 - 150))
    g.add("biases", Expand((height, width)), "bias")
    g.add("biased", Add(), "scaled", "biases")
    g.add("y", Requant([1], 6, 135, 0, 255), "biased")
    if after:
        g.add("both", Concat(0), "y", "root")
    return g


@pytest.mark.slow
@pytest.mark.parametrize("target, made", [*((t, small_encoder) for t in TARGETS), (TARGETS[0], small_llama)])
def test_whole(target, made):
    """An encoder with layer norms; a decoder with a mask, rotary positions and gated layers."""
    net, x = made()
    q = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, x))
    g, codes = q.lower(), q.encode(x).detach().long().numpy()
    assert (codegen.tvm.build(g, target=target)(codes[:2]) == ir.run(g, codes[:2])).all()


@targets
@pytest.mark.parametrize("height, width", [(1, 2), (5, 17), (33, 65), (3, 200)])
def test_rows(target, height, width):
    equal(softmax(height, width), target)
    equal(norm(height, width), target)
    equal(norm(height, width, after=True), target)


def test_a_row_is_one_kernel():
    for g in (softmax(7, 20), norm(7, 20)):
        assert [group.sink.name for group in row_groups(g)] == ["y"] and len(row_groups(g)[0].body) >= len(g.nodes) - 3
    assert not any(n.name == "y" for group in row_groups(norm(7, 20, after=True)) for n in group.body)


@targets
@pytest.mark.parametrize("lo, hi, low, high", [(0, 255, 0, 255), (-128, 127, -128, 127), (-9, 40, -30000, 30000), (-255, 0, 5, 1 << 24),
                                               (0, 100, 7, 7), (-256, 0, -5, 1 << 23), (-700, 300, 0, 255),
                                               (0, 3, -(1 << 31), (1 << 31) - 1), (0, 9, 0, 1 << 40)])
def test_tables(target, lo, hi, low, high):
    table = np.random.default_rng(3).integers(low, high + 1, hi - lo + 1)
    g = Graph()
    g.add("x", ir.Input(Ints((5, 37), lo, hi)))
    g.add("y", Lut(table, lo), "x")
    equal(g, target)


@pytest.mark.parametrize("a, b", [((0, 1 << 23), (4096, 1 << 19)), ((-90000, 90000), (1, 300)), ((-5, 5), (1, 2)), ((0, 1 << 40), (3, 1 << 30)),
                                  ((0, (1 << 20) - 1), (1, 1)), ((0, 1 << 29), (500, 600))])
def test_quotients(a, b):
    """At the edges of the ways to divide, ties among them."""
    g, _ = rows(40, 33, *a)
    g.add("d", ir.Input(Ints((40, 33), *b)))
    g.add("y", Div(), "x", "d")
    r = np.random.default_rng(5)
    d = r.integers(b[0], b[1] + 1, (3, 40, 33))
    x = np.clip(r.integers(a[0], a[1] + 1, d.shape) // d * d + (d + r.integers(-1, 2, d.shape)) // 2, *a)
    assert (codegen.tvm.build(g)({"x": x, "d": d}) == ir.run(g, {"x": x, "d": d})).all()


@pytest.mark.slow
@pytest.mark.parametrize("g", [heads(), softmax(5, 37), norm(5, 37)], ids=["heads", "softmax", "norm"])
def test_on_arm_in_an_emulator(g, arm, tmp_path):
    x = samples(g, 3)
    codegen.tvm.build(g, tmp_path, "aarch64 -mcpu=cortex-a76")
    np.save(tmp_path / "x.npy", x)
    subprocess.run([arm, "-cpu", "max", "./model", "x.npy", "out.npy"], cwd=tmp_path, check=True)
    assert (np.load(tmp_path / "out.npy") == ir.run(g, x)).all()
