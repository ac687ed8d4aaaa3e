"""Norms, softmax and their like: nodes over the rows of one matrix, with sums or maxima along them, in one kernel.

One warp a row: a thread keeps every 32nd value of it in registers, from what is read to what somebody else reads.
"""
from dataclasses import dataclass, field

from tvm import tirx

from ir import Expand, Graph, MaxPool, Node, SumPool

from ..words import calc, magnitude
from . import intrinsics
from .fuse import POINTWISE, Group
from .kernel import THREADS, Count, Step, T, when
from .pointwise import Chain
from .values import Value

LANES = 32
SHORTEST, LONGEST = 8, 1024  # rows that a warp takes: 32 registers a value at most


@dataclass(eq=False)
class Rowwise(Group):
    """Nodes over (rows, length) and (rows, 1), in order; `read` are those that others read."""
    shape: tuple[int, int] = (0, 0)
    read: list[Node] = field(default_factory=list)


def rowwise(g: Graph) -> list[Rowwise]:
    """Sets of nodes that begin with a pool of whole rows and hold what follows from it row by row.

    What the nodes of a set read of others must not come from the set: where it would, the node stays outside.
    """
    users, found, of, after = g.users(), [], {}, {}
    for n in g.nodes.values():
        after[n.name] = set().union(*(after[a] | ({of[a]} if a in of else set()) for a in n.args))  # indices of sets that it follows from
        shapes = [g.nodes[a].type.shape for a in n.args]
        mine = {of[a] for a in n.args if a in of}
        for i in sorted(mine, reverse=True):
            if _belongs(n, shapes, found[i].shape) and not any(i in after[a] for a in n.args if of.get(a) != i):
                break
        else:
            if not _whole_rows(n, shapes):
                continue
            i = len(found)
            found.append(Rowwise(shape=shapes[0]))
        of[n.name] = i
        found[i].nodes.append(n)
        after[n.name] -= {i}
    at = {name: i for i, name in enumerate(g.nodes)}
    for n in reversed(g.nodes.values()):
        homes = {of.get(u) for u in users[n.name]}
        if isinstance(n.op, POINTWISE) and n.name not in of and len(homes) == 1 and None not in homes and n is not g.output:
            (i,) = homes
            if n.type.shape == found[i].shape and not any(a in of for a in n.args):
                of[n.name] = i
                found[i].nodes.append(n)
    for i, s in enumerate(found):
        s.nodes.sort(key=lambda n: at[n.name])
        s.read = [n for n in s.nodes if n is g.output or any(of.get(u) != i for u in users[n.name])]
    return [s for s in found if len(s.nodes) > 1]


def _whole_rows(n: Node, shapes) -> bool:
    return (isinstance(n.op, MaxPool | SumPool) and len(shapes[0]) == 2 and n.op.kernel == shapes[0][1:] and not any(map(any, n.op.padding))
            and SHORTEST <= shapes[0][1] <= LONGEST)


def _belongs(n: Node, shapes, shape) -> bool:
    fits = (shape, (shape[0], 1))
    if isinstance(n.op, MaxPool | SumPool):
        return _whole_rows(n, shapes) and shapes[0] == shape
    return isinstance(n.op, (*POINTWISE, Expand)) and n.type.shape in fits and all(s in fits for s in shapes)


def step(name: str, s: Rowwise, types: dict, env: dict[str, Value], chain: Chain, outs: dict[str, Value]) -> Step:
    """outs: memory for s.read, by name."""
    rows, length = s.shape
    per = -(-length // LANES)
    inside = {n.name for n in s.nodes}
    loads = [env[a] for n in s.nodes for a in n.args if a not in inside]

    def body(k):
        at, lane = k.block[0] * (THREADS // LANES) + k.thread // LANES, k.thread % LANES
        with when(at < k.n * rows):
            _Row(k, s, types, env, chain, outs, at // rows, at % rows, lane, per).fill()
    first, *rest = outs.values()
    return Step(name, [*loads, *chain.reads], first, (Count(rows, THREADS // LANES),), THREADS, body, also=rest)


class _Row:
    """A row under way: values by name, a buffer of `per` for those of the whole row, of one for those it has once."""

    def __init__(self, k, s: Rowwise, types, env, chain: Chain, outs, b, r, lane, per: int):
        self.k, self.s, self.types, self.env, self.chain, self.outs = k, s, types, env, chain, outs
        self.b, self.r, self.lane, self.per = b, r, lane, per
        self.values: dict = {}

    def fill(self) -> None:
        for n in self.s.nodes:
            self.values[n.name] = self._value(n)
            if n.name in self.outs:
                self._store(n)

    def _value(self, n: Node):
        dtype = calc(magnitude(n.type))
        if isinstance(n.op, Expand) and n.args[0] in self.values:
            return self.values[n.args[0]]
        if isinstance(n.op, MaxPool | SumPool):
            return self._fold(n, dtype)
        whole = n.type.shape == self.s.shape
        out = T.alloc_buffer((self.per if whole else 1,), dtype, scope="local")
        with T.unroll(self.per if whole else 1) as i:
            at = self._place(i) if whole else 0
            args = [self._read(a, i, at) for a in n.args]
            value = args[0] if isinstance(n.op, Expand) else self.chain.node(self.k, n, args, self.b, (self.r, at))
            T.buffer_store(out, value.astype(dtype), [i])
        return out

    def _fold(self, n: Node, dtype: str):
        x, t = n.args[0], self.types[n.args[0]]
        largest = isinstance(n.op, MaxPool)
        out = T.alloc_buffer((1,), dtype, scope="local")
        start = tirx.const(t.lo if largest else 0, dtype)
        T.buffer_store(out, start, [0])
        with T.unroll(self.per) as i:
            v = self._read(x, i, self._place(i)).astype(dtype)
            if self.s.shape[1] % LANES:
                v = tirx.Select(i * LANES + self.lane < self.s.shape[1], v, start)
            T.buffer_store(out, tirx.max(out[0], v) if largest else out[0] + v, [0])
        T.buffer_store(out, intrinsics.warp("max" if largest else "sum", out[0], dtype), [0])
        return out

    def _place(self, i):
        """The thread's i-th place in the row; the last one over again behind its end."""
        at = i * LANES + self.lane
        return at if self.s.shape[1] % LANES == 0 else tirx.min(at, self.s.shape[1] - 1)

    def _read(self, name: str, i, at):
        if name not in self.values:
            v = self.env[name]
            return self.k.load(v, self.b, self.r, at if v.shape[1] > 1 else 0)
        buffer = self.values[name]
        return buffer[i if int(buffer.shape[0]) > 1 else 0]

    def _store(self, n: Node) -> None:
        out, buffer = self.outs[n.name], self.values[n.name]
        if n.type.shape != self.s.shape:
            with when(self.lane == 0):
                self.k.store(out, buffer[0], self.b, self.r, 0)
            return
        with T.unroll(self.per) as i:
            at = i * LANES + self.lane
            with when(at < self.s.shape[1] if self.s.shape[1] % LANES else None):
                self.k.store(out, buffer[i if int(buffer.shape[0]) > 1 else 0], self.b, self.r, at)

