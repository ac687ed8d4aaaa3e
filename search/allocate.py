"""Bit allocation as an integer programme: one option for every layer, least damage, within all budgets.

As in HAWQ-V3 (Yao et al., 2021, section 3.4) and MixDQ (Zhao et al., 2024, section 4.3): the damage of a plan is taken to be
the sum of the damages of its layers.  We differ: any number of budgets at once, checked again in exact sums, and ties.
"""
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version

import numpy as np

from ir import Plan, Table, UserError

from .budgets import TOLERANCE, bound, combines_by_max, total, within
from .exact import choose
from .solve import Columns, ready

def allocate(damage: Table | Sequence[tuple[Table, float]], costs: Mapping[str, Table] | None = None,
             budgets: Mapping[str, float | str] | None = None, *, ties: Iterable[Sequence[str]] = (),
             fixed: Mapping[str, str] | None = None, reference: str | None = None, solver: str = "highs",
             time_limit: float = 60.0, gap: float = 1e-4) -> Plan:
    """The plan of least total damage within all budgets.

    damage: one table, or (table, weight) pairs; of several, each is first divided by its largest possible total.
    budgets: {resource: number, or "25%" of the plan with option `reference` everywhere (None: of the dearest plan)}.
    ties: layers that must get the same option; fixed: {layer: option}; time_limit in seconds.
    gap: how far, relatively, the plan may be proven above the least possible damage; 0 proves it the best.
    UserError: unknown names, no plan fits, or none was found in time.
    """
    start = time.monotonic()
    weighted = [(damage, 1.0)] if isinstance(damage, Table) else list(damage)
    score = _score(weighted)
    costs, fixed, ties = dict(costs or {}), dict(fixed or {}), [tuple(t) for t in ties]
    most = _bounds(costs, budgets or {}, score, reference)
    menus = _menus(score, [costs[r] for r in most], ties, fixed)
    for r in most:
        if combines_by_max(costs[r]):
            menus = _below(menus, costs[r], most[r])
    sums = [r for r in most if not combines_by_max(costs[r])]
    least = {r: _least(menus, costs[r]) for r in sums}
    _each_alone(least, most)
    columns = _columns(menus, score, [costs[r] for r in sums])
    room = np.array([most[r] + TOLERANCE * abs(most[r]) - least[r] for r in sums])
    ready(solver)
    found = choose(columns, room, solver, time_limit - (time.monotonic() - start), gap)
    if found.chosen is None:
        raise _none_found(found.status, solver, time_limit, most, least)
    options = {layer: menu[k] for (layers, menu), k in zip(menus.items(), columns.option[found.chosen], strict=True) for layer in layers}
    options = {layer: options[layer] for layer in score}
    paid = {r: total(t, options) for r, t in costs.items() if all(options[k] in t.rows.get(k, ()) for k in options)}
    if over := [r for r in most if not within(paid[r], most[r])]:
        raise AssertionError(f"the solver's plan exceeds its budget: {[(r, paid[r], most[r]) for r in over]}")
    return Plan(options, {t.name: total(t, options) for t, _ in weighted}, paid, most,
                target=next((str(costs[r].about["target"]) for r in most if "target" in costs[r].about), ""),
                model=str(weighted[0][0].about.get("model", "")),
                why={"solver": solver, "status": found.status, "objective": math.fsum(score[k][o] for k, o in options.items()),
                     "gap": found.gap, "seconds": round(time.monotonic() - start, 3), "pulp": version("pulp"),
                     "weights": {t.name: w for t, w in weighted}, "ties": ties, "fixed": fixed})


def _score(weighted: list[tuple[Table, float]]) -> dict[str, dict[str, float]]:
    """Layer -> option -> what is minimised; only options that every table knows."""
    if not weighted or any(not t.rows or not all(t.rows.values()) for t, _ in weighted):
        raise UserError("a damage table is empty; measure at least one layer with one option")
    first = weighted[0][0]
    for t, w in weighted:
        if t.rows.keys() != first.rows.keys():
            raise UserError(f"damage tables {first.name!r} and {t.name!r} are of different layers: "
                            f"{', '.join(sorted(t.rows.keys() ^ first.rows.keys()))}")
        if not (math.isfinite(w) and w >= 0):
            raise UserError(f"damage table {t.name!r}: weight {w} is not a number >= 0")
    scale = {t.name: math.fsum(max(map(abs, row.values())) for row in t.rows.values()) or 1.0 for t, _ in weighted}
    scale = scale if len(weighted) > 1 else {first.name: 1.0}
    return {layer: {o: math.fsum(w * t.rows[layer][o] / scale[t.name] for t, w in weighted)
                    for o in row if all(o in t.rows[layer] for t, _ in weighted)} for layer, row in first.rows.items()}


