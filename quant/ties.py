"""Layers that should get the same option because of how the net joins them."""
from collections.abc import Iterable

import torch

from ir import Registry, UserError

from .net import Net, Step

TIES: Registry = Registry("tie")  # name -> f(net) -> [layers, ..]
PASSING = ("relu", "clip", "function", "scale", "reshape", "transpose", "slice", "pad", "maxpool", "avgpool", "layernorm", "rmsnorm")


def ties(net: Net, names: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups of layers that each name in TIES finds; several names may find overlapping groups.

    UserError: an unknown name, or one that finds nothing in this net.
    """
    found = []
    for name in names:
        groups = TIES[name](net)
        if not groups:
            what = TIES[name].__doc__.strip().splitlines()[0].rstrip(".").lower()
            raise UserError(f"tie {name!r}: this model has no such layers ({what}); leave it out")
        found += groups
    return found


@TIES.register("residual")
def residual(net: Net) -> list[tuple[str, ...]]:
    """Layers whose results meet at the same sum, as a shortcut's convolution and the last one of its branch (HAWQ-V3, section 3.4)."""
    sums = [[layer for a in s.args if (layer := _maker(net, a))] for s in net.steps.values() if s.kind == "add"]
    return [tuple(dict.fromkeys(layers)) for layers in sums if len(set(layers)) > 1]


@TIES.register("qkv")
def qkv(net: Net) -> list[tuple[str, ...]]:
    """Linear layers that read the same value, as queries, keys and values do: their input is quantized once."""
    readers: dict[str, list[str]] = {}
    for name, s in net.layers.items():
        if s.kind == "linear":
            readers.setdefault(s.args[0], []).append(name)
    return [tuple(layers) for layers in readers.values() if len(layers) > 1]


@TIES.register("shared")
def shared(net: Net) -> list[tuple[str, ...]]:
    """Layers with the same weights, stored once."""
    groups: list[list[Step]] = []
    for s in net.layers.values():
        home = next((g for g in groups if g[0].weight.shape == s.weight.shape and torch.equal(g[0].weight, s.weight)), None)
        home.append(s) if home else groups.append([s])
    return [tuple(s.name for s in g) for g in groups if len(g) > 1]


def _maker(net: Net, name: str) -> str | None:
    """The layer whose result this is, but for steps that only pass it on; None where a sum, a product or the input comes first."""
    s = net.steps[name]
    while s.kind in PASSING:
        s = net.steps[s.args[0]]
    return s.name if s.name in net.layers else None
