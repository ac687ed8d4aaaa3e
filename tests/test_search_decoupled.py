"""MixDQ's programme and the sweep over splits of a budget: against brute force and identities; what is refused, as text."""
import itertools
import math
import random

import numpy as np
import pytest

from ir import Table, UserError
from search import decoupled, groups, mixdq
from search.budgets import total
from search.decoupled import MIXDQ_RATIOS, Decoupled, measure_groups, output_error, split

from test_search_metrics_image import Painter


def says(text, *call):
    with pytest.raises(UserError) as e:
        call[0](*call[1:])
    assert str(e.value) == text


@pytest.mark.parametrize("seed", range(30))
def test_mixdq_equals_brute_force(seed):
    rng = random.Random(seed)
    layers = [f"l{i}" for i in range(rng.randint(1, 8))]
    menu = rng.choice([(2, 4, 8), (4, 8), (2, 3, 4, 8)]) if len(layers) < 7 else (2, 4, 8)
    sizes = {k: rng.choice([1.0, 17.8, 35.6, 80.0, rng.uniform(1, 300)]) for k in layers}
    low, high = rng.choice([(0.99, 1.0), (5.0, 60.0), (-9.0, 60.0)])
    worth = {k: dict(zip(menu, sorted(rng.uniform(low, high) for _ in menu))) for k in layers}
    target, window = rng.uniform(menu[0], 8), rng.choice([0.02, 0.3, 1.0])
    whole = sum(sizes.values())
    fits = [c for c in itertools.product(menu, repeat=len(layers))
            if (target - window) * whole <= sum(b * sizes[k] for k, b in zip(layers, c)) <= (target + window) * whole]
    if not fits:
        with pytest.raises(UserError, match=rf"^no choice of bits averages {target - window:g} to {target + window:g}; widen the window"):
            mixdq(worth, sizes, target, window)
        return
    found = mixdq(worth, sizes, target, window)
    assert tuple(found.values()) in fits
    best = max(math.fsum(worth[k][b] for k, b in zip(layers, c)) for c in fits)
    assert math.fsum(worth[k][b] for k, b in found.items()) == pytest.approx(best, rel=1e-12)


def test_mixdq_refused():
    says("no size of layer 'b'; give its number of weights (or of inputs, for activations)", mixdq, {"a": {4: 1}, "b": {4: 1}}, {"a": 1}, 4)
    says("layer 'a' is offered 32 bits; 2 to 16 are known", mixdq, {"a": {4: 1, 32: 2}}, {"a": 1}, 4)


@pytest.mark.parametrize("rho", [2.2418, 1.2062, 0.01])
def test_mean_bits_identity(rho):
    for k, mean in itertools.product(MIXDQ_RATIOS, (3.66, 5.0, 8.0)):
        content, quality = split(mean, [k], [rho, 1.0])
        assert quality == pytest.approx(mean * (1 + rho) / (k * rho + 1), rel=1e-14) and content == pytest.approx(k * quality, rel=1e-14)
        assert abs((rho * content + quality) / (1 + rho) - mean) < 1e-12
    assert split(4.0, [2.0, 0.5], [1, 2, 3]) == pytest.approx([48 / 6, 12 / 6, 24 / 6])


# the sweep

MENU = ("int2/uint8", "int4/uint8", "int8/uint8")


def instance(seed, names=("content", "quality"), menu=MENU):
    """Damage tables of the groups, and the average bits of a weight."""
    rng, sizes, damage = random.Random(seed), {}, {}
    for g in names:
        layers = [f"{g[0]}{i}" for i in range(rng.randint(1, 4))]
        sizes |= {k: rng.uniform(1, 50) for k in layers}
        damage[g] = Table(g, "damage", {k: dict(zip(menu, sorted((rng.random() for _ in menu), reverse=True))) for k in layers})
    whole = sum(sizes.values())
    bits = Table("wbits", "cost", {k: {o: b * v / whole for o, b in zip(menu, (2, 4, 8))} for k, v in sizes.items()})
    return damage, bits, sizes


