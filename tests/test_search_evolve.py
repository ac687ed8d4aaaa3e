"""The evolutionary searcher: NSGA-II by its hypervolume, the predictor by its ranking, the front by what a front is."""
import itertools

import numpy as np
import pytest

from ir import UserError
from search import SEARCHERS, Problem, allocate, find
from search.budgets import within
from search.evolve import best_first, nsga2
from search.predict import Predictor, rank_agreement
from test_search_greedy import instance

SMALL = {"population": 16, "generations": 12, "evaluations": 48}


def free(x): return np.zeros((len(x), 0))


def zdt1(levels: int):
    """Zitzler, Deb and Thiele 2000, test function 1, on a grid; its front is f2 = 1 - sqrt(f1)."""
    def f(x):
        x = x / (levels - 1)
        g = 1 + 9 * x[:, 1:].mean(1)
        return np.stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g))], 1)
    return f


def hypervolume(f: np.ndarray, corner: float = 1.1) -> float:
    """Area that two objectives dominate below (corner, corner)."""
    area, low = 0.0, corner
    for a, b in f[np.lexsort((f[:, 1], f[:, 0]))]:
        if a < corner and b < low:
            area, low = area + (corner - a) * (low - b), b
    return area


def dominated(f: np.ndarray) -> np.ndarray:
    return np.array([((f <= p).all(1) & (f < p).any(1)).any() for p in f])


def test_nsga2_on_zdt1():
    """The last population covers 98 % of what the whole front covers: 1.1**2 - (1 - 2/3) below (1.1, 1.1)."""
    start = np.random.default_rng(0).integers(0, 101, (100, 10))
    last, seen = nsga2(zdt1(101), free, np.full(10, 101), start, population=100, generations=50)
    assert hypervolume(zdt1(101)(start)) < 0.3
    assert hypervolume(zdt1(101)(last)) >= 0.98 * (1.1**2 - 1 / 3)
    assert {*map(tuple, last.tolist())} <= {*map(tuple, seen.tolist())} and len(np.unique(seen, axis=0)) == len(seen)


def test_nsga2_keeps_to_what_is_allowed():
    over = lambda x: (10 - x.sum(1, keepdims=True)).astype(float)
    last, seen = nsga2(lambda x: np.stack([x.sum(1), ((x - 3) ** 2).sum(1)], 1).astype(float), over, np.full(4, 8),
                       np.full((1, 4), 7), population=20, generations=20)
    assert (seen.sum(1) >= 10).all() and last.sum(1).min() == 10 and (seen >= 0).all() and (seen <= 7).all()


def test_nsga2_is_silent(capfd):
    nsga2(zdt1(5), free, np.full(3, 5), np.zeros((1, 3), int), population=6, generations=3)
    assert capfd.readouterr() == ("", "")


def test_best_first_is_front_after_front():
    x = np.random.default_rng(1).integers(0, 20, (60, 3))
    f = zdt1(20)
    order = np.array(best_first(f, x))
    cut = int((~dominated(f(x))).sum())
    assert not dominated(f(order))[:cut].any() and dominated(f(order))[cut:].all()
    assert sorted(map(tuple, x)) == sorted(map(tuple, order))


def saturating(damage):
    """Not a sum: neighbours make each other worse, and much damage is hardly worse than some."""
    def f(options):
        d = np.array([damage.rows[k][o] for k, o in options.items()])
        return float(1 - np.exp(-(d.sum() + 2 * np.sqrt(d[1:] * d[:-1]).sum()) / 3))
    return f


def test_predictor_ranks_what_it_has_not_seen():
    """Kendall's tau of at least 0.7 on 200 plans after 120, and better still with a table that foretells them roughly."""
    menus, damage, _ = instance(1)
    problem, rng = Problem(menus, saturating(damage)), np.random.default_rng(0)
    plans = rng.integers(0, problem.sizes, (320, len(problem.groups)))
    y = np.array([problem.damage(g) for g in plans])
    prior = lambda x: np.array([sum(damage.rows[k][o] for k, o in problem.options(g).items()) for g in x])
    tau = [rank_agreement(Predictor(problem.sizes, start).fit(plans[:n], y[:n])(plans[120:]), y[120:])
           for start, n in ((None, 20), (None, 120), (prior, 120))]
    assert tau[0] < tau[1] < tau[2] and tau[1] >= 0.7


def test_predictor_of_a_sum_is_exact_without_logarithms():
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 4, (80, 5)), rng.normal(size=(5, 4))
    y = w[np.arange(5), x].sum(1)
    assert y.min() < 0
    np.testing.assert_allclose(Predictor([4] * 5).fit(x[:60], y[:60])(x[60:]), y[60:], atol=0.02)


