"""Where a run spent its cycles: for each node how long it works and how long it waits, and for whom."""
from dataclasses import dataclass

from hw import Design
from ir import Graph, Input

from .result import SimResult


@dataclass(frozen=True)
class Stage:
    """One node.  cycles: a frame, as computed; the rest in parts of the run: works (as computed), waits for an argument that does
    not come, waits for a reader of its value (None where no stream shows it)."""
    node: str
    cycles: int
    works: float
    waits_for_input: float | None
    waits_for_reader: float | None


def stages(g: Graph, d: Design, r: SimResult, frames: int) -> list[Stage]:
    """The nodes that take cycles or whose values the design shows, the busiest first."""
    streams = {t.name: t for t in r.traffic}
    seen = {v.node: streams[v.stream] for v in d.values if v.stream in streams and d.kind == "dataflow"}  # in a core nothing waits
    run = max(r.cycles_total, 1)
    found = []
    for n in g.nodes.values():
        cycles = d.cycles.get(n.name, 0)
        if isinstance(n.op, Input) or not cycles and n.name not in seen:
            continue
        args = [seen[a] for a in (_shown(g, a, seen) for a in n.args) if a]
        own = seen.get(n.name)
        found.append(Stage(n.name, cycles, min(1.0, cycles * frames / run), max(a.starved for a in args) / run if own and args else None,
                           own.blocked / run if own else None))
    return sorted(found, key=lambda s: -s.cycles)


def _shown(g: Graph, name: str, seen: dict) -> str | None:
    """The node itself, or the one that it only renames."""
    while name not in seen and len(g.nodes[name].args) == 1:
        name = g.nodes[name].args[0]
    return name if name in seen else None
