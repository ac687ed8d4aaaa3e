"""The memory that cores are simulated with: data, latency, bandwidth, errors, and what it says of a master that breaks the protocol."""
from pathlib import Path

import numpy as np
import pytest

from ir import UserError
from sim import Case, run_modules
from sim.build import LIBRARY
from sim.lm import SV
from sim.module import run_timed
from sim.words import mem

FOLDERS = (LIBRARY, SV, SV.parents[1] / "sv", Path(__file__).parent / "sv")
RNG = np.random.default_rng(2)


def case(word: int, bus: int, runs: list[int], **params) -> tuple[Case, list[int]]:
    """Runs of words that follow each other through the whole memory."""
    words = [int.from_bytes(RNG.bytes(word // 8), "little") for _ in range(sum(runs))]
    starts = np.cumsum([0, *runs])[:-1]
    beats = [w >> bus * k & (1 << bus) - 1 for w in words for k in range(word // bus)]
    params |= dict(WordBits=word, DataWidth=bus, Beats=len(beats), File="m.mem")
    return Case("axi_memory", params, {"a": [n << 8 | int(s) for n, s in zip(runs, starts)]}, {"m": len(words), "e": 1}, {"m.mem": mem(beats, bus)}), words


@pytest.mark.slow
def test_data_and_pace(tmp_path):
    """Every word whatever stalls; a word takes what latency and share say; a burst beyond the end is told."""
    many = [case(128, 64, [5, 1, 9], Base=4096 - 64, Seed=3, Often=120, Latency=9), case(32, 32, [64, 64], Latency=40, Bad=100),
            case(64, 64, [1] * 12, Base=640, Seed=9, Often=30, Share=99)]
    for got, (c, words), bad in zip(run_modules([c for c, _ in many], tmp_path, 5, FOLDERS), many, (0, 1, 0)):
        assert got["m"] == words and got["e"] == [bad], c.params
    c, words = case(64, 64, [128], Latency=100, Share=64)
    got, cycles = run_timed([c], tmp_path, None, FOLDERS)
    assert got[0]["m"] == words and 0 <= cycles - (100 + 4 * 128) <= 8, cycles
    with pytest.raises(UserError, match="the burst at 00000208 of 512 bytes leaves the memory of 1024 bytes at 0"):
        run_modules([Case(c.top, c.params, {"a": [128 << 8 | 1]}, c.outputs, c.mems)], tmp_path, None, FOLDERS)
