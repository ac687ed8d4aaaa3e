"""The best choice of one column a group within all budgets, proven, at the size of real networks.

A Lagrangian bound, a rounded choice, and a small integer programme over the columns that the bound cannot rule out (Geoffrion,
Lagrangean relaxation for integer programming, 1974; the "core" of Pisinger, 1995).  We differ: all of it is checked in floating
point sums of our own, so that neither a solver's tolerances nor damages of many magnitudes spoil the proof.
"""
import math
import time
from dataclasses import dataclass, replace

import numpy as np

from .prices import Dual, dual
from .solve import OPEN, SOLVERS, Program
from .space import Columns

CORE = 200          # columns, beside the best of each group, that the first integer programme sees
NOISE = 1e-12       # relative; rounding errors of sums
COARSE = 1e-3       # an optimum this far below the largest regret was found with too coarse a ruler
RESOLUTION = 1e3    # coefficients reach up to this, so that a solver's absolute tolerance of 1e-6 is 1e-9 of a budget
MOVES = 3000        # exchanges tried when a rounded choice is improved
WIDER = 4           # times as many columns in the next one
PAIRED = 300        # columns whose exchanges are tried two at a time


@dataclass(frozen=True)
class Found:
    """The best choice: places in the columns given, one a group (None: there is none), what was proven, and the gap left."""
    chosen: np.ndarray | None
    status: str              # "optimal", "time limit" or "infeasible"
    gap: float               # (its damage - a true bound) / its damage
    bound: float             # on the regret
    prices: np.ndarray       # regret that one more unit of each resource saves
    cuts: np.ndarray | None  # what a neighbouring question may start from


def choose(columns: Columns, room: np.ndarray, solver: str, limit: float, gap: float, base: float = 0.0,
           start: np.ndarray | None = None, near: Found | None = None) -> Found:
    """The choice of least regret with excess within `room` (R,); at most `limit` seconds.

    gap: relative to `base` + regret, the whole damage; start: a choice that fits; near: the answer to the question with other room.
    """
    deadline, groups = time.monotonic() + limit, len(columns.starts)
    allowed = lambda regret: gap * max(regret, regret + base)
    relative = lambda left: float(left / max(upper, upper + base)) if left > 0 else 0.0  # of the best choice so far
    kept = np.flatnonzero((columns.excess <= room).all(axis=1))
    best, upper, size, lower = None, math.inf, CORE, 0.0
    prices, cuts, top = (np.zeros(len(room)), None, 0.0) if near is None else (near.prices, near.cuts, 0.0)
    if start is not None and (columns.excess[start].sum(axis=0) <= room).all():
        best, upper = start, math.fsum(columns.regret[start])
    while True:
        now = columns.take(kept)
        if len(now.group) == 0 or len(now.starts) < groups:
            return Found(best, "optimal" if best is not None else "infeasible", 0.0, top, prices, cuts)
        found = dual(now, room, cuts if len(kept) == len(columns.group) else None, prices, _left(deadline))
        prices, lower, reduced = found.prices, found.bound, found.reduced
        cuts, top = (found.cuts if len(kept) == len(columns.group) or cuts is None else cuts), max(top, min(lower, upper))
        rounded = _rounded(now, found, room)
        if rounded is not None and (value := math.fsum(now.regret[rounded])) < upper:
            best, upper = kept[rounded], value
        left = max(0.0, upper - lower)
        if left <= allowed(upper) and best is not None:
            return Found(best, "optimal", relative(left), top, prices, cuts)
        known = None if best is None else np.searchsorted(kept, best)
        if known is not None and not np.array_equal(kept[np.minimum(known, len(kept) - 1)], best):
            known = None  # one of its columns is gone
        core, chosen, late, among = _search(now, reduced, room, size, known, solver, deadline, max(0.0, .9 * allowed(lower)),
                                            lower + allowed(max(0.0, lower)) * .99)
        if chosen is not None and (value := math.fsum(now.regret[chosen])) < upper:
            best, upper = kept[chosen], value
        if best is None:
            return Found(best, "time limit" if late else "infeasible", 0.0, top, prices, cuts)
        left = max(0.0, upper - lower)
        if late or left <= allowed(upper):
            return Found(best, "optimal" if left <= allowed(upper) else "time limit", relative(left), top, prices, cuts)
        may_be_better = reduced <= left + NOISE * (upper + abs(lower) + reduced.sum())
        if not (may_be_better & ~core).any() and (upper >= COARSE * now.regret.max() or may_be_better.all()):
            proven = max(lower, min(among, upper))  # nothing outside the core is better, and nothing within it
            return Found(best, "optimal", min(gap, relative(upper - proven)), max(top, proven), prices, cuts)
        kept, size = kept[may_be_better], WIDER * size


def _rounded(columns: Columns, found: Dual, room: np.ndarray) -> np.ndarray | None:
    """A choice that fits: the best at prices raised until it does, then improved by single exchanges; None where no raise helps."""
    fits = lambda places: (columns.excess[places].sum(axis=0) <= room).all()
    chosen, starts = found.choice, columns.starts
    if not fits(chosen):
        low, high = 1.0, 2.0
        at = lambda factor: _best(columns.regret + columns.excess @ (found.prices * factor), starts)
        while not fits(chosen := at(high)):
            low, high = high, high * 4
            if high > 1e6:
                return None
        for _ in range(12):
            middle = (low + high) / 2
            if fits(tried := at(middle)):
                chosen, high = tried, middle
            else:
                low = middle
    return _improved(columns, chosen, found.reduced, room)


