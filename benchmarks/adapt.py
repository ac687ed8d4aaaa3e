"""Training in fixed point (AdaPT) against float32 and int8; pruning and clustering with quantization.

    QSEARCH_DATA=... python -m benchmarks.adapt [--epochs 6] [--seeds 2] [--only adapt shrink] [--out runs/adapt]

adapt: a network of the LeNet kind on MNIST (20000 training and 1500 test images), trained from scratch; every row has the same
epochs, batches and seeds.  The rows of one optimizer (SGD on gradients of norm 1, as AdaPT has it) differ in number formats alone, and
are paired with its widest words, which are as good as float32; float32 and int8 by Adam are what a user would otherwise do.
Accuracies are those of the integer graph where there is one.  Speed-ups are modelled (bit-weighted multiplications), sizes are counted.
shrink: a pretrained keyword-spotting DS-CNN, pruned and clustered while it is trained with the integers in the loop, on 1467 samples
that are not among the 978 which score it; every tuned row has the same epochs.  The first layer and
depthwise ones are neither pruned nor clustered.
"""
import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import quant
from benchmarks.real_data import root
from ir import Plan
from ir.store import load_json, save_json
from quant.train.weights import fit

BATCH, LR, ADAM_LR, NEVER = 64, 0.03, 3e-3, (10 ** 9, 10 ** 9)
BASE = "<32,20> throughout"
COURSE = dict(batch=BATCH, accumulate=1, lr=LR, schedule="cosine", l1=1e-5)
RULES = {  # the loop of AdaPT with words that stand still, and with words that are switched
    "<32,20> throughout": dict(start=(32, 20), lookback=NEVER), "<8,4> throughout": dict(lookback=NEVER),
    "AdaPT, paper": dict(buffer=8), "AdaPT, code": dict(mode="code", buffer=8)}


def net() -> nn.Module:
    """Two strided convolutions and two dense layers, no batch norm: 52,000 weights."""
    return nn.Sequential(nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(784, 64), nn.ReLU(),
                         nn.Linear(64, 10))


def mnist() -> tuple[torch.Tensor, ...]:
    with np.load(root() / "mnist" / "mnist.npz") as z:
        x, y, tx, ty = (z[k] for k in ("train_x", "train_y", "test_x", "test_y"))
    return (*(torch.from_numpy(v).float()[:, None] / 255 for v in (x, tx)), *(torch.from_numpy(v.astype(np.int64)) for v in (y, ty)))


def keywords() -> tuple[torch.Tensor, ...]:
    """1467 samples to train with, 978 others to score: two of each five, as the file is sorted by class."""
    with np.load(root() / "speech_commands" / "DS_CNN_S_mfcc_ref_even.npz") as z:
        x, y = torch.from_numpy(z["mfcc"][:, None].astype(np.float32)), torch.from_numpy(z["y"].astype(np.int64))
    train = torch.arange(len(x)) % 5 >= 2
    return x[train], x[~train], y[train], y[~train]


