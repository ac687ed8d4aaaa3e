"""A question to the allocator, read and checked once; it can then be asked with other bounds, as a front does."""
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np

from ir import Option, Plan, Table, UserError

from .budgets import TOLERANCE, bound, combines_by_max, region, split, total, within
from .exact import Found, choose
from .objectives import Damage, objectives, one_model, score
from .solve import SOLVERS, ready
from .space import Columns, Space, below, by_pattern, space
from .why import why


@dataclass
class Task:
    """Menus, what is minimised and what is bounded; `most` are the bounds as numbers in each table's unit."""
    damage: Damage
    costs: Mapping[str, Table] | None = None
    budgets: Mapping[str, float | str] | None = None
    ties: Iterable[Sequence[str]] = ()
    fixed: Mapping[str, str] | None = None
    forbid: Mapping | None = None
    reference: str | Option | Plan | None = None
    solver: str = "highs"
    also: tuple = ()   # further tables (of pairs) that must be of the same model
    most: dict[str, float] = field(init=False)

    def __post_init__(self):
        ready(self.solver)
        self.goals = objectives(self.damage)
        self.score = score(self.goals)
        self.costs, self.ties, self.most = dict(self.costs or {}), [tuple(t) for t in self.ties], {}
        one_model([*(g.table for g in self.goals), *self.costs.values(), *self.also])
        for key, budget in (self.budgets or {}).items():
            self.most[key] = bound(self._table(key), budget, self.reference)
        layers = list(self.score)
        limiting = [t for r, t in self.costs.items() if r in {split(k)[0] for k in self.most} or t.about.get("target")]
        self.space = space(self.score, limiting, self.ties, by_pattern(layers, self.fixed or {}, "fixed"),
                           by_pattern(layers, self.forbid or {}, "forbid"))
        for r in self.most:
            if combines_by_max(self.costs[r]):
                self.space = below(self.space, self.costs[r], self.most[r])

    @property
    def sums(self) -> list[str]:
        """The bounded resources that sum over layers."""
        return [r for r in self.most if not combines_by_max(self.costs[r])]

    def rows(self, resource: str) -> Mapping: return self.costs[resource].rows

    def check(self, paid: "Paid", most: Mapping[str, float]) -> None:
        """UserError: a bound that no plan meets, whatever the others."""
        if hopeless := {r: most[r] for r in most if not within(paid.least[r], most[r])}:
            raise UserError(f"no plan fits {_text(hopeless)}: the smallest possible is {_text({r: paid.least[r] for r in hopeless}, '=')} "
                            "with these options, ties and fixed layers; raise the budget or offer cheaper options")

    def none_found(self, found: Found, paid: "Paid", most: Mapping[str, float], time_limit: float) -> UserError:
        """What to say when nothing was chosen."""
        if found.status == "time limit":
            return UserError(f"{self.solver} found no plan within {time_limit:g} s; give it more time, looser budgets or fewer options")
        return UserError(f"no plan fits the budgets {_text(most)} together, though each can be met alone "
                         f"(smallest possible: {_text({r: paid.least[r] for r in most}, '=')}); raise one of them")

    def plan(self, chosen: np.ndarray, about: Mapping, most: Mapping[str, float] | None = None) -> Plan:
        """The plan of one column a group; checked again in exact sums over the tables themselves."""
        options, most = self.space.options(chosen, self.score), self.most if most is None else most
        paid = {r: total(t, options) for r, t in self.costs.items() if all(options[k] in t.rows[k] for k in options if k in t.rows)
                and ("@" in r or all(k in t.rows for k in options))}
        if over := [r for r in most if not within(paid[r], most[r])]:
            raise AssertionError(f"the solver's plan exceeds its budget: {[(r, paid[r], most[r]) for r in over]}")
        used = [self.costs[r] for r in most if "target" in self.costs[r].about]
        return Plan(options, {g.name: total(g.table, options) for g in self.goals}, paid, dict(most),
                    target=str(used[0].about["target"]) if used else "", model=str(self.goals[0].table.about.get("model", "")),
                    why={"solver": self.solver, "version": version(SOLVERS[self.solver].package), "weights": {g.name: g.weight for g in self.goals},
                         "objective": math.fsum(self.score[k][o] for k, o in options.items()),
                         "ties": self.ties, "fixed": _plain(self.fixed), "forbid": _plain(self.forbid)} | about)

    def _table(self, key: str) -> Table:
        """The cost table of a budget; one for a part of the layers is entered among the costs."""
        resource, layers = split(key)
        if resource not in self.costs:
            raise UserError(f"a budget for {resource!r}, but costs are known only for: "
                            f"{', '.join(k for k in self.costs if '@' not in k) or 'nothing'}")
        table = self.costs[resource]
        if missing := [k for k in self.score if k not in table.rows]:
            raise UserError(f"cost table {resource!r} says nothing of layer {missing[0]!r}; make it from the same model as the damage table")
        if extra := table.rows.keys() - set(self.score):
            raise UserError(f"cost table {resource!r} has layer {min(extra)!r}, which was not measured; make both tables from the same model")
        if layers:
            self.costs[key] = region(table, layers)
        return self.costs[key]


class Paid:
    """The columns of a question: what is minimised above the least, and bounded sums above the least; `least` with what is fixed."""

    def __init__(self, s: Space, goal: np.ndarray, bounded: Mapping[str, tuple[np.ndarray, float]]):
        regret, self.base = s.above_least(goal)
        above = {r: s.above_least(paid) for r, (paid, _) in bounded.items()}
        excess = np.stack([a for a, _ in above.values()], 1) if above else np.zeros((len(goal), 0))
        self.goal, self.columns = goal, Columns(s.group, regret, excess)
        self.least = {r: math.fsum([above[r][1], fixed]) for r, (_, fixed) in bounded.items()}

    def given(self, most: Mapping[str, float]) -> np.ndarray:
        """What the bounds leave above the least."""
        return np.array([most[r] - least for r, least in self.least.items()])

    def room(self, most: Mapping[str, float]) -> np.ndarray:
        """The same, widened by what rounding may take."""
        return self.given(most) + np.array([TOLERANCE * abs(most[r]) for r in self.least])

    def ask(self, most: Mapping[str, float], solver: str, limit: float, gap: float, **known) -> Found:
        return choose(self.columns, self.room(most), solver, limit, gap, self.base, **known)


def question(task: Task) -> Paid:
    """The task's own question."""
    bounded = {r: (task.space.sums(task.rows(r)), task.costs[r].fixed) for r in task.sums}
    return Paid(task.space, task.space.sums(task.score), bounded)


def reasons(task: Task, paid: Paid, found: Found, most: Mapping[str, float]) -> dict:
    """The `why` of a plan: what was proven, what every budget is worth, and what each layer would get next."""
    columns = Columns(paid.columns.group, paid.goal, paid.columns.excess)
    return proven(found) | why(task.space, columns, paid.given(most), list(paid.least), found, paid.base)


def proven(found: Found) -> dict: return {"status": found.status, "gap": found.gap}


def _plain(rules: Mapping | None) -> dict:
    return {k: str(v) if isinstance(v, (str, Option)) else [str(o) for o in v] for k, v in (rules or {}).items()}


def _text(numbers: Mapping[str, float], sign: str = "<=") -> str: return ", ".join(f"{r}{sign}{v:g}" for r, v in numbers.items())
