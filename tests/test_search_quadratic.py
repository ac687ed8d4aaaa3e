"""Interactions of pairs of layers against brute force, and what is said when there are too many."""
import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ir import Table, UserError
from search import Pairs, allocate, pareto, quadratic
from search.budgets import total, within
from search.objectives import objectives

OPTIONS = ("int2/uint8", "int4/uint8", "int8/uint8")


def instance(seed, layers=5, density=0.7, signed=True):
    """Damage, costs and pairs over all combinations of some pairs of layers."""
    rng = random.Random(seed)
    names = [f"l{i}" for i in range(layers)]
    rows = lambda low, high: {k: {o: rng.uniform(low, high) for o in OPTIONS} for k in names}
    cells = lambda: {(p, q): rng.uniform(-4.0 * signed, 4) for p in OPTIONS for q in OPTIONS if rng.random() < 0.8}
    pairs = {(a, b): cells() for a, b in itertools.combinations(names, 2) if rng.random() < density}
    costs = {r: Table(r, "cost", rows(1, 10)) for r in ("bytes", "lut")}
    return Table("kl", "damage", rows(0, 9)), costs, Pairs("kl", pairs)


def brute(damage, costs, budgets, pairs, ties=(), fixed=None, forbid=None):
    """Least damage with interactions of all plans that fit, or None."""
    values = []
    for choice in itertools.product(OPTIONS, repeat=len(damage.rows)):
        options = dict(zip(damage.rows, choice))
        if (all(len({options[k] for k in tie}) == 1 for tie in ties) and (fixed or {}).items() <= options.items()
                and all(options[k] != o for k, o in (forbid or {}).items())
                and all(within(total(costs[r], options), most) for r, most in budgets.items())):
            values.append(total(damage, options) + pairs.total(options))
    return min(values, default=None)


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), room=st.floats(0, 1), rules=st.booleans())
def test_equals_brute_force(solver, seed, room, rules):
    """Two budgets; ties (whose own interactions join the group's damage), a fixed and a forbidden option."""
    damage, costs, pairs = instance(seed)
    rule = {"ties": [("l0", "l1"), ("l1", "l3")], "fixed": {"l4": OPTIONS[1]}, "forbid": {"l2": OPTIONS[0]}} if rules else {}
    least = {r: sum(min(row.values()) for row in t.rows.values()) for r, t in costs.items()}
    most = {r: sum(max(row.values()) for row in t.rows.values()) for r, t in costs.items()}
    budgets = {r: least[r] + room * (most[r] - least[r]) for r in costs}
    best = brute(damage, costs, budgets, pairs, **rule)
    try:
        plan = allocate(damage, costs, budgets, pairs=pairs, solver=solver, gap=0, **rule)
    except UserError as e:
        assert best is None, e
        return
    options = {k: str(o) for k, o in plan.options.items()}
    assert all(plan.costs[r] == total(costs[r], options) <= budgets[r] * (1 + 1e-9) for r in costs)
    assert plan.damage["kl"] == pytest.approx(total(damage, options) + pairs.total(options), rel=1e-12)
    assert plan.damage["kl"] == pytest.approx(best, rel=1e-6, abs=1e-6) and plan.why["objective"] == pytest.approx(plan.damage["kl"])
    assert plan.why["status"] == "optimal" and plan.why["pairs"] == pairs.total(options)


def test_pairs_change_the_plan():
    """Each layer alone would take int2; both in int2 hurt."""
    damage = Table("kl", "damage", {k: {"int2/uint8": 0.1, "int8/uint8": 0.0} for k in "ab"})
    costs = {"bytes": Table("bytes", "cost", {k: {"int2/uint8": 2, "int8/uint8": 8} for k in "ab"})}
    pairs = Pairs("kl", {("b", "a"): {("int2/uint8", "int8/uint8"): 3.0, ("int2/uint8", "int2/uint8"): 5.0}})
    assert {str(o) for o in allocate(damage, costs, {"bytes": 10}, pairs=pairs).options.values()} == {"int8/uint8", "int2/uint8"}
    assert str(allocate(damage, costs, {"bytes": 10}, pairs=pairs)["a"]) == "int2/uint8"
    assert allocate(damage, costs, {"bytes": 10}, pairs=Pairs("kl", {})).damage["kl"] == 0.1


def test_pairs_are_scaled_like_their_table():
    """With two tables the pairs go the way of the one of their name."""
    damage, costs, pairs = instance(4, layers=4)
    other = Table("mse", "damage", {k: dict.fromkeys(OPTIONS, 7.0) for k in damage.rows})
    alone = allocate(damage, costs, {"lut": "50%"}, pairs=pairs, gap=0)
    both = allocate([(damage, 2.0), (other, 1.0)], costs, {"lut": "50%"}, pairs=pairs, gap=0)
    assert alone.options == both.options and alone.damage["kl"] == both.damage["kl"]


