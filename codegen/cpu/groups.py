"""Which nodes of a graph are computed together, by one kernel."""
from dataclasses import dataclass

from ir import (Add, Concat, Conv, Dense, Div, Expand, Gather, Graph, Lut, MatMul, MaxPool, Mul, Node, Pad, Recur, Requant,
                Reshape, Slice, Sqrt, SumPool, Transpose)

from ..words import WORDS, word

ELEMENTWISE = (Requant, Add, Mul, Div, Sqrt, Lut)
VIEWS = (Reshape, Transpose, Slice, Expand)  # no work where the memory can be read as it lies
ANCHORS = (Dense, Conv, MatMul, MaxPool, SumPool)  # they take the elementwise nodes behind them into their kernel
OTHERS = (Gather, Concat, Pad, Recur)


@dataclass(frozen=True)
class Group:
    """`body` are elementwise nodes, all of one shape and in order; `anchor` feeds them, or nothing does; `sink` is what is stored.

    rows: the nodes have no anchor; they are elementwise, or sums and maxima of rows, or those for all of the row again.
    """
    anchor: Node | None
    body: tuple[Node, ...]
    sink: Node
    rows: bool = False

    @property
    def reads(self) -> list[str]:
        """Names of the values that the group reads, in order, each once."""
        own = {n.name for n in self.nodes}
        return list(dict.fromkeys(a for n in self.nodes for a in n.args if a not in own))

    @property
    def nodes(self) -> tuple[Node, ...]: return ((self.anchor,) if self.anchor else ()) + self.body


def groups(g: Graph, ready: list[Group]) -> list[Group | Node]:
    """The graph as groups, some of which are there already, and nodes that are views, in an order in which they can run."""
    return Grouping(g, ready).run()


class Grouping:
    def __init__(self, g: Graph, ready: list[Group]):
        self.g, self.users, self.ready = g, g.users(), ready
        self.position = {name: i for i, name in enumerate(g.nodes)}
        self.taken: set[str] = {n.name for group in ready for n in group.nodes}  # nodes that have a group

    def run(self) -> list[Group | Node]:
        found: dict[int, Group | Node] = {self.position[group.sink.name]: group for group in self.ready}
        for n in self.g.nodes.values():
            if isinstance(n.op, ANCHORS) and n.name not in self.taken:
                found[self.position[n.name]] = self.grown(n)
        for n in reversed(self.g.nodes.values()):  # a value is met after all its readers
            at = self.position[n.name]
            if isinstance(n.op, VIEWS):
                if n.name not in self.taken:
                    found[at] = n
            elif isinstance(n.op, OTHERS):
                found[at] = Group(n, (), n)
            elif isinstance(n.op, ELEMENTWISE) and n.name not in self.taken:
                found[at] = Group(None, self.take(self.inlined(n.name, at + 1, root=True)), n)
        return [found[at] for at in sorted(found)]

    def grown(self, anchor: Node) -> Group:
        """The anchor with the elementwise nodes behind it, up to the last of the narrowest values on the way."""
        ends, body = [((), anchor)], []
        while (reader := self.reader(ends[-1][1])) is not None and reader.type.shape == anchor.type.shape:
            extra = self.others(reader, ends[-1][1].name, self.position[anchor.name])
            if extra is None:
                break
            body = [*body, *extra, reader.name]
            ends.append((tuple(body), reader))
        names, sink = min(reversed(ends), key=lambda e: WORDS.index(word(e[1].type)) // 2)
        return Group(anchor, self.take(names), sink)

    def take(self, names) -> tuple[Node, ...]:
        self.taken.update(names)
        return tuple(self.g.nodes[name] for name in sorted(dict.fromkeys(names), key=self.position.get))

    def reader(self, n: Node) -> Node | None:
        """The only reader of n, if it is elementwise."""
        if n is self.g.output or len(self.users[n.name]) != 1:
            return None
        reader = self.g.nodes[self.users[n.name][0]]
        return reader if isinstance(reader.op, ELEMENTWISE) and reader.name not in self.taken else None

    def others(self, n: Node, known: str, before: int) -> list[str] | None:
        """What is to be computed with n besides the value `known`; None if something will not be there yet."""
        parts = [self.inlined(a, before) for a in dict.fromkeys(n.args) if a != known]
        return None if None in parts else [name for part in parts for name in part]

    def inlined(self, name: str, before: int, root: bool = False) -> list[str] | None:
        """The elementwise nodes that make up a value, as far as nobody else reads them; None if it needs what comes at `before` or later."""
        n = self.g.nodes[name]
        alone = len(self.users[name]) == 1 and n is not self.g.output
        if root or alone and isinstance(n.op, ELEMENTWISE) and name not in self.taken:
            parts = [self.inlined(a, before) for a in dict.fromkeys(n.args)]
            return None if None in parts else [*(name for part in parts for name in part), name]
        return [] if self.position[name] < before else None
