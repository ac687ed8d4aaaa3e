"""A graph compiled by this project, as a call without arguments that computes a given batch and nothing else."""
import os
from collections.abc import Callable

import numpy as np

import codegen
from ir import Graph, UserError, run

FEW = 8  # samples whose reference is computed; a batch repeats them


def samples(g: Graph, batch: int, seed: int = 0) -> np.ndarray:
    """Seeded integers over the whole interval of the graph's input (batch, *shape): `FEW` different samples, again and again."""
    t, r = g.inputs[0].type, np.random.default_rng(seed)
    few = r.integers(t.lo, t.hi + 1, (min(batch, FEW), *t.shape))
    return few[np.arange(batch) % len(few)]


def ours(g: Graph, x: np.ndarray, threads: int = 1) -> Callable[[], object]:
    """A call that computes the graph on x with so many threads; before that its answer was compared with `ir.run`.

    UserError: the compiled graph differs from the reference.
    """
    model, few = codegen.tvm.build(g), x[:FEW]
    free = os.sched_getaffinity(0)
    codegen.tvm.tvm.get_global_func("runtime.config_threadpool")(1, threads)
    want = run(g, few)[np.arange(len(x)) % len(few)]
    wrong = int((model(x, threads) != want).sum())
    bound = os.sched_getaffinity(0)  # TVM's pool binds its threads to cores, the asking one as well; what a peer starts must not inherit that
    os.sched_setaffinity(0, free)
    if wrong:
        raise UserError(f"{wrong} of {want.size} values of the compiled graph differ from the reference; it is not timed")
    calls = model.calls(x, threads)

    def call() -> None: calls()
    call.cores = bound
    return call
