"""Products, roundings and curves of a language model's core: every input where they are narrow, ends and ties where they are wide."""
from pathlib import Path as File

import numpy as np
import pytest

from checks import Check, agree
from ir import ops
from ir.lm import Curve, Words
from lm_vector import fields, line
from quant.ternary.matmulfree_lower import sigmoid, silu
from sim import Case
from sim.build import LIBRARY
from sim.words import mem, pack

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, File(__file__).parent / "sv")
RNG = np.random.default_rng(11)
MOST = 6000  # beats of a rounding: all of them where words are narrow


def some(bits: int, n: int = 400) -> np.ndarray:
    """Every integer of few bits; else the ends, neighbours of powers of two, and random ones."""
    half = 1 << bits - 1
    if bits <= 6:
        return np.arange(-half, half)
    powers = np.concatenate([s * (1 << np.arange(bits - 1)) + d for s in (1, -1) for d in (-1, 0, 1)])
    return np.concatenate([[-half, half - 1], powers, RNG.integers(-half, half, n)])


def product(a: int, b: int, limb: int = 18) -> Check:
    x, y = some(a), some(b)
    x, y = (v.ravel() for v in np.meshgrid(x, y)) if a + b <= 12 else (RNG.choice(x, 1000), RNG.choice(y, 1000))
    x[:4], y[:4] = [-1 << a - 1, -1 << a - 1, (1 << a - 1) - 1, 0], [-1 << b - 1, (1 << b - 1) - 1, -1 << b - 1, -1 << b - 1]
    beats = [fields((p, a), (q, b)) for p, q in zip(x, y)]
    return Check(Case("lm_pipe", dict(Kind=0, InWidth=a + b, OutWidth=a + b, AWidth=a, Limb=limb), {"s": beats}, {"m": len(beats)}),
                 {"m": [fields((int(p) * int(q), a + b)) for p, q in zip(x, y)]})


def rounding(width: int, out: int, least: int, span: int, first: tuple[int, int], second: tuple[int, int]) -> Check:
    shifts = max(span.bit_length(), 1)
    x, s, b = (v.ravel() for v in np.meshgrid(some(width) if width > 9 else np.arange(-1 << width - 1, 1 << width - 1), np.arange(span + 1), [0, 1]))
    if len(x) > MOST:
        x, s, b = np.stack([x, s, b])[:, RNG.permutation(len(x))[:MOST]]
    bounds = np.array([first, second])[b]
    y = np.array([ops.round_shift(int(v), least + int(n)) for v, n in zip(x, s)]).clip(bounds[:, 0], bounds[:, 1])
    beats = [fields((c, 1), (n, shifts), (v, width)) for v, n, c in zip(x, s, b)]
    params = dict(Kind=1, InWidth=1 + shifts + width, OutWidth=out, Least=least, Span=span, ShiftBits=shifts, Lo=first[0], Hi=first[1], Lo1=second[0],
                  Hi1=second[1])
    return Check(Case("lm_pipe", params, {"s": beats}, {"m": len(beats)}), {"m": pack(y, 1, out)})


def curves(w: Words, two: tuple[Curve, Curve], value_bits: int = 30, slope_bits: int = 14) -> Check:
    """Every input of both."""
    width, out = w.gate + w.whole + 1, max(w.gate + w.whole, w.sigmoid) + 1
    x = np.arange(w.gates[0], w.gates[1] + 1)
    y = np.concatenate([line(c, x, w.piece_bits) for c in two])
    beats = [fields((k, 1), (v, width)) for k in (0, 1) for v in x]
    table = [fields((s, slope_bits), (v, value_bits)) for c in two for s, v in zip(c.slope.tolist(), c.value.tolist())]
    params = dict(Kind=2, InWidth=width + 1, OutWidth=out, PieceBits=w.piece_bits, ValueWidth=value_bits, SlopeWidth=slope_bits, Shift=two[0].shift,
                  Shift1=two[1].shift, Lo=two[0].lo, Hi=two[0].hi, Lo1=two[1].lo, Hi1=two[1].hi, File="curves.mem")
    return Check(Case("lm_pipe", params, {"s": beats}, {"m": len(beats)}, {"curves.mem": mem(table, value_bits + slope_bits)}), {"m": pack(y, 1, out)})


def test_pipes(tmp_path):
    """One limb and up to four of an operand; spans of no bit, one bit and six; a curve that leaves both bounds."""
    w = Words(gate=8, whole=2, sigmoid=10, state=20)
    n = 1 << w.gate + w.whole + 1 - w.piece_bits
    wild = [Curve(RNG.integers(-1 << 25, 1 << 25, n), RNG.integers(-1 << 13, 1 << 13, n), s, *b) for s, b in ((10, (0, 1023)), (12, w.gates))]
    agree([product(5, 5), product(6, 4, 3), product(18, 18), product(17, 21), product(32, 17), product(29, 23), product(44, 2, 12), product(1, 9),
           rounding(7, 5, 0, 10, (-16, 15), (-9, 3)), rounding(8, 8, 3, 0, (-7, 7), (0, 5)), rounding(9, 4, 2, 5, (-7, 7), (-8, 7)),
           rounding(44, 26, 0, 46, (1 - (1 << 25), (1 << 25) - 1), (-1 << 16, 65407)), rounding(38, 24, 11, 1, (-1 << 16, 65407), (-1 << 23, (1 << 23) - 1)),
           rounding(6, 20, 0, 1, (-1000, 1000), (-20, 2)), curves(w, (sigmoid(w), silu(w))), curves(w, tuple(wild))], tmp_path, (None, 1), folders=FOLDERS)
