"""How the allocator scales: 10 to 10,000 layers, 8 options, 3 budgets, proven to 0.1 %; a general solver on the whole model beside it.

    python benchmarks/solver_scaling.py [--layers 10 100 1000] [--solvers highs cbc milp] [--limit 60] [--front]

Prints a markdown table of CPU seconds (of this process, tables in, plan out; what the cbc process takes is wall time) and proven gaps.
`milp` is scipy.optimize.milp on the model as it stands, to the same gap; it gets arrays, so that building tables costs it nothing.
"""
import argparse
import time

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, vstack

from ir import Table, UserError
from search import allocate, pareto

OPTIONS = [f"int{b}/uint8" for b in range(2, 10)]
BITS = np.arange(2, 10)
KINDS = {"uncorrelated": 0.35, "size * 4^-bits": 0.5, "five damages": 0.35}  # and a budget, as a share of the dearest plan's cost


def instance(kind: str, layers: int, budgets: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Damages (L, 8) and costs (budgets, L, 8)."""
    rng = np.random.default_rng(seed)
    if kind == "size * 4^-bits":
        size = rng.lognormal(7, 1.5, (layers, 1))
        return (size * 4.0 ** -BITS * rng.lognormal(0, 1, (layers, 1)),
                np.stack([np.round(size * BITS ** (1 + 0.3 * r) * rng.lognormal(0, 0.2, (layers, 1))) for r in range(budgets)]))
    costs = np.round(1000 * rng.random((budgets, layers, len(BITS))))
    return (rng.random((layers, len(BITS))) if kind == "uncorrelated" else rng.integers(0, 5, (layers, len(BITS))).astype(float)), costs


def tables(damage: np.ndarray, costs: np.ndarray) -> tuple[Table, dict[str, Table]]:
    rows = lambda a: {f"layer{i}": dict(zip(OPTIONS, row)) for i, row in enumerate(a.tolist())}
    return Table("kl", "damage", rows(damage)), {f"r{i}": Table(f"r{i}", "cost", rows(c)) for i, c in enumerate(costs)}


def ours(solver: str, damage, costs, share: float, gap: float, limit: float) -> tuple[float, float | None]:
    """(seconds, gap) or (seconds, None) where no plan was found."""
    d, c = tables(damage, costs)
    started = time.perf_counter() if solver == "cbc" else time.process_time()
    try:
        left = allocate(d, c, dict.fromkeys(c, f"{100 * share:g}%"), solver=solver, gap=gap, time_limit=limit).why["gap"]
    except UserError:
        left = None
    return (time.perf_counter() if solver == "cbc" else time.process_time()) - started, left


def peer(damage, costs, share: float, gap: float, limit: float) -> tuple[float, float | None]:
    """scipy.optimize.milp on all columns."""
    started, (layers, k) = time.process_time(), damage.shape
    one = csr_array((np.ones(layers * k), (np.repeat(np.arange(layers), k), np.arange(layers * k))))
    most = share * costs.max(axis=2).sum(axis=1)
    matrix = vstack([one, csr_array(costs.reshape(len(costs), -1))])
    rows = LinearConstraint(matrix, np.r_[np.ones(layers), np.full(len(costs), -np.inf)], np.r_[np.ones(layers), most])
    found = milp(damage.ravel(), integrality=np.ones(layers * k), bounds=Bounds(0, 1), constraints=rows,
                 options={"mip_rel_gap": gap, "time_limit": limit})
    return time.process_time() - started, None if found.x is None else float(found.mip_gap)


def front(layers: int) -> tuple[float, int]:
    """(seconds, plans) of a front of 20 points over one resource."""
    d, c = tables(*instance("size * 4^-bits", layers, 1))
    started = time.process_time()
    plans = pareto(d, c, "r0", 20)
    return time.process_time() - started, len(plans)


def cell(result: tuple[float, float | None]) -> str:
    seconds, gap = result
    return f"{seconds:.2f} s, " + ("none found" if gap is None else f"{100 * gap:.3f} %")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--layers", type=int, nargs="+", default=[10, 30, 100, 300, 1000, 3000, 10000])
    p.add_argument("--solvers", nargs="+", default=["highs", "cbc", "milp"])
    p.add_argument("--gap", type=float, default=1e-3)
    p.add_argument("--limit", type=float, default=60.0)
    p.add_argument("--front", action="store_true", help="time fronts of 20 points instead")
    a = p.parse_args()
    if a.front:
        print("| layers | plans | seconds |\n|---:|---:|---:|")
        for n in a.layers:
            seconds, count = front(n)
            print(f"| {n} | {count} | {seconds:.2f} |", flush=True)
        return
    print(f"| instance | layers | {' | '.join(a.solvers)} |\n|---|---:|{'---|' * len(a.solvers)}")
    for kind, share in KINDS.items():
        for n in a.layers:
            made = instance(kind, n)
            cells = [cell(peer(*made, share, a.gap, a.limit) if s == "milp" else ours(s, *made, share, a.gap, a.limit)) for s in a.solvers]
            print(f"| {kind} | {n} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
