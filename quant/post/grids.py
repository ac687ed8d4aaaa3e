"""Grids of weights: a scale for each channel or group of inputs, kept in float16, and a zero point where the grid is asymmetric."""
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ir import FORMATS, NumberFormat

STEPS = 40       # shrunken scales that a range search tries
SMALLEST = 0.3   # of the full range, that it tries
RANGES = ("minmax", "mse", "output")


@dataclass(frozen=True)
class Grid:
    """A code of input i of channel o is worth scale[o, i // size] * (code - zero[o, i // size]).

    scale (O, G) float64, each a float16 number; it may be negative, which mirrors a grid that reaches further below 0 than above.
    zero (O, G) codes of the format, or None for a format that is symmetric about 0.  The last group may be shorter.
    """
    fmt: NumberFormat
    size: int
    inputs: int
    scale: torch.Tensor
    zero: torch.Tensor | None = None

    def columns(self, v: torch.Tensor) -> torch.Tensor:
        """(O, G) -> (O, I)."""
        return v.repeat_interleave(self.size, 1)[:, :self.inputs]

    @property
    def steps(self) -> torch.Tensor: return self.columns(self.scale)

    @property
    def zeros(self) -> torch.Tensor: return torch.zeros_like(self.steps) if self.zero is None else self.columns(self.zero)

    def codes(self, w: torch.Tensor) -> torch.Tensor:
        """The nearest codes (O, I) of weights."""
        return self.fmt.nearest((w.double() / self.steps + self.zeros).float(), torch).double()

    def values(self, codes: torch.Tensor) -> torch.Tensor: return self.steps * (codes - self.zeros)

    @property
    def bits(self) -> int:
        """Storage of the codes, scales (16 bits each) and zero points."""
        return self.inputs * len(self.scale) * self.fmt.bits + self.scale.numel() * (16 + (0 if self.zero is None else self.fmt.bits))


def fitted(w: torch.Tensor, fmt: NumberFormat, size: int, symmetric: bool = True, how: str = "mse", h: torch.Tensor | None = None,
           steps: int = STEPS) -> Grid:
    """The grid for weights w (O, I) in groups of `size` inputs.

    symmetric: fmt is signed and has no zero point; else the unsigned format of as many bits, from the least weight to the largest.
    how: "minmax"; "mse" (least squared error among shrunken ranges); "output" (least error of the layer's output, for the second
    moment h (I, I) of its inputs, each group by itself: the clipping of AWQ, Lin et al. 2023, arXiv 2306.00978).
    """
    inputs = w.shape[1]
    blocks = F.pad(w.double(), (0, -inputs % size)).unflatten(1, (-1, size))
    fmt = fmt if symmetric else FORMATS[f"uint{fmt.bits}"]
    moments = None
    if how == "output" and h is not None:
        padded = F.pad(h.double(), (0, -inputs % size, 0, -inputs % size))
        moments = torch.stack([padded[i:i + size, i:i + size] for i in range(0, len(padded), size)])
    best, least = None, None
    for scale, zero in _candidates(blocks, fmt, symmetric, 1 if how == "minmax" else steps):
        codes = fmt.nearest((blocks / scale[..., None] + zero[..., None]).float(), torch).double()
        e = (codes - zero[..., None]) * scale[..., None] - blocks
        loss = (e if moments is None else torch.einsum("ogi,gij->ogj", e, moments)).mul(e).sum(-1)
        if best is None:
            best, least = (scale, zero), loss
            continue
        better = loss < least
        best, least = tuple(torch.where(better, new, old) for new, old in zip((scale, zero), best)), torch.minimum(loss, least)
    return Grid(fmt, size, inputs, best[0], None if symmetric else best[1])


def _candidates(blocks: torch.Tensor, fmt: NumberFormat, symmetric: bool, steps: int):
    """(scale, zero) to try, each (O, G); the full range first."""
    lo, hi = blocks.amin(-1).clip(max=0.0), blocks.amax(-1).clip(min=0.0)
    none = torch.zeros_like(lo)
    shrunken = torch.linspace(1.0, SMALLEST, steps).tolist()
    if symmetric:
        ends = [-lo.minimum(-hi) / fmt.hi]
        if fmt.hi < -fmt.lo and steps > 1:
            far = torch.where(-lo > hi, lo, hi)  # the end that is further out gets the code that is further out
            ends += [far / fmt.lo, -far / fmt.lo]
        yield from ((half(end * k), none) for end in ends for k in shrunken)
        return
    for k in shrunken:
        for a, b in ((1, 1), (1, 0), (0, 1))[:1 if k == 1.0 else 3]:  # both ends shrink, or one of them
            low, high = lo * (k if a else 1), hi * (k if b else 1)
            scale = half((high - low) / (fmt.hi - fmt.lo))
            yield scale, (-low / scale).round().clip(fmt.lo, fmt.hi)


def half(scale: torch.Tensor) -> torch.Tensor:
    """As float16 holds it, away from 0."""
    tiny = torch.finfo(torch.float16).smallest_normal
    kept = torch.where(scale.abs() < tiny, torch.where(scale < 0, -tiny, tiny), scale)
    return kept.clip(-65504, 65504).half().double()
