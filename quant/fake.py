"""Fake quantization: the integers of the graph in the forward pass, gradients as if nothing were rounded."""
import torch

from ir import NumberFormat


class Exactly(torch.autograd.Function):
    """Value of `exact`, gradient of `shadow` (straight-through, Bengio et al. 2013).

    Not shadow + (exact - shadow).detach(): in float32 that sum is not always `exact`.
    """

    @staticmethod
    def forward(ctx, exact, shadow):
        ctx.dtype = shadow.dtype
        return exact

    @staticmethod
    def backward(ctx, grad):
        return None, grad.to(ctx.dtype)


class Damped(torch.autograd.Function):
    """The value itself, its gradient times a constant (LSQ, Esser et al. 2020, section 2.2)."""

    @staticmethod
    def forward(ctx, x, factor: float):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.factor, None


def lsq_factor(count: int, fmt: NumberFormat) -> float:
    """1 / sqrt(count * largest code): keeps a scale's gradient as large as that of the values it scales (LSQ, section 2.2)."""
    return (count * max(fmt.hi, 1)) ** -0.5


def to_codes(v: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """v (reals in steps) to the nearest grid points, as float32; the gradient passes where v lies within the grid's ends."""
    return Exactly.apply(fmt.nearest(v.detach().float(), torch).float(), v.clip(fmt.lo, fmt.hi))


def to_integers(v: torch.Tensor) -> torch.Tensor:
    """v (reals in steps) to the nearest integers, ties to even, without bounds."""
    return Exactly.apply(v.detach().round(), v)
