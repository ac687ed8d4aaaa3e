"""Weight bits of a diffusion U-Net by two metrics: uniform plans, one metric for all layers, and a metric for each group.

    QSEARCH_DATA=... python -m benchmarks.decoupled_ddpm [--bits 3 4 5 6] [--acts uint8] [--cache cells.jsonl]

Activations have 8 bits (or --acts) everywhere; sensitivities are of the weights of one layer alone.  Content: what works at 7 pixels and less,
and all that reads the time; judged by the SSIM of digits drawn from fixed noise (10 steps of DDIM).  Quality: the convolutions at
28 and 14 pixels, judged by the noise in epsilon.  The groups follow what was measured: with 3-bit weights a layer of the first changes
the digits typically 700 times as much as epsilon, one of the second 100 times.  The split that is kept is the one whose digits,
from noise of its own, are nearest to those in float.  What is printed is of other noise and of test images.  No integers: these are the
float net's values with rounded weights and inputs.
"""
import argparse
import time
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import torch

import quant
from benchmarks import ddpm_model as ddpm
from benchmarks import real_data
from ir.store import digest
from search import cost_tables, decoupled, groups, measure, ssim

MENU = tuple(f"int{b}/-" for b in (2, 3, 4, 5, 6, 8))
CONTENT = r"^te|^b3|^b_mid|^b4|^down2|^down3|^up1|^up2"
STEPS = 10                                   # of DDIM
SEEN, DRAWN, CHOSEN, REPORTED = 32, 6, 16, 48  # noisy images for epsilon, digits for SSIM, that choose a split, that are printed
RATIOS = np.linspace(0.4, 1.2, 9)


class Digits:
    """The net as a probe whose output is what it draws: digits (N, 1, 28, 28) from fixed noise."""

    output_shape = (1, ddpm.SIDE, ddpm.SIDE)

    def __init__(self, net: quant.Simulation, noise: torch.Tensor):
        self.net, self.noise, self.layers, self.model = net, noise, net.layers, net.model
        self.key = digest(net.key, f"DDIM {STEPS}", noise.numpy().tobytes())
        self._float = self.outputs({})

    def reference(self) -> np.ndarray: return self._float

    def outputs(self, options) -> np.ndarray:
        drawn = ddpm.trajectory(lambda x: torch.from_numpy(self.net.outputs(options, x)), self.noise, STEPS)[-1]
        return drawn.flatten(1).numpy()

    def error(self, drawn: np.ndarray) -> np.ndarray:
        """Mean squared error of each digit, (N,)."""
        return ((drawn - self._float) ** 2).mean(1)

    def likeness(self, drawn: np.ndarray) -> float:
        """Mean SSIM of the digits with those in float."""
        shape = -1, *self.output_shape
        return float(ssim(self._float.reshape(shape), drawn.reshape(shape)).mean())


def noised(images: np.ndarray, chance: torch.Generator) -> torch.Tensor:
    """MNIST images (N, 28, 28) at random times, as the net takes them: (N, 884)."""
    clean = torch.from_numpy(images).float()[:, None] / 127.5 - 1
    t = torch.randint(0, ddpm.STEPS, (len(clean),), generator=chance)
    return ddpm.pack(ddpm.noisy(clean, torch.randn(clean.shape, generator=chance), t), t)


def tables(net: quant.Net, probe: quant.Simulation, digits: Digits, cache: Path | None) -> dict:
    """Damage tables: of all layers by epsilon, as a ratio and in decibels, and of the content by SSIM; and who is in which group."""
    menu = dict.fromkeys(net.layers, MENU)
    found = groups(net.layers, [f"content={CONTENT}:ssim", "quality=*:output_sqnr"])
    drawn = measure(digits, ["ssim"], {k: MENU for k in found["content"].layers}, cache)["ssim"]
    seen = measure(probe, ["output_sqnr", "output_sqnr_db"], menu, cache)
    return {name: {"all": t, "groups": {"content": drawn, "quality": replace(t, rows={k: t.rows[k] for k in found["quality"].layers})}}
            for name, t in seen.items()}


