"""The model that ships speaks on its simulated core: every token and every value within, cycles of a token as computed."""
import pytest

from hw.lm.design import lm_design
from hw.lm.layout import Machine
from ir import lm
from qsearch.lm_demo import ENGINES, LANES, SHIPPED, TRITS
from qsearch.lm_simulating import computed
from sim.lm.core import simulate

pytestmark = pytest.mark.slow
TOKENS = 50


def test_fifty_tokens(tmp_path):
    if not lm.is_lm(SHIPPED):
        pytest.skip(f"no model in {SHIPPED}")
    p = lm.load_lm(SHIPPED)
    d = lm_design(p, tmp_path / "d", Machine(ENGINES, TRITS, LANES, top_k=8, taps=True))
    prompt = lm.Pieces(p.vocab).encode("ROMEO:\n")
    r = simulate(d, prompt, TOKENS, lm.Sampler.at(8, 0.8, 1))
    assert r.right, (r.tokens, r.want, str(r.wrong[0]) if r.wrong else "")
    assert len(r.tokens) == TOKENS and r.compared > TOKENS * 10_000
    assert abs(r.cycles_per_token / computed(d, p, 8) - 1) < 0.05
    words = lm.Pieces(p.vocab).decode(r.tokens).split()
    assert sum(w.strip(".,:;!?'").isalpha() for w in words) >= 5, words
