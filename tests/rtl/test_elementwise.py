"""qs_add, qs_mul, qs_lut and qs_resize against the reference: all pairs of narrow operands, all codes of a table."""
import numpy as np
import pytest

from checks import Check, agree, check, random_ints
from ir import Add, Ints, Lut, Mul
from ir.infer import infer
from sim import Case
from sim.words import mem, pack

pytestmark = pytest.mark.slow

NARROW = [(-8, 7), (0, 15), (-4, 3), (0, 1), (-1, 0), (3, 5), (-3, 9)]
WIDE = [(-(1 << 30), (1 << 30) - 1), (0, (1 << 31) - 1), (-128, 127)]


def pairs(a, b, lanes: int, op, top: str):
    """Every pair of values of two ranges (ends only, and random ones between, for wide ranges)."""
    small = a[1] - a[0] < 64 and b[1] - b[0] < 64
    if small:
        x, y = np.meshgrid(np.arange(a[0], a[1] + 1), np.arange(b[0], b[1] + 1))
        x, y = (np.resize(v, (-(-v.size // lanes), lanes)) for v in (x, y))
    else:
        x, y = (random_ints(Ints((lanes,), *r), 300, seed) for seed, r in enumerate((a, b)))
        x[1], y[1] = a[0], b[0]
    ta, tb = Ints((lanes,), *a), Ints((lanes,), *b)
    return check(op, [ta, tb], [x, y], top, dict(Lanes=lanes, AWidth=ta.bits, ASigned=int(ta.signed), BWidth=tb.bits, BSigned=int(tb.signed),
                                                 OutWidth=infer(op, ta, tb).bits), lanes=lanes, names=("a", "b"))


@pytest.mark.parametrize("op,top", [(Add(), "qs_add"), (Mul(), "qs_mul")], ids=["add", "mul"])
def test_every_pair(op, top, tmp_path):
    narrow = [pairs(a, b, 1 + (i + j) % 3, op, top) for i, a in enumerate(NARROW) for j, b in enumerate(NARROW)]
    wide = [pairs(a, b, 2, op, top) for a in WIDE for b in WIDE]
    agree(narrow + wide, tmp_path)


def codes(table: np.ndarray, base: int, bits: int) -> np.ndarray:
    """The table in the order of its input's codes; 0 where there is no such input."""
    lines = np.zeros(1 << bits, np.int64)
    lines[np.arange(base, base + len(table)) % (1 << bits)] = table
    return lines


def test_every_code_of_a_table(tmp_path):
    rng = np.random.default_rng(0)
    cases = []
    for lo, hi, out, lanes in [(-128, 127, 200, 1), (0, 255, 30_000, 4), (-8, 7, 3, 2), (0, 1, 1, 1), (-3, 9, 100, 2), (-1, 0, 5, 1)]:
        t, op = Ints((lanes,), lo, hi), Lut(rng.integers(-out, out + 1, hi - lo + 1), lo)
        y = infer(op, t)
        x = np.resize(rng.permutation(np.arange(lo, hi + 1)), (600 // lanes, lanes))
        cases.append(check(op, [t], [x], "qs_lut", dict(Lanes=lanes, InWidth=t.bits, OutWidth=y.bits, TableFile="t.mem"),
                           {"t.mem": mem(codes(op.table, lo, t.bits), y.bits)}, lanes))
    agree(cases, tmp_path)


def test_resize(tmp_path):
    """Every code in another width: extended by its sign or by zeros, cut where the value fits."""
    cases = []
    for lo, hi, lanes, width in [(-8, 7, 3, 9), (0, 15, 2, 5), (0, 15, 1, 4), (-8, 7, 2, 4), (-1, 0, 1, 2), (0, 1, 2, 2)]:
        t = Ints((lanes,), lo, hi)
        x = np.resize(np.arange(lo, hi + 1), (40, lanes))
        case = Case("qs_resize", dict(Lanes=lanes, InWidth=t.bits, InSigned=int(t.signed), OutWidth=width),
                    {"s": pack(x, lanes, t.bits)}, {"m": len(x)})
        cases.append(Check(case, {"m": pack(x, lanes, width)}))
    agree(cases, tmp_path, (None, 1))
