"""Rewrites: a graph in, an equal graph out.  Each is one function; `simplify` is the straight list of them."""
from dataclasses import replace

import numpy as np

from .graph import Graph, Node
from .opset import Expand, Input, MaxPool, Op, Pad, Requant, Reshape, Slice, SumPool, Transpose
from .ops import clamp


def simplify(g: Graph) -> Graph:
    """Every rewrite, in order."""
    for step in (drop_dead, fuse_clamp, drop_identity):
        g = step(g)
    return g


def drop_dead(g: Graph) -> Graph:
    """Without the nodes that the output does not need; inputs stay."""
    needed = {g.output.name}
    for n in reversed(g.nodes.values()):
        if n.name in needed:
            needed |= set(n.args)
    return rebuild(g, lambda n: n.op if n.name in needed or isinstance(n.op, Input) else None)


def drop_identity(g: Graph) -> Graph:
    """Without requants, reshapes, transposes, slices and pools that change nothing."""
    def change(n: Node) -> Op | str:
        return n.args[0] if n.args and n is not g.output and _is_identity(g, n) else n.op
    return rebuild(g, change)


def fuse_clamp(g: Graph) -> Graph:
    """A requant whose only reader merely clamps it takes over those bounds: clamp(clamp(v, a, b), c, d) = clamp(v, clamp(a, c, d), ..)."""
    users = g.users()
    root: dict[str, str] = {}                 # clamp that goes -> requant that does its work
    bounds: dict[str, tuple[int, int]] = {}   # of these requants
    for n in g.nodes.values():
        if isinstance(n.op, Requant) and _only_clamps(n.op) and n is not g.output:
            src = g.nodes[n.args[0]]
            if isinstance(src.op, Requant) and users[src.name] == [n.name] and src is not g.output:
                root[n.name] = first = root.get(src.name, src.name)
                ends = bounds.get(first, (g.nodes[first].op.lo, g.nodes[first].op.hi))
                bounds[first] = tuple(clamp(v, n.op.lo, n.op.hi) for v in ends)

    def change(n: Node) -> Op | str:
        if n.name in root:
            return n.args[0]
        return replace(n.op, lo=bounds[n.name][0], hi=bounds[n.name][1]) if n.name in bounds else n.op
    return rebuild(g, change)


def rebuild(g: Graph, change) -> Graph:
    """A new graph of change(node): an op, the name of the value that stands for the node, or None to leave it out."""
    out, alias = Graph(encodings=dict(g.encodings)), {}
    for n in g.nodes.values():
        match change(n):
            case None:
                continue
            case str(other):
                alias[n.name] = alias.get(other, other)
            case op:
                alias[n.name] = out.add(n.name, op, *[alias[a] for a in n.args])
    out.result = alias[g.output.name]
    out.encodings = {k: v for k, v in out.encodings.items() if k in out.nodes}
    return out


def _only_clamps(op: Requant) -> bool: return op.shift == 0 and op.zero == 0 and bool(np.all(op.mul == 1))


def _is_identity(g: Graph, n: Node) -> bool:
    x = g.nodes[n.args[0]].type
    match n.op:
        case Requant(_, _, _, lo, hi):
            return _only_clamps(n.op) and lo <= x.lo and x.hi <= hi
        case Reshape() | Slice() | Pad() | Expand():
            return n.type.shape == x.shape
        case Transpose(perm):
            return list(perm) == sorted(perm)
        case MaxPool(k, s, p) | SumPool(k, s, p):
            return set(k) == set(s) == {1} and not any(map(any, p))
    return False
