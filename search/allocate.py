"""Bit allocation as an integer programme: one option for every layer, least damage, within all budgets.

As in HAWQ-V3 (Yao et al., 2021, section 3.4) and MixDQ (Zhao et al., 2024, section 4.3): the damage of a plan is taken to be
the sum of the damages of its layers.  We differ: any number of budgets at once, checked again in exact sums, and ties.
"""
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from ir import Plan, Table, UserError

from .budgets import TOLERANCE, bound, combines_by_max, total, within
from .solve import Choices

RESOLUTION = 1e3  # coefficients reach up to this, so that a solver's absolute tolerance of 1e-6 is 1e-9 of a budget
SEARCH_AGAIN = 1e-3  # an optimum this far below the largest coefficient was found with too coarse a ruler


@dataclass(frozen=True)
class Column:
    """An option for a group of tied layers: damage above the group's best, cost above the group's cheapest, by resource."""
    option: str
    regret: float
    excess: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """Layers that get the same option."""
    layers: tuple[str, ...]
    columns: tuple[Column, ...]


def allocate(damage: Table | Sequence[tuple[Table, float]], costs: Mapping[str, Table] | None = None,
             budgets: Mapping[str, float | str] | None = None, *, ties: Iterable[Sequence[str]] = (),
             fixed: Mapping[str, str] | None = None, reference: str | None = None, solver: str = "highs",
             time_limit: float = 60.0, gap: float = 1e-6) -> Plan:
    """The plan of least total damage within all budgets.

    damage: one table, or (table, weight) pairs; of several, each is first divided by its largest possible total.
    budgets: {resource: number, or "25%" of the plan with option `reference` everywhere (None: of the dearest plan)}.
    ties: layers that must get the same option; fixed: {layer: option}; time_limit in seconds; gap is relative.
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
    groups = [_group(layers, options, score, [costs[r] for r in sums]) for layers, options in menus.items()]
    room = [most[r] + TOLERANCE * abs(most[r]) - least[r] for r in sums]
    best, status, reached = _best(groups, room, solver, start + time_limit, gap)
    if best is None:
        raise UserError(f"no plan fits the budgets {_text(most)} together, though each can be met alone "
                        f"(smallest possible: {_text(least, '=')}); raise one of them")
    options = {layer: column.option for group, column in zip(groups, best, strict=True) for layer in group.layers}
    options = {layer: options[layer] for layer in score}
    paid = {r: total(t, options) for r, t in costs.items() if all(options[k] in t.rows.get(k, ()) for k in options)}
    if over := [r for r in most if not within(paid[r], most[r])]:
        raise AssertionError(f"the solver's plan exceeds its budget: {[(r, paid[r], most[r]) for r in over]}")
    return Plan(options, {t.name: total(t, options) for t, _ in weighted}, paid, most,
                target=next((str(costs[r].about["target"]) for r in most if "target" in costs[r].about), ""),
                model=str(weighted[0][0].about.get("model", "")),
                why={"solver": solver, "status": status, "objective": math.fsum(score[k][o] for k, o in options.items()),
                     "gap": reached, "seconds": round(time.monotonic() - start, 3), "pulp": version("pulp"),
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


def _group(layers: tuple[str, ...], options: list[str], score: dict, costs: list[Table]) -> Group:
    damage = {o: math.fsum(score[k][o] for k in layers) for o in options}
    cost = [{o: math.fsum(t.rows[k][o] for k in layers) for o in options} for t in costs]
    best, cheapest = min(damage.values()), [min(c.values()) for c in cost]
    return Group(layers, tuple(Column(o, damage[o] - best, tuple(c[o] - m for c, m in zip(cost, cheapest))) for o in options))


def _best(groups: list[Group], room: list[float], solver: str, deadline: float, gap: float):
    """(column of each group or None, status, gap reached).

    Damages may span twelve decades, solvers compare with absolute tolerances: so once a plan is known, every option whose own
    regret exceeds the plan's is dropped (it is in no better plan), and the search is repeated with a finer ruler.
    """
    upper = math.inf
    while True:
        columns = [[c for c in g.columns if c.regret <= upper and all(e <= r for e, r in zip(c.excess, room))] for g in groups]
        if not all(columns):
            return None, "infeasible", 0.0
        ruler = max(c.regret for cs in columns for c in cs) or 1.0
        choices = Choices([[c.regret / ruler * RESOLUTION for c in cs] for cs in columns],
                          [[[c.excess[i] / r * RESOLUTION for c in cs] for cs in columns] for i, r in enumerate(room) if r > 0],
                          [RESOLUTION for r in room if r > 0])
        answer = choices.solve(solver, max(0.1, deadline - time.monotonic()), gap)
        while answer.choice and not _fits(best := [cs[k] for cs, k in zip(columns, answer.choice)], room):
            choices.forbid(answer.choice)
            answer = choices.solve(solver, max(0.1, deadline - time.monotonic()), gap)
        if answer.choice is None:
            return None, "infeasible", 0.0
        regret = math.fsum(c.regret for c in best)
        if answer.timed_out:
            value = regret / ruler * RESOLUTION
            return best, "time limit", max(0.0, (value - answer.bound) / value) if value else 0.0
        if regret == 0 or regret >= SEARCH_AGAIN * ruler:
            return best, "optimal", gap
        upper = regret * (1 + TOLERANCE)


def _fits(columns: list[Column], room: list[float]) -> bool:
    return all(math.fsum(c.excess[i] for c in columns) <= r * (1 + TOLERANCE) for i, r in enumerate(room))


def _text(numbers: dict[str, float], sign: str = "<=") -> str: return ", ".join(f"{r}{sign}{v:g}" for r, v in numbers.items())


def _names(layers: tuple[str, ...]) -> str: return f"layer{'s' * (len(layers) > 1)} {', '.join(layers)}"
