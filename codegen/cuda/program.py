"""ir.Graph -> the kernels of a GPU program, in order, with all memory placed."""
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from ir import (Concat, Constant, Conv, Dense, Expand, Gather, Graph, MatMul, MaxPool, Op, Pad, Recur, Reshape, Slice,
                SumPool, Transpose)

from ..words import narrow, word
from . import generic, tiles
from .fuse import POINTWISE, Group, groups, only_shifts
from .gemm import Tile
from .kernel import Step
from .pointwise import Chain
from .products import Builder
from .rowwise import Rowwise, rowwise
from .rowwise import step as row_step
from .values import ALIGN, Root, Value, expanded, place, reshaped, sliced, stored, transposed


@dataclass
class Program:
    """Steps and the memory that they share.  `workspace` is in bytes a sample."""
    inputs: list[str]
    steps: list[Step] = field(default_factory=list)
    weights: list[tuple[Root, np.ndarray]] = field(default_factory=list)
    workspace: int = 0
    widest: int = 1  # elements of the largest tensor of a sample: indices are int32

    def blob(self) -> np.ndarray:
        """All constants, each where its root says."""
        end = max((r.base + r.bytes for r, _ in self.weights), default=0)
        out = np.zeros(max(end, ALIGN), np.uint8)
        for r, a in self.weights:
            out[r.base:r.base + a.nbytes] = np.frombuffer(a.tobytes(), np.uint8)
        return out

    @property
    def params(self) -> list[str]:
        """Names of the pointers that a kernel is given, in order."""
        return [*(f"x{i}" for i in range(len(self.inputs))), "y", "weights", "workspace"]


def program(g: Graph, prefix: str = "k", tile: Tile | str = "mma") -> Program:
    """Lowers a graph.  Kernels are called prefix0, prefix1, ...  UserError: an op without a rule.

    tile: the engine of products of matrices, "mma" (sm_80 and later) or "dp4a", whose tiles go by the shapes; or one tile for all.
    """
    return _Lowering(g, prefix, tile).done()


