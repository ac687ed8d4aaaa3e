"""How deep the buffers in front of joins must be, so that branches that part and meet again can never block each other.

A fork gives each element to all its branches.  When the long branch needs N elements of the fork before it can hand the
t-th element to the join, the short one must put away all it makes of those N elements beyond the t that the join took.
With  need(t) = elements of the fork that must have passed before t elements reach the join, and  room(T) = elements of the
fork that a branch can take while it has given T, the buffer of branch i holds, at most over t and the other branches j,
the least T with  room_i(T) >= need_j(t + 1),  less t.  What windows keep counts as room, the registers of modules do not.
A branch that comes out of another one is never compared with that: where the two part, they are.  Two frames are looked
at, as the next one enters while the last one leaves.  On top comes what flows, at the pace of the whole, while the results
of the slower branch are still under way in its modules: without it nothing would block, but all would wait.  And beats
are whole: of the widest on the way, all elements but one may wait for the rest at either end.
(FINN simulates to size its FIFOs; we differ: it is computed, and sim/fifos.py holds it against the simulation.)
"""
import math
from functools import cache

import numpy as np

from ir import Concat, Constant, Conv, Dense, Expand, Gather, Graph, MatMul, MaxPool, Node, Pad, Recur, Slice, SumPool

from .flow import Flow, by_rows, concat_chunk, expansion, flows
from .fold import Folding, line_of, taps
from .orders import inner_axis
from .taps import taps_wanted, two_axes
from .schedule import lag, pace
from .windows import kept_rows


def depths(g: Graph, folding: Folding | None = None) -> dict[tuple[str, int], int]:
    """(node, number of its argument) -> elements to buffer there; only joins whose arguments meet a fork again are named."""
    plan = flows(g, folding)
    reads = {n: sum(m.args.count(n) for m in g.nodes.values()) for n in g.nodes}
    want = cache(lambda name, k: wanted(g, g.nodes[name], k, plan))
    room = cache(lambda name, k: _taken(g, g.nodes[name], k, plan, want(name, k)))
    frame = max(pace(g, n, plan) for n in g.nodes.values())
    late = {n.name: lag(g, n, plan, frame) for n in g.nodes.values()}
    soon = {n.name: lag(g, n, plan, frame, 1) for n in g.nodes.values()}
    before = _before(g)
    out: dict[tuple[str, int], int] = {}
    for fork in (n for n, k in reads.items() if k > 1 and not isinstance(g.nodes[n].op, Constant)):
        for (name, k), held in _from(g, fork, reads, want, room, (late, soon), frame, before, plan).items():
            out[name, k] = max(out.get((name, k), 0), held)
    return out


def _before(g: Graph) -> dict[str, set[str]]:
    """Node -> all from which it is computed."""
    out: dict[str, set[str]] = {}
    for n in g.nodes.values():
        out[n.name] = set(n.args).union(*(out[a] for a in n.args))
    return out


