"""Which nodes work on rows by themselves: sums and maxima of the last axis with all that is computed from them, as norms and softmax are."""

from ir import Expand, Graph, MaxPool, Node, SumPool

from .groups import ANCHORS, ELEMENTWISE, Group


def row_groups(g: Graph) -> list[Group]:
    """Groups that one kernel computes row by row; no node is in two."""
    finder, found = Finder(g), []
    for n in g.nodes.values():
        if reduces(n, g) and n.name not in finder.taken and (group := finder.group(n)) is not None:
            found.append(group)
            finder.taken.update(m.name for m in group.body)
    return found


def reduces(n: Node, g: Graph) -> bool:
    """Whether n is one number for each row of its argument."""
    if not isinstance(n.op, (SumPool, MaxPool)) or len(n.type.shape) != 2:
        return False
    width = g.nodes[n.args[0]].type.shape[-1]
    return n.op.kernel == (width,) and n.type.shape[-1] == 1 and width > 1 and not any(map(any, n.op.padding))


class Finder:
    def __init__(self, g: Graph):
        self.g, self.users = g, g.users()
        self.position = {name: i for i, name in enumerate(g.nodes)}
        self.taken: set[str] = set()

    def group(self, seed: Node) -> Group | None:
        """All that follows from a reduction in the same rows, as far as only its last value is read elsewhere."""
        shape = self.g.nodes[seed.args[0]].type.shape
        reached, inside = {seed.name}, [seed.name]
        for n in list(self.g.nodes.values())[self.position[seed.name] + 1:]:
            if reached.intersection(n.args):
                if self.fits(n, shape) and all(a in inside or a not in reached for a in n.args):
                    inside.append(n.name)
                reached.add(n.name)
        for end in range(len(inside), 1, -1):
            names = set(inside[:end])
            if self.open(names) == [inside[end - 1]] and self.g.nodes[inside[end - 1]].type.shape == shape:
                names |= {more for name in names for more in self.feeders(name, names, shape)}
                body = tuple(self.g.nodes[name] for name in sorted(names, key=self.position.get))
                return Group(None, body, self.g.nodes[inside[end - 1]], rows=True)
        return None

    def fits(self, n: Node, shape) -> bool:
        if n.name in self.taken:
            return False
        of_row = n.type.shape in (shape, (*shape[:-1], 1))
        if isinstance(n.op, Expand):
            return n.type.shape == shape and self.g.nodes[n.args[0]].type.shape == (*shape[:-1], 1)
        if isinstance(n.op, ELEMENTWISE):
            return of_row and len(getattr(n.op, "mul", ())) in (0, 1, shape[-1] if n.type.shape == shape else 1)
        return reduces(n, self.g) and self.g.nodes[n.args[0]].type.shape == shape

    def open(self, names: set[str]) -> list[str]:
        """Those of the names that others read."""
        return [n for n in sorted(names, key=self.position.get) if self.g.nodes[n] is self.g.output or not names.issuperset(self.users[n])]

    def feeders(self, name: str, names: set[str], shape) -> set[str]:
        """Elementwise nodes that compute what `name` reads, for nobody but these rows, and not from what an anchor leaves wide."""
        found: set[str] = set()
        for a in self.g.nodes[name].args:
            n = self.g.nodes[a]
            known = names | found
            if a in known or not isinstance(n.op, ELEMENTWISE) or not self.fits(n, shape) or not known.issuperset(self.users[a]):
                continue
            if n is not self.g.output and not any(isinstance(self.g.nodes[b].op, ANCHORS) for b in n.args):
                found |= {a} | self.feeders(a, known | {a}, shape)
        return found
