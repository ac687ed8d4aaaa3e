"""The front of plans between one resource and damage."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ir import Plan, Table, UserError

from .allocate import allocate
from .budgets import combines_by_max, within


def pareto(damage: Table, costs: Mapping[str, Table], resource: str, points: int = 20, budgets: Mapping[str, float | str] | None = None,
           progress: Callable[[int, int, str], None] | None = None, **how) -> list[Plan]:
    """Plans that no other plan found beats in both damage and `resource`, from the cheapest to the best.

    The budget of `resource` takes `points` values between the least it can be (within the other `budgets`) and what the plan of
    least damage pays; each plan is the cheapest of its damage.  `how` goes to allocate: ties, fixed, solver, ...
    UserError: as allocate.
    """
    if resource not in costs:
        raise UserError(f"no cost table of {resource!r}, only of: {', '.join(costs) or 'nothing'}")
    if points < 2:
        raise UserError(f"a front of {points} points; ask for 2 or more")
    others = {r: b for r, b in (budgets or {}).items() if r != resource}
    search = _Search(damage, dict(costs), resource, others, how)
    plans = [search.cheapest_as_good(search.within(None))]
    grid = search.grid(plans[0].costs[resource], points)
    for i, most in enumerate(grid):
        if progress:
            progress(i, len(grid), f"{resource}<={most:g}")
        if plan := search.within(most):
            plans.append(search.cheapest_as_good(plan))
    return undominated(plans, damage.name, resource)


def undominated(plans: Sequence[Plan], metric: str, resource: str) -> list[Plan]:
    """The plans that none of the others beats in both, by rising cost and falling damage."""
    front: list[Plan] = []
    for p in sorted(plans, key=lambda p: (p.costs[resource], p.damage[metric])):
        if not front or not within(front[-1].damage[metric], p.damage[metric]):
            front.append(p)
    return front


class _Search:
    """The questions that a front asks of `allocate`."""

    def __init__(self, damage: Table, costs: dict[str, Table], resource: str, others: Mapping, how: Mapping):
        self.damage, self.costs, self.resource, self.others, self.how = damage, costs, resource, others, dict(how)
        self.by_max = combines_by_max(costs[resource])
        known = {k: {o: v for o, v in costs[resource].rows.get(k, {}).items() if o in row} for k, row in damage.rows.items()}
        self.table = replace(costs[resource], rows=known)

    def within(self, most: float | None) -> Plan | None:
        """The best plan with at most this much; None where ties and other budgets leave nothing below a worst layer's bound."""
        try:
            return allocate(self.damage, self.costs, self.others | ({} if most is None else {self.resource: most}), **self.how)
        except UserError:
            if most is None or not self.by_max:
                raise
            return None

    def grid(self, most: float, points: int) -> list[float]:
        """Budgets below `most`, which the best plan pays: evenly spread, or for a maximum of the values that it can take."""
        if self.by_max:
            least = max(min(row.values()) for row in self.table.rows.values())
            values = sorted({v for row in self.table.rows.values() for v in row.values() if least <= v < most})
            return values if len(values) < points else [values[i * len(values) // (points - 1)] for i in range(points - 1)]
        least = allocate(self.table, self.costs, self.others, **self.how).costs[self.resource]
        return [least + (most - least) * i / (points - 1) for i in range(points - 1)] if least < most else []

    def cheapest_as_good(self, plan: Plan) -> Plan:
        """A plan of no more damage and least cost: the allocator alone stops at the first of equally good plans."""
        if self.by_max:
            return plan
        name = f"damage {self.damage.name}"
        cheaper = allocate(self.table, self.costs | {name: self.damage}, self.others | {name: plan.damage[self.damage.name]}, **self.how)
        if cheaper.costs[self.resource] >= plan.costs[self.resource]:
            return plan
        damage = {self.damage.name: cheaper.costs.pop(name)}
        return replace(plan, options=cheaper.options, damage=damage, costs=cheaper.costs)