@pytest.mark.parametrize("seed", range(20))
def test_each_group_is_best_and_the_least_measure_wins(seed):
    names = ("content", "quality", "third")[:2 + seed % 2]
    damage, bits, sizes = instance(seed, names)
    ratios = [tuple(random.Random(99 * seed + i).uniform(0.4, 1.6) for _ in names[1:]) for i in range(6)]
    asked = []

    def measure(options):
        asked.append(tuple(options.items()))
        return random.Random(repr(asked[-1])).random()

    found = decoupled(damage, {"wbits": bits}, {"wbits": 4.5}, measure, ratios, shares=(0.9, 1.0), sizes=sizes, gap=0.0)
    assert len(asked) == len(set(asked)) == len(found.plans) and len(found.trail) == 12
    best = []
    for t in found.trail:
        bounds = split(4.5 * t["share"], t["ratios"], [sum(sizes[k] for k in d.rows) for d in damage.values()])
        chosen = {}
        for d, b in zip(damage.values(), bounds):
            size = sum(sizes[k] for k in d.rows)
            fits = [dict(zip(d.rows, c)) for c in itertools.product(MENU, repeat=len(d.rows))]
            fits = [c for c in fits if sum(bits.rows[k][o] for k, o in c.items()) <= b * size / sum(sizes.values()) * (1 + 1e-9)]
            chosen |= min(fits, key=lambda c: total(d, c), default={})
        assert (len(chosen) < len(sizes)) == ("refused" in t)
        if "plan" in t:
            assert found.plans[t["plan"]].options == chosen
            best.append(random.Random(repr(tuple(chosen.items()))).random())
    assert found.chosen.score == min(best) == min(c.score for c in found.plans)
    assert found.chosen.costs["wbits"] <= 4.5 * (1 + 1e-9)


def test_other_resources():
    """Every budget is split; what a worst layer decides binds every group, what has no options is paid first; ties and fixed layers hold."""
    damage, bits, _ = instance(11)
    lut = Table("lut", "cost", {k: dict(zip(MENU, (10.0, 20.0, 30.0))) for k in bits.rows}, fixed=5.0, about={"target": "chip"})
    worst = Table("cycles", "cost", {k: dict(zip(MENU, (1.0, 2.0, 3.0))) for k in bits.rows}, about={"combine": "max"})
    c, q = ([k for k in damage[g].rows] for g in damage)
    found = decoupled(damage, {"lut": lut, "cycles": worst}, {"lut": "90%", "cycles": 2}, lambda o: -len(set(o.values())), ratios=[0.7, 1.0, 1.4],
                      ties=[c[:2]], fixed={q[0]: MENU[0]})
    most = 0.9 * (30 * len(bits.rows) + 5)
    assert found.budgets == {"lut": pytest.approx(most), "cycles": 2} and found.target == "chip"
    for t in found.trail:
        assert sum(b["lut"] for b in t["budgets"].values()) == pytest.approx(most - 5) and all(b["cycles"] == 2 for b in t["budgets"].values())
    for p in found.plans:
        assert MENU[2] not in p.options.values() and len({p.options[k] for k in c[:2]}) == 1 and p.options[q[0]] == MENU[0]
        assert p.costs["lut"] == 5 + sum(lut.rows[k][o] for k, o in p.options.items()) <= most and p.costs["cycles"] <= 2


def test_never_worse_than_any_single_ratio():
    damage, bits, sizes = instance(3)
    measure = lambda options: math.fsum(damage[g].rows[k][options[k]] * (1 + g.startswith("c")) for g in damage for k in damage[g].rows)  # noqa: E731
    args = damage, {"wbits": bits}, {"wbits": 4.0}, measure
    swept = decoupled(*args)
    alone = [decoupled(*args, ratios=t["ratios"]).chosen.score for t in swept.trail if "score" in t]
    assert len(alone) > 3 and swept.chosen.score == min(alone)


def test_weights_first_then_activations(tmp_path):
    """One-sided options: both sides are chosen one after the other and joined."""
    damage, bits, _ = instance(5, menu=("int2g8/-", "int4/-", "int8/-"))
    first = decoupled(damage, {"wbits": bits}, {"wbits": 5}, lambda o: len(set(o.values())), ratios=[0.8, 1.2])
    assert all(o.endswith("/-") for o in first.chosen.options.values())
    with pytest.raises(UserError, match="one side left in float"):
        first.plan()
    damage, acts, _ = instance(5, menu=("-/uint2", "-/uint4", "-/uint8"))
    damage["content"].about["model"] = "hash"
    second = decoupled(damage, {"abits": acts}, {"abits": "75%"}, lambda o: -len(set(o.values())), given=first.chosen.options)
    assert {k: str(o).split("/")[0] + "/-" for k, o in second.plan().options.items()} == first.chosen.options
    assert second.plan().budgets == {"abits": pytest.approx(6)} and second.plan().model == "hash"
    second.save(tmp_path / "sweep.json")
    assert Decoupled.load(tmp_path / "sweep.json") == second
    says("layer 'c0': int2/uint8 was chosen before and -/uint4 now; give one side of it, such as int4/-, and offer the other, such as -/uint8",
         lambda: decoupled(damage, {}, {}, lambda o: 0, given=dict.fromkeys(acts.rows, "int2/uint8"), fixed=dict.fromkeys(acts.rows, "-/uint4")))


