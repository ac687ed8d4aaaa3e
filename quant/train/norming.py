"""Batch norm for training a net whose batch norms are folded: folded again at every step, so what is trained is what is lowered."""
from collections.abc import Iterator

import torch
from torch import nn

from ..emit import Forward, Value
from ..model import QuantNet
from .parallel import all_sum
from ..sites.site_layers import Layer

EPSILON = 1e-3  # of the mean variance of a layer's channels
BOUND = 4.0     # by which a channel may be scaled up or down for a deviation that has moved


class VirtualNorm(nn.Module):
    """A batch norm after a layer, with running statistics folded into weight and bias (Jacob et al. 2018, section 3.2).

    It begins as the identity: gamma is the deviation, beta the mean that the layer's outputs have.  Then gamma =
    deviation * exp(gain) and beta = mean + shift are learned, and running mean and variance follow the outputs until they are
    frozen.  We differ: the moments are those of the layer's own integers and no second, unquantized pass is made; the scale of
    a weight is folded with the weight, so that its codes do not change when the statistics do.
    """

    def __init__(self, mean: torch.Tensor, variance: torch.Tensor, momentum: float):
        super().__init__()
        self.momentum, self.watching, self.frozen = momentum, False, False
        self.seen: tuple[torch.Tensor, torch.Tensor, int] | None = None
        for name, v in (("mean", mean), ("variance", variance), ("first_mean", mean), ("first_variance", variance)):
            self.register_buffer(name, v.double().clone())
        self.gain, self.shift = nn.Parameter(torch.zeros_like(self.mean)), nn.Parameter(torch.zeros_like(self.mean))

    def factor(self) -> torch.Tensor:
        """gamma / running deviation, (O,)."""
        eps = EPSILON * self.first_variance.mean() + 1e-12
        drift = ((self.first_variance + eps) / (self.variance + eps)).sqrt()
        return drift.clip(1 / BOUND, BOUND) * self.gain.exp()

    def forward(self, weight: torch.Tensor, bias: torch.Tensor, scale: torch.Tensor):
        """Weight (O, ...), bias (O,) and scale (O,) or (1,) with the norm folded in; one scale for the tensor stays."""
        f = self.factor()
        shifted = bias * f + self.shift + (self.first_mean - self.mean * f)
        return weight * f.view(-1, *[1] * (weight.dim() - 1)), shifted, scale * f if len(scale) == len(f) else scale

    def moments(self, acc: torch.Tensor, scale: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance (O,) of the layer's outputs before the norm, from its accumulator (integers times scale)."""
        rest = [d for d in range(acc.dim()) if d != (1 if axis == 0 else acc.dim() - 1)]
        f = self.factor().detach()
        beta = self.first_mean + self.shift.detach()
        variance, mean = torch.var_mean(acc.double(), rest, correction=0)
        return (mean * scale - beta) / f + self.mean, variance * (scale / f) ** 2

    def see(self, acc: torch.Tensor, scale: torch.Tensor, axis: int) -> None:
        """Keep the moments of a batch; `follow` takes them up."""
        self.seen = *self.moments(acc, scale, axis), len(acc)

    def follow(self) -> None:
        """Running statistics a step towards what was seen, by all processes together."""
        if self.seen is not None and not self.frozen:
            mean, variance = together(*self.seen)
            self.mean.lerp_(mean, self.momentum)
            self.variance.lerp_(variance, self.momentum)
        self.seen = None


def together(mean: torch.Tensor, variance: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of what the processes saw, `count` samples here."""
    sums = all_sum(torch.cat([mean * count, (variance + mean.square()) * count, mean.new_tensor([count])]))
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    return mean, (square - mean.square()).clip(min=0)


def norms(q: QuantNet) -> list[VirtualNorm]:
    return [s.norm for s in q.layers.values() if s.norm is not None]


@torch.no_grad()
def attach(q: QuantNet, x: torch.Tensor, momentum: float) -> None:
    """A norm after each layer, measured on the images x; layers that have one keep it.  The integers stay what they are."""
    for site, acc, scale in accumulators(q, x):
        if site.norm is None:
            rest = [d for d in range(acc.dim()) if d != (1 if site.axis == 0 else acc.dim() - 1)]
            variance, mean = torch.var_mean(acc.double(), rest, correction=0)
            site.norm = VirtualNorm(mean * scale, variance * scale ** 2, momentum)
            site.bias.requires_grad_(False)  # the norm's shift moves the same sum


@torch.no_grad()
def reestimate(q: QuantNet, x: torch.Tensor) -> None:
    """Running statistics of the trained weights, layer after layer, on the images x (Nagel et al. 2022, arXiv 2203.11086)."""
    for site, acc, scale in accumulators(q, x):
        if site.norm is not None:
            mean, variance = site.norm.moments(acc, scale, site.axis)
            site.norm.mean.copy_(mean)
            site.norm.variance.copy_(variance)


def accumulators(q: QuantNet, x: torch.Tensor) -> Iterator[tuple[Layer, torch.Tensor, torch.Tensor]]:
    """(layer, integers of its accumulator, their scale) on the images x; what is changed at a layer takes effect there."""
    e, env = Forward(), {q.input_name: Value(q.encode(x), q.input_type)}
    for site in q.steps(e, env):
        if isinstance(site, Layer):
            acc, (ratio, *_) = site.accumulator(e, site.read(e, env[q.args[site.name][0]]))
            yield site, acc.data, (ratio * site.out.scale).detach()
