"""Rotations: the residual stream is turned by an orthogonal matrix that the weights around it undo, so that no channel stands out."""
import math
from dataclasses import replace

import torch

from ir import UserError

from .channels import renewed, wide_bias, with_weights
from ..net import Net, Step

KINDS = ("hadamard", "random")


def fold_gains(net: Net) -> Net:
    """The same function with the weights (and biases) of norms that feed layers alone moved into those layers."""
    steps, users = dict(net.steps), net.users()
    for s in net.steps.values():
        readers = [steps[u] for u in users[s.name]]
        if s.kind not in ("layernorm", "rmsnorm") or s.attrs.get("dims", 1) != 1 or s.weight is None or s.name == net.output:
            continue
        if readers and all(r.kind == "linear" for r in readers):
            for r in readers:
                w = r.weight.double()
                steps[r.name] = with_weights(r, w * s.weight.double(), None if s.bias is None else wide_bias(r) + w @ s.bias.double())
            steps[s.name] = replace(s, weight=torch.ones_like(s.weight), bias=None if s.bias is None else torch.zeros_like(s.bias))
    return renewed(net, steps)


def rotate(net: Net, kind: str = "hadamard", seed: int = 0) -> Net:
    """The same function with the residual stream times a random orthogonal matrix: R1 of QuaRot (Ashkboos et al. 2024, arXiv
    2404.00456) and SpinQuant, computed in float64.

    The gains of the norms go into the layers behind them; embeddings, constants and layers that write the stream are turned, those
    that read it are turned back.  A layer norm becomes an RMS norm: what writes the stream is centred instead (for RMS norms
    nothing is).  kind: "hadamard" (with random signs; a length that is no power of 2 is a Hadamard matrix times a
    random orthogonal one) or "random".
    UserError: a net whose stream cannot be told apart or that has something else on it than sums, norms and layers.
    """
    if kind not in KINDS:
        raise UserError(f"unknown rotation {kind!r} (known: {', '.join(KINDS)})")
    net = fold_gains(net)
    stream = _stream(net)
    d = net.steps[stream[0]].shape[-1]
    q = orthogonal(d, kind, seed)
    users, steps = net.users(), dict(net.steps)
    readers = {u for n in stream for u in users[n] if net.steps[u].kind != "add"}
    norms = {n for n in readers if net.steps[n].kind in ("layernorm", "rmsnorm")}
    centred = any(net.steps[n].kind == "layernorm" for n in norms)
    write = q - q.mean(0) if centred else q  # (I - 11'/d) Q: what is written has no mean
    for name in stream:
        s = steps[name]
        if s.kind == "linear":
            steps[name] = with_weights(s, write.T @ s.weight.double(), None if s.bias is None else write.T @ s.bias.double())
        elif s.kind in ("embedding", "constant"):
            steps[name] = with_weights(s, s.weight.double() @ write)
    for name in norms:
        s = steps[name]
        steps[name] = replace(s, kind="rmsnorm", attrs={"eps": s.attrs["eps"]}, weight=torch.ones(d, dtype=_dtype(net)), bias=None)
    for name in readers - norms | {u for n in norms for u in users[n]}:
        steps[name] = with_weights(steps[name], steps[name].weight.double() @ q)
    return renewed(net, steps)


def orthogonal(n: int, kind: str = "hadamard", seed: int = 0) -> torch.Tensor:
    """(n, n) float64 with Q Q^T = 1."""
    rng = torch.Generator().manual_seed(seed)
    power = n & -n if kind == "hadamard" else 1
    h = torch.ones(1, 1, dtype=torch.float64)
    while len(h) < power:
        h = torch.cat((torch.cat((h, h), 1), torch.cat((h, -h), 1))) / math.sqrt(2)
    q, r = torch.linalg.qr(torch.randn(n // power, n // power, generator=rng, dtype=torch.float64))
    signs = torch.randint(0, 2, (n,), generator=rng).double() * 2 - 1
    return torch.kron((q * r.diagonal().sign()).contiguous(), h) * signs[:, None]


def _stream(net: Net) -> list[str]:
    """The steps whose values lie on the residual stream: joined by sums with what the norms read."""
    users = net.users()
    norms = [s for s in net.steps.values() if s.kind in ("layernorm", "rmsnorm") and s.attrs.get("dims", 1) == 1]
    if not norms:
        raise UserError("the model has no layer norm or RMS norm over its last axis; there is no residual stream to turn")
    found, todo = {}, [n.args[0] for n in norms[:1]]
    while todo:
        s = net.steps[todo.pop()]
        if s.name in found:
            continue
        _fits(net, s, users)
        found[s.name] = s
        todo += [a for a in s.args if s.kind == "add"]
        todo += [u for u in users[s.name] if net.steps[u].kind == "add"]
    kinds = {s.kind for n in found for u in users[n] if (s := net.steps[u]).kind != "add"}
    if "layernorm" in kinds and kinds - {"layernorm"}:
        raise UserError("the residual stream is read by a layer norm and by other steps; a rotation needs layer norms alone, or none")
    return list(found)


def _fits(net: Net, s: Step, users: dict[str, list[str]]) -> None:
    """UserError: a step on the stream that a rotation cannot pass."""
    if s.kind not in ("add", "linear", "embedding", "constant") or s.name == net.output:
        what = "is the output of the model" if s.name == net.output else f"is a {s.kind}"
        raise UserError(f"step {s.name!r} lies on the residual stream and {what}; "
                        "a rotation needs sums, linear layers, embeddings and constants there")
    for u in users[s.name]:
        r = net.steps[u]
        behind = users[u] if r.kind in ("layernorm", "rmsnorm") else []
        gain = r.kind in ("layernorm", "rmsnorm") and (r.weight is None or bool((r.weight == 1).all()) and not (r.bias is not None and r.bias.any()))
        if r.kind in ("add", "linear") or gain and behind and all(net.steps[b].kind == "linear" for b in behind):
            continue
        raise UserError(f"step {u!r} reads the residual stream and is a {r.kind}; "
                        "a rotation needs norms before linear layers, or linear layers, there")


def _dtype(net: Net) -> torch.dtype: return next(s.weight.dtype for s in net.steps.values() if s.weight is not None)
