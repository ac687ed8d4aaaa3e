"""Constant matrices as graphs of adders: the graph is the matrix, and it is small."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from hw.unroll import cost
from hw.unroll.adders import Adders, Term
from hw.unroll.build import build
from hw.unroll.decompose import differences, tree
from hw.unroll.digits import weight
from hw.unroll.solve import fuse, solve
from hw.unroll.sums import sums_of
from ir import UserError


def test_constants_are_part_of_a_value():
    g = Adders([0, -8], [255, 7], [(Term(0), Term(1, 2, True)), (Term(2),)], [Term(3, 1), None], [5, 6], {0: 31, 1: -3})
    x = np.array([[0, 7], [255, -8], [3, 2]])
    np.testing.assert_array_equal(g.run(x), np.stack([2 * (x[:, 0] - 4 * x[:, 1] + 28) + 5, [6] * 3], 1))
    np.testing.assert_array_equal(g.matrix(), [[2, -8], [0, 0]])
    np.testing.assert_array_equal(g.totals(), [61, 6])
    assert (g.intervals()[0][2], g.intervals()[1][2]) == (3, 255 + 32 + 31)


def test_operands_are_unsigned_and_exact():
    g = Adders([0, -8, -3], [200, 7, 3], [(Term(0, 1, True), Term(1), Term(2, 3, True))], [Term(3)])
    lo, hi = g.intervals()
    parts, rest = cost.operands(g, 0, lo, hi)
    x = np.stack([a.ravel() for a in np.meshgrid(np.arange(201), np.arange(-8, 8), np.arange(-3, 4))], 1)
    total = sum((((x[:, p.value] >> p.drop) & (2**p.width - 1)) ^ p.flips) << p.shift for p in parts) + rest
    np.testing.assert_array_equal(total, g.run(x)[:, 0])


def test_no_free_lunch_for_unknown_families():
    with pytest.raises(UserError, match="unknown FPGA family of an unrolled design 'virtex2'"):
        cost.cost(Adders([0], [1]), "virtex2")
    with pytest.raises(UserError, match="at least one level of adders in a stage; given 0"):
        cost.ff_bits(Adders([0], [1]), 0)


def same(g: Adders, matrix, bias) -> None:
    """The graph is the map, in its coefficients and when it runs; its intervals hold."""
    np.testing.assert_array_equal(g.matrix(), matrix)
    np.testing.assert_array_equal(g.totals(), bias)
    x = np.random.default_rng(0).integers(g.lo, g.hi + 1, (40, g.inputs))
    np.testing.assert_array_equal(g.run(x), x @ np.asarray(matrix).T + bias)


matrices = st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(st.integers(-40, 40) | st.sampled_from([-1, 0, 0, 1]), min_size=n, max_size=n),
                                                      min_size=1, max_size=6))


@settings(max_examples=100, deadline=None)
@given(matrices, st.sampled_from(list(cost.COSTS)), st.sampled_from([(0, 255), (-8, 7), (-3, 9), (0, 1), (2, 2)]), st.data())
def test_any_matrix(rows, family, interval, data):
    matrix = np.array(rows)
    bias = np.array(data.draw(st.lists(st.integers(-99, 99) | st.just(0), min_size=len(rows), max_size=len(rows))))
    g = solve(matrix, *interval, bias, family, effort=data.draw(st.integers(0, 3)))
    same(g, matrix, bias)
    assert max((len(t) for t in g.adds), default=0) <= cost.COSTS[family].terms
    same(fuse(g, "xcup"), matrix, bias)


@pytest.mark.parametrize("family", ["xcup", "ecp5"])
def test_the_least_depth_can_be_had(family):
    rng = np.random.default_rng(3)
    matrix, bias = rng.integers(-1, 2, (12, 27)), rng.integers(1, 9, 12)
    matrix[5], matrix[7] = -2 * matrix[3], matrix[0]
    matrix[1], matrix[2:] = 1, matrix[2:] * (np.arange(27) < 9)
    least = {"xcup": 4, "ecp5": 6}[family]      # 27 terms and a constant
    g = solve(matrix, 0, 15, bias, family, max_depth=least)
    same(g, matrix, bias)
    assert g.depth == least
    with pytest.raises(UserError, match=f"max_depth={least - 1}: adders of {cost.COSTS[family].terms} need {least} levels for this matrix"):
        solve(matrix, 0, 15, bias, family, max_depth=least - 1)


def test_the_same_call_gives_the_same_graph():
    matrix = np.random.default_rng(5).integers(-9, 10, (8, 12))
    a, b = (solve(matrix, -8, 7, effort=3, seed=4) for _ in range(2))
    assert a.adds == b.adds and a.outputs == b.outputs and a.constants == b.constants


@pytest.mark.parametrize("args, message", [
    ((np.ones((2, 2)), 0, 1), r"a matrix of integers \(outputs, inputs\) is needed; given float64 \(2, 2\)"),
    ((np.ones(2, int), 0, 1), r"a matrix of integers \(outputs, inputs\) is needed; given int64 \(2,\)"),
    ((np.ones((2, 3), int), [0, 0], 1), r"lo and hi are one number or 3; given \(2,\) and \(3,\)"),
    ((np.ones((2, 3), int), 0, 1, [1]), r"one bias for each of the 2 outputs is needed; given \(1,\)")])
def test_what_cannot_be_solved(args, message):
    with pytest.raises(UserError, match=message):
        solve(*args)


def test_differences_are_the_matrix():
    """Rows close to each other are written as one and a few digits; as deep as the tree may be."""
    rng = np.random.default_rng(2)
    rows = rng.integers(-7, 8, (1, 9)) + (rng.random((8, 9)) < 0.2) * rng.integers(-2, 3, (8, 9))
    matrix = np.concatenate([rows, -rows[:2], np.zeros((1, 9), int)])
    for steps in (1, 2, 9):
        sums = differences(matrix, np.full(9, 15), steps)
        same(build(sums, np.full(9, -8), np.full(9, 7), np.arange(11), cost.COSTS["xcup"], None), matrix, np.arange(11))
        assert sum(len(t) - 1 for t in sums.rows.values()) <= weight(matrix).sum() / 2
    far = {-1: -1}
    for row, parent, _ in tree(matrix, 2): far[row] = far[parent] + 1
    assert max(far.values()) == 2


@pytest.mark.parametrize("family, most", [("xcup", 0.97), ("ecp5", 0.98)])
def test_search_pays(family, most):
    """A ternary matrix: far below one adder a digit; the search beats the greedy pass, of which it is a continuation."""
    matrix = np.random.default_rng(8).integers(-1, 2, (20, 24))
    greedy, found = (cost.cost(solve(matrix, 0, 255, None, family, effort=e), family) for e in (0, 10))
    apart = cost.cost(apart_of(matrix, family), family)
    assert greedy < 0.8 * apart and found < most * greedy


def apart_of(matrix, family) -> Adders:
    """Every row added up on its own."""
    return build(sums_of(matrix, np.full(matrix.shape[1], 255), share=False), np.zeros(matrix.shape[1], int), np.full(matrix.shape[1], 255),
                 np.zeros(len(matrix), int), cost.COSTS[family], None)


def test_what_an_adder_costs():
    """Two bytes; one 2 bits up; subtracted: with the constant that makes up for the complement, or with signs extended along a chain."""
    def of(family, terms, **more): return cost.cost(Adders([0, 0], [255, 255], [terms], [Term(2)], **more), family)
    both, apart, minus = (Term(0), Term(1)), (Term(0), Term(1, 2)), (Term(0), Term(1, 0, True))
    assert [of("xcup", t) for t in (both, apart, (Term(0), Term(1, 8)))] == [8, 6, 0]
    assert of("xcup", minus, constants={0: 255}) == 8
    assert [of("ecp5", t) for t in (both, apart, minus)] == [9 + 1.2, 9 + 1.2, 9 + 1.2]
    assert of("ecp5", (Term(0), Term(1, 8))) == 0


@pytest.mark.slow
def test_terms_that_cancel():
    """Sums of which one term, or none, is left while shared sums are taken apart."""
    matrix = np.random.default_rng(3).integers(-31, 32, (20, 24))
    same(solve(matrix, 0, 63, None, "ecp5", effort=25, seed=3), matrix, np.zeros(20, int))
