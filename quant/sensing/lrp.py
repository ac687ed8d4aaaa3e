"""Layer-wise relevance propagation: which values of a net its class score comes from.

Relevance starts as 1 at the target class (or as its score) and is walked back over the steps; each step hands on what it has,
less what biases, stabilisers and constants absorb (lrp_rules.py).  A value that several steps read has the sum of what they send.
"""
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ir import UserError

from .lrp_rules import At, Rule, parse, pixels
from .lrp_shares import per_sample
from ..net import Net, Step

STARTS = ("one-hot", "logit")
MOVES = ("input", "reshape", "transpose")  # what leaves pixels pixels


@dataclass
class Relevance:
    """What one walk left at every step; sums are per sample, (N,)."""
    net: Net
    total: torch.Tensor                          # what the walk started with
    values: dict[str, torch.Tensor]              # relevance of each step's value, (N, *shape)
    sent: dict[str, tuple[torch.Tensor, ...]]    # what each step sent to each of its arguments
    absorbed: dict[str, torch.Tensor]            # what stayed in each step

    def cuts(self) -> dict[str, torch.Tensor]:
        """After each step: relevance on the values that earlier steps hand to later ones, with what later steps absorbed."""
        place = {n: i for i, n in enumerate(self.net.steps)}
        edges = [(place[a], place[n], per_sample(r)) for n, parts in self.sent.items() for a, r in zip(self.net.steps[n].args, parts)]
        edges.append((place[self.net.output], len(place), self.total))
        kept = [(place[n], v) for n, v in self.absorbed.items()]
        return {n: sum((v for a, b, v in edges if a <= i < b), torch.zeros_like(self.total)) + sum(v for k, v in kept if k > i)
                for n, i in place.items()}


def relevance(net: Net, x: torch.Tensor, target=None, rule: str = "attnlrp", start: str = "one-hot",
              dtype: torch.dtype = torch.float64) -> Relevance:
    """Relevance of every value of the net for its class scores on samples x (N, *input.shape).

    target: class of each sample, (N,) or one for all; by default the best one.  A net with scores (T, K) has its relevance
    spread evenly over the T positions, target (N, T).  rule: name[:number][+zb] of LRP, see lrp_rules; start: "one-hot" (1 in
    all) or "logit" (the score itself).  Everything is kept: for many samples use layer_scores.
    UserError: unknown rule, target out of range, no class scores, values or relevance that are not finite.
    """
    table, flags = parse(rule)
    if start not in STARTS:
        raise UserError(f"unknown start {start!r} of relevance (known: {', '.join(STARTS)})")
    net = cast(net, dtype)
    env = net(x.detach().to(dtype), keep=True)
    first = begin(net, env, target, start)
    values = {n: torch.zeros_like(v) for n, v in env.items()}
    sent, absorbed = {}, {}
    for step, r, parts, kept in walk(net, env, first, table, rule, "zb" in flags):
        values[step.name], sent[step.name], absorbed[step.name] = r, parts, kept
    return Relevance(net, per_sample(first), values, sent, absorbed)


