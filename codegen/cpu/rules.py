"""Which kernel computes which group."""
import itertools
from dataclasses import replace
from functools import partial

from ir import Concat, Conv, Dense, Gather, Graph, MatMul, MaxPool, Pad, Recur, SumPool, UserError

from .body import Body
from .depthwise import depthwise, write_depthwise
from .kernel import Kernel
from .layout import Run
from .matmul import write_matmul, write_packed_matmul
from .movers import write_gather, write_recur
from .moves import write_copy, write_fill
from .pointwise import write_body
from .pools import write_pool
from .products import write_plain, write_products
from .rows import write_rows


def writers(g: Graph, run: Run) -> list:
    """Functions of a Kernel, one for each kernel of the group; these may run side by side."""
    a = run.group.anchor
    match a and a.op:
        case Concat(axis):
            ends = list(itertools.accumulate((g.nodes[name].type.shape[axis] for name in a.args), initial=0))
            parts = [run.to.part({axis: at}, g.nodes[name].type) for at, name in zip(ends, a.args)]
            return [partial(write_copy, source=run.reads[name], to=to) for name, to in zip(a.args, parts)]
        case Pad(padding, value):
            inside = replace(run.to.part({i: p[0] for i, p in enumerate(padding)}, g.nodes[a.args[0]].type), halo=padding, fill=value)
            return [partial(write_copy, source=run.reads[a.args[0]], to=inside), partial(write_fill, to=inside)]
    return [partial(write, g=g, run=run)]


def write(k: Kernel, g: Graph, run: Run) -> None:
    """The kernel of a group."""
    group = run.group
    tensors = {name: k.tensor(p) for name, p in run.reads.items()}
    y = tensors[group.sink.name] = k.tensor(run.to)
    types = {name: g.nodes[name].type for name in (*tensors, *(n.name for n in group.nodes))}
    body = Body(k, group.body, tensors, types, group.sink.name)
    a = group.anchor
    if group.rows:
        return write_rows(k, group, tensors, types, body)
    if a is None:
        return write_body(k, group.body, tensors, body, group.sink.name)
    x = tensors[a.args[0]] if a.args else None
    match a.op:
        case Dense() | Conv() if k.isa.lanes == 1:  # C: no vectors, no tiles
            return write_plain(k, a, x, types, body)
        case Conv() if depthwise(a, x, types):
            return write_depthwise(k, a, x, types, body)
        case Dense() | Conv():
            return write_products(k, a, x, types, body)
        case MaxPool() | SumPool():
            return write_pool(k, a, x, types, body)
        case MatMul():
            return write_packed_matmul(k, a, x, run.packed, body) if run.packed else write_matmul(k, a, x, tensors[a.args[1]], types, body)
        case Gather(table):
            return write_gather(k, x, y, table)
        case Recur():
            return write_recur(k, a.op, [tensors[name] for name in a.args], y)
    raise UserError(f"node {a.name!r}: the CPU backend has no rule for {type(a.op).__name__}")
