"""Inferred types: sound always, tight where it can be, and a clear line where a graph is refused."""
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from strategies import graphs, samples

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Pad, Recur,
                Requant, Reshape, Slice, Sqrt, SumPool, Transpose, UserError, run)
from ir.infer import exact_bound, infer, kind

BOUNDS = st.tuples(st.integers(-300, 300), st.integers(-300, 300)).map(sorted)


@given(graphs(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_value_lies_in_its_type(g, seed):
    for name, v in run(g, samples(g, 8, seed), keep=True).items():
        t = g.nodes[name].type
        assert v.dtype == np.int64 and v.shape == (8, *t.shape)
        assert t.lo <= v.min() and v.max() <= t.hi, f"{name} of type {t} holds [{v.min()}, {v.max()}]"


def attains(op, t: Ints, corner):
    """The op's own extremes are attained: corner(weights of an output, sign) is the input that should do it."""
    g = Graph()
    g.add("y", op, g.add("x", Input(t)))
    rows = [op.weight[o] for o in range(len(op.weight))]
    y = run(g, np.stack([corner(w, s) for w in rows for s in (1, -1)]))
    assert (y.min(), y.max()) == (g.output.type.lo, g.output.type.hi)


@given(BOUNDS, st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32))
def test_dense_is_tight(bounds, o, i, seed):
    rng, (lo, hi) = np.random.default_rng(seed), bounds
    op = Dense(rng.integers(-128, 128, (o, i)), rng.integers(-9999, 9999, o))
    attains(op, Ints((i,), lo, hi), lambda w, s: np.where(w * s > 0, hi, lo))


@given(BOUNDS, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32))
def test_conv_is_tight(bounds, o, i, k, seed):
    rng, (lo, hi) = np.random.default_rng(seed), bounds
    op = Conv(rng.integers(-128, 128, (o, i, k, k)), rng.integers(-9999, 9999, o))
    attains(op, Ints((i, k, k), lo, hi), lambda w, s: np.where(w * s > 0, hi, lo))


@given(BOUNDS, st.lists(st.integers(1, 1000), min_size=3, max_size=3), st.integers(0, 12), st.integers(-50, 50))
def test_requant_is_tight_over_channels(bounds, mul, shift, zero):
    lo, hi = bounds
    g = Graph()
    g.add("y", Requant(mul, shift, zero, -100, 100), g.add("x", Input(Ints((3,), lo, hi))))
    y = run(g, np.array([[lo] * 3, [hi] * 3]))
    assert (y.min(), y.max()) == (g.output.type.lo, g.output.type.hi)


@given(BOUNDS, BOUNDS, st.integers(1, 3))
def test_sums_and_products_are_tight(a, b, k):
    ta, tb = Ints((2, k), *a), Ints((2, k), *b)
    ends = [p * q for p in a for q in b]
    assert infer(Add(), ta, tb) == Ints((2, k), a[0] + b[0], a[1] + b[1])
    assert infer(Mul(), ta, tb) == Ints((2, k), min(ends), max(ends))
    assert infer(MatMul(), ta, Ints((k, 2), *b)) == Ints((2, 2), k * min(ends), k * max(ends))


@given(BOUNDS, st.tuples(st.integers(1, 300), st.integers(1, 300)).map(sorted))
def test_quotients_are_tight(a, b):
    """Against floor(p/q + 1/2) of fractions, over every pair of ends."""
    ends = [math.floor(Fraction(p, q) + Fraction(1, 2)) for p in a for q in b]
    assert infer(Div(), Ints((1,), *a), Ints((1,), *b)) == Ints((1,), min(ends), max(ends))


@given(BOUNDS, st.lists(st.integers(-1000, 1000), min_size=3, max_size=3), st.integers(0, 12))
def test_requant_is_tight_over_either_sign(bounds, mul, shift):
    g = Graph()
    g.add("y", Requant(mul, shift, 0, -10**6, 10**6), g.add("x", Input(Ints((3,), *bounds))))
    y = run(g, np.array([[bounds[0]] * 3, [bounds[1]] * 3]))
    assert (y.min(), y.max()) == (g.output.type.lo, g.output.type.hi)


def test_narrow_reach_of_tables():
    """Only what x can pick counts."""
    assert infer(Lut([9, 1, 2, 77], -1), Ints((5,), 0, 1)) == Ints((5,), 1, 2)
    assert infer(Gather([[0, 9], [1, 2], [5, 3]]), Ints((4,), 1, 1)) == Ints((4, 2), 1, 2)


