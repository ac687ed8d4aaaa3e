"""Norms' outputs with a range for each channel, folded into one range for all: the channels' scales and zero points move into the
norm and the layers behind it, and not one code changes.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import torch

from ir import Encoding, NumberFormat, Option, UserError

from .channels import Feed, balanced, feeds, observed, renewed, with_weights
from ..net import Net
from ..observers import Calibration, calibrate, weight_scale

PERCENTILES = (0.999, 0.9999, 0.99999)  # RepQ-ViT: ends of a channel's range, of which the least squared error is taken
CLIPS = (1.0, 0.999, 0.99)              # tried by default, as LIMITS
LIMITS = (inf, 8.0, 4.0, 2.0)
ROWS = 4096                             # outputs of the norm that the choice looks at


@dataclass(frozen=True)
class ChannelRange:
    """A scale (C,) float64 and an integer zero point (C,) for each channel, and what the tensor has after the fold."""
    fmt: NumberFormat
    scale: torch.Tensor
    zero: torch.Tensor

    @property
    def folded(self) -> Encoding:
        """Their means; we differ from RepQ-ViT's code: the zero point stays an integer, so that codes can be carried out."""
        return Encoding(float(self.scale.mean()), int(self.zero.mean().round()))

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        return ((x.double() / self.scale).round() + self.zero).clip(self.fmt.lo, self.fmt.hi)

    def values(self, codes: torch.Tensor) -> torch.Tensor: return (codes - self.zero) * self.scale


def reparametrise(net: Net, calibration: Calibration, options: Mapping[str, Option], clips: Sequence[float] = CLIPS,
                  limits: Sequence[float] = LIMITS) -> tuple[Net, Calibration]:
    """The same function, whose norms' outputs need but one range, and a calibration that knows it.

    Per-channel ranges are folded as in RepQ-ViT (Li et al. 2023, arXiv 2212.08254, section 3.2).  Before that, outliers are cut
    off: LRP-QViT (arXiv 2401.11243) names such a clipping but gives no rule; ours takes the percentile among `clips`, and the
    bound among `limits` on how far a scale may be from the median, with the least error of the outputs of the layers behind the
    norm, their weights rounded.  clips=(1.0,) and limits=(inf,) are RepQ-ViT.  An RMS norm has no shift: its zero points are equal.
    options: {layer: option}, for example plan.options.
    UserError: a layer that has no option, clips or limits out of range.
    """
    net, fixed = folded(net, calibration, options, clips, limits)
    fresh = calibrate(net, calibration.x, calibration.observer)
    fresh.fixed.update(fixed)
    return net, fresh


def folded(net: Net, calibration: Calibration, options: Mapping[str, Option], clips: Sequence[float] = CLIPS,
           limits: Sequence[float] = LIMITS) -> tuple[Net, dict[tuple[str, str], Encoding]]:
    """The net of `reparametrise`, and {(norm, format): its one range}."""
    if not clips or not limits or not all(0.5 < p <= 1 for p in clips) or not all(k >= 1 for k in limits):
        raise UserError(f"clips are percentiles in (0.5, 1] and limits factors of at least 1, not {tuple(clips)} and {tuple(limits)}")
    found = feeds(net)
    if missing := [n for f in found for n in f.readers if n not in options]:
        raise UserError(f"no option for layer {missing[0]!r}; every layer behind a norm needs one")
    seen, fixed = observed(net, calibration.x, [f.source for f in found]), {}
    for f in found:
        r = _chosen(net, f, seen[f.source], options, clips, limits)
        net, fixed[f.source, r.fmt.name] = fold_range(net, f, r), r.folded
    return net, fixed


def fold_range(net: Net, feed: Feed, r: ChannelRange) -> Net:
    """The same function: channel c of the norm is divided by scale_c / scale and moved by zero_c - zero steps."""
    one = r.folded
    net = balanced(net, feed, r.scale / one.scale)
    shift = (r.zero - one.zero) * one.scale
    if not shift.any():
        return net
    steps = dict(net.steps)
    norm = steps[feed.source]
    weight = torch.ones(len(shift), dtype=torch.float64) if norm.weight is None else norm.weight.double()
    steps[norm.name] = with_weights(norm, weight, shift if norm.bias is None else norm.bias.double() + shift)
    for name, ids in feed.readers.items():
        s = steps[name]
        w = s.weight.double()
        bias = -(w @ shift[ids])
        steps[name] = with_weights(s, w, bias if s.bias is None else s.bias.double() + bias)
    return renewed(net, steps)


def channel_range(x: torch.Tensor, fmt: NumberFormat, shifted: bool, clip: float = 1.0, limit: float = inf) -> ChannelRange:
    """For values x (M, C), cut off at the percentile `clip`: the percentile with the least squared error in each channel.

    shifted: channels may have zero points of their own (of an unsigned format).  limit: no scale is further from the median.
    """
    x = x.double()
    if clip < 1:
        x = x.clip(x.quantile(1 - clip, 0), x.quantile(clip, 0))
    best, least = None, None
    for p in PERCENTILES:
        r = _ends(x.quantile(1 - p, 0), x.quantile(p, 0), fmt, shifted, limit)
        e = (r.values(r.codes(x)) - x).square().sum(0)
        if best is None:
            best, least = r, e
        else:
            best = replace(best, scale=torch.where(e < least, r.scale, best.scale), zero=torch.where(e < least, r.zero, best.zero))
            least = torch.minimum(e, least)
    return best


def _ends(lo: torch.Tensor, hi: torch.Tensor, fmt: NumberFormat, shifted: bool, limit: float) -> ChannelRange:
    lo, hi = lo.clip(max=0.0), hi.clip(min=0.0)
    middle = 0 if fmt.signed else (fmt.lo + fmt.hi + 1) // 2
    apart = shifted and not fmt.signed
    scale = (hi - lo) / (fmt.hi - fmt.lo) if apart else torch.maximum(-lo, hi) / (fmt.hi - middle)
    scale = torch.where(scale > 0, scale, scale[scale > 0].mean() if (scale > 0).any() else 1.0)
    median = scale.median()
    scale = scale.clip(median / limit, median * limit)
    return ChannelRange(fmt, scale, (-lo / scale).round().clip(fmt.lo, fmt.hi) if apart else torch.full_like(scale, middle))


def _chosen(net: Net, feed: Feed, x: torch.Tensor, options: Mapping[str, Option], clips, limits) -> ChannelRange:
    """The candidate with the least error of the outputs of all readers."""
    fmt = max((options[n].act_format for n in feed.readers), key=lambda f: f.bits)
    x = x[::-(-len(x) // ROWS)]
    shifted = net.steps[feed.source].kind == "layernorm"
    tried = [channel_range(x, fmt, shifted, p, k) for p in clips for k in limits]
    return tried[0] if len(tried) == 1 else min(tried, key=lambda r: _error(net, feed, x, options, r))


def _error(net: Net, feed: Feed, x: torch.Tensor, options: Mapping[str, Option], r: ChannelRange) -> float:
    read, factor, total = r.values(r.codes(x)), r.scale / r.folded.scale, 0.0
    for name, ids in feed.readers.items():
        w, o = net.steps[name].weight.double(), options[name]
        scale = weight_scale(w * factor[ids], o.weight_format, per_channel=o.granularity != "t")[:, None]
        rounded = o.weight_format.nearest((w * factor[ids] / scale).float(), torch).double() * scale / factor[ids]
        total += float((read[:, ids] @ rounded.T - x.double()[:, ids] @ w.T).square().sum())
    return total
