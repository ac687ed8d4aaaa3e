"""Packed weights by one vector of activations, weights in memory: GB/s, part of the plain read bandwidth, and what ggml's kernels take.

    TVM_NUM_THREADS=2 python -m benchmarks.cpu_gemv [--shapes 2560x2560 ...] [--threads 1 2] [--rounds 500] [--fast 0.1] [--ggml FOLDER]
                                                    [--json FILE]

Each way runs through matrices that lie in POOL bytes of huge pages, one after the other, so that every weight comes from memory.  The
ways take turns in one process, in many short blocks.  Two numbers stand for each ratio: of the fast blocks of both, by default the fastest
tenth (what a quiet machine does: others take bandwidth at times), and in brackets the median over the rounds with its quartiles.
Everything is compiled by TVM; reading is the sum of all words, in that of the four ways of READS whose fast blocks are fastest.  Nobody's
time contains the quantization of activations.
"""
import argparse
import contextlib
import mmap
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import tvm
from tvm import tirx
from tvm.ir import Call, GlobalVar, PointerType, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from benchmarks import cpu_gemv_ggml, cpu_turns
from codegen import lowbit
from codegen.lowbit.formats import LANES, LINE
from codegen.lowbit.vectors import Accumulator, prefetch
from codegen.tvm import parse_target

POOL = 160 << 20        # bytes of the matrices that one way runs through: five times a large cache
BLOCK_BYTES = 4 << 20   # of one block of a round
HUGE = 2 << 20
COLLAPSE = 25            # Linux 6.1 and later: make huge pages of what is there, now
STEP = 2 * LINE         # bytes that reading takes of a stream at once
READS = (1, 0), (1, 4096), (4, 0), (4, 2048)  # streams, bytes prefetched ahead: which is fastest depends on what else goes on
READ = "read"
SHAPES = ("2560x2560", "2560x6912", "4096x11008")  # rows x depth


