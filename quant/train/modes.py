"""What is trained of each layer and activation, and the limits that a training puts on layers."""
from fnmatch import fnmatchcase

import torch

from ir import UserError
from .accumulators import Limit
from ..encode import Coding
from ..model import QuantNet
from .recipe import Recipe
from ..sites.site_layers import Layer, Weighted

PASSES = {"input", "conv", "linear", "scale", "add", "mul", "matmul", "avgpool", "function", "concat", "maxpool", "reshape", "transpose", "slice"}
# kinds of steps whose sites give the zero points of what they read and make a gradient
STRETCHES = [2.0 ** (k / 4) for k in range(33)]  # of a weight scale, tried where an accumulator is limited


def prepare(q: QuantNet, mode: str | dict) -> list[torch.nn.Parameter]:
    """Put q into a mode; returns the scales, zero points and clipping levels that it trains (none that a format fixes)."""
    trained = []
    held = {c for s in q.sites if q.net.steps[s.name].kind not in PASSES for c in (s.out, *s.ins)}
    for site in q.sites:
        if isinstance(site, Weighted) and not site.fmt.scale and mode_of(q, site.name, mode) in ("lsq", "lsq+"):
            trained.append(site.log_scale)
    for coding, m in codings(q, mode).items():
        coding.pact = m == "pact"
        if m == "lsq+" and not coding.fmt.signed and coding.zero > 0 and coding not in held:
            coding.free()
        if m != "ste" and coding.log_scale.requires_grad and not coding.fmt.scale:
            trained += [coding.log_scale] + ([coding.offset] if m == "lsq+" and coding.offset is not None else [])
    return trained


def mode_of(q: QuantNet, layer: str, mode: str | dict) -> str:
    """The mode of a layer (or of another site with weights, which has no option)."""
    if isinstance(mode, str):
        return mode
    names = [layer] + ([str(q.plan[layer])] if layer in q.plan.options else [])
    return next((m for pattern, m in mode.items() if any(fnmatchcase(n, pattern) for n in names)), "lsq")


def codings(q: QuantNet, mode: str | dict) -> dict[Coding, str]:
    """Every encoding -> its mode: that of the first layer that reads it, lsq (or the one mode that there is) if none does."""
    found: dict[Coding, str] = {}
    for layer in q.layers.values():
        found.setdefault(layer.coding, mode_of(q, layer.name, mode))
    rest = mode if isinstance(mode, str) else "lsq"
    return found | {m: rest for m in q.modules() if isinstance(m, Coding) and m not in found}


def clipping_levels(q: QuantNet) -> list[torch.Tensor]:
    """The largest real value of each activation under pact, with a gradient."""
    return [(m.fmt.hi - m.zero) * m.scale for m in q.modules() if isinstance(m, Coding) and m.pact]


def restrict(q: QuantNet, recipe: Recipe) -> None:
    """Accumulators of the asked width.  A layer that had none gets the weight scale with the least error under it.

    UserError: a pattern that fits no layer, a width that no weight fits into.
    """
    bits = recipe.accumulator_bits
    wanted = {"*": bits} if isinstance(bits, int) and bits else bits or {}
    weighted = {s.name: s for s in q.sites if isinstance(s, Weighted)}
    for pattern, width in wanted.items():
        names = [n for n in weighted if fnmatchcase(n, pattern)]
        if not names:
            raise UserError(f"accumulator bits for {pattern!r}, which fits no layer (there are {', '.join(weighted)})")
        if not 2 <= width <= 63:
            raise UserError(f"an accumulator of {width} bits for {pattern!r}: give 2 to 63")
        for n in names:
            limit, site = Limit(width, recipe.centred), weighted[n]
            if site.limit != limit:
                if n in q.plan.options and q.plan[n].granularity.startswith("g"):
                    raise UserError(f"layer {n!r}: the accumulator of {q.plan[n]} has no limit of bits, its weights have a scale for each group; "
                                    "use a scale for each channel")
                x = site.coding if isinstance(site, Layer) else site.ins[0]
                limit.check(n, site.fmt, x.fmt, x.zero)
                site.limit = limit
                stretch(site, x)


@torch.no_grad()
def stretch(site: Weighted, x: Coding) -> None:
    """The scale that costs least under the site's limit: squared error of the weights and, for inputs of a quarter of their
    range, of the bias; channel by channel where each has its own.
    """
    weight, bias, _ = site.folded()
    start = site.log_scale.clone()
    rms = float(x.scale) * (x.fmt.hi - x.fmt.lo) / 4
    best, cost = start.clone(), torch.full_like(start, float("inf"))
    for by in STRETCHES:
        site.log_scale.copy_(start + torch.log(start.new_tensor(by)))
        own = site.folded()[2]
        column = own.view(-1, *[1] * (weight.dim() - 1))
        w, b = site.limit(weight / column, bias / (x.scale * own), site.fmt, x.fmt, x.zero)
        error = (w * column - weight).double().square().reshape(len(w), -1).sum(1) * rms ** 2 + (b * x.scale * own - bias).square()
        error = error if len(start) == len(error) else error.sum()[None]
        best, cost = torch.where(error < cost, site.log_scale, best), torch.minimum(error, cost)
    site.log_scale.copy_(best)
