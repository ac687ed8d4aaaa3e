"""Prices of resources: what one more unit of each would save, from the Lagrangian dual, without a linear programme over all columns.

Cutting planes (Kelley, 1960) over one variable a resource, each query halfway between the best prices known and the master's
(as in the in-out method of Ben-Ameur and Neto, 2007): a query is one pass over all columns in numpy, the master is tiny.
Every choice of one column a group, however it was found, is a cut for any budgets: neighbouring questions share them.
"""
import math
import time
from dataclasses import dataclass

import numpy as np

from .space import Columns

QUERIES = 400    # at most
EXACT = 1e-7     # relative; the dual is solved to this
ROUNDING = 1e-13  # relative to the largest sums
CUTS = 200       # older ones are forgotten


@dataclass(frozen=True)
class Dual:
    """Prices (R,), what no choice is below, how much worse each column is at least (n,), and the sums of choices seen (C, 1 + R)."""
    prices: np.ndarray
    bound: float
    reduced: np.ndarray
    cuts: np.ndarray
    choice: np.ndarray  # one column a group: the best at these prices


def dual(columns: Columns, room: np.ndarray, cuts: np.ndarray | None = None, start: np.ndarray | None = None,
         limit: float = math.inf) -> Dual:
    """The best prices found: `bound` = sum of the groups' least regret + excess @ prices, less room @ prices.

    Any prices >= 0 give a true bound, so that nothing rests on tolerances here.  Prices grow without end where nothing fits;
    then the bound exceeds every regret.
    """
    ask, deadline = _Query(columns, room), time.monotonic() + limit
    seen = [] if cuts is None else list(cuts)
    best = ask(np.zeros(len(room)) if start is None else start)
    seen.append(best.sums)
    hopeless = _most(columns) * (1 + 1e-9)
    unit = np.where(room > 0, 1 / np.where(room > 0, room, 1.0), 0.0)  # prices of a whole budget are damages
    if len(room) == 0 or not (room > 0).any():
        return best.dual(seen)
    seen += [ask(np.zeros(len(room))).sums, *(ask.cheapest(r).sums for r in range(len(room)))]
    before, number = None, np.flatnonzero(unit > 0)
    cap, step = _most(columns) or 1.0, 0.5 if len(number) > 1 else 1.0
    for _ in range(QUERIES):
        noise = EXACT * abs(best.bound) + ROUNDING * (hopeless + best.prices @ room)
        known = np.array(seen[-CUTS:])
        value = known[:, 0] + (known[:, 1:] - room) @ best.prices
        seen = list(known[value >= best.bound - noise])  # others were sums of columns that are gone
        prices, promised = (_line if len(number) == 1 else _master)(np.array(seen), room, unit, cap, best)
        if promised > hopeless and prices @ room > cap / 2 and cap < 1e6 * hopeless:
            cap *= 10
        stalled = step == 1.0 and before is not None and np.allclose(prices, before, rtol=1e-9, atol=0.0)
        if stalled or promised - best.bound <= noise or best.bound > hopeless or time.monotonic() > deadline:
            break
        asked, before = ask(best.prices + step * (prices - best.prices)), prices if step == 1.0 else None
        seen.append(asked.sums)
        if asked.bound > best.bound:
            best = asked
        step = 0.5 if len(number) > 1 and promised - best.bound > 1e-3 * abs(promised) else 1.0
    return best.dual(seen)


@dataclass(frozen=True)
class _Priced:
    prices: np.ndarray
    bound: float
    sums: np.ndarray     # regret and excess of the choice
    reduced: np.ndarray
    choice: np.ndarray

    def dual(self, seen: list) -> Dual: return Dual(self.prices, self.bound, self.reduced, np.array(seen), self.choice)


class _Query:
    """The best choice at given prices."""

    def __init__(self, columns: Columns, room: np.ndarray):
        self.columns, self.room, self.starts = columns, room, columns.starts
        self.sizes = np.diff(np.r_[self.starts, len(columns.group)])

    def __call__(self, prices: np.ndarray) -> _Priced:
        return self.least(self.columns.regret + self.columns.excess @ prices, prices)

    def cheapest(self, resource: int) -> _Priced:
        """The least of one resource; among equals the least regret is near enough."""
        return self.least(self.columns.excess[:, resource], np.zeros(len(self.room)))

    def least(self, priced: np.ndarray, prices: np.ndarray) -> _Priced:
        least = np.minimum.reduceat(priced, self.starts)
        reduced = priced - np.repeat(least, self.sizes)
        best = np.flatnonzero(reduced <= 0)
        choice = best[np.searchsorted(best, self.starts)]
        c = self.columns
        sums = np.r_[math.fsum(c.regret[choice]), c.excess[choice].sum(axis=0)]
        return _Priced(prices, math.fsum(least) - math.fsum(prices * self.room), sums, reduced, choice)


def _most(columns: Columns) -> float: return float(np.maximum.reduceat(columns.regret, columns.starts).sum())


def _line(cuts: np.ndarray, room: np.ndarray, unit: np.ndarray, cap: float, best: _Priced) -> tuple[np.ndarray, float]:
    """As _master, of one resource: where the lowest rising line meets the lowest falling one, found by walking the envelope."""
    slope, r = (cuts[:, 1:] - room) @ (unit > 0), int(np.flatnonzero(unit > 0)[0])
    price, i = 0.0, int(np.lexsort((slope, cuts[:, 0]))[0])  # of those that are lowest at no price the one that rises least
    while slope[i] > 0:
        falling = np.flatnonzero(slope < slope[i])
        if len(falling) == 0:
            price = cap * unit[r]
            break
        meet = (cuts[falling, 0] - cuts[i, 0]) / (slope[i] - slope[falling])
        first = np.lexsort((slope[falling], meet))[0]
        price, i = max(price, float(meet[first])), int(falling[first])
    prices = np.zeros(len(room))
    prices[r] = price
    return prices, float(np.min(cuts[:, 0] + slope * price))


def _master(cuts: np.ndarray, room: np.ndarray, unit: np.ndarray, cap: float, best: _Priced) -> tuple[np.ndarray, float]:
    """(prices, bound promised) of the greatest t with t <= regret + (excess - room) @ prices for every cut."""
    from scipy.optimize import linprog
    used = np.flatnonzero(unit > 0)
    ruler = max(abs(best.bound), float(np.min(np.abs(cuts[:, 0][cuts[:, 0] > 0]), initial=cap)), 1e-300)
    slope = (cuts[:, 1:] - room)[:, used] * unit[used]
    size = np.maximum(1.0, np.abs(cuts[:, 0]) / ruler)[:, None]
    rows = np.c_[-slope, np.ones(len(cuts))] / size
    found = linprog(np.r_[np.zeros(len(used)), -1.0], rows, cuts[:, 0] / ruler / size[:, 0],
                    bounds=[(0, cap / ruler)] * len(used) + [(None, None)], method="highs")
    if found.x is None:
        return best.prices, best.bound
    prices = np.zeros(len(room))
    prices[used] = found.x[:-1] * ruler * unit[used]
    return prices, float(np.min(cuts[:, 0] + (cuts[:, 1:] - room) @ prices))
