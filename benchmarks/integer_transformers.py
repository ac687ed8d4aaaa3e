"""Transformers and a diffusion net wholly in integers: what whole-net plans cost in accuracy, and what methods after training give back.

    QSEARCH_DATA=... python -m benchmarks.integer_transformers [vit llama ddpm] [--options int8/uint8 int4/int8d ...]
                                                               [--roundings nearest gptq ...] [--prepare none smooth awq+reparametrise ...]

vit: 500 CIFAR-10 test images, right in %, and the paired difference to the float net with its standard error; 128 images calibrate.
llama: stories260K, nats per token of sequences of 256 tokens (the first 60 of them); 32 others calibrate.  ddpm: mean squared error of
the noise in 64 MNIST digits at four times, 128 images at random times calibrate.  Each line also says the seconds of the integers of one
sample in numpy, and how many nodes the graph has.
"""
import argparse
import itertools
import math
import time
from dataclasses import replace

import numpy as np
import torch

from benchmarks import ddpm_model, lm_data
from benchmarks.real_data import cifar10_vit, root
from ir import Option, Plan, run
from quant import calibrate, capture, load_model, prepare, quantize

OPTIONS = ["int8/uint8", "int4/uint8", "int4/uint4"]
TIMES = (50, 200, 500, 900)
SCORED = 60  # sequences of stories


@torch.no_grad()
def in_parts(net, x: torch.Tensor, size: int = 50) -> torch.Tensor: return torch.cat([net(part) for part in x.split(size)])


def vit():
    """(net, calibration data, samples, judge); judge(net) and judge(net, reference) give a text."""
    data, net = cifar10_vit(), load_model(str(root() / "onnx" / "vit_cifar10.onnx"))
    x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])

    def judge(q, reference=None) -> tuple[str, torch.Tensor]:
        right = (in_parts(q, x).argmax(1) == y).double()
        change = "" if reference is None else difference(100 * (right - reference).numpy())
        return f"{100 * right.mean():.1f} % right{change}", right
    return net, torch.from_numpy(data["calib_x"][:128]), x[:8], judge


def llama():
    fit, test = lm_data.split()
    net = capture(lm_data.model(), fit[:2, :-1])

    def judge(q, reference=None):
        nats = lm_data.score(q, test[:SCORED]).nats
        return f"{nats.mean():.4f} nats{'' if reference is None else difference(nats - reference)}", nats
    return net, fit[:, :-1], test[:2, :-1], judge


def ddpm():
    model, rng = ddpm_model.load(root()), torch.Generator().manual_seed(0)
    with np.load(root() / "mnist" / "mnist.npz") as z:
        fit, test = (torch.from_numpy(z[k][:n]).float()[:, None] / 127.5 - 1 for k, n in (("train_x", 128), ("test_x", 64)))
    t = torch.randint(0, ddpm_model.STEPS, (len(fit),), generator=rng)
    x = ddpm_model.pack(ddpm_model.noisy(fit, torch.randn(fit.shape, generator=rng), t), t)
    noise = torch.randn(test.shape, generator=rng)

    def judge(q, reference=None):
        errors = [(ddpm_model.epsilon(q, ddpm_model.noisy(test, noise, t), t) - noise).square().mean((1, 2, 3)) for t in TIMES]
        return "error " + ", ".join(f"{e.mean():.4f} at {t}" for e, t in zip(errors, TIMES)), None
    return capture(model, x[:2]), x, x[:8], judge


def difference(d: np.ndarray) -> str: return f" ({d.mean():+.3g} +- {d.std(ddof=1) / math.sqrt(len(d)):.2g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cases = {"vit": vit, "llama": llama, "ddpm": ddpm}
    parser.add_argument("cases", nargs="*", choices=[*cases, []], help=f"of {', '.join(cases)}; all by default")
    parser.add_argument("--options", nargs="+", default=OPTIONS)
    parser.add_argument("--roundings", nargs="+", default=["nearest"])
    parser.add_argument("--prepare", nargs="+", default=["none"], help="changes of the float net first, joined by +")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.cases or cases:
        net, fit, x, judge = cases[name]()
        text, reference = judge(net)
        print(f"{name} float: {text}", flush=True)
        calibration = calibrate(net, fit, batch=8)
        for option, rounding, changes in itertools.product(args.options, args.roundings, args.prepare):
            plan, start = uniform(net, option), time.perf_counter()
            ready, ranges, suited = prepare(net, calibration, plan, [] if changes == "none" else changes.split("+"))
            q = quantize(ready, suited, ranges, rounding=rounding)
            made = time.perf_counter() - start
            text, _ = judge(q, reference)
            g, codes = q.lower(), q.encode(x).detach().long().numpy()
            start = time.perf_counter()
            y = run(g, codes)
            seconds = (time.perf_counter() - start) / len(x)
            equal = (y == q.forward_integers(q.encode(x)).detach().numpy()).all()
            print(f"{name} {option} {rounding} {changes}: {text}; made in {made:.0f} s, {len(g.nodes)} nodes, {seconds:.2g} s a sample, "
                  f"{'equal' if equal else 'NOT EQUAL'}", flush=True)


def uniform(net, option: str) -> Plan:
    """The option everywhere; convolutions read no tokens and have the same bits with one scale."""
    o = Option.parse(option)
    return Plan({n: str(replace(o, acts=f"uint{o.act_format.bits}", dynamic=False)) if o.dynamic and s.kind == "conv" else option
                 for n, s in net.layers.items()})


if __name__ == "__main__":
    main()
