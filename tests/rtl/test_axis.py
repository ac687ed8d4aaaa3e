"""The AXI4-Streams at the ends of a design: widths, TLAST, and frames of the wrong length put right, told, and forgotten."""
from pathlib import Path

import numpy as np
import pytest

from checks import Check, agree
from sim import Case
from sim.build import LIBRARY

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, Path(__file__).parent / "sv")


def received(stream, beats: int, check: bool) -> list[tuple[int, int]]:
    """(data, last, clear) of every beat sent -> (data, error) of every beat that comes out, as the module's header has it."""
    out, at, drop, error = [], 0, False, 0
    for data, last, clear in stream:
        if drop:
            drop, error = not last, error and not clear
            continue
        out.append((data, error))
        fault = check and last != (at == beats - 1)
        error = int(fault or (error and not clear))
        at = (at + 1) % beats
        if fault and at:
            out += [(0, error)] * (beats - at)
            at = 0
        elif fault:
            drop = True
    return out


def frames(rng, beats: int, width: int, count: int) -> list[tuple[int, int, int]]:
    """Frames of which every other one has another length, some with the wish to clear the error."""
    lengths = [beats if k % 2 or rng.random() < 0.3 else int(rng.integers(1, 2 * beats + 2)) for k in range(count)]
    return [(int(rng.integers(1 << width)), int(k == n - 1), int(rng.random() < 0.1)) for n in lengths for k in range(n)]


def inward(width: int, data_width: int, beats: int, check: bool, sent: list) -> Check:
    want = received(sent, beats, check)
    wire = [clear << data_width + 1 | last << data_width | 1 << data_width - 1 | data for data, last, clear in sent]  # the padding is not zeros
    want = [error << width | data for data, error in want]
    params = dict(Width=width, DataWidth=data_width, Beats=beats, CheckLast=int(check))
    return Check(Case("axis_in", params, {"s": wire}, {"m": len(want)}), {"m": want})


def test_in(tmp_path):
    """Corner sizes; every pattern of TLAST over three frames of two beats; frames counted where TLAST is not looked at."""
    rng = np.random.default_rng(3)
    every = [(b & 3, b >> k & 1, 0) for b in range(64) for k in range(6)]
    sizes = [(5, 8, 1), (7, 8, 2), (9, 16, 3), (1, 8, 8), (31, 32, 13)]
    cases = [inward(w, d, b, True, frames(rng, b, w, 60)) for w, d, b in sizes]
    cases += [inward(2, 8, 2, True, [(d, last, 0) for d, last, _ in every]), inward(6, 8, 3, False, frames(rng, 3, 6, 60))]
    agree(cases, tmp_path, folders=FOLDERS, resets=True)


def test_a_frame_after_a_wrong_one_is_whole():
    """What the reference above says of one short and one long frame of four beats."""
    good = [(9, 0, 0), (8, 0, 0), (7, 0, 0), (6, 1, 0)]
    short, long = [(1, 0, 0), (2, 1, 0)], [(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), (5, 0, 0), (5, 1, 0)]
    plain = [(9, 0), (8, 0), (7, 0), (6, 0)]
    flagged = [(9, 1), (8, 1), (7, 1), (6, 1)]
    assert received(good + short + good, 4, True) == plain + [(1, 0), (2, 0), (0, 1), (0, 1)] + flagged
    assert received(good + long + good, 4, True) == plain + [(1, 0), (2, 0), (3, 0), (4, 0)] + flagged
    assert received(short + [(d, t, 1) for d, t, _ in good] + good, 4, True)[8:] == plain


def test_out(tmp_path):
    rng = np.random.default_rng(4)
    cases = []
    for width, data_width, beats in [(8, 8, 1), (5, 8, 2), (17, 24, 3), (1, 8, 8), (12, 16, 9)]:
        sent = rng.integers(0, 1 << width, 5 * beats).tolist()
        want = [int(k % beats == beats - 1) << data_width | v for k, v in enumerate(sent)]
        cases.append(Check(Case("axis_out", dict(Width=width, DataWidth=data_width, Beats=beats), {"s": sent}, {"m": len(want)}), {"m": want}))
    agree(cases, tmp_path, folders=FOLDERS, resets=True)
