"""A compiled program, ready to be called on integers."""
from collections.abc import Callable

import numpy as np
import tvm
from tvm.runtime import tensor

from ir import Graph

from ..words import check_feeds, interface
from .program import Program


class Model:
    """model(x) -> y: integers (N, *shape) in, int64 out; several inputs as {name: array}.

    UserError: wrong shape, values outside the input's interval.
    """

    def __init__(self, function, program: Program, about: dict):
        """function: main of the compiled program; about: what `codegen.words.interface` says of the graph."""
        self.function, self.about, self.workspace = function, about, program.workspace
        self.weights = tensor(program.weights)  # TVM allocates at multiples of 64 bytes, as kernels expect it
        self.rooms: dict[int, object] = {}  # working memory, by number of threads

    def __call__(self, x, threads: int | None = None) -> np.ndarray:
        feeds = list(check_feeds(self.about["inputs"], x).values())
        out, count = self.about["output"], len(feeds[0])
        if not count:
            return np.zeros((0, *out["shape"]), np.int64)
        run, y = self.prepared(feeds, threads)
        run()
        return y.numpy().reshape(count, *out["shape"]).astype(np.int64)

    def calls(self, x, threads: int | None = None) -> Callable[[], None]:
        """A function without arguments that computes y for x once more each time it is called: what is to be timed."""
        return self.prepared(list(check_feeds(self.about["inputs"], x).values()), threads)[0]

    def prepared(self, feeds: list[np.ndarray], threads: int | None):
        threads = threads or int(tvm.runtime.num_threads())
        count, out = len(feeds[0]), self.about["output"]
        if threads not in self.rooms:
            self.rooms[threads] = tensor(np.zeros(threads * self.workspace, np.uint8))
        xs = [tensor(np.ascontiguousarray(f).reshape(-1)) for f in feeds]
        y = tensor(np.zeros(count * int(np.prod(out["shape"], dtype=int)), out["dtype"]))
        args = [*xs, y, self.weights, self.rooms[threads], count, threads]
        return (lambda: self.function(*args)), y


def compiled(g: Graph, program: Program, target: tvm.target.Target) -> Model:
    """The program as machine code in memory."""
    executable = tvm.compile(program.module, target=target)
    return Model(executable["main"], program, interface(g))

