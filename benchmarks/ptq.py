"""Quantization after training, method by method, on the CIFAR-10 networks: accuracy, drop, seconds, memory, beside peers.

    QSEARCH_DATA=... python -m benchmarks.ptq ROWS.json [--model resnet20] [--options int4/uint4 ...] [--methods BRECQ ...] [--peers PEER.json]

Every layer has the option, the first and the last too.  256 training images calibrate; the 500 test images are judged by the float and the
quantized net, and the standard error is that of the paired difference.  Each row runs in a process of its own (processor seconds
without imports and capture; memory: the peak beyond what the process had before).  ROWS.json is added to; rows that it holds are not
run again.  PEER.json comes from benchmarks/peers/brevitas.py or torchao.py.
"""
import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

import quant
from benchmarks.peers.common import Images, outputs
from benchmarks.peers.models import MODELS
from ir import Plan
from ir.store import save_text

OPTIONS = ("int8/uint8", "int6/uint6", "int4/uint8", "int4/uint4", "int3/uint4", "int2/uint4", "ternary/uint8")
METHODS = {  # name -> (equalized first, observer of activations, arguments of quantize); "ranges": of activations, by the outputs
    "RTN minmax": (False, "minmax", {"weight_range": "minmax", "bias_correction": False}),
    "RTN mse": (False, "mse", {"bias_correction": False}),
    "bias": (False, "mse", {}),
    "analytic bias": (False, "mse", {"bias_correction": "analytic"}),
    "CLE": (True, "mse", {}),
    "bias, ranges": (False, "mse", {"act_range": "output"}),
    "GPTQ": (False, "mse", {"rounding": "gptq"}),
    "GPTQ, ranges": (False, "mse", {"rounding": "gptq", "act_range": "output"}),
    "CLE, GPTQ": (True, "mse", {"rounding": "gptq"}),
    "AdaRound, ranges": (False, "mse", {"rounding": "adaround", "act_range": "output"}),
    "BRECQ": (False, "mse", {"rounding": "brecq"}),
    "BRECQ, ranges": (False, "mse", {"rounding": "brecq", "act_range": "output"}),
    "BRECQ, Fisher, ranges": (False, "mse", {"rounding": "brecq", "settings": quant.Reconstruction(fisher=True), "act_range": "output"}),
    "QDrop": (False, "mse", {"rounding": "qdrop"}),
    "QDrop, ranges": (False, "mse", {"rounding": "qdrop", "act_range": "output"}),
}


def run(model: str, option: str, method: str) -> dict:
    """One row; "right" and "float" say for each test image whether the quantized and the float net have its class."""
    torch.set_num_threads(1)
    images = Images(model, 0)
    net = quant.load_model(MODELS[model].make(), example=images.x[:2])
    x, y = images.sets["tests"]
    with torch.no_grad():
        right = outputs(net, x).argmax(1) == y
    equalized, observer, options = METHODS[method]
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net = quant.equalize(net) if equalized else net
    q = quant.quantize(net, Plan.uniform(net.layers, option), quant.calibrate(net, images.x, observer), **options)
    seconds, memory = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    with torch.no_grad():
        mine = outputs(q, x, 100).argmax(1) == y
    return {"model": model, "option": option, "method": method, "right": mine.int().tolist(), "float": right.int().tolist(),
            "seconds": seconds, "memory_mb": memory / 1024}


def report(rows: list[dict]) -> str:
    """Markdown: for each model and option the methods, best first."""
    lines = ["| network | option | method | accuracy | drop | CPU s | MB |", "|---" * 7 + "|"]
    order = {o: i for i, o in enumerate(OPTIONS)}
    for r in sorted(rows, key=lambda r: (r["model"], order.get(r["option"], 99), -sum(r["right"]))):
        lost = torch.tensor(r["float"]).double() - torch.tensor(r["right"]).double()
        error = 100 * float(lost.std()) / math.sqrt(len(lost))
        lines.append(f"| {r['model']} | {r['option']} | {r['method']} | {100 * sum(r['right']) / len(lost):.1f} | {100 * float(lost.mean()):.1f} "
                     f"± {error:.1f} | {r['seconds']:.0f} | {r['memory_mb']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", type=Path, help="file of rows, outside the repository")
    p.add_argument("--model", nargs="*", default=["resnet20"], choices=sorted(MODELS))
    p.add_argument("--options", nargs="*", default=OPTIONS)
    p.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    p.add_argument("--peers", nargs="*", type=Path, default=[], help="rows of peers, for the table")
    p.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.row:
        print(json.dumps(run(*args.row)))
        return
    rows = json.loads(args.rows.read_text()) if args.rows.exists() else []
    done = {(r["model"], r["option"], r["method"]) for r in rows}
    for key in [(m, o, k) for m in args.model for o in args.options for k in args.methods]:
        if key in done:
            continue
        answer = subprocess.run([sys.executable, "-m", "benchmarks.ptq", str(args.rows), "--row", *key], capture_output=True, text=True)
        if answer.returncode:
            print(*key, (answer.stderr.strip().splitlines() or ["?"])[-1], file=sys.stderr, flush=True)
            continue
        rows.append(json.loads(answer.stdout.splitlines()[-1]))
        save_text(args.rows, json.dumps(rows))
        print(*key, 100 * sum(rows[-1]["right"]) / len(rows[-1]["right"]), f"{rows[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    print(report(rows + [r for f in args.peers for r in json.loads(f.read_text())]))


if __name__ == "__main__":
    main()
