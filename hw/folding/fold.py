"""Folding a graph to a budget: outputs (PE) and inputs (SIMD) that each node handles in a cycle."""
from ir import Graph, UserError

from .choose import Choice, choose
from ..cost.graph import RESOURCES, choices, followers, graph_costs, total
from ..dataflow.flow import flows
from ..dataflow.fold import Folding
from ..targets import Target, fpga

FULL = 0.8    # of a device's LUTs: beyond that placement and routing rarely end well
ROUNDS = 8    # of making room for what follows from the choices: lane converters, and the lanes of what has no folding of its own


def fold(g: Graph, target: Target | str | None = None, max_cycles: int | None = None, max_lut: float | None = None) -> Folding:
    """Node -> (pe, simd), or a Fold that also names multipliers or memories: the fewest cycles a frame within the budget.

    With `max_cycles` the fewest LUTs at that pace.  `max_lut` bounds the LUTs (default: 80 % of the target's), the target its
    multipliers, block RAMs and flip-flops.
    UserError: nothing fits, with what the smallest or the fastest design would take.
    """
    t = fpga(target)
    room = {"lut": FULL * t.resources["lut"], **{r: n for r, n in t.resources.items() if r != "lut"}}
    room["lut"] = room["lut"] if max_lut is None else max_lut
    plan, options = flows(g), {}
    for n in g.nodes.values():
        if found := choices(g, n, t, plan, max_cycles):
            options[n.name] = found
    if not options:
        return {}
    options["everything else"] = [Choice((1, 1), 0, _rest(g, options, t))]
    limits = dict(room)
    for _ in range(ROUNDS):
        found = choose(options, max_cycles, limits)
        folding = {n: c.folding for n, c in found.items() if n in g.nodes}
        needed = total(graph_costs(g, folding, t))
        over = {r: needed[r] - n for r, n in room.items() if needed[r] > n}
        if not over:
            return folding
        for r, n in over.items():
            limits[r] -= n
    r, n = max(over.items(), key=lambda e: e[1] / max(1, room[e[0]]))
    raise UserError(f"the design does not fit: with what stands between its layers it needs {n:.0f} {r.upper()} more than the {room[r]:.0f} allowed; "
                    "allow more, or fewer frames a second")


def _rest(g: Graph, options, t: Target) -> dict[str, float]:
    """What nodes cost that have no folding of their own and do not follow one that has."""
    mine = {f.name for n in options for f in followers(g, g.nodes[n])} | options.keys()
    return {r: sum(c[r] for n, c in graph_costs(g, None, t).items() if n not in mine) for r in RESOURCES}
