"""Ranges of activations chosen by what the layers that read them make of the error."""
from collections import defaultdict
from dataclasses import replace

import torch

from ..encode import Coding
from ..model import QuantNet
from ..net import compute
from ..observers import Calibration
from ..sites.site_layers import Layer
from ..vectors import inputs

FACTORS = tuple(1.2 ** (k / 3) for k in range(-12, 7))  # of the scale that the observer chose: 0.48 to 1.44
IMAGES = 64


@torch.no_grad()
def fit_ranges(q: QuantNet, calibration: Calibration, factors: tuple[float, ...] = FACTORS, images: int = IMAGES) -> dict[str, float]:
    """Scale each encoding that layers alone read by the factor with the least squared error of their outputs, in deviations of each
    output channel, on the float net's inputs; returns the factors by layer.  Do it before weights are rounded.

    An observer looks at the values by themselves; this one at what the weights do with their errors, as the output-aware
    searches of PTQ4ViT (Yuan et al. 2022) do.
    """
    readers, losses = _readers(q), defaultdict(lambda: torch.zeros(len(factors), dtype=torch.float64))
    owner = {site.name: coding for coding, sites in readers.items() for site in sites}
    for step, x in zip(q.net.layers.values(), inputs(q.net, calibration.x[:images])):
        if step.name not in owner:
            continue
        linear = replace(step, bias=None)
        wanted = compute(linear, x)
        rest = [d for d in range(wanted.dim()) if d != (1 if step.kind == "conv" else wanted.dim() - 1)]
        unit = wanted.var(rest, correction=0, keepdim=True).clip(1e-12)
        for i, f in enumerate(factors):
            losses[owner[step.name]][i] += ((compute(linear, _rounded(x, owner[step.name], f)) - wanted).square() / unit).mean().double()
    found = {}
    for coding, loss in losses.items():
        factor = factors[int(loss.argmin())]
        coding.log_scale += torch.tensor(factor).double().log()
        found |= {site.name: factor for site in readers[coding]}
    return found


def _readers(q: QuantNet) -> dict[Coding, list[Layer]]:
    """Encodings that only layers read, and those layers; the scale of a fixed point format stays."""
    readers: dict[Coding, list] = defaultdict(list)
    for site in q.sites:
        for i, coding in enumerate(site.ins):
            readers[coding].append(None if i in site.own else site)
        for coding in site.own.values():
            readers[coding].append(site)
    whole = q.output  # read by whoever uses the net
    free = [c for c in readers if c is not whole and c.log_scale.requires_grad]
    return {c: readers[c] for c in free if all(isinstance(s, Layer) for s in readers[c])}


def _rounded(x: torch.Tensor, coding: Coding, factor: float) -> torch.Tensor:
    return torch.fake_quantize_per_tensor_affine(x, float(coding.scale) * factor, coding.zero, coding.fmt.lo, coding.fmt.hi)
