"""Ties, fixed and forbidden options, parts of the model, several objectives: against brute force, and what is said when they contradict."""
import itertools
import random

import pytest
from hypothesis import given, settings, strategies as st

from ir import Layer, Option, Plan, Table, UserError
from search import COSTS, allocate, cost_tables, explain, join, pareto
from search.budgets import total, within

OPTIONS = ("int2/uint8", "int4/uint8", "int8/uint8")


def table(name, rows, kind="cost", **more):
    return Table(name, kind, {k: dict(zip(OPTIONS, row)) for k, row in rows.items()}, **more)


def rows(rng, layers=5, high=9):
    return {f"l{i}": [float(rng.randint(0, high)) for _ in OPTIONS] for i in range(layers)}


def plans(layers, fits):
    """Every {layer: option} that `fits`."""
    return [p for p in (dict(zip(layers, c)) for c in itertools.product(OPTIONS, repeat=len(layers))) if fits(p)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), tolerance=st.sampled_from([0.0, 0.1, 0.5]), room=st.floats(0.2, 1))
def test_lexicographic_equals_brute_force(seed, tolerance, room):
    """The second objective's least among all plans within the tolerance of the first's, the third's among those."""
    rng = random.Random(seed)
    goals = [table(n, rows(rng), "damage") for n in ("kl", "mse", "size")]
    lut = table("lut", rows(rng, high=20))
    budget = room * sum(max(r.values()) for r in lut.rows.values()) * 0.6
    left = plans(lut.rows, lambda p: within(total(lut, p), budget))
    try:
        plan = allocate(goals, {"lut": lut}, {"lut": budget}, order="lexicographic", tolerance=tolerance, gap=0)
    except UserError:
        assert not left
        return
    for g in goals:
        reached = plan.damage[g.name]
        assert plan.why["stages"][g.name]["least"] >= min(total(g, p) for p in left) - 1e-9
        assert plan.why["stages"][g.name]["least"] == pytest.approx(min(total(g, p) for p in left))
        assert reached <= min(total(g, p) for p in left) * (1 + tolerance) + 1e-9
        left = [p for p in left if total(g, p) <= plan.why["stages"][g.name]["least"] * (1 + tolerance) + 1e-9]
    assert {k: str(o) for k, o in plan.options.items()} in left and plan.why["order"] == "lexicographic"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), room=st.floats(0, 1), gap=st.sampled_from([0.0, 0.05]))
def test_rules_and_regions_equal_brute_force(seed, room, gap):
    """A budget for all, one for some layers, forbidden patterns, a fixed pattern and ties, at once."""
    rng = random.Random(seed)
    damage, lut = table("kl", rows(rng), "damage"), table("lut", rows(rng, high=20), fixed=2.0)
    most = sum(max(r.values()) for r in lut.rows.values()) * room + 2
    part = sum(max(lut.rows[k].values()) for k in ("l0", "l1", "l2")) * room
    rule = {"ties": [("l0", "l3")], "fixed": {"last": "int4/uint8"}, "forbid": {"l[12]": "int2/*", "l0": [OPTIONS[2]]}}
    left = plans(damage.rows, lambda p: within(total(lut, p), most) and within(sum(lut.rows[k][p[k]] for k in ("l0", "l1", "l2")), part)
                 and p["l0"] == p["l3"] and p["l4"] == OPTIONS[1] and OPTIONS[0] not in (p["l1"], p["l2"]) and p["l0"] != OPTIONS[2])
    budgets = {"lut": most, "lut@l0,l[12]": part}
    try:
        plan = allocate(damage, {"lut": lut}, budgets, gap=gap, **rule)
    except UserError:
        assert not left
        return
    options, best = {k: str(o) for k, o in plan.options.items()}, min(total(damage, p) for p in left)
    assert options in left and best <= plan.damage["kl"] <= best / (1 - gap) + 1e-9
    assert plan.costs["lut@l0,l[12]"] == sum(lut.rows[k][options[k]] for k in ("l0", "l1", "l2")) and plan.budgets == pytest.approx(budgets)
    assert plan.why["gap"] <= gap and (plan.damage["kl"] - best) <= plan.why["gap"] * plan.damage["kl"] + 1e-9


