"""An objective that is asked once for each plan, so many times at most, and remembers in a file what it was told."""
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ir import UserError
from ir.store import canonical, digest

from .ledger import Ledger
from .searchers import Genes, Problem


class Judge:
    """Counts, remembers and times the evaluations of a search.

    judge(genes) is the damage of a plan, or None where neither evaluations nor seconds are left (`done`).
    cache: a file to which every answer is appended at once; a search that was stopped and starts again with the same `key` (what
    the objective measures: hash of model, samples, ...) goes the same way and is answered from the file.  Answers from the file
    count as evaluations, so that a resumed search ends as one that was never stopped.
    progress(done, total, text) is called before each evaluation; total is 0 where there is no limit.
    """

    def __init__(self, problem: Problem, evaluations: int | None = None, time_limit: float = math.inf,
                 progress: Callable[[int, int, str], None] | None = None, cache: Path | str | None = None, key: str = ""):
        if evaluations is not None and evaluations < 1:
            raise UserError(f"{evaluations} evaluations; allow at least one")
        self.problem, self.limit, self.progress = problem, evaluations, progress
        self.start = time.monotonic()
        self.deadline = self.start + time_limit
        self.answers: dict[Genes, float] = {}
        self.history: list[list[float]] = []  # [evaluations so far, least damage of a plan that fits], where it fell
        self.filed = Ledger(cache, digest(key, canonical(problem.menus)))

    @property
    def done(self) -> bool: return (self.limit is not None and len(self.answers) >= self.limit) or time.monotonic() > self.deadline

    def __call__(self, genes: Sequence[int], always: bool = False) -> float | None:
        """The damage; with `always`, whatever the limits."""
        genes = tuple(int(g) for g in genes)
        if genes in self.answers:
            return self.answers[genes]
        if self.done and not always:
            return None
        if self.progress:
            self.progress(len(self.answers), self.limit or 0, f"damage {self.best:g}" if self.history else "")
        self.answers[genes] = value = self._ask(genes)
        if value < self.best and self.problem.fits(genes):
            self.history.append([len(self.answers), value])
        return value

    @property
    def best(self) -> float: return self.history[-1][1] if self.history else math.inf

    def why(self, searcher: str, seed: int, **more) -> dict:
        """What a plan should tell of the search it came from."""
        return {"searcher": searcher, "seed": seed, "evaluations": len(self.answers), "history": self.history,
                "seconds": round(time.monotonic() - self.start, 3), **more}

    def _ask(self, genes: Genes) -> float:
        asked = (canonical(self.problem.options(genes)),)
        if asked not in self.filed:
            self.filed.enter(asked, self.problem.damage(genes))
        return self.filed[asked]
