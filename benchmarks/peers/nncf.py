"""NNCF (Intel, OpenVINO): compress_weights, 4 or 8 bits for each dense layer by one of its sensitivity metrics.

    QSEARCH_DATA=... PEER/bin/python -m benchmarks.peers.nncf OUT --model vit --budget 5 6 [--metric hessian_input_activation ...]

Its torch backend mixes int4 with int8 in dense layers only; convolutions stay at 8 bits, activations in float.  Its `ratio` is the
share of dense weights that get 4 bits; the one given here meets the budget together with the convolutions.
"""
import re

import nncf
import torch

from benchmarks.peers.common import CALIBRATION, Clock, Images, arguments, save, scores, weights
from benchmarks.peers.models import MODELS

METRICS = [m.value for m in nncf.SensitivityMetric]


def ratio(model, sizes: dict[str, int], budget: float) -> float:
    """Share of the dense weights that must have 4 bits, where all others have 8."""
    dense = sum(sizes[n] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n in sizes)
    return min(1.0, (8 - budget) / 4 * sum(sizes.values()) / dense)


def read(model, sizes: dict[str, int]) -> dict[str, int]:
    """{layer: bits}, from the modules that unpack the weights."""
    bits = {}
    for name, module in model.named_modules():
        if found := re.fullmatch(r"INT(\d)\w+WeightsDecompressor", type(module).__name__):
            layer = next(n for n in sorted(sizes, key=len, reverse=True) if n in name.replace(":", "."))
            bits[layer] = int(found[1])
    return {n: bits[n] for n in sizes}


def main() -> None:
    p = arguments(__doc__)
    p.add_argument("--metric", nargs="*", choices=METRICS, default=METRICS)
    args = p.parse_args()
    args.menu = (4, 8)
    torch.set_num_threads(1)
    images, sizes = Images(args.model, args.seed), weights(MODELS[args.model].make())
    for metric in args.metric:
        plans = []
        for budget in args.budget:
            model, clock = MODELS[args.model].make(), Clock()
            data = nncf.Dataset([x for x, _ in images.batches(1)])
            with torch.no_grad():
                model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT4_SYM, ratio=ratio(model, sizes, budget), group_size=-1,
                                              all_layers=True, dataset=data, subset_size=CALIBRATION, backup_mode=nncf.BackupMode.INT8_ASYM,
                                              sensitivity_metric=nncf.SensitivityMetric(metric))
            seconds = clock.read()
            plans.append({"budget": budget, "bits": read(model, sizes), "seconds": seconds, "own": scores(model, images)})
        save(args, f"nncf_{metric}", nncf.__version__, plans, float=scores(MODELS[args.model].make(), images))


if __name__ == "__main__":
    main()
