"""Graph -> netlist: the straight walk.  What stands for one op is in hw/dataflow/rules.py."""
import math

from ir import Constant, Conv, Dense, Graph, Input, Node

from .fifo import depths
from .flow import Flow, Take, flows
from .fold import Folding, depthwise
from .netlist import Netlist, Stream
from .orders import channels_inner, inner_axis, moves, beat_moves, divisors, usual_axis
from .rules import Rule, lower
from .rules_arith import constant

JOIN_DEPTH = 2  # beats at least: what enters a buffer can leave two cycles later


def build(g: Graph, folding: Folding | None = None) -> Netlist:
    """The netlist of the whole graph, from AXI-Stream to AXI-Stream.  UserError: an impossible folding."""
    plan, net, bridge = flows(g, folding), Netlist(), depths(g, folding)
    net.taken |= {"clk_i", "rst_ni", "frame_clear_i", "frame_error_o", "frame_error", "CheckLast"}
    branches: dict[str, list[Stream]] = {}
    readers = {n: sum(m.args.count(n) for m in g.nodes.values()) + (g.nodes[n] is g.output) for n in g.nodes}
    for n in g.nodes.values():
        if isinstance(n.op, Constant):
            continue
        if isinstance(n.op, Input):
            made = _entry(net, n, plan[n.name])
        else:
            args = [constant(net, g.nodes[a], plan[a], plan[n.name].takes[k]) if a not in branches else
                    _take(net, g, n, k, plan, branches[a].pop(), bridge.get((n.name, k), 0)) for k, a in enumerate(n.args)]
            made = lower(Rule(net, n, [g.nodes[a].type for a in n.args], [plan[a] for a in n.args], plan[n.name], args))
        if made not in net.values.values():  # a reshaped value is the same stream
            net.values[n.name] = made
        branches[n.name] = _fork(net, n.name, made, readers[n.name])
    last = branches[g.output.name].pop() if g.output.name in branches else constant(net, g.output, plan[g.output.name], Take(1))
    _exit(net, g, plan[g.output.name], last)
    return net


def _entry(net: Netlist, n: Node, flow: Flow) -> Stream:
    """A stream input of the design, freed of the AXI's padding."""
    s = net.stream(n.name, flow.lanes, n.type.bits, n.type.signed, n.type.size)
    net.inputs[n.name] = s
    return s


def _exit(net: Netlist, g: Graph, flow: Flow, s: Stream) -> None:
    """The result in channels-inner order."""
    shape = g.output.type.shape
    if inner_axis(flow.order, shape) is None:
        move = moves(flow.order, channels_inner(shape, usual_axis(shape)))
        via = next(v for v in reversed(divisors(s.lanes)) if beat_moves(move, v) is not None)
        s = _reorder(net, "result", s, beat_moves(move, via), via)
    net.output = s


def _fork(net: Netlist, name: str, s: Stream, readers: int) -> list[Stream]:
    """One branch for each reader; a value that nobody reads goes nowhere and never waits."""
    if readers == 1:
        return [s]
    if readers == 0:
        net.add("qs_drain", f"{name}_drain", {"Width": s.bits}, {"s": s}, {})
        return []
    s = _skid(net, name, s)
    first = net.like(f"{name}_0", s)
    out = [first, *(net.like(f"{name}_{k}", s, data=first.wires) for k in range(1, readers))]
    net.add("qs_fork", f"{name}_fork", {"NumOut": readers, "Width": s.bits}, {"s": s}, {"m": out})
    return out[::-1]


def _take(net: Netlist, g: Graph, n: Node, k: int, plan: dict[str, Flow], s: Stream, bridge: int) -> Stream:
    """Argument k of node n as its module wants it: order, lanes, and buffered where branches meet again."""
    take = plan[n.name].takes[k]
    name = f"{n.name}_arg{k}" if len(n.args) > 1 else f"{n.name}_in"
    if take.reorder is not None:
        s = _reorder(net, name, s, take.reorder, take.via)
    if len(n.args) > 1:  # in the narrower beats of the two, so that nothing is lost
        s = _lanes(net, name, s, take.lanes)
        return _fifo(net, name, s, max(JOIN_DEPTH, -(-bridge // s.lanes)))
    s = _lanes(net, name, s, take.lanes)
    depth = gather_depth(n.op, plan[n.name].lanes, take.lanes)
    return s if depth is None else _fifo(net, name, s, depth) if depth > 1 else _skid(net, name, s)


def gather_depth(op, pe: int, simd: int) -> int | None:
    """Beats to buffer in front of a matrix unit that no window feeds: while a vector is used again and again, the next one
    gathers there.  1: a skid buffer does; None: nothing is needed.
    """
    pointwise = isinstance(op, Conv) and not depthwise(op) and math.prod(op.weight.shape[2:]) == 1 == math.prod(op.stride) \
        and not any(map(any, op.padding))
    if not (isinstance(op, Dense) or pointwise):
        return None
    turns = len(op.weight) // getattr(op, "groups", 1) // pe
    return op.weight.shape[1] // simd if turns > 1 else 1


def _reorder(net: Netlist, name: str, s: Stream, move, via: int) -> Stream:
    s = _lanes(net, name, s, via)
    out = net.like(f"{name}_sorted", s, count=len(move) * via)
    beats = s.beats
    order = net.mem(f"{name}_order", move, max(1, (beats - 1).bit_length()))
    params = {"Width": s.bits, "InBeats": beats, "OutBeats": len(move), "OrderFile": order}
    net.add("qs_reorder", f"{name}_reorder", params, {"s": s}, {"m": out})
    return out


def _lanes(net: Netlist, name: str, s: Stream, lanes: int) -> Stream:
    """The stream in beats of `lanes` elements; two steps where neither number divides the other."""
    for step in (math.lcm(s.lanes, lanes), lanes):
        if step != s.lanes:
            out = net.like(f"{name}_x{step}", s, lanes=step)
            net.add("qs_dwc", f"{name}_dwc{step}", {"Width": s.width, "InLanes": s.lanes, "OutLanes": step}, {"s": s}, {"m": out})
            s = out
    return s


def _fifo(net: Netlist, name: str, s: Stream, depth: int) -> Stream:
    out = net.like(f"{name}_queued", s)
    net.add("qs_fifo", f"{name}_fifo", {"DataWidth": s.bits, "Depth": depth}, {"s": s}, {"m": out})
    return out


def _skid(net: Netlist, name: str, s: Stream) -> Stream:
    out = net.like(f"{name}_cut", s)
    net.add("qs_skid", f"{name}_skid", {"DataWidth": s.bits}, {"s": s}, {"m": out})
    return out