def test_monotone_in_the_budget():
    """MixDQ's programme over nine layers: its optimum by brute force, and never worse with more room."""
    rng = random.Random(9)
    size = {f"l{i}": rng.randint(1, 9) for i in range(9)}
    damage = table("sqnr", {k: sorted((rng.random() for _ in OPTIONS), reverse=True) for k in size}, "damage")
    bits = table("bits", {k: [n * b for b in (2, 4, 8)] for k, n in size.items()})
    every, before = [(total(bits, p), total(damage, p)) for p in plans(size, lambda p: True)], float("inf")
    for average in (2, 2.5, 3, 3.66, 4, 4.5, 5, 6, 7, 8):
        budget = average * sum(size.values())
        plan = allocate(damage, {"bits": bits}, {"bits": budget}, gap=0)
        assert plan.damage["sqnr"] == pytest.approx(min(d for c, d in every if c <= budget), rel=1e-9) and plan.damage["sqnr"] <= before
        before = plan.damage["sqnr"]


def test_each_group_its_own_metric():
    """Content layers by one metric, the others by another; weights as in a sum of both, each in units of its own group."""
    ssim = table("ssim", {"ff1": [4, 2, 0], "ff2": [2, 1, 0], "conv": [9, 9, 9]}, "damage")
    sqnr = table("sqnr", {"ff1": [7, 7, 7], "ff2": [7, 7, 7], "conv": [300, 100, 0]}, "damage")
    bits = {"bits": table("bits", {k: [2, 4, 8] for k in ssim.rows})}
    plan = allocate([(ssim, 1.0, "ff*"), (sqnr, 1.0, ["conv"])], bits, {"bits": 14, "bits@ff*": 10})
    assert [str(o) for o in plan.options.values()] == ["int8/uint8", "int2/uint8", "int4/uint8"]
    assert plan.damage == {"ssim": 2.0, "sqnr": 100.0} and plan.costs == {"bits": 14.0, "bits@ff*": 10.0}


def test_an_average_over_a_part_is_of_that_part():
    layers = {k: Layer(k, "linear", out, 10) for k, out in (("enc.a", 10), ("enc.b", 30), ("head", 100))}
    costs = cost_tables(layers, dict.fromkeys(layers, OPTIONS), ["wbits"])
    damage = table("kl", {k: [3, 1, 0] for k in layers}, "damage")
    plan = allocate(damage, costs, {"wbits@enc.*": 5})
    assert [str(o) for o in plan.options.values()] == ["int8/uint8", "int4/uint8", "int8/uint8"] and plan.costs["wbits@enc.*"] == 5.0


def test_percentages_are_of_an_option_or_a_plan():
    damage, lut = table("kl", {k: [3, 2, 1] for k in "ab"}, "damage"), {"lut": table("lut", {k: [2, 4, 9] for k in "ab"})}
    bound = lambda reference: allocate(damage, lut, {"lut": "100%"}, reference=reference).budgets["lut"]
    assert bound(None) == 18 and bound(OPTIONS[1]) == bound(Option.parse(OPTIONS[1])) == 8
    assert bound(Plan({"a": OPTIONS[1], "b": OPTIONS[2]})) == 13


def test_what_a_target_lacks_is_not_chosen():
    """A target's table binds even without a budget; a table without a target does not."""
    damage = table("kl", {"a": [3, 2, 1]}, "damage")
    few = Table("lut", "cost", {"a": {OPTIONS[0]: 1.0}})
    assert str(allocate(damage, {"lut": few})["a"]) == OPTIONS[2]
    few.about["target"] = "ecp5"
    assert str(allocate(damage, {"lut": few})["a"]) == OPTIONS[0]


A_B = table("kl", {"a": [3, 2, 1], "b": [3, 2, 1]}, "damage")
WIDE = Table("lut", "cost", {k: {"int16/uint8": 1.0} for k in "ab"}, about={"target": "ecp5-25k"})