def _bounds(costs: dict[str, Table], budgets: Mapping, layers: Iterable[str], reference: str | None) -> dict[str, float]:
    most = {}
    for r, budget in budgets.items():
        if r not in costs:
            raise UserError(f"a budget for {r!r}, but costs are known only for: {', '.join(costs) or 'nothing'}")
        if missing := [k for k in layers if k not in costs[r].rows]:
            raise UserError(f"cost table {r!r} says nothing of layer {missing[0]!r}; make it from the same model as the damage table")
        if extra := costs[r].rows.keys() - set(layers):
            raise UserError(f"cost table {r!r} has layer {min(extra)!r}, which was not measured; make both tables from the same model")
        most[r] = bound(costs[r], budget, reference)
    return most


def _menus(score: dict, costs: list[Table], ties: list[tuple[str, ...]], fixed: dict[str, str]) -> dict[tuple[str, ...], list[str]]:
    """Tied layers -> the options that all of them can get."""
    for layer in [*fixed, *(k for tie in ties for k in tie)]:
        if layer not in score:
            raise UserError(f"no layer {layer!r} in the damage table (it has {', '.join(score)})")
    together = {k: [k] for k in score}
    for tie in ties:
        merged = [k for k in score if any(k in together[t] for t in tie)]
        together |= dict.fromkeys(merged, merged)
    menus = {}
    for layers in dict.fromkeys(map(tuple, together.values())):
        wanted = {fixed[k] for k in layers if k in fixed}
        menus[layers] = [o for o in score[layers[0]] if all(o in score[k] for k in layers) and wanted <= {o}
                         and all(o in t.rows[k] for t in costs for k in layers)]
        if not menus[layers]:
            raise UserError(f"no option is left for {_names(layers)}: damage and cost tables know "
                            f"{', '.join(dict.fromkeys(o for k in layers for o in score[k]))}"
                            + (f", fixed is {', '.join(sorted(wanted))}" if wanted else ""))
    return menus


def _below(menus: dict, table: Table, most: float) -> dict:
    """The options whose layers each stay within `most`."""
    left = {}
    for layers, options in menus.items():
        cost = {o: max(table.rows[k][o] for k in layers) for o in options}
        left[layers] = [o for o in options if within(cost[o], most)]
        if not left[layers]:
            raise UserError(f"no plan fits the budget {table.name}<={most:g}: {_names(layers)} needs at least "
                            f"{min(cost.values()):g}; raise the budget or offer cheaper options")
    if not within(table.fixed, most):
        raise UserError(f"no plan fits the budget {table.name}<={most:g}: what has no options needs {table.fixed:g}; raise the budget")
    return left


def _least(menus: dict, table: Table) -> float:
    cheapest = (min(math.fsum(table.rows[k][o] for k in layers) for o in options) for layers, options in menus.items())
    return math.fsum([*cheapest, table.fixed])


def _each_alone(least: dict[str, float], most: dict[str, float]) -> None:
    if hopeless := {r: most[r] for r in least if not within(least[r], most[r])}:
        raise UserError(f"no plan fits {_text(hopeless)}: the smallest possible is {_text({r: least[r] for r in hopeless}, '=')} "
                        "with these options, ties and fixed layers; raise the budget or offer cheaper options")


def _columns(menus: dict, score: dict, costs: list[Table]) -> Columns:
    group, option, regret, excess = [], [], [], []
    for g, (layers, options) in enumerate(menus.items()):
        damage = [math.fsum(score[k][o] for k in layers) for o in options]
        paid = [[math.fsum(t.rows[k][o] for k in layers) for t in costs] for o in options]
        best, cheapest = min(damage), [min(column) for column in zip(*paid)]
        for k, (d, cost) in enumerate(zip(damage, paid)):
            group.append(g)
            option.append(k)
            regret.append(d - best)
            excess.append([c - least for c, least in zip(cost, cheapest)])
    return Columns(np.array(group), np.array(option), np.array(regret), np.array(excess).reshape(len(group), len(costs)))


def _none_found(status: str, solver: str, time_limit: float, most: dict, least: dict) -> UserError:
    if status == "time limit":
        return UserError(f"{solver} found no plan within {time_limit:g} s; give it more time, looser budgets or fewer options")
    return UserError(f"no plan fits the budgets {_text(most)} together, though each can be met alone "
                     f"(smallest possible: {_text(least, '=')}); raise one of them")


def _text(numbers: dict[str, float], sign: str = "<=") -> str: return ", ".join(f"{r}{sign}{v:g}" for r, v in numbers.items())


def _names(layers: tuple[str, ...]) -> str: return f"layer{'s' * (len(layers) > 1)} {', '.join(layers)}"
