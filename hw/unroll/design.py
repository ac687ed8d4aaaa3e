"""An unrolled graph as a design: the pipeline, a ready/valid shell around it, AXI-Streams."""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ir import Graph, UserError

from ..dataflow.emit import top
from ..dataflow.netlist import Netlist
from ..dataflow.orders import channels_inner, divisors, usual_axis
from ..design import TOP, Design, Port
from ..place import place
from . import emit
from .broken import broken
from .family import FAMILIES, Family
from .graph import scalars_of
from .pipeline import Pipeline, piped
from .place import placed
from .scalars import Scalars
from .solve import solve

SHELL = "qs_unrolled"
EFFORT = 10  # of the search for shared sums


@dataclass(frozen=True)
class Unrolled:
    """A graph as adders in stages."""
    graph: Graph
    family: Family
    scalars: Scalars
    pipeline: Pipeline

    def text(self, name: str = emit.PIPELINE) -> str:
        """SystemVerilog of the bare pipeline."""
        return emit.pipeline(self.graph, self.scalars, self.pipeline, self.family, orders(self.graph), name)


def unroll(g: Graph, family: str = "portable", stages: int | None = None, last: bool = False, effort: int = EFFORT, depth: int | None = None,
           seed: int = 0) -> Unrolled:
    """Every weight of the graph as adders of its own, in `stages` stages of logic of about equal delay (None: about
    five adders each).

    Registers hold the inputs and stand between stages; last: they hold the results too.  effort, depth, seed: of the search for
    shared sums, see hw.unroll.solve (depth: levels of adders of a linear map; None: a few more than the fewest).
    UserError: an op that cannot be unrolled, a graph that is too large, an unknown family, stages < 1.
    """
    f = FAMILIES[family]
    if stages is not None and stages < 1:
        raise UserError(f"{stages} stages: a pipeline has at least 1")
    s = placed(broken(scalars_of(g, f.table_bits), lambda m, lo, hi: solve(m, lo, hi, None, f.costs, depth, effort, seed)), f)
    return Unrolled(g, f, s, piped(s, f, stages, True, last))


def unroll_design(g: Graph, out: Path | str, family: str = "portable", stages: int | None = None, lanes: int | None = None,
                  effort: int = EFFORT, depth: int | None = None, extra: Callable | None = None) -> Design:
    """Write the unrolled design of graph `g` to folder `out`, as hw.generate does for a folded one.

    lanes: elements of a frame that come in one beat of an AXI-Stream (at most; None: all).  UserError: see unroll; `out`.
    """
    return write(unroll(g, family, stages, effort=effort, depth=depth), out, lanes, extra)


def write(u: Unrolled, out: Path | str, lanes: int | None = None, extra: Callable | None = None) -> Design:
    """unroll_design of what is unrolled already."""
    g, net = u.graph, _netlist(u, lanes)
    ports = [Port("s_axis" if len(g.inputs) == 1 else f"s_axis_{s.name}", name, g.nodes[name].type, s.lanes, usual_axis(g.nodes[name].type.shape))
             for name, s in net.inputs.items()]
    t = g.output.type
    d = Design(Path(out), ports, Port("m_axis", g.output.name, t, net.output.lanes, usual_axis(t.shape)), list(net.streams),
               {g.output.name: 1}, max(s.beats for s in [*net.inputs.values(), net.output]), kind="unrolled")
    at = {p.name: (p.type.shape, channels_inner(p.type.shape, p.inner)) for p in [*d.inputs, d.output]}
    files = {f"rtl/{emit.PIPELINE}.sv": u.text(), f"rtl/{SHELL}.sv": shell(u)}
    return place(d, g, top(g, net, at, TOP), files, extra)


def orders(g: Graph) -> dict[str, np.ndarray]:
    """Stream order of every input and of the result."""
    return {n.name: channels_inner(n.type.shape, usual_axis(n.type.shape)) for n in [*g.inputs, g.output]}


def _netlist(u: Unrolled, lanes: int | None) -> Netlist:
    """Streams in, gathered to whole frames, the unrolled graph, streams out."""
    g, net = u.graph, Netlist()
    net.taken |= {"clk_i", "rst_ni"}
    frames = {}
    for k, n in enumerate(g.inputs):
        s = net.inputs[n.name] = net.stream(n.name, _lanes(n.type.size, lanes), n.type.bits, n.type.signed, n.type.size)
        frames[f"s{k}"] = _gathered(net, s, n.type.size)
    t = g.output.type
    result = net.stream("result", t.size, t.bits, t.signed, t.size)
    net.add(SHELL, SHELL, {}, frames, {"m": result})
    net.output = _gathered(net, result, _lanes(t.size, lanes))
    return net


def _gathered(net: Netlist, s, lanes: int):
    if s.lanes == lanes:
        return s
    out = net.like(f"{s.name}_x{lanes}", s, lanes=lanes)
    net.add("qs_dwc", f"{s.name}_dwc", {"Width": s.width, "InLanes": s.lanes, "OutLanes": lanes}, {"s": s}, {"m": out})
    return out


def _lanes(size: int, most: int | None) -> int:
    return size if most is None else next(d for d in reversed(divisors(size)) if d <= max(most, 1))


def shell(u: Unrolled) -> str:
    """Module qs_unrolled: joins the input streams, moves the pipeline, and cuts the way of `ready` behind it."""
    g, bits = u.graph, u.graph.output.type.size * u.graph.output.type.bits
    ports = ["input  logic clk_i", "input  logic rst_ni"]
    for k, n in enumerate(g.inputs):
        ports += [f"input  logic s{k}_valid_i", f"output logic s{k}_ready_o", f"input  logic [{n.type.size * n.type.bits - 1}:0] s{k}_data_i"]
    ports += ["output logic m_valid_o", "input  logic m_ready_i", f"output logic [{bits - 1}:0] m_data_o"]
    valid = " && ".join(f"s{k}_valid_i" for k in range(len(g.inputs)))
    return "\n".join([
        "//   Generated by qsearch: a ready/valid stream of whole frames through the pipeline, one frame a cycle.",
        "//   The results wait in qs_skid, so that en depends on registers alone.",
        f"module {SHELL} (", ",\n".join(f"  {p}" for p in ports), ");",
        "  logic take, ready, en, done, free;", f"  logic [{bits - 1}:0] result;", f"  assign take = {valid};",
        *(f"  assign s{k}_ready_o = take && ready;" for k in range(len(g.inputs))),
        f"  qs_stages #(.Ranks({u.pipeline.latency})) u_stages (", "    .clk_i, .rst_ni, .s_valid_i(take), .s_ready_o(ready),",
        "    .m_valid_o(done), .m_ready_i(free), .en_o(en));",
        f"  {emit.PIPELINE} u_pipeline (", "    .clk_i, .en_i(en), "
        + "".join(f".{emit.port(g, n.name)}(s{k}_data_i), " for k, n in enumerate(g.inputs)) + ".result_o(result));",
        f"  qs_skid #(.DataWidth({bits})) u_skid (", "    .clk_i, .rst_ni, .s_valid_i(done), .s_ready_o(free), .s_data_i(result),",
        "    .m_valid_o, .m_ready_i, .m_data_o);", "endmodule", ""])
