"""How long one sample takes on this machine: warm, one call after the other, until the median stands.

With one thread the clock is the processor time of this process, which waiting behind other programs does not change; with more
threads it is the wall clock, and the machine must be quiet.
"""
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ir import Graph
from ir.store import digest

from .words import interface

BLOCK_S = 4e-3    # of calls that are timed as one
FEWEST = 9        # blocks
STANDS = 0.01     # of the median: its standard error that is small enough
LIMIT_S = 1.5     # after which the median must do


@dataclass(frozen=True)
class Timing:
    """Median microseconds of a call, the middle half's width relative to it, and how many calls were made."""
    us: float
    spread: float
    calls: int

    def data(self) -> dict: return asdict(self)


def steady(calls: Callable[[int], None], threads: int = 1) -> Timing:
    """The time of one call, where calls(n) makes n of them; blocks of calls are timed until the median stands."""
    clock = time.process_time if threads == 1 else time.perf_counter
    calls(2)  # what is done once, when first asked
    n, took = 1, 0.0
    while took < BLOCK_S:  # also the warm-up
        n *= 2
        took = _seconds(calls, n, clock)
    seen: list[float] = []
    deadline = time.monotonic() + LIMIT_S
    while len(seen) < FEWEST or not stands(seen) and time.monotonic() < deadline:
        seen.append(_seconds(calls, n, clock) / n * 1e6)
    return Timing(statistics.median(seen), _width(seen), n * len(seen))


def stands(seen: list[float]) -> bool:
    """Whether the standard error of the median, as the middle half tells it, is below STANDS."""
    return _width(seen) / len(seen) ** 0.5 < STANDS


def _width(seen: list[float]) -> float:
    low, _, high = statistics.quantiles(seen, n=4)
    return (high - low) / max(statistics.median(seen), 1e-9)


def _seconds(calls: Callable[[int], None], n: int, clock) -> float:
    start = clock()
    calls(n)
    return clock() - start


def machine() -> dict[str, str]:
    """The processor's name, and a hash of what it says of its instruction sets."""
    info = Path("/proc/cpuinfo")
    told = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line) if info.is_file() else {}
    told = {k.strip(): v.strip() for k, v in told.items()}
    name = told.get("model name") or platform.processor() or platform.machine()
    return {"cpu": name, "isa": f"{platform.machine()} {digest(told.get('flags') or told.get('Features') or '')}"}


class Tvm:
    """A graph as codegen.tvm compiles it for this machine."""
    name, unit_calls = "cpu", "a call of TVM's virtual machine"

    def __init__(self):
        from . import tvm as door
        self.door = door
        self.threads = int(door.tvm.runtime.num_threads())
        self.about = machine() | {"target": "llvm", "threads": self.threads, "versions": {"tvm": door.tvm.__version__}}

    def program(self, g: Graph) -> str:
        """What decides the time: the code, without the values of its constants."""
        return digest(self.door.module(g).script(show_meta=False))

    def calls(self, g: Graph) -> Callable[[int], None]:
        """calls(n) of the compiled graph on one sample."""
        model, cpu = self.door.build(g), self.door.tvm.cpu()
        x = [self.door.tvm.runtime.tensor(v) for v in one_sample(g).values()]

        @cache
        def evaluator(n: int):  # it makes one call more than it is asked for
            return model.machine.time_evaluator("main", cpu, number=n - 1, repeat=1)
        return lambda n: evaluator(n)(*x)


class Onnx:
    """A graph as ONNX Runtime runs it."""
    name = "onnx"

    def __init__(self):
        import onnxruntime

        from . import onnx as door
        self.door, self.threads = door, 1
        self.about = machine() | {"target": "onnx", "threads": 1, "versions": {"onnxruntime": onnxruntime.__version__}}

    def program(self, g: Graph) -> str:
        """What decides the time: the nodes, with the shapes and types of constants but without their values."""
        parts = []
        for n in self.door.build(g).graph.node:
            for a in n.attribute:
                if a.HasField("t"):
                    a.t.ClearField("raw_data")
            parts.append(n.SerializeToString(deterministic=True))
        return digest(*parts)

    def calls(self, g: Graph) -> Callable[[int], None]:
        """calls(n) of a session on one sample."""
        session, x = self.door.session(self.door.build(g), self.threads), one_sample(g)
        names = [session.get_outputs()[0].name]

        def calls(n: int) -> None:
            for _ in range(n):
                session.run(names, x)
        return calls


def one_sample(g: Graph) -> dict[str, np.ndarray]:
    """{input: one sample of seeded integers} in the types that compiled graphs take."""
    r = np.random.default_rng(0)
    return {i["name"]: r.integers(i["lo"], i["hi"] + 1, (1, *i["shape"])).astype(i["dtype"]) for i in interface(g)["inputs"]}