@pytest.mark.parametrize("damage, costs, how, text", [
    (A_B, [], {"ties": [("a", "z")]}, "tie a+z: no layer 'z' in the damage table (it has a, b)"),
    (A_B, [], {"forbid": {"c*": OPTIONS[0]}}, "forbid: no layer 'c*' in the damage table (it has a, b)"),
    (A_B, [], {"fixed": {"a": OPTIONS[0], "b": OPTIONS[1]}, "ties": [("a", "b")]},
     "layers a, b are tied but fixed to different options (a to int2/uint8, b to int4/uint8); fix one or untie them"),
    (A_B, [], {"fixed": {"a": OPTIONS[0], "first": OPTIONS[1]}}, "layer a is fixed to different options (a to int2/uint8 and int4/uint8); fix one"),
    (A_B, [], {"fixed": {"a": "int8/int8"}}, "no option is left for layer a: damage tables know int2/uint8, int4/uint8, int8/uint8, fixed is "
     "int8/int8; measure it or fix another"),
    (A_B, [], {"fixed": {"b": OPTIONS[0]}, "forbid": {"a": "int2/*"}, "ties": [("a", "b")]},
     "no option is left for layers a, b: int2/* is forbidden for a, which is tied and fixed to int2/uint8; drop one of the rules"),
    (A_B, [], {"forbid": {"a": "*"}}, "no option is left for layer a: * is forbidden for a, which has only int2/uint8, int4/uint8, int8/uint8"),
    (A_B, [], {"forbid": {"a": "int2/*", "b": ["int4/*", "int8/*"]}, "ties": [("a", "b")]},
     "no option is left for layers a, b: of int2/uint8, int4/uint8, int8/uint8, cost tables and rules (forbidden: int2/*, int4/*, int8/*) leave"),
    (A_B, [WIDE], {}, "no option is left for layer a: cost table 'lut' of target ecp5-25k has int16/uint8 for a, but wanted is int2/uint8, "
     "int4/uint8, int8/uint8; offer options that it can run"),
    (Table("kl", "damage", {"a": {OPTIONS[0]: 1.0}, "b": {OPTIONS[1]: 1.0}}), [], {"ties": [("a", "b")]},
     "layers a, b are tied but share no measured option (a has int2/uint8; b has int4/uint8); measure a common one or untie them"),
    (Table("kl", "damage", {"a": {"int4/-": 1.0}}), [], {}, "the damage table has one-sided options such as int4/-; make whole ones of them"),
    ([(A_B, 1, "x*")], [], {}, "damage table 'kl': no layer matches 'x*' (it has a, b)"),
    ([(A_B, 1, "a")], [], {}, "layer 'b' belongs to no group of layers; name it in one of a"),
    ([A_B, A_B], [], {}, "damage tables kl, kl: two of one name"),
    ([A_B, table("mse", {"a": [1, 2, 3]}, "damage")], [], {}, "damage tables 'kl' and 'mse' are of different layers: b; to give each its own"),
    ([(A_B, -1)], [], {}, "damage table 'kl': weight -1 is not a number >= 0"),
    ("kl", [], {}, "damage is a table, or a list of tables, (table, weight) or (table, weight, layers), not str"),
    (A_B, [table("lut", {k: [1, 2, 3] for k in "ab"})], {"budgets": {"lut@enc*": 4.0}}, "budget lut@enc*: no layer matches 'enc*' (layers: a, b)"),
    (A_B, [], {"budgets": {"dsp@a": 4.0}}, "a budget for 'dsp', but costs are known only for: nothing"),
    (A_B, [], {"order": "best"}, "order 'best' is not one of weighted, lexicographic"),
    (A_B, [], {"tolerance": -1}, "tolerance -1: a number >= 0 is needed"),
    (table("kl", {"a": [1, 2, 3]}, "damage", about={"model": "123abc"}), [table("lut", {"a": [1, 2, 3]}, about={"model": "456def"})], {},
     "damage table 'kl' is of model 123abc, cost table 'lut' of model 456def; make both from the same model"),
])
def test_messages(damage, costs, how, text):
    with pytest.raises(UserError) as e:
        allocate(damage, {t.name: t for t in costs}, **how)
    assert str(e.value).startswith(text) and "\n" not in str(e.value)


def test_sides_are_joined():
    weights = Table("kl", "damage", {"a": {"int2/-": 3.0, "int8g64/-": 1.0}}, about={"model": "m"})
    acts = Table("kl", "damage", {"a": {"-/uint8": 0.5, "-/uint4": 2.0}})
    both = join(weights, acts)
    assert both.rows == {"a": {"int2/uint8": 3.5, "int2/uint4": 5.0, "int8g64/uint8": 1.5, "int8g64/uint4": 3.0}} and both.about["model"] == "m"
    mixed = Table("kl", "damage", {"a": weights.rows["a"] | acts.rows["a"]})
    assert join(mixed).rows == both.rows and join(mixed, options=["int2/uint4"]).rows == {"a": {"int2/uint4": 5.0}}
    layers = {"a": Layer("a", "linear", 8, 64)}
    plan = allocate(both, cost_tables(layers, both.rows, ["bops"]), {"bops": 8 * 64 * 8 * 4})
    assert str(plan["a"]) == "int8g64/uint4" and plan.costs["bops"] == 8 * 64 * 8 * 4  # a product of both sides, exactly


