"""A compiled program, ready to be called on integers."""
import os
from collections.abc import Callable
from functools import cache

import numpy as np
import tvm
from tvm.runtime import tensor

from ir import Graph, UserError

from ..words import check_feeds, interface
from .program import Program

# Bound to CPUs, TVM's threads can share one with the caller, which is not bound; then each waits for the other to be taken off it.
os.environ.setdefault("TVM_BIND_THREADS", "0")


class Model:
    """model(x) -> y: integers (N, *shape) in, int64 out; several inputs as {name: array}.

    UserError: wrong shape, values outside the input's interval.
    """

    def __init__(self, executable, program: Program, about: dict):
        """executable: the compiled program; about: what `codegen.words.interface` says of the graph."""
        self.module, self.function, self.about, self.workspace = executable.mod, executable["main"], about, program.workspace
        self.weights = tensor(program.weights)  # TVM allocates at multiples of 64 bytes, as kernels expect it
        self.rooms: dict[int, object] = {}  # working memory, by number of threads

    def __call__(self, x, threads: int | None = None) -> np.ndarray:
        feeds = list(check_feeds(self.about["inputs"], x).values())
        out, count = self.about["output"], len(feeds[0])
        if not count:
            return np.zeros((0, *out["shape"]), np.int64)
        args = self.arguments(feeds, threads)
        self.function(*args)
        return args[len(feeds)].numpy().reshape(count, *out["shape"]).astype(np.int64)

    def calls(self, x, threads: int | None = None) -> Callable[[int], None]:
        """calls(n) computes y for x n times over, in a loop outside of Python: what is to be timed."""
        args = self.arguments(list(check_feeds(self.about["inputs"], x).values()), threads)

        @cache
        def evaluator(n: int):  # it makes one call more than it is asked for
            return self.module.time_evaluator("main", tvm.cpu(), number=n - 1, repeat=1) if n > 1 else self.function
        return lambda n=1: evaluator(n)(*args) and None

    def arguments(self, feeds: list[np.ndarray], threads: int | None) -> list:
        """What main takes; the result's memory is after the inputs."""
        threads = threads or int(tvm.runtime.num_threads())
        count, out = len(feeds[0]), self.about["output"]
        if len({len(f) for f in feeds}) != 1:
            raise UserError(f"inputs of {', '.join(str(len(f)) for f in feeds)} samples; give as many of each")
        if threads not in self.rooms:
            self.rooms[threads] = tensor(np.zeros(threads * self.workspace, np.uint8))
        xs = [tensor(np.ascontiguousarray(f).reshape(-1)) for f in feeds]
        y = tensor(np.zeros(count * int(np.prod(out["shape"], dtype=int)), out["dtype"]))
        return [*xs, y, self.weights, self.rooms[threads], count, threads]


def compiled(g: Graph, program: Program, target: tvm.target.Target) -> Model:
    """The program of a graph as machine code in memory."""
    return Model(tvm.compile(program.module, target=target), program, interface(g))
