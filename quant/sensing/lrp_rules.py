"""Rules of layer-wise relevance propagation: what each kind of step does with the relevance of its result.

A rule is {kind of step: function}; each function takes an `At` and gives (relevance of each argument, absorbed (N,)).
"""
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from ir import Registry, UserError

from .lrp_shares import Share, alpha_beta, box, epsilon, per_sample, quotient
from ..net import Step, compute

LRP: Registry = Registry("relevance rule")  # name -> f(number that follows the name, or None) -> Rule


@dataclass(frozen=True)
class At:
    """A step, the values that meet in it, and the relevance r of its result."""
    step: Step
    xs: tuple[torch.Tensor, ...]
    y: torch.Tensor
    fixed: tuple[bool, ...]  # which arguments are the same for all inputs
    r: torch.Tensor


Sent = tuple[tuple[torch.Tensor, ...], torch.Tensor]
Rule = dict[str, Callable[[At], Sent]]


def same(at: At) -> Sent:
    """The argument has what the result has."""
    return (at.r,), none(at)


def product(at: At) -> Sent:
    """Half for either factor; all for the one that depends on the input, where only one does."""
    if any(at.fixed):
        return tuple(torch.zeros_like(at.r) if f else at.r for f in at.fixed), none(at)
    return (at.r / 2, at.r / 2), none(at)


def route(at: At) -> Sent:
    """Each value of the result is a value of an argument: the winner of a pool, a moved one; a padded one absorbs."""
    with torch.enable_grad():
        xs = [x.detach().requires_grad_() for x in at.xs]
        y = compute(at.step, *xs)
    back = torch.autograd.grad(y, xs, at.r)
    if at.step.kind != "pad":
        return back, none(at)
    border = compute(replace(at.step, attrs=at.step.attrs | {"value": 1.0}), torch.zeros_like(at.xs[0]))
    return back, per_sample(border * at.r)


def spread(share: Share) -> Callable[[At], Sent]:
    """The step of a linear map as `share` has it."""
    def rule(at: At) -> Sent:
        op, x, w, bias = linear_map(at)
        r, _, absorbed = share(op, x, w, bias, at.r)
        return tuple(r) if at.step.kind == "add" else (r,), absorbed
    return rule


def pair(share: Share) -> Callable[[At], Sent]:
    """A product of matrices: half of each share for either; as a linear map where one of them is the same for all inputs."""
    def rule(at: At) -> Sent:
        a, b = at.xs
        if at.fixed == (True, False):
            r, _, absorbed = share(lambda x, w: w @ x, b, a, None, at.r)
            return (torch.zeros_like(a), r), absorbed
        if at.fixed == (False, True):
            r, _, absorbed = share(torch.matmul, a, b, None, at.r)
            return (r, torch.zeros_like(b)), absorbed
        ra, rb, absorbed = share(torch.matmul, a, b, None, at.r, both=True)
        return (ra, rb), absorbed
    return rule


def rescaled(at: At) -> Sent:
    """A sum: shares by value, then each argument's total brought to |S_a| / (|S_a| + |S_b|) of the whole, sample by sample.

    Transformer-Explainability (Chefer et al., 2021, equation 9).  We differ: their sums run over the whole batch.
    """
    parts, _ = spread(epsilon(0.0))(at)
    sums = torch.stack([per_sample(p) for p in parts])
    s, lost = quotient(per_sample(at.r), sums.abs().sum(0))
    factors = sums.sign() * s
    return tuple(p * f.view(-1, *[1] * (p.dim() - 1)) for p, f in zip(parts, factors)), lost


def softened(at: At) -> Sent:
    """Softmax: R_i = x_i (R_i - p_i sum R), its first-order expansion; the constant term absorbs (AttnLRP, proposition 3.1)."""
    axis = at.step.attrs["axis"] + 1
    p, r = at.y, at.r
    x = at.xs[0].masked_fill(p == 0, 0.0)
    mean = (p * x).sum(axis, keepdim=True)
    return (x * (r - p * r.sum(axis, keepdim=True)),), per_sample(r * (1 - x + mean))


def linear_map(at: At):
    """(op, x, w, bias) of a step whose result is op(x, w) + bias, the bias shaped to be added.

    Sums and means, which have no weights, are taken in the direction of their result: what makes it larger in size raises it.
    """
    s, x = at.step, at.xs[0]
    match s.kind:
        case "linear":
            return F.linear, x, s.weight, s.bias
        case "conv":
            bias = None if s.bias is None else s.bias.view(-1, *[1] * (x.dim() - 2))
            return lambda v, w: compute(replace(s, weight=w, bias=None), v), x, s.weight, bias
        case "scale":
            shape = [1] * x.dim()
            shape[s.attrs["axis"] + 1] = -1
            return torch.mul, x, s.weight.view(shape), s.bias.view(shape)
        case "avgpool":
            return lambda v, w: compute(s, v) * w, x, direction(at.y), None
        case "add":
            return lambda v, w: v.sum(0) * w, torch.stack(at.xs), direction(at.y), None
        case "layernorm":  # its deviation is held fixed
            axes = tuple(range(x.dim() - s.attrs["dims"], x.dim()))
            deviation = (x.var(axes, unbiased=False, keepdim=True) + s.attrs["eps"]).sqrt()
            return lambda v, w: (v - v.mean(axes, keepdim=True)) / deviation * w, x, x.new_ones(()) if s.weight is None else s.weight, s.bias
    raise ValueError(f"{s.kind} is no linear map")


