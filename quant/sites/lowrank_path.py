"""LoRC in integers: beside a layer runs a path of two thin int8 layers that gives back part of what rounding took from its weights."""
import math

import torch
from torch import nn

from ir import Add, Conv, Dense, Op, UserError

from ..emit import PRODUCT_BITS, Emitter, Forward, Value, dyadic
from ..post.gptq import second_moment
from ..post.lowrank import low_rank
from ..model import QuantNet
from ..observers import Calibration
from .site_layers import ConvSite, DenseSite, Layer, constant

CODE = 127     # the largest code of the factors and of what is between them
MORE_BITS = 12  # that the sum may be finer than the accumulator, at most


class LowRankPath(nn.Module):
    """acc * 2**finer + left (requant (right (x - zero))), all integers, in front of the layer's own requant."""

    def __init__(self, site: Layer, right: torch.Tensor, left: torch.Tensor, mul, shift: int, finer: int):
        super().__init__()
        self.name, self.axis, self.conv = site.name, site.axis, isinstance(site, ConvSite)
        self.stride = tuple(site.attrs["stride"]) if self.conv else ()
        self.right, self.left, self.mul, self.shift, self.finer = right, left, mul, shift, finer
        self.zero = site.coding.zero

    def forward(self, e: Emitter, x: Value, acc: Value, requant: tuple) -> tuple[Value, tuple]:
        """The finer sum, and the requant that then belongs to it."""
        ratio, mul, shift = requant
        z = e.op(f"{self.name}.right", self._op(self.right, -self.zero * self.right.sum(1), self.stride), x)
        ones = torch.from_numpy(self.mul / 2.0 ** self.shift)
        h = e.requant(f"{self.name}.rank", z, ones, 0, -CODE, CODE, self.axis, self.mul, self.shift)
        u = e.op(f"{self.name}.left", self._op(self.left, torch.zeros(len(self.left)), (1,) * len(self.stride)), h)
        total = e.op(f"{self.name}.both", Add(), e.shifted(f"{self.name}.finer", acc, 0, 2 ** self.finer), u)
        return total, (ratio / 2 ** self.finer, mul, shift + self.finer)

    def _op(self, weight: torch.Tensor, bias: torch.Tensor, stride: tuple) -> Op:
        if not self.conv:
            return Dense(constant(weight), constant(bias))
        n = len(stride)
        return Conv(constant(weight).reshape(*weight.shape, *[1] * n), constant(bias), stride, ((0, 0),) * n, (1,) * n, 1, 0)


@torch.no_grad()
def compensate_rank(q: QuantNet, calibration: Calibration, rank: int = 8, layers: list[str] | None = None) -> dict[str, tuple[float, float]]:
    """Give layers of a quantized net a path of this rank, in place; returns {layer: (squared error of the outputs without, with it)}.

    E = W - Wh is factored for the integers that the layer reads on calibration samples (quant/post/lowrank.py), layer after layer; the
    factors become int8 codes.  layers: linear ones and convolutions with a kernel of 1 and without groups; None: all of these.
    A path costs rank * (inputs + outputs) multiplications.  ZeroQuant-V2 (Yao et al. 2023, arXiv 2303.08302), section 5; we differ:
    the factors are weighted by the inputs, and everything is an integer.  UserError: no rank, a layer that cannot have a path.
    """
    able = {n: s for n, s in q.layers.items() if type(s) is DenseSite or type(s) is ConvSite and _pointwise(s)}
    if unknown := [n for n in layers or () if n not in able]:
        raise UserError(f"layer {unknown[0]!r} can have no low-rank path; linear layers and convolutions with a kernel of 1 can "
                        f"({', '.join(able) or 'there are none'})")
    if rank < 1:
        raise UserError(f"a low-rank path has a rank of at least 1, not {rank}")
    e, found = Forward(), {}
    env = {q.input_name: Value(q.encode(calibration.x[:calibration.mend]), q.input_type)}
    for site in q.steps(e, env):
        if site.name in (able if layers is None else layers):
            site.path = None
            x = site.read(e, env[q.args[site.name][0]])
            found[site.name] = _fit(site, e, x, q.net.steps[site.name].weight, rank)
    return found


def _pointwise(s: ConvSite) -> bool:
    return s.attrs["groups"] == 1 and set(s.weight.shape[2:]) == {1} and not any(map(any, s.attrs["padding"]))


def _fit(site: Layer, e: Forward, x: Value, wanted: torch.Tensor, rank: int) -> tuple[float, float]:
    """A path for one layer; the squared error of its outputs (reals, mean) without and with it."""
    codes, _, (ratio, mul, _) = site.integers(site.coding)
    step = (ratio.reshape(-1) * site.out.scale / site.coding.scale).expand(len(codes))[:, None]  # of a weight
    missing = wanted.double().flatten(1) - codes.double().flatten(1) * step
    rows = x.data.movedim(1, -1) if site.axis == 0 else x.data
    rows = (rows.reshape(-1, rows.shape[-1]).double() - site.coding.zero)
    f = low_rank(missing, rank, second_moment(rows.T), codes=False)
    size = f.right.abs().amax(1).clip(1e-30)
    right = (f.right / size[:, None] * CODE).round()
    between = rows @ right.T
    m, shift = dyadic((CODE / between.abs().amax(0).clip(1)).numpy(), int(right.abs().sum(1).max()) * site.coding.span)
    unit = size / CODE * torch.from_numpy(2.0 ** shift / m)  # of a code between the factors, in steps of the input
    scaled = f.left * unit / step
    room = PRODUCT_BITS - 1 - int(max(mul)).bit_length() - max(-(a := site.accumulator(e, x)[0].type).lo, a.hi).bit_length() - 1
    finer = max(0, min(MORE_BITS, room, math.floor(math.log2(CODE / max(float(scaled.abs().max()), 1e-12)))))
    left = (scaled * 2 ** finer).round()
    site.path = LowRankPath(site, right, left, m, shift, finer)
    given = ((between * torch.from_numpy(m / 2.0 ** shift)).round().clip(-CODE, CODE) @ left.T) / 2 ** finer * step.T
    had = rows @ missing.T
    scale = float(site.coding.scale) ** 2
    return float(had.square().mean()) * scale, float((had - given).square().mean()) * scale
