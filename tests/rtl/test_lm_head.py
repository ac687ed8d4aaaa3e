"""qs_lm_head and qs_lm_embed alone: the token of ir/lm/sample.py, every token's row."""
from pathlib import Path

import numpy as np
import pytest

from checks import Check, agree
from ir.lm.sample import COARSE, FINE, NAT_BITS, Sampler, draw
from sim import Case
from sim.build import LIBRARY
from sim.module import run_timed
from sim.words import mem, pack
from test_core_units import fields

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, Path(__file__).parent / "sv")


def sums(rng, vocab: int, width: int, n: int) -> np.ndarray:
    """Many ties, all equal, the best last or first, both ends, ordinary ones."""
    most = (1 << width - 1) - 1
    if n % 6 == 0:
        return rng.integers(-2, 3, vocab)
    if n % 6 == 1:
        return np.full(vocab, rng.integers(-most, most + 1))
    x = rng.integers(-most, most + 1, vocab) if n % 6 == 2 else rng.integers(-most // 8, most // 8 + 1, vocab)
    if n % 6 == 3:
        x[-1] = most
    if n % 6 == 4:
        x[0], x[-1] = most, -most
    return x


def head(top_k: int, vocab: int, width: int, shift: int, count: int, factor_bits: int = 17, seed: int = 0) -> Check:
    """Tokens one after the other: every k, temperatures from 0 to the highest, seeds that are given and the generator that goes on."""
    rng = np.random.default_rng(seed)
    token_bits, k_bits = max(1, (vocab - 1).bit_length()), top_k.bit_length()
    feed, rows, want, state, now = [], [], [], 1, {}
    for n in range(count):
        x = sums(rng, vocab, width, n)
        k = int(rng.integers(1, top_k + 1)) if n % 3 else top_k
        spread = max(1, int(x.max() - np.sort(x)[::-1][:k].min()))
        usual = min(max(int(rng.integers(500, 20_000)) * (1 << shift) // spread, 1), (1 << factor_bits) - 1)  # some nats over the candidates
        factor = usual if n % 4 else (1, (1 << factor_bits) - 1)[n // 4 % 2]
        inverse = (256, 0, 65535, int(rng.integers(1, 2000)), 320)[n % 5]
        given = int(rng.integers(1, 1 << 32)) if n % 7 == 0 else (0xffffffff if n == 3 else 0)
        state = given or state
        token, state = draw(x, factor, shift, Sampler(k, inverse), state)
        feed.append(fields((factor, factor_bits), (inverse, 16), (k, k_bits), (given, 32)))
        rows += [fields((m, token_bits), (int(v), width)) for m, v in enumerate(x)]
        want.append(token)
        now[token == int(x.argmax())] = True
    assert top_k == 1 or vocab == 1 or len(now) == 2  # some draws are the best, some are not
    params = dict(TopK=top_k, Vocab=vocab, AccWidth=width, FactorWidth=factor_bits, Shift=shift, ExpFile="e.mem")
    return Check(Case("lm_head", params, {"c": feed, "s": rows}, {"m": len(want)}, {"e.mem": mem(np.r_[COARSE, FINE], 17)}), {"m": want})


def test_tokens(tmp_path):
    agree([head(1, 65, 20, 12, 12), head(1, 1, 12, 0, 6), head(8, 65, 17, 12, 40), head(64, 300, 20, 20, 8), head(5, 65, 28, 33, 24, 20), head(2, 2, 6, 0, 60),
           head(4, 1, 8, 3, 6), head(12, 7, 10, 5, 40), head(3, 65, 9, 60, 18), head(7, 30, 12, 1, 60, 12)], tmp_path, (None, 2), folders=FOLDERS, resets=True)


def test_candidates_are_drawn_as_often_as_they_are_likely():
    """The integers of ir/lm/sample.py, which the module has, against the real softmax."""
    x, factor, shift, counts, state = np.array([3000, 2500, 1000, 2900]), 1 << 10, 10, np.zeros(4), 7
    for _ in range(4000):
        token, state = draw(x, factor, shift, Sampler(3, 256), state)
        counts[token] += 1
    p = np.exp((x - 3000) / 2 ** NAT_BITS) * [1, 1, 0, 1]
    assert np.abs(counts / 4000 - p / p.sum()).max() < 0.03


def embed(vocab: int, dim: int, width: int, token_width: int, tokens: list[int]) -> Check:
    table = np.random.default_rng(vocab).integers(-(1 << width - 1), 1 << width - 1, (vocab, dim))
    index_bits, want, error = max(1, (dim - 1).bit_length()), [], 0
    for t in tokens:
        error |= t >= vocab
        want += [fields((error, 1), (k, index_bits), (w, width)) for k, w in enumerate(pack(table[t if t < vocab else 0], 1, width))]
    params = dict(Vocab=vocab, Dim=dim, Width=width, TokenWidth=token_width, File="w.mem")
    return Check(Case("lm_embed", params, {"s": tokens}, {"m": len(want)}, {"w.mem": mem(table, width)}), {"m": want})


def test_rows(tmp_path):
    agree([embed(65, 20, 16, 16, [0, 64, 7, 7, 63, 1]), embed(5, 1, 9, 4, [0, 1, 2, 3, 4, 4, 5, 1, 15, 2]), embed(1, 3, 24, 1, [0, 0, 0]),
           embed(4, 8, 12, 2, [3, 0, 1, 2]), embed(300, 7, 20, 9, [299, 0, 128, 300, 5])], tmp_path, (2,), folders=FOLDERS, resets=True)


def test_cycles(tmp_path):
    """A word, or a sum, a cycle; the best of all takes 3 more, a draw at most TopK, its candidates and 16: each of these takes about 800."""
    cases = [embed(65, 20, 16, 16, [3, 1, 64, 0] * 10), head(1, 65, 20, 12, 12), head(8, 65, 17, 12, 9, seed=5)]
    _, cycles = run_timed([c.case for c in cases], tmp_path, folders=FOLDERS)
    assert 800 <= cycles <= max(800 + 4, 12 * (65 + 4) + 4, 9 * (65 + 8 + 8 + 16) + 4)
