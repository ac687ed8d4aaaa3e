"""Channels of neighbouring layers brought to like ranges before quantization, and high biases handed on: the float function stays."""
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ir import UserError

from .channels import renewed, wide_bias
from ..net import Net, Step
from ..observers import checked

THROUGH = ("relu", "maxpool", "avgpool", "reshape")  # steps that a positive factor of a channel passes unchanged
CLIPS = ("keep", "relu")
SETTLED = 1e-4   # no channel's factor differs from 1 by more: equalized
ROUNDS = 200


@dataclass(frozen=True)
class Pair:
    """Two layers with nothing between them but steps that act on each channel alone; nobody else reads in between."""
    first: str
    second: str
    between: tuple[str, ...]


def equalize(net: Net, clips: str = "keep") -> Net:
    """The net with the ranges of each channel made equal on both of its sides, for every pair of layers, over and over until
    nothing changes: what it computes is the same, and one scale for a whole weight tensor fits all of its channels.

    Pairs: convolution or linear layer -> relu, leaky relu, pools, flattening or nothing -> convolution (depthwise and grouped too)
    or linear layer.  A relu6, or any other clip, has no channel-wise form and stops a pair; clips="relu" makes relu6 a relu
    first, which changes the function where values exceed 6.  The new net has a hash of its own: calibrate it, plan for it.
    Nagel et al. 2019 (arXiv 1906.04721), section 4.1.
    UserError: an unknown word for clips.
    """
    if clips not in CLIPS:
        raise UserError(f"unknown treatment of clips {clips!r} (known: {', '.join(CLIPS)})")
    steps = {n: replace(s, kind="relu", attrs={}) if clips == "relu" and _relu6(s) else s for n, s in net.steps.items()}
    net = replace(net, steps=steps)
    for s in net.layers.values():
        steps[s.name] = replace(s, weight=s.weight.double(), bias=wide_bias(s))
    found = list(pairs(net))
    for _ in range(ROUNDS):
        if max([_equalize(steps, p) for p in found], default=0.0) < SETTLED:
            break
    return _finished(net)


def absorb(net: Net, x: torch.Tensor, sigmas: float = 3.0) -> Net:
    """The net with what a bias has beyond need handed on to the next layer: a channel before a relu that is at least c for nearly
    all values (its mean less `sigmas` deviations on samples x) is lowered by c, and the next layer's bias takes up c times its weights.

    Where a padded convolution comes next nothing is moved, as its zeros would not be lowered.  Nagel et al. 2019, section 4.1.3.
    We differ: means and deviations are those of samples, and c is never above the least value seen, so that samples are not changed.
    """
    x = checked(net, x)
    with torch.no_grad():
        values = net(x, keep=True)
    steps = dict(net.steps)
    net = replace(net, steps=steps)
    for p in pairs(net):
        a, b = steps[p.first], steps[p.second]
        kinds = [steps[n].kind for n in p.between]
        if kinds[:1] != ["relu"] or set(kinds) - {"relu", "reshape", "maxpool"} or any(map(any, b.attrs.get("padding", ()))):
            continue
        v = values[p.first].transpose(0, 1).flatten(1) if a.kind == "conv" else values[p.first].flatten(0, -2).T
        v = v.double()
        c = torch.minimum(v.mean(1) - sigmas * v.std(1, correction=0), v.amin(1)).clip(min=0)
        w = _by_channel(b, len(c))
        steps[p.first] = replace(a, bias=(wide_bias(a) - c).float())
        steps[p.second] = replace(b, bias=(wide_bias(b) + (w * c.view(len(w), 1, -1, 1)).sum((2, 3)).flatten()).float())
    return _finished(net)


def pairs(net: Net) -> Iterator[Pair]:
    """The pairs of a net, in its order."""
    users = net.users()
    for first in net.layers.values():
        s, between = first, []
        while s.name != net.output and len(users[s.name]) == 1:
            s = net.steps[users[s.name][0]]
            if s.kind in ("conv", "linear"):
                if _fits(first, s, [net.steps[n] for n in between]):
                    yield Pair(first.name, s.name, tuple(between))
                break
            if len(s.args) != 1 or s.kind not in THROUGH and s.attrs.get("fn") != "leaky_relu":
                break
            between.append(s.name)


def _fits(a: Step, b: Step, between: list[Step]) -> bool:
    """Whether channel i of a's result is all that some columns of b read."""
    if a.kind == "linear":
        return b.kind == "linear" and not any(s.kind in ("reshape", "maxpool", "avgpool") for s in between)
    views = [s for s in between if s.kind == "reshape"]
    if b.kind == "conv":
        return not views
    return len(views) == 1 and len(views[0].shape) == 1 and not any(s.kind in ("maxpool", "avgpool") for s in between[between.index(views[0]):])


def _equalize(steps: dict[str, Step], p: Pair) -> float:
    """Make the ranges of a pair equal; returns how far the factors were from 1 (largest |log|)."""
    a, b = steps[p.first], steps[p.second]
    w = _by_channel(b, len(a.weight))
    r1, r2 = a.weight.flatten(1).abs().amax(1), w.abs().amax((1, 3)).flatten()
    factor = torch.where((r1 > 0) & (r2 > 0), (r1 / r2.clip(1e-300)).sqrt(), 1.0)  # what the first is divided by
    steps[p.first] = replace(a, weight=a.weight / factor.view(-1, *[1] * (a.weight.dim() - 1)), bias=a.bias / factor)
    steps[p.second] = replace(b, weight=(w * factor.view(len(w), 1, -1, 1)).view(b.weight.shape))
    return float(factor.log().abs().max())


def _by_channel(s: Step, channels: int) -> torch.Tensor:
    """Weights as (groups, outputs of a group, inputs of a group, values of an input), float64; inputs are channels of what is read."""
    groups = s.attrs.get("groups", 1)
    return s.weight.double().view(groups, len(s.weight) // groups, channels // groups, -1)


def _relu6(s: Step) -> bool: return s.kind == "clip" and s.attrs["lo"] == 0 and s.attrs["hi"] == 6


def _finished(net: Net) -> Net:
    """The net in float32, with its own hash."""
    steps = {n: replace(s, weight=s.weight.float(), bias=s.bias.float()) if s.kind in ("conv", "linear") and s.bias is not None else s
             for n, s in net.steps.items()}
    return renewed(net, steps)
