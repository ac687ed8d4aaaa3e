"""qs_div, qs_sqrt and qs_recur against the reference: every pair of small operands, corners of wide ones, every depth of the pipeline."""
import numpy as np
import pytest

from checks import Check, agree, check, random_ints
from hw.dataflow.rules_arith import recur_params
from ir import Div, Ints, Recur, Sqrt
from ir.infer import infer
from sim import Case
from sim.module import run_timed
from sim.words import mem, pack

pytestmark = pytest.mark.slow

DIVISIONS = [  # range of a, range of b, lanes, turns (cycles a beat)
    ((-9, 9), (1, 6), 1, 1), ((-9, 9), (1, 6), 3, 2), ((-8, 7), (1, 15), 1, 4), ((0, 31), (1, 7), 2, 5), ((0, 31), (2, 7), 1, 3), ((-31, -3), (3, 9), 1, 1),
    ((-1, 0), (1, 1), 1, 1), ((0, 1), (1, 3), 1, 1), ((-1, 1), (3, 5), 2, 1), ((5, 9), (30, 31), 1, 1), ((0, 0), (1, 3), 1, 1),
    ((-(1 << 20), 1 << 20), (1, 999), 2, 1), ((-(1 << 20), 1 << 20), (1, 999), 1, 7), ((0, (1 << 24) - 1), (1, (1 << 16) - 1), 1, 24),
    ((-(1 << 55), 1 << 55), (1 << 40, 1 << 52), 1, 4), ((3, 9), (1 << 30, 1 << 31), 1, 1),
]


def division(a, b, lanes: int, turns: int) -> Check:
    ta, tb = Ints((lanes,), *a), Ints((lanes,), *b)
    out = infer(Div(), ta, tb)
    if a[1] - a[0] < 64 and b[1] - b[0] < 64:
        x, y = (np.resize(v, (-(-v.size // lanes), lanes)) for v in np.meshgrid(np.arange(a[0], a[1] + 1), np.arange(b[0], b[1] + 1)))
    else:
        x, y = random_ints(ta, 250, 1), random_ints(tb, 250, 2)
        x[1:5, 0], y[1:5, 0] = (a[0], a[0], a[1], a[1]), (b[0], b[1], b[0], b[1])
    return check(Div(), [ta, tb], [x, y], "qs_div", dict(
        Lanes=lanes, AWidth=ta.bits, ASigned=int(ta.signed), BWidth=tb.bits, OutWidth=out.bits, OutSigned=int(out.signed), Turns=turns),
        lanes=lanes, names=("a", "b"))


def root(lo: int, hi: int, lanes: int, turns: int) -> Check:
    """Every x of a narrow range; of a wide one squares and their neighbours."""
    t = Ints((lanes,), lo, hi)
    if hi - lo < 5000:
        x = np.arange(lo, hi + 1)
    else:
        r = np.random.default_rng(0).integers(0, int(hi ** .5), 200)
        x = np.concatenate([r * r, r * r - 1, r * r + 2 * r, [lo, hi]]).clip(lo, hi)
    x = np.resize(x, (-(-x.size // lanes), lanes))
    return check(Sqrt(), [t], [x], "qs_sqrt", dict(Lanes=lanes, InWidth=t.bits, OutWidth=infer(Sqrt(), t).bits, Turns=turns), lanes=lanes)


def test_divisions_and_roots(tmp_path):
    roots = [(0, 1025, 1, 1), (0, 255, 2, 4), (0, 255, 1, 3), (0, 1, 1, 1), (3, 30, 1, 2), (0, 0, 1, 1), ((1 << 51), (1 << 52) - 1, 1, 1), (0, (1 << 31) - 1, 2, 16)]
    agree([division(*d) for d in DIVISIONS] + [root(*r) for r in roots], tmp_path)


RECURRENCES = [  # rows and elements of a row, lanes, range of f, of c, of the first state or None, shift, lo, hi
    ((5, 1), 1, (-9, 9), (-99, 99), None, 2, -50, 60), ((4, 2), 1, (-9, 9), (-99, 99), (-7, 5), 2, -50, 60), ((6, 3), 1, (0, 255), (-999, 999), None, 8, -128, 127),
    ((3, 8), 2, (0, 255), (0, 9999), (0, 90), 7, 0, 255), ((5, 4), 4, (-1, 0), (-8, 7), (0, 1), 0, -8, 7), ((1, 6), 3, (-8, 7), (-8, 7), (-300, 300), 3, -20, 20),
    ((4, 5), 1, (0, 65535), (-(1 << 38), 1 << 38), None, 16, -(1 << 26), 1 << 26), ((3, 2), 2, (0, 3), (0, 3), None, 40, -5, 5),
    ((3, 3), 1, (0, 3), (0, 3), None, 1, 40, 90), ((3, 3), 1, (0, 3), (0, 3), (-99, -50), 1, -90, -40),
]


def recurrence(shape, lanes: int, f, c, first, *op, frames: int = 20) -> Check:
    op, types = Recur(*op), [Ints(shape, *f), Ints(shape, *c)]
    xs = [random_ints(t, frames, k) for k, t in enumerate(types)]
    if first is None:  # a source of zeros
        types.append(Ints((1, *shape[1:]), 0, 0))
        xs.append(np.zeros((frames, 1, *shape[1:]), np.int64))
    else:
        types.append(Ints((1, *shape[1:]), *first))
        xs.append(random_ints(types[2], frames, 2))
    params = {k: getattr(v, "value", v) for k, v in recur_params(op, types, lanes).items()}
    return check(op, types, xs, "qs_recur", params, lanes=[lanes] * 3, names="abc")


def test_recurrences(tmp_path):
    agree([recurrence(*r) for r in RECURRENCES], tmp_path)


def test_cycles(tmp_path):
    """Without stalls a beat is taken every Turns cycles, and rows of fewer than three beats every three: each of these takes 400 cycles."""
    recurrences = [recurrence(shape, 1, (0, 9), (0, 9), None, 1, 0, 9, frames=n) for shape, n in (((4, 5), 20), ((3, 2), 50), ((6, 1), 25))]
    cases = [*recurrences, division((-9, 10), (1, 20), 1, 1), division((-9, 10), (1, 10), 1, 2), root(0, 399, 1, 1), root(0, 99, 1, 4)]
    _, cycles = run_timed([c.case for c in cases], tmp_path)
    assert 400 <= cycles <= 412  # the longest pipeline


def test_constants_and_expansion(tmp_path):
    cases = []
    values = np.random.default_rng(0).integers(-8, 8, (5, 2))
    beats = pack(values, 2, 4)
    for n in (1, 2, 5):
        cases.append(Check(Case("qs_constant", dict(Width=8, Beats=n, ValueFile="c.mem"), {}, {"m": 40}, {"c.mem": mem(beats[:n], 8)}, surplus=True),
                           {"m": (beats[:n] * 40)[:40]}))
    x = pack(random_ints(Ints((60,), 0, 15), 1), 1, 4)
    for block, repeat, copies in [(1, 1, 1), (1, 3, 1), (1, 2, 4), (1, 1, 3), (4, 1, 1), (5, 3, 2), (2, 2, 1)]:
        want = np.array(x).reshape(-1, 1, block).repeat(repeat, 1).ravel()
        cases.append(Check(Case("qs_expand", dict(Width=4, Block=block, Repeat=repeat, Copies=copies), {"s": x}, {"m": len(want)}),
                           {"m": pack(want.repeat(copies), copies, 4)}))
    agree(cases, tmp_path)
