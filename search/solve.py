"""The one place that talks to integer programming solvers."""
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
import pulp

from ir import Registry, UserError

SOLVERS: Registry = Registry("solver")
OPEN = 1e30  # no bound


@dataclass(frozen=True)
class Program:
    """min cost . x with lower <= A x <= upper (M,) and 0 <= x <= 1 (n,), whole where `whole`; A by its entries (row, column, value)."""
    cost: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    whole: np.ndarray
    start: np.ndarray | None = None  # a point that fits, where one is known; a solver may use it
    enough: float = -np.inf          # a cost that is good enough to stop; a solver may use it

    def without(self, ones: np.ndarray) -> "Program":
        """The same, but not all of these variables can be 1 together."""
        return replace(self, row=np.r_[self.row, np.full(len(ones), len(self.lower))], column=np.r_[self.column, ones],
                       value=np.r_[self.value, np.ones(len(ones))], lower=np.r_[self.lower, -OPEN], upper=np.r_[self.upper, len(ones) - 1],
                       start=None)


@dataclass(frozen=True)
class Answer:
    """A point (None: there is none, or none was found in time), whether time ran out, and what no point is below (-inf: unknown)."""
    values: np.ndarray | None
    late: bool
    bound: float = -np.inf


@dataclass(frozen=True)
class Solver:
    """solve(program, seconds, slack): the least to within `slack` of cost, by the solver's own tolerances; the package it comes in."""
    package: str
    available: Callable[[], bool]
    solve: Callable[[Program, float, float], Answer]


def ready(solver: str) -> None:
    """UserError: no such solver, or it is not installed."""
    if not SOLVERS[solver].available():
        raise UserError(f"solver {solver!r} is not installed; pip install highspy pulp, or take another of {', '.join(SOLVERS)}")


def _highs(p: Program, limit: float, slack: float) -> Answer:
    import highspy

    class Quiet(highspy.Highs):  # it prints its name as soon as one of its callbacks is touched, which its constructor does
        def enableCallbacks(self):
            self.setOptionValue("output_flag", False)
            super().enableCallbacks()
    h, n, m = Quiet(), len(p.cost), len(p.lower)
    for name, value in {"mip_rel_gap": 0.0, "mip_abs_gap": slack, "time_limit": float(limit), "output_flag": False,
                        "objective_target": p.enough}.items():
        h.setOptionValue(name, value)
    order = np.argsort(p.row, kind="stable")
    starts = np.searchsorted(p.row[order], np.arange(m)).astype(np.int32)
    h.passModel(n, m, len(order), 2, 1, 0.0, p.cost, np.zeros(n), np.ones(n), np.maximum(p.lower, -np.inf), p.upper, starts,
                p.column[order].astype(np.int32), p.value[order], p.whole.astype(np.int32))
    if p.start is not None:
        known = highspy.HighsSolution()
        known.col_value = list(p.start)
        h.setSolution(known)
    h.run()
    status, info = h.getModelStatus(), h.getInfo()
    if status == highspy.HighsModelStatus.kInfeasible:
        return Answer(None, False)
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    bound = info.mip_dual_bound if p.whole.any() else info.objective_function_value
    late = status not in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kObjectiveTarget)
    return Answer(np.array(h.getSolution().col_value) if found else None, late, bound if np.isfinite(bound) else -np.inf)


def _cbc_command(**how):
    bundled = getattr(getattr(pulp, "PULP_CBC_CMD", None), "pulp_cbc_path", None)  # PuLP 4 has it in a package of its own
    return pulp.COIN_CMD(path=bundled, msg=False, gapRel=0.0, **how)


def _cbc(p: Program, limit: float, slack: float) -> Answer:
    model = pulp.LpProblem("bits", pulp.LpMinimize)
    x = [model.add_variable(f"x{i}", 0, 1, pulp.LpInteger if whole else pulp.LpContinuous) for i, whole in enumerate(p.whole)]
    model.setObjective(pulp.LpAffineExpression([(x[i], c) for i, c in enumerate(p.cost.tolist()) if c]))
    order = np.argsort(p.row, kind="stable")
    ends = np.searchsorted(p.row[order], np.arange(1, len(p.lower)))
    for i, members in enumerate(np.split(order, ends)):
        total = pulp.LpAffineExpression([(x[j], v) for j, v in zip(p.column[members].tolist(), p.value[members].tolist())])
        model.addConstraint(total == p.upper[i] if p.lower[i] == p.upper[i] else total <= p.upper[i], f"row{i}")
    status = model.solve(_cbc_command(timeLimit=limit, gapAbs=slack, mip=bool(p.whole.any())))
    if status == pulp.LpStatusInfeasible:
        return Answer(None, False)
    if status != pulp.LpStatusOptimal:
        return Answer(None, True)
    values, late = np.array([v.value() or 0.0 for v in x]), model.sol_status != pulp.LpSolutionOptimal
    return Answer(values, late, -np.inf if late else float(p.cost @ values) - slack)


SOLVERS.register("highs")(Solver("highspy", lambda: find_spec("highspy") is not None, _highs))
SOLVERS.register("cbc")(Solver("pulp", lambda: _cbc_command().available(), _cbc))
