"""How long one sample takes on this machine: warm, one call after the other, in many short blocks.

Before each block the process rests, so that the system hands it a whole slice of time, and makes some calls that do not count, so
that the caches are its own again.  What counts is the fastest tenth of the blocks: on a quiet machine that is the median; with
five processes a core, where this was tried, it stayed within 1 %, and a median of blocks without rests moved by a third.
How fast the machine itself is changes by a third within minutes where it is shared, so a reference layer is timed in turns with it.
With one thread the clock is the processor time of this process, which waiting does not change; with more the wall clock.
"""
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ir import Graph, Layer, Option
from ir.example import MUL_BITS, example
from ir.store import digest

from .words import interface

BLOCK_S = 1e-3    # of calls that are timed as one
REST_S = 3e-3     # before each block
FEWEST = 100      # blocks
FASTEST = 0.1     # of the blocks
STANDS = 0.01     # by how much the fastest blocks of both halves may differ
LIMIT_S = 3.0     # after which that must do
REFERENCE = Layer("reference", "conv", 32, 32, 1, (3, 3), (1, 1), (16, 16), (16, 16))


@dataclass(frozen=True)
class Timing:
    """Microseconds of a call in the fastest tenth of blocks and in the median one, the middle half's width relative to the
    median, how many calls were made, and microseconds of the reference meanwhile (0: none was given).
    """
    us: float
    median_us: float
    spread: float
    calls: int
    reference_us: float = 0.0

    def data(self) -> dict: return asdict(self)

    def at(self, reference_us: float) -> "Timing":
        """The times on a machine as fast as one that takes so long for the reference."""
        by = reference_us / self.reference_us
        return replace(self, us=self.us * by, median_us=self.median_us * by, reference_us=reference_us)


def steady(calls: Callable[[int], None], threads: int = 1, reference: Callable[[int], None] | None = None) -> Timing:
    """The time of one call, where calls(n) makes n of them; blocks of calls are timed until the fastest tenth stands."""
    clock = time.process_time if threads == 1 else time.perf_counter
    seen: list[float] = []
    beside: list[float] = []
    n, m = _block(calls, clock), _block(reference, clock) if reference else 0
    deadline = time.monotonic() + LIMIT_S
    while len(seen) < FEWEST or not stands(seen) and time.monotonic() < deadline:
        for _ in range(FEWEST // 4):
            seen.append(_rested(calls, n, clock) / n * 1e6)
            if reference:
                beside.append(_rested(reference, m, clock) / m * 1e6)
    low, median, high = statistics.quantiles(seen, n=4)
    return Timing(fastest(seen), median, (high - low) / median, n * len(seen), fastest(beside) if beside else 0.0)


def _block(calls: Callable[[int], None], clock) -> int:
    """How many calls take BLOCK_S; making them is the warm-up."""
    calls(2)  # what is done once, when first asked
    n = 1
    while _seconds(calls, n, clock) < BLOCK_S:
        n *= 2
    return n


def fastest(seen: list[float]) -> float:
    """The time that a tenth of the blocks does not exceed."""
    return float(np.quantile(seen, FASTEST))


def stands(seen: list[float]) -> bool:
    """Whether the first half of the blocks and the second tell the same."""
    early, late = fastest(seen[:len(seen) // 2]), fastest(seen[len(seen) // 2:])
    return abs(early - late) <= STANDS * min(early, late)


def _rested(calls: Callable[[int], None], n: int, clock) -> float:
    time.sleep(REST_S)
    calls(max(1, n // 2))
    return _seconds(calls, n, clock)


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


class Clock:
    """What a graph is timed by on one target: `about`, `threads`, program(graph) and calls(graph)."""

    @cached_property
    def reference(self) -> Callable[[int], None]: return self.calls(example(REFERENCE, Option.parse("int8/uint8"), MUL_BITS))

    def time(self, g: Graph, alone: bool = False) -> Timing:
        """The time of a graph for one sample, and of the reference meanwhile; alone: of a layer, without what it takes to hand over its values."""
        return steady(self.calls(g, alone=True) if alone else self.calls(g), self.threads, self.reference)


class Tvm(Clock):
    """A graph as codegen.tvm compiles it for this machine."""

    def __init__(self):
        from . import tvm as door
        self.door = door
        self.threads = int(door.tvm.runtime.num_threads())
        self.about = machine() | {"target": "llvm", "threads": self.threads, "versions": {"tvm": door.tvm.__version__}}

    def program(self, g: Graph) -> str:
        """What decides the time: the code, without the values of its constants."""
        return digest(self.door.lowered(g).module.script(show_meta=False))

    def calls(self, g: Graph, alone: bool = False) -> Callable[[int], None]:
        """calls(n) of the compiled graph on one sample; alone: as its layers run in a network, whose layouts they share."""
        return self.door.build(g, copies=not alone).calls(one_sample(g), self.threads)


class Onnx(Clock):
    """A graph as ONNX Runtime runs it."""

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

    def calls(self, g: Graph, alone: bool = False) -> Callable[[int], None]:
        """calls(n) of a session on one sample; a session has one layout, so that a layer alone is as in a network."""
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
