"""Elementwise nodes as TIR expressions: what a kernel does to a finished element on its way to memory."""
from ir import Add, Div, Ints, Lut, Mul, Node, Requant, Sqrt, UserError, ops

from .. import tir  # noqa: F401  (ir.ops on expressions)
from ..words import INT32, calc, magnitude
from .fuse import Group
from .values import Value


class Chain:
    """The elementwise nodes of a group, evaluated at one index.  `reads` are the values they load beside the anchor's."""

    def __init__(self, group: Group, types: dict[str, Ints], env: dict[str, Value], constant):
        """types and env: of all nodes so far, by name; constant(array, axis, rank): a Value that varies along one axis."""
        self.nodes = [n for n in group.nodes if isinstance(n.op, (Requant, Add, Mul, Div, Sqrt, Lut))]
        self.anchor, self.types, inside = group.anchor.name, types, {n.name for n in group.nodes}
        self.loads = {a: env[a] for n in self.nodes for a in n.args if a not in inside}
        self.constants = {n.name: constant(*c) for n in self.nodes if (c := _array(n, len(n.type.shape)))}
        self.reads = [*self.loads.values(), *self.constants.values()]

    def at(self, k, value, b, *index):
        """The result of the last node at (b, *index), where the anchor's element is `value` (None: the anchor is elementwise too)."""
        env = {self.anchor: value}
        for n in self.nodes:
            args = [env[a] if a in env and env[a] is not None else k.load(self.loads[a], b, *index) for a in n.args]
            env[n.name] = value = self.node(k, n, args, b, index)
        return value

    def node(self, k, n: Node, args: list, b, index):
        """The element of n at (b, *index), where those of its arguments are `args`."""
        types = [self.types[a] for a in n.args]
        match n.op:
            case Requant(mul, shift, zero, lo, hi):
                dtype = calc(_requant_bound(n.op, types[0]))
                m = k.load(self.constants[n.name], b, *index).astype(dtype) if len(mul) > 1 else int(mul[0])
                rounded = ops.round_shift(args[0].astype(dtype) * m, shift)
                if dtype == "int64" and max(_product(n.op, types[0]) >> shift, abs(zero), abs(lo), abs(hi)) <= INT32 // 4:
                    rounded = rounded.astype("int32")  # clamped in half as many steps
                return ops.clamp(rounded + zero, lo, hi)
            case Lut(table, base):
                v = self.constants[n.name]
                i = args[0].astype(calc(max(magnitude(types[0]), abs(base)) + len(table))) - base
                return k.view(v, v.dtype)[k.place(v, i.astype("int32"))]
            case Sqrt():
                return ops.root(args[0])
            case Add() | Mul() | Div():
                extra = 2 * magnitude(types[0]) + 4 * types[1].hi if isinstance(n.op, Div) else 0
                dtype = calc(max(magnitude(n.type), extra, *map(magnitude, types)))
                a, c = (x.astype(dtype) for x in args)
                return a + c if isinstance(n.op, Add) else a * c if isinstance(n.op, Mul) else ops.divide(a, c)
        raise UserError(f"node {n.name!r}: the CUDA backend has no rule for {type(n.op).__name__}")


def _array(n: Node, rank: int):
    """The array that a node reads as it goes, with the axis along which it varies (None: a table)."""
    if isinstance(n.op, Lut):
        return n.op.table, None, rank
    if isinstance(n.op, Requant) and len(n.op.mul) > 1:
        return n.op.mul, n.op.axis % rank, rank
    return None


def _product(op: Requant, t: Ints) -> int: return max(magnitude(t), 1) * max(abs(int(op.mul.min())), abs(int(op.mul.max())))


def _requant_bound(op: Requant, t: Ints) -> int: return max(_product(op, t) + (1 << op.shift) + abs(op.zero), abs(op.lo), abs(op.hi))
