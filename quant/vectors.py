"""The vectors that a layer's rows are multiplied by, drawn from its inputs: what second moments are taken from."""
from collections.abc import Iterator

import torch
from torch.nn import functional as F

from .net import Net, pad, walk

COLUMNS = 1 << 14  # vectors that are drawn at most, about
THIN = 16          # with fewer vectors than this for each of their elements, trust in their moments sinks


def columns(weight: torch.Tensor, attrs: dict | None, x: torch.Tensor) -> torch.Tensor:
    """(groups, I, N) of x, the input of a layer with this weight; attrs are a convolution's (quant.net.Step), None for dense."""
    if attrs is None:
        return _drawn(x.reshape(-1, x.shape[-1]).T)[None]
    x, k = pad(x, attrs["padding"], 0.0), weight.shape[2:]
    dilation, stride = attrs["dilation"], attrs["stride"]
    if len(k) == 1:
        x, k, dilation, stride = x.unsqueeze(2), (1, *k), (1, *dilation), (1, *stride)
    share = max(1, COLUMNS // len(x))
    parts = [_drawn(F.unfold(img[None], k, dilation, 0, stride)[0], share) for img in x]
    return torch.cat(parts, 1).unflatten(0, (attrs["groups"], -1))


def centred(c: torch.Tensor) -> torch.Tensor:
    """Without the mean over the vectors."""
    return c - c.mean(-1, keepdim=True)


def thinness(c: torch.Tensor) -> float:
    """How much more damping vectors (I, N) call for: 1 when there are plenty."""
    return max(1.0, THIN * c.shape[0] / c.shape[1])


def _drawn(c: torch.Tensor, count: int = COLUMNS) -> torch.Tensor:
    """About `count` of the columns (I, N), evenly, with a fixed seed."""
    if c.shape[1] <= count:
        return c
    at = torch.randperm(c.shape[1], generator=torch.Generator().manual_seed(0))[:count]
    return c[:, at.to(c.device)]


def inputs(net: Net, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """What each layer of the float net reads, layer after layer."""
    layers = net.layers
    return (xs[0] for s, xs, _ in walk(net, x) if s.name in layers)
