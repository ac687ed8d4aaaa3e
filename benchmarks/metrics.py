"""Which sensitivity metric makes the best plans?  Each metric against measured loss, and the plans that it leads to.

    QSEARCH_DATA=... python -m benchmarks.metrics [--only resnet20 vit ...] [--metric kl fisher ...] [--out runs/metrics]

For each network: (1) Spearman correlation of a metric's damage with the measured increase of the cross entropy, over single layers
(each layer x option; over all, and over those whose increase is above twice its standard error) and over 100 random plans (sum of
damages); (2) top-1 accuracy and cross entropy of the plan that each metric
leads to, at 3, 4, 5 and 6 weight bits on average with 8-bit and with 4-bit activations (8 bits for the input); (3) the
processor seconds that each metric takes.
`kl+pairs` is kl with the 64 strongest interactions that are foretold from the runs of kl itself.
Metrics look at 128 calibration images (labels only where a metric asks for them), what is measured is measured on the evaluation
images, with weights rounded by GPTQ on 256 other calibration images.  Everything is kept in OUT, so that it can be stopped and
go on, and so that further metrics join later.  OUT/metrics.md holds the tables.
"""
import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

import quant
from benchmarks import real_data
from ir.store import save_json, save_text
from search import METRICS, allocate, cost_tables, gauss_newton_pairs, measure, menu

MODELS = {"resnet20": ("resnet20_cifar10", real_data.cifar10, 500), "resnet56": ("resnet56_cifar10", real_data.cifar10, 250),
          "vit": ("vit_cifar10", real_data.cifar10_vit, 500), "kws_ds_cnn_s": ("kws_ds_cnn_s", real_data.keywords, 1000)}
WEIGHTS, ACTS, BUDGETS, PLANS, LOOK, FIT = (2, 3, 4, 5, 6, 8), (8, 4), (3, 4, 5, 6), 100, 128, 256
PAIRS, STRONGEST = "+pairs", 64
OPTIONS = menu("int2,int3,int4,int5,int6,int8/uint8,uint4")


class Bench:
    """One network: a probe that metrics may look at, another on evaluation images that says what is true."""

    def __init__(self, name: str, out: Path):
        file, data, count = MODELS[name]
        d = data()
        self.name, self.out = name, out
        self.net = quant.load_model(str(real_data.root() / "onnx" / f"{file}.onnx"))
        self.menus = dict.fromkeys(self.net.layers, OPTIONS)
        self.y = d["y"][:count]
        seen, fit = (torch.from_numpy(d["calib_x"][i:j]) for i, j in ((-LOOK, None), (0, FIT)))
        calibration = quant.calibrate(self.net, fit)
        self.probe = quant.Simulation(self.net, calibration, seen, rounding="gptq", fit=fit, labels=d["calib_y"][-LOOK:])
        self.truth = quant.Simulation(self.net, calibration, torch.from_numpy(d["x"][:count]), rounding="gptq", fit=fit)
        self.truth._rounded_layers = self.probe._rounded_layers  # the same weights, rounded once
        self.plain = self.losses({})
        self.bits = cost_tables(quant.geometry(self.net), self.menus, ["wbits"])
        self.file = out / f"{name}.json"
        self.known = json.loads(self.file.read_text())["known"] if self.file.exists() else {}

    def keep(self, key: str, make):
        """What `make` gives, or gave in an earlier run."""
        if key not in self.known:
            self.known[key] = make()
            save_json(self.file, "benchmark", {"known": self.known})
        return self.known[key]

    def losses(self, options: dict[str, str]) -> np.ndarray:
        """Cross entropy of each evaluation image."""
        z = self.truth.outputs(options).astype(np.float64)
        self.right = z.argmax(1) == self.y
        z -= z.max(1, keepdims=True)
        return (np.log(np.exp(z).sum(1, keepdims=True)) - z[np.arange(len(z)), self.y][:, None])[:, 0]

    def score(self, options: dict[str, str]) -> tuple[float, float, float]:
        """(cross entropy, top-1 accuracy, standard error of the cross entropy's increase) on the evaluation images."""
        loss = self.losses(options)
        return float(loss.mean()), float(self.right.mean()), float((loss - self.plain).std() / np.sqrt(len(loss)))

    def round_weights(self) -> float:
        """Seconds that rounding every layer to every weight format takes: no metric's own work."""
        start = time.process_time()
        for layer in self.net.layers:
            for b in WEIGHTS:
                self.probe.local(layer, f"int{b}/-")
        return time.process_time() - start

    def damage(self, metric: str):
        """(its table, seconds)."""
        start = time.process_time()
        cache = self.out / f"{self.name}.cells"
        table = measure(self.probe, [metric], self.menus, cache)[metric]
        return table, self.keep(f"seconds {metric}", lambda: time.process_time() - start)

    def single(self) -> dict[tuple[str, str], tuple[float, float]]:
        """(layer, option) -> (measured loss increase, its standard error)."""
        cells = {(k, o): self.keep(f"single {k} {o}", lambda k=k, o=o: self.score({k: o})) for k in self.menus for o in self.menus[k]}
        return {cell: (s[0] - self.plain.mean(), s[2]) for cell, s in cells.items()}

    def random(self) -> list[tuple[dict[str, str], float]]:
        """(plan, loss): each plan draws its layers around a width of its own, so that plans range from broken to exact."""
        rng, plans = np.random.default_rng(0), []
        for i in range(PLANS):
            middle, act = rng.uniform(3.5, 8), rng.choice(ACTS)
            wish = middle + rng.normal(0, 1.2, len(self.menus))
            options = {k: f"int{min(WEIGHTS, key=lambda b, w=w: abs(b - w))}/uint{act if rng.random() < .8 else 8}" for k, w in zip(self.menus, wish)}
            plans.append((options, self.keep(f"random {i}", lambda o=options: self.score(o))[0]))
        return plans

    def width(self, layer: str, act: int) -> int:
        """Activation bits of a layer: what the network itself is given keeps 8."""
        return 8 if layer == next(iter(self.menus)) else act

    def pairs(self, metric: str, table):
        """The strongest interactions, foretold, and tempered."""
        start = time.process_time()
        found = gauss_newton_pairs(self.probe, self.menus, STRONGEST, metric, damage=table)
        self.keep(f"seconds {metric}{PAIRS}", lambda: time.process_time() - start)
        return found

    def plan(self, name: str, table, bits: int, act: int, pairs=None) -> tuple[float, float, float]:
        """The score of the plan within so many weight bits, activations of `act` bits."""
        def make():
            only = replace(table, rows={k: {o: v for o, v in row.items() if o.endswith(f"/uint{self.width(k, act)}")}
                                        for k, row in table.rows.items()})
            best = allocate(only, self.bits, {"wbits": float(bits)}, pairs=pairs, time_limit=30.0, gap=1e-3)
            return self.score({k: str(o) for k, o in best.options.items()})
        return self.keep(f"plan {name} {bits} {act}", make)