class _Lowering:
    def __init__(self, g: Graph, prefix: str, tile: Tile | str):
        self.tile, self.numbers = tile, count()
        self.g, self.prefix, self.program = g, prefix, Program([n.name for n in g.inputs])
        self.types = {n.name: n.type for n in g.nodes.values()}
        self.env: dict[str, Value] = {}
        self.interned: dict = {}
        self.finals, self.users = _finals(g), g.users()

    def done(self) -> Program:
        for i, n in enumerate(self.g.inputs):
            self.env[n.name] = stored(f"x{i}", word(n.type), n.type.shape)
        for group in groups(self.g, rowwise(self.g)) or groups(self.g):
            if isinstance(group, Rowwise):
                self._rowwise(group)
            elif group.end.name not in self.env:
                self.env[group.end.name] = self._group(group)
        result = self.env[self.g.output.name]
        if result.root.where != "y":
            self.emit(generic.copy(self.name(), result, self.new(self.g.output, None, "y")))
        lives = {}
        for i, s in enumerate(self.program.steps):
            for v in s.values:
                if v.root.where == "workspace":
                    lives[v.root] = lives.get(v.root, (i, i))[0], i
        self.program.workspace = place([(r, *life) for r, life in lives.items()])
        self.program.widest = max(v.root.size for s in self.program.steps for v in s.values if v.root.where != "weights")
        return self.program

    def name(self) -> str: return f"{self.prefix}{next(self.numbers)}"

    def emit(self, step: Step) -> Value:
        self.program.steps.append(step)
        return step.write

    def new(self, n, order=None, where: str = "workspace") -> Value: return stored(where, word(n.type), n.type.shape, order)

    def result(self, group: Group, order=None) -> Value:
        """Memory for the result of a group: the caller's for what is the output or is only seen another way there, else new."""
        return self.finals.get(group.end.name) or self.new(group.end, order)

    def constant(self, a: np.ndarray, axis: int | None = None, rank: int = 0) -> Value:
        """The array in the weights, each different one once: as it is, or (rank > 0) as a tensor that varies along one axis."""
        a = np.ascontiguousarray(a)
        key = a.dtype.str, a.shape, a.tobytes()
        if key not in self.interned:
            root = Root("weights", str(a.dtype), a.size, sum(r.bytes for r, _ in self.program.weights))
            self.program.weights.append((root, a))
            self.interned[key] = root
        root = self.interned[key]
        if axis is not None:
            return Value(root, (1,) * axis + a.shape + (1,) * (rank - axis - 1), tuple(int(i == axis) for i in range(rank)), 0)
        strides = stored("", "int8", a.shape).strides
        return Value(root, a.shape, strides, 0)

    def _group(self, group: Group) -> Value:
        n, op = group.anchor, group.anchor.op
        args, types = [self.env[a] for a in n.args], [self.types[a] for a in n.args]
        match op:
            case Constant(value):
                return self.constant(narrow(value))
            case Transpose(perm):
                return transposed(args[0], perm)
            case Slice(start, _, step):
                return sliced(args[0], start, n.type.shape, step)
            case Expand(shape):
                return expanded(args[0], shape)
            case Reshape(shape):
                return reshaped(args[0], shape) or reshaped(self.emit(generic.copy(self.name(), args[0], self.new(self.g.nodes[n.args[0]]))), shape)
            case Pad(padding, value):
                return self.emit(generic.pad(self.name(), args[0], padding, value, self.result(group, args[0].order())))
            case Recur():
                return self.emit(generic.recur(self.name(), n, types, args, self.result(group, args[0].order())))
            case Concat(axis):
                return self._concat(group, axis, args)
        chain = Chain(group, self.types, self.env, lambda a, axis, rank: self.constant(narrow(a), axis, rank))
        if isinstance(op, POINTWISE):
            if group.end is n and n.name not in self.finals and args[0].dtype in ("int8", "uint8") and only_shifts(self.g, n):
                return replace(args[0], zero=args[0].zero + op.zero)
            return self.emit(generic.pointwise(self.name(), chain, self.result(group, _order(args))))
        return self._anchor(group, types, args, chain)

    def _rowwise(self, s: Rowwise) -> None:
        chain = Chain(s, self.types, self.env, lambda a, axis, rank: self.constant(narrow(a), axis, rank))
        outs = {n.name: self.finals.get(n.name) or self.new(n) for n in s.read}
        self.emit(row_step(self.name(), s, self.types, self.env, chain, outs))
        self.env |= outs

    def _anchor(self, group: Group, types, args, chain: Chain) -> Value:
        n, op = group.anchor, group.anchor.op
        order = self._wished(group) or ((*range(1, len(n.type.shape)), 0) if isinstance(op, Conv)
                                        else args[0].order() if isinstance(op, MaxPool | SumPool) else None)
        builder, out = Builder(self, chain), lambda: self.result(group, order)
        if made := builder.product(op, types, args, out):
            for step in tiles.steps(self.name, made, self.tile):
                self.emit(step)
            return made.write
        if made := builder.depthwise(op, types, args, out):
            return self.emit(made)
        if generic.folds_by_warps(op, args):
            return self.emit(generic.warps(self.name(), n, types, args, chain, out()))
        consts = [self.constant(narrow(a)) for a in arrays(op)]
        return self.emit(generic.step(self.name(), n, types, args, consts, chain, out()))

    def _wished(self, group: Group):
        """The order of a product of activations that is only read with its axes changed: then that is in C order, and can be reshaped."""
        readers = [self.g.nodes[u].op for u in self.users[group.end.name]]
        return readers[0].perm if len(readers) == 1 and isinstance(readers[0], Transpose) and isinstance(group.anchor.op, MatMul) else None

    def _concat(self, group: Group, axis: int, args) -> Value:
        out, at = self.result(group, args[0].order()), 0
        for v in args:
            start = [at if a == axis else 0 for a in range(len(v.shape))]
            self.emit(generic.copy(self.name(), v, sliced(out, start, v.shape, (1,) * len(v.shape))))
            at += v.shape[axis]
        return out


def _finals(g: Graph) -> dict[str, Value]:
    """Where the output lies, which is in C order, as the nodes see it that it is a mere view of."""
    n, users = g.output, g.users()
    v = stored("y", word(n.type), n.type.shape)
    found = {n.name: v}
    while isinstance(n.op, Transpose | Reshape) and users[n.args[0]] == [n.name]:
        inner = g.nodes[n.args[0]]
        v = transposed(v, np.argsort(n.op.perm).tolist()) if isinstance(n.op, Transpose) else reshaped(v, inner.type.shape)
        if v is None:
            break
        n = inner
        found[n.name] = v
    return found


def _order(args: list[Value]):
    """The order in memory of the first operand that is whole."""
    whole = [v for v in args if v.batch and all(s or n == 1 for s, n in zip(v.strides, v.shape))]
    return whole[0].order() if whole else None


def arrays(op: Op) -> list[np.ndarray]:
    """The constants of an op that its generic kernel reads."""
    match op:
        case Dense(weight, bias) | Conv(weight, bias):
            return [weight, bias]
        case Gather(table):
            return [table]
    return []
