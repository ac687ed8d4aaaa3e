"""Graph -> a folder with a streaming design: generated top, the library modules it uses, memories and a manifest."""
from pathlib import Path

from ir import Graph

from ..design import TOP, Design, Port, Value
from ..place import place
from .build import build
from .emit import ports, top
from .flow import Flow, flows
from .fold import Folding, checked
from .netlist import Netlist, Stream
from .orders import channels_inner, inner_axis, usual_axis
from .schedule import cycles


def generate(g: Graph, out: Path | str, folding: Folding | None = None, extra=None) -> Design:
    """Write the design of graph `g` to folder `out`, whole or not at all; a design that is there already is replaced.

    folding: node -> Fold or (pe, simd), see hw.legal.  extra(folder, design) may add files before the folder is put in place.
    UserError: an impossible folding; `out` exists and is no design.
    """
    net, plan, pace = build(g, folding), flows(g, folding), cycles(g, folding)
    values = [_value(g, name, s, plan[name]) for name, s in net.values.items()]
    d = Design(Path(out), *_ports(g, net, plan), list(net.streams), pace, max(pace.values()), checked(g, folding), values)
    orders = {p.name: (p.type.shape, channels_inner(p.type.shape, p.inner)) for p in [*d.inputs, d.output]}
    return place(d, g, top(g, net, orders, TOP), net.mems, extra)


def _ports(g: Graph, net: Netlist, plan) -> tuple[list[Port], Port]:
    made, result = [], g.output
    for (name, s), node in zip(ports(net).items(), [*net.inputs, result.name]):
        t = g.nodes[node].type
        inner = inner_axis(plan[node].order, t.shape)
        made.append(Port(name, node, t, s.lanes, usual_axis(t.shape) if inner is None else inner))
    return made[:-1], made[-1]


def _value(g: Graph, name: str, s: Stream, flow: Flow) -> Value:
    t = g.nodes[name].type
    inner = inner_axis(flow.order, t.shape)
    return Value(name, s.name, s.wires, t, s.lanes, s.width, tuple(flow.order.tolist()) if inner is None else inner)
