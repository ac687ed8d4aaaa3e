"""The integer graph: what the interpreter defines and every backend compiles; its ops are those of `ir/opset.py`."""
from dataclasses import dataclass, field

import numpy as np

from .errors import UserError
from .infer import infer
from .opset import Input, Ints, Op


@dataclass(frozen=True, eq=False)
class Node:
    """One value of the graph: `name` = `op` of the values named `args`, of type `type`."""
    name: str
    op: Op
    args: tuple[str, ...]
    type: Ints


@dataclass(frozen=True)
class Encoding:
    """real value = scale * (integer - zero)."""
    scale: float
    zero: int = 0

    def encode(self, x, lo: int, hi: int) -> np.ndarray:
        """Reals to int64 codes: nearest, ties to even, then clipped to [lo, hi]."""
        x = np.asarray(x, np.float64)
        if np.isnan(x).any():
            raise UserError(f"{int(np.isnan(x).sum())} of {x.size} values are not a number; there is no code for NaN")
        return np.clip(np.rint(x / self.scale) + self.zero, lo, hi).astype(np.int64)

    def decode(self, q) -> np.ndarray:
        """Integer codes to float64 reals."""
        return (np.asarray(q, np.float64) - self.zero) * self.scale


@dataclass
class Graph:
    """Nodes in topological order; the last one added is the output unless `result` names another.

    `encodings` says what the integers of a node mean (kept for inputs and the output: a user needs no others).
    """
    nodes: dict[str, Node] = field(default_factory=dict)
    result: str | None = None
    encodings: dict[str, Encoding] = field(default_factory=dict)

    def add(self, name: str, op: Op, *args: str) -> str:
        """Append a node and return its name; its type is inferred, and refused if it cannot be held."""
        if name in self.nodes:
            raise UserError(f"node {name!r} exists already")
        if missing := [a for a in args if a not in self.nodes]:
            raise UserError(f"node {name!r} reads {missing}, not in the graph (it has {', '.join(self.nodes)})")
        try:
            t = infer(op, *[self.nodes[a].type for a in args])
        except UserError as e:
            raise UserError(f"node {name!r}: {e}") from None
        self.nodes[name] = Node(name, op, args, t)
        return name

    @property
    def inputs(self) -> list[Node]: return [n for n in self.nodes.values() if isinstance(n.op, Input)]

    @property
    def output(self) -> Node:
        if not self.nodes:
            raise UserError("the graph is empty")
        name = self.result or next(reversed(self.nodes))
        if name not in self.nodes:
            raise UserError(f"the graph's result is {name!r}, not one of its nodes ({', '.join(self.nodes)})")
        return self.nodes[name]

    def users(self) -> dict[str, list[str]]:
        """name -> names of the nodes that read it."""
        out: dict[str, list[str]] = {n: [] for n in self.nodes}
        for n in self.nodes.values():
            for a in dict.fromkeys(n.args):
                out[a].append(n.name)
        return out

    def __str__(self) -> str:
        from .show import text
        return text(self)
