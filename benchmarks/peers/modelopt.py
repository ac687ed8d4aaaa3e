"""NVIDIA Model Optimizer: auto_quantize by gradients and by KL divergence, one search solved again for each budget.

    QSEARCH_DATA=... PEER/bin/python -m benchmarks.peers.modelopt OUT [--model resnet20] [--method gradient kl_div] [--calibration mse max]
"""
import copy
import warnings

import modelopt
import modelopt.torch.quantization as mtq
import torch
from torch.nn import functional as F

from benchmarks.peers.common import BATCH, CALIBRATION, Clock, Images, arguments, save, scores, weights
from benchmarks.peers.models import MODELS


def formats(menu, acts: int, algorithm: str) -> list[dict]:
    """Symmetric weights with a scale for each output channel; a scale for the tensor of activations."""
    return [{"quant_cfg": [{"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": b, "axis": 0}},
                           {"quantizer_name": "*input_quantizer", "cfg": {"num_bits": acts, "axis": None}}],
             "algorithm": algorithm, "effective_bits": b} for b in menu]


def search(model, images: Images, args, method: str, algorithm: str) -> dict:
    """The state of a search for the first budget; no layer may stay in float."""
    menu, steps = formats(args.menu, args.acts, algorithm), CALIBRATION // BATCH
    _, state = mtq.auto_quantize(
        model, {"effective_bits": args.budget[0]}, menu, images.batches(), forward_step=lambda m, b: m(b[0]),
        loss_func=lambda y, b: F.cross_entropy(y, b[1]), num_calib_steps=steps, num_score_steps=steps, method=method,
        module_search_spaces=[{"module_name_patterns": "*", "quantization_formats": menu, "allow_no_quant": False}])
    return state


def read(config: dict, layers) -> dict[str, int]:
    """{layer: bits} of a quantization config."""
    bits = {e["quantizer_name"].removesuffix(".weight_quantizer"): e["cfg"]["num_bits"] for e in config["quant_cfg"]
            if e["quantizer_name"].endswith(".weight_quantizer")}
    return {k: bits[k] for k in layers}


def main() -> None:
    p = arguments(__doc__)
    p.add_argument("--method", nargs="*", default=["gradient", "kl_div"], choices=["gradient", "kl_div"])
    p.add_argument("--calibration", nargs="*", default=["mse"], choices=["mse", "max"])
    args = p.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    images, make = Images(args.model, args.seed), MODELS[args.model].make
    for method in args.method:
        for algorithm in args.calibration:
            model, plans, clock = make(), [], Clock()
            state = search(model, images, args, method, algorithm)
            first = clock.read()
            for budget in args.budget:
                clock = Clock()
                config = mtq.get_auto_quantize_config(state, {"effective_bits": budget}) | {"algorithm": algorithm}
                seconds = {k: round(first[k] + v, 2) for k, v in clock.read().items()}
                quantized = mtq.quantize(make(), copy.deepcopy(config), lambda m: [m(x) for x, _ in images.batches()])
                plans.append({"budget": budget, "bits": read(config, weights(make())), "seconds": seconds, "own": scores(quantized, images)})
            save(args, f"modelopt_{method}_{algorithm}", modelopt.__version__, plans, float=scores(make(), images))


if __name__ == "__main__":
    main()
