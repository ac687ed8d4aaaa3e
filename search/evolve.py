"""Plans bred on a predictor and then measured: the front between damage and one cost.  The only door to pymoo.

As LINAS in DyNAS-T (Intel; the engine of LLaMA-NAS, Sarah et al. 2024, arXiv 2405.18377): a population is measured, a predictor is
fitted to all that was measured, NSGA-II runs on the predictor, its best unseen plans are the next population.  We differ: costs
are exact sums and need no predictor; budgets are constraints; damage tables, if there are any, give plans to begin with.
"""
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ir import Option, Plan, Table, UserError

from .budgets import combines_by_max, total
from .judge import Judge
from .pareto import pareto, undominated
from .predict import Predictor, rank_agreement
from .searchers import SEARCHERS, Genes, Problem

EVALUATIONS, POPULATION, GENERATIONS = 250, 50, 60
CROSSOVER, CROSSOVER_ETA, MUTATION, MUTATION_ETA = 0.9, 15, 0.02, 20  # of simulated binary crossover and polynomial mutation
MATINGS = 4  # rounds in which a generation may look for children that it does not have yet
TRIES = 20  # random plans drawn for each one that is wanted


@SEARCHERS.register("evolve")
def evolve(problem: Problem, *, seed: int = 0, evaluations: int | None = None, time_limit: float = math.inf, progress=None,
           cache=None, key: str = "", resource: str | None = None, least: float = 0.0, prior: Table | None = None,
           seeds: Iterable[Plan | Mapping[str, Option | str]] = (), population: int = POPULATION, generations: int = GENERATIONS) -> list[Plan]:
    """NSGA-II on predictors, its best plans measured: the front of all measured ones within the budgets, the last does least damage.

    evaluations: 250 by default.  resource: the cost of the front, by default that of the first budget; without costs there is one
    plan.  least: plans that cost less than this part of its budget are not bred.  prior: a damage table that foretells a function
    roughly; the predictor corrects it, and the integer programme's plans for it are measured first.  seeds: further plans to begin with.
    UserError: unknown resource, a plan to begin with that breaks a budget, a prior that does not know the menus.
    """
    judge = Judge(problem, EVALUATIONS if evaluations is None else evaluations, time_limit, progress, cache, key)
    space, rng = _Space(problem, resource, least), np.random.default_rng(seed)
    tables = problem.tables if problem.function is None else prior
    start = None if prior is None else _forecast(problem, prior)
    first = [_fitting(problem, s) for s in seeds] + _foretold(problem, tables, space.resource, population)
    batch, predictor, agreement = space.fresh(first, (), population, rng), None, []
    while batch:
        told = {g: d for g in batch if (d := judge(g)) is not None}
        if predictor and len(told) > 1:
            agreement.append(round(rank_agreement(predictor(np.array(list(told))), list(told.values())), 3))
        if judge.done:
            break
        known = np.array(list(judge.answers))
        predictor = Predictor(problem.sizes, start).fit(known, np.array(list(judge.answers.values())))
        objectives = lambda x, guess=predictor: np.stack([guess(x), *space.costs(x)], 1)
        bred, seen = nsga2(objectives, space.over, problem.sizes, known, population, generations, int(rng.integers(2**31)))
        batch = space.fresh(best_first(objectives, seen), judge.answers, population, rng)
    about = judge.why("evolve", seed, resource=space.resource, population=population, rank_agreement=agreement)
    plans = [problem.plan(g, d, **about) for g, d in judge.answers.items()]
    return undominated(plans, "", space.resource) if space.resource else [min(plans, key=lambda p: p.why["objective"])]


