"""The one place that talks to integer programming solvers."""
from dataclasses import dataclass

import numpy as np
import pulp

from ir import Registry, UserError

SOLVERS: Registry = Registry("solver")
RESOLUTION = 1e3  # coefficients reach up to this, so that a solver's absolute tolerance of 1e-6 is 1e-9 of a budget


class _QuietHiGHS(pulp.HiGHS):
    """HiGHS prints its name as soon as one of its callbacks is touched, which its Python constructor does: so be quiet before."""

    def createAndConfigureSolver(self, lp):
        import highspy

        class Quiet(highspy.Highs):
            def enableCallbacks(self):
                self.setOptionValue("output_flag", False)
                super().enableCallbacks()

        lp.solverModel = Quiet()
        for name, value in {"mip_rel_gap": 0.0, "mip_abs_gap": self.gapAbs, "time_limit": float(self.timeLimit)}.items():
            lp.solverModel.setOptionValue(name, value)


@SOLVERS.register("highs")
def _highs(limit: float, gap: float, mip: bool):
    return _QuietHiGHS(msg=False, mip=mip, timeLimit=limit, gapRel=0.0, gapAbs=gap)


@SOLVERS.register("cbc")
def _cbc(limit: float, gap: float, mip: bool):
    bundled = getattr(getattr(pulp, "PULP_CBC_CMD", None), "pulp_cbc_path", None)  # PuLP 4 has it in a package of its own
    return pulp.COIN_CMD(path=bundled, msg=False, mip=mip, timeLimit=limit, gapRel=0.0, gapAbs=gap)


def ready(solver: str) -> None:
    """UserError: no such solver, or it is not installed."""
    if not SOLVERS[solver](1.0, 0.0, True).available():
        raise UserError(f"solver {solver!r} is not installed; pip install highspy pulp, or take another of {', '.join(SOLVERS)}")


@dataclass(frozen=True)
class Columns:
    """What can be chosen: one column of every group.  Sorted by group; all numbers >= 0.

    regret: damage above the least of its group, (n,); excess: cost above the least of its group for R resources, (n, R).
    """
    group: np.ndarray   # (n,) of int
    option: np.ndarray  # (n,) of int, the place within its group's menu
    regret: np.ndarray
    excess: np.ndarray

    def take(self, which: np.ndarray) -> "Columns":
        return Columns(self.group[which], self.option[which], self.regret[which], self.excess[which])

    @property
    def starts(self) -> np.ndarray:
        """Where each group begins."""
        return np.flatnonzero(np.r_[True, self.group[1:] != self.group[:-1]])


class Program:
    """min sum of regrets, one column a group, within `room` (R,) of every resource; in numbers near 1 for the solver's sake."""

    def __init__(self, columns: Columns, room: np.ndarray):
        regret = columns.regret / (columns.regret.max() or 1.0) * RESOLUTION
        excess = [columns.excess[:, i] / r * RESOLUTION if r > 0 else None for i, r in enumerate(room)]
        self.ruler = (columns.regret.max() or 1.0) / RESOLUTION
        self.room, self.columns = room, columns
        self.problem = p = pulp.LpProblem("bits", pulp.LpMinimize)
        self.pick = [p.add_variable(f"x{i}", cat=pulp.LpBinary) for i in range(len(columns.group))]
        p.setObjective(self._sum(regret))
        for g, members in enumerate(np.split(np.arange(len(self.pick)), columns.starts[1:])):
            p.addConstraint(pulp.LpAffineExpression([(self.pick[i], 1) for i in members]) == 1, f"one{g}")
        self.rows = [None if e is None else self._sum(e) <= RESOLUTION for e in excess]
        for i, row in enumerate(self.rows):
            if row is not None:
                p.addConstraint(row, f"budget{i}")

    def _sum(self, numbers: np.ndarray) -> pulp.LpAffineExpression:
        used = np.flatnonzero(numbers)
        return pulp.LpAffineExpression([(self.pick[i], c) for i, c in zip(used.tolist(), numbers[used].tolist())])

    def prices(self, solver: str, limit: float) -> np.ndarray:
        """Regret saved by one more unit of each resource, (R,), from the relaxation that may choose fractions; 0 without an answer.

        Any prices >= 0 give a true bound (see `exact`), so that nothing rests on the solver's tolerances here.
        """
        if self.problem.solve(SOLVERS[solver](limit, 0.0, False)) != pulp.LpStatusOptimal:
            return np.zeros(len(self.room))
        duals = np.array([abs(row.pi or 0.0) if row is not None else 0.0 for row in self.rows])
        return duals * self.ruler * RESOLUTION / np.where(self.room > 0, self.room, 1.0)

    def forbid(self, chosen: np.ndarray) -> None:
        """Leave this one choice (places of its columns) out from now on."""
        self.problem.addConstraint(pulp.LpAffineExpression([(self.pick[i], 1) for i in chosen]) <= len(chosen) - 1)

    def solve(self, solver: str, limit: float, slack: float) -> tuple[np.ndarray | None, bool]:
        """The best choice to within `slack` of regret: (places of its columns or None, whether time ran out).

        None in time means that nothing fits.
        """
        status = self.problem.solve(SOLVERS[solver](limit, slack / self.ruler, True))
        if status == pulp.LpStatusInfeasible:
            return None, False
        if status != pulp.LpStatusOptimal:
            return None, True
        values = np.array([x.value() or 0.0 for x in self.pick])
        chosen = np.array([m[np.argmax(values[m])] for m in np.split(np.arange(len(values)), self.columns.starts[1:])])
        return chosen, self.problem.sol_status != pulp.LpSolutionOptimal
