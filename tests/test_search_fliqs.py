"""FLIQS: rewards, schedules, the policy's gradient, and whether it finds what is best."""
import itertools
import math

import numpy as np
import pytest

from ir import Layer, Table, UserError
from search import cost_tables, find
from search.budgets import within
from search.fliqs import REWARDS, SCHEDULES, Policy
from test_search_greedy import instance


def test_rewards():
    """The absolute one is largest exactly at the target, for a given quality; the others do not punish being cheap, or reward it."""
    cost = np.linspace(0.2, 3, 281)
    reward = {n: np.array([f(-2.0, c, 0.5) for c in cost]) for n, f in REWARDS.items()}
    assert cost[reward["absolute"].argmax()] == pytest.approx(1) and reward["absolute"].max() == -2.0
    assert (reward["one-sided"][cost <= 1] == -2).all() and (np.diff(reward["one-sided"][cost > 1]) < 0).all()
    assert (np.diff(reward["soft"]) < 0).all() and REWARDS["soft"](-2.0, 4.0, 0.5) == -4
    assert (reward["hard"][cost <= 1] == -2).all() and (np.diff(reward["hard"][cost >= 1]) < 0).all()


@pytest.mark.parametrize("name, ends", [("cosine", (0, .5, 1)), ("linear", (0, .5, 1)), ("constant", (1, 1, 1)), ("step", (0, 1, 1))])
def test_schedules(name, ends):
    assert [SCHEDULES[name](u) for u in (0, .5, 1)] == pytest.approx(ends, abs=1e-15)


def losses(policy: Policy, reward: np.ndarray, baseline: float, entropy: float) -> float:
    """Expected loss over all plans, by enumeration: as it stands in the text."""
    p, total = policy.probabilities(), 0.0
    for plan in itertools.product(*map(range, policy.sizes)):
        chance = math.prod(p[g, k] for g, k in enumerate(plan))
        total -= chance * (reward[plan] - baseline) / len(policy.sizes)
    return total + entropy * policy.entropy()


def test_expected_gradient_is_that_of_the_expected_reward():
    """REINFORCE: the mean of drawn gradients against finite differences of -E[reward] / D + entropy * H, within 5 %."""
    rng = np.random.default_rng(0)
    policy = Policy([2, 3], temperature=1.5)
    policy.logits[:] = rng.normal(size=(2, 3))
    reward = rng.normal(size=(2, 3))
    drawn = np.mean([policy.gradient(g, reward[tuple(g)] - 0.2, 0.3) for g in (policy.draw(rng) for _ in range(12000))], 0)
    exact = np.zeros((2, 3))
    for g, k in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]:
        ends = []
        for h in (1e-5, -1e-5):
            policy.logits[g, k] += h
            ends.append(losses(policy, reward, 0.2, 0.3))
            policy.logits[g, k] -= h
        exact[g, k] = (ends[0] - ends[1]) / 2e-5
    assert np.linalg.norm(drawn - exact) < 0.05 * np.linalg.norm(exact) and drawn[0, 2] == 0


def test_policy_begins_undecided_and_draws_what_it_believes():
    policy, rng = Policy([2, 4]), np.random.default_rng(1)
    assert np.allclose(policy.probabilities(), [[.5, .5, 0, 0], [.25] * 4]) and policy.entropy() == pytest.approx((math.log(2) + math.log(4)) / 2)
    policy.logits[1, 3] = 2.0
    seen = np.array([policy.draw(rng) for _ in range(4000)])
    assert np.mean(seen[:, 1] == 3) == pytest.approx(policy.probabilities()[1, 3], abs=0.03) and seen[:, 0].max() == 1
    policy.logits[0] = [0, 50, 0, 0]
    assert policy.probabilities()[0, 0] == pytest.approx(1e-8, rel=1e-6) and policy.best().tolist() == [1, 3]


def test_a_positive_entropy_weight_makes_the_policy_decide():
    policy = Policy([3, 3])
    policy.logits[:] = [[.3, .2, .1], [0, .1, .2]]
    before = policy.entropy()
    for _ in range(50):
        policy.descend(policy.gradient(np.array([0, 0]), 0.0, 1.0))
    assert policy.entropy() < 0.5 * before and policy.best().tolist() == [0, 2]


OPTIONS = ("int2/uint8", "int4/uint8", "int8/uint8")
LAYERS = ("a", "b", "c")
SIZES = Table("bytes", "cost", {k: dict(zip(OPTIONS, (2.0, 4.0, 8.0))) for k in LAYERS})
LOSS = {"a": (0.9, 0.1, 0.09), "b": (0.2, 0.19, 0.0), "c": (0.05, 0.04, 0.03)}  # within 14 bytes: a 4 bits, b 8 bits, c 2 bits
MENUS = dict.fromkeys(LAYERS, OPTIONS)


def noisy(seed: int):
    rng = np.random.default_rng(seed + 100)
    return lambda options: sum(LOSS[k][OPTIONS.index(o)] for k, o in options.items()) + rng.normal(0, 0.02)


