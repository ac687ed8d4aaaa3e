"""Simulated language-model cores: what is compared, what is said of a difference, logs of the driver."""
import numpy as np
import pytest

from hw.lm.taps import GROUPS, taps
from ir import UserError
from ir.lm import Sampler
from lm_programs import random_lm
from sim.lm.core import Surroundings, trouble
from sim.lm.reference import reference
from sim.lm.script import Script, Token, read_logs
from sim.lm.taps import CODES, compare

LANES = 8


@pytest.fixture(scope="module")
def shown():
    """A model, what its taps show, the values of two prompt tokens and two more, and these as the beats of a core without fault."""
    p = random_lm(20, 30)
    own = taps(p, 8)
    want = reference(p, [3, 1], 3, Sampler(), {t.node for t in own})
    return own, want, lambda: [_beats(own, want, g) for g in range(len(GROUPS))]


def _beats(own, want, group: int) -> np.ndarray:
    parts, lanes = [np.zeros((0, LANES if group == CODES else 1), np.int64)], LANES if group == CODES else 1
    for values, head in zip(want.steps, want.answered):
        for t in own:
            if t.group == group and (head or not t.head):
                v = values[t.node][t.start:t.start + t.count]
                parts.append(np.append(v, np.full(-len(v) % lanes, 99)).reshape(-1, lanes))
    return np.concatenate(parts)


def test_all_right(shown):
    own, want, rows = shown
    assert compare(rows(), own, want.steps, want.answered) == []
    assert want.answered == [False, True, True, True] and len(want.tokens) == 3


def test_the_first_difference_is_named(shown):
    own, want, rows = shown
    beats = rows()
    beats[CODES][4, 1] += 3      # the second vector of the layer is that of f
    beats[GROUPS.index("sums")][-1] += 1
    wrong = compare(beats, own, want.steps, want.answered)
    f, last = want.steps[0]["layers.0.attn.f_proj.codes"], want.steps[3]["lm_head"]
    assert str(wrong[0]) == f"token 0, layers.0.attn.f_proj.codes[9]: {f[9] + 3} instead of {f[9]} (1 of 20 values differ)"
    assert str(wrong[1]) == f"token 3, lm_head[10]: {last[10] + 1} instead of {last[10]} (1 of 11 values differ)" and len(wrong) == 2


def test_padding_does_not_count(shown):
    own, want, rows = shown
    beats = rows()
    assert beats[CODES][2, 4] == 99
    beats[CODES][2, 4:] = -5
    assert compare(beats, own, want.steps, want.answered) == []


def test_too_few_and_too_many(shown):
    own, want, rows = shown
    beats = rows()
    k = GROUPS.index("forget")
    beats[k] = beats[k][:-3]
    assert str(compare(beats, own, want.steps, want.answered)[0]).startswith("token 3, layers.1.attn.forget[17]: nothing instead of ")
    beats[k] = np.concatenate([rows()[k], [[7]]])
    wrong = compare(beats, own, want.steps, want.answered)
    assert str(wrong[0]) == "token 4, group forget beyond the last token[0]: 7 instead of 0 (1 of 1 values differ)"


def test_scripts_and_logs():
    s = Script().set(seed=3).reset().run([4, 5], 2, 99)
    assert s.lines[:2] == ["set seed 3", "reset"] and "prompt 1 4 5" in s.lines and "tokens 2 99" in s.lines
    logs = read_logs("taken 4\nreset\ntaken 9\ntoken 7 0 20\ntoken 8 1 31\nread 12 2 0 40\ntokens 1 2 31\n"
                     "reset\nuntil 0 1 88\nread 12 2304 0 9\n")
    assert logs[0].tokens == [Token(7, False, 20), Token(8, True, 31)] and logs[0].taken == [9] and logs[0].status == 2 and not trouble(logs[0])
    assert trouble(logs[1]) == "illegal code among the weights, token out of the vocabulary"
    assert trouble(read_logs("reset\ntokens 0 1 9\nread 12 1 0 9\n")[0]) == "it stands still (STATUS 0x1)"


@pytest.mark.parametrize("given, said", [
    (dict(stalls=1.0), "stalls in a part of 1 of the cycles: give a number from 0 to below 1"),
    (dict(share=0.0), "a memory with a beat in 0 of the cycles: give a number above 0, up to 1"),
    (dict(latency=70000), "a latency of 70000 cycles: give 0 to 65535")])
def test_surroundings_that_cannot_be(given, said):
    with pytest.raises(UserError) as e:
        Surroundings(**given)
    assert str(e.value) == said
