"""Bit allocation with interactions of pairs of layers: a quadratic programme, made linear and solved to a proven gap.

Every product of two choices is a variable z of its own; in each pair of groups, the z of one option sum to that option's x, from
either side: the first level of Adams and Sherali (1986, "A tight linearization ... for zero-one quadratic programming problems"),
which contains z <= x, z <= y and z >= x + y - 1 and is much tighter where one option of each group is chosen.  A plan to start
from comes from the programme without pairs and exchanges of one or two groups.  We differ from `exact`: the bound is the solver's own.
"""
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ir import UserError

from .exact import RESOLUTION, Found, choose, program
from .objectives import Objective
from .pairs import Pairs
from .solve import SOLVERS, Program
from .space import Columns, Space

MOST = 250_000   # products; a relaxation of more of them takes minutes
DENSE = 2000     # columns up to which pairs of exchanges are tried: their interactions are held as a square matrix
ROUNDS = 500     # of exchanges


@dataclass
class Coupling:
    """Interactions between columns: `own` (n,) of tied layers with each other; blocks of two groups, (options, options)."""
    own: np.ndarray
    group: np.ndarray
    starts: np.ndarray
    scale: float = 1.0  # from the pairs' unit to what is minimised
    blocks: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def field(self, goal: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """What each column would add to the damage, the other groups being as chosen, (n,)."""
        there, local = goal + self.own, chosen - self.starts
        for (g, h), q in self.blocks.items():
            there[self.starts[g]:self.starts[g] + len(q)] += q[:, local[h]]
            there[self.starts[h]:self.starts[h] + q.shape[1]] += q[local[g]]
        return there

    def value(self, goal: np.ndarray, chosen: np.ndarray) -> float:
        """Damage of one column a group, all interactions included."""
        local = chosen - self.starts
        return math.fsum([*goal[chosen], *self.own[chosen], *(q[local[g], local[h]] for (g, h), q in self.blocks.items())])

    def take(self, kept: np.ndarray) -> "Coupling":
        """Over some of the columns, at least one a group."""
        parts = np.split(kept, np.searchsorted(kept, self.starts[1:]))
        local = [p - s for p, s in zip(parts, self.starts)]
        sizes = np.array([len(p) for p in parts])
        blocks = {(g, h): q[np.ix_(local[g], local[h])] for (g, h), q in self.blocks.items()}
        return Coupling(self.own[kept], self.group[kept], np.cumsum(sizes) - sizes, self.scale, blocks)


def coupling(s: Space, pairs: Pairs, goals: Sequence[Objective]) -> Coupling:
    """The pairs between the groups of a space, scaled as the objective of their name.  UserError: unknown names, too many."""
    scale = next((g.scale for g in goals if g.name == pairs.name), None)
    if scale is None:
        raise UserError(f"pairs {pairs.name!r} go with a damage table of that name; given: {', '.join(g.name for g in goals)}")
    groups = {k: g for g, layers in enumerate(s.menus) for k in layers}
    places = [{o: i for i, o in enumerate(menu)} for menu in s.menus.values()]
    c = Coupling(np.zeros(len(s.group)), s.group, s.starts, scale)
    for (a, b), cells in pairs.rows.items():
        if unknown := [k for k in (a, b) if k not in groups]:
            raise UserError(f"pairs {pairs.name!r}: no layer {unknown[0]!r} in the damage table; make both from the same model")
        g, h = groups[a], groups[b]
        turn = g > h
        for (p, q), v in cells.items():
            if p not in places[g] or q not in places[h]:
                continue
            if g == h:
                c.own[s.starts[g] + places[g][p]] += v * scale if p == q else 0.0
                continue
            key, at = ((h, g), (places[h][q], places[g][p])) if turn else ((g, h), (places[g][p], places[h][q]))
            if key not in c.blocks:
                c.blocks[key] = np.zeros((len(places[key[0]]), len(places[key[1]])))
            c.blocks[key][at] += v * scale
    if (products := sum(q.size for q in c.blocks.values())) > MOST:
        raise UserError(f"pairs {pairs.name!r}: {len(c.blocks)} pairs of layers make {products} products of options, more than {MOST}; "
                        "keep the strongest pairs or offer fewer options")
    return c


def choose_pairs(goal: np.ndarray, columns: Columns, own: Coupling, room: np.ndarray, solver: str, limit: float, gap: float) -> Found:
    """The choice of least goal + interactions with excess within `room`; `columns.excess` counts, its regret does not."""
    deadline = time.monotonic() + limit
    nothing = Found(None, "infeasible", 0.0, 0.0, np.zeros(len(room)), None)
    kept = np.flatnonzero((columns.excess <= room).all(axis=1))
    if len(np.unique(columns.group[kept])) < len(columns.starts):
        return nothing
    own, goal = own.take(kept), goal[kept]
    linear = goal + own.own
    least = np.minimum.reduceat(linear, own.starts)
    part = Columns(columns.group[kept], linear - least[own.group], columns.excess[kept])
    first = choose(part, room, solver, limit / 4, 1e-3, math.fsum(least))
    if first.chosen is None:
        return first
    best = descend(own, goal, part.excess, room, first.chosen)
    p, ruler = _programme(own, linear, part, room)
    while True:
        slack = gap * abs(own.value(goal, best)) / ruler
        answer = SOLVERS[solver].solve(_started(p, own, best), max(0.1, deadline - time.monotonic()), slack)
        chosen = None if answer.values is None else _picked(answer.values, own)
        if chosen is None or (part.excess[chosen].sum(axis=0) <= room).all():
            break
        p = p.without(chosen)
    if chosen is not None and own.value(goal, chosen) < own.value(goal, best):
        best = descend(own, goal, part.excess, room, chosen)
    bound = answer.bound
    if not np.isfinite(bound):  # a solver that does not tell: its relaxation does
        relaxed = SOLVERS[solver].solve(replace(p, whole=np.zeros(len(p.cost), bool)), limit / 4, 0.0)
        bound = relaxed.bound if not relaxed.late else -np.inf
    upper = own.value(goal, best)
    lower = min(upper, bound * ruler) if np.isfinite(bound) else -math.inf
    left = (upper - lower) / abs(upper) if upper > lower else 0.0
    status = "optimal" if left <= max(gap, 1e-6) else "time limit"
    return Found(kept[best], status, left if left > 1e-9 else 0.0, lower, first.prices, None)


def _programme(own: Coupling, linear: np.ndarray, part: Columns, room: np.ndarray) -> tuple[Program, float]:
    """(x of all columns, then z of all products, damages divided by the ruler; the ruler)."""
    n, sizes = len(linear), np.diff(np.r_[own.starts, len(linear)])
    cost, row, column, value, start = [linear], [], [], [], n
    p = program(part, room, linear)
    m = len(p.lower)
    for (g, h), q in own.blocks.items():
        z = np.arange(start, start + q.size).reshape(q.shape)
        for axis, k in ((1, g), (0, h)):
            rows = m + np.arange(sizes[k])
            row += [np.repeat(rows, q.shape[axis]), rows]
            column += [(z if axis == 1 else z.T).ravel(), own.starts[k] + np.arange(sizes[k])]
            value += [np.ones(q.size), -np.ones(sizes[k])]
            m += int(sizes[k])
        cost.append(q.ravel())
        start += q.size
    cost = np.concatenate(cost)
    ruler = (np.abs(cost).max() or 1.0) / RESOLUTION
    more = m - len(p.lower)
    return Program(cost / ruler, np.concatenate([p.row, *row]), np.concatenate([p.column, *column]), np.concatenate([p.value, *value]),
                   np.r_[p.lower, np.zeros(more)], np.r_[p.upper, np.zeros(more)], np.arange(start) < n), ruler


def _started(p: Program, own: Coupling, best: np.ndarray) -> Program:
    """With the plan to start from as a point: its x, and the products that follow."""
    x = np.zeros(len(own.group))
    x[best] = 1.0
    local, z = best - own.starts, []
    for (g, h), q in own.blocks.items():
        block = np.zeros(q.shape)
        block[local[g], local[h]] = 1.0
        z.append(block.ravel())
    return replace(p, start=np.concatenate([x, *z]))


def _picked(values: np.ndarray, own: Coupling) -> np.ndarray:
    return np.array([s + int(np.argmax(part)) for s, part in zip(own.starts, np.split(values[:len(own.group)], own.starts[1:]))])


def descend(own: Coupling, goal: np.ndarray, excess: np.ndarray, room: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Exchanges of one group's option, or of two groups' at once, while one of them lowers the damage and fits."""
    n, chosen = len(goal), chosen.copy()
    square = _square(own, n) if n <= DENSE else None
    for _ in range(ROUNDS):
        now = chosen[own.group]
        there = own.field(goal, chosen)
        gain, need, spare = there - there[now], excess - excess[now], room - excess[chosen].sum(axis=0)
        scale = 1e-12 * (np.abs(there).max() + 1e-300)
        alone = np.where((need <= spare).all(axis=1), gain, np.inf)
        j = int(np.argmin(alone))
        if alone[j] < -scale:
            chosen[own.group[j]] = j
            continue
        if square is None:
            break
        both = gain[:, None] + gain + square - square[:, now] - square[now] + square[np.ix_(now, now)]
        fits = own.group[:, None] != own.group
        for r in range(len(room)):
            fits &= need[:, r, None] + need[:, r] <= spare[r]
        both = np.where(fits, both, np.inf)
        i, j = np.unravel_index(int(np.argmin(both)), both.shape)
        if not both[i, j] < -scale:
            break
        chosen[own.group[i]], chosen[own.group[j]] = i, j
    return chosen


def _square(own: Coupling, n: int) -> np.ndarray:
    """Interactions of all columns with all others, (n, n)."""
    square = np.zeros((n, n))
    for (g, h), q in own.blocks.items():
        rows, columns = slice(own.starts[g], own.starts[g] + len(q)), slice(own.starts[h], own.starts[h] + q.shape[1])
        square[rows, columns] = q
        square[columns, rows] = q.T
    return square
