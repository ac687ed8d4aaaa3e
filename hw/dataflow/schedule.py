"""How many cycles each node takes for a frame: the exact pace of the modules in hw/rtl."""
import math

from ir import Conv, Dense, Div, Expand, Gather, Graph, Input, MatMul, MaxPool, Node, Pad, Recur, Sqrt, SumPool

from .flow import Flow, expansion, flows
from .fold import Folding, depthwise, digits, legal, line_of, taps
from .matrix import form, stages
from .orders import inner_axis
from .taps import taps_cycles

LOOP = 3  # cycles after which a state that was taken has been replaced (hw/rtl/qs_recur.sv)

__all__ = ["cycles", "interval", "legal"]


def cycles(g: Graph, folding: Folding | None = None) -> dict[str, int]:
    """Node -> cycles a frame when nothing upstream or downstream is slower; 0 where there is no hardware."""
    plan = flows(g, folding)
    return {n.name: pace(g, n, plan) for n in g.nodes.values()}


def pace(g: Graph, n: Node, plan: dict[str, Flow]) -> int:
    """Cycles a frame of one node; of the plan only the node's own flow is looked at."""
    return max(_own(g, n, plan), *(_taking(g, n, k, plan) for k in range(len(n.args))), 0)


def interval(g: Graph, folding: Folding | None = None) -> int:
    """Cycles from one frame to the next: the slowest node's."""
    return max(cycles(g, folding).values())


def lag(g: Graph, n: Node, plan: dict[str, Flow], frame: int, results: int = 0) -> int:
    """Cycles, at most about, from the last element that a result of n needs to the result, with what stands in front of n.

    Where results come in turns out of a buffer (a vector's, a block's), the last one waits for those before it; with
    `results` = 1 the first of a vector's is meant.  Whoever takes in a whole frame first is a frame, of `frame` cycles, behind.
    """
    flow, x = plan[n.name], g.nodes[n.args[0]].type if n.args else n.type
    sorting = frame * (any(t.reorder is not None for t in flow.takes) + isinstance(n.op, MatMul))
    match n.op:
        case Dense() | Conv() | MatMul():
            vectors = n.type.size // (n.type.shape[0] if isinstance(n.op, Conv) else n.type.shape[-1])
            deep = 0 if isinstance(n.op, MatMul) else stages(form(n.op, x, flow.fold, 2), flow.fold.simd)
            turns = n.type.size // vectors // flow.lanes if results else 1
            return sorting + 6 + deep + _own(g, n, plan) // vectors // turns
        case Div() | Sqrt():
            return sorting + 4 + digits(g, n) + flow.turns
        case Expand(to):
            inner = inner_axis(flow.order, to)
            return sorting + sum(3 + (b * r // flow.lanes if b > 1 else 0) for b, r in expansion(x.shape, to, inner))
    return sorting + (4 if _has_module(n) else 0)


def _own(g: Graph, n: Node, plan: dict[str, Flow]) -> int:
    lanes = plan[n.name].lanes
    x = g.nodes[n.args[0]].type if n.args else None
    takes = plan[n.name].takes
    match n.op:
        case Input():
            return n.type.size // lanes
        case Dense(w, _):
            return x.size // w.shape[1] * (w.shape[0] // lanes) * (w.shape[1] // takes[0].lanes)
        case Conv(w):
            several, turns = taps(n.op, plan[n.name].fold.simd), 1 if depthwise(n.op) else len(w) // n.op.groups // lanes
            blocks, parts = x.shape[0] // takes[0].lanes, w[0, 0].size // several
            here = math.prod(n.type.shape[1:]) * blocks * parts * turns
            return here if several == 1 else max(here, taps_cycles(line_of(g, n), blocks, parts, turns))
        case MaxPool(k) | SumPool(k):
            return math.prod(n.type.shape) // lanes * math.prod(k)
        case MatMul():
            return n.type.size // lanes * (x.shape[-1] // takes[0].lanes)
        case Gather() | Pad() | Expand():
            return n.type.size // lanes
        case Div() | Sqrt():
            return n.type.size // lanes * plan[n.name].turns
        case Recur():  # a row waits for the one before, the first of a frame for none
            steps, beats = n.type.shape[0], n.type.size // n.type.shape[0] // lanes
            return (steps - 1) * max(beats, LOOP) + beats
    return n.type.size // lanes if takes and _has_module(n) else 0


def _has_module(n: Node) -> bool:
    return type(n.op).__name__ not in ("Reshape", "Transpose")


def _taking(g: Graph, n: Node, k: int, plan: dict[str, Flow]) -> int:
    """Beats of an argument as they arrive at the node, and as they pass its frame buffer."""
    size, take = g.nodes[n.args[k]].type.size, plan[n.name].takes[k]
    return size // take.via if take.reorder is not None else size // take.lanes if _has_module(n) else 0
