"""The front of plans against brute force."""
import itertools
import random

import pytest

from ir import Table, UserError
from search import pareto
from search.budgets import total

OPTIONS = ("int2/uint8", "int4/uint8", "int6/uint8", "int8/uint8")


def instance(seed, layers=5, combine="sum", whole=True):
    rng = random.Random(seed)
    names = [f"l{i}" for i in range(layers)]
    damage = {k: {o: float(rng.randint(0, 9)) if whole else rng.lognormvariate(-8, 3) for o in OPTIONS} for k in names}
    cost = {k: {o: float(rng.randint(1, 30)) for o in OPTIONS} for k in names}
    lut = {k: {o: float(rng.randint(1, 30)) for o in OPTIONS} for k in names}
    costs = [Table("bytes", "cost", cost, about={"combine": combine}, fixed=3.0), Table("lut", "cost", lut)]
    return Table("kl", "damage", damage), {t.name: t for t in costs}


def everything(damage, costs, budgets=None):
    """(bytes, damage) of every plan that fits."""
    plans = [dict(zip(damage.rows, c)) for c in itertools.product(OPTIONS, repeat=len(damage.rows))]
    return [(total(costs["bytes"], p), total(damage, p)) for p in plans if all(total(costs[r], p) <= b for r, b in (budgets or {}).items())]


def beaten(point, others):
    return any(c <= point[0] and d <= point[1] and (c, d) != point for c, d in others)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("combine, whole", [("sum", True), ("sum", False), ("max", True)])
@pytest.mark.parametrize("room", [None, 15.0])
def test_every_point_is_on_the_true_front(seed, combine, whole, room):
    """No plan at all beats one of the front, and the best plan of every budget asked for is in it."""
    damage, costs = instance(seed, combine=combine, whole=whole)
    least_lut = sum(min(row.values()) for row in costs["lut"].rows.values())
    budgets = {} if room is None else {"lut": least_lut + room}
    plans, possible = pareto(damage, costs, "bytes", 12, budgets, gap=0), everything(damage, costs, budgets)
    front = [(p.costs["bytes"], p.damage["kl"]) for p in plans]
    assert front == sorted(front) and all(x[1] > y[1] for x, y in itertools.pairwise(front)) and set(front) <= set(possible)
    if combine == "sum":
        assert not any(beaten(point, possible) for point in front)
        assert front[0][0] == min(c for c, _ in possible)
    assert front[-1][1] == min(d for _, d in possible)
    least, most = front[0][0], front[-1][0]
    for i in range(12 if combine == "sum" else 0):
        budget = least + (most - least) * i / 11
        assert min(d for c, d in possible if c <= budget) == pytest.approx(min(d for c, d in front if c <= budget), rel=1e-9)


def test_a_front_of_all_bounds_of_a_maximum():
    """With as many points as there are bounds, the front of a maximum is the whole true front."""
    damage, costs = instance(1, combine="max")
    possible = everything(damage, costs)
    truth = sorted({p for p in possible if not beaten(p, possible)})
    assert [(p.costs["bytes"], p.damage["kl"]) for p in pareto(damage, costs, "bytes", 100, gap=0)] == truth


def test_ties_and_fixed_hold_along_the_front():
    damage, costs = instance(2)
    for p in pareto(damage, costs, "bytes", 8, ties=[("l0", "l1")], fixed={"l4": "int8/uint8"}):
        assert p["l0"] == p["l1"] and str(p["l4"]) == "int8/uint8"


def test_one_plan_is_a_front():
    damage = Table("kl", "damage", {"a": {"int8/uint8": 1.0}})
    assert len(pareto(damage, {"bytes": Table("bytes", "cost", {"a": {"int8/uint8": 5.0, "int2/uint8": 1.0}})}, "bytes")) == 1


@pytest.mark.parametrize("args, text", [
    (("dsp",), "no cost table of 'dsp', only of: bytes, lut"),
    (("bytes", 1), "a front of 1 points; ask for 2 or more"),
    (("bytes", 5, None, None, {"order": "lexicographic"}), "a front is over one damage or a weighted sum of several; call allocate with each"),
    (("bytes", 5, {"lut": 1}), "no plan fits lut<=1: the smallest possible is lut="),
])
def test_messages(args, text):
    with pytest.raises(UserError) as e:
        pareto(*instance(0), *args[:4], **(args[4] if len(args) > 4 else {}))
    assert str(e.value).startswith(text)
