"""Dense layers of few bits in compiled programs: packed in memory, equal on every value."""
import numpy as np
import pytest

import codegen
from ir import Conv, Dense, Graph, Input, Ints, Requant, run


def layer(rows: int, k: int, shape: tuple, lo: int, hi: int, acts: tuple[int, int], seed: int = 0) -> Graph:
    """A dense layer with a requant, weights in [lo, hi]."""
    r, g = np.random.default_rng(seed), Graph()
    g.add("x", Input(Ints((*shape, k), *acts)))
    w = r.integers(lo, hi + 1, (rows, k))
    w.flat[:2] = lo, hi
    g.add("y", Dense(w, r.integers(-999, 999, rows)), "x")
    g.add("q", Requant(r.integers(100, 200, rows), 18, 3, 0, 255, -1), "y")
    return g


def inputs(g: Graph, count: int) -> np.ndarray:
    t = g.inputs[0].type
    x = np.random.default_rng(1).integers(t.lo, t.hi + 1, (count, *t.shape))
    x[0] = t.hi
    return x


@pytest.mark.parametrize("target", ["llvm", "llvm -mcpu=x86-64-v3", "llvm -mcpu=x86-64-v2", "llvm -mcpu=x86-64"])
@pytest.mark.parametrize("rows, k, shape, lo, hi, acts, bytes_a_weight", [
    (512, 100, (), -1, 1, (0, 255), .25), (333, 111, (), -2, 1, (-128, 127), .25), (257, 129, (2,), -8, 7, (0, 15), .5)])
def test_equal_and_small(target, rows, k, shape, lo, hi, acts, bytes_a_weight):
    g = layer(rows, k, shape, lo, hi, acts)
    x = inputs(g, 3)
    assert (codegen.tvm.build(g, target=target)(x, 2) == run(g, x)).all()
    extra = 16 * rows + 2048  # bias, multipliers and clamps of each channel
    assert codegen.tvm.lowered(g, target).weights.nbytes < rows * k * bytes_a_weight * 1.35 + extra


def test_a_wide_layer_takes_five_weights_a_byte():
    """Where they come from memory and the processor can look their digits up."""
    g = layer(2560, 2048, (), -1, 1, (0, 255))
    x = inputs(g, 2)
    assert (codegen.tvm.build(g)(x) == run(g, x)).all()
    assert codegen.tvm.lowered(g).weights.nbytes < 2560 * 2048 * .28


def test_a_convolution_of_one_position_is_packed_too():
    g, r = Graph(), np.random.default_rng(0)
    g.add("x", Input(Ints((256, 1, 1), 0, 255)))
    g.add("y", Conv(r.integers(-8, 8, (300, 256, 1, 1)), r.integers(-99, 99, 300)), "x")
    g.add("q", Requant(r.integers(100, 200, 300), 18, 3, 0, 255, 0), "y")
    x = inputs(g, 3)
    assert (codegen.tvm.build(g)(x) == run(g, x)).all() and codegen.tvm.lowered(g).weights.nbytes < 300 * 256 * .75


def test_many_positions_stay_at_bytes():
    """There the time goes into products, not into reading weights."""
    g = layer(512, 100, (50,), -1, 1, (0, 255))
    x = inputs(g, 2)
    assert (codegen.tvm.build(g)(x) == run(g, x)).all() and codegen.tvm.lowered(g).weights.nbytes > 512 * 100
