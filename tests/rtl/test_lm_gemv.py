"""qs_lm_gemv alone: rows in order and exact over corner parameters, extremes, stalls on every stream; illegal codes; a row a cycle."""
from pathlib import Path

import numpy as np
import pytest

from checks import Check, agree
from lm_beats import beats, streams
from sim import Case, run_modules
from sim.build import LIBRARY
from sim.module import run_timed
from sim.words import pack

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, Path(__file__).parent / "sv")
ROW = 12
ILLEGAL = [(10, 0, (243, 0)), (10, 0, (255, 8)), (8, 1, (2, 14)), (10, 2, (0b110_11_010, 8))]  # trits, encoding, (code, bit)
EVERY = 243, 5  # as a product: each code of a byte once


def codes(rng: np.random.Generator, batch: int, k: int, width: int, kind: int) -> np.ndarray:
    """(batch, k): all the largest, all the smallest, or random with both ends."""
    top = (1 << width - 1) - 1
    if kind < 2:
        return np.full((batch, k), top if kind == 0 else -top)
    x = rng.integers(-top, top + 1, (batch, k))
    x[:, 0], x[:, -1] = top, -top
    return x


def unit(trits, encoding, engines, width, batch, lanes, products, spoil=None, seed=0) -> Check:
    """Products (rows, columns), each with its own buffer in turn; of the weights the first row is all 1, the second all -1.

    spoil: (code, bit): the last beat of the last engine gets an illegal code there, and the error bit is wanted.
    """
    rng, bufs = np.random.default_rng(seed), 3
    depth = max(-(-k // trits) for _, k in products)
    acc = (((1 << width - 1) - 1) * max(k for _, k in products)).bit_length() + 1
    buf_bits, beats_bits = 2, depth.bit_length()
    step_bits = max(buf_bits + 1 + batch * lanes * width, ROW + beats_bits + buf_bits)
    steps, weights, want = [], [[] for _ in range(engines)], []

    def step(kind: int, idle: bool, payload: int) -> None:
        steps.append((kind << 1 | idle) << step_bits | payload)

    for n, (m, k) in enumerate(products):
        w = rng.integers(-1, 2, (m, k))
        w[0], w[1 % m] = 1, -1
        if (m, k) == EVERY:
            w = np.indices((3,) * k).reshape(k, m).T - 1
        x = codes(rng, batch, k, width, n % 3)
        full = np.zeros((batch, -(-k // lanes) * lanes), np.int64)
        full[:, :k] = x
        for p in range(0, k, lanes):
            step(0, n >= bufs and p == 0, ((n % bufs) << 1 | (p == 0)) << batch * lanes * width | pack(full[:, p:p + lanes], batch * lanes, width)[0])
        step(1, n % 2 == 1, (m << beats_bits | -(-k // trits)) << buf_bits | n % bufs)
        for own, new in zip(weights, streams(w, trits, engines, encoding)):
            own += new
        want += [r << batch * acc | pack(y, batch, acc)[0] for r, y in enumerate(w @ x.T)]
    step(2, True, 0)
    told = [0]
    if spoil:
        code, bit = spoil
        m, k = products[-1]
        step(1, False, (engines << beats_bits | -(-k // trits)) << buf_bits)
        step(2, True, 0)
        told.append(1)
        for own in weights:
            own += own[-1:] * -(-k // trits)
        bits = 2 if encoding == 1 else 8
        weights[-1][-1] = weights[-1][-1] & ~((1 << bits) - 1 << bit) | code << bit
        want += [None] * engines
    params = dict(Engines=engines, Trits=trits, ActWidth=width, Batch=batch, AccWidth=acc, Encoding=encoding, Lanes=lanes, Bufs=bufs, Depth=depth,
                  RowBits=ROW, StepBits=step_bits)
    case = Case("lm_gemv", params, {"o": steps} | {f"s[{e}]": s for e, s in enumerate(weights)}, {"m": len(want), "e": len(told)})
    return Check(case, {"e": told} | ({} if spoil else {"m": want}))


def test_products(tmp_path):
    """Rows of one beat and many, rows that do not fill a group or a beat, every width, encoding and number of engines.

    An illegal code, in the first or the last byte, is told from then on and not before.
    """
    agree([unit(5, 0, 1, 8, 1, 1, [(7, 5), (3, 17), (1, 1), (9, 12), (2, 3)]), unit(10, 0, 2, 8, 1, 2, [(7, 20), (4, 35), (1, 9), (6, 10)]),
           unit(20, 0, 3, 12, 1, 4, [(8, 30), (3, 20), (7, 60)]), unit(80, 0, 1, 8, 1, 4, [(40, 80), (6, 160), (5, 300)]),
           unit(40, 2, 4, 16, 1, 8, [(9, 90), (17, 40), (4, 200)]), unit(4, 1, 1, 8, 1, 1, [(5, 11), (9, 4), (2, 30), (30, 3)]),
           unit(64, 1, 1, 8, 1, 4, [(9, 64), (3, 130), (8, 200)]), unit(16, 1, 3, 12, 2, 8, [(7, 30), (8, 16)]),
           unit(20, 0, 2, 8, 2, 1, [(7, 33), (5, 20)]), unit(5, 2, 3, 9, 1, 5, [(7, 12), (5, 5)])]
          + [unit(trits, encoding, 2, 8, 1, 1, [(4, 10), (3, 25)], spoil=s) for trits, encoding, s in ILLEGAL], tmp_path, (None, 1, 2), folders=FOLDERS)


def test_every_code(tmp_path):
    """All bytes of five trits in base 3 and in fields, all beats of four trits in two bits: each of the 243 or 81 has its code, the rest is illegal."""
    checks = []
    for encoding, trits in ((0, 5), (1, 4), (2, 5)):
        every = np.indices((3,) * trits).reshape(trits, -1).T - 1
        codes = beats(every, encoding)
        legal = dict(zip(codes, every.tolist()))
        assert len(legal) == 3 ** trits
        order = codes + [k for k in range(256) if k not in legal]
        on_minus = [sum((v != 0) << i | (v < 0) << trits + i for i, v in enumerate(legal[k])) for k in codes]
        checks.append((Case("lm_unpack", dict(Trits=trits, Encoding=encoding), {"s": order}, {"m": 256}), on_minus))
    for got, (case, want) in zip(run_modules([c for c, _ in checks], tmp_path, None, FOLDERS), checks):
        trits = case.params["Trits"]
        assert got["m"][:len(want)] == want
        assert all(v >> 2 * trits for v in got["m"][len(want):]), "the error bit"


def test_pace(tmp_path):
    """A beat a cycle and engine, or a row a cycle, whichever is slower; behind that only the length of the pipeline."""
    one, three = [(500, 20), (200, 60)], [(300, 20), (300, 60), (375, 80)]
    _, cycles = run_timed([unit(20, 0, 1, 8, 1, 20, one).case, unit(20, 0, 3, 8, 1, 20, three).case], tmp_path, None, FOLDERS)
    assert 1100 <= cycles <= 1100 + 8 + 18 * 3, cycles
