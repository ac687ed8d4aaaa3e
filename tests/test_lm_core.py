"""Language-model cores over their parameters: every token and every value that a tap shows is the graph's, every cycle is foretold."""
from dataclasses import replace

import pytest

from hw.lm.design import lm_design
from hw.lm.layout import Machine
from ir.lm import WORDS, Sampler
from lm_programs import random_lm
from sim.lm.core import simulate

CASES = {
    "one engine, draws": (dict(layers=2), Machine(1, 10, 2, top_k=5), Sampler(5, 200, 7)),
    "nothing divides, widest words": (dict(dim=23, hidden=37, vocab=13, words=WORDS["q18"], seed=3), Machine(3, 20, 1, "fields", 1), Sampler()),
    "codes of 12 bits, two bits a weight": (dict(words=replace(WORDS["q14"], code_bits=12), seed=5), Machine(2, 80, 4, "two_bit"),
                                            Sampler(3, 500, 2))}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_value_is_the_graphs(case, tmp_path):
    sizes, machine, sampler = CASES[case]
    d = lm_design(random_lm(**{"layers": 1} | sizes), tmp_path / "core", replace(machine, taps=True))
    run = simulate(d, [2, 0, 1], 4, sampler)
    assert run.tokens == run.want
    assert not run.wrong, "\n".join(map(str, run.wrong[:9]))
    if sampler.k == 1:
        assert run.cycles == [d.cycles.token] * 4
    else:   # a draw takes some cycles more
        assert all(0 < c - d.cycles.token < 60 for c in run.cycles)