def direction(y: torch.Tensor) -> torch.Tensor:
    """-1 or 1: the sign of each value."""
    return torch.where(y < 0, -1.0, 1.0).to(y)


def pixels(at: At) -> Sent:
    """The z^B rule for a layer that reads the network's input."""
    op, x, w, _ = linear_map(at)
    r, absorbed = box(op, x, w, at.r)
    return (r,), absorbed


def none(at: At) -> torch.Tensor:
    """Nothing absorbed, (N,)."""
    return at.r.new_zeros(len(at.r))


ROUTES = ("maxpool", "concat", "reshape", "transpose", "slice", "pad")
COMMON: Rule = dict.fromkeys(("relu", "clip", "function", "softmax", "layernorm", "rmsnorm"), same) | dict.fromkeys(ROUTES, route) | {"mul": product}
LINEAR = ("linear", "conv", "avgpool")


@LRP.register("attention")
def attention(number: float | None) -> Rule:
    """Transformer-Explainability: z-plus linear maps, rescaled sums, halved products, softmax and norms as they are.

    Chefer et al., 2021, sections 3.1 and 3.2.  We differ: a convolution keeps its relevance (their code doubles it), pooling
    counts what raises its result, and sums are rescaled sample by sample.
    """
    refuse("attention", number)
    return COMMON | dict.fromkeys(LINEAR, spread(alpha_beta(1.0))) | {"scale": same, "add": rescaled, "matmul": pair(epsilon(0.0))}


@LRP.register("attnlrp")
def attnlrp(number: float | None) -> Rule:
    """AttnLRP (Achtibat et al., 2024): epsilon in linear maps, expanded softmax, LayerNorm of fixed deviation, RMSNorm as it is."""
    share = stabilised("attnlrp", number)
    maps = dict.fromkeys((*LINEAR, "scale", "add", "layernorm"), spread(share))
    return COMMON | maps | {"matmul": pair(share), "softmax": softened}


@LRP.register("epsilon")
def epsilon_rule(number: float | None) -> Rule:
    """LRP-epsilon in all linear maps, biases absorbing their share; softmax and norms as they are.  epsilon:0.01 sets it."""
    share = stabilised("epsilon", number)
    return COMMON | dict.fromkeys((*LINEAR, "scale", "add"), spread(share)) | {"matmul": pair(share)}


@LRP.register("alpha-beta")
def alpha_beta_rule(number: float | None) -> Rule:
    """LRP-alpha-beta in all linear maps and products of matrices, biases left out.  alpha-beta:1.5 sets alpha (2)."""
    alpha = 2.0 if number is None else number
    if alpha < 1:
        raise UserError(f"relevance rule 'alpha-beta' with alpha {alpha:g}; give 1 or more, for example alpha-beta:2")
    share = alpha_beta(alpha)
    return COMMON | dict.fromkeys((*LINEAR, "add"), spread(share)) | {"scale": same, "matmul": pair(share)}


@LRP.register("z-plus")
def z_plus(number: float | None) -> Rule:
    """Only what raises a result has a share in it: alpha-beta with alpha 1, for sums and products of matrices too."""
    refuse("z-plus", number)
    return alpha_beta_rule(1.0)


def stabilised(name: str, eps: float | None) -> Share:
    if eps is not None and not eps >= 0:
        raise UserError(f"relevance rule {name!r} with epsilon {eps:g}; give 0 or more, for example {name}:1e-6")
    return epsilon(1e-6 if eps is None else eps)


def refuse(name: str, number: float | None) -> None:
    if number is not None:
        raise UserError(f"relevance rule {name!r} takes no number, not {number:g}; write {name!r}")


def parse(text: str, flags: tuple[str, ...] = ("zb",)) -> tuple[Rule, set[str]]:
    """The rule written name[:number][+flag], and its flags: zb (z^B at the input), abs (see layer_scores)."""
    head, *asked = text.split("+")
    name, colon, number = head.partition(":")
    if unknown := [f for f in asked if f not in flags]:
        raise UserError(f"relevance rule {text!r}: unknown flag {unknown[0]!r} (known here: {', '.join(flags)})")
    made = LRP[name]
    try:
        value = float(number) if colon else None
    except ValueError:
        raise UserError(f"relevance rule {text!r}: {number!r} is no number; write for example {name}:1.5") from None
    return made(value), set(asked)