@torch.no_grad()
def right(model, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """1 for each image that is classified rightly."""
    return torch.cat([(model(a).argmax(1) == b).double() for a, b in zip(x.split(250), y.split(250))]).numpy()


def versus(hits: list[np.ndarray], base: list[np.ndarray]) -> str:
    """Mean over seeds of the accuracy, and of its difference on the same images, with the standard error over images."""
    d = np.mean([a - b for a, b in zip(hits, base)], 0)
    return f"{100 * np.mean(hits):.2f} % | {100 * d.mean():+.2f} +- {100 * d.std(ddof=1) / len(d) ** 0.5:.2f}"


def size_of(q: quant.QuantNet) -> quant.Size: return quant.size_report(q.lower(), q.plan)


def training(epochs: int, seeds: int, rows: list[str], out: Path) -> str:
    """The table of what has been run; each run is kept in `out`, so that it can be stopped and go on, and rows may run side by side."""
    x, tx, y, ty = mnist()
    for seed in range(seeds):
        for name in rows:
            file = out / f"{list(ROWS).index(name)}-{seed}-{epochs}.json"
            if not file.exists():
                start = time.process_time()
                model, about = ROWS[name](seed, epochs, x, y)
                hits = right(model, tx, ty)
                print(f"seed {seed}: {name}: {100 * hits.mean():.2f} % {about}", flush=True)
                save_json(file, "benchmark", {"hits": hits.astype(int).tolist(), "about": about, "seconds": time.process_time() - start})
    lines = ["| training | seeds | top-1 | - <32,20>, points | modelled training speed-up | modelled inference speed-up | modelled size | density | "
             "weights + metadata, bytes | s |", "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    kept = {n: {s: load_json(f, "benchmark") for s in range(seeds) if (f := out / f"{i}-{s}-{epochs}.json").exists()} for i, n in enumerate(ROWS)}
    for name, runs in kept.items():
        both = [s for s in runs if s in kept[BASE]]
        if both:
            packed, *modelled = np.mean([runs[s]["about"] for s in both], 0)
            hits, base = ([np.array(r[s]["hits"], float) for s in both] for r in (runs, kept[BASE]))
            cells = [f"{v:.2f}" for v in modelled] or [""] * 4
            seconds = np.mean([runs[s]["seconds"] for s in both])
            lines.append(f"| {name} | {len(both)} | {versus(hits, base)} | {' | '.join(cells)} | {packed:,.0f} | {seconds:.0f} |")
    return "\n".join(lines)


def float_adam(seed, epochs, x, y):
    model = fresh(seed)
    fit(model, x, y, epochs, ADAM_LR, BATCH, seed)
    return model, [quant.size_report(quant.capture(model, x[:2])).packed]


def int8_after(seed, epochs, x, y):
    captured = quant.capture(float_adam(seed, epochs, x, y)[0], x[:2])
    q = quant.quantize(captured, Plan.uniform(captured.layers, "int8/uint8"), quant.calibrate(captured, x[:512]))
    return q, [size_of(q).packed]


def int8_tuned(seed, epochs, x, y):
    captured = quant.capture(fresh(seed), x[:2])
    q = quant.quantize(captured, Plan.uniform(captured.layers, "int8/uint8"), quant.calibrate(captured, x[:512]))
    quant.tune(q, x, y, epochs=epochs, lr=ADAM_LR, batch=BATCH, seed=seed)
    return q, [size_of(q).packed]


def fixed(name: str):
    def run(seed, epochs, x, y):
        rules, course = quant.AdaptRules(**RULES[name]), quant.AdaptCourse(epochs=epochs, **COURSE)
        model = fresh(seed)
        a = quant.adapt(model, x, y, rules, course, seed)
        print(f"{name}: {', '.join(map(str, a.trained.values()))}; handed back {', '.join(str(w) for w, _ in a.words.values())}", flush=True)
        captured = quant.capture(model, x[:2])
        q = quant.quantize(captured, a.plan(captured), quant.calibrate(captured, x[:512]), bias_correction=False)
        p = quant.adapt_performance(model, x[:1], a, course, rules.mode)
        return q, [size_of(q).packed, p.training_speedup, p.inference_speedup, p.size_ratio, p.density]
    return run


def fresh(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return net()


ROWS = {"float32, Adam": float_adam, "int8 after float32": int8_after, "int8 in the loop, Adam": int8_tuned, **{n: fixed(n) for n in RULES}}


def shrinking(epochs: int) -> None:
    x, tx, y, ty = keywords()
    full = quant.load_model(str(root() / "onnx" / "kws_ds_cnn_s.onnx"))
    layers = [n for n, s in full.layers.items() if s.attrs.get("groups", 1) == 1][1:]
    base, whole = [right(full, tx, ty)], quant.size_report(full)
    calibration = quant.calibrate(full, x[::3])
    print(f"\n| DS-CNN | top-1 | - float32, points | weights | metadata | weights + metadata | float32 / this | graph files | zip |\n{'|---' * 9}|")

    def row(name, model, size):
        files = [f"{size.of(g):,}" if size.of(g) is not None else "" for g in ("container", "compressed")]
        print(f"| {name} | {versus([right(model, tx, ty)], base)} | {size.of('weights'):,} | {size.of('metadata'):,} | {size.packed:,} | "
              f"{size.ratios(whole)['packed']:.2f} | {' | '.join(files)} |", flush=True)

    def integers(option, share=0.0, k=0, tuned=True):
        """Half of the epochs for pruning, half for clusters or what is left."""
        q = quant.quantize(full, Plan.uniform(full.layers, option), calibration)
        steps = -(-len(x) // BATCH)
        pruner = quant.Pruner(q, share, end=max(1, epochs * steps // 2), every=4, layers=layers)
        phases = [(None, epochs)] if not k else [(None, epochs - epochs // 2), (k, epochs // 2)]
        for clusters, length in phases if tuned else []:
            c = quant.Clusters(q, clusters, layers) if clusters else None
            quant.tune(q, x, y, epochs=length, lr=1e-3, batch=BATCH, after_step=[] if c else [pruner])
            if c:
                c.strip()
        name = [f"{share:.0%} pruned"] * (share > 0) + [f"{k} clusters"] * (k > 0) + [option, "tuned" if tuned else "after training"]
        row(", ".join(name), q, size_of(q))

    row("float32", full, whole)
    integers("int8/uint8", tuned=False)
    for options in ({}, dict(share=0.5), dict(share=0.7)):
        integers("int8/uint8", **options)
    for options in (dict(k=16), dict(share=0.5, k=16)):
        integers("int8t/uint8", **options)
    integers("int4/uint8")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--seeds", type=int, default=2)
    p.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    p.add_argument("--out", type=Path, default=Path("runs/adapt"))
    p.add_argument("--only", nargs="*", default=["adapt", "shrink"], choices=["adapt", "shrink"])
    args = p.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    if "adapt" in args.only:
        print(training(args.epochs, args.seeds, args.rows, args.out))
    if "shrink" in args.only:
        shrinking(args.epochs * 3 // 2)
    print(f"\n{time.process_time() - start:.0f} processor seconds, one thread")


if __name__ == "__main__":
    main()
