"""Do interactions of layers help to foretell a plan's damage?  And which metric ranks plans?  ResNet-20 on CIFAR-10.

`QSEARCH_DATA=... python -m benchmarks.pairs [--plans 30] [--pairs 60] [--samples 128]` prints surpluses foretold against measured;
damage of random plans foretold by single layers, with pairs, and measured; the rank correlation of each metric's sum with the plan's
cross entropy on images that no metric saw; and what plans the allocator finds with pairs and without.  `--only plans` or `allocate`.
"""
import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import spearmanr

import quant
from ir import Table
from benchmarks.real_data import cifar10
from benchmarks.resnet20 import resnet20
from search import allocate, cost_tables, gauss_newton, gauss_newton_pairs, measure, menu, superposed_pairs, tempered
from search.pairs_measure import whole_plan
from search.pairs_model import surpluses
from search.metrics import metric
from search.metrics_output import cross_entropy
from search.probe import Remembering

MENUS = {"all": menu("int2,int3,int4,int8/uint4,uint8"), "mild": menu("int4,int5,int6,int8/uint4,uint6,uint8")}
FAMILIES = (("kl", "task", "task_signed", "output_mse", "output_sqnr", "top1_flips"), ("mse", "sqnr"), ("fisher",), ("hessian", "hawq"),
            ("information",))  # the members of each are measured together


@metric("task_signed", "nats")
def task_signed(probe, layer: str, option: str) -> float:
    """As `task`, but what gets better by chance counts: is that of use to a plan?"""
    y = probe.labels()
    return cross_entropy(probe.outputs({layer: option}), y) - cross_entropy(probe.reference(), y)


class Kept(Remembering):
    """Every answer is kept: pairs are foretold from the runs that damage was measured with."""

    def __init__(self, probe):
        super().__init__(probe)
        self._every: dict = {}

    def outputs(self, options):
        asked = tuple(sorted(options.items()))
        if asked not in self._every:
            self._every[asked] = np.asarray(self.probe.outputs(options), np.float64)
        return self._every[asked]


def main() -> None:
    ask = argparse.ArgumentParser()
    for name, default in (("plans", 30), ("pairs", 60), ("samples", 128), ("seed", 0)):
        ask.add_argument(f"--{name}", type=int, default=default)
    ask.add_argument("--only", choices=("plans", "allocate"))
    a = ask.parse_args()
    d = cifar10()
    net = quant.capture(resnet20(), torch.from_numpy(d["calib_x"][:2]))
    calibration = quant.calibrate(net, torch.from_numpy(d["calib_x"][256:]))
    x, y, fit = d["calib_x"][:a.samples], d["calib_y"][:a.samples], d["calib_x"][256:]
    probe = Kept(quant.Simulation(net, calibration, torch.from_numpy(x), fit=torch.from_numpy(fit), labels=y))
    unseen = quant.Simulation(net, calibration, torch.from_numpy(d["x"]), fit=torch.from_numpy(fit), labels=d["y"])
    if a.only != "plans":
        of_allocation(probe, unseen, net, dict.fromkeys(net.layers, menu("int3,int4,int6,int8/uint8")))
    for name, options in MENUS.items() if a.only != "allocate" else ():
        print(f"\n== menu {name}: {' '.join(options)}; {a.samples} samples", flush=True)
        compare(probe, unseen, dict.fromkeys(net.layers, options), a)


def compare(probe, unseen, options: dict, a) -> None:
    rng = np.random.default_rng(a.seed)
    tables = {}
    for names in FAMILIES:
        start = time.monotonic()
        found = measure(probe, names, options)
        print(f"{time.monotonic() - start:6.1f} s for {sum(map(len, options.values()))} cells of {', '.join(names)}", flush=True)
        tables |= found
    zeros = {n: np.mean([v <= 0 for row in tables[n].rows.values() for v in row.values()]) for n in ("task", "top1_flips")}
    print("cells that are 0: " + ", ".join(f"{n} {z:.0%}" for n, z in zeros.items()))
    start = time.monotonic()
    plain = gauss_newton(probe, options)
    models = {"Gauss-Newton": surpluses(plain), "matched": surpluses(plain.matched(tables["kl"])),
              "superposed": superposed_pairs(probe, options).rows}
    least = np.linalg.eigvalsh(plain.matrix)[0] / np.trace(plain.matrix)
    print(f"{'pairs':12} {time.monotonic() - start:6.1f} s, smallest eigenvalue / trace {least:.1e}")
    of_pairs(probe, options, tables["kl"], models, rng, a.pairs)
    plans = [{k: o[rng.integers(len(o))] for k, o in options.items()} for _ in range(a.plans)]
    of_plans(probe, tables["kl"], models, plans)
    of_metrics(unseen, tables, models, plans)


