"""The allocator against brute force, and what it says when nothing fits."""
import itertools
import random

import pytest
from hypothesis import given, settings, strategies as st

from ir import Plan, Table, UserError
from search import allocate, exact, parse_budget
from search.budgets import bound, total, within

OPTIONS = ("int2/uint8", "int4/uint8", "int8/uint8")


def table(name, rows, kind="cost", **more):
    return Table(name, kind, {k: dict(zip(OPTIONS, row)) for k, row in rows.items()}, **more)


def brute(damage, costs, budgets, ties=(), fixed=None, reference=None):
    """Least score of all plans that fit, or None."""
    layers, best = list(damage.rows), None
    most = {r: bound(costs[r], b, reference) for r, b in budgets.items()}
    for choice in itertools.product(*[damage.rows[k] for k in layers]):
        options = dict(zip(layers, choice))
        if (all(len({options[k] for k in tie}) == 1 for tie in ties) and all(options[k] == o for k, o in (fixed or {}).items())
                and all(within(total(costs[r], options), m) for r, m in most.items())):
            score = total(damage, options)
            best = score if best is None else min(best, score)
    return best


numbers = st.one_of(st.integers(0, 20).map(float), st.floats(1e-9, 1e9), st.sampled_from([0.1, 0.2, 0.3, 1e-7, 1e-12]))


@st.composite
def instances(draw):
    layers = [f"l{i}" for i in range(draw(st.integers(1, 5)))]
    k = draw(st.integers(1, 3))
    rows = st.fixed_dictionaries({layer: st.lists(numbers, min_size=k, max_size=k) for layer in layers})
    damage = table("kl", draw(rows), "damage")
    costs, budgets = {}, {}
    for r in draw(st.sets(st.sampled_from(["lut", "bytes", "cycles"]))):
        about = {"combine": "max"} if r == "cycles" else {}
        costs[r] = t = table(r, draw(rows), fixed=draw(st.sampled_from([0.0, 1.0])), about=about)
        some = {layer: draw(st.sampled_from(OPTIONS[:k])) for layer in layers}  # budgets that some plan just meets
        budgets[r] = draw(st.one_of(st.just(total(t, some)), st.sampled_from(["30%", "60%", "100%"]), numbers))
    ties = draw(st.lists(st.lists(st.sampled_from(layers), min_size=1, max_size=3).map(tuple), max_size=2))
    fixed = draw(st.dictionaries(st.sampled_from(layers), st.sampled_from(OPTIONS[:k]), max_size=1))
    return damage, costs, budgets, ties, fixed


