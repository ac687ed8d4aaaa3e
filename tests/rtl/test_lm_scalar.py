"""qs_lm_scalar alone: roots, factors and epsilons as ir/ops.py has them, saturating on both sides, ties, every operation after every other."""
import math
from pathlib import Path

import numpy as np
import pytest

from checks import Check, agree
from ir import ops
from sim import Case
from sim.build import LIBRARY
from sim.module import run_timed
from test_core_units import fields

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, Path(__file__).parent / "sv")
ROOT, FACTOR, GATED, DOWN = range(4)
SIZES = {"VecWidth": 26, "NumWidth": 60, "MulWidth": 36, "SumWidth": 44, "SquareWidth": 52, "FactorWidth": 17, "Regs": 4}


def unit(commands: list[dict], **sizes) -> Check:
    """commands: {"op", and of reg, shift, num, sum, top, tv, square what it reads}; the others are noise."""
    p = SIZES | sizes
    reg_bits = max(1, (p["Regs"] - 1).bit_length())
    widths = {"op": 2, "reg": reg_bits, "shift": 6, "num": p["NumWidth"], "sum": p["SumWidth"], "top": p["VecWidth"] - 1, "tv": p["VecWidth"] - 1,
              "square": p["SquareWidth"]}
    rng, feed, want = np.random.default_rng(3), [], []
    factors, most = {}, (1 << p["VecWidth"] - 1) - 1
    for c in [{"op": ROOT, "sum": 1, "top": 1}, *({"op": FACTOR, "reg": k, "tv": 1, "num": 1} for k in range(p["Regs"])), *commands]:
        c = {"reg": 0} | {k: int(rng.integers(0, 1 << w)) for k, w in widths.items() if k not in ("op", "reg")} | c
        feed.append(fields(*((c[k], w) for k, w in widths.items())))
        if c["op"] == ROOT:
            y = math.isqrt(c["sum"] << 8)
            den = c["top"] * y
        elif c["op"] == FACTOR:
            y = factors[c["reg"]] = ops.clamp(ops.divide(c["tv"] * c["num"], den), 1, (1 << p["FactorWidth"]) - 1)
        elif c["op"] == GATED:
            y = ops.clamp(ops.round_shift(math.isqrt(c["square"]) * c["num"], c["shift"]), 0, most)
        else:
            y = ops.clamp(ops.divide(c["num"], factors[c["reg"]]), 0, most)
        want.append(fields((min(c["op"], 2), 2), (y, 32), (factors[c["reg"]] if c["op"] in (FACTOR, DOWN) else 0, p["FactorWidth"])))
    return Check(Case("lm_scalar", p, {"c": feed}, {"m": len(want)}), {"m": want})


def values(rng, bits: int, least: int = 0) -> int:
    """Mostly anything of any length, often an end."""
    if rng.random() < .15:
        return (1 << bits) - 1
    return max(least, int(rng.integers(0, 1 << int(rng.integers(1, bits + 1)))))


def commands(seed: int, count: int, p: dict) -> list[dict]:
    rng, out, top = np.random.default_rng(seed), [], p["VecWidth"] - 1
    for n in range(count):
        op = (ROOT, FACTOR, GATED, DOWN, FACTOR, DOWN, GATED, ROOT, GATED, FACTOR, ROOT)[n % 11] if n % 3 else int(rng.integers(0, 4))
        c = {"op": op, "reg": int(rng.integers(0, p["Regs"]))}
        if op == ROOT:
            c |= {"sum": values(rng, p["SumWidth"], 1), "top": values(rng, top, 1)}
        elif op == FACTOR:
            c |= {"tv": values(rng, top, 1), "num": values(rng, p["MulWidth"], 1)}
        elif op == GATED:
            c |= {"square": values(rng, p["SquareWidth"]), "num": values(rng, p["MulWidth"]), "shift": int(rng.integers(0, min(51, top + p["SumWidth"] // 2)))}
        else:
            c |= {"num": values(rng, p["NumWidth"])}
        out.append(c)
    return out


def near(count: int) -> list[dict]:
    """Factors at ties and at both bounds: the numerator just below, at and above (F + 1/2) * den, for den = top * 2**18 (a sum of 2**28)."""
    rng, out = np.random.default_rng(9), []
    for _ in range(count):
        top = int(rng.integers(1, 1 << 8))
        den, f = top << 18, int(rng.choice([0, 1, 2, 77, (1 << 17) - 2, (1 << 17) - 1, 1 << 17, (1 << 18) - 1]))
        out.append({"op": ROOT, "sum": 1 << 28, "top": top})
        out += [{"op": FACTOR, "reg": k, "tv": 1, "num": (2 * f + 1) * den // 2 - 1 + k} for k in range(3) if (2 * f + 1) * den // 2 + k < 1 << 36]
    return out


def saturating() -> list[dict]:
    """Epsilons at the largest magnitude, at one more, and far beyond; of a zero root; with a factor of 1 and the largest."""
    most = (1 << 25) - 1
    out = [{"op": GATED, "square": r * r + d, "num": m, "shift": s} for r, m, s, d in
           [(most, 1, 0, 0), (most + 1, 1, 0, 0), (most + 1, 1, 0, -1), (most, 2, 1, 0), (2 * most + 1, 1, 1, 0), (2 * most - 1, 1, 1, 1), (0, 1 << 35, 0, 0),
            (most, (1 << 36) - 1, 0, 5), (1, 1, 1, 0), (1, 1, 2, 0), (3, 1, 2, 6), (5, 1 << 20, 20, 0), ((1 << 26) - 1, (1 << 36) - 1, 50, 0)]]
    for tv in (1, (1 << 25) - 1):
        out += [{"op": FACTOR, "reg": 1, "tv": tv, "num": (1 << 36) - 1 if tv > 1 else 1}]
        out += [{"op": DOWN, "reg": 1, "num": n} for n in (0, 1, most, most + 1, (1 << 60) - 1, most << 17, (most << 17) - (1 << 16) + 9, ((1 << 17) - 1) * most + (1 << 16))]
    return out


def test_operations(tmp_path):
    small = {"VecWidth": 6, "NumWidth": 12, "MulWidth": 6, "SumWidth": 6, "SquareWidth": 14, "FactorWidth": 4, "Regs": 1}
    other = {"VecWidth": 30, "NumWidth": 60, "MulWidth": 32, "SumWidth": 36, "SquareWidth": 50, "FactorWidth": 16, "Regs": 3}
    third = {"VecWidth": 26, "NumWidth": 36, "MulWidth": 36, "SumWidth": 34, "SquareWidth": 30, "FactorWidth": 20, "Regs": 2}
    agree([unit(commands(1, 80, SIZES)), unit(commands(2, 120, small), **small), unit(commands(3, 50, other), **other), unit(commands(4, 50, third), **third),
           unit(near(8)), unit(saturating())], tmp_path, (2,), folders=FOLDERS, resets=True)


def test_cycles(tmp_path):
    """An operation takes as long as its digits, with four cycles before a quotient's first and three around a root's."""
    count = 15
    every = [{"op": op, "sum": 9, "top": 3, "tv": 2, "num": 5, "square": 8, "shift": 1} for op in (ROOT, FACTOR, GATED, DOWN) for _ in range(count)]
    _, cycles = run_timed([unit(every).case], tmp_path, folders=FOLDERS)
    root, factor, gated, down = 26 + 3, 26 + 4, 26 + 26 + 4, 26 + 3
    assert 0 <= cycles - ((count + 1) * root + (count + 4) * factor + count * (gated + down)) <= 8
