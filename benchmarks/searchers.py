"""Searchers side by side on ResNet-20: what their plans do to held-out images, and how long they take.

    QSEARCH_DATA=... python -m benchmarks.searchers [--budget 4 3] [--images 200] [--evaluations 200] [--steps 200]

Tables of the metric kl at int2 .. int8/uint8 on calibration images; plans of so many weight bits on average by the integer
programme and by the greedy search from the tables, and by greedy and evolutionary searches that measure the KL of whole plans on
the same images (the latter with the tables as a prior); FLIQS trains shared weights on 4000 images.  All plans are then measured on
500 other images, rounded to the nearest.  A markdown table goes to stdout.
"""
import argparse
import time

import numpy as np
import torch
from scipy.special import log_softmax

import quant
from benchmarks import real_data
from quant.sensing.oneshot import OneShot
from search import cost_tables, find, measure, menu, whole_plan

OPTIONS = menu("int2,int3,int4,int5,int6,int7,int8/uint8")


def kl(exact: np.ndarray, got: np.ndarray) -> float:
    """Mean divergence of two sets of logits (N, K), in nats."""
    p, q = log_softmax(exact.astype(np.float64), 1), log_softmax(got.astype(np.float64), 1)
    return float((np.exp(p) * (p - q)).sum(1).mean())


class Bench:
    """The net, a probe that searches look at, and held-out images that say what is true."""

    def __init__(self, images: int):
        d = real_data.cifar10()
        self.test, self.y = torch.from_numpy(d["x"]), d["y"]
        self.look, self.calib = torch.from_numpy(d["calib_x"][:images]), torch.from_numpy(d["calib_x"][-256:])
        self.net = quant.load_model(str(real_data.root() / "onnx" / "resnet20_cifar10.onnx"))
        self.calibration = quant.calibrate(self.net, self.calib)
        self.probe = quant.Simulation(self.net, self.calibration, self.look)
        self.damage = whole_plan(self.probe, "kl")
        self.menus = dict.fromkeys(self.net.layers, OPTIONS)
        self.costs = cost_tables(quant.geometry(self.net), self.menus, ["wbits"])
        with torch.no_grad():
            self.float = np.concatenate([self.net(x).numpy() for x in self.test.split(100)])

    def judged(self, name: str, budget: float, plan, seconds: float, net=None) -> dict:
        """One row: what a plan does to the held-out images; `net` has weights of its own."""
        calibration = self.calibration if net is None else quant.calibrate(net, self.calib)
        truth = quant.Simulation(net or self.net, calibration, self.test[:1], fit=self.calib[:128])
        options = {k: str(o) for k, o in plan.options.items()}
        got = np.concatenate([truth.outputs(options, x) for x in self.test.split(100)])
        return {"wbits <=": budget, "searcher": name, "wbits": round(plan.costs["wbits"], 3), "KL, searched images":
                round(self.damage(options), 4) if net is None else "-", "KL, held out": round(kl(self.float, got), 4),
                "top-1 %": round(100 * float((got.argmax(1) == self.y).mean()), 1),
                "evaluations": plan.why.get("evaluations", 0), "seconds": round(seconds, 1)}


def train_images() -> tuple[torch.Tensor, torch.Tensor]:
    """All 4000 training images, as the net takes them."""
    with np.load(real_data.root() / "cifar10" / "exact.npz") as z:
        x = (z["train_x"].astype(np.float32) / 255 - real_data.CIFAR_MEAN) / real_data.CIFAR_STD
        return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))), torch.from_numpy(z["train_y"].astype(np.int64))


def rows(b: Bench, budget: float, table, evaluations: int, steps: int):
    """The plans of one budget, one row after the other."""
    most = {"wbits": budget}
    measured = {"evaluations": evaluations}
    for name, searcher, objective, how in (
            ("exact, tables", "exact", table, {}), ("greedy, tables", "greedy", table, {}),
            ("greedy, measured", "greedy", b.damage, measured),
            ("evolve, measured", "evolve", b.damage, measured | {"least": 0.9, "prior": table})):
        start = time.monotonic()
        plan = find(searcher, b.menus, objective, b.costs, most, **how)
        yield b.judged(name, budget, plan, time.monotonic() - start)
    start = time.monotonic()
    shot = OneShot(b.net, b.calibration, *train_images(), lr=1e-4, batch=16)
    plan = find("fliqs", b.menus, shot, b.costs, most, evaluations=steps, delay=steps // 8)
    seconds = time.monotonic() - start
    yield b.judged("fliqs, float weights", budget, plan, seconds)
    yield b.judged("fliqs, its own weights", budget, plan, seconds, shot.adapted())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--budget", type=float, nargs="*", default=[4.0, 3.0])
    p.add_argument("--images", type=int, default=200)
    p.add_argument("--evaluations", type=int, default=200)
    p.add_argument("--steps", type=int, default=200)
    args = p.parse_args()
    b, start = Bench(args.images), time.monotonic()
    table = measure(b.probe, ["kl"], b.menus)["kl"]
    print(f"tables: {time.monotonic() - start:.1f} s; float top-1 {100 * float((b.float.argmax(1) == b.y).mean()):.1f} %\n")
    for i, budget in enumerate(args.budget):
        for j, row in enumerate(rows(b, budget, table, args.evaluations, args.steps)):
            if i == j == 0:
                print(f"| {' | '.join(row)} |\n|{'---|' * len(row)}")
            print(f"| {' | '.join(map(str, row.values()))} |", flush=True)


if __name__ == "__main__":
    main()