@pytest.mark.parametrize("core", [400, 1], ids=["whole", "core of one column"])
@settings(max_examples=120, deadline=None)
@given(case=instances())
def test_equals_brute_force(core, case):
    """At once, as small problems are solved, and by way of bounds and cores, as large ones are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "CORE", core)
        compare(case)


def compare(case):
    damage, costs, budgets, ties, fixed = case
    best = brute(damage, costs, budgets, ties, fixed)
    try:
        plan = allocate(damage, costs, budgets, ties=ties, fixed=fixed, gap=0)
    except UserError as e:
        assert best is None, e
        return
    options = {k: str(o) for k, o in plan.options.items()}
    assert plan.why["status"] == "optimal" and list(options) == list(damage.rows)
    assert all(len({options[k] for k in tie}) == 1 for tie in ties) and fixed.items() <= options.items()
    assert all(within(total(costs[r], options), most) and plan.costs[r] == total(costs[r], options) for r, most in plan.budgets.items())
    assert best is not None and plan.damage["kl"] == total(damage, options) == pytest.approx(best, rel=1e-9, abs=0)


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_solvers_agree(solver):
    rng = random.Random(3)
    rows = {f"l{i}": sorted((rng.lognormvariate(-9, 4) for _ in OPTIONS), reverse=True) for i in range(9)}
    size = {k: [b * s for b in (2, 4, 8)] for k in rows for s in [rng.randint(1, 2000)]}
    damage, costs = table("kl", rows, "damage"), {"bytes": table("bytes", size)}
    plan = allocate(damage, costs, {"bytes": "55%"}, solver=solver)
    assert plan.damage["kl"] == pytest.approx(brute(damage, costs, {"bytes": "55%"}), rel=1e-6)


def test_tiny_damages_beside_huge_ones():
    """Twelve decades: what matters lies below every tolerance of the solver if the largest number sets the scale."""
    damage = table("kl", {"a": [1e6, 3e-7, 1e-7], "b": [1e6, 4e-7, 2e-7], "c": [1e6, 5e-7, 4.5e-7]}, "damage")
    costs = {"bytes": table("bytes", {k: [2, 4, 8] for k in "abc"})}
    assert allocate(damage, costs, {"bytes": 16}).damage["kl"] == pytest.approx(brute(damage, costs, {"bytes": 16}), rel=1e-9)


def test_budget_met_exactly():
    damage = table("kl", {"a": [3, 2, 1], "b": [3, 2, 1]}, "damage")
    costs = {"bytes": table("bytes", {"a": [10**12, 10**12 + 1, 10**12 + 2], "b": [0.1, 0.2, 0.3]})}
    assert str(allocate(damage, costs, {"bytes": 10**12 + 2.3})["a"]) == "int8/uint8"
    assert allocate(table("kl", {"a": [0.5, 0.1, 0]}, "damage"), {"x": table("x", {"a": [0.1, 0.3, 0.4]})},
                    {"x": 0.1 * 3}).costs == {"x": 0.3}


def test_several_damages_are_weighed_by_their_totals():
    """Of two tables each counts by its weight, whatever its unit."""
    kl = table("kl", {"a": [4e-6, 1e-6, 0], "b": [1e-6, 5e-7, 0]}, "damage")
    mse = table("mse", {"a": [100, 10, 0], "b": [900, 500, 0]}, "damage")
    costs = {"bytes": table("bytes", {k: [2, 4, 8] for k in "ab"})}
    plans = {w: allocate([(kl, w), (mse, 1 - w)], costs, {"bytes": 10}) for w in (0.0, 1.0)}
    assert str(plans[1.0]["a"]) == "int8/uint8" and str(plans[0.0]["b"]) == "int8/uint8"
    assert plans[1.0].damage == {"kl": 1e-6, "mse": 900.0} and plans[1.0].why["weights"] == {"kl": 1.0, "mse": 0.0}


def test_what_has_no_options_counts():
    damage, costs = table("kl", {"a": [2, 1, 0]}, "damage"), {"lut": table("lut", {"a": [1, 2, 3]}, fixed=10.0)}
    plan = allocate(damage, costs, {"lut": 12})
    assert str(plan["a"]) == "int4/uint8" and plan.costs == {"lut": 12.0}


def test_no_budget_gives_the_least_damage_and_a_file(tmp_path):
    damage = table("kl", {"a": [2, 1, 1.5]}, "damage", about={"model": "abc"})
    plan = allocate(damage, {"lut": table("lut", {"a": [1, 2, 3]}, about={"target": "ecp5"})})
    assert str(plan["a"]) == "int4/uint8" and plan.costs == {"lut": 2.0} and plan.model == "abc"
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json").options == plan.options


DAMAGE = table("kl", {"a": [3, 2, 1], "b": [3, 2, 1]}, "damage")
LUT, BYTES = table("lut", {"a": [2, 4, 8], "b": [2, 4, 8]}), table("bytes", {"a": [8, 4, 2], "b": [8, 4, 2]})
CYCLES = table("cycles", {"a": [5, 6, 7], "b": [9, 10, 11]}, about={"combine": "max"})


@pytest.mark.parametrize("costs, budgets, how, text", [
    ([LUT, BYTES], {"lut": 3, "bytes": 100}, {}, "no plan fits lut<=3: the smallest possible is lut=4 with these options, ties and fixed "
     "layers; raise the budget or offer cheaper options"),
    ([LUT, BYTES], {"lut": 3, "bytes": 1}, {}, "no plan fits lut<=3, bytes<=1: the smallest possible is lut=4, bytes=4 with"),
    ([LUT, BYTES], {"lut": 5, "bytes": 5}, {}, "no plan fits the budgets lut<=5, bytes<=5 together, though each can be met alone "
     "(smallest possible: lut=4, bytes=4); raise one of them"),
    ([LUT], {"lut": 11}, {"fixed": {"a": "int8/uint8"}, "ties": [("a", "b")]}, "no plan fits lut<=11: the smallest possible is lut=16"),
    ([CYCLES], {"cycles": 8}, {}, "no plan fits the budget cycles<=8: layer b needs at least 9; raise the budget or offer cheaper options"),
    ([LUT], {"dsp": 3}, {}, "a budget for 'dsp', but costs are known only for: lut"),
    ([LUT], {"lut": "ten%"}, {}, "budget lut='ten%': give a number or a percentage, for example 25%"),
    ([LUT], {"lut": "50%"}, {"reference": "int16/uint8"},
     "cost table 'lut': layer 'a' has no option 'int16/uint8' to take a percentage of"),
    ([], {}, {"fixed": {"z": "int8/uint8"}}, "fixed: no layer 'z' in the damage table (it has a, b)"),
    ([], {}, {"solver": "gurobi"}, "unknown solver 'gurobi' (known: highs, cbc)"),
    ([table("lut", {"a": [1, 2, 3]})], {"lut": 3}, {}, "cost table 'lut' says nothing of layer 'b'; make it from the same model"),
    ([table("lut", {k: [1, 2, 3] for k in "abc"})], {"lut": 3}, {}, "cost table 'lut' has layer 'c', which was not measured"),
])
def test_messages(costs, budgets, how, text):
    with pytest.raises(UserError) as e:
        allocate(DAMAGE, {t.name: t for t in costs}, budgets, **how)
    assert str(e.value).startswith(text) and "\n" not in str(e.value)


@pytest.mark.parametrize("text, meaning", [("lut=20000", ("lut", 20000.0)), ("bytes=25%", ("bytes", "25%")), ("wbits<=4.5", ("wbits", 4.5)),
                                           ("lut = 20k", ("lut", 20000.0)), ("bytes=64Ki", ("bytes", 65536.0)),
                                           ("bops=1.5e9", ("bops", 1.5e9))])
def test_budget_texts(text, meaning):
    assert parse_budget(text) == meaning


@pytest.mark.parametrize("text", ["lut", "lut=", "=3", "lut=-3", "lut=3 ap ples", "lut=1.2.3", "lut=nan", "lut=3%%", "lut=1e999"])
def test_budget_texts_refused(text):
    with pytest.raises(UserError, match="^budget .* is not of the form resource=number, for example lut=20000, bytes=25% or wbits=4$"):
        parse_budget(text)


@pytest.mark.parametrize("text, meaning", [("bytes=20MB", ("bytes", 20e6)), ("input_bytes=4KiB", ("input_bytes", 4096.0)),
                                           ("bytes@encoder.*=1kB", ("bytes@encoder.*", 1000.0)), ("wbits@first,fc?=50%", ("wbits@first,fc?", "50%")),
                                           ("energy_pj=3uJ", ("energy_pj", 3e6)), ("latency_us=2ms", ("latency_us", 2000.0))])
def test_units_of_resources(text, meaning):
    assert parse_budget(text) == meaning


@pytest.mark.parametrize("text, known", [("lut=10q", "lut has no unit 'q'; write a plain number, % or one of k, M, G, T, Ki, Mi, Gi"),
                                         ("lut=10MB", "lut has no unit 'MB'"), ("energy_pj=1B", "energy_pj has no unit 'B'"),
                                         ("bytes=3 apples", "bytes has no unit 'apples'; write a plain number, % or one of k, M,")])
def test_unknown_units_name_those_known(text, known):
    with pytest.raises(UserError) as e:
        parse_budget(text)
    assert str(e.value).startswith(f"budget {text!r}: {known}")


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_time_runs_out(solver):
    """A plan that was found in time is returned with the gap that is left; the gap is true."""
    rng = random.Random(5)
    layers = [f"l{i}" for i in range(300)]
    rows = {k: [rng.random() for _ in OPTIONS] for k in layers}
    damage = table("kl", rows, "damage")
    costs = {f"r{i}": table(f"r{i}", {k: [1000 * rng.random() for _ in OPTIONS] for k in layers}) for i in range(12)}
    budgets = {r: "62%" for r in costs}
    plan = allocate(damage, costs, budgets, solver=solver, gap=0, time_limit=4)
    assert plan.why["status"] == "time limit" and 0 < plan.why["gap"] < 0.2
    with pytest.raises(UserError, match="found no plan within 0 s|together") as e:
        allocate(damage, costs, {r: "52%" for r in costs}, solver=solver, gap=0, time_limit=0.0)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("seed", range(25))
def test_bounds_rule_out_only_what_is_worse(seed, monkeypatch):
    """Two tight budgets, where the first core of one column seldom holds the best plan."""
    monkeypatch.setattr(exact, "CORE", 1)
    rng = random.Random(seed)
    rows = [{f"l{i}": [rng.uniform(1, 9) for _ in OPTIONS] for i in range(6)} for _ in range(3)]
    damage, costs = table("kl", rows[0], "damage"), {"lut": table("lut", rows[1]), "bytes": table("bytes", rows[2])}
    least = {r: sum(min(v.values()) for v in t.rows.values()) for r, t in costs.items()}
    budgets = {r: least[r] + rng.uniform(4, 12) for r in costs}
    best = brute(damage, costs, budgets)
    assert best is None or allocate(damage, costs, budgets, gap=0).damage["kl"] == pytest.approx(best, rel=1e-12)
