"""Prices and bounds against a linear programme over all columns, and choices proven against each other."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import linprog

from search.exact import choose
from search.prices import dual
from search.space import Columns


def instance(seed, groups=40, options=5, resources=3, room=0.4, decades=1.0):
    """Columns, and room that is a share of what the dearest columns exceed the cheapest by."""
    rng = np.random.default_rng(seed)
    regret = 10.0 ** rng.uniform(-decades, 0, (groups, options))
    excess = rng.uniform(0, 100, (groups, options, resources)).round()
    regret -= regret.min(axis=1, keepdims=True)
    excess -= excess.min(axis=1, keepdims=True)
    columns = Columns(np.repeat(np.arange(groups), options), regret.ravel(), excess.reshape(groups * options, resources))
    return columns, room * excess.max(axis=1).sum(axis=0)


def relaxed(columns, room):
    """Least regret where columns may be chosen in fractions; None where even they do not fit."""
    one = (columns.group == np.unique(columns.group)[:, None]).astype(float)
    found = linprog(columns.regret, columns.excess.T if len(room) else None, room if len(room) else None, one, np.ones(len(one)), bounds=(0, 1))
    return found.fun if found.status == 0 else None


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), resources=st.integers(0, 6), room=st.floats(0.05, 0.9), decades=st.sampled_from([1.0, 6.0]))
def test_the_dual_reaches_the_relaxation(seed, resources, room, decades):
    """Never above it (a true bound), and within a thousandth of it (or a millionth of the largest regret); without end where nothing fits."""
    columns, room = instance(seed, resources=resources, room=room, decades=decades)
    found, best = dual(columns, room), relaxed(columns, room)
    assert (found.prices >= 0).all()
    priced = columns.regret + columns.excess @ found.prices
    assert found.bound == pytest.approx(np.minimum.reduceat(priced, columns.starts).sum() - found.prices @ room, rel=1e-9, abs=1e-9)
    if best is None:
        assert found.bound > np.maximum.reduceat(columns.regret, columns.starts).sum()  # more than any choice has
    else:
        assert found.bound <= best + 1e-6 and found.bound >= best - 1e-3 * best - 1e-6


@pytest.mark.parametrize("seed", range(8))
def test_cuts_of_other_budgets_change_nothing(seed):
    """Started from prices and cuts of a neighbouring question, the same bound comes out, in fewer queries at best."""
    columns, room = instance(seed, resources=1 + seed % 3)
    cold = dual(columns, 0.8 * room)
    near = dual(columns, room)
    warm = dual(columns, 0.8 * room, near.cuts, near.prices)
    assert warm.bound == pytest.approx(cold.bound, rel=1e-4, abs=1e-9)


def test_cuts_of_columns_that_are_gone_do_no_harm():
    columns, room = instance(3, resources=2)
    known = dual(columns, room)
    fewer = columns.take(np.flatnonzero(np.arange(len(columns.group)) % 5 != 0))
    assert dual(fewer, room, known.cuts, known.prices).bound == pytest.approx(dual(fewer, room).bound, rel=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_a_start_and_a_neighbour_lead_to_the_same_optimum(seed):
    columns, room = instance(seed, groups=15, resources=1 + seed % 3)
    regret = lambda found: columns.regret[found.chosen].sum()
    alone, wider = choose(columns, 0.9 * room, "highs", 60, 0.0), choose(columns, room, "highs", 60, 0.0)
    helped = choose(columns, 0.9 * room, "highs", 60, 0.0, start=alone.chosen, near=wider)
    loose = choose(columns, 0.9 * room, "highs", 60, 0.1, near=wider)
    assert regret(helped) == pytest.approx(regret(alone), rel=1e-9) and alone.status == helped.status == "optimal"
    assert regret(wider) <= regret(alone) <= regret(loose) <= regret(alone) / 0.9 and loose.gap <= 0.1
    assert all((columns.excess[f.chosen].sum(axis=0) <= 0.9 * room).all() for f in (alone, helped, loose))
    assert all(f.bound <= regret(alone) + 1e-9 for f in (alone, helped, loose))


def test_a_start_that_does_not_fit_is_left():
    columns, room = instance(1)
    start = np.array([s + int(np.argmin(r)) for s, r in zip(columns.starts, np.split(columns.regret, columns.starts[1:]))])
    assert (columns.excess[start].sum(axis=0) > room).any()
    found = choose(columns, room, "highs", 60, 1e-3, start=start)
    assert (columns.excess[found.chosen].sum(axis=0) <= room).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uncorrelated", "size * 4^-bits", "five damages"])
def test_ten_thousand_layers(kind):
    """Three budgets, eight options, proven to 0.1 % in seconds (the bound here leaves room for a busy machine)."""
    from benchmarks.solver_scaling import KINDS, instance, ours
    seconds, gap = ours("highs", *instance(kind, 10_000), KINDS[kind], 1e-3, 60.0)
    assert gap <= 1e-3 and seconds < 10