@dataclass
class Way:
    """A matrix by vector product: bytes of one matrix, and run(first, count) that makes `count` of them from the first-th."""
    bytes: int
    run: Callable[[int, int], object]
    at: int = 0

    @property
    def matrices(self) -> int: return POOL // self.bytes

    @property
    def block(self) -> int: return max(1, min(self.matrices, BLOCK_BYTES // self.bytes))

    def seconds(self, clock: Callable[[], float]) -> float:
        """Of one matrix, in the next block of them."""
        if self.at + self.block > self.matrices:
            self.at = 0
        start = clock()
        self.run(self.at, self.block)
        took = clock() - start
        self.at += self.block
        return took / self.block


def pool(matrix: np.ndarray) -> np.ndarray:
    """Copies of a matrix's bytes in POOL bytes of huge pages, as far as the system has them."""
    memory = mmap.mmap(-1, POOL + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory gets no huge pages
    memory.madvise(mmap.MADV_HUGEPAGE)
    everything = np.frombuffer(memory, np.uint8)
    start = -everything.ctypes.data % HUGE
    out = everything[start:start + POOL]
    count = POOL // len(matrix)
    out[:count * len(matrix)].reshape(count, -1)[:] = matrix
    with contextlib.suppress(OSError):
        memory.madvise(COLLAPSE, start, POOL)
    return out


def huge_part(pools: int) -> float:
    """How much of so many pools is in huge pages."""
    maps = Path("/proc/self/smaps").read_text()
    return sum(int(n) for n in re.findall(r"AnonHugePages: +(\d+) kB", maps)) * 1024 / (pools * POOL)


def program(body, tasks: int, x: np.ndarray, y: np.ndarray, stride: int):
    """main(x, w, y, first, count, threads) that calls body(x, w, y, at, begin, end) for matrices at w[at], tasks split over threads."""
    kinds = {"x": (x.size, str(x.dtype)), "w": (POOL, "uint8"), "y": (y.size, str(y.dtype))}
    inner = GlobalVar("matrix")
    with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
        T.func_name("matrix")
        T.func_attr({"tirx.noalias": True})
        pointers = {n: T.arg(n, tirx.Var(n, PointerType(PrimType(d)))) for n, (_, d) in kinds.items()}
        at, begin, end = T.arg("at", T.int64()), T.arg("begin", T.int32()), T.arg("end", T.int32())
        body(*(T.decl_buffer((kinds[n][0],), kinds[n][1], data=p) for n, p in pointers.items()), at, begin, end)
    kernel = builder.get()
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name("main")
        handles = {n: T.arg(n, T.handle()) for n in kinds}
        first, count, threads = (T.arg(n, T.int32()) for n in ("first", "count", "threads"))
        buffers = [T.match_buffer(h, (kinds[n][0],), kinds[n][1]) for n, h in handles.items()]
        with T.serial(first, first + count) as i, T.attr(0, "pragma_parallel_launch_point", 1), T.parallel(threads) as t:
            args = [b.data for b in buffers] + [i.astype("int64") * stride, t * tasks // threads, (t + 1) * tasks // threads]
            T.evaluate(Call(inner, args, ret_ty=PrimType("void")))
    return tvm.compile(tvm.IRModule({"main": builder.get(), inner: kernel}), target=parse_target("llvm"))["main"]


def way(body, tasks: int, x: np.ndarray, w: np.ndarray, y: np.ndarray, stride: int, threads: int) -> Way:
    """The Way that `body` is; its first result is in y."""
    f = program(body, tasks, x, y, stride)
    xs, ws, ys = tvm.runtime.tensor(x), tvm.runtime.from_dlpack(w), tvm.runtime.tensor(y)
    f(xs, ws, ys, 0, 1, threads)
    y[:] = ys.numpy()
    return Way(stride, lambda first, count: f(xs, ws, ys, first, count, threads))


def ours(name: str, rows: int, depth: int, w: np.ndarray, threads: int) -> dict[str, Way]:
    """Our product, and reading the same bytes.  Both results are checked."""
    isa, f = lowbit.isa_of(parse_target("llvm")), lowbit.FORMATS[name]
    g, x, y = lowbit.Geometry(f, rows, depth), np.random.default_rng(1).integers(0, 256, depth, dtype=np.uint8), np.zeros(rows, np.int32)
    matrix = lowbit.pack(w, name)[0]
    weights = pool(matrix)

    def product(x, w, y, at, begin, end):
        def store(acc, m, row, lanes):
            T.buffer_store(y, acc.vload([0], f"int32x{lanes}"), [T.ramp(row, 1, lanes)])
        lowbit.emit(isa, g, x, lambda m: T.int32(0), w, at, store, begin, end)
    found = {name: way(product, lowbit.tasks(g), x, weights, y, len(matrix), threads)}
    assert np.array_equal(y, w @ x.astype(np.int64)), name
    for streams, ahead in READS:
        stream = len(matrix) // threads // streams // STEP * STEP
        total = np.zeros(LANES * threads, np.int32)
        key = f"{READ} {name}, {streams} streams" + f", {ahead} ahead" * bool(ahead)
        found[key] = way(read(streams, ahead, stream), threads, x, weights, total, len(matrix), threads)
        assert total.sum(dtype=np.int32) == matrix[:stream * streams * threads].view(np.int32).sum(dtype=np.int32), key
    for i, w in enumerate(found.values()):  # far apart: nobody finds in the cache what another has just read
        w.at = w.matrices * i // len(found)
    return found


def read(streams: int, ahead: int, stream: int) -> Callable:
    """The sum of the words of a part of a matrix, read as so many streams of so many bytes, prefetched `ahead` or not."""
    def body(x, w, y, at, begin, end):
        sums = [[Accumulator(LANES) for _ in range(STEP // LINE)] for _ in range(streams)]
        everything = [s for stream_sums in sums for s in stream_sums]
        for s in everything:
            s.clear()
        start = T.bind(at + begin.astype("int64") * (streams * stream))
        with T.serial(stream // STEP) as i:
            for n, j in [(n, j) for n in range(streams) for j in range(STEP // LINE)]:
                place = T.bind(start + (n * stream + i.astype("int64") * STEP + j * LINE))
                if ahead:
                    prefetch(w, place + ahead)
                sums[n][j].set(sums[n][j].value + T.reinterpret(f"int32x{LANES}", w.vload([place], f"uint8x{LINE}")))
        T.buffer_store(y, reduce(add, (s.value for s in everything)), [T.ramp(begin * LANES, 1, LANES)])
    return body


def rounds(ways: dict[str, Way], count: int, threads: int) -> dict[str, list[float]]:
    """{way: seconds of one matrix in each round}; every second round goes backwards."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    seen: dict[str, list[float]] = {k: [] for k in ways}
    for w in ways.values():
        w.seconds(clock)
    for r in range(count):
        for k in list(ways)[::1 if r % 2 == 0 else -1]:
            seen[k].append(ways[k].seconds(clock))
    return seen


def fastest(seconds: list[float], part: float) -> float: return float(np.quantile(seconds, part))


def ratio(a: list[float], b: list[float], part: float) -> str:
    """a / b of the fast blocks; and round by round, the median and the quartiles."""
    low, mid, high = statistics.quantiles([x / y for x, y in zip(a, b)], n=4)
    return f"{fastest(a, part) / fastest(b, part):5.2f} ({mid:.2f}, {low:.2f}..{high:.2f})"


def report(shape: str, threads: int, ways: dict[str, Way], seen: dict[str, list[float]], part: float) -> list[dict]:
    """Prints a table, and gives its rows."""
    found = []
    print(f"\n{shape}, threads {threads}: microseconds and GB/s of the fastest {part:.0%} of blocks; part of the read bandwidth; "
          "time of others / ours")
    for name, way in ways.items():
        fast = fastest(seen[name], part)
        line = f"  {name:30s} {1e6 * fast:8.1f} us  {way.bytes / fast / 1e9:5.1f} GB/s"
        if name in cpu_gemv_ggml.LIKE:
            read = min((v for k, v in seen.items() if k.startswith(f"{READ} {name}")), key=lambda v: fastest(v, part))
            line += f"  of read {ratio(read, seen[name], part)}"
            line += "".join(f"  {o} {ratio(seen[o], seen[name], part)}" for o in cpu_gemv_ggml.LIKE[name] if o in seen)
        print(line, flush=True)
        found += cpu_turns.rows({name: cpu_turns.summary([1e6 * s for s in seen[name]], way.block)}, shape=shape, threads=threads,
                                bytes=way.bytes, fastest=round(1e6 * fast, 3))
    return found


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("--shapes", nargs="+", default=SHAPES)
    ask.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    ask.add_argument("--rounds", type=int, default=500)
    ask.add_argument("--fast", type=float, default=0.1, help="the part of blocks that counts as fast")
    ask.add_argument("--ggml", type=Path, help="the folder of libggml-cpu.so, if not that of llama_cpp in this environment")
    ask.add_argument("--json", type=Path)
    a = ask.parse_args()
    if max(a.threads) > tvm.runtime.num_threads():
        raise SystemExit(f"TVM has {tvm.runtime.num_threads()} threads here: set TVM_NUM_THREADS={max(a.threads)}")
    ggml, found, r = cpu_gemv_ggml.load(a.ggml), [], np.random.default_rng(0)
    for shape in a.shapes:
        rows, depth = map(int, shape.split("x"))
        for threads in sorted(a.threads):
            ways: dict[str, Way] = {}
            for name, f in lowbit.FORMATS.items():
                ways |= ours(name, rows, depth, r.integers(f.lo, f.hi + 1, (rows, depth)), threads)
            if ggml:
                ways |= {k: way(*v, threads) for k, v in cpu_gemv_ggml.products(rows, depth, pool, r).items()}
            print(f"\n{huge_part(len(lowbit.FORMATS) + (4 if ggml else 0)):.0%} of the weights in huge pages", end="")
            found += report(shape, threads, ways, rounds(ways, a.rounds, threads), a.fast)
    cpu_turns.write(a.json, found)


if __name__ == "__main__":
    main()
