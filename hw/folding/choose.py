"""The exact choice among foldings: each node picks one of a few, the whole runs at the pace of its slowest.

A cycle goal therefore splits into one small choice a node, unlike FINN's greedy SetFolding (Umuroglu et al., FINN,
FPGA 2017; we differ: budgets are kept, and what cannot be met is explained).
"""
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    """Fewest LUTs with every node within `goal` and every limit kept, by dynamic programming over Pareto sets of costs."""
    keys = ["lut", *(r for r in limits if r != "lut")]
    front: list[tuple[tuple[float, ...], tuple[Choice, ...]]] = [((0.0,) * len(keys), ())]
    for options in choices.values():
        own = _pareto([(tuple(c.cost.get(k, 0) for k in keys), (c,)) for c in options if c.cycles <= goal])
        sums = [(tuple(a + b for a, b in zip(u, v)), s + t) for u, s in front for v, t in own]
        front = _pareto([(u, s) for u, s in sums if all(u[keys.index(r)] <= bound for r, bound in limits.items())])
        if not front:
            return None
    return dict(zip(choices, min(front, key=lambda e: e[0])[1]))


def _pareto(entries):
    """The entries whose vector no other entry matches or beats in every component."""
    kept = []
    for u, s in sorted(entries, key=lambda e: e[0]):
        if not any(all(a <= b for a, b in zip(v, u)) for v, _ in kept):
            kept.append((u, s))
    return kept


def _why_not(choices, max_cycles, limits) -> str:
    goal = float("inf") if max_cycles is None else max_cycles
    at = "even at its slowest folding" if max_cycles is None else f"at {max_cycles} cycles a frame"
    least = {r: sum(min(c.cost.get(r, 0) for c in options if c.cycles <= goal) for options in choices.values()) for r in limits}
    short = [f"{least[r]:.0f} {r.upper()} where {bound:.0f} may be used" for r, bound in limits.items() if least[r] > bound]
    return f"the design does not fit: {at} it needs {' and '.join(short)}" if short else \
        f"the design does not fit: {at} each of {', '.join(r.upper() for r in limits)} could be kept, but not all at once"