def test_padding_counts_only_where_there_is_some():
    x = Ints((1, 4), 3, 7)
    one = Conv([[[1, 1]]], [0], (1,), ((0, 0),), (1,), pad=-50)
    assert infer(one, x) == Ints((1, 3), 6, 14)
    assert infer(Conv([[[1, 1]]], [0], (1,), ((1, 0),), (1,), pad=-50), x) == Ints((1, 4), -100, 14)
    assert infer(SumPool((2,), (1,), ((0, 0),), -50), x) == Ints((1, 3), 6, 14)
    assert infer(Pad(((0, 0), (0, 2)), -50), x) == Ints((1, 6), -50, 7)


def test_bounds_beyond_a_word_do_not_wrap():
    """The bound of a wide sum is computed in Python's integers: refused, not wrapped around into a small one."""
    op, x = Dense([[2**62, 2**62]], [-2]), Ints((2,), 0, 8)
    with pytest.raises(UserError) as e:
        infer(op, x)
    assert str(e.value) == "dense: the result s67[1] in [-2, 73786976294838206462] needs 67 bits; at most 63 can be held"
    assert exact_bound(op, x) == 2**66 + 2


@pytest.mark.parametrize("lo, hi, bits, signed", [(0, 0, 1, False), (0, 1, 1, False), (0, 255, 8, False), (0, 256, 9, False),
                                                  (-1, 0, 1, True), (-128, 127, 8, True), (-129, 0, 9, True), (-1, 128, 9, True),
                                                  (5, 9, 4, False), (-9, -5, 5, True)])
def test_width_of_a_type(lo, hi, bits, signed):
    t = Ints((2, 3), lo, hi)
    assert (t.bits, t.signed, t.size, str(t)) == (bits, signed, 6, f"{'s' if signed else 'u'}{bits}[2x3] in [{lo}, {hi}]")


