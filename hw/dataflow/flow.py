"""The plan of the streams: in which order and how many elements a beat every value flows, and how its readers take it.

The one source of what the generator builds, what a cycle count counts and what a FIFO must bridge.
"""
import math
from dataclasses import dataclass, replace

import numpy as np

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Graph, Input, MatMul, MaxPool, Mul, Node, Pad, Recur, Reshape,
                Slice, Sqrt, SumPool, Transpose, UserError)

from .fold import Fold, Folding, channels, checked, digits
from .orders import beat_moves, channels_inner, divisors, flow_shape, inner_axis, moves, renamed, usual_axis


@dataclass(frozen=True)
class Take:
    """How a node takes one argument: `reorder` (beat numbers, in beats of `via` elements) or None, then in beats of `lanes`.

    A constant has no stream of its own: each reader has one made in the `order` that it wants.
    """
    lanes: int
    reorder: np.ndarray | None = None
    via: int = 0
    order: np.ndarray | None = None


@dataclass(frozen=True)
class Flow:
    """How one value flows: `order` (stream position -> C order), `lanes` elements a beat; `takes`, one for each argument.

    `turns`: cycles that a beat takes at least; `free`: a constant, of which every reader gets the order that it likes;
    `fold`: what the folding says of the node.
    """
    order: np.ndarray
    lanes: int
    takes: tuple[Take, ...] = ()
    turns: int = 1
    free: bool = False
    fold: Fold = Fold()