def compare(bench: Bench, metrics: list[str]) -> str:
    """The tables of one network, as markdown."""
    rounding = bench.keep("seconds rounding", bench.round_weights)
    loss, acc, _ = bench.keep("float", lambda: bench.score({}))
    single, plans = bench.single(), bench.random()
    uniform = [bench.keep(f"uniform {b} {a}", lambda a=a, b=b: bench.score({k: f"int{b}/uint{bench.width(k, a)}" for k in bench.menus}))
               for a in ACTS for b in BUDGETS]
    certain = [c for c, (rise, error) in single.items() if rise > 2 * error]
    lines = [f"### {bench.name}", "",
             f"float: top-1 {acc:.1%}, cross entropy {loss:.4f} on {len(bench.y)} images; {len(bench.menus)} layers; "
             f"rounding all weights took {rounding:.0f} s; {len(certain)} of {len(single)} single cells raise the loss by more than "
             "twice the standard error", "",
             "| metric | s | rho, all single cells | rho, certain ones | rho, random plans | "
             + " | ".join(f"W{b}A{a}" for a in ACTS for b in BUDGETS) + " | mean accuracy | mean cross entropy |",
             "|---|" + "---|" * (len(ACTS) * len(BUDGETS) + 6),
             f"| uniform | | | | | {' | '.join(f'{s[1]:.1%}' for s in uniform)} | "
             f"{np.mean([s[1] for s in uniform]):.2%} | {np.mean([s[0] for s in uniform]):.4f} |"]
    for m in metrics:
        table, seconds = bench.damage(m.removesuffix(PAIRS))
        pairs = bench.pairs(m.removesuffix(PAIRS), table) if m.endswith(PAIRS) else None
        seconds += bench.known.get(f"seconds {m}", 0) if pairs else 0
        one, clear = (spearmanr([table.rows[k][o] for k, o in which], [single[c][0] for c in which])[0] for which in (list(single), certain))
        foretold = [sum(table.rows[k][o] for k, o in p.items()) + (pairs.total(p) if pairs else 0) for p, _ in plans]
        many = spearmanr(foretold, [v for _, v in plans])[0]
        scores = [bench.plan(m, table, b, a, pairs) for a in ACTS for b in BUDGETS]
        lines.append(f"| {m} | {seconds:.0f} | {one:.3f} | {clear:.3f} | {many:.3f} | {' | '.join(f'{s[1]:.1%}' for s in scores)} | "
                     f"{np.mean([s[1] for s in scores]):.2%} | {np.mean([s[0] for s in scores]):.4f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", nargs="*", default=list(MODELS))
    p.add_argument("--metric", nargs="*", default=["kl", "kl+pairs", *(m for m in METRICS if m not in ("kl", "ssim"))])
    p.add_argument("--out", type=Path, default=Path("runs/metrics"))
    args = p.parse_args()
    parts = []
    for name in args.only:
        print(name, flush=True)
        parts.append(compare(Bench(name, args.out), args.metric))
        save_text(args.out / "metrics.md", "\n".join(parts))
    print("\n".join(parts))


if __name__ == "__main__":
    main()