X = Ints((4, 8, 8), 0, 255)
W = np.ones((2, 4, 3, 3))
REFUSED = [
    (Dense(np.ones((3, 5)), np.zeros(3)), [X], "dense: weight (3, 5) needs a last axis of 5, not (4, 8, 8)"),
    (Dense(np.ones((3, 5)), np.zeros(2)), [X], "dense: weight (3, 5) and bias (2,) do not belong together"),
    (Dense(np.ones((0, 8)), np.zeros(0)), [X], "dense: weight (0, 8) and bias (0,) do not belong together"),
    (Conv(W, np.zeros(3)), [X], "conv: weight (2, 4, 3, 3) and bias (3,) do not belong to x (4, 8, 8)"),
    (Conv(W, np.zeros(2), groups=2), [X], "conv: weight (2, 4, 3, 3) in 2 groups needs 8 channels, not 4"),
    (Conv(W, np.zeros(2), groups=4), [X], "conv: 2 outputs do not divide into 4 groups"),
    (Conv(W, np.zeros(2), groups=0), [X], "conv: 2 outputs do not divide into 0 groups"),
    (Conv(np.ones((2, 4, 9, 1)), np.zeros(2)), [X],
     "conv: a window of (9, 1) (dilation (1, 1)) does not fit into (4, 8, 8) with padding ((0, 0), (0, 0))"),
    (Conv(W, np.zeros(2), stride=(0, 1)), [X],
     "conv: kernel (3, 3), stride (0, 1) and dilation (1, 1) are at least 1, "
     "padding ((0, 0), (0, 0)) is (before, after), at least 0"),
    (Conv(W, np.zeros(2), padding=((0, -1), (0, 0))), [X],
     "conv: kernel (3, 3), stride (1, 1) and dilation (1, 1) are at least 1, "
     "padding ((0, -1), (0, 0)) is (before, after), at least 0"),
    (Conv(W, np.zeros(2), stride=(1,)), [X],
     "conv: x (4, 8, 8) has 2 spatial axes; kernel (3, 3), stride (1,), padding ((0, 0), (0, 0)), dilation (1, 1)"),
    (Requant([], 1, 0, 0, 9), [X], "requant: multipliers of shape (0,); give one, or one an index of the axis"),
    (Requant([-2**55], 60, 0, 0, 9), [X],
     "requant: u8[4x8x8] in [0, 255] times -36028797018963968 with shift 60 needs more than 63 bits"),
    (Constant(np.ones((0, 2))), [], "constant: a value of shape (0, 2) holds nothing"),
    (Div(), [X, Ints((4,), 1, 2)], "div: shapes (4, 8, 8) and (4,) differ"),
    (Div(), [X, X], "div: the divisor u8[4x8x8] in [0, 255] is not proven to be at least 1; clamp it first"),
    (Div(), [Ints((1,), 0, 2**61), Ints((1,), 1, 2)], "div: u62[1] in [0, 2305843009213693952] by u2[1] in [1, 2] needs more than 63 bits"),
    (Sqrt(), [Ints((1,), -1, 4)], "sqrt: s4[1] in [-1, 4] is not within [0, 2**52); clamp or scale it first"),
    (Sqrt(), [Ints((1,), 0, 2**52)], "sqrt: u53[1] in [0, 4503599627370496] is not within [0, 2**52); clamp or scale it first"),
    (Expand((4, 8)), [Ints((2, 8), 0, 1)], "expand: (2, 8) does not become (4, 8) by repeating axes of length 1"),
    (Recur(1, 0, 9), [X, Ints((4,), 0, 1)], "recur: shapes (4, 8, 8) and (4,) differ or have no axis of steps"),
    (Recur(1, 0, 9), [X, X, X], "recur: a first state of (4, 8, 8) instead of (1, 8, 8)"),
    (Recur(-1, 0, 9), [X, X], "recur: shift -1 or bounds [0, 9]"),
    (Recur(1, 0, 2**60), [X, X], "recur: u8[4x8x8] in [0, 255] times a state within [0, 1152921504606846976] needs more than 63 bits"),
    (Requant([1], 1, 0, 0, 9, 3), [X], "requant: axis 3 of shape (4, 8, 8)"),
    (Requant([1, 2], 1, 0, 0, 9), [X], "requant: 2 multipliers for axis 0 of shape (4, 8, 8)"),
    (Requant([1], -1, 0, 0, 9), [X], "requant: shift -1 or bounds [0, 9]"),
    (Requant([1], 1, 0, 9, 0), [X], "requant: shift 1 or bounds [9, 0]"),
    (Requant([2**55], 60, 0, 0, 9), [X],
     "requant: u8[4x8x8] in [0, 255] times 36028797018963968 with shift 60 needs more than 63 bits"),
    (Requant([1], 62, 0, 0, 9), [X], "requant: u8[4x8x8] in [0, 255] times 1 with shift 62 needs more than 63 bits"),
    (Requant([1], 1, 2**62, 0, 9), [X], "requant: zero 4611686018427387904 or bounds [0, 9] need more than 63 bits"),
    (Requant([1], 1, 0, 0, 2**64), [X], "requant: zero 0 or bounds [0, 18446744073709551616] need more than 63 bits"),
    (Add(), [X, Ints((4,), 0, 1)], "add: shapes (4, 8, 8) and (4,) differ"),
    (Mul(), [X, Ints((4,), 0, 1)], "mul: shapes (4, 8, 8) and (4,) differ"),
    (Mul(), [Ints((1,), 0, 2**40)] * 2, "mul: the result u81[1] in [0, 1208925819614629174706176] needs 81 bits; at most 63 can be held"),
    (MatMul(), [X, Ints((4, 7, 8), 0, 1)], "matmul: cannot multiply (4, 8, 8) by (4, 7, 8)"),
    (MaxPool((2, 2), (2, 2), ((2, 0), (0, 0))), [X], "maxpool: padding ((2, 0), (0, 0)) is as wide as the kernel (2, 2)"),
    (MaxPool((2,), (2,)), [X],
     "maxpool: x (4, 8, 8) has 2 spatial axes; kernel (2,), stride (2,), padding ((0, 0), (0, 0)), dilation (1,)"),
    (SumPool((9, 9), (1, 1)), [X],
     "sumpool: a window of (9, 9) (dilation (1, 1)) does not fit into (4, 8, 8) with padding ((0, 0), (0, 0))"),
    (Lut(np.arange(255), 0), [X], "lut: a table for [0, 254] does not cover u8[4x8x8] in [0, 255]"),
    (Concat(3), [X, X], "concat: axis 3 of shape (4, 8, 8)"),
    (Concat(0), [X, Ints((4, 8, 7), 0, 1)], "concat: shapes (4, 8, 8), (4, 8, 7) differ beside axis 0"),
    (Concat(0), [X], "concat does not take 1 arguments"),
    (Reshape((4, 8)), [X], "reshape: (4, 8, 8) has 256 elements, (4, 8) has 32"),
    (Transpose((0, 1)), [X], "transpose: (0, 1) is no permutation of the axes of (4, 8, 8)"),
    (Slice((0, 0, 0), (4, 9, 8), (1, 1, 1)), [X], "slice: [(0, 0, 0):(4, 9, 8):(1, 1, 1)] does not lie within (4, 8, 8)"),
    (Pad(((0, 0),)), [X], "pad: padding ((0, 0),) is not (before, after), at least 0, of every axis of (4, 8, 8)"),
    (Pad(((0, 0), (0, 0), (0, -1))), [X],
     "pad: padding ((0, 0), (0, 0), (0, -1)) is not (before, after), at least 0, of every axis of (4, 8, 8)"),
    (Gather(np.ones((255, 2))), [X], "gather: a table of 255 rows does not cover u8[4x8x8] in [0, 255]"),
    (Add(), [X], "add does not take 1 arguments"),
    (Input(X), [X], "input does not take 1 arguments"),
    (Input(Ints((1,), 0, 2**63)), [],
     "input: the result u64[1] in [0, 9223372036854775808] needs 64 bits; at most 63 can be held"),
]


