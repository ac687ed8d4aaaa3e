"""Which nodes share a kernel: an anchor and the elementwise nodes behind it that nobody else reads."""
from dataclasses import dataclass, field

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Graph, Input, Lut, MatMul, Mul, Node, Pad, Recur, Requant, Reshape,
                Slice, Sqrt, Transpose)

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


def groups(g: Graph) -> list[Group]:
    """The graph as groups in the order in which they can run.

    An elementwise node joins the group that ends in one of its arguments if it is the only reader of that and the group takes
    nodes; of two such groups it joins the one with a product of matrices, or the later one.
    """
    users, open_, found = g.users(), {}, []
    for n in g.nodes.values():
        mine = [open_[a] for a in dict.fromkeys(n.args) if a in open_ and users[a] == [n.name] and a != g.output.name]
        if isinstance(n.op, POINTWISE) and mine:
            joined = max(mine, key=lambda q: (isinstance(q.anchor.op, HEAVY), found.index(q)))
            del open_[joined.end.name]
            joined.nodes.append(n)
        else:
            joined = Group([n])
            found.append(joined)
        if not isinstance(joined.anchor.op, MOVES):
            open_[n.name] = joined
    at = {name: i for i, name in enumerate(g.nodes)}
    return sorted(found, key=lambda q: at[q.end.name])
