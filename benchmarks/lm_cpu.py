"""Tokens a second of compiled language models, end to end, and the part that they have of the bound by plain reading of their weights.

    python -m benchmarks.lm_cpu [--shapes 370M 1.3B 2.7B] [--threads 1 2] [--forms base3 two_bit] [--rounds 30] [--fast 0.2] [--json FILE]

A token is all there is: embedding, layers, head, and the choice of the next token (greedy; --top-k draws).  Weights are random, their
amount and the work are those of the shape.  The bound of a form is 1 / the time in which as many threads read its packed weights, in that
of the ways of READS whose fast blocks are fastest.  Tokens and reading take turns in short blocks in one process; two numbers stand for
each part: of the fast blocks of both (what a quiet machine does: others take bandwidth at times), and in brackets the median over the
rounds with its quartiles.
"""
import argparse
import ctypes
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import codegen.lm
from benchmarks import cpu_turns
from benchmarks.cpu_gemv import fastest, ratio
from benchmarks.lm_programs import SHAPES, Maker
from codegen.deploy.toolchain import HOST, compilers
from codegen.lm.layout import Layout, sections

READS = (1, 0), (1, 4096), (4, 0), (4, 2048)  # streams of a thread, bytes prefetched ahead
BLOCK_S = 0.02
SEED = 1


def reader(work: Path):
    """read_all of lm_read.c, compiled for this machine."""
    source, library = Path(__file__).with_name("lm_read.c"), work / "read.so"
    subprocess.run([*compilers(HOST)[0], "-O2", "-march=native", "-Wno-psabi", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    read = ctypes.CDLL(str(library)).read_all
    read.restype, read.argtypes = ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
    return read


def clock_of(threads: int):
    """This thread's processor time, which waiting for a core does not change, where there is one; else the wall's."""
    return time.thread_time if threads == 1 else time.perf_counter


def reading(read, pool: ThreadPoolExecutor, weights: np.ndarray, threads: int, streams: int, ahead: int):
    """times -> seconds of one reading of all weights by so many threads at once."""
    each, start, clock = len(weights) // threads // 64 * 64, weights.ctypes.data, clock_of(threads)

    def seconds(times: int) -> float:
        begin = clock()
        if threads == 1:
            read(start, each, streams, ahead, times)
        else:
            list(pool.map(lambda t: read(start + t * each, each, streams, ahead, times), range(threads)))
        return (clock() - begin) / times
    return seconds


def speaking(model, threads: int, top_k: int):
    """times -> seconds of one token."""
    clock = clock_of(threads)
    model.sampler(top_k, 0.8, SEED)
    model.step(SEED)
    step, choose, handle = model._calls["step"], model._calls["next"], model.handle

    def seconds(times: int) -> float:
        begin = clock()
        for _ in range(times):
            step(handle, choose(handle), 1)
        return (clock() - begin) / times
    return seconds


def measure(folder: Path, read, threads: int, rounds: int, top_k: int) -> tuple[dict[str, list[float]], int]:
    """{way: seconds of one token in each round}, bytes of weights; every second round goes backwards."""
    model = codegen.lm.load(folder, threads)
    weights = model.weights()
    with ThreadPoolExecutor(threads) as pool:
        ways = {"tokens": speaking(model, threads, top_k)} | {f"read {s} {a}": reading(read, pool, weights, threads, s, a) for s, a in READS}
        times = {k: max(1, round(BLOCK_S / way(1))) for k, way in ways.items()}
        seen: dict[str, list[float]] = {k: [] for k in ways}
        for r in range(rounds):
            for k in list(ways)[::1 if r % 2 == 0 else -1]:
                seen[k].append(ways[k](times[k]))
    return seen, model.manifest["weight_bytes"]


def report(shape: str, form: str, threads: int, seen: dict[str, list[float]], size: int, part: float) -> dict:
    """Prints a line, and gives it as a row."""
    read = min((v for k, v in seen.items() if k.startswith("read")), key=lambda v: fastest(v, part))
    token, bound = fastest(seen["tokens"], part), fastest(read, part)
    low, mid, high = (1 / s for s in np.quantile(seen["tokens"], (0.75, 0.5, 0.25)))
    print(f"{shape:5s} {form:8s} threads {threads}: {1 / token:7.1f} tokens/s ({mid:.1f}, {low:.1f}..{high:.1f}), {size / token / 1e9:5.1f} GB/s of "
          f"{size / bound / 1e9:5.1f}, of the bound {ratio(read, seen['tokens'], part)}", flush=True)
    return {"shape": shape, "form": form, "threads": threads, "bytes": size, "tokens_s": 1 / token, "median_tokens_s": mid, "low": low, "high": high,
            "share": bound / token, "read_gb_s": size / bound / 1e9}


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    ask.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    ask.add_argument("--forms", nargs="+", default=["base3", "two_bit"])
    ask.add_argument("--rounds", type=int, default=30)
    ask.add_argument("--fast", type=float, default=0.2, help="the part of blocks that counts as fast")
    ask.add_argument("--top-k", type=int, default=1)
    ask.add_argument("--json", type=Path)
    a = ask.parse_args()
    found = []
    for shape in a.shapes:
        maker = Maker(*SHAPES[shape])
        program = maker.program()
        for form, threads in [(f, t) for f in a.forms for t in a.threads]:
            with tempfile.TemporaryDirectory() as work:
                source = maker.packed(sections(program, Layout.of(program, form, threads)))
                codegen.lm.build(program, Path(work) / "lm", form=form, threads=threads, packed=source)
                seen, size = measure(Path(work) / "lm", reader(Path(work)), threads, a.rounds, a.top_k)
            found.append(report(shape, form, threads, seen, size, a.fast))
    cpu_turns.write(a.json, found)


if __name__ == "__main__":
    main()