def _best(priced: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Place of the least of each group."""
    sizes = np.diff(np.r_[starts, len(priced)])
    best = np.flatnonzero(priced <= np.repeat(np.minimum.reduceat(priced, starts), sizes))
    return best[np.searchsorted(best, starts)]


def _improved(columns: Columns, chosen: np.ndarray, reduced: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Exchanges that save regret and still fit: single ones, those nearest to the bound first, then pairs among the nearest."""
    sizes = np.diff(np.r_[columns.starts, len(columns.group)])
    number, fitting, chosen = np.repeat(np.arange(len(sizes)), sizes), chosen, chosen.copy()
    spare = room - columns.excess[chosen].sum(axis=0)
    saves = columns.regret[chosen][number] - columns.regret
    able = np.flatnonzero((saves > 0) & (columns.excess - columns.excess[chosen][number] <= spare).all(axis=1))
    for j in able[np.argsort(reduced[able], kind="stable")[:MOVES]].tolist():
        now = chosen[number[j]]
        need = columns.excess[j] - columns.excess[now]
        if columns.regret[j] < columns.regret[now] and (need <= spare).all():
            chosen[number[j]] = j
            spare = spare - need
    near = _nearest(reduced, chosen, PAIRED)
    of = number[near]
    if len(near) < 2:
        return chosen if (columns.excess[chosen].sum(axis=0) <= room).all() else fitting
    apart = of[:, None] != of
    for _ in range(PAIRED):
        now = chosen[of]
        more, need = columns.regret[near] - columns.regret[now], columns.excess[near] - columns.excess[now]
        both, fits = more[:, None] + more, apart.copy()
        for r in range(len(room)):
            fits &= need[:, None, r] + need[:, r] <= room[r] - columns.excess[chosen, r].sum()
        both[~fits] = 0.0
        i, j = np.unravel_index(int(np.argmin(both)), both.shape)
        if not both[i, j] < -NOISE * columns.regret[chosen].sum():
            break
        chosen[of[i]], chosen[of[j]] = near[i], near[j]
    return chosen if (columns.excess[chosen].sum(axis=0) <= room).all() else fitting


def _nearest(reduced: np.ndarray, chosen: np.ndarray, count: int) -> np.ndarray:
    """Columns that are not chosen, of the least reduced regret."""
    others = reduced.copy()
    others[chosen] = np.inf
    count = min(count, len(others) - len(chosen))
    return np.argpartition(others, count - 1)[:count] if count else np.zeros(0, int)


def _search(columns: Columns, reduced: np.ndarray, room: np.ndarray, size: int, known: np.ndarray | None, solver: str, deadline: float,
            slack: float, enough: float):
    """(mask of the columns looked at, chosen places or None, whether time ran out, a bound); looks wider until something fits.

    The core holds the columns of `known`, a choice that fits, so that it is seldom searched in vain.
    """
    groups = len(columns.starts)
    while True:
        most = min(groups + size, len(reduced)) - 1
        core = reduced <= np.partition(reduced, most)[most]
        if known is not None:
            core[known] = True
        chosen, late, bound = _integer(columns, core, room, solver, deadline, slack, enough)
        if chosen is not None or late or core.all():
            return core, chosen, late, bound
        size *= WIDER


def _integer(columns: Columns, core: np.ndarray, room: np.ndarray, solver: str, deadline: float, slack: float, enough: float):
    """The integer programme over some columns, to within `slack` of regret; groups with a single one are settled beforehand.

    (chosen places or None, whether time ran out, what the solver says no choice of these columns is below).
    """
    places = np.flatnonzero(core)
    part = columns.take(places)
    single = np.repeat(np.diff(np.r_[part.starts, len(places)]) == 1, np.diff(np.r_[part.starts, len(places)]))
    spare = room - part.excess[single].sum(axis=0)
    if (spare < -NOISE * room).any():
        return None, False, math.inf
    if single.all():
        return places, False, math.fsum(part.regret)
    free, open_places = part.take(~single), places[~single]
    spare = np.maximum(spare, 0.0)
    usable = (free.excess <= spare).all(axis=1)
    if len(np.unique(free.group[usable])) < len(free.starts):
        return None, False, math.inf
    free, open_places = free.take(usable), open_places[usable]
    ruler = (free.regret.max() or 1.0) / RESOLUTION
    settled = math.fsum(part.regret[single])
    p = replace(program(free, spare, free.regret / ruler), enough=(enough - settled) / ruler if slack else -math.inf)
    while True:
        answer = SOLVERS[solver].solve(p, _left(deadline), slack / ruler)
        if answer.values is None:
            return None, answer.late, -math.inf
        chosen = _best(-answer.values, free.starts)
        if (free.excess[chosen].sum(axis=0) <= spare * (1 + 1e-9)).all():
            return np.sort(np.r_[places[single], open_places[chosen]]), answer.late, answer.bound * ruler + settled
        p = p.without(chosen)


def program(columns: Columns, room: np.ndarray, cost: np.ndarray) -> Program:
    """One column a group, within `room` of every resource, in numbers near 1 for the solver's sake; resources without room bind nothing."""
    n, groups = len(columns.group), len(columns.starts)
    number = np.repeat(np.arange(groups), np.diff(np.r_[columns.starts, n]))
    row, column, value = [number], [np.arange(n)], [np.ones(n)]
    bounded = [i for i, r in enumerate(room) if r > 0]
    for k, i in enumerate(bounded):
        used = np.flatnonzero(columns.excess[:, i])
        row.append(np.full(len(used), groups + k))
        column.append(used)
        value.append(columns.excess[used, i] / room[i] * RESOLUTION)
    return Program(cost, np.concatenate(row), np.concatenate(column), np.concatenate(value),
                   np.r_[np.ones(groups), np.full(len(bounded), -OPEN)], np.r_[np.ones(groups), np.full(len(bounded), RESOLUTION)],
                   np.ones(n, bool))


def _left(deadline: float) -> float: return max(0.1, deadline - time.monotonic())
