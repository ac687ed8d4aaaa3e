"""Accumulators of a given width: weights that no input can take beyond it (A2Q, Colbert et al. 2023; A2Q+, 2024)."""
from dataclasses import dataclass

import torch

from ir import NumberFormat, UserError
from ..fake import Exactly

HALVINGS = 16  # of the interval in which the threshold of a channel is looked for


@dataclass(frozen=True)
class Limit:
    """Codes whose sum with any input is a signed integer of `bits` bits.

    A2Q keeps the L1 norm of a channel's codes below (2**(bits - 1) - 1) / (largest input).  We bound what ir.infer proves: with
    inputs in [lo, hi] after the zero point, positive codes summing to P, negative ones to -M and the bias code b, the sum lies
    in [P lo - M hi + b, P hi - M lo + b].  That is never stricter, and for weights centred about 0 and unsigned inputs it
    allows twice the norm (A2Q+).  A channel that breaks it is projected onto it: its values move towards 0 by one
    threshold before they are rounded to the nearest (the Euclidean projection that A2Q+ begins with).  We differ: A2Q
    rounds towards 0, which would leave nothing of ternary weights; here the integers themselves are checked.
    The bias may take half of the range.
    """
    bits: int
    centred: bool = False  # the mean of each channel is taken off its weights (A2Q+)

    @property
    def top(self) -> int: return (1 << self.bits - 1) - 1

    def check(self, layer: str, weights: NumberFormat, inputs: NumberFormat, zero: int) -> None:
        """UserError: not even one smallest weight of `layer` fits beside a bias."""
        if float(weights.nearest(0.0)) != 0:
            raise UserError(f"layer {layer!r}: {weights} weights have no 0, so they cannot be fitted into an accumulator of {self.bits} bits; "
                            "choose ternary")
        step = min(abs(g) for g in (weights.grid if not isinstance(weights.grid, range) else (1,)) if g)
        reach = step * max(inputs.hi - zero, zero - inputs.lo)
        if self.top // 2 < reach:
            least = (2 * reach).bit_length() + 1
            raise UserError(f"layer {layer!r}: an accumulator of {self.bits} bits cannot hold one {weights} weight times {inputs} inputs and "
                            f"a bias; give it at least {least} bits or narrower inputs")

    def __call__(self, v: torch.Tensor, b: torch.Tensor, weights: NumberFormat, inputs: NumberFormat, zero: int):
        """Weights v (O, ...) and biases b (O,), reals in steps, to codes (float32, float64) that keep the limit.

        Gradients pass as if nothing were projected, within the ends of the grid and of the bias.
        """
        if self.centred:
            v = v - v.mean(tuple(range(1, v.dim())), keepdim=True)
        b = b.clip(-(self.top // 2), self.top // 2)
        bias = b.detach().round()
        return Exactly.apply(self.project(v.detach(), bias, weights, inputs, zero).float(), v.clip(weights.lo, weights.hi)), Exactly.apply(bias, b)

    def project(self, v: torch.Tensor, bias: torch.Tensor, weights: NumberFormat, inputs: NumberFormat, zero: int) -> torch.Tensor:
        """The codes: of the nearest channels within the limit.  bias (O,) integers."""
        codes = weights.nearest(v.float(), torch)
        bad = ~self.holds(codes, bias, inputs, zero)
        if not bool(bad.any()):
            return codes
        rows, bias = v[bad].float().reshape(int(bad.sum()), -1), bias[bad]
        keep = torch.zeros(len(rows), device=v.device)
        drop = rows.abs().amax(1)
        for _ in range(HALVINGS):
            middle = (keep + drop) / 2
            good = self.holds(shrunk(rows, middle, weights), bias, inputs, zero)
            keep, drop = torch.where(good, keep, middle), torch.where(good, middle, drop)
        codes[bad] = shrunk(rows, drop, weights).reshape(codes[bad].shape)
        return codes

    def holds(self, codes: torch.Tensor, bias: torch.Tensor, inputs: NumberFormat, zero: int) -> torch.Tensor:
        """(O,): whether every sum of a channel has the width.  In float64, exact."""
        rows = codes.double().reshape(len(codes), -1)
        lo, hi = inputs.lo - zero, inputs.hi - zero
        up, down = rows.clip(min=0).sum(1), rows.clip(max=0).sum(1)
        return (up * hi + down * lo + bias <= self.top) & (up * lo + down * hi + bias >= -self.top - 1)


def shrunk(rows: torch.Tensor, by: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """Rows moved towards 0 by a threshold each, to the nearest codes."""
    return fmt.nearest(rows.sign() * (rows.abs() - by[:, None]).clip(min=0), torch)
