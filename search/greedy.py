"""One option at a time: the step that saves most damage for its cost."""
import math

import numpy as np

from ir import UserError

from .budgets import TOLERANCE, combines_by_max
from .judge import Judge
from .searchers import SEARCHERS, Genes, Problem

DIRECTIONS = ("up", "down", "both")
NOISE = 1e-12  # of the largest change; less than that is no change
FREE = 1e30    # how much better than any other a step is that costs nothing


@SEARCHERS.register("greedy")
def greedy(problem: Problem, *, seed: int = 0, evaluations: int | None = None, time_limit: float = math.inf, progress=None,
           cache=None, key: str = "", direction: str | None = None) -> list:
    """Step by step: from the cheapest plan up, from the best one down (then up again into what is left), or the better of both.

    A step's price is its cost in parts of what is left of each budget, summed.  What a step saves is measured once for every option
    from the start, and again when the step is about to be taken (Leskovec et al. 2007, "Cost-effective outbreak detection in
    networks", section 3; we differ: damage is not submodular, so this is a shortcut and no proof).  Without evaluations left the
    last measurements decide.  direction: by default "both" for tables, "down" for a function, whose damages add up better near the
    best plan.  `seed` has no say.
    """
    direction = direction or ("down" if problem.function else "both")
    if direction not in DIRECTIONS:
        raise UserError(f"unknown direction {direction!r} of the greedy search (known: {', '.join(DIRECTIONS)})")
    walking = evaluations if evaluations is None or not problem.function else max(evaluations - 1, 1)  # the last plan is measured, too
    judge = Judge(problem, walking, time_limit, progress, cache, key)
    ends = [_Walk(problem, judge).go(d) for d in (("up", "down") if direction == "both" else (direction,))]
    found = {genes: judge(genes, always=True) for genes in ends}
    found |= {g: d for g, d in judge.answers.items() if problem.fits(g)}
    best = min(found, key=found.__getitem__)
    return [problem.plan(best, found[best], **judge.why("greedy", seed, direction=direction))]


class _Walk:
    """A plan under way, with what every other option of each group is thought to change."""

    def __init__(self, problem: Problem, judge: Judge):
        self.problem, self.judge = problem, judge
        self.sums = [r for r in problem.budgets if not combines_by_max(problem.costs[r])]
        self.shape = len(problem.groups), int(problem.sizes.max())
        self.prices = np.array([problem.prices(r) for r in self.sums]).reshape(len(self.sums), *self.shape)
        self.most = np.array([problem.budgets[r] for r in self.sums])
        self.there = np.arange(self.shape[1]) < problem.sizes[:, None]

    def go(self, direction: str) -> Genes:
        """Walk to where no step helps, and return the plan."""
        if direction == "up":
            self._start(self.problem.cheapest)
        else:
            self._start(self._best())
            while not self.problem.fits(self.genes):
                step = self._pick(self._downwards)
                if step is None:  # budgets that pull apart: from the other side, then
                    self._start(self.problem.cheapest)
                else:
                    self._take(step)
        while (step := self._pick(self._upwards)) is not None:
            self._take(step)
        return tuple(self.genes.tolist())

    def _best(self) -> np.ndarray:
        """The least damage of each group for tables; most bits for a function, of which nothing is known yet."""
        if self.problem.function:
            return self.problem.sizes - 1
        self._start(self.problem.cheapest)
        return np.where(self.there, self.change, math.inf).argmin(1)

    def _start(self, genes) -> None:
        self.genes = np.array(genes)
        self.damage = self.judge(self.genes, always=True)
        self.change, self.fresh = np.full(self.shape, math.nan), np.zeros(self.shape, bool)
        self.change[np.arange(len(self.genes)), self.genes] = 0.0
        steps = np.abs(np.arange(self.shape[1]) - self.genes[:, None])
        for flat in np.argsort(steps, axis=None, kind="stable"):  # the nearest options first: evaluations may run out
            g, k = np.unravel_index(flat, self.shape)
            if self.there[g, k] and steps[g, k]:
                self._measure(g, k)
        for g, k in zip(*np.nonzero(np.isnan(self.change) & self.there)):
            self.change[g, k] = self._guess(g, k)

    def _guess(self, g: int, k: int) -> float:
        """What there were no evaluations for: of the nearest option that was measured, four times as much a step down, as rounding
        noise has it; with none measured, the mean of other groups.
        """
        known = np.flatnonzero(self.fresh[g])
        if len(known):
            n = known[np.abs(known - k).argmin()]
            return self.change[g, n] * 4.0 ** max(n - k, 0)
        others = self.change[self.fresh[:, k], k]
        return float(others.mean()) if len(others) else math.nan

    def _measure(self, g: int, k: int) -> None:
        other = self.genes.copy()
        other[g] = k
        if self.damage is not None and (value := self.judge(other)) is not None:
            self.change[g, k], self.fresh[g, k] = value - self.damage, True

    def _take(self, step: tuple[int, int]) -> None:
        """Other options of this group are now compared with the new one; those of other groups are as they were last seen."""
        g, k = step
        self.change[g] -= self.change[g, k]
        self.genes[g] = k
        self.damage = self.judge(self.genes)  # None: out of evaluations, the changes known so far must do
        self.fresh[:] = self.problem.function is None

    def _pick(self, score) -> tuple[int, int] | None:
        """The best step under `score`, a function of the changes; measured again where it is not fresh."""
        while True:
            worth = np.where(np.isnan(self.change) | ~self.there, -math.inf, score())
            g, k = (int(i) for i in np.unravel_index(worth.argmax(), self.shape))
            if worth[g, k] == -math.inf:
                return None
            if self.fresh[g, k] or self.judge.done or self.damage is None:
                return g, k
            self._measure(g, k)

    def _upwards(self) -> np.ndarray:
        """Damage saved for each part of the budgets' room; -inf for steps that save none or do not fit."""
        dearer = self.prices - self.prices[:, np.arange(self.shape[0]), self.genes][:, :, None]
        paid = self.problem.paid(self.genes)
        room = (self.most + TOLERANCE / 2 * abs(self.most) - [paid[r] for r in self.sums])[:, None, None]
        saves = self.change < -NOISE * np.nanmax(abs(self.change))
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(dearer > 0, dearer / room, 0.0).sum(0)
            worth = np.where(part > 0, -self.change / part, -self.change * FREE)
        return np.where(saves & (dearer <= np.maximum(room, 0.0)).all(0), worth, -math.inf)

    def _downwards(self) -> np.ndarray:
        """The less damage for each part of the budgets that is saved of what is over them, the higher; -inf where nothing is."""
        paid = self.problem.paid(self.genes)
        over = (np.array([paid[r] for r in self.sums]) - self.most)[:, None, None]
        dearer = self.prices - self.prices[:, np.arange(self.shape[0]), self.genes][:, :, None]
        unit = np.maximum(abs(self.most), 1e-300)[:, None, None]
        part = ((np.maximum(over, 0.0) - np.maximum(over + dearer, 0.0)) / unit).sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = np.where(self.change > 0, -self.change / part, -self.change * FREE)
        return np.where(part > NOISE, worth, -math.inf)
