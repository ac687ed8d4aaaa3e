"""Which nodes of a graph one pass carries out: sums, then a requant, then a table; factors before an addition."""
from dataclasses import dataclass

import numpy as np

from ir import Add, Conv, Dense, Graph, Input, Lut, MatMul, MaxPool, Mul, Node, Requant, SumPool, UserError
from ir.opset import Concat, Constant, Expand, Pad, Reshape, Slice, Transpose

from ..dataflow.orders import channels_inner, usual_axis

SUMS = (Dense, Conv, MatMul, MaxPool, SumPool, Add, Mul)
MOVES = (Reshape, Transpose, Slice, Concat, Pad, Expand)


@dataclass(frozen=True)
class Group:
    """What becomes the value `name`: `head` (None: its only argument as it is) of the values `args`, then requant, then table.

    scales: for each argument of an addition (factors, summand), what it is multiplied by first.  sums: type before the requant.
    """
    name: str
    head: Node | None
    args: tuple[str, ...]
    requant: Node | None = None
    lut: Node | None = None
    scales: tuple[tuple[np.ndarray, int], ...] = ()


def inner_axes(g: Graph) -> dict[str, int]:
    """Value -> the axis that stands innermost: channels for convolutions and pools, the last for dense layers, else as it comes."""
    out: dict[str, int] = {}
    for n in g.nodes.values():
        rank = len(n.type.shape)
        match n.op:
            case Conv() | MaxPool() | SumPool():
                out[n.name] = 0
            case Dense() | MatMul():
                out[n.name] = rank - 1
            case Input() | Constant() | Reshape() | Transpose() | Slice() | Concat() | Pad() | Expand():
                out[n.name] = _wanted(g, n)
            case _ if n.args:
                out[n.name] = out[n.args[0]]
            case _:
                out[n.name] = usual_axis(n.type.shape)
    return out


def _wanted(g: Graph, n: Node) -> int:
    """The innermost axis that readers of a value would like."""
    for u in g.nodes.values():
        if n.name in u.args:
            match u.op:
                case Conv() | MaxPool() | SumPool():
                    return 0
                case Dense() | MatMul():
                    return len(n.type.shape) - 1
                case Requant() | Lut() | Add() | Mul():
                    return _wanted(g, u)
    return max(0, usual_axis(n.type.shape))


def groups(g: Graph, inner: dict[str, int]) -> list[Group]:
    """The graph's passes in order.  UserError: an op that the core has no pass for."""
    users, out, done = g.users(), [], set()
    for n in g.nodes.values():
        if n.name in done or _is_scale(g, n, users):
            continue
        if isinstance(n.op, MOVES + (Input, Constant)):
            out.append(Group(n.name, n, n.args))
            continue
        if not isinstance(n.op, SUMS + (Requant, Lut)):
            raise UserError(f"node {n.name!r}: the core has no pass for {type(n.op).__name__.lower()}; "
                            "compile without --core, or leave it out of the graph")
        head = n if isinstance(n.op, SUMS) else None
        requant = n if isinstance(n.op, Requant) else _next(g, n, users, Requant, inner[n.name]) if head else None
        lut = n if isinstance(n.op, Lut) else _next(g, requant or n, users, Lut, 0)
        end = lut or requant or n
        done |= {m.name for m in (head, requant, lut) if m}
        args, scales = n.args, ()
        if isinstance(n.op, Add):
            args, scales = zip(*(_scaled(g, a, users) for a in n.args))
        out.append(Group(end.name, head, args, requant, lut, scales))
    return out


def _next(g: Graph, n: Node, users, op: type, inner: int) -> Node | None:
    """The only reader of a value, if it is such an op and can be done in the same pass."""
    if n is g.output or len(users[n.name]) != 1:
        return None
    m = g.nodes[users[n.name][0]]
    if not isinstance(m.op, op) or _is_scale(g, m, users):
        return None
    return m if op is Lut or len(m.op.mul) == 1 or m.op.axis % len(m.type.shape) == inner else None


def _is_scale(g: Graph, n: Node, users) -> bool:
    """A requant that only multiplies a narrow value before an addition: no bits are cut off, no bound is ever met."""
    if not isinstance(n.op, Requant) or n is g.output or n.op.shift or len(n.op.mul) > 1 or len(users[n.name]) != 1:
        return False
    x = g.nodes[n.args[0]].type
    ends = [v * int(n.op.mul[0]) + n.op.zero for v in (x.lo, x.hi)]
    return isinstance(g.nodes[users[n.name][0]].op, Add) and not isinstance(g.nodes[n.args[0]].op, SUMS) and x.bits < n.type.bits \
        and n.op.lo <= min(ends) and max(ends) <= n.op.hi


def _scaled(g: Graph, name: str, users) -> tuple[str, tuple[np.ndarray, int]]:
    n = g.nodes[name]
    return (n.args[0], (int(n.op.mul[0]), n.op.zero)) if _is_scale(g, n, users) else (name, (1, 0))


def sink(g: Graph, inner: dict[str, int]) -> str:
    """The value that is sent out: the output, or what it is a mere reshape of, in the same order of elements."""
    n = g.output
    while isinstance(n.op, Reshape) and len(g.users()[n.args[0]]) == 1:
        x = g.nodes[n.args[0]]
        have, want = (channels_inner(v.type.shape, inner[v.name]) for v in (x, g.output))
        if isinstance(x.op, Input) or not np.array_equal(have, want):
            break
        n = x
    return n.name