def layer_scores(net: Net, x: torch.Tensor, rule: str = "attnlrp", batch: int = 16, dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """Share of each layer in all relevance: the mean over samples of the sum of max(R, 0) at the layer's input, of sum 1.

    Flag +abs takes |R| instead.  Ours: LRP-QViT (Ranjan & Savakis, 2024) names a layer contribution score without its formula;
    the plain sum would be the same for all layers that a cut goes through.  Classes are those that the float net finds best.
    """
    table, flags = parse(rule, ("zb", "abs"))
    net, sums = cast(net, dtype), dict.fromkeys(net.layers, 0.0)
    for chunk in x.detach().to(dtype).split(batch):
        env = net(chunk, keep=True)
        for step, _, parts, _ in walk(net, env, begin(net, env, None, "one-hot"), table, rule, "zb" in flags):
            if step.name in sums:
                r = parts[0].abs() if "abs" in flags else parts[0].clamp(min=0)
                sums[step.name] += float(r.sum(dtype=torch.float64))
    whole = sum(sums.values())
    if not whole > 0:
        raise UserError(f"relevance rule {rule!r}: no relevance reaches any layer; take another rule")
    return {n: v / whole for n, v in sums.items()}


def walk(net: Net, env: dict[str, torch.Tensor], first: torch.Tensor, table: Rule, rule: str,
         zb: bool) -> Iterator[tuple[Step, torch.Tensor, tuple[torch.Tensor, ...], torch.Tensor]]:
    """(step, relevance of its value, what it sends to its arguments, what it absorbs) from the output to the input."""
    moving, images = depends(net), _images(net) if zb else set()
    arrived = {net.output: first}
    for s in reversed(net.steps.values()):
        r = arrived.pop(s.name, None)
        if r is None:
            continue
        if s.kind == "input":
            yield s, r, (), torch.zeros_like(per_sample(r))
        elif s.kind in ("constant", "embedding"):
            yield s, r, (), per_sample(r)
        else:
            if s.kind not in table:
                raise UserError(f"relevance rule {rule!r} has nothing for {s.kind!r}, which step {s.name!r} is; "
                                "add it to COMMON in quant/sensing/lrp_rules.py")
            f = pixels if s.name in net.layers and s.args[0] in images else table[s.kind]
            parts, kept = f(At(s, tuple(env[a] for a in s.args), env[s.name], tuple(a not in moving for a in s.args), r))
            _finite(s.name, rule, *parts, kept)
            for a, part in zip(s.args, parts):
                arrived[a] = arrived[a] + part if a in arrived else part
            yield s, r, parts, kept


def begin(net: Net, env: dict[str, torch.Tensor], target, start: str) -> torch.Tensor:
    """Relevance of the output, (N, *output.shape)."""
    y = env[net.output]
    for n, v in env.items():
        if v.isnan().any() or n == net.output and v.isinf().any():
            raise UserError(f"step {n!r}: the float model gives infinite or undefined values on these samples; mend the model or the data")
    if y.dim() not in (2, 3) or y.shape[-1] < 2:
        raise UserError(f"relevance needs scores of two or more classes, (K) or (positions, K) a sample; this model gives {tuple(y.shape[1:])}")
    classes = y.argmax(-1) if target is None else _classes(target, y)
    one_hot = torch.nn.functional.one_hot(classes, y.shape[-1]).to(y.dtype) / (y.shape[1] if y.dim() == 3 else 1)
    return one_hot if start == "one-hot" else one_hot * y


def _classes(target, y: torch.Tensor) -> torch.Tensor:
    t = torch.as_tensor(np.asarray(target))
    if t.is_floating_point() or t.dim() and t.shape != y.shape[:-1]:
        raise UserError(f"targets are class numbers {tuple(y.shape[:-1])}, not {tuple(t.shape)} of {str(t.dtype).removeprefix('torch.')}")
    if t.min() < 0 or t.max() >= y.shape[-1]:
        bad = int(t.min() if t.min() < 0 else t.max())
        raise UserError(f"target {bad} is out of range: the model has {y.shape[-1]} classes, 0 to {y.shape[-1] - 1}")
    return t.long().expand(y.shape[:-1])


def cast(net: Net, dtype: torch.dtype) -> Net:
    """The net with its weights in another float type."""
    def to(t): return None if t is None else t.to(dtype)
    return Net({n: replace(s, weight=to(s.weight), bias=to(s.bias)) for n, s in net.steps.items()}, net.output, net.hash)


def depends(net: Net) -> set[str]:
    """The steps whose values depend on the input."""
    found: set[str] = set()
    for s in net.steps.values():
        if s.kind == "input" or found & set(s.args):
            found.add(s.name)
    return found


def _images(net: Net) -> set[str]:
    """The input and what only moves its values."""
    found: set[str] = set()
    for s in net.steps.values():
        if s.kind in MOVES and (s.kind == "input" or s.args[0] in found):
            found.add(s.name)
    return found


def _finite(name: str, rule: str, *parts: torch.Tensor) -> None:
    if not all(p.isfinite().all() for p in parts):
        raise UserError(f"relevance rule {rule!r}: layer {name!r} gives relevance that is not finite; use z-plus, whose shares are bounded")