@pytest.mark.parametrize("op, args, line", REFUSED, ids=[f"{kind(op)}-{i}" for i, (op, _, _) in enumerate(REFUSED)])
def test_refusals(op, args, line):
    with pytest.raises(UserError) as e:
        infer(op, *args)
    assert str(e.value) == line


def test_refusals_name_the_node():
    g = Graph()
    g.add("x", Input(X))
    for add, line in [(lambda: g.add("x", Input(X)), "node 'x' exists already"),
                      (lambda: g.add("y", Add(), "x", "z"), "node 'y' reads ['z'], not in the graph (it has x)"),
                      (lambda: g.add("y", Lut([1], 0), "x"), "node 'y': lut: a table for [0, 0] does not cover u8[4x8x8] in [0, 255]"),
                      (lambda: Ints((3, 0), 0, 1), "no integers of shape (3, 0) lie in [0, 1]"),
                      (lambda: Ints((3,), 1, 0), "no integers of shape (3,) lie in [1, 0]"),
                      (lambda: Graph().output, "the graph is empty"),
                      (lambda: Graph(g.nodes, "z").output, "the graph's result is 'z', not one of its nodes (x)")]:
        with pytest.raises(UserError) as e:
            add()
        assert str(e.value) == line
    assert list(g.nodes) == ["x"]


@pytest.mark.parametrize("bad", [[0.5], [np.nan], [2**64], [1e30]])
def test_constants_are_integers(bad):
    with pytest.raises(UserError, match="^a constant of the graph holds integers of at most 64 bits; got fractions or larger numbers$"):
        Requant(bad, 0, 0, 0, 1)
    assert Requant([3.0], 0, 0, 0, 1).mul.dtype == np.int64


def test_attributes_become_pythons_own():
    """numpy's integers would wrap around in the arithmetic of intervals."""
    r = Requant([1], np.int8(3), np.int64(0), np.int32(-128), np.uint8(127))
    assert [type(v) for v in (r.shift, r.zero, r.lo, r.hi)] == [int] * 4
    t = infer(Mul(), *[Ints([np.int64(2)], np.int32(0), np.int32(2**31 - 1))] * 2)
    assert t == Ints((2,), 0, (2**31 - 1) ** 2)
    with pytest.raises(TypeError):
        Reshape((2.5,))


def test_bound_of_partial_sums():
    """What no partial sum exceeds, in any order: also far from zero on the negative side, and out in the padding."""
    dense = Dense([[3, -4], [1, 1]], [-5, 100])
    assert exact_bound(dense, Ints((2,), 0, 10)) == 120 and exact_bound(dense, Ints((2,), -20, 10)) == 145
    conv = Conv([[[3, -4]]], [7], (1,), ((1, 0),), (1,), pad=-1000)
    assert exact_bound(conv, Ints((1, 4), 0, 10)) == 7007
    g = Graph()
    g.add("y", Conv([[[4097]]], [0], (1,), ((1, 0),), (1,), pad=-4099), g.add("x", Input(Ints((1, 1), 0, 1))))
    assert run(g, [[[1]]]).tolist() == [[[-4097 * 4099, 4097]]]  # beyond 2**24 only in the padding


def test_wide_and_negative_is_exact():
    g = Graph()
    g.add("y", Dense([[1, 1]], [0]), g.add("x", Input(Ints((2,), -2**24 - 1, 0))))
    assert run(g, [[-2**24 - 1, 0], [-2**24 - 1, -2]]).tolist() == [[-2**24 - 1], [-2**24 - 3]]
