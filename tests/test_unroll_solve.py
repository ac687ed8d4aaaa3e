"""Constant matrices as graphs of adders: the graph is the matrix, and it is small."""
import numpy as np
import pytest

from hw.unroll import cost
from hw.unroll.adders import Adders, Term
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
