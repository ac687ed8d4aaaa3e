"""torchao: static 8-bit quantization of an exported network (PT2E, x86 quantizer), judged end to end on our test images.

    QSEARCH_DATA=... PEER/bin/python -m benchmarks.peers.torchao OUT.json [--model resnet20]

Weights of 8 bits with a scale for each output channel and activations of 8 bits are what this quantizer has for convolutions, so there is
one row.  OUT.json is added to.
"""
import argparse
import json
import resource
import time
from importlib.metadata import version
from pathlib import Path

import torch
import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from benchmarks.peers.common import Images, outputs
from benchmarks.peers.models import MODELS


def quantized(model, images: Images) -> torch.nn.Module:
    """The exported network, observed on the calibration images, with quantized and dequantized values throughout."""
    free = torch.export.Dim("batch")
    program = torch.export.export(model, (images.x[:2],), dynamic_shapes=({0: free},)).module()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(program, quantizer)
    outputs(prepared, images.x, 64)
    return convert_pt2e(prepared)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--model", default="resnet20", choices=sorted(MODELS))
    args = p.parse_args()
    torch.set_num_threads(1)
    images, (x, y) = (found := Images(args.model, 0)), found.sets["tests"]
    right = outputs(MODELS[args.model].make(), x).argmax(1) == y
    start = time.process_time()
    model = quantized(MODELS[args.model].make(), images)
    seconds = time.process_time() - start
    mine = outputs(model, x).argmax(1) == y
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    rows.append({"model": args.model, "option": "int8/uint8", "method": "torchao PT2E", "version": version("torchao"), "right": mine.int().tolist(),
                 "float": right.int().tolist(), "seconds": seconds, "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})
    args.out.write_text(json.dumps(rows))
    print(args.model, 100 * float(mine.float().mean()), round(seconds, 1))


if __name__ == "__main__":
    main()
