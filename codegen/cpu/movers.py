"""Rows of tables, and recurrences step by step."""
import numpy as np
from tvm import tirx

from ir import Recur, ops

from ..words import calc, magnitude, narrow
from .kernel import Kernel, Tensor, across, loops


def write_gather(k: Kernel, x: Tensor, y: Tensor, table: np.ndarray) -> None:
    *space, width = y.place.shape
    rows = k.constant(narrow(table))
    dtype = calc(magnitude(y.place.type))
    with k.tasks(*space) as at:
        row = x.value(*at)
        across(width, k.isa.lanes, lambda j: y.put(rows[row * width + j].astype(dtype), *at, j))


def write_recur(k: Kernel, op: Recur, args: list[Tensor], y: Tensor) -> None:
    """Step by step, a row of states side by side: each reads what the step before it has written."""
    t, (steps, *space) = y.place.type, y.place.shape
    state = max(magnitude(t), *(magnitude(x.place.type) for x in args[2:]), 0)
    dtype = calc(magnitude(args[0].place.type) * state + magnitude(args[1].place.type) + (1 << op.shift))
    with k.tasks(*space[:-1]) as head:
        def step(s, at, j):
            f, c = (x.value(at, *j, dtype=dtype) for x in args[:2])
            y.put(ops.clamp(ops.round_shift(f * s + c, op.shift), op.lo, op.hi), at, *j)

        def start(*j):
            step(args[2].value(0, *j, dtype=dtype) if len(args) > 2 else tirx.const(0, dtype), 0, j)
        along(k, space, head, start)
        if steps > 1:
            with loops(steps - 1) as (at,):
                along(k, space, head, lambda *j: step(y.value(at, *j, dtype=dtype), at + 1, j))


def along(k: Kernel, space, head, body) -> None:
    if space:
        across(space[-1], k.isa.lanes, lambda j: body(*head, j))
    else:
        body()
