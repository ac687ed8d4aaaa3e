"""The exact choice among foldings: each node picks one of a few, the whole runs at the pace of its slowest.

Which choices are worth a pace is known node by node; that all of them share LUTs, multipliers and memories makes it an integer
program, a multiple-choice knapsack, which HiGHS solves to its end.  FINN's SetFolding is greedy (Umuroglu et al., FINN,
FPGA 2017); we differ: budgets are kept, and what cannot be met is explained.
"""
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ir import UserError


@dataclass(frozen=True)
class Choice:
    """One legal folding of one node: its pace in cycles a frame, and what it costs."""
    folding: tuple[int, int]
    cycles: int
    cost: Mapping[str, float] = field(default_factory=dict)


def choose(choices: Mapping[str, Sequence[Choice]], max_cycles: int | None = None,
           limits: Mapping[str, float] | None = None) -> dict[str, Choice]:
    """The choice of each node: fewest cycles of the slowest node within `limits`, then fewest LUTs at that pace.

    `limits` maps resources ("lut", "ff", "dsp", "bram") to their bounds, summed over nodes.  With `max_cycles` the pace
    is that goal and only LUTs are minimised.  UserError: nothing meets them, with the nearest thing that would.
    """
    if not choices:
        return {}
    limits = dict(limits or {})
    goals = sorted({c.cycles for options in choices.values() for c in options})
    floor = max(min(c.cycles for c in options) for options in choices.values())
    if max_cycles is not None and max_cycles < floor:
        node = next(n for n, options in choices.items() if min(c.cycles for c in options) == floor)
        raise UserError(f"{max_cycles} cycles a frame cannot be met: node {node!r} takes {floor} at its fastest folding")
    if max_cycles is not None:
        found = _cheapest(choices, max_cycles, limits)
    else:  # a longer goal never costs more, so what is feasible starts somewhere and goes on to the end
        goals = goals[bisect_left(goals, floor):]
        first = bisect_left(goals, True, key=lambda goal: _cheapest(choices, goal, limits) is not None)
        found = _cheapest(choices, goals[first], limits) if first < len(goals) else None
    if found is None:
        raise UserError(_why_not(choices, max_cycles, limits))
    return found


def total(chosen: Mapping[str, Choice]) -> dict[str, float]:
    """Summed costs of all nodes, and the cycles of the slowest."""
    resources = dict.fromkeys(r for c in chosen.values() for r in c.cost)
    slowest = max((c.cycles for c in chosen.values()), default=0)
    return {r: sum(c.cost.get(r, 0) for c in chosen.values()) for r in resources} | {"cycles": slowest}


def _cheapest(choices, goal: float, limits) -> dict[str, Choice] | None:
    """Fewest LUTs with every node within `goal` and every limit kept; None: there is no such choice."""
    bounds = np.array(list(limits.values()), float)
    keys = ["lut", *limits]  # the LUTs first: they are what is made small, and may be limited too
    menus, costs = [], []
    for options in choices.values():
        menu, cost = _pareto([c for c in options if c.cycles <= goal], keys)
        menus.append(menu)
        costs.append(cost)
    if (sum(c[:, 1:].min(0) for c in costs) > bounds).any():
        return None
    picked = [int(c[:, 0].argmin()) for c in costs]
    if (sum(c[k, 1:] for c, k in zip(costs, picked)) > bounds).any():
        picked = _program(costs, bounds)
    return None if picked is None else {n: menu[k] for n, menu, k in zip(choices, menus, picked)}


def _program(costs: list[np.ndarray], bounds: np.ndarray) -> list[int] | None:
    """One row of each (choices, 1 + limits) array: the least sum of column 0 within `bounds` of the others."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    sizes = [len(c) for c in costs]
    every, owner = np.concatenate(costs), np.repeat(np.arange(len(costs)), sizes)
    one = (owner == np.arange(len(costs))[:, None]).astype(float)
    found = milp(every[:, 0], integrality=np.ones(len(every)), bounds=Bounds(0, 1), options={"mip_rel_gap": 0},
                 constraints=[LinearConstraint(one, 1, 1), LinearConstraint(every[:, 1:].T, -np.inf, bounds)])
    return None if found.x is None else [int(part.argmax()) for part in np.split(found.x, np.cumsum(sizes)[:-1])]


def _pareto(options: Sequence[Choice], keys: list[str]) -> tuple[list[Choice], np.ndarray]:
    """The options that no other matches or beats in every resource, and what they take: (options, keys)."""
    kept, costs = [], np.empty((0, len(keys)))
    for cost, c in sorted((([c.cost.get(k, 0) for k in keys], c) for c in options), key=lambda e: e[0]):
        if not (costs <= cost).all(1).any():
            kept, costs = [*kept, c], np.vstack([costs, cost])
    return kept, costs


def _why_not(choices, max_cycles, limits) -> str:
    goal = float("inf") if max_cycles is None else max_cycles
    at = "even at its slowest folding" if max_cycles is None else f"at {max_cycles} cycles a frame"
    least = {r: sum(min(c.cost.get(r, 0) for c in options if c.cycles <= goal) for options in choices.values()) for r in limits}
    short = [f"{least[r]:.0f} {r.upper()} where {bound:.0f} may be used" for r, bound in limits.items() if least[r] > bound]
    return f"the design does not fit: {at} it needs {' and '.join(short)}" if short else \
        f"the design does not fit: {at} each of {', '.join(r.upper() for r in limits)} could be kept, but not all at once"
