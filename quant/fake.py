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


class Rescaled(torch.autograd.Function):
    """Value of `exact`, gradient of clip(v, lo, hi) + zero with v = x * ratio, of which `v` holds the value as float32.

    ratio: scalar, or shaped to broadcast against x.  zero: the integer `offset` as a scalar with a gradient, or None.
    log_clip: as in `clipping`, or None.  moving: which of the bounds stand for a real value and so move with the zero point.
    """

    @staticmethod
    def forward(ctx, x, ratio, zero, log_clip, exact, v, bounds: tuple[float, float], offset: int, moving: tuple[bool, bool]):
        ctx.save_for_backward(ratio, v, exact if log_clip is not None else None)
        ctx.bounds, ctx.x_type, ctx.offset, ctx.moving = bounds, x.dtype, offset, moving
        return exact

    @staticmethod
    def backward(ctx, grad):
        ratio, v, exact = ctx.saved_tensors
        lo, hi = ctx.bounds
        beyond = [(grad * far).sum() for far, moves in zip((v <= lo, v >= hi), ctx.moving) if moves] if ctx.needs_input_grad[2] else []
        grad = torch.ops.aten.hardtanh_backward(grad.float(), v, lo, hi)
        to_x = (grad * ratio.float()).to(ctx.x_type) if ctx.needs_input_grad[0] else None
        to_ratio = (grad * v).sum_to_size(ratio.shape).to(ratio.dtype) / ratio if ctx.needs_input_grad[1] else None
        to_zero = sum(beyond, grad.sum()).double() if ctx.needs_input_grad[2] else None
        to_clip = (grad * (v + ctx.offset - exact)).sum().double() if ctx.needs_input_grad[3] else None
        return to_x, to_ratio, to_zero, to_clip, None, None, None, None, None


def clipping(shadow: torch.Tensor, exact: torch.Tensor, log_clip: torch.Tensor | None) -> torch.Tensor:
    """A shadow whose gradient takes off what LSQ adds to the logarithm of a step size for the values that were rounded, not
    clipped: what remains is the gradient of a clipping level (PACT, Choi et al. 2018, equation 3).  None: the shadow as it is.
    """
    return shadow if log_clip is None else shadow + (shadow - exact).detach() * log_clip


def lsq_factor(count: int, fmt: NumberFormat) -> float:
    """1 / sqrt(count * positive codes): keeps a scale's gradient as large as that of the values it scales (LSQ, section 2.2).

    We differ where the grid has gaps: its points are counted, not its steps; what rounding loses grows with the value there.
    """
    levels = fmt.hi if isinstance(fmt.grid, range) else sum(g > 0 for g in fmt.grid)
    return (count * max(levels, 1)) ** -0.5


def to_codes(v: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """v (reals in steps) to the nearest grid points, as float32; the gradient passes where v lies within the grid's ends."""
    return Exactly.apply(fmt.nearest(v.detach().float(), torch).float(), v.clip(fmt.lo, fmt.hi))


def to_integers(v: torch.Tensor) -> torch.Tensor:
    """v (reals in steps) to the nearest integers, ties to even, without bounds."""
    return Exactly.apply(v.detach().round(), v)
