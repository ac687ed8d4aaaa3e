"""AWQ: input channels that carry much are made larger in the weights before these are rounded, and smaller where they come from."""
from collections.abc import Mapping

import torch

from ir import Option

from .channels import Feed, balanced, feeds, observed
from .grids import fitted
from .gptq import second_moment
from ..net import Net
from ..observers import Calibration

TRIED = 20          # exponents that are tried, from 0
RANGES_TRIED = 8    # of each, for weight_range other than minmax
SMALLEST = 1e-4     # of a channel's scale
SOURCES = ("layernorm", "rmsnorm", "linear")


def awq(net: Net, calibration: Calibration, options: Mapping[str, Option], symmetric: bool = True, weight_range: str = "mse") -> Net:
    """The same function with channels scaled such that the layers that `options` names lose least when their weights are rounded.

    Channel c of a norm or layer is divided by s_c and the columns of the layers it feeds are multiplied: s = mean|x|**r, divided
    by sqrt(max s * min s), with the r among 0, 0.05 .. 0.95 that has the least error of the layers' outputs.
    Lin et al. 2023 (arXiv 2306.00978), section 3.2 and the authors' code; we differ: the error is that of each layer and not of
    the block, and the ranges are those that the rounding will have.  options: {layer: option}, of which the weights' side counts.
    """
    found = [(f, asked) for f in feeds(net, SOURCES) if (asked := {n: ids for n, ids in f.readers.items() if n in options})]
    read = {n: net.steps[n].args[0] for _, asked in found for n in asked}
    seen = observed(net, calibration.x, sorted(set(read.values())))  # once: a layer's inputs change with its own scale alone
    for f, asked in found:
        net = balanced(net, f, _scale(net, f, asked, {n: seen[read[n]] for n in asked}, options, symmetric, weight_range))
    return net


def _scale(net: Net, feed: Feed, asked: dict, rows: dict, options: Mapping[str, Option], symmetric: bool, how: str) -> torch.Tensor:
    """(K,) of the source's channels."""
    moments = {n: second_moment(x.T) for n, x in rows.items()}
    channels = net.steps[feed.source].shape[-1]
    size, count = torch.zeros(2, channels, dtype=torch.float64)
    for n, ids in asked.items():
        size.index_add_(0, ids, rows[n].abs().double().mean(0))
        count.index_add_(0, ids, torch.ones(len(ids), dtype=torch.float64))
    size = size / count.clip(1)
    best, least = torch.ones(channels, dtype=torch.float64), float("inf")
    for k in range(TRIED):
        s = (size ** (k / TRIED)).clip(SMALLEST)
        s = s / (s.max() * s.min()).sqrt()
        loss = sum(_loss(net.steps[n].weight.double(), s[ids], moments[n], options[n], symmetric, how) for n, ids in asked.items())
        if loss < least:
            best, least = s, loss
    return best


def _loss(w: torch.Tensor, s: torch.Tensor, h: torch.Tensor, option: Option, symmetric: bool, how: str) -> float:
    """Squared error of the layer's outputs if w * s is rounded."""
    grid = fitted(w * s, option.weight_format, group_size(option, w), symmetric, how, h / s / s[:, None], RANGES_TRIED)
    e = grid.values(grid.codes(w * s)) / s - w
    return float(((e @ h) * e).sum())


def group_size(option: Option, w: torch.Tensor) -> int:
    """Inputs that share a scale."""
    return int(option.granularity[1:]) if option.granularity.startswith("g") else w.shape[1]
