"""Maxima and sums of windows."""
import math

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import SumPool

from ..words import magnitude
from .body import Body, calc
from .kernel import Kernel, Tensor, loops, pieces


def write_pool(k: Kernel, n, x: Tensor, types, body: Body) -> None:
    """Maxima or sums of windows, channels side by side."""
    op, t = n.op, types[n.args[0]]
    summed = isinstance(op, SumPool)
    dtype = calc(max(magnitude(n.type), math.prod(op.kernel) * max(magnitude(t), abs(op.pad))) if summed else magnitude(t))
    channels, *space = n.type.shape
    lanes = k.isa.lanes
    with k.tasks(*space) as position:
        for start, count, size in pieces(channels, lanes):
            with loops(count) as (q,):
                acc = k.registers(size, dtype)
                first = start + q * size
                with T.vectorized(size) as v:
                    T.buffer_store(acc, tirx.const(0 if summed else t.lo, dtype), [v])
                with loops(*op.kernel) as taps:
                    at = [i * s + d - p[0] for i, s, d, p in zip(position, op.stride, taps, op.padding)]
                    with T.vectorized(size) as v:
                        value = x.value(first + v, *at, dtype=dtype)
                        T.buffer_store(acc, acc[v] + value if summed else tirx.max(acc[v], value), [v])
                with T.vectorized(size) as v:
                    body.store([first + v, *position], **{n.name: acc[v]})
