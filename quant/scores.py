"""What stands between scores and their softmax, taken into the softmax: a factor, and a mask of what is hidden.

A mask is, in the float net, something like -1e9 added to some scores.  As numbers these would take the whole range of an
encoding, and the scores would be rounded to nothing; as a mask they cost no code at all.
"""
from collections import Counter
from dataclasses import replace

import torch

from ir import UserError
from .front.fold import live
from .net import Net, Step

HIDDEN = -1e3  # what a sum adds below this hides a score: exp leaves nothing of it


def absorb(net: Net) -> Net:
    """The net in which each softmax has the attribute `factor`, and as its weight a mask (*shape, 1 where hidden), of the scales and
    the sums with constants before it; equal but for float32 rounding.

    UserError: a constant that hides some scores and changes others.
    """
    steps = dict(net.steps)
    for name in [s.name for s in net.steps.values() if s.kind == "softmax"]:
        while merged := _merged(steps, net.output, steps[name]):
            steps[name] = merged
            steps = live(steps, net.output)
    return replace(net, steps=steps)


def _merged(steps: dict[str, Step], output: str, s: Step) -> Step | None:
    """The softmax with the step before it taken in; None if that cannot be."""
    p, uses = steps[s.args[0]], Counter(a for t in steps.values() for a in t.args)
    if uses[p.name] > 1 or p.name == output:
        return None
    return _scaled(s, p) if p.kind == "scale" else _summed(s, p, steps) if p.kind == "add" else None


def _scaled(s: Step, p: Step) -> Step | None:
    """softmax(x * w + b) for one w > 0 and a b that hides or is 0."""
    w, hides = p.weight, p.bias <= HIDDEN
    if not bool((w == w[0]).all() and w[0] > 0) or bool((p.bias[~hides] != 0).any()):
        return None
    shape = [1] * len(s.shape)
    shape[p.attrs["axis"]] = -1
    return _with(s, p.args[0], float(w[0]), hides.view(shape).expand(s.shape))


def _summed(s: Step, p: Step, steps: dict[str, Step]) -> Step | None:
    """softmax(x + m) for a constant m that hides or is 0."""
    for x, m in (p.args, p.args[::-1]):
        if steps[m].kind == "constant" and bool((hides := steps[m].weight <= HIDDEN).any()):
            if bool((steps[m].weight[~hides] != 0).any()):
                raise UserError(f"step {p.name!r}: one constant hides some scores (below {HIDDEN:g}) and changes others, which no narrow "
                                "encoding can hold; add the mask and the bias one after the other")
            return _with(s, x, 1.0, hides)
    return None


def _with(s: Step, x: str, factor: float, hides: torch.Tensor) -> Step | None:
    """The softmax of x * factor with these scores hidden too; None if a row would have nothing left."""
    mask = hides if s.weight is None else hides | (s.weight > 0)
    if bool(mask.all(s.attrs["axis"]).any()):
        return None
    return replace(s, args=(x,), attrs=s.attrs | {"factor": s.attrs.get("factor", 1.0) * factor}, weight=mask.float() if mask.any() else None)
