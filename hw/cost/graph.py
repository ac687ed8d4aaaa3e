"""Hardware cost of a graph's nodes, from the netlist that the generator would write and the constants that were measured."""
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ir import Conv, Dense, Graph, Lut, Node, Requant, UserError, store

from ..dataflow.build import build, gather_depth
from ..folding.choose import Choice
from ..dataflow.flow import Flow, Take, flows
from ..dataflow.fold import Fold, Folding, channels, depthwise, digits, legal
from .models import predict
from ..dataflow.netlist import Instance, Netlist, signed_width
from ..dataflow.rules import Rule, lower
from ..dataflow.schedule import cycles, pace
from ..targets import DSP_BITS, FAMILIES, Target, fpga

DATA = Path(__file__).parents[1] / "data"
RESOURCES = ("lut", "ff", "dsp", "bram")


@functools.cache
def constants(family: str) -> dict:
    """What was measured for a family, with the `hash` of its file.  UserError: nothing was."""
    path = DATA / f"{family}.json"
    if not path.exists():
        measured = ", ".join(f for f in FAMILIES if (DATA / f"{f}.json").exists())
        raise UserError(f"no hardware costs were measured for family {family!r}; choose a target of a family that has them ({measured})")
    body = store.load_json(path, "hw-costs")
    return body | {"hash": store.digest("hw-costs", store.canonical(body))}


def graph_costs(g: Graph, folding: Folding | None = None, target: Target | str | None = None) -> dict[str, dict[str, float]]:
    """Node -> {"lut", "ff", "dsp", "bram", "cycles"}: predicted resources with this folding, and cycles a frame.

    Converters, buffers and forks count to the node whose name theirs begins with.  The streams' AXI shells are left out.
    """
    t = fpga(target)
    out = {n: dict.fromkeys(RESOURCES, 0.0) | {"cycles": c} for n, c in cycles(g, folding).items()}
    plain = Netlist()
    owners = {plain.unique("u_" + n): n for n in g.nodes}
    for i in build(g, folding).instances:
        prefixes = [o for o in owners if i.name.startswith(o)]
        if prefixes:
            add(out[owners[max(prefixes, key=len)]], _predict(i, t))
    return out


def total(costs: dict[str, dict[str, float]]) -> dict[str, float]:
    """Resources of all nodes together, and the cycles of the slowest."""
    return {r: sum(c[r] for c in costs.values()) for r in RESOURCES} | {"cycles": max((c["cycles"] for c in costs.values()), default=0)}


def choices(g: Graph, n: Node, target: Target, plan: dict[str, Flow] | None = None, max_cycles: int | None = None) -> list[Choice]:
    """The foldings of a node that are worth a thought, with cycles and costs; [] for a node without foldings.

    Those that another one matches in cycles and every resource are left out; of the others, matrix units come also with other
    multipliers and memories than the usual.
    """
    plan = plan or flows(g)
    made = _maker(g, n, target, plan)
    known = worthy(_usual(g, n, plan, max_cycles, made))
    return worthy(known + [made(f, c.cycles) for c in known for f in _kinds(n, g.nodes[n.args[0]].type.bits, c, target)])


def usual(g: Graph, n: Node, target: Target, plan: dict[str, Flow] | None = None, max_cycles: int | None = None) -> list[Choice]:
    """Every legal (pe, simd) of a node that keeps within `max_cycles`, multipliers and memories as they usually are.

    Costs include the requants and tables that follow at the node's pace, but no lane converters: those depend on the
    neighbour's choice too.  With `max_cycles` only the foldings that no smaller one matches are given.
    """
    plan = plan or flows(g)
    return _usual(g, n, plan, max_cycles, _maker(g, n, target, plan))


def _usual(g: Graph, n: Node, plan: dict[str, Flow], max_cycles: int | None, made: Callable[[tuple, int], Choice]) -> list[Choice]:
    found = [(f, pace(g, n, {n.name: _flow(g, n, plan, Fold(*f))})) for f in legal(g, n.name)]
    if max_cycles is not None:
        found = [(f, c) for f, c in found if c <= max_cycles] or [min(found, key=lambda e: e[1])] if found else []
        found = [(f, c) for f, c in found if not any(h != f and h[0] <= f[0] and h[1] <= f[1] for h, _ in found)]
    return [made(f, c) for f, c in found]


def _maker(g: Graph, n: Node, target: Target, plan: dict[str, Flow]) -> Callable[[tuple, int], Choice]:
    """(folding, cycles) -> the choice, with what it costs."""
    behind = functools.cache(lambda lanes: _sum(_followers(g, n, plan, lanes), target))
    return lambda f, cycles: Choice(f, cycles, add(_sum(_instances(g, n, plan, Fold(*f)), target), behind(f[0])))