@pytest.mark.parametrize("change, text", [
    ({"ratios": [(1.0, 2.0)]}, "ratios (1.0, 2.0): each trial is 1 number above 0, the budget of content over that of quality"),
    ({"ratios": [-1.0]}, "ratios (-1.0,): each trial is 1 number above 0, the budget of content over that of quality"),
    ({"ratios": []}, "no ratios to try; give at least one, such as 1.0"),
    ({"shares": [1.0, 0.0]}, "shares [1.0, 0.0] of the budgets: give numbers above 0, such as 0.95 and 1"),
    ({"shares": []}, "shares [] of the budgets: give numbers above 0, such as 0.95 and 1"),
    ({"damage": {}}, "no groups; give a damage table for each"),
    ({"budgets": {"lut": 3}}, "a budget for 'lut', but costs are known only for: wbits"),
    ({"ties": [("c0", "q0")]}, "tied layers c0, q0 are in different groups; put them in one group or untie them"),
    ({"ties": [("c0", "x")]}, "no layer 'x' in the damage tables (they have c0, c1, c2, q0)"),
    ({"fixed": {"y": MENU[0]}}, "no layer 'y' in the damage tables (they have c0, c1, c2, q0)"),
    ({"sizes": {"c0": 3}}, "no size of layer 'c1'; give one for each layer, or none at all"),
    ({"measure": lambda o: math.nan}, "the final measure gives nan for the plan of ratios (1.0,); it has to be a finite number, lower is better"),
])
def test_sweep_refused(change, text):
    damage, bits, _ = instance(7)
    args = {"damage": damage, "costs": {"wbits": bits}, "budgets": {"wbits": 5}, "measure": lambda o: 0.0, "ratios": [1.0]} | change
    says(text, lambda: decoupled(**args))


def test_sweep_refused_for_its_tables():
    damage, bits, _ = instance(7)
    twice = {**damage, "third": damage["content"]}
    says("layer 'c0' is in two groups, 'content' and 'third'; measure it in one of them", lambda: decoupled(twice, {}, {}, len, [(1, 1)]))
    says("3 groups (content, quality, third): give ratios, 2 numbers for each trial", lambda: decoupled(
        damage | {"third": Table("t", "damage", {"t0": {"int2/uint8": 1.0}})}, {}, {}, len))
    few = Table("wbits", "cost", {k: v for k, v in bits.rows.items() if k != "q0"})
    says("cost table 'wbits' and the damage tables do not have the same layers: 'q0' is only in one; make all from the same model",
         lambda: decoupled(damage, {"wbits": few}, {"wbits": 4}, len))
    mixed = {"all": Table("kl", "damage", {"a": {"int8/-": 1.0, "int8/int8": 1.0}})}
    says("none of 1 splits of the budgets leaves each group a plan; the last: layer 'a' may choose between int8/-, int8/int8; offer one side "
         "or both, not a mixture", lambda: decoupled(mixed, {}, {}, len))
    with pytest.raises(UserError, match=r"^none of 10 splits of the budgets leaves each group a plan; the last: group '\w+': no plan fits wbits<="):
        decoupled(damage, {"wbits": bits}, {"wbits": 1.5}, len)


def test_the_road_with_a_probe():
    """Groups measured by their metrics, the sweep decided by the error of the output with all layers quantized."""
    probe, menu = Painter(), dict.fromkeys(Painter.layers, ("int2/int8", "int4/int8", "int8/int8"))
    found = groups(probe.layers, ["content=^a:ssim", "quality=*:output_sqnr_db"])
    damage = measure_groups(probe, found, menu)
    bits = Table("wbits", "cost", {k: {o: b / 2 for o, b in zip(menu[k], (2, 4, 8))} for k in menu})
    swept = decoupled(damage, {"wbits": bits}, {"wbits": 6}, output_error(probe), ratios=[0.3, 0.5, 1, 2, 5])
    bits_of = [tuple(int(o[3]) for o in c.options.values()) for c in swept.plans]
    assert bits_of == [(2, 8), (4, 8), (4, 4), (8, 4), (8, 2)]  # bounds (2.8, 9.2), (4, 8), (6, 6), (8, 4), (10, 2)
    assert swept.chosen.score == min(float(np.mean((probe.outputs(c.options) - probe.y) ** 2)) for c in swept.plans)
    assert swept.chosen.score < swept.plans[2].score and set(swept.chosen.options.values()) == {"int4/int8", "int8/int8"}
