"""What every tool gets: the same networks, images, menu and budgets, and one form of answer.

Needs numpy and torch only, as each peer runs in an environment of its own.
"""
import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.peers.models import MODELS  # noqa: E402
from benchmarks.real_data import root  # noqa: E402

MENU = (2, 3, 4, 6, 8)     # bits of the weights, symmetric, a scale for each output channel
BUDGETS = (3, 4, 5, 6)     # bits of a weight, on average
CALIBRATION = 256          # images of one calibration
POOL = 1000                # the first training images, from which calibrations are drawn
BATCH = 32


class Images:
    """Calibration images `x`, `y` drawn by `seed`; `tests` and `more` (training images outside the pool) to score on."""

    def __init__(self, model: str, seed: int, more: int = 1500):
        mean, std = (np.array(v, np.float32) for v in MODELS[model].normal)
        with np.load(root() / "cifar10" / "exact.npz") as z:
            train, labels, test, test_labels = (z[k] for k in ("train_x", "train_y", "test_x", "test_y"))

        def ready(x, y):
            x = (x.astype(np.float32) / 255 - mean) / std
            return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))), torch.from_numpy(y.astype(np.int64))
        drawn = np.random.default_rng(seed).permutation(POOL)[:CALIBRATION]
        self.x, self.y = ready(train[drawn], labels[drawn])
        self.sets = {"tests": ready(test, test_labels), "more": ready(train[POOL:POOL + more], labels[POOL:POOL + more])}

    def batches(self, size: int = BATCH) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The calibration images with their labels."""
        return list(zip(self.x.split(size), self.y.split(size)))


class Clock:
    """Seconds of this process since it was made: of the wall and of its processor time."""

    def __init__(self): self.start = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"wall": round(time.perf_counter() - self.start[0], 2), "cpu": round(time.process_time() - self.start[1], 2)}


@torch.no_grad()
def scores(model: Callable, images: Images) -> dict[str, float]:
    """Percent right on each set of images."""
    return {name: 100 * float((outputs(model, x).argmax(1) == y).float().mean()) for name, (x, y) in images.sets.items()}


@torch.no_grad()
def outputs(model: Callable, x: torch.Tensor, size: int = 250) -> torch.Tensor:
    """Outputs of a model, `size` images at a time."""
    return torch.cat([model(part) for part in x.split(size)])


def weights(model: torch.nn.Module) -> dict[str, int]:
    """Number of weights of each layer that may be quantized."""
    return {n: m.weight.numel() for n, m in model.named_modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))}


def average(bits: dict[str, int], sizes: dict[str, int]) -> float:
    """Bits of a weight, on average."""
    assert bits.keys() == sizes.keys(), f"a plan for {sorted(bits)} of a model with {sorted(sizes)}"
    return sum(sizes[k] * b for k, b in bits.items()) / sum(sizes.values())


def arguments(about: str) -> argparse.ArgumentParser:
    """What all scripts ask for."""
    p = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="folder for the answers, one json file each")
    p.add_argument("--model", choices=sorted(MODELS), default="resnet20")
    p.add_argument("--seed", type=int, default=0, help="which calibration images")
    p.add_argument("--budget", type=float, nargs="*", default=BUDGETS, help="bits of a weight, on average")
    p.add_argument("--acts", type=int, default=8, help="bits of activations")
    p.add_argument("--menu", type=int, nargs="*", default=MENU, help="bits that a layer's weights may get")
    return p


def save(args, peer: str, version: str, plans: list[dict], **facts) -> Path:
    """OUT/peer-model-acts-seed.json; a plan is {budget, bits: {layer: bits}, seconds: {wall, cpu}, own: scores or None}."""
    sizes = weights(MODELS[args.model].make())
    for p in plans:
        p["effective_bits"] = round(average(p["bits"], sizes), 4)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{peer}-{args.model}-a{args.acts}-{args.seed}.json"
    answer = {"peer": peer, "version": version, "model": args.model, "acts": args.acts, "seed": args.seed, "menu": list(args.menu),
              "plans": plans, **facts}
    path.write_text(json.dumps(answer, indent=1))
    for p in plans:
        print(path.name, p["budget"], p["effective_bits"], p["seconds"], p["own"], " ".join(map(str, p["bits"].values())), flush=True)
    return path
