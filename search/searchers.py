"""Searchers: menus, an objective and budgets in, plans out.  They share what a question is and what an answer is.

Where the damage of a plan is a sum over its layers, `allocate` is exact and nothing else is needed.  The others are for what is
no sum: the measured loss of a whole plan, or a training step.
"""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ir import Option, Plan, Registry, Table, UserError

from .allocate import allocate
from .budgets import combines_by_max, total, within
from .objectives import Damage
from .task import Task

SEARCHERS: Registry = Registry("searcher")  # name -> f(problem, seed=, evaluations=, time_limit=, progress=, ...) -> [Plan, ..]

Genes = tuple[int, ...]  # the place of the chosen option in its menu, for each group of tied layers


class Problem:
    """What a searcher is asked: least damage over `menus`, {layer: option texts}, within all budgets.

    objective: damage tables, meant as in `allocate`; or f({layer: option text}) -> damage of the whole plan, lower is better.
    costs, budgets, rules (ties, fixed, forbid, reference): as in `allocate`, which also says what is wrong with them.
    name: what the damage of a function is called in plans.  The options of a group are ordered by bits: weights, then inputs.
    """

    def __init__(self, menus: Mapping[str, Iterable[str]], objective: Damage | Callable[[dict[str, str]], float],
                 costs: Mapping[str, Table] | None = None, budgets: Mapping[str, float | str] | None = None, *, name: str = "measured", **rules):
        self.menus = {layer: tuple(str(Option.parse(o)) for o in options) for layer, options in menus.items()}
        self.function, self.name = (objective, name) if callable(objective) else (None, "")
        nothing = Table("nothing", "damage", {k: dict.fromkeys(menu, 0.0) for k, menu in self.menus.items()})
        self.tables = nothing if callable(objective) else _parts(objective, self.menus)
        self.task = Task(self.tables, costs, budgets, **rules)
        self.costs, self.budgets = self.task.costs, self.task.most
        self.rules = {k: v for k, v in rules.items() if k != "reference"}  # percentages are numbers by now
        self.groups = list(self.task.space.menus)
        self.choices = [tuple(sorted(menu, key=_bits)) for menu in self.task.space.menus.values()]
        self.sizes = np.array([len(c) for c in self.choices])  # how many options each group has, (G,)
        self.cheapest = self.genes(self._cheapest().options)

    def options(self, genes: Iterable[int]) -> dict[str, str]:
        """{layer: option text}, in the order of the menus."""
        chosen = {k: menu[int(i)] for group, menu, i in zip(self.groups, self.choices, genes, strict=True) for k in group}
        return {k: chosen[k] for k in self.menus}

    def genes(self, options: Mapping[str, Option | str]) -> Genes:
        """The genes of {layer: option}.  UserError: an option that is not on the menu."""
        for group, menu in zip(self.groups, self.choices):
            if bad := [k for k in group if str(options.get(k)) not in menu or str(options[k]) != str(options[group[0]])]:
                raise UserError(f"a plan to start from gives layer {bad[0]!r} {options.get(bad[0])}; it may have {', '.join(menu)}"
                                + (f", the same as {', '.join(group)}" if len(group) > 1 else ""))
        return tuple(menu.index(str(options[g[0]])) for g, menu in zip(self.groups, self.choices))

    def paid(self, genes: Iterable[int], resources: Iterable[str] | None = None) -> dict[str, float]:
        """Cost of a plan in each resource, by default those with a budget."""
        options = self.options(genes)
        return {r: total(self.costs[r], options) for r in (self.budgets if resources is None else resources)}

    def fits(self, genes: Iterable[int]) -> bool:
        """Whether a plan keeps all budgets."""
        return all(within(v, self.budgets[r]) for r, v in self.paid(genes).items())

    def prices(self, resource: str) -> np.ndarray:
        """Cost of each option of each group, (G, longest menu), inf where there is none; what is fixed is left out."""
        table = self.costs[resource]
        together = max if combines_by_max(table) else math.fsum
        rows = [[together([table.rows[k][o] for k in group if k in table.rows] or [0.0]) for o in menu]
                for group, menu in zip(self.groups, self.choices)]
        return np.array([row + [math.inf] * (int(self.sizes.max()) - len(row)) for row in rows])

    def damage(self, genes: Iterable[int]) -> float:
        """The objective.  UserError: it is no number."""
        options = self.options(genes)
        if self.function is None:
            return math.fsum(self.task.score[k][o] for k, o in options.items())
        value = float(self.function(options))
        if math.isnan(value):
            raise UserError(f"the objective is not a number for the plan {', '.join(f'{k}={o}' for k, o in options.items())}; "
                            "leave the option that breaks the model out of the menu")
        return value

    def plan(self, genes: Iterable[int], damage: float, **why) -> Plan:
        """The answer, checked against the budgets."""
        options = self.options(genes)
        plan = self.task.plan(np.array([self.task.space.column(i, options[g[0]]) for i, g in enumerate(self.groups)]), {})
        rules = {k: plan.why[k] for k in ("ties", "fixed", "forbid")}
        model = plan.model or next((str(t.about["model"]) for t in self.costs.values() if "model" in t.about), "")
        return replace(plan, damage={self.name: damage} if self.function else plan.damage, model=model, why={"objective": damage, **why, **rules})

    def _cheapest(self) -> Plan:
        """A plan within all budgets, as cheap as it can be: the costs, in parts of their budgets, are what is minimised."""
        sums = [(self.costs[r], abs(self.budgets[r]) or 1.0) for r in self.task.sums]
        rows = {k: {o: math.fsum(t.rows[k][o] / most for t, most in sums if k in t.rows) for o in menu}
                for group, menu in zip(self.groups, self.choices) for k in group}
        cheap = Table("cheap", "damage", {k: rows[k] for k in self.menus})
        return allocate(cheap, self.task.costs, self.budgets, **self.rules)


