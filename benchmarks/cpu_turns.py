"""Ways to compute the same thing, timed in turns in one process, and what to say of their times."""
import contextlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ir.store import save_text

REST_S = {1: 2e-3}  # before each block; a thread pool needs longer until its idle threads stop spinning
POOL_REST_S = 5e-2
LONG_S = 0.3      # of a first call: one is a block


@dataclass(frozen=True)
class Times:
    """Microseconds of one call: median and quartiles over the blocks, one a round; `calls` in all."""
    us: float
    low: float
    high: float
    calls: int
    rounds: int

    def per(self, count: int) -> "Times":
        """The same, of one of `count` things that a call does."""
        return replace(self, us=self.us / count, low=self.low / count, high=self.high / count)


def turns(ways: dict[str, Callable[[], object]], rounds: int = 25, block_s: float = 0.01, threads: int = 1,
          limit_s: float = math.inf) -> dict[str, Times]:
    """Every way's time of a call.  In each round each way has one block of calls of about `block_s`, every second round backwards.

    threads: with one the clock is this process's processor time, which waiting for a core does not change; else the wall's.
    A way may have an attribute `cores`, those that its calling thread is to stay on.
    limit_s: no round begins later, but three are always made.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    rest = REST_S.get(threads, POOL_REST_S)
    count = {k: _calls_in(way, block_s) for k, way in ways.items()}
    seen: dict[str, list[float]] = {k: [] for k in ways}
    names, deadline = list(ways), time.monotonic() + limit_s
    for r in range(rounds):
        if r > 2 and time.monotonic() > deadline:
            break
        for k in names if r % 2 == 0 else names[::-1]:
            time.sleep(rest)
            with on_cores(getattr(ways[k], "cores", None)):
                if count[k] > 1:  # the caches become its own; a long call does not notice
                    _seconds(ways[k], count[k] // 4 or 1, clock)
                seen[k].append(_seconds(ways[k], count[k], clock) / count[k] * 1e6)
    return {k: summary(v, count[k]) for k, v in seen.items()}


@contextlib.contextmanager
def on_cores(cores: set[int] | None):
    """This thread stays on these cores inside; None: wherever it may be."""
    free = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or free)
    try:
        yield
    finally:
        os.sched_setaffinity(0, free)


def summary(us: list[float], calls: int = 1) -> Times:
    """The times of blocks of `calls` calls, in microseconds of one."""
    low, median, high = statistics.quantiles(us, n=4) if len(us) > 1 else us * 3
    return Times(median, low, high, calls * len(us), len(us))


def _calls_in(way: Callable[[], object], block_s: float) -> int:
    if _seconds(way, 1, time.perf_counter) > LONG_S:
        return 1
    fastest = min(_seconds(way, 1, time.perf_counter) for _ in range(2))
    return max(1, min(10000, int(block_s / max(fastest, 1e-7))))


def _seconds(way: Callable[[], object], n: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(n):
        way()
    return clock() - start


def geometric_mean(values) -> float: return statistics.geometric_mean(list(values))


def rows(times: dict[str, Times], **about) -> list[dict]:
    """One plain row a way, for a file."""
    return [{**about, "way": k, **{n: round(v, 3) for n, v in asdict(t).items()}} for k, t in times.items()]


def write(path: Path | None, found: list[dict]) -> None:
    if path:
        save_text(path, json.dumps(found, indent=1) + "\n")
