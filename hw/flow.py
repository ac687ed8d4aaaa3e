"""The plan of the streams: in which order and how many elements a beat every value flows, and how its readers take it.

The one source of what the generator builds, what a cycle count counts and what a FIFO must bridge.
"""
import math
from dataclasses import dataclass

import numpy as np

from ir import (Add, Concat, Conv, Dense, Gather, Graph, Input, MatMul, MaxPool, Mul, Node, Pad, Reshape, Slice, SumPool, Transpose,
                UserError)

from .orders import beat_moves, channels_inner, divisors, flow_shape, inner_axis, moves, renamed, usual_axis

Folding = dict[str, tuple[int, int]]  # node -> (pe, simd): outputs and inputs handled in one cycle; a missing node gets (1, 1)


@dataclass(frozen=True)
class Take:
    """How a node takes one argument: `reorder` (beat numbers, in beats of `via` elements) or None, then in beats of `lanes`."""
    lanes: int
    reorder: np.ndarray | None = None
    via: int = 0


@dataclass(frozen=True)
class Flow:
    """How one value flows: `order` (stream position -> C order), `lanes` elements a beat; `takes`, one for each argument."""
    order: np.ndarray
    lanes: int
    takes: tuple[Take, ...] = ()


def depthwise(op) -> bool:
    """A convolution in which each channel has a kernel of its own and gives one channel."""
    return isinstance(op, Conv) and op.groups > 1 and op.weight.shape[1] == 1 and len(op.weight) == op.groups


def flows(g: Graph, folding: Folding | None = None) -> dict[str, Flow]:
    """Node -> how its value flows.  UserError: a folding that does not divide, or of a node that is not there."""
    folding = folding or {}
    if unknown := folding.keys() - g.nodes.keys():
        raise UserError(f"the folding names {', '.join(sorted(unknown))}, not in the graph (it has {', '.join(g.nodes)})")
    out: dict[str, Flow] = {}
    for n in g.nodes.values():
        if not n.type.shape:
            raise UserError(f"node {n.name!r} is a number without axes and has no stream; reshape it to (1,)")
        if n.name in folding and tuple(folding[n.name]) not in (choices := legal(g, n.name)):
            raise UserError(f"folding {folding[n.name]} of node {n.name!r} does not divide it; legal (pe, simd): {_few(choices)}")
        out[n.name] = _flow(g, n, folding, [out[a] for a in n.args])
    return out


