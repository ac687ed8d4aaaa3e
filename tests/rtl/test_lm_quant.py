"""qs_lm_quant and its divider alone: codes and norms as ir/ops.py has them, every numerator of narrow words, corners of wide ones."""
from pathlib import Path

import numpy as np
import pytest

from checks import Check, agree
from ir import ops
from sim import Case
from sim.build import LIBRARY
from sim.module import run_timed
from sim.words import mem, pack
from test_core_units import fields

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, Path(__file__).parent / "sv")


def shares(v: np.ndarray, top: int, one: int) -> np.ndarray:
    """As `ir.lm` makes codes and shares: in Python's integers, clamped."""
    return np.array([ops.clamp(ops.divide(int(x) * one, top), -one, one) for x in v], np.int64)


def unit(lanes: int, width: int, act: int, commands, depth: int, share: int = 12, read: int = 1) -> Check:
    """commands: (norm, vector (count,), extra, top or None for the largest magnitude); the four vector memories in turn."""
    per = -(-depth // lanes)
    addr_bits = (per - 1).bit_length() if depth > lanes else 1
    count_bits, sum_bits = depth.bit_length(), max(2 * share + 1 + depth.bit_length(), 2 * share + 2)
    words, feed, codes, norms = [], [], [], []
    rng = np.random.default_rng(depth)
    for n, (norm, v, extra, top) in enumerate(commands):
        base, vec, buf = len(words), n % 4, n % 3
        bank = rng.integers(-(1 << width - 1), 1 << width - 1, (4, per * lanes))  # what lies beyond the vector must not count
        bank[vec, :len(v)] = v
        words += pack(bank, lanes, width)
        top = top or max(1, int(np.abs(v).max()))
        feed.append(fields((base, 16), (norm, 1), (vec, 2), (buf, 2), (len(v), count_bits), (top, width - 1), (extra, width - 1)))
        if norm:
            t = max(top, extra)
            y = shares(np.append(v, extra), t, 1 << share)
            norms.append(fields((t, width - 1), (max(int((y * y).sum()), 1 << 2 * share), sum_bits)))
        else:
            q = np.zeros(-(-len(v) // lanes) * lanes, np.int64)
            q[:len(v)] = shares(v, top, (1 << act - 1) - 1)
            packed = pack(q, lanes, act)
            codes += [fields((k == len(packed) - 1, 1), (buf, 2), (k, addr_bits), (w, lanes * act)) for k, w in enumerate(packed)]
    assert len(words) < 1 << 16 and len(codes) < 4096
    params = dict(Lanes=lanes, VecWidth=width, ActWidth=act, ShareBits=share, Depth=depth, SumWidth=sum_bits, Read=read, Words=len(words), File="v.mem")
    return Check(Case("lm_quant", params, {"c": feed}, {"m": len(codes), "n": len(norms)}, {"v.mem": mem(words, lanes * width)}),
                 {"m": codes, "n": norms})


def random_commands(rng, width: int, depth: int, count: int) -> list:
    """Codes and norms with ties, both ends, vectors of zeros and of one element, an extra below and above all."""
    most, out = (1 << width - 1) - 1, []
    for n in range(count):
        size = (depth, 1, max(1, depth - 1), int(rng.integers(1, depth + 1)))[n % 4]
        reach = (most, 1, 255, int(rng.integers(1, most + 1)))[n // 2 % 4]
        v = rng.integers(-reach, reach + 1, size)
        if n % 5 == 1:
            v[:] = 0
        if n % 5 == 2:
            v[0], v[-1] = reach, -reach
        extra = (0, int(np.abs(v).max()) + 5, int(rng.integers(0, reach + 1)), most)[n % 4 if n % 8 < 4 else 0]
        out.append((n % 3 != 1, v, min(extra, most), None))
    return out


def ties(width: int, act: int) -> list:
    """Quotients half between two codes: v = t * (2 c + 1) / (2 One), for t a multiple of 2 One."""
    one = (1 << act - 1) - 1
    t = 2 * one * max(1, ((1 << width - 1) - 1) // (2 * one))
    c = np.unique(np.r_[np.arange(min(one, 120)), one - 1])
    v = (2 * c + 1) * (t // (2 * one))
    return [(0, np.r_[v, t], 0, None), (0, np.r_[-v, -t], 0, None), (1, np.r_[v, -v], 0, t)]


def test_every_small_quotient(tmp_path):
    """All |v| <= t of 7-bit vectors, for codes of 2 to 9 bits and shares of 3 and 5."""
    whole = [(0, np.arange(-t, t + 1), 0, t) for t in range(1, 64)]
    norms = [(1, np.arange(-t, t + 1), x, t) for t in range(1, 64) for x in (0, 63)]
    single = [(1, np.array([v]), 0, t) for t in (1, 2, 3, 7, 11, 62, 63) for v in range(-t, t + 1)]  # the square of each share
    agree([unit(4, 7, 4, whole + norms[:60], 127, 3), unit(8, 7, 8, whole + norms[60:], 127, 5), unit(1, 7, 2, single, 1, 5),
           unit(8, 7, 9, [c for c in whole if len(c[1]) < 50 or len(c[1]) > 120], 127, 3, 2), unit(2, 7, 3, norms[::5], 127, 12)], tmp_path, (None,), folders=FOLDERS)


def test_corners(tmp_path):
    """Every width of codes, vector and word, vectors that end within a word, memories of one and of two cycles."""
    rng = np.random.default_rng(0)
    cases = []
    for lanes, width, act, depth, read in [(1, 26, 8, 9, 1), (2, 26, 8, 13, 2), (4, 28, 12, 30, 1), (8, 30, 16, 21, 2), (2, 26, 16, 7, 1), (4, 26, 4, 4, 2),
                                           (8, 28, 8, 5, 1), (1, 26, 12, 1, 2)]:
        cases.append(unit(lanes, width, act, random_commands(rng, width, depth, 25), depth, read=read))
    cases += [unit(2, 26, 8, ties(26, 8), 260), unit(4, 28, 12, ties(28, 12), 260), unit(1, 30, 16, ties(30, 16), 260)]
    agree(cases, tmp_path, (2,), folders=FOLDERS, resets=True)


def test_cycles(tmp_path):
    """A word a cycle, commands without a gap: 20 vectors of 64 values take 32 words, norms one more."""
    rng = np.random.default_rng(1)
    case = unit(2, 26, 8, [(n % 2, rng.integers(-999, 999, 64), 7, None) for n in range(20)], 64).case
    _, cycles = run_timed([case], tmp_path, folders=FOLDERS)
    assert 20 * 32 + 10 <= cycles <= 20 * 32 + 10 + 40