def test_the_relaxation_is_tighter_than_mccormick():
    """Its bound lies above that of z >= x + y - 1 alone, and below the best plan."""
    from scipy.optimize import linprog
    rng = np.random.default_rng(0)
    k, q = 3, rng.uniform(0, 4, (4, 4, 3, 3))
    names = [f"l{i}" for i in range(4)]
    pairs = Pairs("kl", {(names[a], names[b]): {(OPTIONS[i], OPTIONS[j]): q[a, b, i, j] for i in range(k) for j in range(k)}
                         for a, b in itertools.combinations(range(4), 2)})
    damage = Table("kl", "damage", {n: dict.fromkeys(OPTIONS, 0.0) for n in names})
    plan = allocate(damage, pairs=pairs, gap=0)
    edges = list(itertools.combinations(range(4), 2))
    cells = [(e, i, j) for e in range(len(edges)) for i in range(k) for j in range(k)]
    rows = np.zeros((len(cells), 4 * k + len(cells)))
    for r, (e, i, j) in enumerate(cells):
        rows[r, [edges[e][0] * k + i, edges[e][1] * k + j, 4 * k + r]] = 1, 1, -1
    weak = linprog(np.r_[np.zeros(4 * k), [q[*edges[e], i, j] for e, i, j in cells]], rows, np.ones(len(cells)),
                   np.kron(np.eye(4), np.ones(k)) @ np.eye(4 * k, rows.shape[1]), np.ones(4), bounds=(0, 1)).fun
    s = quadratic.Space({(n,): list(OPTIONS) for n in names})
    own = quadratic.coupling(s, pairs, objectives(damage))
    part = quadratic.Columns(s.group, np.zeros(12), np.zeros((12, 0)))
    p, ruler = quadratic._programme(own, np.zeros(12), part, np.zeros(0))
    from scipy.sparse import coo_array
    strong = linprog(p.cost, A_eq=coo_array((p.value, (p.row, p.column))).tocsr(), b_eq=p.upper, bounds=(0, 1)).fun * ruler
    assert weak == pytest.approx(0, abs=1e-9) and 0 < strong <= plan.damage["kl"] + 1e-9


def test_a_plan_and_its_gap_when_time_runs_out():
    damage, costs, pairs = instance(1, layers=30, density=1.0)
    plan = allocate(damage, costs, {"bytes": "50%", "lut": "50%"}, pairs=pairs, gap=0, time_limit=2.0)
    assert plan.why["status"] == "time limit" and plan.why["gap"] > 0 and plan.why["bound"] <= plan.damage["kl"] and plan.why["seconds"] < 8


def test_exchanges_reach_a_local_best():
    """No exchange of one option or two, within the budgets, lowers the damage of what `descend` gives."""
    damage, costs, pairs = instance(7, layers=6)
    s = quadratic.Space({(k,): list(OPTIONS) for k in damage.rows})
    own, goal = quadratic.coupling(s, pairs, objectives(damage)), s.sums(damage.rows)
    excess, room = s.sums(costs["lut"].rows)[:, None], np.array([35.0])
    start = np.array([p + int(np.argmin(part)) for p, part in zip(s.starts, np.split(excess[:, 0], s.starts[1:]))])
    best = quadratic.descend(own, goal, excess, room, start)
    assert excess[best].sum() <= room and own.value(goal, best) < own.value(goal, start)
    for places in itertools.product(range(len(s.group)), repeat=2):
        tried = best.copy()
        for j in places:
            tried[s.group[j]] = j
        assert excess[tried].sum() > room or own.value(goal, tried) >= own.value(goal, best) - 1e-9


def test_a_front_with_pairs():
    """Every point is the best of its budget, by brute force, and none beats another."""
    damage, costs, pairs = instance(11, layers=4)
    front = pareto(damage, costs, "lut", 6, pairs=pairs, gap=0)
    assert len(front) > 2 and all(a.costs["lut"] < b.costs["lut"] and a.damage["kl"] > b.damage["kl"] for a, b in itertools.pairwise(front))
    for p in front:
        assert p.damage["kl"] == pytest.approx(brute(damage, costs, {"lut": p.costs["lut"]}, pairs), rel=1e-6)


@pytest.mark.parametrize("pairs, how, text", [
    (Pairs("mse", {}), {}, "pairs 'mse' go with a damage table of that name; given: kl"),
    (Pairs("kl", {("l0", "z"): {}}), {}, "pairs 'kl': no layer 'z' in the damage table; make both from the same model"),
    (Pairs("kl", {}), {"order": "lexicographic"}, "pairs go with order 'weighted' only; leave out one of the two"),
    (Pairs("kl", {}, about={"model": "x"}), {}, "damage table 'kl' is of model y, pairs table 'kl' of model x; make both from the same"),
])
def test_messages(pairs, how, text):
    damage, costs, _ = instance(0)
    damage.about["model"] = "y"
    with pytest.raises(UserError) as e:
        allocate(damage, costs, {}, pairs=pairs, **how)
    assert str(e.value).startswith(text) and "\n" not in str(e.value)


def test_too_many_pairs(monkeypatch):
    monkeypatch.setattr(quadratic, "MOST", 50)
    damage, costs, pairs = instance(0, density=1.0)
    with pytest.raises(UserError, match="^pairs 'kl': 10 pairs of layers make 90 products of options, more than 50; keep the strongest pairs or"):
        allocate(damage, costs, {}, pairs=pairs)
