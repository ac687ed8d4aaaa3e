"""Bounded model checking and k-induction with Z3, with lemmas that are found, not written."""
import time
from collections.abc import Sequence
from dataclasses import dataclass

import z3

from .mine import Guess
from .system import System
from .unroll import Run, View, Watch, moves


@dataclass(frozen=True)
class Proof:
    """One property of one module: proven for all time ("induction", of `depth` cycles), or for the first `depth` cycles ("bounded")."""
    property: str
    method: str
    depth: int
    seconds: float


class Broken(Exception):
    """A property does not hold: `cycles` are the values of the ports from the reset on."""

    def __init__(self, property: str, cycles: list[dict[str, int]]):
        super().__init__(property)
        self.property, self.cycles = property, cycles


def lemmas(system: System, watch: Watch, guesses: Sequence[Guess], deadline: float, known: Sequence[Guess] = ()) -> list[Guess]:
    """The largest set of guesses that hold after the reset and follow from themselves, a cycle later (Houdini).

    C. Flanagan, K. Leino, Houdini, FME 2001: drop what a counterexample breaks until none is left.
    """
    kept = list(guesses)
    for start in (True, False):
        run = Run(system, watch, start)
        if not start:
            run.extend()
        solver = z3.SolverFor("QF_BV")
        solver.add(run.take())
        old, new = run.views[0], run.views[-1]
        marks = [z3.Bool(f"lemma{k}") for k in range(len(kept))]
        news = [g(new) for g in kept]
        if not start:
            solver.add([g(v) for v in run.views for g in known])
            solver.add([z3.Implies(m, g(old)) for m, g in zip(marks, kept)])
        alive = list(range(len(kept)))
        while alive and time.monotonic() < deadline:
            solver.push()
            solver.add(z3.Not(z3.And([news[k] for k in alive])))
            solver.set("timeout", _left(deadline))
            found = solver.check(*(marks[k] for k in alive))
            model = solver.model() if found == z3.sat else None
            solver.pop()
            if found == z3.unsat:
                break
            if model is None:
                return []
            alive = [k for k in alive if z3.is_true(model.eval(news[k], True))]
        else:
            alive = []
        kept = [kept[k] for k in alive]
    return kept


class Search:
    """Runs out of the reset, one cycle after the other: is some property of the watch broken?"""

    def __init__(self, system: System, watch: Watch):
        self.run, self.solver, self.cycles = Run(system, watch, True), z3.SolverFor("QF_BV"), 0

    def upto(self, cycles: int, deadline: float = float("inf")) -> None:
        """Broken: with the cycles that show it."""
        while self.cycles < cycles and time.monotonic() < deadline:
            if self.cycles:
                self.run.extend()
            self.solver.add(self.run.take())
            checks = self.run.watch.check(self.run.views[-1])
            self.solver.push()
            self.solver.add(z3.Not(z3.And(list(checks.values()))))
            self.solver.set("timeout", _left(deadline))
            if (found := self.solver.check()) == z3.sat:
                model = self.solver.model()
                name = next(n for n, c in checks.items() if not z3.is_true(model.eval(c, True)))
                raise Broken(name, [_ports(v, model) for v in self.run.views])
            self.solver.pop()
            self.cycles += found == z3.unsat


def prove(system: System, watch: Watch, known: Sequence[Guess], search: Search, most: int = 24, bound: int = 16,
          deadline: float = float("inf")) -> list[Proof]:
    """Every property of the watch: by k-induction with k up to `most`, what resists for `bound` cycles after the reset.

    `known` always hold.  In the step of the induction a run never stands still (see unroll.moves).  Broken: with a counterexample.
    """
    step, solver, began, out = Run(system, watch, False), z3.SolverFor("QF_BV"), time.monotonic(), []
    names = list(watch.check(step.views[0]))
    for k in range(1, most + 1):
        if not names or time.monotonic() > deadline:
            break
        search.upto(k, deadline)
        if search.cycles >= k and (done := _inductive(step, solver, known, names, deadline)):
            out += [Proof(n, "induction", k, round(time.monotonic() - began, 2)) for n in done]
            names = [n for n in names if n not in done]
    if names:
        search.upto(bound, deadline)
    return out + [Proof(n, "bounded", search.cycles, round(time.monotonic() - began, 2)) for n in names]


def _inductive(run: Run, solver: z3.Solver, known: Sequence[Guess], names: list[str], deadline: float) -> list[str]:
    """Which properties hold in the cycle after the run, if all of the watch's held in it: all of `names`, or none."""
    old = run.views[-1]
    held = run.watch.check(old)
    solver.add([g(old) for g in known] + [c for n, c in held.items()])
    new = run.extend()
    solver.add(run.take())
    solver.add(moves(old, new))
    solver.add([g(new) for g in known])
    checks = run.watch.check(new)
    solver.push()
    solver.add(z3.Not(z3.And([checks[n] for n in names])))
    solver.set("timeout", _left(deadline))
    found = solver.check()
    solver.pop()
    return names if found == z3.unsat else []


def _left(deadline: float) -> int:
    """Milliseconds until then, for a solver."""
    return max(1, int(min(deadline - time.monotonic(), 1e6) * 1000))


def _ports(v: View, model: z3.ModelRef) -> dict[str, int]:
    def value(e): return int(z3.is_true(e)) if z3.is_bool(e) else e.as_long()
    return {n: value(model.eval(v[n], True)) for n in v.system.ports if n not in ("clk_i", "rst_ni")}