def of_pairs(probe, options: dict, damage: Table, models: dict, rng, count: int) -> None:
    """Surplus of random pairs of cells: measured against foretold."""
    every = list(itertools.combinations(options, 2))
    chosen = [(a, b, options[a][rng.integers(len(options[a]))], options[b][rng.integers(len(options[b]))])
              for a, b in (every[i] for i in rng.integers(len(every), size=count))]
    alone = np.array([damage.rows[a][p] + damage.rows[b][q] for a, b, p, q in chosen])
    true = np.array([whole_plan(probe, "kl")({a: p, b: q}) for a, b, p, q in chosen]) - alone
    print(f"{count} random pairs: measured |surplus| / sum of both alone: median {np.median(np.abs(true) / alone):.2f}")
    top = int(np.argmax(np.abs(true)))
    print(f"  the largest: {' '.join(chosen[top])}: {true[top]:.3g} beyond {alone[top]:.3g} alone; foretold "
          + ", ".join(f"{rows[chosen[top][:2]][chosen[top][2:]]:.3g} ({name})" for name, rows in models.items()))
    for name, rows in models.items():
        said = np.array([rows[a, b][p, q] for a, b, p, q in chosen])
        rest = np.argsort(np.abs(true))[:-1]
        print(f"  {name:13} Pearson {np.corrcoef(said, true)[0, 1]:5.2f}, without the largest {np.corrcoef(said[rest], true[rest])[0, 1]:5.2f}  "
              f"Spearman {spearmanr(said, true)[0]:5.2f}  "
              f"of surplus / alone: Pearson {np.corrcoef(said / alone, true / alone)[0, 1]:5.2f}  same sign {np.mean((said > 0) == (true > 0)):.0%}")


def of_plans(probe, damage: Table, models: dict, plans: list[dict]) -> None:
    """Damage of whole plans: measured against foretold."""
    true = np.array([whole_plan(probe, "kl")(p) for p in plans])
    alone = np.array([sum(damage.rows[k][o] for k, o in p.items()) for p in plans])
    said = {"alone": alone} | {f"+ {name}": alone + np.array([_pairs(rows, p) for p in plans]) for name, rows in models.items()}
    print(f"{len(plans)} random plans, KL {true.min():.3g} to {true.max():.3g}")
    for name, v in said.items():
        print(f"  {name:15} R2 {_r2(true, v):7.2f}  of logarithms {_r2(np.log(true), np.log(np.maximum(v, 1e-9))):6.2f}  "
              f"Spearman {spearmanr(v, true)[0]:5.2f}  ratio foretold / true {np.median(v / true):5.2f}")


def of_metrics(unseen, tables: dict[str, Table], models: dict, plans: list[dict]) -> None:
    """Rank correlation with what plans do to images that were not measured on."""
    exact = unseen.reference()
    runs = [np.asarray(unseen.outputs(p), np.float64) for p in plans]
    loss = np.array([cross_entropy(z, unseen.labels()) for z in runs]) - cross_entropy(np.asarray(exact, np.float64), unseen.labels())
    right = [np.mean(z.argmax(1) == unseen.labels()) for z in runs]
    score: Callable = lambda rows, p: sum(rows[k][o] for k, o in p.items())
    print(f"on {len(exact)} unseen images: cross entropy +{loss.min():.3g} to +{loss.max():.3g}; Spearman of plans with it, and with accuracy")
    for name, table in tables.items():
        v = [score(table.rows, p) for p in plans]
        print(f"  {name:17} {spearmanr(v, loss)[0]:5.2f} {-spearmanr(v, right)[0]:5.2f}")
    for name, rows in models.items():
        v = [score(tables["kl"].rows, p) + _pairs(rows, p) for p in plans]
        print(f"  {'kl + ' + name:17} {spearmanr(v, loss)[0]:5.2f} {-spearmanr(v, right)[0]:5.2f}")


def of_allocation(probe, unseen, net, options: dict) -> None:
    """KL of the plans that the allocator finds, foretold, measured, and on unseen images."""
    damage = measure(probe, ["kl"], options)["kl"]
    costs = cost_tables(quant.geometry(net), options, ["bytes"])
    strongest, superposed = (f(probe, options) for f in (lambda *a: gauss_newton_pairs(*a, damage=damage), superposed_pairs))
    kept = sorted(strongest.rows, key=lambda pair: -max(map(abs, strongest.rows[pair].values())))[:40]
    forty = replace(strongest, rows={pair: strongest.rows[pair] for pair in kept})
    models = {"none": None, "all, matched": strongest, "40, matched, raw": forty, "40, matched, tempered": tempered(forty, damage),
              "superposed, raw": superposed, "superposed, tempered": tempered(superposed, damage)}
    for budget in ("45%", "55%", "70%"):
        for name, pairs in models.items():
            plan = allocate(damage, costs, {"bytes": budget}, pairs=pairs, time_limit=15, gap=0.02)
            chosen = {k: str(o) for k, o in plan.options.items()}
            print(f"bytes={budget} pairs: {name:22} KL foretold {plan.damage['kl']:8.5f}  measured {whole_plan(probe, 'kl')(chosen):.5f}  "
                  f"unseen {whole_plan(unseen, 'kl')(chosen):.5f}", flush=True)


def _pairs(rows: dict, plan: dict) -> float: return sum(cells[plan[a], plan[b]] for (a, b), cells in rows.items())


def _r2(true: np.ndarray, said: np.ndarray) -> float: return 1 - float(np.sum((said - true) ** 2) / np.sum((true - true.mean()) ** 2))


if __name__ == "__main__":
    main()
