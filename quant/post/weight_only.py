"""Weights alone as codes of few bits.  What comes out is a float net: its weights are codes times scales, its arithmetic is float."""
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ir import Option, UserError

from .awq import awq, group_size
from .channels import renewed, with_weights
from .gptq import DAMP, gptq, refit, second_moment, spread
from .grids import RANGES, Grid, fitted
from .lowrank import Factors, low_rank
from ..net import Net, Step, compute, constant
from ..observers import Calibration

METHODS = ("rtn", "gptq", "awq", "lorc")
NOTE = "float: weights are codes, arithmetic is float"
BATCH = 32  # samples that pass through a step at once


@dataclass(frozen=True)
class Coded:
    """Codes (O, I) of a weight, the grid they lie on, and low-rank factors that are added to it, if any."""
    codes: torch.Tensor
    grid: Grid
    factors: Factors | None = None

    @property
    def weight(self) -> torch.Tensor:
        w = self.grid.values(self.codes)
        return w if self.factors is None else w + self.factors.product

    @property
    def bits(self) -> int: return self.grid.bits + (0 if self.factors is None else self.factors.bits)


@dataclass(frozen=True)
class WeightOnly:
    """A float net whose layers' weights are `coded`."""
    net: Net
    coded: dict[str, Coded]

    def renewed(self, steps: dict[str, Step], coded: dict[str, Coded]) -> "WeightOnly":
        """With other codes, and the steps that have them."""
        return WeightOnly(renewed(self.net, self.net.steps | steps), coded)

    @property
    def layer_bytes(self) -> int:
        """Of the coded layers: codes, scales, zero points, factors."""
        return sum(-(-c.bits // 8) for c in self.coded.values())

    @property
    def other_bytes(self) -> int:
        """Of everything else that has weights (embeddings, norms, biases), in float16; one number repeated takes no room."""
        rest = (t for n, s in self.net.steps.items() for t in ((s.bias,) if n in self.coded else (s.weight, s.bias)) if s.kind != "constant")
        return 2 * sum(t.numel() for t in rest if t is not None and (t != t.flatten()[0]).any())


def weight_only(net: Net, calibration: Calibration, options: str | Mapping[str, Option | str], method: str = "gptq", symmetric: bool = True,
                weight_range: str = "mse", rank: int = 8) -> WeightOnly:
    """The float net with the weights of its linear layers as codes.

    options: for all linear layers (`int4/-`, `int4g64/-`: 64 inputs share a scale), or {layer: option} for some; what an option
    says of activations is not looked at.  method: "rtn" (to the nearest), "gptq" (each column's error is spread over the later
    ones, for inputs from the layers already rounded), either with "awq" (scaled channels) and "lorc" (int8 factors of rank `rank`
    for what is lost) added by "+".  symmetric: no zero points.  weight_range: "mse", "minmax" or "output".
    UserError: an unknown word, a layer that is not linear, an option that weights cannot have.
    """
    words = set(method.split("+"))
    if words - set(METHODS) or {"rtn", "gptq"} <= words:
        raise UserError(f"unknown method {method!r}: rtn or gptq, and +awq, +lorc; for example gptq+awq")
    if weight_range not in RANGES:
        raise UserError(f"unknown weight range {weight_range!r} (known: {', '.join(RANGES)})")
    options = _asked(net, options)
    if "awq" in words:
        net = awq(net, calibration, options, symmetric, weight_range)
    coded: dict[str, Coded] = {}

    def rounded(s: Step, x: torch.Tensor | None = None, real: torch.Tensor | None = None) -> Step:
        if s.name not in options:
            return s
        coded[s.name] = code(s, x, real, options[s.name], words, symmetric, weight_range, rank)
        return with_weights(s, coded[s.name].weight)

    blind = words <= {"rtn", "awq"} and weight_range != "output"  # no layer looks at its inputs
    steps = {n: rounded(s) for n, s in net.steps.items()} if blind else in_turn(net, calibration.x, rounded)
    return WeightOnly(renewed(net, steps, NOTE), coded)


def _asked(net: Net, options: str | Mapping[str, Option | str]) -> dict[str, Option]:
    """{layer: option}, looked at."""
    linear = [n for n, s in net.layers.items() if s.kind == "linear"]
    out = dict.fromkeys(linear, options) if isinstance(options, str) else dict(options)
    out = {n: o if isinstance(o, Option) else Option.parse(o) for n, o in out.items()}
    for n, o in out.items():
        if n not in linear:
            raise UserError(f"the model has no linear layer {n!r} (it has {', '.join(linear[:6])})")
        if o.weights == "-" or not o.weight_format.signed or o.granularity == "t":
            raise UserError(f"layer {n!r}: {o} names no signed format for weights with scales of channels or groups; give int4/- or int4g64/-")
    return out


def code(s: Step, x: torch.Tensor | None, real: torch.Tensor | None, option: Option, words: set[str], symmetric: bool, how: str,
         rank: int) -> Coded:
    """The codes of one layer: x (M, I) are its inputs from rounded layers, `real` those of the float net; None: nothing is known."""
    w, h = s.weight.double(), None if x is None else second_moment(x.T)
    target = refit(w, x.T, real.T) if "gptq" in words else w
    grid = fitted(target, option.weight_format, group_size(option, w), symmetric, how, h)
    if "gptq" in words:
        codes = gptq(target, grid.steps, grid.fmt, spread(h, DAMP), zero=grid.zeros)
    else:
        codes = grid.codes(target)
    factors = low_rank(target - grid.values(codes), rank, h) if "lorc" in words else None
    return Coded(codes, grid, factors)


@torch.no_grad()
def in_turn(net: Net, x: torch.Tensor, change) -> dict[str, Step]:
    """The steps, each layer replaced by change(step, its inputs from the layers changed before, those of the net as it is);
    inputs are rows (M, I).
    """
    steps, last = {}, {a: s.name for s in net.steps.values() for a in s.args}
    env: tuple[dict[str, list[torch.Tensor]], ...] = {}, {}
    for s in net.steps.values():
        steps[s.name] = s
        if s.kind == "linear":
            steps[s.name] = change(s, *(torch.cat([v.reshape(-1, v.shape[-1]) for v in e[s.args[0]]]) for e in env))
        for e, step in zip(env, (steps[s.name], s)):
            parts = zip(*(e[a] for a in s.args))
            if s.kind == "input":
                e[s.name] = list(x.split(BATCH))
            else:
                e[s.name] = [compute(step, *p) for p in parts] if s.args else [constant(s, len(p)) for p in x.split(BATCH)]
            for a in s.args:
                if last[a] == s.name:
                    e.pop(a, None)
    return steps
