"""Whole nets on a CPU: this project's programs against ONNX Runtime and torch, in turns in one process.

    QSEARCH_DATA=... python -m benchmarks.cpu_nets FOLDER [--nets resnet8 vit ...] [--plans w8a8 mixed4] [--threads 1 2] [--batches 1 32]
                                                   [--rounds 25] [--limit 60] [--peers onnx torch none] [--json FILE]

FOLDER keeps graphs and the peers' files between runs (`benchmarks.cpu_graphs`).  Each line: microseconds of a sample, median and
quartiles over the rounds, and how many times faster than the fastest int8 form of ONNX Runtime.  Of each kind of peer (ONNX Runtime's
int8, its float32, torch's int8, its float32) the ways that three rounds show to be far from the fastest are timed no further.  Our answers
are compared with `ir.run` before anything is timed.  One thread is timed in processor time, more in wall time; pools of threads in one
process wait for work on each other's cores, so with more than one thread ask for ours (--peers none) and for the peers (--plans without a
name) in commands of their own.
"""
import argparse
import importlib
import os
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import cpu_graphs, cpu_turns
from benchmarks.cpu_ours import ours, samples
from ir import UserError
from quant import load_model

FIRST, NEAR = 3, 1.25  # rounds that all ways have; how much slower than its kind's fastest a way may be there to have all others
PEERS = {"onnx": "onnxruntime", "torch": "torch"}


def candidates(net: str, plans, batch: int, threads: int, folder: Path, peers) -> dict[str, Callable[[], object]]:
    """name -> a call that computes one batch."""
    graphs = {plan: cpu_graphs.graph(net, plan, folder) for plan in ("w8a8", *plans)}
    ways = {f"ours {plan}": ours(graphs[plan], samples(graphs[plan], batch), threads) for plan in plans}
    case = cpu_graphs.CASES[net]
    fit = case.data()["calib_x"][:cpu_graphs.SAMPLES]
    if "onnx" in peers:
        door, source = importlib.import_module("benchmarks.cpu_onnx"), cpu_graphs.float_onnx(net, folder)
        files = door.int8_files(net, source, graphs["w8a8"], fit, folder)
        for name, path in {**{f"ORT int8 {k}": v for k, v in files.items()}, "ORT fp32": source}.items():
            ways[name] = door.bound(door.session(path, threads, batch), batch)
    if "torch" in peers:
        x = torch.from_numpy(fit)
        few = x[torch.arange(batch) % len(x)]
        ways |= importlib.import_module("benchmarks.cpu_torch").ways(load_model(case.model(), x[:2]), few, x)
    return ways


def contenders(times: dict[str, cpu_turns.Times]) -> list[str]:
    """The ways that a few rounds do not rule out: ours, and of each kind of peer those that are within NEAR of its fastest."""
    kinds: dict[str, list[str]] = {}
    for k in times:
        kinds.setdefault(k if k.startswith("ours") else " ".join(k.split()[:2]), []).append(k)
    return [k for ways in kinds.values() for k in ways if times[k].us <= NEAR * min(times[w].us for w in ways)]


def best_int8(times: dict[str, cpu_turns.Times]) -> str | None:
    """The fastest int8 form of ONNX Runtime."""
    return min((k for k in times if k.startswith("ORT int8")), key=lambda k: times[k].us, default=None)


def table(title: str, times: dict[str, cpu_turns.Times]) -> None:
    """One line a way, the fastest first."""
    best = best_int8(times)
    print(title)
    for k, t in sorted(times.items(), key=lambda i: i[1].us):
        ratio = f"{times[best].us / t.us:6.2f} x" if best else ""
        print(f"  {k:36} {t.us:11.1f} us ({t.low:.1f} .. {t.high:.1f})  {ratio}", flush=True)


def summary(found: list[dict]) -> None:
    """Of each of our ways: the geometric mean of the ratios over nets, and the lowest."""
    groups: dict[tuple, dict[str, float]] = {}
    for r in found:
        if r["way"].startswith("ours") and r.get("ratio"):
            groups.setdefault((r["way"], r["threads"], r["batch"]), {})[r["net"]] = r["ratio"]
    for (way, threads, batch), ratios in groups.items():
        low = min(ratios, key=ratios.get)
        print(f"{way}, {threads} thread{'s' * (threads > 1)}, batch {batch}: geometric mean over {len(ratios)} nets "
              f"{cpu_turns.geometric_mean(ratios.values()):.2f} x ONNX Runtime int8, lowest {ratios[low]:.2f} ({low})")


def available(peers) -> list[str]:
    """Those that are installed; a line about each that is not."""
    found = []
    for p in peers:
        if p != "none" and importlib.util.find_spec(PEERS[p]) is None:
            print(f"{PEERS[p]} is not installed: no times of it")
        elif p != "none":
            found.append(p)
    return found


def measure(args, net: str, threads: int, batch: int, peers) -> list[dict]:
    """Rows of one net, one thread count and one batch."""
    try:
        ways = candidates(net, args.plans, batch, threads, args.folder, peers)
    except UserError as e:
        print(f"{net}, {threads} threads, batch {batch}: {e}", flush=True)
        return []
    times = cpu_turns.turns(ways, FIRST, args.block, threads, args.limit)
    times |= cpu_turns.turns({k: ways[k] for k in contenders(times)}, args.rounds, args.block, threads, args.limit)
    times = {k: t.per(batch) for k, t in times.items()}
    table(f"{net}, {threads} thread{'s' * (threads > 1)}, batch {batch}: a sample", times)
    best = best_int8(times)
    return [r | {"ratio": times[best].us / r["us"] if best else None}
            for r in cpu_turns.rows(times, net=net, threads=threads, batch=batch)]


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--nets", nargs="+", choices=list(cpu_graphs.CASES), default=list(cpu_graphs.CASES))
    p.add_argument("--plans", nargs="*", choices=cpu_graphs.PLANS, default=list(cpu_graphs.PLANS))
    p.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    p.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    p.add_argument("--rounds", type=int, default=25)
    p.add_argument("--block", type=float, default=0.01, help="seconds of calls that are timed as one")
    p.add_argument("--limit", type=float, default=60, help="seconds after which no further round of a net begins")
    p.add_argument("--peers", nargs="+", choices=[*PEERS, "none"], default=list(PEERS))
    p.add_argument("--json", type=Path)
    return p.parse_args()


def main() -> None:
    args = arguments()
    torch.set_grad_enabled(False)
    os.environ["TVM_NUM_THREADS"] = str(max(args.threads))  # its pool never grows
    peers, found = available(args.peers), []
    for threads in args.threads:
        torch.set_num_threads(threads)
        for batch in args.batches:
            for net in args.nets:
                found += measure(args, net, threads, batch, peers)
                cpu_turns.write(args.json, found)
    summary(found)


if __name__ == "__main__":
    main()
