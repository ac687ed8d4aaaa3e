"""Sites with weights: dense, convolution, per-channel affine, embedding."""
import math

import numpy as np
import torch
from torch import nn

from ir import FORMATS, Conv, Dense, Gather, NumberFormat, Reshape, Transpose
from ..train.accumulators import Limit
from ..emit import Emitter, Value, dyadic
from ..encode import Coding
from ..fake import Damped, Exactly, lsq_factor, to_codes, to_integers
from .groups import TOP, group_scales
from ..observers import weight_scale
from .site import Site, describes

BIAS_BITS = 34  # no bias code needs more; a scale that shrank to nothing must not overflow the accumulator


class Weighted(Site):
    """A site whose accumulator is a weighted sum: codes of weights and bias, and the scale of their sum."""

    def __init__(self, step, ins, out, clamp=(None, None), fmt: NumberFormat = FORMATS["int8"], how: str = "mse", per_channel: bool = True,
                 group: int = 0):
        super().__init__(step, ins, out, clamp)
        self.fmt = fmt
        self.weight = nn.Parameter(step.weight.detach().clone())
        self.bias = nn.Parameter(torch.zeros(len(step.weight)) if step.bias is None else step.bias.detach().clone())
        scale, factors = group_scales(step.weight, fmt, how, group) if group else (weight_scale(step.weight, fmt, how, per_channel), None)
        self.register_buffer("factors", factors)  # of each weight's group of inputs: what a step of it is in steps of the channel
        if not step.weight.any() and not fmt.scale:  # nothing but a bias: a scale that resolves it
            scale = torch.full_like(scale, max(float(self.bias.detach().abs().max()), 1e-6) / ins[0].encoding.scale / 2 ** 14)
        self.log_scale = nn.Parameter(scale.log(), requires_grad=not fmt.scale)
        self.damp = lsq_factor(step.weight[0].numel() if per_channel else step.weight.numel(), fmt)
        self.norm: nn.Module | None = None    # a batch norm of training, folded into weight, bias and scale (quant/train/norming.py)
        self.limit: Limit | None = None       # of the accumulator (quant/train/accumulators.py)

    @property
    def scale(self) -> torch.Tensor:
        """(O,) or (1,) float64: the real value of one step of a weight."""
        return torch.full_like(self.log_scale, self.fmt.scale) if self.fmt.scale else Damped.apply(self.log_scale, self.damp).exp()

    def steps(self, scale: torch.Tensor) -> torch.Tensor:
        """The real value of one step of each weight, (O, 1) or (O, fan_in), for scales (O,) or (1,)."""
        column = scale.expand(len(self.weight))[:, None]
        return column if self.factors is None else column * self.factors.reshape(len(self.weight), -1)

    def reach(self, x: Coding) -> int:
        """What no accumulator exceeds, whatever the weights."""
        factor = 1 if self.factors is None else TOP
        return self.weight[0].numel() * factor * max(-self.fmt.lo, self.fmt.hi) * x.span + 2 ** BIAS_BITS

    def folded(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weight, bias and scale with the norm of training in them, if there is one."""
        return (self.weight, self.bias, self.scale) if self.norm is None else self.norm(self.weight, self.bias, self.scale)

    def realised(self, x: Coding) -> tuple[torch.Tensor, np.ndarray, int]:
        """The scale (O,) or (1,) nearest to the folded one whose requant is dyadic, and that multiplier and shift: no error is left to
        the multiplier, the weights are rounded to the grid that the integers really have.  A fixed point format keeps its own grid.
        """
        scale = self.folded()[2]
        unit = x.scale.detach() / self.out.scale.detach()
        mul, shift = dyadic((scale.detach() * unit).cpu().numpy(), self.reach(x))
        exact = torch.from_numpy(np.ldexp(mul.astype(np.float64), -shift)).to(scale.device) / unit
        if self.fmt.scale and self.norm is None:
            exact = scale
        return Exactly.apply(exact, scale), mul, shift

    def integers(self, x: Coding) -> tuple[torch.Tensor, torch.Tensor, tuple]:
        """Weight codes, bias codes (the zero point of x folded in), and the requant: ratio, multiplier, shift."""
        own, mul, shift = self.realised(x)
        weight, bias, _ = self.folded()
        scale = x.scale * own
        v = (weight.reshape(len(weight), -1) / self.steps(own)).view(weight.shape)
        b = (bias / scale).clip(-2.0 ** BIAS_BITS, 2.0 ** BIAS_BITS)
        w, b = (to_codes(v, self.fmt), to_integers(b)) if self.limit is None else self.limit(v, b, self.fmt, x.fmt, x.zero)
        w = w if self.factors is None else w * self.factors
        return w, b - x.origin * w.double().reshape(len(w), -1).sum(1), (scale / self.out.scale, mul, shift)

    def accumulator(self, e: Emitter, x: Value) -> tuple[Value, tuple]:
        """The sum told to an emitter, and the requant that belongs to it."""
        raise NotImplementedError


class Layer(Weighted):
    """What a plan decides on.  `narrow` is the encoding of its own input if the tensor it reads has a wider one."""

    def __init__(self, *args, narrow: Coding | None = None, **options):
        super().__init__(*args, **options)
        self.narrow = narrow
        self.path: nn.Module | None = None  # adds what rounding took from the weights, on the way to the requant (quant/sites/lowrank_path.py)

    @property
    def coding(self) -> Coding: return self.narrow or self.ins[0]

    @property
    def operand(self) -> Coding:
        """The encoding of what the weights are multiplied by."""
        return self.coding

    def build(self, e: Emitter, x: Value) -> Value:
        x = self.read(e, x)
        acc, r = self.accumulator(e, x)
        if self.path is not None:
            acc, r = self.path(e, x, acc, r)
        if self.norm is not None and self.norm.watching and torch.is_tensor(acc.data):
            self.norm.see(acc.data.detach(), (r[0] * self.out.scale).detach(), self.axis)
        return self.finish(e, acc, *r, axis=self.axis)

    def read(self, e: Emitter, x: Value) -> Value:
        """The input in the format that the layer asked for."""
        return e.recode(f"{self.name}.in", x, self.ins[0], self.narrow) if self.narrow else x


@describes("linear")
class DenseSite(Layer):
    axis = -1

    def accumulator(self, e, x):
        w, b, r = self.integers(self.coding)
        return e.op(self.name, Dense(constant(w), constant(b)), x, live={"weight": w, "bias": b}), r


@describes("conv")
class ConvSite(Layer):
    axis = 0

    def accumulator(self, e, x):
        w, b, r = self.integers(self.coding)
        a = self.attrs
        op = Conv(constant(w), constant(b), tuple(a["stride"]), tuple(map(tuple, a["padding"])), tuple(a["dilation"]), a["groups"], self.coding.zero)
        return e.op(self.name, op, x, live={"weight": w, "bias": b} | self.coding.pads()), r


@describes("scale")
class ScaleSite(Weighted):
    """A per-channel affine: a depthwise convolution with one tap, its channel axis brought to the front."""

    def __init__(self, step, ins, out, clamp=(None, None), **options):
        super().__init__(step, ins, out, clamp, **options)
        rest = [d for d in range(len(step.shape)) if d != step.attrs["axis"]]
        self.front = (step.attrs["axis"], *rest)
        self.moved = tuple(step.shape[d] for d in self.front)

    def build(self, e, x):
        w, b, r = self.integers(self.ins[0])
        channels = self.moved[0]
        x = e.op(f"{self.name}.front", Transpose(self.front), x)
        x = e.op(f"{self.name}.rows", Reshape((channels, math.prod(self.moved[1:]))), x)
        op = Conv(constant(w).reshape(-1, 1, 1), constant(b), (1,), ((0, 0),), (1,), channels)
        y = e.op(self.name, op, x, live={"weight": w.view(-1, 1, 1), "bias": b})
        y = self.finish(e, y, *r)
        y = e.op(f"{self.name}.shape", Reshape(self.moved), y)
        return e.op(f"{self.name}.back", Transpose(tuple(np.argsort(self.front).tolist())), y)


@describes("embedding")
class EmbeddingSite(Site):
    """Rows of a table of codes."""

    def __init__(self, step, ins, out, clamp=(None, None)):
        super().__init__(step, ins, out, clamp)
        self.weight = nn.Parameter(step.weight.detach().clone())

    def build(self, e, x):
        codes = self.out.encode(self.weight)
        return e.op(self.name, Gather(constant(codes)), x, live={"table": codes})


def constant(t: torch.Tensor) -> np.ndarray:
    """Integers held by a tensor, as an op has them."""
    return t.detach().cpu().numpy().astype(np.int64)
