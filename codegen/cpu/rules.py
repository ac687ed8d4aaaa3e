"""Which kernel computes which group."""
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import Concat, Conv, Dense, Gather, Graph, MatMul, MaxPool, Pad, Recur, SumPool, UserError
from ir.infer import exact_bound

from ..words import magnitude
from .body import Body, calc
from .depthwise import depthwise, write_depthwise
from .kernel import Kernel, Tensor, loops, pieces
from .layout import Run
from .movers import write_concat, write_gather, write_pad, write_recur
from .pointwise import write_body
from .pools import write_pool
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
