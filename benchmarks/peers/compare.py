"""The plans of the peers and ours, judged by one quantizer on the same images: one table.

    QSEARCH_DATA=... python -m benchmarks.peers.compare OUT [--model resnet20] [--seeds 0 1 2] [--metrics kl] [--rounding nearest gptq]

OUT holds what the peers' scripts wrote.  For every number of bits that a peer's plan has, ours is allocated with no more.  Judging
is by the simulation of this project: scales of least squared error, a scale for each output channel, bias correction, ranges from the
calibration images.  What was judged is kept in OUT/judged.json; tables of damage are always measured anew, on one thread, for the time.
"""
import json
import statistics
from collections import defaultdict
from pathlib import Path

import torch

import quant
from benchmarks.peers.common import Clock, Images, arguments, average, outputs, weights
from benchmarks.peers.models import MODELS
from ir.store import canonical, digest, save_text
from search import allocate, cost_tables, measure

FIT = 128  # calibration images that rounding is fitted to while damage is measured on the others


def main() -> None:
    p = arguments(__doc__)
    p.add_argument("--seeds", type=int, nargs="*", default=[0])
    p.add_argument("--metrics", nargs="*", default=["kl"])
    p.add_argument("--rounding", nargs="*", default=["nearest", "gptq"])
    args = p.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in args.seeds:
        rows += compared(args, seed)
    report(rows)


def compared(args, seed: int) -> list[dict]:
    """One row for each plan and rounding, with what it does to the network."""
    answers = [json.loads(f.read_text()) for f in sorted(args.out.glob(f"*-{args.model}-a{args.acts}-{seed}.json"))]
    images, sizes = Images(args.model, seed), weights(MODELS[args.model].make())
    rows = []
    for rounding in args.rounding:
        found = [{"by": a["peer"], "budget": p["budget"], "bits": p["bits"], "seconds": p["seconds"], "own": p["own"], "float": a["float"]}
                 for a in answers for p in a["plans"]]
        targets = sorted({round(average(r["bits"], sizes), 4): r["budget"] for r in found}.items()) or [(b, b) for b in args.budget]
        for metric in args.metrics:
            found += ours(args, images, metric, rounding, targets)
        rows += Judge(args, seed, images, rounding).all(found, sizes)
    return rows


def options(args, layers) -> dict[str, list[str]]:
    return {n: [f"int{b}/uint{args.acts}" for b in args.menu] for n in layers}


def ours(args, images: Images, metric: str, rounding: str, targets) -> list[dict]:
    """Plans of least damage with at most the bits of each target: (bits of a weight on average, the budget they stand for)."""
    clock = Clock()
    net = quant.load_model(MODELS[args.model].make(), example=images.x[:2])
    menu = options(args, net.layers)
    calibration = quant.calibrate(net, images.x)
    probe = quant.Simulation(net, calibration, images.x[FIT:], rounding=rounding, fit=images.x[:FIT])
    damage = measure(probe, [metric], menu)[metric]
    costs = cost_tables(quant.geometry(net), menu, ["wbits"])
    first, rows = clock.read(), []
    for bits, budget in targets:
        clock = Clock()
        plan = allocate(damage, costs, {"wbits": bits + 1e-4})
        seconds = {k: round(first[k] + v, 2) for k, v in clock.read().items()}
        rows.append({"by": f"ours, {metric}", "budget": budget, "bits": {n: o.weight_format.bits for n, o in plan.options.items()},
                     "seconds": seconds, "own": None, "target": bits})
    return rows


class Judge:
    """Scores plans on the evaluation images; what is known already is not computed again."""

    def __init__(self, args, seed: int, images: Images, rounding: str):
        net = quant.load_model(MODELS[args.model].make(), example=images.x[:2])
        self.acts, self.path, self.images, self.rounding = args.acts, Path(args.out) / "judged.json", images, rounding
        self.about = [net.hash, seed, rounding]
        self.known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.sim = quant.Simulation(net, quant.calibrate(net, images.x), images.x[:2], rounding=rounding, fit=images.x)
        self.float = {k: outputs(net, x) for k, (x, _) in images.sets.items()}

    def all(self, plans: list[dict], sizes: dict[str, int]) -> list[dict]:
        return [p | self.one(p["bits"]) | {"rounding": self.rounding, "effective": average(p["bits"], sizes)} for p in plans]

    def one(self, bits: dict[str, int]) -> dict[str, float]:
        """Mean KL to the float network, and points of accuracy lost, on each set of images."""
        key = digest(canonical([*self.about, self.acts, sorted(bits.items()), {k: len(x) for k, (x, _) in self.images.sets.items()}]))
        if key not in self.known:
            plan = {n: f"int{b}/uint{self.acts}" for n, b in bits.items()}
            self.known[key] = self.scored(lambda x: torch.from_numpy(self.sim.outputs(plan, x)))
            save_text(self.path, json.dumps(self.known, indent=1))
        return self.known[key]

    def scored(self, model) -> dict[str, float]:
        found, divergences = {}, []
        for name, (x, y) in self.images.sets.items():
            exact, rounded = self.float[name], outputs(model, x)
            p, q = (v.double().log_softmax(1) for v in (exact, rounded))
            divergences.append((p.exp() * (p - q)).sum(1))
            found[f"drop_{name}"] = 100 * float((exact.argmax(1) == y).float().mean() - (rounded.argmax(1) == y).float().mean())
        return found | {"kl": float(torch.cat(divergences).mean())}


def report(rows: list[dict]) -> None:
    """Markdown: medians over seeds."""
    groups = defaultdict(list)
    for r in rows:
        groups[r["rounding"], r["budget"], r["by"], r.get("target")].append(r)
    print("| rounding | budget | plan by | bits | KL | drop, tests | drop, more | CPU s (wall) | own drop, tests / more |\n" + "|---" * 9 + "|")
    for (rounding, budget, by, target), rs in sorted(groups.items(), key=lambda g: (g[0][0], g[0][1], g[0][3] or 0, g[0][2])):
        def mid(f, rs=rs): return statistics.median(f(r) for r in rs)
        lost = {s: mid(lambda r, s=s: r["float"][s] - r["own"][s]) for s in ("tests", "more")} if rs[0]["own"] else {}
        cells = [rounding, budget, f"{by} at {target:g}" if target else by, f"{mid(lambda r: r['effective']):.3f}", f"{mid(lambda r: r['kl']):.4f}",
                 *(f"{mid(lambda r, s=s: r[s]):.1f}" for s in ("drop_tests", "drop_more")),
                 f"{mid(lambda r: r['seconds']['cpu']):.1f} ({mid(lambda r: r['seconds']['wall']):.1f})",
                 " / ".join(f"{v:.1f}" for v in lost.values())]
        print("|", " | ".join(map(str, cells)), "|")


if __name__ == "__main__":
    main()
