"""Brevitas: quantization after training with its example pipeline, judged end to end on our test images.

    QSEARCH_DATA=... PEER/bin/python -m benchmarks.peers.brevitas OUT.json [--model resnet20] [--options int4/uint8 ...] [--methods gptq ...]

Its layer-wise backend: weights symmetric with a scale for each output channel, each layer's input rounded (the first and the last layer
as all others), sums of residual branches left in float.  Batch norms are merged, and its cross-layer equalization is on unless said.
OUT.json is added to; rows that it holds are not run again.
"""
import argparse
import json
import resource
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import torch
from brevitas.graph.quantize import preprocess_for_quantize
from brevitas_examples.imagenet_classification.ptq import ptq_common as ptq
from brevitas_examples.imagenet_classification.ptq.learned_round_utils import apply_learned_round

from benchmarks.peers.common import Images, outputs
from benchmarks.peers.models import MODELS

METHODS = ("minmax", "mse", "bias", "gptq", "gpfq", "qronos", "adaround")  # each but the first two on ranges by "mse", bias correction after it
LEARNED = {"learned_round": "hard_sigmoid_round", "learned_round_loss": "regularised_mse", "learned_round_mode": "layerwise",
           "learned_round_iters": 1000, "learned_round_lr_scheduler": "LinearLR", "learned_round_lr": 1e-3, "learned_round_batch_size": 32}


def quantized(model, images: Images, option: str, method: str, equalize: bool, rate: float) -> torch.nn.Module:
    """The network in the formats of an option."""
    weights, acts = (int(t.removeprefix("ternary").lstrip("uint") or 2) for t in option.split("/"))
    ranges = "stats" if method == "minmax" else "mse"
    model = preprocess_for_quantize(model, equalize_iters=20 if equalize else 0, equalize_merge_bias=equalize, merge_bn=True)
    model = ptq.quantize_model(
        model, "layerwise", weight_bit_width=weights, act_bit_width=acts, bias_bit_width=32, weight_quant_granularity="per_channel",
        act_quant_percentile=99.999, act_quant_type="asym", scale_factor_type="float_scale", quant_format="int",
        layerwise_first_last_bit_width=weights, weight_narrow_range=option.startswith("ternary"), weight_param_method=ranges,
        act_param_method=ranges, act_scale_computation_type="static").eval()
    loader = images.batches(64)
    with torch.no_grad():
        model(loader[0][0])
    ptq.calibrate(loader, model)
    if method == "gptq":
        ptq.apply_gptq(loader, model, act_order=True, use_quant_activations=True, create_weight_orig=True)
    elif method == "gpfq":
        ptq.apply_gpfq(loader, model, act_order=True)
    elif method == "qronos":
        ptq.apply_qronos(model, loader)
    elif method == "adaround":
        apply_learned_round(model, loader, SimpleNamespace(**LEARNED | {"learned_round_lr": rate}))
    if method not in ("minmax", "mse"):
        ptq.apply_bias_correction(loader, model)
    return model


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--model", default="resnet20", choices=sorted(MODELS))
    p.add_argument("--options", nargs="*", default=["int8/uint8", "int4/uint8", "int4/uint4", "int2/uint4"])
    p.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    p.add_argument("--no-equalize", action="store_true", help="without its cross-layer equalization")
    p.add_argument("--rate", type=float, default=1e-3, help="learning rate of its learned rounding")
    args = p.parse_args()
    torch.set_num_threads(1)
    images = Images(args.model, 0)
    x, y = images.sets["tests"]
    right = outputs(MODELS[args.model].make(), x).argmax(1) == y
    for option in args.options:
        for method in args.methods:
            rows = json.loads(args.out.read_text()) if args.out.exists() else []
            name = f"Brevitas {method}" + (" without CLE" if args.no_equalize else "") + (f", rate {args.rate:g}" if args.rate != 1e-3 else "")
            if any((r["model"], r["option"], r["method"]) == (args.model, option, name) for r in rows):
                continue
            start = time.process_time()
            try:
                model = quantized(MODELS[args.model].make(), images, option, method, not args.no_equalize, args.rate)
                mine = outputs(model, x).argmax(1) == y
            except Exception as e:  # a method that this version cannot carry out is a row, too
                print(args.model, option, name, f"{type(e).__name__}: {e}", flush=True)
                continue
            rows.append({"model": args.model, "option": option, "method": name, "version": version("brevitas"), "right": mine.int().tolist(),
                         "float": right.int().tolist(), "seconds": time.process_time() - start,
                         "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})
            args.out.write_text(json.dumps(rows))
            print(args.model, option, name, 100 * float(mine.float().mean()), round(rows[-1]["seconds"], 1), flush=True)


if __name__ == "__main__":
    main()