def test_predictor_of_one_plan_and_of_equal_damages():
    assert Predictor([2, 2]).fit([[0, 1]], [3.0])([[1, 1]]) == pytest.approx(np.log(3))
    assert Predictor([2, 1]).fit([[0, 0], [1, 0]], [0.0, 0.0])([[1, 0]]) == pytest.approx(0)
    assert rank_agreement([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3) and rank_agreement([1, 1], [1, 2]) == 0


def test_front_of_a_function():
    """Measured plans only, none of them dominated, all within the budget, none asked for twice; and the same again for its seed."""
    menus, damage, costs = instance(1)
    asked = []

    def f(options):
        asked.append(tuple(options.items()))
        return saturating(damage)(options)
    problem = Problem(menus, f, costs, {"bytes": "50%"})
    front = SEARCHERS["evolve"](problem, seed=3, **SMALL)
    assert len(asked) == len(set(asked)) == 48 == front[0].why["evaluations"]
    points = np.array([[p.costs["bytes"], p.damage["measured"]] for p in front])
    assert len(front) > 3 and not dominated(points).any() and (np.diff(points[:, 0]) > 0).all() and (np.diff(points[:, 1]) < 0).all()
    assert all(within(p.costs["bytes"], problem.budgets["bytes"]) for p in front)
    assert all(f({k: str(o) for k, o in p.options.items()}) == p.damage["measured"] for p in front)
    again, other = (SEARCHERS["evolve"](problem, seed=s, **SMALL) for s in (3, 4))
    assert [p.options for p in again] == [p.options for p in front] != [p.options for p in other]
    assert front[-1].why["rank_agreement"] == again[-1].why["rank_agreement"]


def test_better_than_chance_and_a_prior_is_better_still():
    menus, damage, costs = instance(1)
    f = saturating(damage)
    budget = {"bytes": "50%"}
    exact = f({k: str(o) for k, o in allocate(damage, costs, budget, gap=0).options.items()})
    plain = find("evolve", menus, f, costs, budget, least=.8, **SMALL | {"evaluations": 96})
    guided = find("evolve", menus, f, costs, budget, least=.8, prior=damage, **SMALL)
    drawn = find("evolve", menus, f, costs, budget, **SMALL | {"evaluations": 96, "population": 96})
    assert guided.damage["measured"] <= exact < plain.damage["measured"] < drawn.damage["measured"]


def test_tables_start_from_the_integer_programme():
    menus, damage, costs = instance(2)
    best = allocate(damage, costs, {"bytes": "40%"}, gap=0)
    found = find("evolve", menus, damage, costs, {"bytes": "40%"}, **SMALL)
    assert best.damage["kl"] <= found.damage["kl"] <= best.damage["kl"] * (1 + 1e-4) and set(found.damage) == {"kl"}


def test_a_small_space_is_seen_whole():
    """Fewer plans than evaluations: it ends, with the best."""
    menus, damage, costs = instance(3, 3)
    f = saturating(damage)
    plan = find("evolve", menus, f, costs, {"bytes": "60%"}, population=20, generations=5)
    fit = [g for g in itertools.product(range(5), repeat=3) if Problem(menus, f, costs, {"bytes": "60%"}).fits(g)]
    assert plan.why["evaluations"] == len(fit) and plan.damage["measured"] == min(Problem(menus, f).damage(g) for g in fit)


def test_without_costs_and_with_seeds():
    menus, damage, _ = instance(3, 4)
    best = {k: "int8/uint8" for k in menus}
    assert len(SEARCHERS["evolve"](Problem(menus, saturating(damage)), **SMALL | {"evaluations": 20})) == 1
    plan = find("evolve", menus, saturating(damage), seeds=[best], evaluations=1)
    assert {str(o) for o in plan.options.values()} == {"int8/uint8"}


def test_a_stopped_search_is_resumed(tmp_path):
    menus, damage, costs = instance(5, 6)
    count, f = [0], saturating(damage)

    def counted(options, stop):
        if count[0] == stop:
            raise KeyboardInterrupt
        count[0] += 1
        return f(options)
    how = {"cache": tmp_path / "c", "key": "m"} | SMALL
    with pytest.raises(KeyboardInterrupt):
        find("evolve", menus, lambda o: counted(o, 30), costs, {"bytes": "50%"}, **how)
    resumed = find("evolve", menus, lambda o: counted(o, 10**6), costs, {"bytes": "50%"}, **how)
    whole = find("evolve", menus, f, costs, {"bytes": "50%"}, **SMALL)
    assert count[0] == 48 and resumed.options == whole.options and resumed.why["history"] == whole.why["history"]


MENUS, DAMAGE, COSTS = instance(0, 3)


@pytest.mark.parametrize("how, text", [
    ({"resource": "dsp"}, "no cost table of 'dsp' to make a front with, only of: bytes, lut"),
    ({"least": .5, "resource": "lut"}, "least=0.5 is a part of a budget, and lut has none; give one, or leave it out"),
    ({"seeds": [dict.fromkeys(MENUS, "int8/uint8")]}, "a plan to start from costs bytes="),
    ({"seeds": [dict.fromkeys(MENUS, "int7/uint8")]}, "a plan to start from gives layer 'l0' int7/uint8; it may have int2/uint8, int3/uint8"),
])
def test_messages(how, text):
    with pytest.raises(UserError) as e:
        find("evolve", MENUS, saturating(DAMAGE), COSTS, {"bytes": "50%"}, **how)
    assert str(e.value).startswith(text) and "\n" not in str(e.value)
