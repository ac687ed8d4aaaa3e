"""The one place that talks to integer programming solvers."""
import math
import time
from dataclasses import dataclass

import pulp

from ir import Registry, UserError

SOLVERS: Registry = Registry("solver")


class _QuietHiGHS(pulp.HiGHS):
    """HiGHS prints its name as soon as one of its callbacks is touched, which its Python constructor does: so be quiet before."""

    def createAndConfigureSolver(self, lp):
        import highspy

        class Quiet(highspy.Highs):
            def enableCallbacks(self):
                self.setOptionValue("output_flag", False)
                super().enableCallbacks()

        lp.solverModel = Quiet()
        for name, value in {"mip_rel_gap": self.gapRel, "mip_abs_gap": self.gapAbs, "time_limit": float(self.timeLimit)}.items():
            lp.solverModel.setOptionValue(name, value)


@SOLVERS.register("highs")
def _highs(limit: float, gap: float, mip: bool = True):
    return _QuietHiGHS(msg=False, mip=mip, timeLimit=limit, gapRel=gap, gapAbs=0.0)


@SOLVERS.register("cbc")
def _cbc(limit: float, gap: float, mip: bool = True):
    bundled = getattr(getattr(pulp, "PULP_CBC_CMD", None), "pulp_cbc_path", None)  # PuLP 4 has it in a package of its own
    return pulp.COIN_CMD(path=bundled, msg=False, mip=mip, timeLimit=limit, gapRel=gap, gapAbs=0.0)


@dataclass(frozen=True)
class Answer:
    """What a solver said: the chosen option of each group (None: there is none), and whether it ran out of time."""
    choice: tuple[int, ...] | None
    timed_out: bool
    bound: float  # no choice has a smaller objective (only asked for when time ran out, else -inf)


class Choices:
    """Choose one column of every row of `objective`, least sum, so that each resource's sum stays within `most`.

    objective[g][k] and costs[r][g][k] are numbers >= 0; `most[r]` bounds resource r.  Numbers should lie near 1.
    """

    def __init__(self, objective: list[list[float]], costs: list[list[list[float]]], most: list[float]):
        self.problem = p = pulp.LpProblem("bits", pulp.LpMinimize)
        self.objective = objective
        self.pick = [[p.add_variable(f"x{g}_{k}", cat=pulp.LpBinary) for k in range(len(row))] for g, row in enumerate(objective)]
        p.setObjective(self._sum(objective))
        for g, row in enumerate(self.pick):
            p.addConstraint(pulp.LpAffineExpression([(x, 1) for x in row]) == 1, f"one{g}")
        for r, (cost, limit) in enumerate(zip(costs, most, strict=True)):
            p.addConstraint(self._sum(cost) <= limit, f"budget{r}")

    def _sum(self, numbers: list[list[float]]) -> pulp.LpAffineExpression:
        return pulp.LpAffineExpression([(x, c) for xs, cs in zip(self.pick, numbers, strict=True) for x, c in zip(xs, cs, strict=True)])

    def forbid(self, choice: tuple[int, ...]) -> None:
        """Leave this one choice out from now on."""
        chosen = pulp.LpAffineExpression([(row[k], 1) for row, k in zip(self.pick, choice, strict=True)])
        self.problem.addConstraint(chosen <= len(choice) - 1)

    def solve(self, solver: str, limit: float, gap: float) -> Answer:
        """UserError: the solver is not installed, or time ran out before anything was found."""
        start = time.monotonic()
        make = SOLVERS[solver]
        if not make(limit, gap).available():
            raise UserError(f"solver {solver!r} is not installed; install highspy (pip install highspy) or take another of {', '.join(SOLVERS)}")
        status = self.problem.solve(make(limit, gap))
        if status == pulp.LpStatusInfeasible:
            return Answer(None, False, -math.inf)
        if status != pulp.LpStatusOptimal:
            raise UserError(f"{solver} found no plan within {limit:g} s (status {pulp.LpStatus[status].lower()}); "
                            "give it more time, a larger gap or fewer options")
        choice = tuple(max(range(len(row)), key=lambda k, row=row: row[k].value()) for row in self.pick)
        if self.problem.sol_status == pulp.LpSolutionOptimal:
            return Answer(choice, False, -math.inf)
        return Answer(choice, True, self._relaxed(make, max(1.0, limit - (time.monotonic() - start))))

    def _relaxed(self, make, limit: float) -> float:
        """The optimum with fractions allowed, a bound that every solver can give; 0 if there was no time even for that."""
        status = self.problem.solve(make(limit, 0.0, mip=False))
        return self.problem.objective.value() if status == pulp.LpStatusOptimal else 0.0
