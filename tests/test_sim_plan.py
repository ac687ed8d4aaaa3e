"""The pure parts of the generator: orders of streams, tables that repeat, how far a module must have read."""
import itertools

import numpy as np
import pytest

from hw.dataflow.fifo import wanted
from hw.dataflow.flow import flows
from hw.dataflow.orders import beat_moves, channels_inner, divisors, inner_axis, moves, periodic, renamed
from ir import Concat, Conv, Graph, Input, Ints, MatMul, MaxPool, Pad, Slice

SHAPE = (4, 3, 2)
X = np.random.default_rng(0).permutation(24).reshape(SHAPE)


@pytest.mark.parametrize("axis", range(3))
def test_channels_inner(axis):
    order = channels_inner(SHAPE, axis)
    assert np.array_equal(X.ravel()[order], np.moveaxis(X, axis, -1).ravel())
    assert inner_axis(order, SHAPE) == axis
    assert inner_axis(order[::-1], SHAPE) is None


@pytest.mark.parametrize("perm", list(itertools.permutations(range(3))))
def test_a_transpose_renames(perm):
    """The stream stays; read as the transposed tensor it has the renamed order."""
    order = channels_inner(SHAPE, 0)
    new = renamed(order, np.arange(24).reshape(SHAPE).transpose(perm).ravel())
    assert np.array_equal(X.ravel()[order], X.transpose(perm).ravel()[new])


def test_a_slice_renames():
    order, cut = channels_inner(SHAPE, 0), (slice(1, 4, 2), slice(0, 2), slice(1, 2))
    new = renamed(order, np.arange(24).reshape(SHAPE)[cut].ravel())
    kept = [v for v in X.ravel()[order] if v in X[cut]]
    assert np.array_equal(X[cut].ravel()[new], kept)


def test_moves():
    have, want = channels_inner(SHAPE, 0), channels_inner(SHAPE, 2)
    move = moves(have, want)
    assert np.array_equal(X.ravel()[have][move], X.ravel()[want])
    assert np.array_equal(beat_moves(move, 1), move) and beat_moves(move, 2) is None
    pairs = np.array([2, 3, 0, 1])
    assert beat_moves(pairs, 2).tolist() == [1, 0] and beat_moves(pairs, 4) is None


@pytest.mark.parametrize("repeat,rows,times", [(1, 1, 6), (3, 1, 1), (2, 3, 2), (1, 4, 3), (5, 2, 1)])
def test_periodic(repeat, rows, times):
    """The shortest table that plays the same rows."""
    whole = np.tile(np.repeat(np.arange(rows * 2).reshape(rows, 2), repeat, axis=0), (times, 1))
    table, again = periodic(whole)
    assert np.array_equal(np.resize(np.repeat(table, again, axis=0), whole.shape), whole)
    assert len(table) == rows


def test_divisors():
    assert divisors(12) == [1, 2, 3, 4, 6, 12] and divisors(49) == [1, 7, 49] and divisors(1) == [1]


WINDOWS = [((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)), ((3, 2), (2, 1), ((1, 2), (0, 1)), (1, 2)), ((2, 2), (3, 2), ((0, 0), (2, 2)), (2, 1)),
           ((1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)), ((1, 3), (1, 1), ((2, 2), (2, 2)), (1, 1))]


@pytest.mark.parametrize("kernel,stride,padding,dilation", WINDOWS)
def test_wanted_by_a_window(kernel, stride, padding, dilation):
    """Pixels up to the last one inside the map of this window and of all before it."""
    g = Graph()
    g.add("x", Input(Ints((2, 6, 5), 0, 1)))
    g.add("y", Conv(np.ones((3, 2, *kernel)), np.zeros(3), stride, padding, dilation), "x")
    out, last, need = g.output.type.shape[1:], 0, [0]
    for at in np.ndindex(*out):
        rows, cols = ([a * s - p[0] + k * d for k in range(n)] for a, s, p, d, n in zip(at, stride, padding, dilation, kernel))
        last = max([last, *(r * 5 + c + 1 for r in rows for c in cols if 0 <= r < 6 and 0 <= c < 5)])
        need += [last * 2] * 3
    got = wanted(g, g.nodes["y"], 0, flows(g))
    assert (got >= need).all(), "a buffer computed from this could be too small"
    if max(max(p) for p in padding) < min(kernel):
        assert np.array_equal(got, need)


def test_wanted_by_others():
    g = Graph()
    g.add("x", Input(Ints((2, 3), 0, 1)))
    g.add("z", Input(Ints((3, 2), 0, 1)))
    g.add("m", MatMul(), "x", "z")
    g.add("cut", Slice((0, 1), (2, 3), (1, 1)), "x")
    g.add("pad", Pad(((0, 0), (1, 0))), "x")
    g.add("cat", Concat(1), "x", "cut")
    g.add("i", Input(Ints((1, 4), 0, 1)))
    g.add("p", MaxPool((2,), (2,), ((0, 0),)), "i")
    plan = flows(g)
    need = lambda n, k=0: wanted(g, g.nodes[n], k, plan).tolist()
    assert need("m", 0) == [0, 3, 3, 6, 6] and need("m", 1) == [0, 6, 6, 6, 6]
    assert need("cut") == [0, 2, 3, 5, 6]
    assert need("pad") == [0, 0, 1, 2, 3, 3, 4, 5, 6]
    assert need("cat", 0) == [0, 1, 2, 3, 3, 3, 4, 5, 6, 6, 6] and need("cat", 1) == [0, 0, 0, 0, 1, 2, 2, 2, 2, 3, 4]
    assert need("p") == [0, 2, 4]
