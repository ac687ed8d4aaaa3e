"""The cheapest closed set of a graph, by maximum flow (Dinic 1970)."""
from collections import deque

FOREVER = 1 << 60


class Network:
    """Nodes 0 .. n - 1 and directed edges of a capacity."""

    def __init__(self, nodes: int):
        self.edges: list[list[int]] = [[] for _ in range(nodes)]  # of each node, positions in the lists below
        self.to: list[int] = []
        self.left: list[int] = []

    def add(self, a: int, b: int, capacity: int) -> None:
        """An edge, and behind it the one that takes flow back."""
        for start, end, c in ((a, b, capacity), (b, a, 0)):
            self.edges[start].append(len(self.to))
            self.to.append(end)
            self.left.append(c)

    def source_side(self, source: int, sink: int) -> set[int]:
        """Nodes on the source's side of the cheapest cut: as few of them as any cheapest cut has."""
        while (level := self._levels(source))[sink] >= 0:
            self._block(source, sink, level)
        return {k for k, at in enumerate(level) if at >= 0}

    def _levels(self, source: int) -> list[int]:
        level = [-1] * len(self.edges)
        level[source] = 0
        todo = deque([source])
        while todo:
            a = todo.popleft()
            for e in self.edges[a]:
                if self.left[e] and level[self.to[e]] < 0:
                    level[self.to[e]] = level[a] + 1
                    todo.append(self.to[e])
        return level

    def _block(self, source: int, sink: int, level: list[int]) -> None:
        """Flow along shortest ways until none is left."""
        turn = [0] * len(self.edges)
        path: list[int] = []
        at = source
        while True:
            if at == sink:
                flow = min(self.left[e] for e in path)
                for e in path:
                    self.left[e] -= flow
                    self.left[e ^ 1] += flow
                full = next(i for i, e in enumerate(path) if not self.left[e])
                at = self.to[path[full] ^ 1]
                del path[full:]
                continue
            edges = self.edges[at]
            while turn[at] < len(edges) and not (self.left[edges[turn[at]]] and level[self.to[edges[turn[at]]]] == level[at] + 1):
                turn[at] += 1
            if turn[at] < len(edges):
                path.append(edges[turn[at]])
                at = self.to[edges[turn[at]]]
            elif path:
                at = self.to[path.pop() ^ 1]
                turn[at] += 1
            else:
                return
