"""The best choice of one column a group within all budgets, proven, at the size of real networks.

A Lagrangian bound with the relaxation's prices, and a small integer programme over the columns that this bound cannot rule
out (Geoffrion, Lagrangean relaxation for integer programming, 1974; the "core" of Pisinger, 1995).  We differ: all of it is
checked in floating point sums of our own, so that neither a solver's tolerances nor damages of many magnitudes spoil the proof.
"""
import math
import time
from dataclasses import dataclass

import numpy as np

from .solve import Columns, Program

CORE = 400          # columns, beside the best of each group, that the first integer programme sees
NOISE = 1e-12       # relative; rounding errors of sums
SMALL = 200         # so few columns are solved at once, without prices
COARSE = 1e-3       # an optimum this far below the largest regret was found with too coarse a ruler


@dataclass(frozen=True)
class Found:
    """The best choice: places in the columns given, one a group (None: there is none), what was proven, and the gap left."""
    chosen: np.ndarray | None
    status: str  # "optimal", "time limit" or "infeasible"
    gap: float   # (its regret - a true bound) / its regret


def choose(columns: Columns, room: np.ndarray, solver: str, limit: float, gap: float) -> Found:
    """The choice of least regret with excess within `room` (R,); relative `gap`, at most `limit` seconds."""
    deadline, groups = time.monotonic() + limit, len(columns.starts)
    kept = np.flatnonzero((columns.excess <= room).all(axis=1))
    best, upper, size = None, math.inf, CORE
    while True:
        now = columns.take(kept)
        if len(now.group) == 0 or len(now.starts) < groups:
            return Found(best, "optimal" if best is not None else "infeasible", 0.0)
        ruler = now.regret.max()
        reduced, lower = _bound(now, room, solver, deadline)
        core, answer, late = _search(now, reduced, room, size, solver, deadline, max(0.0, gap * lower / 2))
        if answer is not None and (value := math.fsum(now.regret[answer])) < upper:
            best, upper = kept[answer], value
        if best is None:
            return Found(None, "time limit" if late else "infeasible", 0.0)
        left = max(0.0, upper - lower)
        if late or left <= gap * upper:
            return Found(best, "optimal" if left <= gap * upper else "time limit", left / upper if upper else 0.0)
        may_be_better = reduced <= left + NOISE * (upper + abs(lower) + reduced.sum())
        if not (may_be_better & ~core).any() and (upper >= COARSE * ruler or may_be_better.all()):
            return Found(best, "optimal", min(gap, left / upper))
        kept, size = kept[may_be_better], len(kept)


def _bound(columns: Columns, room: np.ndarray, solver: str, deadline: float) -> tuple[np.ndarray, float]:
    """(how much worse than the bound a choice with each column is at least, the bound)."""
    prices = Program(columns, room).prices(solver, _left(deadline)) if len(room) and len(columns.group) > SMALL else np.zeros(len(room))
    priced = columns.regret + columns.excess @ prices
    least = np.minimum.reduceat(priced, columns.starts)
    sizes = np.diff(np.r_[columns.starts, len(priced)])
    return priced - np.repeat(least, sizes), math.fsum(least) - math.fsum(prices * room)


def _search(columns: Columns, reduced: np.ndarray, room: np.ndarray, size: int, solver: str, deadline: float, slack: float):
    """(mask of the columns looked at, chosen places or None, whether time ran out); looks wider until something fits."""
    groups = len(columns.starts)
    while True:
        most = min(groups + size, len(reduced)) - 1
        core = reduced <= np.partition(reduced, most)[most]
        chosen, late = _integer(columns, core, room, solver, deadline, slack)
        if chosen is not None or late or core.all():
            return core, chosen, late
        size *= 8


def _integer(columns: Columns, core: np.ndarray, room: np.ndarray, solver: str, deadline: float, slack: float):
    """The integer programme over some columns, to within `slack` of regret; groups with a single one are settled beforehand."""
    places = np.flatnonzero(core)
    part = columns.take(places)
    single = np.repeat(np.diff(np.r_[part.starts, len(places)]) == 1, np.diff(np.r_[part.starts, len(places)]))
    spare = room - part.excess[single].sum(axis=0)
    if (spare < -NOISE * room).any():
        return None, False
    if single.all():
        return places, False
    free, open_places = part.take(~single), places[~single]
    spare = np.maximum(spare, 0.0)
    usable = (free.excess <= spare).all(axis=1)
    if len(np.unique(free.group[usable])) < len(free.starts):
        return None, False
    free, open_places = free.take(usable), open_places[usable]
    program = Program(free, spare)
    while True:
        chosen, late = program.solve(solver, _left(deadline), slack)
        if chosen is None:
            return None, late
        if (free.excess[chosen].sum(axis=0) <= spare * (1 + 1e-9)).all():
            return np.sort(np.r_[places[single], open_places[chosen]]), late
        program.forbid(chosen)


def _left(deadline: float) -> float: return max(0.1, deadline - time.monotonic())
