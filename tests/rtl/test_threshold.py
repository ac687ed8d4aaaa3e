"""qs_threshold against ops.requant: every input, with the thresholds and the memories that the generator makes."""
import numpy as np
import pytest

from checks import agree, check, lowered, random_ints
from hw.dataflow.requants import thresholds
from ir import Ints, Requant, UserError, ops

SIGNED, UNSIGNED = (-512, 511), (0, 1023)
MULS = np.array([1, 2, 64, 512, 3, 77, 501, 1023])
CORNERS = [  # range of x, multipliers, shift, zero, lo, hi, lanes
    (SIGNED, MULS, 9, 0, -8, 7, 8), (SIGNED, MULS, 10, 0, -1, 1, 4), (UNSIGNED, MULS, 7, 3, 0, 15, 2), (SIGNED, -MULS, 9, 0, -8, 7, 2),
    (UNSIGNED, [-512, 0, 511, -1], 9, 3, 0, 2, 4), (SIGNED, [0, -1, 1, 0], 1, 7, -9, 9, 2), ((-700, -300), [5, -6], 6, 0, -128, 127, 1),
    ((300, 700), [-3, 3], 4, 0, -200, -60, 2), (UNSIGNED, [3], 4, 0, 100, 227, 1), ((0, 1), [-1, 1], 1, 0, -1, 1, 1),
    ((-1, 0), [1], 0, 1 << 40, 0, 1 << 41, 1), ((7, 9), [5, 6], 2, 0, -8, 11, 1), (SIGNED, [3], 0, 0, -1, 0, 1), ((-512, 500), [-3, 1], 9, 1, -1, 2, 1),
]


def case(t: Ints, op: Requant, x, lanes: int):
    net, params = lowered(t, op, lanes, "threshold")
    assert net.instances[0].module == "qs_threshold"
    return check(op, [t], [x], "qs_threshold", params, net.mems, lanes)


@pytest.mark.slow
def test_every_input(tmp_path):
    """Rising, falling and constant channels side by side, thresholds that are never or always reached, ends of the words."""
    cases = []
    for (lo, hi), muls, shift, zero, at_least, at_most, lanes in CORNERS:
        t = Ints((len(muls),), lo, hi)
        x = np.repeat(np.arange(lo, hi + 1)[:, None], len(muls), 1)
        cases.append(case(t, Requant(muls, shift, zero, at_least, at_most), x, lanes))
    image, muls = Ints((4, 3, 2), -99, 99), np.array([1, -5, 9, 60])
    for op, lanes in [(Requant(muls, 6, 0, -8, 7, axis=0), 2), (Requant([7], 5, 1, 0, 15), 4), (Requant([3, -1, 9], 5, 0, -2, 2, axis=1), 1)]:
        cases.append(case(image, op, random_ints(image, 200), lanes))
    agree(cases, tmp_path)


def test_thresholds_are_the_definition():
    """Each is the least x with the result: one less has another."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        m, shift, zero = int(rng.integers(-300, 300)), int(rng.integers(0, 12)), int(rng.integers(-9, 9))
        lo, hi = sorted(map(int, rng.integers(-20, 20, 2)))
        x = Ints((1,), *sorted(map(int, rng.integers(-900, 900, 2))))
        t = thresholds(Requant([m], shift, zero, lo, hi), x, Ints((1,), lo, hi), np.array([[m]]))
        every = np.arange(x.lo, x.hi + 1)
        number = (every[:, None] >= t.values[0, 0].astype(int)).sum(1)
        found = t.lo + (number ^ (1 << t.steps) - 1 if t.falls[0, 0] else number)
        assert np.array_equal(found, ops.requant(every, m, shift, zero, lo, hi)), (m, shift, zero, lo, hi, x)
        assert (np.diff(t.values[0, 0].astype(int)) >= 0).all()


@pytest.mark.parametrize("hi, muls, lanes, module", [  # few levels count, many multiply; a falling binary step; many channels of a wide result
    (1, np.arange(1000, 1016), 4, "qs_threshold"), (3, np.arange(1000, 1016), 1, "qs_threshold"), (255, np.arange(20000, 20064), 2, "qs_requant"),
    (1, [-700], 1, "qs_threshold"), (127, [64], 1, "qs_requant")])
def test_the_cheaper_is_taken(hi, muls, lanes, module):
    t, op = Ints((len(muls),), -100_000, 100_000), Requant(muls, 20, 0, 0, hi)
    assert lowered(t, op, lanes, "auto")[0].instances[0].module == module
    other = {"qs_threshold": ("multiply", "qs_requant"), "qs_requant": ("threshold", "qs_threshold")}[module]
    assert lowered(t, op, lanes, other[0])[0].instances[0].module == other[1]


def test_too_many_thresholds():
    with pytest.raises(UserError, match="^node 'q' has results of 9 bits, thresholds find at most 8; use requant 'multiply'$"):
        lowered(Ints((1,), -900, 900), Requant([1], 1, 0, -256, 255), 1, "threshold")
