"""The plans of the peers and ours, judged by one quantizer on the same images: one table.

    QSEARCH_DATA=... python -m benchmarks.peers.compare OUT [--model resnet20] [--seeds 0 1 2] [--metrics kl kl+pairs] [--rounding nearest gptq]

OUT holds what the peers' scripts wrote.  For every number of bits that a peer's plan has, ours is allocated with no more, from the
same menu.  Judging is by the simulation of this project: scales of least squared error, a scale for each output channel, bias correction,
ranges from the calibration images.  What was judged is kept in OUT/judged.json, tables of damage with their seconds in OUT/tables.
"""
import json
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch

import quant
from benchmarks.peers.common import Clock, Images, arguments, average, outputs, weights
from benchmarks.peers.models import MODELS
from ir import Table
from ir.store import canonical, digest, save_text
from search import Pairs, allocate, cost_tables, gauss_newton_pairs, measure

FIT = 128  # calibration images that rounding is fitted to while damage is measured on the others


def main() -> None:
    p = arguments(__doc__)
    p.add_argument("--seeds", type=int, nargs="*", default=[0])
    p.add_argument("--metrics", nargs="*", default=["kl"])
    p.add_argument("--rounding", nargs="*", default=["nearest", "gptq"])
    p.add_argument("--against", default="*", help="pattern of the peers' names")
    p.add_argument("--samples", type=int, default=FIT, help="calibration images that damage is measured on, at most 128")
    p.add_argument("--more", type=int, default=500, help="training images to judge on beside the test images")
    args = p.parse_args()
    torch.set_num_threads(1)
    quant.capture(torch.nn.Linear(2, 2).eval(), torch.zeros(1, 2))  # torch.export imports half of torch: left out, as all imports are
    rows = []
    for seed in args.seeds:
        rows += compared(args, seed)
    report(rows)


def compared(args, seed: int) -> list[dict]:
    """One row for each plan and rounding, with what it does to the network."""
    answers = [json.loads(f.read_text()) for f in sorted(args.out.glob(f"{args.against}-{args.model}-a{args.acts}-{seed}.json"))]
    images, sizes = Images(args.model, seed, args.more), weights(MODELS[args.model].make())
    rows = []
    for rounding in args.rounding:
        found = [{"by": a["peer"], "peer": a["peer"], "budget": p["budget"], "bits": p["bits"], "seconds": p["seconds"], "own": p["own"],
                  "float": a["float"], "menu": a["menu"]} for a in answers for p in a["plans"]]
        targets = found or [{"peer": "", "budget": b, "menu": args.menu} for b in args.budget]
        for metric in args.metrics:
            known = measured(args, seed, images, metric, rounding)
            found = found + [ours(args, images, metric, known, t, average(t["bits"], sizes) if "bits" in t else t["budget"]) for t in targets]
        rows += Judge(args, seed, images, rounding).all(found, sizes)
    return rows


def capture(args, images: Images):
    return quant.load_model(MODELS[args.model].make(), example=images.x[:2])


def measured(args, seed: int, images: Images, metric: str, rounding: str) -> tuple[Table, Pairs | None, dict]:
    """Damage of every option that the menu has, with "+pairs" also interactions, and the seconds from the torch module on."""
    path = args.out / "tables" / f"{metric}-{args.model}-a{args.acts}-{seed}-{rounding}-{args.samples}.table.json"
    pairs = path.with_suffix(".pairs.json")
    if path.exists():
        table = Table.load(path)
        return table, Pairs.load(pairs) if pairs.exists() else None, table.about["seconds"]
    clock, (alone, *more) = Clock(), metric.split("+")
    net = capture(args, images)
    calibration = quant.calibrate(net, images.x)
    probe = quant.Simulation(net, calibration, images.x[FIT:][:args.samples], rounding=rounding, fit=images.x[:FIT],
                             labels=images.y[FIT:][:args.samples])
    menu = {n: [f"int{b}/uint{args.acts}" for b in args.menu] for n in net.layers}
    table = measure(probe, [alone], menu)[alone]
    found = gauss_newton_pairs(probe, menu, metric=alone, damage=table) if more else None
    table.about["seconds"] = clock.read()
    path.parent.mkdir(parents=True, exist_ok=True)
    if found:
        found.save(pairs)
    table.save(path)
    return table, found, table.about["seconds"]


def ours(args, images: Images, metric: str, known: tuple[Table, Pairs | None, dict], target: dict, bits: float) -> dict:
    """The plan of least damage with at most `bits` for a weight, from the target's menu."""
    damage, pairs, seconds = known
    menu = [f"int{b}/uint{args.acts}" for b in target["menu"]]
    rows = {n: {o: row[o] for o in menu} for n, row in damage.rows.items()}
    layers = quant.geometry(capture(args, images))
    clock = Clock()
    costs = cost_tables(layers, {n: menu for n in rows}, ["wbits"])
    plan = allocate(replace(damage, rows=rows), costs, {"wbits": bits + 1e-6}, pairs=pairs)
    return {"by": f"ours, {metric}", "peer": target["peer"], "budget": target["budget"], "own": None,
            "bits": {n: o.weight_format.bits for n, o in plan.options.items()},
            "seconds": {k: round(seconds[k] + v, 2) for k, v in clock.read().items()}}


class Judge:
    """Scores plans on the evaluation images; what is known already is not computed again."""

    def __init__(self, args, seed: int, images: Images, rounding: str):
        net = capture(args, images)
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
    """Markdown: medians over seeds; below each peer's plan, ours of no more bits."""
    groups = defaultdict(list)
    for r in rows:
        groups[r["rounding"], r["peer"], r["budget"], r["by"] != r["peer"], r["by"]].append(r)
    print("| rounding | budget | plan by | bits | KL | drop, tests | drop, more | CPU s (wall) | own drop, tests / more |\n" + "|---" * 9 + "|")
    for (rounding, _, budget, _, by), rs in sorted(groups.items()):
        def mid(f, rs=rs): return statistics.median(f(r) for r in rs)
        lost = {s: mid(lambda r, s=s: r["float"][s] - r["own"][s]) for s in ("tests", "more")} if rs[0]["own"] else {}
        cells = [rounding, f"{budget:g}", by, f"{mid(lambda r: r['effective']):.3f}", f"{mid(lambda r: r['kl']):.4f}",
                 *(f"{mid(lambda r, s=s: r[s]):.1f}" for s in ("drop_tests", "drop_more")),
                 f"{mid(lambda r: r['seconds']['cpu']):.1f} ({mid(lambda r: r['seconds']['wall']):.1f})",
                 " / ".join(f"{v:.1f}" for v in lost.values())]
        print("|", " | ".join(map(str, cells)), "|")


if __name__ == "__main__":
    main()
