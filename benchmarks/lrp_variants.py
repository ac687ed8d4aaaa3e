"""How well relevance foretells what a layer's rounding does: rank correlation with the measured KL of single layers.

    QSEARCH_DATA=... python -m benchmarks.lrp_variants [--only resnet20 vit] [--images 64]

For each net, rule and way of counting: Spearman's rho, over layers, between the damage that the metric predicts and KL with that
layer alone quantized.  Predictions are made from --images calibration images, KL is measured on 500 others.  `x 4^-bits` has the
same bits for all layers, so that relevance alone ranks them.  For comparison: KL from those few images, and noise without relevance.
"""
import argparse
import time

import numpy as np

from benchmarks import real_data
from ir import UserError

OPTIONS = ("int3/uint8", "int4/uint8")
RULES = ("attention", "attention+zb", "attnlrp", "epsilon", "alpha-beta", "z-plus")
NETS = {"resnet20": ("resnet20_cifar10", lambda: real_data.cifar10()), "vit": ("vit_cifar10", lambda: vit_images()),
        "kws": ("kws_ds_cnn_s", lambda: real_data.keywords())}


def vit_images() -> dict[str, np.ndarray]:
    """CIFAR-10 as the ViT was trained on it: its own mean and deviation."""
    mean, std = np.float32([.4914, .4822, .4465]), np.float32([.2023, .1994, .2010])
    known = real_data.cifar10()
    raw = {k: known[k] * real_data.CIFAR_STD.reshape(3, 1, 1) + real_data.CIFAR_MEAN.reshape(3, 1, 1) for k in ("x", "calib_x")}
    return known | {k: np.float32((v - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)) for k, v in raw.items()}


def rho(a, b) -> float:
    """Spearman's rank correlation, ties by their mean rank."""
    from scipy.stats import spearmanr
    return float(spearmanr(a, b).statistic)


def rows(name: str, images: int) -> list[dict]:
    """One row for each way to predict: net, metric, rho at each option, seconds for the relevance."""
    import quant
    import torch
    from search.metrics import kl, sqnr
    from search.metrics_lrp import noise
    from search.probe import Remembering
    file, data = NETS[name]
    samples = data()
    net = quant.load_model(real_data.root() / "onnx" / f"{file}.onnx", torch.from_numpy(samples["calib_x"][:2]))
    calibration = torch.from_numpy(samples["calib_x"][:256])
    simulation = quant.Simulation(net, quant.calibrate(net, calibration), torch.from_numpy(samples["calib_x"][256:256 + images]))
    probe = Remembering(simulation)
    layers = list(net.layers)
    truth = Remembering(quant.Simulation(net, simulation.calibration, torch.from_numpy(samples["x"][:500])))
    measured = {o: [kl(truth, n, o) for n in layers] for o in OPTIONS}
    cheap = {o: [kl(probe, n, o) for n in layers] for o in OPTIONS}
    power = {o: [sqnr(probe, n, o) for n in layers] for o in OPTIONS}
    varied = {o: [noise(probe, n, o) for n in layers] for o in OPTIONS}
    found = [_row(name, "KL itself", measured, cheap, 0.0), _row(name, "noise / power alone (sqnr)", measured, power, 0.0),
             _row(name, "noise / variance alone", measured, varied, 0.0)]
    for rule in RULES:
        for flag in ("", "+abs"):
            start = time.perf_counter()
            try:
                c = np.array([simulation.relevance(rule + flag)[n] for n in layers])
            except UserError as e:
                found.append({"net": name, "metric": f"{rule}{flag}: {e}"})
                continue
            seconds = time.perf_counter() - start
            for title, by in (("power", power), ("variance", varied)):
                found.append(_row(name, f"{rule}{flag} x noise / {title}", measured, {o: c * by[o] for o in OPTIONS}, seconds))
            found.append(_row(name, f"{rule}{flag} x 4^-bits", measured, dict.fromkeys(OPTIONS, c), seconds))
    return found


def _row(net: str, metric: str, measured: dict, predicted: dict, seconds: float) -> dict:
    return {"net": net, "metric": metric, **{o: f"{rho(predicted[o], measured[o]):.2f}" for o in OPTIONS}, "seconds": f"{seconds:.1f}"}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", nargs="*", default=list(NETS))
    p.add_argument("--images", type=int, default=64)
    args = p.parse_args()
    titles = ("net", "metric", *OPTIONS, "seconds")
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    for name in args.only:
        for row in rows(name, args.images):
            print("| " + " | ".join(str(row.get(t, "")) for t in titles) + " |", flush=True)


if __name__ == "__main__":
    main()
