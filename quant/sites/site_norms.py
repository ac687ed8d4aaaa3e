"""Sites that normalize: layer norm and root-mean-square norm over the last axes, with an integer square root and a division."""
import math

import torch
from torch import nn

from ir import Add, Constant, Div, Expand, Mul, Requant, Reshape, Sqrt, SumPool
from ..emit import Emitter, Value
from .site import Site, describes

SQUARE_BITS = 50  # of a row's sum of squares: it stays exact in float64, where gradients flow, and below what Sqrt takes
ROOT_BITS = 51    # of what the root is taken of
FRACTION = 16     # bits behind the point of a normalized value
FINE = 6          # bits behind the point of an output code, before the bias is added
LEAST = 2.0 ** -20  # of the largest weight: smaller ones would have no multiplier


@describes("layernorm", "rmsnorm")
class NormSite(Site):
    """x^ * weight + bias with x^ = c * sqrt(d) / sqrt(sum(c**2) + e): c is x, or d times what x is above its mean, as integers.

    A row's scale cancels, but in e, which stands for eps.  Whatever is wide is rounded to fewer bits first (c where its squares
    would not fit), by shifts that follow from the proven intervals alone.  I-BERT (Kim et al. 2021, arXiv 2101.01321, section 3.5);
    we differ: the root is the exact floor, and the division rounds once.
    """

    def __init__(self, step, ins, out, clamp=(None, None)):
        super().__init__(step, ins, out, clamp)
        last = step.attrs.get("dims", 1)
        self.width = math.prod(step.shape[len(step.shape) - last:])
        self.rows = math.prod(step.shape) // self.width
        self.centres, self.eps = step.kind == "layernorm", step.attrs["eps"]
        weight = torch.ones(self.width) if step.weight is None else step.weight.detach().flatten()
        self.weight = nn.Parameter(weight.clone())
        bias = None if step.bias is None or not step.bias.any() else step.bias.detach().flatten().clone()
        self.bias = None if bias is None else nn.Parameter(bias)

    def build(self, e: Emitter, x: Value) -> Value:
        x = e.op(f"{self.name}.rows", Reshape((self.rows, self.width)), x)
        c, gain = self._centred(e, x) if self.centres else (e.shifted(f"{self.name}.0", x, self.ins[0].origin), 1.0)
        c, gain = self._narrowed(e, c, gain)
        y, unit = self._normalized(e, c, self.eps * self.width * (gain / self.ins[0].encoding.scale) ** 2)
        y = self._affine(e, y, unit)
        return e.op(self.name, Reshape(self.shape), y)

    def _centred(self, e: Emitter, x: Value) -> tuple[Value, float]:
        """d * x - sum(x), which no zero point changes; d steps of it are one of x."""
        total = e.op(f"{self.name}.sum", SumPool((self.width,), (self.width,), ((0, 0),)), x)
        mean = e.op(f"{self.name}.mean", Expand(x.type.shape), e.shifted(f"{self.name}.minus", total, 0, -1))
        return e.op(f"{self.name}.centred", Add(), e.shifted(f"{self.name}.times", x, 0, self.width), mean), float(self.width)

    def _narrowed(self, e: Emitter, c: Value, gain: float) -> tuple[Value, float]:
        """c with so many bits that the sum of its squares has at most SQUARE_BITS."""
        reach, shift = max(-c.type.lo, c.type.hi), 0
        while self.width * ((reach >> shift) + 1) ** 2 >= 1 << SQUARE_BITS:
            shift += 1
        if not shift:
            return c, gain
        ratio = torch.tensor(2.0 ** -shift)
        return e.requant(f"{self.name}.narrow", c, ratio, 0, -reach, reach, mul=[1], shift=shift), gain * 2.0 ** -shift

    def _normalized(self, e: Emitter, c: Value, eps: float) -> tuple[Value, float]:
        """c * sqrt(d) / sqrt(sum(c**2) + eps) as integers, and the real value of 1."""
        square = e.op(f"{self.name}.squares", Mul(), c, c)
        total = e.op(f"{self.name}.power", SumPool((self.width,), (self.width,), ((0, 0),)), square)
        fine = math.floor((ROOT_BITS - math.log2(total.type.hi + eps + 1)) / 2)  # the root is of the sum times 4**fine
        fine = max(fine, -30)
        least = min(max(1, round(eps * 4.0 ** fine)), 1 << ROOT_BITS)
        power = e.requant(f"{self.name}.eps", total, torch.tensor(4.0 ** fine), least, least, 1 << ROOT_BITS,
                          mul=[4 ** max(fine, 0)], shift=2 * max(-fine, 0))
        root = e.op(f"{self.name}.root", Expand(c.type.shape), e.op(f"{self.name}.sqrt", Sqrt(), power))
        one = max(1, round(2.0 ** (FRACTION + fine) * self.width ** 0.5))
        y = e.op(f"{self.name}.ratio", Div(), e.shifted(f"{self.name}.wide", c, 0, one), root)
        unit = 2.0 ** fine * self.width ** 0.5 / one
        top = math.ceil(self.width ** 0.5 / unit)  # no value of a row is further from 0
        return e.op(f"{self.name}.unit", Requant([1], 0, 0, -top, top), y, live={"ratio": torch.tensor(1.0)}), unit

    def _affine(self, e: Emitter, y: Value, unit: float) -> Value:
        """y * unit * weight + bias in the output's encoding."""
        least = float(self.weight.detach().abs().max()) * LEAST or LEAST
        weight = torch.where(self.weight.abs() < least, least, self.weight)
        ratio = weight.double() * unit / self.out.scale
        if self.bias is None:
            return self.finish(e, y, ratio, axis=-1)
        bound = math.ceil(y.type.hi * float(ratio.detach().abs().max()) * 2 ** FINE) + 1
        y = e.requant(f"{self.name}.scaled", y, ratio * 2 ** FINE, 0, -bound, bound, axis=-1)
        bias = (self.bias.double() / self.out.scale * 2 ** FINE)[None]
        code = e.op(f"{self.name}.bias", Constant(bias.detach().round().cpu().numpy()), live={"value": bias})
        total = e.op(f"{self.name}.biased", Add(), y, e.op(f"{self.name}.biases", Expand(y.type.shape), code))
        return self.finish(e, total, torch.tensor(2.0 ** -FINE), [1], FINE)
