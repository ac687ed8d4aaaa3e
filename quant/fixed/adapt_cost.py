"""What AdaPT's training and its result would cost: bit-weighted multiplications and additions.  A model, nothing is timed.

A pass costs MAdds * WL bits in a layer, of which a share as large as the density of its weights is carried out; float32 costs
MAdds * 32.  Backward passes stay float32, so that training is at most twice as fast.  Kummer et al., arXiv 2107.13490; official code,
utils/analytics.py.  mode "code" has its formulas, "paper" what they stand for:

 MAdds     paper: 2 * fan_in of each output, the bias among the additions.  code: a convolution costs 2 H W (C_in k + 1) C_out times
           its input channels once more, and is counted twice, the second time on its own output; a dense layer 2 m n - m.
 T         values that a switch walks over.  paper: all weights.  code: k k C_out, or the inputs of a dense layer.
 overhead  3 T b r density + (lookback + 1) T + 1 a switch, b = 2 log2(WL - 8) above 8 bits, else 1; at 32 bits.  paper: shared by
           the samples between two switches, and not divided by the density again.  code: shared by the batches between two switches,
           though MAdds are of one sample, and times the 10 steps between two records.
 size      paper: of each weight.  code: the sum of the words times the mean density, as if all layers were of one size.
We differ from the code in both modes: its lists of MAdds and of names do not line up, ours do.
"""
import math
from dataclasses import dataclass

import torch
from torch import nn

from ir import UserError
from .adapt import Adapted
from .adapt_net import layers_of
from .adapt_numbers import WIDEST
from .adapt_switch import MODES
from .adapt_train import EVERY, Course


@dataclass(frozen=True)
class Work:
    """One layer's share: multiplications and additions of a sample, and the values that a switch walks over."""
    madds: float
    walked: float


@dataclass(frozen=True)
class Performance:
    """All modelled, against float32.  overhead: share of the switches in the cost of quantized passes; density: of the weights."""
    training_speedup: float
    inference_speedup: float
    size_ratio: float
    memory_ratio: float
    overhead: float
    density: float


def work(model: nn.Module, example: torch.Tensor, mode: str = "paper") -> dict[str, Work]:
    """What each layer does for one sample of `example` (N, ...).  UserError: unknown mode."""
    if mode not in MODES:
        raise UserError(f"unknown AdaPT mode {mode!r} (known: {', '.join(MODES)})")
    shapes: dict[str, tuple] = {}
    layers = layers_of(model)
    handles = [m.register_forward_hook(lambda m, args, y, n=n: shapes.update({n: (args[0].shape[1:], y.shape[1:])})) for n, m in layers.items()]
    try:
        with torch.no_grad():
            model(example[:1])
    finally:
        for h in handles:
            h.remove()
    return {n: _work(m, *shapes[n], mode) for n, m in layers.items() if n in shapes}


def _work(m: nn.Module, x: torch.Size, y: torch.Size, mode: str) -> Work:
    fan_in = m.weight[0].numel()
    if mode == "paper":
        return Work(2 * y.numel() * fan_in, m.weight.numel())
    if isinstance(m, nn.Linear):
        return Work(2 * m.in_features * m.out_features - m.in_features, m.in_features)
    taps = (m.in_channels * m.kernel_size[0] + 1) * m.out_channels
    return Work(2 * x.numel() * taps + 2 * y.numel() * taps, math.prod(m.kernel_size) * m.out_channels)


def performance(model: nn.Module, example: torch.Tensor, adapted: Adapted, course: Course, mode: str = "paper") -> Performance:
    """The model's costs over the training that `adapted` logged, and of what was handed back."""
    each = work(model, example, mode)
    weights = {n: layers_of(model)[n].weight for n in each}
    full = passes = overhead = 0.0
    for n, w in each.items():
        for bits, density, lookback, resolution in adapted.log[n]:
            extra = _switch(w, bits, density, lookback, resolution, course, mode)
            full += w.madds * WIDEST
            passes += density * w.madds * bits
            overhead += extra if mode == "paper" else density * extra
    last = {n: (adapted.words[n][0].bits, float(p.count_nonzero()) / p.numel()) for n, p in weights.items()}
    inference = sum(w.madds for w in each.values()) * WIDEST / sum(max(last[n][0] * last[n][1], 1e-9) * w.madds for n, w in each.items())
    counts = {n: p.numel() for n, p in weights.items()}
    records = range(min(map(len, adapted.log.values())))
    sizes = [_size({n: adapted.log[n][i][:2] for n in each}, counts, mode) for i in records]
    density = sum(last[n][1] * c for n, c in counts.items()) / sum(counts.values())
    return Performance(2 * full / (passes + overhead + full), inference, _size(last, counts, mode), 1 + 2 * sum(sizes) / len(sizes),
                       overhead / max(passes + overhead, 1e-300), density)


def _switch(w: Work, bits: float, density: float, lookback: float, resolution: float, course: Course, mode: str) -> float:
    """Bits that one sample (code: one record) pays for switches."""
    bisection = 2 * math.log2(bits - 8) if bits > 8 else 1.0
    once = 3 * w.walked * bisection * resolution * density + (lookback + 1) * w.walked + 1
    shared = lookback * course.accumulate * (course.batch if mode == "paper" else 1 / EVERY)
    return WIDEST * once / shared


def _size(layers: dict[str, tuple[float, float]], counts: dict[str, int], mode: str) -> float:
    """Bits of the nonzero weights, of those that float32 has.  layers: name -> (WL, density)."""
    if mode == "paper":
        return sum(bits * density * counts[n] for n, (bits, density) in layers.items()) / (WIDEST * sum(counts.values()))
    return sum(b for b, _ in layers.values()) * sum(d for _, d in layers.values()) / len(layers) / (WIDEST * len(layers))