def worthy(options: list[Choice]) -> list[Choice]:
    """The options that no other one matches or beats in cycles and every resource, in their order."""
    vectors = np.array([[c.cycles, *(c.cost[r] for r in RESOURCES)] for c in options])
    kept: list[int] = []
    for k in np.lexsort(vectors.T[::-1]) if options else ():
        if not (vectors[kept] <= vectors[k]).all(1).any():
            kept.append(int(k))
    return [options[k] for k in sorted(kept)]


def _kinds(n: Node, bits: int, usual: Choice, target: Target) -> list[tuple]:
    """Foldings like that of `usual`, but with multiplier blocks, or with weights in block RAM where they were in logic and the other way.

    bits: of the input; Yosys makes a block of no product below DSP_BITS bits.
    """
    if not isinstance(n.op, (Dense, Conv)):
        return []
    pe, simd = usual.folding
    blocks = target.resources["dsp"] > 0 and int(abs(n.op.weight).max()) > 1 and bits + signed_width(n.op.weight) >= DSP_BITS
    products = ["auto", *(["dsp", "packed"] if pe % 2 == 0 and not depthwise(n.op) else ["dsp"]) * blocks]
    weights = ["auto", "lut" if usual.cost["bram"] else "block"]
    return [Fold(pe, simd, w, p) for w in weights for p in products if (w, p) != ("auto", "auto")]


def followers(g: Graph, n: Node) -> list[Node]:
    """The requants and tables that take what the node gives, at its lanes."""
    direct = [g.nodes[u] for u in g.users()[n.name] if isinstance(g.nodes[u].op, (Requant, Lut))]
    return [f for d in direct for f in (d, *followers(g, d))]


def add(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    """a += b, resource by resource."""
    for r in RESOURCES:
        a[r] += b[r]
    return a


class _Sketch(Netlist):
    """A netlist that keeps no memory contents."""

    def mem(self, name: str, values, width: int) -> str: return self.unique(name)


def _flow(g: Graph, n: Node, plan: dict[str, Flow], fold: Fold) -> Flow:
    """The node's flow with this folding; arguments arrive in the lanes that it asks for."""
    takes, (pe, simd) = plan[n.name].takes, fold[:2]
    match type(n.op).__name__:
        case "Dense" | "Conv":
            lanes = (channels(n.op, pe, simd),)
        case "MatMul":
            lanes = (simd, pe)
        case "Gather":
            lanes = (1,)
        case _:
            lanes = (pe,) * len(takes)
    turns = -(-digits(g, n) // simd) if type(n.op).__name__ in ("Div", "Sqrt") else 1
    return Flow(plan[n.name].order, pe, tuple(Take(k) for k in lanes), turns, fold=fold)


def _instances(g: Graph, n: Node, plan: dict[str, Flow], fold: Fold) -> Iterator[Instance]:
    net, flow = _Sketch(), _flow(g, n, plan, fold)
    types = [g.nodes[a].type for a in n.args]
    args = [net.stream(f"arg{k}", take.lanes, t.bits, t.signed, t.size) for k, (t, take) in enumerate(zip(types, flow.takes))]
    if depth := gather_depth(n.op, *fold[:2]):
        net.add(*(("qs_fifo", "fifo", {"DataWidth": args[0].bits, "Depth": depth}) if depth > 1 else
                  ("qs_skid", "skid", {"DataWidth": args[0].bits})), {}, {})
    lower(Rule(net, n, types, [plan[a] for a in n.args], flow, args))
    yield from net.instances


def _followers(g: Graph, n: Node, plan: dict[str, Flow], lanes: int) -> Iterator[Instance]:
    for f in followers(g, n):
        net, t = _Sketch(), g.nodes[f.args[0]].type
        s = net.stream("arg", lanes, t.bits, t.signed, t.size)
        lower(Rule(net, f, [t], [plan[f.args[0]]], Flow(plan[f.name].order, lanes, (Take(lanes),), fold=plan[f.name].fold), [s]))
        yield from net.instances


def _sum(instances, t: Target) -> dict[str, float]:
    return functools.reduce(add, (_predict(i, t) for i in instances), dict.fromkeys(RESOURCES, 0.0))


def _predict(i: Instance, t: Target) -> dict[str, float]:
    return predict(i.module, i.params, constants(t.family), t.dsp_bits or DSP_BITS)