def by_rows(op, shape: tuple[int, ...], order: np.ndarray, lanes: int) -> bool:
    """Whether a pool takes in one channel after the other, each whole: no buffer is needed where they come so, an element at a time."""
    return lanes == 1 and tuple(op.kernel) == shape[1:] and not any(map(any, op.padding)) \
        and np.array_equal(order // math.prod(shape[1:]), np.arange(math.prod(shape)) // math.prod(shape[1:]))


def flows(g: Graph, folding: Folding | None = None) -> dict[str, Flow]:
    """Node -> how its value flows.  UserError: what hw/dataflow/fold.py says of an impossible folding."""
    folding = checked(g, folding)
    out: dict[str, Flow] = {}
    for n in g.nodes.values():
        if not n.type.shape:
            raise UserError(f"node {n.name!r} is a number without axes and has no stream; reshape it to (1,)")
        out[n.name] = replace(_flow(g, n, folding, [out[a] for a in n.args], out), fold=folding.get(n.name, Fold()))
    return out


def _flow(g: Graph, n: Node, folding: Folding, args: list[Flow], done: dict[str, Flow]) -> Flow:
    pe, simd = folding.get(n.name, Fold())[:2]
    types = [g.nodes[a].type for a in n.args]
    x, t = (args[0] if args else None), (types[0] if types else None)
    match n.op:
        case Input():
            axis = _wanted_axis(g, n, folding)
            return Flow(channels_inner(n.type.shape, axis), _wanted_lanes(g, n, folding))
        case Constant():
            return Flow(channels_inner(n.type.shape, usual_axis(n.type.shape)), 1, free=True)
        case Dense():
            if len(t.shape) == 1:  # any order will do: the columns of the weight are put into it
                return Flow(np.arange(n.type.size), pe, (Take(simd),))
            last = len(t.shape) - 1
            return Flow(channels_inner(n.type.shape, last), pe, (_take(x, channels_inner(t.shape, last), simd),))
        case Conv():
            return Flow(channels_inner(n.type.shape, 0), pe, (_take(x, channels_inner(t.shape, 0), channels(n.op, pe, simd)),))
        case MaxPool() | SumPool():
            if by_rows(n.op, t.shape, x.order, pe):
                return Flow(np.arange(t.shape[0]), 1, (Take(1),))
            lanes = pe if n.name in folding else math.gcd(x.lanes, t.shape[0])
            return Flow(channels_inner(n.type.shape, 0), lanes, (_take(x, channels_inner(t.shape, 0), lanes),))
        case Add() | Mul():
            lanes, order = max(a.lanes for a in args), _joined(args)
            return Flow(order, lanes, tuple(_take(a, order, lanes) for a in args))
        case Div() | Sqrt():
            order = _joined(args)
            return Flow(order, pe, tuple(_take(a, order, pe) for a in args), -(-digits(g, n) // simd))
        case Recur():
            order = _by_steps(_joined(args[:2]), t.shape)
            row = t.size // t.shape[0]
            lanes = _fitting(max(a.lanes for a in args), row)
            return Flow(order, lanes, tuple(_take(a, order[:o], lanes) for a, o in zip(args, (t.size, t.size, row))))
        case Expand():
            inner = _expand_axis(g, n, x, done)
            blocks = expansion(t.shape, n.type.shape, inner)
            wide = _mate_lanes(g, n, folding, done)
            lanes = _fitting(wide, blocks[-1][1]) if blocks[-1][0] == 1 else _fitting(x.lanes, blocks[-1][0])
            return Flow(channels_inner(n.type.shape, inner), lanes, (_take(x, channels_inner(t.shape, inner), 1 if blocks[-1][0] == 1 else lanes),))
        case MatMul():
            orders = [channels_inner(s.shape, len(s.shape) - 1) for s in types]
            return Flow(np.arange(n.type.size), pe, (_take(x, orders[0], simd), _take(args[1], orders[1], pe)))
        case Concat(axis):
            flowing = sorted(zip(args, types), key=lambda a: a[0].free)
            inner = next((a for a in (inner_axis(f.order, s.shape) for f, s in flowing) if a is not None), usual_axis(t.shape))
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


def expansion(shape: tuple[int, ...], to: tuple[int, ...], inner: int) -> list[tuple[int, int]]:
    """How a stream with axis `inner` innermost grows: (elements of a block, how often each block comes), outermost first, never empty."""
    have, out = flow_shape(shape, inner), {}
    for k, (a, b) in enumerate(zip(have, flow_shape(to, inner))):
        if a < b:
            block = math.prod(have[k + 1:])
            out[block] = out.get(block, 1) * b
    return list(out.items()) or [(math.prod(shape), 1)]


def _joined(args: list[Flow]) -> np.ndarray:
    """The order in which elements meet: that of the first argument that has one."""
    return next((a for a in args if not a.free), args[0]).order


def _by_steps(order: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`order` if it goes through axis 0 step by step, each step alike; else the C order."""
    row = len(order) // shape[0]
    steps = (np.arange(shape[0])[:, None] * row + order[:row]).ravel()
    return order if np.array_equal(order, steps) else np.arange(len(order))


def _mates(g: Graph, n: Node) -> list[tuple[Node, str]]:
    """The joins that read n, each with its other argument."""
    joins = [g.nodes[u] for u in g.users()[n.name] if isinstance(g.nodes[u].op, (Add, Mul, Div, Recur))]
    return [(u, a) for u in joins for a in u.args[:2] if a != n.name]


def _expand_axis(g: Graph, n: Node, x: Flow, done: dict[str, Flow]) -> int:
    """The axis that is innermost after an expansion: as in what it is joined with, else as it comes, else the last where that is the same."""
    for _, mate in _mates(g, n):
        if mate in done and not done[mate].free and (axis := inner_axis(done[mate].order, n.type.shape)) is not None:
            return axis
    axes = [a for a in range(len(n.type.shape)) if np.array_equal(x.order, channels_inner(g.nodes[n.args[0]].type.shape, a))]
    wanted = (usual_axis(n.type.shape), len(n.type.shape) - 1)
    return next((a for a in wanted if a in axes), (axes or wanted)[0])


def _mate_lanes(g: Graph, n: Node, folding: Folding, done: dict[str, Flow]) -> int:
    """Lanes at which the result of an expansion is taken."""
    return max((folding.get(u.name, Fold()).pe if isinstance(u.op, Div) else done[a].lanes if a in done else 1 for u, a in _mates(g, n)), default=1)


def _take(x: Flow, want: np.ndarray, lanes: int) -> Take:
    """The argument in order `want`, by a frame buffer of the widest beats that its permutation leaves whole."""
    if x.free:
        return Take(lanes, order=want)
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


def _wanted_axis(g: Graph, n: Node, folding: Folding) -> int:
    """The innermost axis of an input: what the first reader that cares needs, or else the usual one."""
    users = g.users()[n.name]
    for u in map(g.nodes.get, users):
        if isinstance(u.op, (MaxPool, SumPool)) and tuple(u.op.kernel) == n.type.shape[1:] and len(n.type.shape) == 2 \
                and folding.get(u.name, Fold()).pe == 1:
            return 1  # by rows
        if isinstance(u.op, (Conv, MaxPool, SumPool)):
            return 0
        if isinstance(u.op, (Dense, MatMul, Recur)):
            return len(n.type.shape) - 1
        if u.type.shape == n.type.shape and not isinstance(u.op, Transpose):
            return _wanted_axis(g, u, folding)
    return usual_axis(n.type.shape)


def _wanted_lanes(g: Graph, n: Node, folding: Folding) -> int:
    """Lanes of an input: those of its first reader that has a folding."""
    for u in map(g.nodes.get, g.users()[n.name]):
        pe, simd = folding.get(u.name, Fold())[:2]
        match u.op:
            case Conv():
                return channels(u.op, pe, simd)
            case Dense() | MatMul():
                return simd
            case MaxPool() | SumPool() | Div() | Sqrt():
                return pe
            case Gather() | Expand():
                return 1
        if u.type.shape == n.type.shape:
            return _wanted_lanes(g, u, folding)
    return 1

