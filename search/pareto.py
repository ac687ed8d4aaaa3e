"""The front of plans between one resource and damage."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
import time

import numpy as np

from ir import Plan, Table, UserError

from .allocate import allocate
from .budgets import combines_by_max, within
from .exact import Found
from .objectives import Damage
from .task import Paid, Task, reasons


def pareto(damage: Damage, costs: Mapping[str, Table], resource: str, points: int = 20, budgets: Mapping[str, float | str] | None = None,
           progress: Callable[[int, int, str], None] | None = None, **how) -> list[Plan]:
    """Plans that no other plan found beats in both damage and `resource`, from the cheapest to the best.

    The budget of `resource` takes `points` values between the least it can be (within the other `budgets`) and what the plan of
    least damage pays; each plan is the cheapest of its damage.  Of several damages (as for allocate) the weighted sum counts.
    `how` goes to allocate: ties, fixed, forbid, reference, solver, time_limit and gap of each point; with `pairs` plans are not
    the cheapest of their damage, only undominated.  UserError: as allocate.
    """
    if resource not in costs:
        raise UserError(f"no cost table of {resource!r}, only of: {', '.join(costs) or 'nothing'}")
    if points < 2:
        raise UserError(f"a front of {points} points; ask for 2 or more")
    if how.pop("order", "weighted") != "weighted":
        raise UserError("a front is over one damage or a weighted sum of several; call allocate with each budget for another order")
    others = {r: b for r, b in (budgets or {}).items() if r != resource}
    search = (_Each if combines_by_max(costs[resource]) or how.get("pairs") else _Sweep)(damage, dict(costs), resource, others, how)
    plans = [search.within(None)]
    grid = search.grid(plans[0].costs[resource], points)
    for i, most in enumerate(grid[::-1]):
        if progress:
            progress(i, len(grid), f"{resource}<={most:g}")
        if plan := search.within(most):
            plans.append(plan)
    return undominated(plans, "", resource)


def undominated(plans: Sequence[Plan], metric: str, resource: str) -> list[Plan]:
    """The plans that none of the others beats in both, by rising cost and falling damage; metric "" is what was minimised."""
    damage = lambda p: p.damage[metric] if metric else p.why["objective"]
    front: list[Plan] = []
    for p in sorted(plans, key=lambda p: (p.costs[resource], damage(p))):
        if not front or not within(damage(front[-1]), damage(p)):
            front.append(p)
    return front


@dataclass
class _Each:
    """A front whose points are questions of their own: over a maximum, whose values leave other menus, or with pairs."""
    damage: Damage
    costs: dict[str, Table]
    resource: str
    others: Mapping
    how: Mapping

    def within(self, most: float | None) -> Plan | None:
        """The best plan with at most this much; None where ties and other budgets leave nothing below the bound."""
        try:
            return allocate(self.damage, self.costs, self.others | ({} if most is None else {self.resource: most}), **self.how)
        except UserError:
            if most is None:
                raise
            return None

    def grid(self, most: float, points: int) -> list[float]:
        """Budgets below `most`, which the best plan pays: evenly spread, or of a maximum the values that it can take."""
        table = self.costs[self.resource]
        how = {k: v for k, v in self.how.items() if k not in ("time_limit", "gap", "pairs")}
        if not combines_by_max(table):
            return _Sweep(self.damage, self.costs, self.resource, self.others, how).grid(most, points)
        task = Task(self.damage, self.costs, self.others, **how)
        paid = task.space.worst(table.rows)
        least = float(np.minimum.reduceat(paid, task.space.starts).max())
        values = sorted({v for v in paid.tolist() if least <= v < most})
        return values if len(values) < points else [values[i * len(values) // (points - 1)] for i in range(points - 1)]


@dataclass
class _Sweep:
    """A front over a sum: one space of choices, two questions (least damage, then least cost), each starting where it last was.

    The plan of the budget before, its prices and all cuts of the dual go from point to point: with other room the same choices
    stay cuts.  Whoever has found the cheapest of its damage within the gap is not searched for again: `choose` begins by proving.
    """
    damage: Damage
    costs: dict[str, Table]
    resource: str
    others: Mapping
    how: Mapping
    near: dict[str, Found] = field(default_factory=dict)

    def __post_init__(self):
        how = dict(self.how)
        self.limit, self.gap = how.pop("time_limit", 60.0), how.pop("gap", 1e-4)
        table = self.costs[self.resource]
        dearest = sum(max(row.values(), default=0.0) for row in table.rows.values()) + table.fixed
        self.task = t = Task(self.damage, self.costs, self.others | {self.resource: dearest}, **how)
        goal, cost = t.space.sums(t.score), t.space.sums(table.rows)
        others = {r: (t.space.sums(t.rows(r)), t.costs[r].fixed) for r in t.sums if r != self.resource}
        self.best = Paid(t.space, goal, {self.resource: (cost, table.fixed)} | others)
        self.cheapest = Paid(t.space, cost, {"damage": (goal, 0.0)} | others)

    def within(self, most: float | None) -> Plan:
        """The plan of least damage with at most this much, and of those the cheapest."""
        started = time.monotonic()
        bounds = {r: self.task.most[r] for r in self.best.least}
        if most is not None:
            bounds[self.resource] = most
        found = self._ask("best", self.best, bounds)
        reached = float(np.sum(self.best.goal[found.chosen]))
        also = {r: bounds[r] for r in self.cheapest.least if r != "damage"}
        cheap = self._ask("cheapest", self.cheapest, also | {"damage": reached}, found.chosen)
        if self._paid(cheap.chosen) < self._paid(found.chosen):
            found = Found(cheap.chosen, found.status, found.gap, found.bound, found.prices, found.cuts)
        swept = {r: m for r, m in bounds.items() if most is not None or r != self.resource}
        plan = self.task.plan(found.chosen, reasons(self.task, self.best, found, bounds), swept)
        plan.why["seconds"] = round(time.monotonic() - started, 3)
        return plan

    def grid(self, most: float, points: int) -> list[float]:
        """Budgets below `most`, which the best plan pays, evenly spread down to the least that the other budgets allow."""
        bounds = {r: self.task.most[r] for r in self.cheapest.least if r != "damage"} | {"damage": float(np.abs(self.best.goal).sum())}
        least = self._paid(self._ask("cheapest", self.cheapest, bounds).chosen)
        return [least + (most - least) * i / (points - 1) for i in range(points - 1)] if least < most else []

    def _ask(self, name: str, paid: Paid, bounds: Mapping[str, float], start: np.ndarray | None = None) -> Found:
        self.task.check(paid, bounds)
        found = paid.ask(bounds, self.task.solver, self.limit, self.gap, start=start, near=self.near.get(name))
        if found.chosen is None:
            raise self.task.none_found(found, paid, bounds, self.limit)
        if found.cuts is not None:
            self.near[name] = found
        return found

    def _paid(self, chosen: np.ndarray) -> float:
        cost = self.cheapest.goal[chosen]
        return float(np.sum(cost)) + self.costs[self.resource].fixed
