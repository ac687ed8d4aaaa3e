"""Which kernel computes which group."""
import math

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import Concat, Conv, Dense, Gather, Graph, MatMul, MaxPool, Pad, Recur, SumPool, UserError, ops
from ir.infer import exact_bound

from ..words import magnitude
from .body import Body, calc, narrow
from .depthwise import depthwise, write_depthwise
from .kernel import Kernel, Tensor, across, loops, pieces
from .layout import Run
from .pointwise import write_body
from .products import write_plain, write_tiles


def write(k: Kernel, g: Graph, run: Run) -> None:
    """The kernel of a group."""
    group = run.group
    tensors = {name: k.tensor(p) for name, p in run.reads.items()}
    y = tensors[group.sink.name] = k.tensor(run.to)
    types = {name: g.nodes[name].type for name in (*tensors, *(n.name for n in group.nodes))}
    body = Body(k, group.body, tensors, types, group.sink.name)
    a = group.anchor
    if a is None:
        return write_body(k, group.body, tensors, body, group.sink.name)
    x = tensors[a.args[0]] if a.args else None
    match a.op:
        case Conv() if depthwise(a, x, types):
            return write_depthwise(k, a, x, types, body)
        case Dense() | Conv():
            fast = (k.isa.four and x.place.dtype == k.isa.byte and a.op.weight.shape[1] > 0 and getattr(a.op, "groups", 1) == 1
                    and -128 <= a.op.weight.min() and a.op.weight.max() <= 127 and exact_bound(a.op, types[a.args[0]]) < 1 << 31)
            return (write_tiles if fast else write_plain)(k, a, x, types, body)
        case MaxPool() | SumPool():
            return write_pool(k, a, x, types, body)
        case MatMul():
            return write_matmul(k, a, x, tensors[a.args[1]], types, body)
        case Gather(table):
            return write_gather(k, x, y, table)
        case Concat(axis):
            return write_concat(k, [tensors[name] for name in a.args], y, axis)
        case Pad(padding, value):
            return write_pad(k, x, y, padding, value)
        case Recur():
            return write_recur(k, a.op, [tensors[name] for name in a.args], y)
    raise UserError(f"node {a.name!r}: the CPU backend has no rule for {type(a.op).__name__}")


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


def write_matmul(k: Kernel, n, a: Tensor, b: Tensor, types, body: Body) -> None:
    """Products of two activations, columns side by side."""
    *lead, rows, columns = n.type.shape
    inner = a.place.shape[-1]
    dtype = calc(magnitude(types[n.args[0]]) * magnitude(types[n.args[1]]) * inner)
    with k.tasks(*lead, rows) as (*i, r):
        for start, count, size in pieces(columns, k.isa.lanes):
            with loops(count) as (q,):
                acc = k.registers(size, dtype)
                c = start + q * size
                with T.vectorized(size) as v:
                    T.buffer_store(acc, tirx.const(0, dtype), [v])
                with loops(inner) as (j,), T.vectorized(size) as v:
                    T.buffer_store(acc, acc[v] + a.value(*i, r, j, dtype=dtype) * b.value(*i, j, c + v, dtype=dtype), [v])
                with T.vectorized(size) as v:
                    body.store([*i, r, c + v], **{n.name: acc[v]})


def write_gather(k: Kernel, x: Tensor, y: Tensor, table: np.ndarray) -> None:
    *space, width = y.place.shape
    rows = k.constant(narrow(table))
    dtype = calc(magnitude(y.place.type))
    with k.tasks(*space) as at:
        row = x.value(*at)
        across(width, k.isa.lanes, lambda j: y.put(rows[row * width + j].astype(dtype), *at, j))


def write_concat(k: Kernel, parts: list[Tensor], y: Tensor, axis: int) -> None:
    start = 0
    dtype = calc(magnitude(y.place.type))
    shape = y.place.shape
    with k.tasks(1):
        for x in parts:
            with loops(*x.place.shape[:-1]) as at:
                def put(j, x=x, at=at, start=start):
                    i = [*at, j]
                    y.put(x.value(*i, dtype=dtype), *(v + start if a == axis % len(shape) else v for a, v in enumerate(i)))
                across(x.place.shape[-1], k.isa.lanes, put)
            start += x.place.shape[axis]


def write_pad(k: Kernel, x: Tensor, y: Tensor, padding, value: int) -> None:
    dtype = calc(magnitude(y.place.type))
    with k.tasks(1):
        with loops(*y.place.shape[:-1]) as at:
            across(y.place.shape[-1], k.isa.lanes, lambda j: y.put(tirx.const(value, dtype), *at, j))
        with loops(*x.place.shape[:-1]) as at:
            across(x.place.shape[-1], k.isa.lanes,
                   lambda j: y.put(x.value(*at, j, dtype=dtype), *(v + p[0] for v, p in zip((*at, j), padding))))


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

