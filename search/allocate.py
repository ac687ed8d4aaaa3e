"""Bit allocation as an integer programme: one option for every layer, least damage, within all budgets.

As in HAWQ-V3 (Yao et al., 2021, section 3.4) and MixDQ (Zhao et al., 2024, section 4.3): the damage of a plan is taken to be
the sum of the damages of its layers.  We differ: any number of budgets at once, checked again in exact sums; ties; interactions
of pairs of layers on demand; several objectives, weighed or one after the other.
"""
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ir import Option, Plan, Table, UserError

from .objectives import Damage
from .pairs import Pairs
from .quadratic import choose_pairs, coupling
from .task import Paid, Task, proven, question, reasons
from .why import why

ORDERS = ("weighted", "lexicographic")


def allocate(damage: Damage, costs: Mapping[str, Table] | None = None, budgets: Mapping[str, float | str] | None = None, *,
             pairs: Pairs | None = None, order: str = "weighted", tolerance: float = 0.0, ties: Iterable[Sequence[str]] = (),
             fixed: Mapping[str, str | Option] | None = None, forbid: Mapping[str, str | Sequence[str]] | None = None,
             reference: str | Option | Plan | None = None, solver: str = "highs", time_limit: float = 60.0, gap: float = 1e-4) -> Plan:
    """The plan of least total damage within all budgets.

    damage: one table, or a list of tables, (table, weight) or (table, weight, layers); of several, each is first divided by its
      largest possible total.  With `layers` (names or patterns, parted by commas) a table speaks for these alone.
    order: "weighted" minimises the sum; "lexicographic" the first table, then the second among the plans within
      (1 + tolerance) of the first one's least, and so on; weights do not matter then.
    budgets: {resource: number, or "25%" of the plan `reference` (an option: everywhere; None: the dearest)}; resource@layers
      bounds what some layers pay together, for example {"bytes@encoder.*": "50%"}.
    pairs: interactions of two layers, added to the damage of the table of their name.
    ties: layers that must get the same option; fixed: {layer or pattern: option}; forbid: {layer or pattern: option patterns}.
    gap: how far, relatively, the plan may be proven above the least possible damage; 0 proves it the best.  time_limit in seconds.
    UserError: unknown names, contradicting rules, tables of different models, no plan fits, or none was found in time.
    """
    start = time.monotonic()
    if order not in ORDERS:
        raise UserError(f"order {order!r} is not one of {', '.join(ORDERS)}")
    if tolerance < 0:
        raise UserError(f"tolerance {tolerance:g}: a number >= 0 is needed")
    task = Task(damage, costs, budgets, ties, fixed, forbid, reference, solver, (pairs,) if pairs else ())
    left = lambda: time_limit - (time.monotonic() - start)
    if order == "lexicographic":
        if pairs:
            raise UserError("pairs go with order 'weighted' only; leave out one of the two")
        plan = _one_after_the_other(task, tolerance, left, time_limit, gap)
    elif pairs:
        plan = _with_pairs(task, pairs, left, time_limit, gap)
    else:
        paid = question(task)
        plan = _answer(task, paid, task.most, left, time_limit, gap)
    plan.why["seconds"] = round(time.monotonic() - start, 3)
    return plan


def _answer(task: Task, paid: Paid, most: Mapping[str, float], left, time_limit: float, gap: float) -> Plan:
    summed = {r: most[r] for r in paid.least}
    task.check(paid, summed)
    found = paid.ask(summed, task.solver, left(), gap)
    if found.chosen is None:
        raise task.none_found(found, paid, summed, time_limit)
    return task.plan(found.chosen, reasons(task, paid, found, summed))


def _one_after_the_other(task: Task, tolerance: float, left, time_limit: float, gap: float) -> Plan:
    """Each objective in turn, those before it bounded by what they reached."""
    bounded = {r: (task.space.sums(task.rows(r)), task.costs[r].fixed) for r in task.sums}
    most, stages, best = {r: task.most[r] for r in task.sums}, {}, None
    for goal in task.goals:
        paid = Paid(task.space, task.space.sums(goal.table.rows), bounded)
        task.check(paid, most)
        found = paid.ask(most, task.solver, left(), gap, start=best)
        if found.chosen is None:
            raise task.none_found(found, paid, most, time_limit)
        best, name = found.chosen, f"damage {goal.name}"
        plan = task.plan(best, reasons(task, paid, found, most))
        reached = plan.damage[goal.name]
        stages[goal.name] = {"least": reached, "gap": found.gap, "status": found.status}
        bounded, most = bounded | {name: (paid.goal, goal.table.fixed)}, most | {name: reached + tolerance * abs(reached)}
    late = next((s["status"] for s in stages.values() if s["status"] != "optimal"), "optimal")
    plan.why |= {"order": "lexicographic", "tolerance": tolerance, "stages": stages, "objective": reached, "status": late,
                 "gap": max(s["gap"] for s in stages.values())}
    return plan


def _with_pairs(task: Task, pairs: Pairs, left, time_limit: float, gap: float) -> Plan:
    paid, own = question(task), coupling(task.space, pairs, task.goals)
    summed = {r: task.most[r] for r in paid.least}
    task.check(paid, summed)
    found = choose_pairs(paid.goal, paid.columns, own, paid.room(summed), task.solver, left(), gap)
    if found.chosen is None:
        raise task.none_found(found, paid, summed, time_limit)
    there = replace(paid.columns, regret=own.field(paid.goal, found.chosen))
    plan = task.plan(found.chosen, proven(found) | why(task.space, there, paid.given(summed), list(paid.least), found))
    surplus = pairs.total(plan.options)
    plan.damage[pairs.name] += surplus
    plan.why |= {"pairs": surplus, "objective": plan.why["objective"] + surplus * own.scale}
    return plan