class Report:
    """Rows of the table: plans on noise and images that chose nothing."""

    HEAD = ("| plan | weight bits | epsilon MSE | epsilon SQNR, dB | digits MSE | less than one metric's by | digits SSIM | split |\n"
            "|---|---|---|---|---|---|---|---|")

    def __init__(self, probe: quant.Simulation, digits: Digits, bits: dict):
        self.probe, self.digits, self.bits, self.exact = probe, digits, bits, probe.reference()

    def row(self, name: str, options: dict, split: str = "", than: np.ndarray | None = None) -> tuple[str, np.ndarray]:
        """(text, squared error of each digit); than: errors of another plan, to compare digit by digit."""
        bits = sum(self.bits[k].get(o.split("/")[0] + "/-", nan) for k, o in options.items())
        e = ((self.probe.outputs(options) - self.exact) ** 2).mean()
        drawn = self.digits.outputs(options)
        d = self.digits.error(drawn)
        return (f"| {name} | {bits:.2f} | {e:.5f} | {10 * np.log10((self.exact ** 2).mean() / e):.1f} | {mean(d)} | "
                f"{'' if than is None else mean(than - d)} | {self.digits.likeness(drawn):.3f} | {split} |"), d


def mean(v: np.ndarray) -> str: return f"{v.mean():.4f} ± {v.std() / len(v) ** 0.5:.4f}"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bits", nargs="*", type=float, default=[3, 4, 5, 6])
    p.add_argument("--acts", default="uint8", help="format of every layer's input")
    p.add_argument("--cache", type=Path, help="file of damages that were measured, so that a second run is quick")
    args = p.parse_args()
    start, chance = time.monotonic(), torch.Generator().manual_seed(0)
    torch.set_num_threads(1)
    with np.load(real_data.root() / "mnist/mnist.npz") as f:
        train, test = f["train_x"][:256], f["test_x"][:128]
    fit = noised(train, chance)
    net = quant.capture(ddpm.load(real_data.root()), fit[:2])
    calibration = quant.calibrate(net, fit)
    probe = quant.Simulation(net, calibration, fit[:SEEN], fit=fit)
    final = quant.Simulation(net, calibration, noised(test, chance), fit=fit)
    drawing, choosing, reporting = (Digits(probe, torch.randn(n, 1, 28, 28, generator=chance)) for n in (DRAWN, CHOSEN, REPORTED))
    damage = tables(net, probe, drawing, args.cache)
    print(f"measured after {time.monotonic() - start:.0f} s\n{Report.HEAD}")
    wbits = cost_tables(quant.geometry(net), dict.fromkeys(net.layers, MENU), ["wbits"])
    report, acts = Report(final, reporting, wbits["wbits"].rows), dict.fromkeys(net.layers, f"-/{args.acts}")
    print(report.row("float weights", acts)[0])
    for b in args.bits:
        if b == int(b):
            print(report.row(f"uniform int{b:g}", dict.fromkeys(net.layers, f"int{b:g}/{args.acts}"))[0])
        for name, t in damage.items():
            alone = decoupled({"all": t["all"]}, wbits, {"wbits": b}, lambda o: 0.0, given=acts).chosen
            text, errors = report.row(f"{name} for all", alone.options)
            print(text)
            both = decoupled(t["groups"], wbits, {"wbits": b}, lambda o: choosing.error(choosing.outputs(o)).mean(), RATIOS, given=acts)
            split = f"{both.chosen.ratios[0]:.2f}, of {len(both.plans)} plans"
            print(report.row(f"ssim and {name}", both.chosen.options, split, errors)[0], flush=True)
    print(f"{time.monotonic() - start:.0f} s, of the processor {time.process_time():.0f} s")


if __name__ == "__main__":
    main()