def nsga2(objectives: Callable[[np.ndarray], np.ndarray], over: Callable[[np.ndarray], np.ndarray], sizes: np.ndarray, start: np.ndarray,
          population: int = POPULATION, generations: int = GENERATIONS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(the last population, everything that was looked at and is allowed), each (n, G) of ints below `sizes`.

    objectives: (n, G) -> (n, M), all to be made small; over: (n, G) -> (n, R), allowed where all are <= 0.
    NSGA-II (Deb et al. 2002) with simulated binary crossover and polynomial mutation, rounded: options are ordered by bits.  The
    mutation rate is that of LINAS, or 1 / G if that is more, so that a child of a short plan changes at all.
    """
    minimize, NSGA2, SBX, PM, RoundingRepair, Base = _pymoo()
    seen: dict[Genes, None] = {}

    class Question(Base):
        def __init__(self):
            x = start[:1]
            super().__init__(n_var=len(sizes), n_obj=objectives(x).shape[1], n_ieq_constr=over(x).shape[1], xl=0, xu=np.asarray(sizes) - 1, vtype=int)

        def _evaluate(self, x, out, *_, **__):
            x = x.astype(int)
            out["F"], out["G"] = objectives(x), over(x)
            seen.update(dict.fromkeys(map(tuple, x[(out["G"] <= 0).all(1)].tolist())))
    rounded = {"vtype": float, "repair": RoundingRepair()}
    algorithm = NSGA2(pop_size=population, sampling=start, eliminate_duplicates=True, crossover=SBX(prob=CROSSOVER, eta=CROSSOVER_ETA, **rounded),
                      mutation=PM(prob=1.0, prob_var=max(MUTATION, 1 / len(sizes)), eta=MUTATION_ETA, **rounded))
    algorithm.mating.n_max_iterations = MATINGS
    last = minimize(Question(), algorithm, ("n_gen", generations), seed=seed, verbose=False)
    return last.pop.get("X").astype(int), np.array(list(seen), int).reshape(-1, len(sizes))


def best_first(objectives: Callable[[np.ndarray], np.ndarray], plans: np.ndarray) -> list[Genes]:
    """Plans (n, G) front after front; within one those that stand far from others first, which are its ends to begin with."""
    _pymoo()
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
    if not len(plans):
        return []
    f = objectives(plans)
    fronts = NonDominatedSorting().do(f)
    order = [front[np.argsort(-calc_crowding_distance(f[front]), kind="stable")] for front in fronts]
    return list(map(tuple, plans[np.concatenate(order)].tolist()))


class _Space:
    """Costs of many plans at once, and plans that fit."""

    def __init__(self, problem: Problem, resource: str | None, least: float):
        known = [*problem.budgets, *problem.costs]
        if resource is not None and resource not in known:
            raise UserError(f"no cost table of {resource!r} to make a front with, only of: {', '.join(problem.costs) or 'nothing'}")
        self.problem, self.resource = problem, resource or next(iter(known), None)
        if least and self.resource not in problem.budgets:
            raise UserError(f"least={least:g} is a part of a budget, and {self.resource or 'nothing'} has none; give one, or leave it out")
        self.least = least * problem.budgets[self.resource] if least else -math.inf
        self.sums = problem.task.sums  # what is bounded by its worst layer has been taken off the menus
        self.prices = {r: problem.prices(r) for r in dict.fromkeys([*self.sums, *filter(None, [self.resource])])}

    def cost(self, resource: str, x: np.ndarray) -> np.ndarray:
        """(n, G) -> (n,)."""
        table, cells = self.problem.costs[resource], self.prices[resource][np.arange(x.shape[1]), x]
        return np.maximum(cells.max(1), table.fixed) if combines_by_max(table) else cells.sum(1) + table.fixed

    def costs(self, x: np.ndarray) -> list[np.ndarray]: return [self.cost(self.resource, x)] if self.resource else []

    def over(self, x: np.ndarray) -> np.ndarray:
        """How far each budget is exceeded, in parts of it: (n, R); the last column is what `least` lacks."""
        most = self.problem.budgets
        over = [(self.cost(r, x) - most[r]) / (abs(most[r]) or 1.0) - 1e-9 for r in self.sums]
        lacks = [self.least - c for c in self.costs(x) if math.isfinite(self.least)]
        return np.stack(over + lacks, 1) if over or lacks else np.zeros((len(x), 0))

    def fresh(self, candidates: Iterable[Genes], known, count: int, rng: np.random.Generator) -> list[Genes]:
        """The first `count` of the candidates that fit and are not `known`, filled up with random plans."""
        chosen = dict.fromkeys(g for g in candidates if g not in known and self.problem.fits(g))
        for _ in range(TRIES * count):
            if len(chosen) >= count:
                break
            if (g := self._random(rng)) not in known:
                chosen[g] = None
        return list(chosen)[:count]

    def _random(self, rng: np.random.Generator) -> Genes:
        """Any plan; where it breaks a budget, one group after the other goes a step towards the cheapest plan."""
        genes = rng.integers(0, self.problem.sizes)
        goal = np.array(self.problem.cheapest)
        while not self.problem.fits(genes):
            g = rng.choice(np.flatnonzero(genes != goal))
            genes[g] += np.sign(goal[g] - genes[g])
        return tuple(genes.tolist())


def _fitting(problem: Problem, plan: Plan | Mapping[str, Option | str]) -> Genes:
    genes = problem.genes(plan.options if isinstance(plan, Plan) else plan)
    if not problem.fits(genes):
        paid = problem.paid(genes)
        raise UserError(f"a plan to start from costs {', '.join(f'{r}={v:g}' for r, v in paid.items())}, over the budgets "
                        f"{', '.join(f'{r}<={v:g}' for r, v in problem.budgets.items())}; leave it out or raise them")
    return genes


def _foretold(problem: Problem, tables, resource: str | None, population: int) -> list[Genes]:
    """What the integer programme makes of the tables, within the budgets: the best plan and cheaper ones."""
    if tables is None:
        return []
    prior = Problem(problem.menus, tables, problem.costs, problem.budgets, **problem.rules)
    best = SEARCHERS["exact"](prior)
    front = pareto(prior.tables, problem.costs, resource, max(2, population // 5), problem.budgets, **problem.rules) if resource else []
    return [g for p in best + front if problem.fits(g := problem.genes(p.options))]


def _forecast(problem: Problem, prior: Table) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.array([total(prior, problem.options(g)) for g in x])


def _pymoo():
    """What is needed of pymoo, without its hint at modules that were not compiled."""
    from pymoo.config import Config
    Config.warnings["not_compiled"] = Config.show_compile_hint = False
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem as Base
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.optimize import minimize
    return minimize, NSGA2, SBX, PM, RoundingRepair, Base