@pytest.mark.parametrize("acts, options, text", [
    (Table("mse", "damage", {}), None, "tables 'kl' and 'mse' are of different metrics; join two of the same"),
    (Table("kl", "damage", {"b": {"-/uint8": 1.0}}), None, "only one of the tables joined has layer 'a'; measure both sides of it"),
    (Table("kl", "damage", {"a": {"int8/uint8": 1.0}}), None, "layer 'a': no damage of inputs alone was measured; measure options such as -/uint8"),
    (Table("kl", "damage", {"a": {"-/uint8": 1.0}}), ["int4/uint4"], "layer 'a': option int4/uint4 needs the damage of -/uint4, which was not "
     "measured (known: int4/-, -/uint8)"),
])
def test_join_messages(acts, options, text):
    with pytest.raises(UserError) as e:
        join(Table("kl", "damage", {"a": {"int4/-": 1.0}}), acts, options)
    assert str(e.value) == text


def test_energy():
    """100 MACs of 8 by 8 bits at 0.2 + 0.1 pJ, 110 bytes at 10 pJ per 8; 32 bits would take 16 times the multiplications."""
    layer = Layer("a", "linear", 10, 10)
    assert COSTS["energy_pj"](layer, Option.parse("int8/uint8")) == pytest.approx(100 * 0.3 + 110 / 8 * 10)
    assert COSTS["energy_pj"](layer, Option.parse("int4/uint8")) == pytest.approx(100 * 0.2 + 60 / 8 * 10)


def test_why():
    """A knapsack where one more unit would help: what it is worth, what is next, what stands in the way."""
    damage = table("kl", {"a": [8, 2, 0], "b": [6, 3, 1]}, "damage")
    costs = {"lut": table("lut", {k: [2, 4, 8] for k in "ab"}), "ff": table("ff", {k: [1, 1, 1] for k in "ab"})}
    plan = allocate(damage, costs, {"lut": 11, "ff": 5}, gap=0)
    assert [str(o) for o in plan.options.values()] == ["int4/uint8", "int4/uint8"]
    why = plan.why
    assert why["budgets"]["lut"] == {"spare": pytest.approx(3), "price": pytest.approx(0.5), "tight": True}
    assert why["budgets"]["ff"] == {"spare": pytest.approx(3), "price": 0.0, "tight": False}
    assert why["layers"]["a"] == {"next": "int8/uint8", "saves": 2.0, "needs": {"lut": 4.0, "ff": 0.0}, "over": {"lut": pytest.approx(1)}}
    assert 5 - 1e-6 <= why["bound"] <= 5 == why["objective"] and why["gap"] == 0 and why["seconds"] >= 0
    assert explain(plan) == ["lut: 8 of 11, tight; one more unit would save 0.5 of damage", "ff: 2 of 5, not tight",
                             "a: int4/uint8; int8/uint8 would save 2 for +4 lut, +0 ff; 1 lut too many",
                             "b: int4/uint8; int8/uint8 would save 2 for +4 lut, +0 ff; 1 lut too many"]
    best = allocate(damage, costs)
    assert explain(best) == [f"{k}: int8/uint8, the least damage of its options" for k in "ab"]


def test_a_front_of_weighted_damages():
    """A front over two damages is the front over their weighted sum."""
    rng = random.Random(2)
    one, two = table("kl", rows(rng), "damage"), table("mse", rows(rng), "damage")
    scale = {t.name: sum(max(r.values()) for r in t.rows.values()) for t in (one, two)}
    both = Table("both", "damage", {k: {o: one.rows[k][o] / scale["kl"] + 3 * two.rows[k][o] / scale["mse"] for o in OPTIONS} for k in one.rows})
    costs = {"lut": table("lut", rows(rng, high=20))}
    front = lambda damage: [(p.costs["lut"], pytest.approx(p.why["objective"])) for p in pareto(damage, costs, "lut", 9, gap=0)]
    assert front([(one, 1.0), (two, 3.0)]) == front(both) and len(front(both)) > 3
