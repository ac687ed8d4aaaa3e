"""qs_requant against ops.requant: every input of a 10-bit accumulator, every corner of the parameters."""
import numpy as np
import pytest

from checks import agree, check, lowered, random_ints
from ir import Ints, Requant, UserError
from sim import run_module

TIES = [1, 2, 64, 512]  # powers of two: products that fall exactly on a half
MULS = np.array([*TIES, 3, 77, 501, 1023])
SIGNED, UNSIGNED = (-512, 511), (0, 1023)
CORNERS = [  # accumulator, multipliers, shift, zero, lo, hi, lanes
    (SIGNED, MULS, 9, 0, -8, 7, 8), (SIGNED, MULS, 10, 0, -1, 1, 4), (SIGNED, MULS, 0, 0, -600_000, 600_000, 2),
    (SIGNED, MULS, 1, -5, -128, 127, 4), (SIGNED, MULS, 9, 128, 0, 255, 8), (SIGNED, MULS, 19, 3, 0, 15, 4),
    (SIGNED, MULS, 20, 0, -8, 7, 8), (SIGNED, MULS, 40, -7, -8, 7, 4), (SIGNED, MULS, 6, 0, 0, 0, 2),
    (UNSIGNED, MULS, 7, 3, 0, 15, 4), (UNSIGNED, MULS, 10, -512, -512, 511, 8), (UNSIGNED, MULS, 3, 0, 17, 90_000, 2),
    (UNSIGNED, MULS, 9, 1 << 40, 0, 1 << 41, 4), (SIGNED, MULS, 9, -(1 << 50), -(1 << 60), 0, 4),
    ((0, 15), [1, 2], 0, 250, 0, 255, 2), ((0, 15), [1, 1], 0, 0, 100, 200, 2), ((0, 15), [3, 1], 0, 0, -9, -5, 2),
    ((0, 15), [3, 1], 0, 0, -900, -500, 2), ((-8, 7), [1, 1], 3, 0, 20, 90, 2), ((-8, 7), [1, 1], 3, 5, -90, -70, 1),
    ((-8, 7), [1, 1], 0, 9, -100, 0, 1), ((-1, 0), [1, 1], 1, 0, -1, 1, 1), ((0, 1), [1, 1], 1, 0, -1, 1, 2),
    (SIGNED, -MULS, 9, 0, -8, 7, 8), (UNSIGNED, [-512, 0, 511, -1], 9, 3, -400, 300, 4), (SIGNED, [-1], 0, 0, -512, 512, 1), (SIGNED, [0, -1], 1, 7, -9, 90, 2),
    (UNSIGNED, [-1023, 5], 40, 0, -3, 3, 1), (SIGNED, [-3, 1], 2, 1 << 50, 0, 1 << 60, 1), ((0, 1), [-1], 1, 0, -1, 1, 1), ((-1, 0), [-1, 0], 0, 0, 0, 1, 2),
    (SIGNED, [683], 9, 3, -128, 127, 1), (UNSIGNED, [-341], 8, 0, -99, 5, 1), (SIGNED, [2048], 0, 0, -1 << 20, 1 << 20, 1), (SIGNED, [0], 3, 4, 0, 15, 1),
    (SIGNED, [1021], 0, 0, -1 << 12, 1 << 12, 1), ((-8, 7), [5, -3], 2, 1, -8, 7, 2), ((0, 30), [1, 2, 30, 9], 5, 0, 0, 14, 2),
    ((7, 9), [5, 6], 2, 0, -8, 7, 1), ((-512, -500), [5, 6], 3, 0, -128, 127, 1),
]


def case(t: Ints, op: Requant, x, lanes: int):
    net, params = lowered(t, op, lanes, "multiply")
    return check(op, [t], [x], "qs_requant", params, net.mems, lanes)


@pytest.mark.slow
def test_every_input(tmp_path):
    """Ties, both ends, bounds far outside of what the accumulator reaches on either side, shifts beyond the product."""
    cases = []
    for (lo, hi), muls, shift, zero, at_least, at_most, lanes in CORNERS:
        t = Ints((len(muls),), lo, hi)
        x = np.repeat(np.arange(lo, hi + 1)[:, None], len(muls), 1)
        cases.append(case(t, Requant(muls, shift, zero, at_least, at_most), x, lanes))
    agree(cases, tmp_path)


@pytest.mark.slow
def test_axes_and_widths(tmp_path):
    """One multiplier, one for each channel of an image, one for each row; 40-bit accumulators, 20-bit multipliers."""
    muls = np.array([1, 5, 9, 1023])
    wide = Ints((4,), -(1 << 39), (1 << 39) - 1)
    cases = []
    for t, op, lanes in [
        (Ints((4, 3, 2), -99, 99), Requant(muls, 6, 0, -128, 127, axis=0), 2), (Ints((4, 3, 2), -99, 99), Requant([7], 3, 1, 0, 255), 4),
        (Ints((4, 6), -99, 99), Requant(muls, 6, 0, -128, 127, axis=0), 3), (Ints((6, 4), -99, 99), Requant(muls, 6, 0, -128, 127, axis=-1), 1),
        (Ints((4, 1), -99, 99), Requant(muls, 6, 0, -128, 127, axis=0), 1),
        (Ints((4, 3, 2), -99, 99), Requant([3, -1, 0, -64], 5, 0, -128, 127, axis=0), 2),
        (wide, Requant([-(1 << 20), (1 << 20) - 1, -1, 0], 30, 0, -(1 << 31), (1 << 31) - 1), 2),
        (wide, Requant([1 << 19, (1 << 20) - 1, 1, 999_999], 30, 0, -(1 << 31), (1 << 31) - 1), 2),
        (wide, Requant([1 << 20, (1 << 21) - 1, 1, 3], 0, 0, -(1 << 60), 1 << 60), 1),
        (wide, Requant([1, 2, 3, 4], 60, 0, -8, 7), 1), (Ints((2,), 0, (1 << 41) - 1), Requant([1 << 20, 1], 61, 5, 0, 15), 2),
    ]:
        cases.append(case(t, op, random_ints(t, 200), lanes))
    agree(cases, tmp_path)


@pytest.mark.slow
def test_parameters_are_checked(tmp_path):
    with pytest.raises(UserError, match="Lo=5 is above Hi=3"):
        run_module("qs_requant", {"Lo": 5, "Hi": 3, "MulFile": "m.mem"}, {"s": [0]}, {"m": 1}, tmp_path, mems={"m.mem": "1\n"})
    with pytest.raises(UserError, match="RoundWidth=4 does not hold -9 to 7"):
        run_module("qs_requant", {"RoundWidth": 4, "Least": -9, "Most": 7, "MulFile": "m.mem"}, {"s": [0]}, {"m": 1}, tmp_path, mems={"m.mem": "1\n"})
    with pytest.raises(UserError, match="^qs_requant has no parameter Sift; it has Lanes, Rows, Repeat,"):
        run_module("qs_requant", {"Sift": 5}, {"s": [0]}, {"m": 1}, tmp_path)
