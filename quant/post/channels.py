"""Which channels of one step arrive, each times something, at the inputs of which layers: where a scale can change sides unseen."""
from dataclasses import dataclass, replace

import torch

from ..net import Net, Step, compute, fingerprint, walk

NORMS = ("layernorm", "rmsnorm")
VIEWS = ("reshape", "transpose", "slice")


@dataclass(frozen=True)
class Feed:
    """A step whose channels (its last axis) reach nothing but layers."""
    source: str                         # a norm with weights of its last axis, or a linear layer
    readers: dict[str, torch.Tensor]    # linear layer -> (I,) which channel of the source each of its inputs is a multiple of


def feeds(net: Net, kinds: tuple[str, ...] = NORMS) -> list[Feed]:
    """Every step of these kinds whose channels can be divided by s > 0 if columns of its readers are multiplied by it.

    Channels are followed through views, joins, products with other values, positive homogeneous functions, and through a
    matrix product whose left side mixes tokens (attention weights by values); several may be copies of one (grouped queries).
    """
    found = (_feed(net, s) for s in net.steps.values() if s.kind in kinds and s.attrs.get("dims", 1) == 1)
    return [f for f in found if f]


def _feed(net: Net, source: Step) -> Feed | None:
    """The feed of one step; None if its channels reach anything else than linear layers, or mix on the way."""
    ids = {source.name: torch.arange(source.shape[-1], dtype=torch.float64).expand(1, *source.shape)}
    readers: dict[str, torch.Tensor] = {}
    if source.name == net.output:
        return None
    for s in net.steps.values():
        known = [ids.get(a) for a in s.args]
        if all(k is None for k in known):
            continue
        if s.kind == "linear":
            readers[s.name] = _one_row(known[0])
        else:
            ids[s.name] = _through(s, known)
        if s.name == net.output and s.kind != "linear" or readers.get(s.name, ids.get(s.name)) is None:
            return None
    return Feed(source.name, readers) if readers else None


def _through(s: Step, known: list[torch.Tensor | None]) -> torch.Tensor | None:
    """Ids of the channels in the result of a step; None if it does more to them than it may."""
    every = all(k is not None for k in known)
    if s.kind in VIEWS or s.kind == "concat" and every:
        return compute(s, *known)
    if s.kind == "relu" or s.kind == "scale" and not s.bias.any() or s.kind == "function" and s.attrs["fn"] in ("leaky_relu", "abs"):
        return known[0]
    if s.kind == "mul" and not every:
        return next(k for k in known if k is not None)
    if s.kind == "matmul" and known[0] is None and (known[1] == known[1][..., :1, :]).all():
        return known[1][..., :1, :].expand(1, *s.shape)
    return None


def _one_row(ids: torch.Tensor) -> torch.Tensor | None:
    """(I,), the same for every token."""
    rows = ids.reshape(-1, ids.shape[-1])
    return rows[0].long() if (rows == rows[0]).all() else None


def balanced(net: Net, feed: Feed, s: torch.Tensor) -> Net:
    """The same function with channel c of the source divided by s[c] (K,) and the readers' columns multiplied by it."""
    steps = dict(net.steps)
    steps[feed.source] = _rescaled(steps[feed.source], 1 / s.double())
    for name, ids in feed.readers.items():
        steps[name] = with_weights(steps[name], steps[name].weight.double() * s.double()[ids])
    return renewed(net, steps)


def _rescaled(s: Step, factor: torch.Tensor) -> Step:
    """A norm or a linear layer whose output channels are multiplied by `factor`."""
    weight = torch.ones(s.shape[-1], dtype=factor.dtype) if s.weight is None else s.weight.double()
    bias = None if s.bias is None else s.bias.double() * factor
    return with_weights(s, weight * (factor[:, None] if s.kind == "linear" else factor), bias)


def with_weights(s: Step, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Step:
    """The step with these weights, and this bias if one is given, in the type of its old ones."""
    dtype = torch.float32 if s.weight is None else s.weight.dtype
    return replace(s, weight=weight.to(dtype), bias=s.bias if bias is None else bias.to(dtype))


def wide_bias(s: Step) -> torch.Tensor:
    """The bias of a step with weights in float64, zeros where it has none."""
    return torch.zeros(len(s.weight), dtype=torch.float64) if s.bias is None else s.bias.double()


def renewed(net: Net, steps: dict[str, Step], note: str = "") -> Net:
    """The net with other steps, and a hash that says so."""
    return replace(net, steps=steps, hash=fingerprint(steps, net.output), notes=(*net.notes, note) if note else net.notes)


@torch.no_grad()
def observed(net: Net, x: torch.Tensor, names: list[str], batch: int = 32) -> dict[str, torch.Tensor]:
    """What the named steps give on samples x, as rows (M, C) of their last axis."""
    seen: dict[str, list[torch.Tensor]] = {n: [] for n in names}
    for part in x.split(batch):
        for s, _, y in walk(net, part):
            if s.name in seen:
                seen[s.name].append(y.reshape(-1, y.shape[-1]))
    return {n: torch.cat(v) for n, v in seen.items()}
