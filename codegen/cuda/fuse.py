"""Which nodes share a kernel: an anchor and the elementwise nodes behind it that nobody else reads."""
import heapq
from dataclasses import dataclass, field

import numpy as np

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Graph, Input, Lut, MatMul, Mul, Node, Pad, Recur, Requant, Reshape,
                Slice, Sqrt, Transpose)

from ..words import word

POINTWISE = (Requant, Add, Mul, Div, Sqrt, Lut)
VIEWS = (Reshape, Transpose, Slice, Expand)
MOVES = (Input, Constant, Concat, Pad, Recur, *VIEWS)  # no node joins them
HEAVY = (Conv, Dense, MatMul)


@dataclass(eq=False)
class Group:
    """The nodes of one kernel, in order; the last one is its result."""
    nodes: list[Node] = field(default_factory=list)

    @property
    def anchor(self) -> Node: return self.nodes[0]

    @property
    def end(self) -> Node: return self.nodes[-1]


def only_shifts(g: Graph, n: Node) -> bool:
    """Whether a node only adds a small number to bytes: it needs no kernel, as the number can be added where the bytes are read."""
    if not isinstance(n.op, Requant) or n.op.shift or n.op.mul.tolist() != [1] or abs(n.op.zero) > 255:
        return False
    t = g.nodes[n.args[0]].type
    return word(t) in ("int8", "uint8") and n.op.lo <= t.lo + n.op.zero and t.hi + n.op.zero <= n.op.hi


def groups(g: Graph, formed=()) -> list[Group]:
    """The graph as groups in the order in which they can run; none if some wait for one another.  formed: what some nodes already are.

    An elementwise node joins the group that ends in one of its arguments if it is the only reader of that and the group takes
    nodes; of two such groups it joins the one with a product of matrices, or the later one, and takes from the others what is
    better computed there.
    """
    users, open_, found = g.users(), {}, list(formed)
    taken = {n.name for q in formed for n in q.nodes}
    for n in g.nodes.values():
        if n.name in taken:
            continue
        mine = [open_[a] for a in dict.fromkeys(n.args) if a in open_ and users[a] == [n.name] and a != g.output.name]
        if isinstance(n.op, POINTWISE) and mine and not (only_shifts(g, n) and all(isinstance(g.nodes[u].op, MatMul) for u in users[n.name])):
            joined = max(mine, key=lambda q: (isinstance(q.anchor.op, HEAVY), found.index(q)))
            for a in dict.fromkeys(n.args):
                open_.pop(a, None)
            for q in mine:
                if q is not joined:
                    joined.nodes += _given(g, q)
                    if not q.nodes:
                        found.remove(q)
            joined.nodes.append(n)
        else:
            joined = Group([n])
            found.append(joined)
        if not isinstance(joined.anchor.op, MOVES):
            open_[n.name] = joined
    return _ordered(g, found)


def _given(g: Graph, q: Group) -> list[Node]:
    """Takes from a group what its reader had better compute: all, if it is elementwise, else what only widens its result."""
    def size(n: Node) -> int: return np.dtype(word(n.type)).itemsize

    def widens(n: Node) -> bool: return isinstance(n.op, Requant) and size(n) > size(g.nodes[n.args[0]])
    keep, at = 0 if isinstance(q.anchor.op, POINTWISE) else 1, len(q.nodes)
    while at > keep and (not keep or widens(q.nodes[at - 1])):
        at -= 1
    q.nodes, given = q.nodes[:at], q.nodes[at:]
    return given


def _ordered(g: Graph, found: list[Group]) -> list[Group]:
    """Each group behind all those it reads of; of those that could run, the one that ends first in the graph."""
    of = {n.name: q for q in found for n in q.nodes}
    needs = {q: {of[a] for n in q.nodes for a in n.args} - {q} for q in found}
    at, done, ready = {name: i for i, name in enumerate(g.nodes)}, [], []
    readers: dict[Group, list[Group]] = {q: [] for q in found}
    for q, sources in needs.items():
        for s in sources:
            readers[s].append(q)
    waits = {q: len(sources) for q, sources in needs.items()}
    for q in found:
        if not waits[q]:
            heapq.heappush(ready, (at[q.end.name], q))
    while ready:
        _, q = heapq.heappop(ready)
        done.append(q)
        for r in readers[q]:
            waits[r] -= 1
            if not waits[r]:
                heapq.heappush(ready, (at[r.end.name], r))
    return done if len(done) == len(found) else []