def find(searcher: str, menus: Mapping[str, Iterable[str]], objective: Damage | Callable[[dict[str, str]], float],
         costs: Mapping[str, Table] | None = None, budgets: Mapping[str, float | str] | None = None, *, ties: Iterable[Sequence[str]] = (),
         fixed: Mapping | None = None, forbid: Mapping | None = None, reference=None, name: str = "measured", **how) -> Plan:
    """The plan of least damage that a searcher finds within all budgets; `how` is the searcher's own (see docs/searchers.md).

    UserError: unknown searcher, whatever `allocate` refuses, an objective that is not a number.
    """
    search = SEARCHERS[searcher]
    problem = Problem(menus, objective, costs, budgets, name=name, ties=ties, fixed=fixed, forbid=forbid, reference=reference)
    return search(problem, **how)[-1]


@SEARCHERS.register("exact")
def exact(problem: Problem, *, seed: int = 0, evaluations: int | None = None, time_limit: float = 60.0, progress=None,
          **how) -> list[Plan]:
    """The integer programme of `allocate`: only for tables, whose best plan it proves.  `how`: solver, gap, pairs, order ..."""
    if problem.function:
        raise UserError("the searcher 'exact' takes damage tables, not a function; choose greedy, evolve or fliqs")
    plan = allocate(problem.tables, problem.costs, problem.budgets, time_limit=time_limit, **problem.rules, **how)
    plan.why["searcher"] = "exact"
    return [plan]


def _parts(objective: Damage, menus: Mapping[str, Sequence[str]]) -> list:
    """The tables with the menus' options alone.  UserError: a table that does not know an option."""
    entries = [(objective,)] if isinstance(objective, Table) else [e if isinstance(e, tuple) else (e,) for e in objective]
    if not entries:
        raise UserError("no objective; give a damage table, (table, weight) pairs, or a function of a plan")
    for t, *_ in entries:
        if unknown := [(k, o) for k, row in t.rows.items() for o in menus.get(k, ()) if o not in row]:
            raise UserError(f"damage table {t.name!r} says nothing of layer {unknown[0][0]!r} with {unknown[0][1]}; "
                            "measure it, or leave it out of the menu")
    if lost := [k for k in menus if not any(k in t.rows for t, *_ in entries)]:
        raise UserError(f"no damage table says anything of layer {lost[0]!r}; measure it, or leave it out of the menus")
    return [(replace(t, rows={k: {o: t.rows[k][o] for o in menus[k]} for k in menus if k in t.rows}), *(rest or (1.0,)))
            for t, *rest in entries]


def _bits(option: str) -> tuple[int, int]:
    """Bits of weights and of inputs."""
    o = Option.parse(option)
    return o.weight_format.bits, o.act_format.bits