def test_finds_the_best_of_three_layers():
    """From noisy losses, in at least 9 of 10 seeds; and is surer of itself at the end than at the start."""
    found = []
    for seed in range(10):
        plan = find("fliqs", MENUS, noisy(seed), {"bytes": SIZES}, {"bytes": 14}, seed=seed, evaluations=2000)
        found.append([str(o) for o in plan.options.values()] == ["int4/uint8", "int8/uint8", "int2/uint8"])
        assert plan.why["entropy"] < 0.5 * math.log(3) and plan.why["history"][0][2] > plan.why["history"][-1][2]
        assert plan.costs["bytes"] <= 14 and plan.why["evaluations"] == 2000 and plan.why["delay"] == 500
    assert sum(found) >= 9


def test_one_seed_one_answer():
    run = lambda seed: find("fliqs", MENUS, noisy(0), {"bytes": SIZES}, {"bytes": 14}, seed=seed, evaluations=300)
    assert run(1).why["history"] == run(1).why["history"] != run(2).why["history"]
    assert run(1).damage["measured"] == pytest.approx(0.4, abs=0.4)


@pytest.mark.parametrize("seed", range(6))
def test_tables_ties_and_budgets(seed):
    """Also where the policy has not converged and its most probable plan is too dear."""
    menus, damage, costs = instance(seed, 6)
    plan = find("fliqs", menus, damage, costs, {"bytes": "40%", "lut": "60%"}, evaluations=60, ties=[("l0", "l5")], fixed={"l2": "int4/uint8"},
                seed=seed, delay=10)
    assert all(within(plan.costs[r], most) for r, most in plan.budgets.items())
    assert plan["l0"] == plan["l5"] and str(plan["l2"]) == "int4/uint8"
    assert plan.damage["kl"] == pytest.approx(sum(damage.rows[k][str(o)] for k, o in plan.options.items()))


def test_until_the_delay_is_over_every_draw_is_uniform():
    seen = []

    def f(options):
        seen.append(tuple(options.values()))
        return 0.0 if options["a"] == OPTIONS[0] else 5.0
    find("fliqs", MENUS, f, {"bytes": SIZES}, {"bytes": 14}, evaluations=1200, delay=600, beta=0.0)
    first = [np.mean([o[0] == OPTIONS[0] for o in part]) for part in (seen[:600], seen[-200:])]
    assert first[0] == pytest.approx(1 / 3, abs=0.06) and first[1] > 0.8


def test_time_runs_out():
    plan = find("fliqs", MENUS, noisy(0), {"bytes": SIZES}, {"bytes": 14}, evaluations=1000, time_limit=0)
    assert plan.why["evaluations"] == 1 and plan.costs["bytes"] <= 14 and math.isfinite(plan.damage["measured"])


def resnet18() -> dict[str, Layer]:
    """Of 224x224 images; a projection in the first block of every stage, the first stage among them."""
    layers = [Layer("stem", "conv", 64, 3, 1, (7, 7), (2, 2), (224, 224), (112, 112))]
    space, before = 56, 64
    for stage, width in enumerate((64, 128, 256, 512)):
        stride = 1 if stage == 0 else 2
        out = space // stride
        conv = lambda name, o, i, k, s, a, b: layers.append(Layer(name, "conv", o, i, 1, (k, k), (s, s), (a, a), (b, b)))
        conv(f"{stage}.project", width, before, 1, stride, space, out)
        conv(f"{stage}.0.a", width, before, 3, stride, space, out)
        for name in ("0.b", "1.a", "1.b"):
            conv(f"{stage}.{name}", width, width, 3, 1, out, out)
        space, before = out, width
    return {x.name: x for x in [*layers, Layer("fc", "linear", 1000, 512)]}


@pytest.mark.parametrize("option, gbops", [("int16/int16", 467.7), ("int8/uint8", 116.9), ("int4/uint4", 29.2), ("e4m3/e4m3", 116.9),
                                           ("e2m1/e2m1", 29.2)])
def test_bit_operations_of_resnet18(option, gbops):
    """The paper's figures, from the geometry."""
    layers = resnet18()
    table = cost_tables(layers, {k: [option] for k in layers}, ["bops"])["bops"]
    assert sum(row[option] for row in table.rows.values()) / 1e9 == pytest.approx(gbops, abs=0.05)


@pytest.mark.parametrize("how, text", [
    ({"reward": "big"}, "unknown reward 'big' (known: absolute, one-sided, soft, hard)"),
    ({"schedule": "sine"}, "unknown entropy schedule 'sine'; did you mean 'cosine'? (known: cosine, linear, constant, step)"),
    ({"budgets": None}, "fliqs needs a cost target above 0, and has none for nothing; give a budget"),
    ({"evaluations": 10, "delay": 10}, "a delay of 10 steps out of 10 leaves none for the policy; give more evaluations or a shorter delay"),
])
def test_messages(how, text):
    with pytest.raises(UserError) as e:
        find(**{"searcher": "fliqs", "menus": MENUS, "objective": noisy(0), "costs": {"bytes": SIZES}, "budgets": {"bytes": 14}} | how)
    assert str(e.value) == text
