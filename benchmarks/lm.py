"""Weight-only quantization of the language model stories260K: how many nats per token each setting costs.

    QSEARCH_DATA=... python -m benchmarks.lm OUT.json [--settings 4g32 3g32 2g32 4] [--methods rtn gptq gptq+awq ...] [--tune 100]
    QSEARCH_DATA=... python -m benchmarks.lm OUT.json --table PEER.json ...       # prints what is there as a table

Calibration: 32 sequences of 256 tokens; score: 157 others (40192 tokens), the same for every row, so drops are paired.  All
linear layers of the blocks are quantized, the head stays in float, as other tools leave it.  The net is float: weights are codes,
arithmetic is float32.  Each row runs in a process of its own, which begins with the net and the sequences in memory; seconds are
processor seconds of one thread.
"""
import argparse
import functools
import json
import multiprocessing
import resource
import time
from pathlib import Path

import torch

from quant import capture
from quant.observers import Calibration
from quant.post.weight_only import weight_only
from quant.post.weight_tune import distilled

from . import lm_data

SETTINGS = ("8", "4", "4g64", "4g32", "4g16", "3", "3g64", "3g32", "3g16", "2g64", "2g32", "2g16")
METHODS = ("rtn", "rtn+awq", "rtn+lorc", "gptq", "gptq+awq", "gptq+lorc", "rtn+awq+lorc")


@functools.cache
def common() -> tuple:
    """What all rows share: the net, sequences to fit to and to score, the score in float."""
    torch.set_num_threads(1)
    fit, test = lm_data.split()
    net = capture(lm_data.model(), fit[:1, :-1])
    return net, fit[:, :-1], test, lm_data.score(net, test)


def row(setting: str, method: str, symmetric: bool, weight_range: str, tune: int, rank: int) -> dict:
    """One line of the table."""
    net, fit, test, reference = common()
    bits, g, group = setting.partition("g")
    options = {n: f"int{bits}{g}{group}/-" for n in net.layers if n != "head"}
    start = time.process_time()
    w = weight_only(net, Calibration(fit, {}), options, method, symmetric, weight_range, rank)
    if tune:
        w = distilled(w, net, fit, tune)
    seconds, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    drop, error = lm_data.score(w.net, test).drop(reference)
    return {"setting": setting, "method": method + ("+tune" if tune else ""), "variant": "sym" if symmetric else "asym", "range": weight_range,
            "drop": drop, "error": error, "bytes": w.layer_bytes, "seconds": seconds, "peak_mib": peak}


def table(rows: list[dict]) -> str:
    """Markdown, setting by setting, the least drop first."""
    lines = ["| bits, group | what | zero points | nats lost | bytes | seconds | peak MiB |", "|---|---|---|---|---|---|---|"]
    for setting in dict.fromkeys(r["setting"] for r in rows):
        for r in sorted((r for r in rows if r["setting"] == setting and "drop" in r), key=lambda r: r["drop"]):
            what = r["peer"] if "peer" in r else f"**{r['method']}**"
            lines.append(f"| {setting} | {what} | {r['variant']} | {r['drop']:.4f} ± {r['error']:.4f} | {r.get('bytes', '')} | "
                         f"{r['seconds']:.1f} | {r['peak_mib']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--settings", nargs="*", default=SETTINGS)
    p.add_argument("--methods", nargs="*", default=METHODS)
    p.add_argument("--asymmetric", action="store_true")
    p.add_argument("--range", default="output")
    p.add_argument("--tune", type=int, default=0, help="steps of training all scales together")
    p.add_argument("--rank", type=int, default=4)
    p.add_argument("--table", nargs="*", type=Path, help="print the file, and these of other tools")
    args = p.parse_args()
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    if args.table is not None:
        print(table(rows + [r for f in args.table for r in json.loads(f.read_text()) if r["setting"] != "float"]))
        return
    for setting in args.settings:
        for method in args.methods:
            common()
            with multiprocessing.get_context("fork").Pool(1) as pool:
                rows.append(pool.apply(row, (setting, method, not args.asymmetric, args.range, args.tune, args.rank)))
            print(rows[-1], flush=True)
            args.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
