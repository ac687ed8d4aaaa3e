"""Quantization-aware training of real CIFAR-10 networks, and what is left of the drop in accuracy.

    QSEARCH_DATA=... python -m benchmarks.qat --net resnet20 --options int4/uint4 int2/uint4 --epochs 30 --out runs

Trains on the 4000 training images of the data folder (calibration on 512 of them), without and with training scores the 500
test images of each net, the integer graph on the reference of numpy, and writes each finished row to OUT/qat.json: a row that is
there is not computed again, an interrupted training goes on where it was.  The float networks were trained on all 50,000
images; here they teach (distillation).  First and last layer have 8 bits (int8/uint8) unless --ends is given.
"""
import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

import ir
from benchmarks import real_data
from ir.store import canonical, digest
from qsearch.screen import Screen
from quant import calibrate, load_model, quantize, tune
from quant.train.augment import flip_and_crop

STATISTICS = {"resnet20": (real_data.CIFAR_MEAN, real_data.CIFAR_STD), "resnet56": (real_data.CIFAR_MEAN, real_data.CIFAR_STD),
              "vit": (np.float32([.4914, .4822, .4465]), np.float32([.2023, .1994, .2010]))}
FILES = {"resnet20": "resnet20_cifar10", "resnet56": "resnet56_cifar10", "vit": "vit_cifar10"}


def data(net: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, np.ndarray]:
    """Training images (4000, 3, 32, 32), labels, test images (500, ...), labels, normalized for the net."""
    mean, std = STATISTICS[net]
    with np.load(real_data.root() / "cifar10" / "exact.npz") as z:
        images = [np.ascontiguousarray(((z[k].astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)) for k in ("train_x", "test_x")]
        return torch.from_numpy(images[0]), torch.from_numpy(z["train_y"].astype(np.int64)), torch.from_numpy(images[1]), z["test_y"].astype(np.int64)


def model(net: str):
    """The captured float network."""
    return load_model(str(real_data.root() / "onnx" / f"{FILES[net]}.onnx"))


def plan_of(net, option: str, ends: str) -> ir.Plan:
    """`option` everywhere but in the first and the last layer."""
    plan = ir.Plan.uniform(net.layers, option)
    names = list(net.layers)
    for name in (names[0], names[-1]):
        plan.options[name] = ir.Option.parse(ends)
    return plan


@torch.no_grad()
def hits(f, x: torch.Tensor, y: np.ndarray) -> np.ndarray:
    """Which images are classified rightly."""
    return np.concatenate([f(x[i:i + 100]).reshape(-1, 10).argmax(1).numpy() for i in range(0, len(x), 100)]) == y


def drop(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Points that `after` lies below `before` on the same images, and their standard error."""
    d = 100.0 * (before.astype(float) - after)
    return float(d.mean()), float(d.std(ddof=1) / len(d) ** 0.5)


def setting(args, option: str) -> dict:
    """What a row is the result of."""
    recipe = json.loads(args.recipe) | {"epochs": args.epochs, "mode": args.mode, "lr": args.lr, "batch": args.batch}
    return {"net": args.net, "option": option, "ends": args.ends, "range": args.range, "rounding": args.rounding, "recipe": recipe}


def row(args, option: str, screen: Screen) -> dict:
    """One training, from calibration to the integer graph."""
    x, y, tx, ty = data(args.net)
    net = model(args.net)
    plan = plan_of(net, option, args.ends)
    name, recipe = digest(canonical(setting(args, option))), setting(args, option)["recipe"]
    float_hits = hits(net, tx, ty)
    q = quantize(net, plan, calibrate(net, x[:512]), rounding=args.rounding, weight_range=args.range)
    start = drop(float_hits, hits(q, tx, ty))
    begun = time.time()
    with screen.step(f"{args.net} {option} {args.mode}") as progress:
        history = tune(q, x, y, distill=net, augment=flip_and_crop(4), progress=progress, checkpoint=args.out / f"qat.{name}.pt", **recipe)
    seconds = time.time() - begun
    graph = q.lower()
    codes = q.encode(tx).long().numpy()
    scores = np.concatenate([ir.run(graph, codes[i:i + 50]) for i in range(0, len(codes), 50)]).reshape(len(tx), -1)
    got = scores.argmax(1) == ty
    with torch.no_grad():
        trained = torch.cat([q.forward_integers(q.encode(tx[i:i + 50])).reshape(-1, 10) for i in range(0, len(tx), 50)]).numpy()
    lost, error = drop(float_hits, got)
    widest = max(n.type.bits for n in graph.nodes.values() if isinstance(n.op, (ir.Conv, ir.Dense)))
    return {**setting(args, option), "mode": args.mode, "epochs": args.epochs,
            "float": 100 * float(float_hits.mean()), "calibrated drop": start[0], "accuracy": 100 * float(got.mean()), "drop": lost, "error": error,
            "accumulator bits": widest, "graph equals training": bool((trained == scores).all()), "loss": history[-1]["loss"], "seconds": seconds}


def markdown(rows: list[dict]) -> str:
    """The rows as a table; drops in points, with the standard error of the difference on the same images."""
    lines = ["| net | option | ends | start | mode | epochs | float % | drop, calibrated | accuracy % | drop | accumulator bits | minutes |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for r in rows:
        lines.append(f"| {r['net']} | {r['option']} | {r['ends']} | {r['rounding']} | {r['mode']} | {r['epochs']} | {r['float']:.1f} | "
                     f"{r['calibrated drop']:.1f} | "
                     f"{r['accuracy']:.1f} | {r['drop']:.1f} ± {r['error']:.1f} | {r['accumulator bits']} | {r['seconds'] / 60:.0f} |")
    return "\n".join(lines)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--net", choices=STATISTICS, default="resnet20")
    p.add_argument("--options", nargs="+", default=["int4/uint4"])
    p.add_argument("--ends", default="int8/uint8", help="option of the first and of the last layer")
    p.add_argument("--mode", default="lsq")
    p.add_argument("--epochs", type=int, default=30)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--range", default="mse", help="scale of the weights at the start")
    p.add_argument("--rounding", default="gptq", help="of the weights before training")
    p.add_argument("--recipe", default="{}", help="further fields of quant.train.recipe.Recipe, as JSON")
    p.add_argument("--out", type=Path, required=True, help="a folder outside of the repository")
    args = p.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    args.out.mkdir(parents=True, exist_ok=True)
    store, screen = args.out / "qat.json", Screen()
    rows = json.loads(store.read_text()) if store.exists() else []
    for option in args.options:
        if not any(r | setting(args, option) == r for r in rows):
            rows.append(row(args, option, screen))
            store.write_text(json.dumps(rows, indent=1))
        print(markdown(rows), flush=True)


if __name__ == "__main__":
    main()
