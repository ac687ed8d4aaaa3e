"""The sources of weights of a language-model core, on chip and over AXI4: order, wrap, seeks, pace behind a slow memory, faults."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from checks import Check, agree
from sim import Case
from sim.build import LIBRARY
from sim.lm import SV
from sim.module import run_timed
from sim.words import mem

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, SV, SV.parents[1] / "sv", Path(__file__).parent / "sv")
SEEK, TELL = 1 << 16, 0


def unit(steps: Sequence[int], words: int, width: int, far: bool = False, told: int = 0, **params) -> Check:
    """Steps are seeks and numbers of beats, of which the memory may give fewer.  told: {error, timeout, too many underruns} at the end."""
    bus = params.setdefault("DataWidth", width)
    rng, at, want = np.random.default_rng(words), 0, []
    content = [int.from_bytes(rng.bytes(width // 8), "little") for _ in range(words)]
    for s in steps:
        if s & SEEK:
            at = s & ~SEEK
        else:
            want += [content[(at + k) % words] for k in range(s)]
            at = (at + s) % words
    parts = [w >> bus * k & (1 << bus) - 1 for w in content for k in range(width // bus)]
    params |= dict(Far=int(far), BeatWidth=width, Words=words, File="w.mem")
    want = want[:params.get("Mute")]
    return Check(Case("lm_weights", params, {"o": [*steps, TELL]}, {"m": len(want), "e": 1}, {"w.mem": mem(parts, bus)}), {"m": want, "e": [told]})


def test_sources(tmp_path):
    """Through the whole stream and around; seeks in the middle, twice in a row and to the last beat; runs that cross borders of 4096 bytes."""
    seeks = [SEEK, 5, SEEK | 30, 4, SEEK | 2, SEEK | 36, 3, 40]
    near = [unit([9, *seeks], 37, 16), unit([3, 2], 1, 8), unit([100], 64, 128)]
    far = [unit(seeks, 37, 16, True, Burst=4, Depth=8, Seed=3, Often=100, Latency=7, Base=64, Most=10_000),
           unit([SEEK | 250, 300, SEEK | 299, 5, SEEK | 63, 70], 300, 128, True, DataWidth=32, Burst=64, Depth=128, Base=4096 * 3 - 32, Latency=30, Most=10_000),
           unit([SEEK | 3, 700], 512, 128, True, Latency=60, Depth=256, Seed=9, Often=40, Base=2048, Most=10_000),
           unit([SEEK, 3, SEEK, 2], 1, 8, True, Burst=2, Depth=4, Most=100)]
    agree(near + far, tmp_path, folders=FOLDERS)


def test_faults(tmp_path):
    """A slave error is told; a memory that falls silent raises the timeout, and counts as underruns; neither without cause."""
    agree([unit([SEEK, 100], 128, 32, True, 0b100, Bad=90, Most=1000), unit([SEEK, 60], 128, 32, True, Bad=200, Most=1000),
           unit([SEEK, 100], 128, 32, True, 0b001, Latency=50, Most=20),
           unit([SEEK, 100], 128, 32, True, 0b010, Mute=70, Limit=150, Latency=50, Most=1000),
           unit([SEEK, 100], 128, 32, True, Limit=150, Latency=90, Most=1000)], tmp_path, (None, 2), folders=FOLDERS)


def test_pace(tmp_path):
    """Behind a memory with a latency of 60 cycles and a beat a cycle the stream gives more than 98 % of a beat a cycle."""
    c = unit([SEEK, 4000], 1000, 128, True, Latency=60, Most=70)
    got, cycles = run_timed([c.case], tmp_path, None, FOLDERS)
    assert got[0] == c.want
    assert cycles - 60 < 4000 / .98, cycles
