"""Where a run spent its cycles: for each node how long it works and how long it waits, and for whom."""
from dataclasses import dataclass

from hw import Design
from ir import Graph, Input

from .result import SimResult


@dataclass(frozen=True)
class Stage:
    """One node.  cycles: a frame, as computed; the rest in parts of the run: works (as computed), waits for an argument that does
    not come, waits for a reader of its value."""
    node: str
    cycles: int
    works: float
    waits_for_input: float
    waits_for_reader: float


def stages(g: Graph, d: Design, r: SimResult, frames: int) -> list[Stage]:
    """The nodes whose values the design shows, the busiest first."""
    streams = {t.name: t for t in r.traffic}
    seen = {v.node: streams[v.stream] for v in d.values if v.stream in streams}
    run = max(r.cycles_total, 1)
    found = []
    for name, own in seen.items():
        if not isinstance(g.nodes[name].op, Input):
            starved = [seen[a].starved for a in map(lambda a: _shown(g, a, seen), g.nodes[name].args) if a]
            cycles = d.cycles.get(name, 0)
            found.append(Stage(name, cycles, min(1.0, cycles * frames / run), max(starved, default=0) / run, own.blocked / run))
    return sorted(found, key=lambda s: -s.cycles)


def _shown(g: Graph, name: str, seen: dict) -> str | None:
    """The node itself, or the one that it only renames."""
    while name not in seen and len(g.nodes[name].args) == 1:
        name = g.nodes[name].args[0]
    return name if name in seen else None
