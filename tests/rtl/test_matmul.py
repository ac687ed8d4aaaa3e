"""qs_matmul against the reference: foldings, signs, one-element axes, frames in a row."""
import pytest

from checks import agree, check, random_ints
from ir import Ints, MatMul
from ir.infer import infer

pytestmark = pytest.mark.slow

SHAPES = [  # frames, M, K, N, KLanes, Lanes, range of a, range of b
    (12, 2, 3, 4, 1, 1, (-8, 7), (-8, 7)), (12, 3, 4, 2, 2, 2, (0, 15), (-8, 7)), (12, 1, 4, 6, 4, 3, (-128, 127), (0, 255)),
    (12, 4, 1, 1, 1, 1, (0, 1), (0, 1)), (30, 1, 1, 3, 1, 3, (-1, 0), (-8, 7)), (12, 2, 6, 4, 3, 1, (0, 3), (0, 3)),
    (6, 5, 8, 8, 1, 8, (-512, 511), (-2, 1)), (12, 3, 2, 2, 2, 1, (5, 6), (-3, -2)),
]


def test_foldings(tmp_path):
    cases = []
    for frames, m, k, n, k_lanes, lanes, a, b in SHAPES:
        ta, tb = Ints((m, k), *a), Ints((k, n), *b)
        y = infer(MatMul(), ta, tb)
        cases.append(check(MatMul(), [ta, tb], [random_ints(ta, frames, 1), random_ints(tb, frames, 2)], "qs_matmul", dict(
            M=m, K=k, N=n, KLanes=k_lanes, Lanes=lanes, AWidth=ta.bits, ASigned=int(ta.signed), BWidth=tb.bits, BSigned=int(tb.signed),
            OutWidth=y.bits), lanes=(k_lanes, lanes), names=("a", "b"), out_lanes=lanes))
    agree(cases, tmp_path)


def test_leading_axes_are_frames(tmp_path):
    ta, tb = Ints((2, 3, 2, 4), -8, 7), Ints((2, 3, 4, 2), -8, 7)
    agree([check(MatMul(), [ta, tb], [random_ints(ta, 3, 1), random_ints(tb, 3, 2)], "qs_matmul", dict(
        M=2, K=4, N=2, KLanes=2, Lanes=1, AWidth=4, BWidth=4, OutWidth=infer(MatMul(), ta, tb).bits),
        lanes=(2, 1), names=("a", "b"), out_lanes=1)], tmp_path, (None, 1))
