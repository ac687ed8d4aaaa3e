"""Stretches of a quantized net that are fitted together, and what the float net makes of each of them."""
from dataclasses import dataclass

import torch

from ..model import QuantNet
from ..net import compute, constant
from ..sites.site import Site

MOST = 12  # layers of a block; a longer stretch is fitted layer by layer


@dataclass(frozen=True)
class Block:
    """Sites in order; nothing but the result of the last one is read outside."""
    sites: tuple[Site, ...]
    inputs: tuple[str, ...]  # sites (or the net's input) outside whose results it reads

    @property
    def output(self) -> str: return self.sites[-1].name


def blocks(q: QuantNet, joined: bool = True) -> list[Block]:
    """The sites of the net, cut wherever a single tensor goes on: a residual block from its fork to the relu after the sum, a branch
    of a transformer from norm to sum.  joined=False, and stretches of more than MOST layers: each site on its own.

    Li et al. 2021 (BRECQ, arXiv 2102.05426), section 3.2.  We differ: the blocks are found from the graph, so each half of a
    transformer layer, attention and MLP, is one.
    """
    found: list[Block] = []
    stretch: list[Site] = []
    last = {a: n for n in q.args for a in q.args[n]} | {q.output_name: ""}
    going = {q.input_name}
    for s in q.sites:
        stretch.append(s)
        going |= {s.name}
        going -= {a for a in q.args[s.name] if last[a] == s.name}
        if going <= {s.name}:
            found += _pieces(q, stretch, joined)
            stretch = []
    return found + _pieces(q, stretch, False)


def _pieces(q: QuantNet, stretch: list[Site], joined: bool) -> list[Block]:
    whole = joined and sum(s.name in q.layers for s in stretch) <= MOST
    groups = [stretch] if whole and stretch else [[s] for s in stretch]
    return [Block(tuple(g), tuple(dict.fromkeys(a for s in g for a in q.args[s.name] if a not in {t.name for t in g}))) for g in groups]


def float_values(q: QuantNet, sites, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Results of sites as the float net has them, fused relus included, for the results `values` of those before."""
    values = dict(values)
    count = len(next(iter(values.values())))
    fused: dict[str, list] = {}
    for name, root in q.layout.site_of.items():
        fused.setdefault(root, []).append(q.net.steps[name])
    for site in sites:
        first, *rest = fused[site.name]
        y = compute(first, *[values[a] for a in q.args[site.name]]) if first.args else constant(first, count)
        for step in rest:
            y = compute(step, y)
        values[site.name] = y
    return values