def wanted(g: Graph, n: Node, k: int, plan: dict[str, Flow]) -> np.ndarray:
    """(size + 1,): how many elements of argument k node n must have taken before it can give the first t of its own."""
    x, size = g.nodes[n.args[k]].type, n.type.size
    t = np.arange(size + 1)
    if plan[n.name].takes[k].reorder is not None:
        return np.where(t > 0, x.size, 0)
    match n.op:
        case MaxPool() | SumPool() if by_rows(n.op, x.shape, plan[n.args[0]].order, plan[n.name].lanes):
            return t * math.prod(x.shape[1:])
        case Conv() if taps(n.op, plan[n.name].fold.simd) > 1:
            return np.append(0, taps_wanted(line_of(g, n)) * x.shape[0])[-(-t // n.type.shape[0])]
        case Conv() | MaxPool() | SumPool():
            return _window(n, x.shape, t)
        case MatMul():
            rows, cols, terms = n.type.shape[-2], n.type.shape[-1], x.shape[-1] if k == 0 else x.shape[-2]
            frame = rows * terms if k == 0 else terms * cols
            done = t // (rows * cols) * frame
            part = t % (rows * cols)
            return done + np.where(part > 0, -(-part // cols) * terms if k == 0 else frame, 0)
        case Concat(axis):
            return _concat(g, n, k, axis, plan, t)
        case Gather(table):
            return -(-t // table.shape[1])
        case Dense(w, _):
            return -(-t // len(w)) * w.shape[1]
        case Slice() | Pad():
            return _kept(n, x, plan, t)
        case Expand(to):
            for block, repeat in reversed(expansion(x.shape, to, inner_axis(plan[n.name].order, to))):
                t = -(-t // (block * repeat)) * block
            return t
        case Recur() if k == 2:
            return np.minimum(t, x.size)
    return t


def _window(n: Node, shape, t: np.ndarray) -> np.ndarray:
    """All channels of a pixel at once; the last in-map pixel of the window of each position, and nothing earlier than before."""
    op, c = n.op, shape[0]
    kernel = op.weight.shape[2:] if isinstance(op, Conv) else op.kernel
    dilation = op.dilation if isinstance(op, Conv) else (1,) * len(kernel)
    last = []
    for size, k, s, (before, _), d, out in zip(shape[1:], kernel, op.stride, op.padding, dilation, n.type.shape[1:]):
        last.append(np.clip(np.arange(out) * s - before + (k - 1) * d, -1, size - 1))
    if len(last) == 1:
        pixels = last[0] + 1
    else:  # a row above the map needs nothing; columns left of it in a row needs the whole row above
        pixels = np.where(last[0][:, None] < 0, 0, np.maximum(last[0][:, None], 0) * shape[2] + last[1] + 1).ravel()
    pixels = np.maximum.accumulate(pixels)
    per = n.type.shape[0]
    return np.append(0, pixels * c)[-(-t // per)]


def _concat(g: Graph, n: Node, k: int, axis: int, plan: dict[str, Flow], t: np.ndarray) -> np.ndarray:
    inner = inner_axis(plan[n.name].order, n.type.shape)
    chunks = [concat_chunk(g.nodes[a].type.shape, inner, axis) for a in n.args]
    whole, before = sum(chunks), sum(chunks[:k])
    return t // whole * chunks[k] + np.clip(t % whole - before, 0, chunks[k])


def _kept(n: Node, x, plan: dict[str, Flow], t: np.ndarray) -> np.ndarray:
    """Slices and pads: an element leaves when all of the argument up to it has come; padding waits for what went before."""
    op, axis = n.op, inner_axis(plan[n.name].order, n.type.shape)
    index = np.arange(x.size).reshape(x.shape)
    if isinstance(op, Pad):
        index = np.pad(index, op.padding, constant_values=-1)
    else:
        index = index[tuple(map(slice, op.start, op.stop, op.step))]
    at = np.empty(x.size + 1, np.int64)
    at[np.moveaxis(np.arange(x.size).reshape(x.shape), axis, -1).ravel()] = np.arange(x.size)
    at[-1] = -1
    return np.append(0, np.maximum.accumulate(at[np.moveaxis(index, axis, -1).ravel()]) + 1)[t]


def _taken(g: Graph, n: Node, k: int, plan: dict[str, Flow], want: np.ndarray) -> np.ndarray:
    """(size,): elements of argument k that node n can have taken while it has given t of its own."""
    out = np.maximum(want[1:] - 1, 0)
    windows = isinstance(n.op, (Conv, MaxPool, SumPool)) and plan[n.name].takes[k].reorder is None \
        and not (isinstance(n.op, Conv) and taps(n.op, plan[n.name].fold.simd) > 1)
    if windows and (rows := kept_rows(n, g.nodes[n.args[k]].type)):
        shape, made = two_axes(g.nodes[n.args[k]].type.shape[1:]), two_axes(n.type.shape[1:])
        row = np.arange(n.type.size) // (made[1] * n.type.shape[0])
        out = np.maximum(out, (row * two_axes(n.op.stride)[0] + rows) * shape[1] * g.nodes[n.args[k]].type.shape[0])
    return out


def _at(a: np.ndarray, frame: int, t: np.ndarray) -> np.ndarray:
    """a[t] of a function that grows by `frame` with every len(a)."""
    return a[t % len(a)] + t // len(a) * frame


def _from(g: Graph, fork: str, reads: dict[str, int], want, room, lags, frame: int, before, plan) -> dict[tuple[str, int], int]:
    """Elements to buffer at the joins between `fork` and the node where all its branches have met again; `frame`: cycles of one."""
    size = g.nodes[fork].type.size
    late, soon = {fork: 0}, {fork: 0}    # node -> cycles from an element of the fork to all, to the first that it makes of it
    needs = {fork: np.arange(size + 1)}  # node -> elements of the fork it needs before its first t
    holds = {fork: np.arange(size)}      # node -> elements of the fork that can be put away while it has given t
    wide = {fork: plan[fork].lanes}      # node -> the widest beats on the way
    out, loose = {}, reads[fork]         # ends of branches that nothing has taken up yet
    for n in g.nodes.values():
        paths = {k: needs[a][want(n.name, k)] for k, a in enumerate(n.args) if a in needs}
        for k in paths:
            arg = n.args[k]
            others = [j for j in paths if n.args[j] != arg and (n.args[j] == fork or n.args[j] not in before[arg])]
            if others:
                later = max(soon[n.args[j]] for j in others) - soon[arg]
                moving = -(-max(0, later) * g.nodes[arg].type.size // frame)
                beats = max(wide[arg], plan[n.name].takes[k].lanes, *(wide[n.args[j]] for j in others))
                out[n.name, k] = _held(size, holds[arg], want(n.name, k), np.maximum.reduce([paths[j] for j in others])) + moving + 2 * (beats - 1)
        loose -= len(paths)
        if paths and loose == 0:  # what comes after is the business of later forks
            break
        if paths:
            args = [n.args[k] for k in paths]
            needs[n.name] = np.maximum.reduce(list(paths.values()))
            holds[n.name] = np.minimum.reduce([_at(holds[n.args[k]], size, room(n.name, k)) for k in paths])
            late[n.name] = lags[0][n.name] + max(late[a] for a in args)
            soon[n.name] = lags[1][n.name] + max((late if isinstance(n.op, (Conv, Dense, MatMul)) else soon)[a] for a in args)
            wide[n.name] = max(plan[n.name].lanes, *(plan[n.name].takes[k].lanes for k in paths), *(wide[a] for a in args))
            loose += reads[n.name]
    return out


def _held(frame: int, mine: np.ndarray, taken: np.ndarray, other: np.ndarray) -> int:
    """Elements of my argument that wait at most.

    frame: elements of the fork; mine: of those, what can be put away while I have given t; other: those needed for the join's
    first t; taken: of mine, those the join has taken by its t-th.
    """
    size = len(mine)
    three = _at(mine, frame, np.arange(3 * size))
    asked = np.concatenate([other[1:], frame + other[1:]])
    had = np.concatenate([taken[:-1], size + taken[:-1]])
    given = np.searchsorted(np.maximum.accumulate(three), asked)
    return int(max(0, (given - had).max()))
