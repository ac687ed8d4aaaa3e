"""BitLinear, the ternary layer of MatMul-free language models: int8 codes of each token times weights of -1, 0 and 1.

The numbers follow the code that trained the published models (ridgerchu/matmulfreellm, ops/fusedbitnet.py; Zhu et al. 2024,
arXiv 2406.02528): every layer has a norm of its own, whose epsilon is 1e-6 whatever the module prints, and no bias.
"""
import torch
from torch import nn
from torch.nn import functional as F

from ir import FORMATS, UserError

EPS = 1e-6    # of every RMSNorm
TINY = 1e-5   # least absmax of a token and least absmean of a matrix
TOP = FORMATS["int8"].hi
TERNARY = FORMATS["ternary"]
TERNARY_RULE = "weights read as float32, mean |W| summed in float64 and rounded to float32, ties to even"
ROUNDINGS = {  # of a token's codes; they differ on ties alone
    "away": lambda v: v.sign() * (v.abs() + 0.5).floor(),  # the fused kernel that the models were trained with
    "even": torch.round,                                   # its reference in plain torch
    "up": lambda v: (v + 0.5).floor(),                     # the integer graph
}


class RMSNorm(nn.Module):
    """x / sqrt(mean(x**2) + eps) * weight, over the last axis."""

    def __init__(self, dim: int, eps: float = EPS):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


class BitLinear(nn.Module):
    """y = ternary(W) @ int8(RMSNorm(x)) over the last axis, (..., inputs) -> (..., outputs), straight-through gradients.

    forward computes with the real numbers behind the codes (fake quantization); `integers` gives the codes, their sums and
    the scale, and scale * sums is the same up to float rounding.  Captured it is an RMSNorm and a linear layer of ternary weights;
    the option ternaryt/int8d keeps its codes.  UserError: an unknown rounding.
    """

    def __init__(self, inputs: int, outputs: int, rounding: str = "away"):
        super().__init__()
        if rounding not in ROUNDINGS:
            raise UserError(f"unknown rounding {rounding!r} of a token's codes (known: {', '.join(ROUNDINGS)})")
        self.rounding = rounding
        self.norm = RMSNorm(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            t, mean = ternary_codes(self.weight)
            return F.linear(self.norm(x), t * mean)
        return StraightThrough.apply(x, self.norm.weight, self.weight, self.norm.eps, self.rounding)

    def integers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Codes (..., inputs) int64, their sums (..., outputs) int64, and the real value (..., 1) of one step of the sums."""
        q, step = token_codes(self.norm(x), self.rounding)
        t, mean = ternary_codes(self.weight)
        return q.long(), q.long() @ t.long().T, step * mean


class StraightThrough(torch.autograd.Function):
    """The forward pass of BitLinear with its norm, and its gradients as if no code were rounded, in few passes over memory (Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx, x, gain, weight, eps: float, rounding: str):
        root = (x.square().mean(-1, keepdim=True) + eps).rsqrt()
        n = x * root
        q, step = token_codes(n * gain, rounding)
        t, mean = ternary_codes(weight)
        ctx.save_for_backward(n, root, gain, q, step, t, mean)
        return F.linear(q * step, t * mean)

    @staticmethod
    def backward(ctx, grad):
        n, root, gain, q, step, t, mean = ctx.saved_tensors
        to_weight = (grad * step).flatten(0, -2).T @ q.flatten(0, -2)
        to_y = grad @ (t * mean)
        to_gain = (to_y * n).flatten(0, -2).sum(0)
        to_n = to_y.mul_(gain)
        to_x = to_n.sub_(n * (to_n * n).mean(-1, keepdim=True)).mul_(root)
        return to_x, to_gain, to_weight, None, None


def token_codes(y: torch.Tensor, rounding: str = "away") -> tuple[torch.Tensor, torch.Tensor]:
    """Codes in [-127, 127] of each token y (..., I), held as floats, and the real value (..., 1) of one step."""
    top = y.abs().amax(-1, keepdim=True).clip(TINY)
    return ROUNDINGS[rounding](y * (TOP / top)), top / TOP


def ternary_codes(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes -1, 0, 1 of a matrix, held in its dtype, and their real value mean |W|; `TERNARY_RULE` says in which precision.

    Ma et al. 2024, arXiv 2402.17764, equations 1 to 3 (absmean).
    """
    w = weight.detach().float()
    mean = w.double().abs().mean().float().clip(TINY)
    return (w * (1 / mean)).round().clip(TERNARY.lo, TERNARY.hi).to(weight.dtype), mean.to(weight.dtype)