def legal(g: Graph, name: str) -> list[tuple[int, int]]:
    """Every (pe, simd) that node `name` may get; [] for a node that has no folding of its own and goes at its inputs' pace.

    Dense, Conv: outputs and inputs a cycle.  Depthwise: channels a cycle.  Pools: channels a cycle.  MatMul: columns
    of b and terms of the sum.  Gather: elements of a row.
    """
    n = g.nodes[name]
    match n.op:
        case Dense(w, _):
            pes, simds = divisors(w.shape[0]), divisors(w.shape[1])
        case Conv() if depthwise(n.op):
            pes, simds = divisors(n.op.groups), [1]
        case Conv(w):
            pes, simds = divisors(len(w) // n.op.groups), divisors(w.shape[1])
        case MaxPool() | SumPool():
            pes, simds = divisors(n.type.shape[0]), [1]
        case MatMul():
            pes, simds = divisors(n.type.shape[-1]), divisors(g.nodes[n.args[0]].type.shape[-1])
        case Gather(table):
            pes, simds = divisors(table.shape[1]), [1]
        case _:
            return []
    return [(p, s) for p in pes for s in simds]


def _flow(g: Graph, n: Node, folding: Folding, args: list[Flow]) -> Flow:
    pe, simd = folding.get(n.name, (1, 1))
    types = [g.nodes[a].type for a in n.args]
    x, t = (args[0] if args else None), (types[0] if types else None)
    match n.op:
        case Input():
            axis = _wanted_axis(g, n)
            return Flow(channels_inner(n.type.shape, axis), _wanted_lanes(g, n, folding))
        case Dense():
            if len(t.shape) == 1:  # any order will do: the columns of the weight are put into it
                return Flow(np.arange(n.type.size), pe, (Take(simd),))
            last = len(t.shape) - 1
            return Flow(channels_inner(n.type.shape, last), pe, (_take(x, channels_inner(t.shape, last), simd),))
        case Conv():
            lanes = pe if depthwise(n.op) else simd
            return Flow(channels_inner(n.type.shape, 0), pe, (_take(x, channels_inner(t.shape, 0), lanes),))
        case MaxPool() | SumPool():
            lanes = pe if n.name in folding else math.gcd(x.lanes, t.shape[0])
            return Flow(channels_inner(n.type.shape, 0), lanes, (_take(x, channels_inner(t.shape, 0), lanes),))
        case Add() | Mul():
            lanes = max(a.lanes for a in args)
            return Flow(x.order, lanes, tuple(_take(a, x.order, lanes) for a in args))
        case MatMul():
            orders = [channels_inner(s.shape, len(s.shape) - 1) for s in types]
            return Flow(np.arange(n.type.size), pe, (_take(x, orders[0], simd), _take(args[1], orders[1], pe)))
        case Concat(axis):
            inner = next((a for a in map(lambda f, s: inner_axis(f.order, s.shape), args, types) if a is not None), usual_axis(t.shape))
            lanes = _fitting(max(a.lanes for a in args), *(concat_chunk(s.shape, inner, axis) for s in types))
            return Flow(channels_inner(n.type.shape, inner), lanes,
                        tuple(_take(a, channels_inner(s.shape, inner), lanes) for a, s in zip(args, types)))
        case Reshape():
            return Flow(x.order, x.lanes, (Take(x.lanes),))
        case Transpose(perm):
            return Flow(renamed(x.order, np.arange(t.size).reshape(t.shape).transpose(perm).ravel()), x.lanes, (Take(x.lanes),))
        case Slice(start, stop, step):
            inner = inner_of(x, t.shape)
            whole = step[inner] == 1 or n.type.shape[inner] == 1 and stop[inner] - start[inner] == 1
            lanes = _fitting(x.lanes, t.shape[inner], start[inner], stop[inner]) if whole else 1
            kept = np.arange(t.size).reshape(t.shape)[tuple(map(slice, start, stop, step))].ravel()
            order = channels_inner(t.shape, inner)
            return Flow(renamed(order, kept), lanes, (_take(x, order, lanes),))
        case Pad(padding):
            inner = inner_of(x, t.shape)
            lanes = _fitting(x.lanes, t.shape[inner], *padding[inner])
            return Flow(channels_inner(n.type.shape, inner), lanes, (_take(x, channels_inner(t.shape, inner), lanes),))
        case Gather(table):
            width = table.shape[1]
            return Flow((x.order[:, None] * width + np.arange(width)).ravel(), pe, (Take(1),))
    return Flow(x.order, x.lanes, (Take(x.lanes),))  # Requant, Lut


def concat_chunk(shape: tuple[int, ...], inner: int, axis: int) -> int:
    """Elements of one argument that flow in one piece."""
    place = len(shape) - 1 if axis == inner else axis - (axis > inner)
    return math.prod(flow_shape(shape, inner)[place:])


def _take(x: Flow, want: np.ndarray, lanes: int) -> Take:
    """The argument in order `want`, by a frame buffer of the widest beats that its permutation leaves whole."""
    if np.array_equal(x.order, want):
        return Take(lanes)
    move = moves(x.order, want)
    via = next(v for v in reversed(divisors(x.lanes)) if beat_moves(move, v) is not None)
    return Take(lanes, beat_moves(move, via), via)


def inner_of(x: Flow, shape: tuple[int, ...]) -> int:
    inner = inner_axis(x.order, shape)
    return usual_axis(shape) if inner is None else inner


def _fitting(lanes: int, *sizes: int) -> int:
    """The most lanes, at most `lanes`, that divide all sizes."""
    return max(d for d in divisors(math.gcd(*sizes)) if d <= lanes) if any(sizes) else lanes


def _wanted_axis(g: Graph, n: Node) -> int:
    """The innermost axis of an input: what the first reader that cares needs, or else the usual one."""
    users = g.users()[n.name]
    for u in map(g.nodes.get, users):
        if isinstance(u.op, (Conv, MaxPool, SumPool)):
            return 0
        if isinstance(u.op, (Dense, MatMul)):
            return len(n.type.shape) - 1
        if u.type.shape == n.type.shape and not isinstance(u.op, Transpose):
            return _wanted_axis(g, u)
    return usual_axis(n.type.shape)


def _wanted_lanes(g: Graph, n: Node, folding: Folding) -> int:
    """Lanes of an input: those of its first reader that has a folding."""
    for u in map(g.nodes.get, g.users()[n.name]):
        pe, simd = folding.get(u.name, (1, 1))
        match u.op:
            case Dense() | Conv() | MatMul():
                return pe if depthwise(u.op) else simd
            case MaxPool() | SumPool():
                return pe
            case Gather():
                return 1
        if u.type.shape == n.type.shape:
            return _wanted_lanes(g, u, folding)
    return 1


def _few(items: list, most: int = 8) -> str:
    return ", ".join(map(str, items[:most])) + (f", ... ({len(items)})" if len(items) > most else "")
