"""Weight scales for groups of inputs, in two levels: a real one for each channel times a small integer for each group.

So a group's scale needs no requant of its own: the integer goes into the weight, and the layer is one sum of products as ever
(Dai et al. 2021, VS-Quant, arXiv 2102.04503, section 4.3; we differ: weights only).
"""
import torch

from ir import NumberFormat
from ir.plan import GROUP_BITS
from ..observers import weight_scale

TOP = (1 << GROUP_BITS) - 1  # largest factor of a group


def group_scales(w: torch.Tensor, fmt: NumberFormat, how: str, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(scale (O,) float64 of each channel, factor of each weight's group in 1..TOP, shaped as w (O, ...), float32).

    A channel's inputs are taken in C order, `size` at a time; the last group may be smaller.
    """
    rows = w.detach().reshape(len(w), -1)
    full, size = rows.shape[1] // size, min(size, rows.shape[1])
    parts = [rows[:, :full * size].reshape(-1, size), rows[:, full * size:]]  # whole groups, and what is left
    wanted = torch.cat([weight_scale(p, fmt, how).reshape(len(w), -1) for p in parts if p.numel()], 1)
    used = torch.cat([p.reshape(len(w), -1, p.shape[1]).abs().amax(-1) > 0 for p in parts if p.numel()], 1)
    top = torch.where(used, wanted, 0.0).amax(1)
    channel = torch.where(top > 0, top, float(wanted.max())) / TOP
    factors = (wanted / channel[:, None]).round().clip(1, TOP)
    return channel, factors.repeat_interleave(size, 1)[:, :rows.shape[1]].reshape(w.shape).float()
