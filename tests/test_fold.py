"""Folding is exact: it is compared with trying everything."""
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.folding.choose import Choice, choose, total
from ir import UserError

choice = st.builds(lambda c, lut, dsp: Choice((1, 1), c, {"lut": lut, "dsp": dsp}),
                   st.integers(1, 12), st.integers(0, 20), st.integers(0, 5))
nodes = st.lists(st.lists(choice, min_size=1, max_size=4), min_size=1, max_size=4).map(lambda v: {f"n{i}": c for i, c in enumerate(v)})


def everything(choices, max_cycles, limits):
    """(cycles, lut) of the best of all combinations, or None."""
    best = None
    for combination in itertools.product(*choices.values()):
        t = total(dict(zip(choices, combination)))
        if all(t[r] <= bound for r, bound in limits.items()) and (max_cycles is None or t["cycles"] <= max_cycles):
            key = (t["cycles"] if max_cycles is None else 0, t["lut"])
            best = key if best is None else min(best, key)
    return best


@settings(max_examples=300, deadline=None)
@given(nodes, st.none() | st.integers(1, 12), st.dictionaries(st.sampled_from(["lut", "dsp"]), st.integers(0, 40)))
def test_choose_is_the_best_of_all(choices, max_cycles, limits):
    best = everything(choices, max_cycles, limits)
    if best is None:
        with pytest.raises(UserError, match="cannot be met|does not fit"):
            choose(choices, max_cycles, limits)
        return
    found = choose(choices, max_cycles, limits)
    t = total(found)
    assert all(found[n] in options for n, options in choices.items())
    assert all(t[r] <= bound for r, bound in limits.items())
    assert (t["cycles"] if max_cycles is None else 0, t["lut"]) == best
    assert max_cycles is None or t["cycles"] <= max_cycles


def test_messages():
    choices = {"a": [Choice((1, 1), 100, {"lut": 10}), Choice((2, 1), 50, {"lut": 30})], "b": [Choice((1, 1), 80, {"lut": 5})]}
    with pytest.raises(UserError, match="^60 cycles a frame cannot be met: node 'b' takes 80 at its fastest folding$"):
        choose(choices, max_cycles=60)
    with pytest.raises(UserError, match="even at its slowest folding it needs 15 LUT where 12 may be used$"):
        choose(choices, limits={"lut": 12})
    with pytest.raises(UserError, match="at 90 cycles a frame it needs 35 LUT where 20 may be used$"):
        choose(choices, 90, {"lut": 20})
    assert choose({}) == {}
