"""How the loss bends around the float net: Hessian traces and Fisher diagonals of each layer's weights and input.

The input of a layer is taken for itself: where a residual branch reads the same tensor, only the layer's own copy moves, as when
the layer is quantized.  Per-sample losses, for a float output z* and what the net gives, z:

    classes   cross entropy with the labels, or with the float net's own softmax(z*) where there are none: the Hessian at z* is
              then exactly the Gauss-Newton matrix J' (diag p - p p') J, which is the Fisher information, and never negative
    mse       mean over the outputs of (z - z*)**2, divided by the variance of z* (as the metric output_mse has it)
"""
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from ir import UserError
from ..net import Net, Step, compute, constant, pad

BATCH = 16        # samples that are differentiated at once
PATIENCE = 3      # rounds in a row that must leave a trace as it is
EXACT = 32        # classes up to which the Fisher information is summed over all of them
DRAWS = 32        # random directions of the output with more classes than that


@dataclass(frozen=True)
class Loss:
    """The loss that the curvature is of; `variance` of the float outputs, labels (N,) or None for soft targets."""
    kind: str                # "classes" or "mse"
    variance: float = 1.0
    labels: torch.Tensor | None = None

    def __call__(self, z: torch.Tensor, target: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """Sum over samples; z and target (n, K)."""
        if self.kind == "mse":
            return (z - target).square().mean(1).sum() / self.variance
        return F.cross_entropy(z, target.softmax(1) if labels is None else labels, reduction="sum")

    def root(self, z: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """S v with S S' the Hessian of each sample's loss in its outputs z (n, K), at the soft target."""
        if self.kind == "mse":
            return v * math.sqrt(2 / (z.shape[1] * self.variance))
        p = z.softmax(1)
        return p.sqrt() * v - p * (p.sqrt() * v).sum(1, keepdim=True)


def loss_of(net: Net, reference: torch.Tensor, labels: torch.Tensor | None = None, kind: str | None = None) -> Loss:
    """The loss for a net with these float outputs (N, K): classes if its output is one row of two or more scores.

    UserError: labels that do not fit, or labels for outputs that are no class scores.
    """
    kind = kind or ("classes" if classes(net) else "mse")
    labels = None if labels is None else checked_labels(net, labels, len(reference))
    return Loss(kind, max(float(reference.double().var(correction=0)), torch.finfo(torch.float64).tiny), labels)


def classes(net: Net) -> int:
    """How many classes the net's output scores; 0 where it is not one row of two or more numbers."""
    shape = net.steps[net.output].shape
    return math.prod(shape) if 2 <= max(shape, default=1) == math.prod(shape) else 0


def checked_labels(net: Net, labels: torch.Tensor, samples: int) -> torch.Tensor:
    """Labels as int64.  UserError: they are not one class number for each of the samples."""
    if not classes(net):
        raise UserError(f"labels are given, but the model's output is {net.steps[net.output].shape} a sample, not a row of class scores; "
                        "leave the labels out")
    if tuple(labels.shape) != (samples,) or labels.dtype.is_floating_point or labels.dtype.is_complex:
        raise UserError(f"labels are one integer for each of {samples} samples, not {labels.dtype} of shape {tuple(labels.shape)}")
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes(net):
        raise UserError(f"labels run from {int(labels.min())} to {int(labels.max())}, but the model has {classes(net)} classes; number them from 0")
    return labels.long()


@dataclass
class Traces:
    """Of one layer: trace of the Hessian in its weights, of the mean loss; and in its input, mean over samples."""
    weights: float
    input: float


def hessian_traces(net: Net, x: torch.Tensor, labels: torch.Tensor | None = None, probes: int = 200, tol: float = 1e-3, seed: int = 0,
                   batch: int = BATCH, loss: str | None = None) -> dict[str, Traces]:
    """Hutchinson's estimate of the Hessian traces of every layer: the mean of v'Hv over random signs v, Hv by double backprop.

    Each of at most `probes` rounds looks at the next `batch` of samples; a trace is done when PATIENCE rounds in a row have moved
    its mean by less than `tol` of it, after one pass over all samples.  With labels it can be negative.  The layers of a net whose
    every step is linear or piecewise linear have the same traces for any labels, and `fisher_diagonals` gives those exactly.
    As HAWQ-V2 and V3 (Dong et al. 2020; Yao et al. 2021) and PyHessian.  We differ: each layer has signs of its own, as the terms
    between layers are pure noise (on ResNet-20 17 times the trace); and the size of the mean stands in the denominator.
    """
    with torch.no_grad():
        target = outputs(net, x, batch)
    of = loss_of(net, target, labels, loss)
    rng = torch.Generator().manual_seed(seed)
    counts, starts = len(net.layers), range(0, len(x), batch)
    seen, sums, mean, calm = 0, [0.0] * 2 * counts, [0.0] * 2 * counts, [0] * 2 * counts
    for k in range(probes):
        part = slice(starts[k % len(starts)], starts[k % len(starts)] + batch)
        active = [i for i, c in enumerate(calm) if c < PATIENCE]
        if not active:
            break
        found = _signs(net, x[part], target[part], None if labels is None else labels[part], of, rng, active)
        seen += len(x[part])
        for i, v in zip(active, found):
            sums[i] += v
            old, mean[i] = mean[i], sums[i] / seen
            calm[i] = calm[i] + 1 if k >= len(starts) and abs(mean[i] - old) <= tol * abs(mean[i]) else 0
    return {n: Traces(mean[i], mean[counts + i]) for i, n in enumerate(net.layers)}


def _signs(net: Net, x, target, labels, of: Loss, rng: torch.Generator, active: list[int]) -> list[float]:
    """v'Hv of the summed loss for one draw of signs each, of the weights (first half) and the inputs of layers that are active."""
    weights = {n: s.weight.detach().clone().requires_grad_() for n, s in net.layers.items()}
    shifts = {n: torch.zeros(len(x), *net.steps[s.args[0]].shape, requires_grad=True) for n, s in net.layers.items()}
    z = run(net, x, weights, shifts)[0].reshape(len(x), -1)
    leaves = [[*weights.values(), *shifts.values()][i] for i in active]
    grads = torch.autograd.grad(of(z, target, labels), leaves, create_graph=True, materialize_grads=True)
    found = []
    for leaf, g in zip(leaves, grads):
        v = torch.randint(0, 2, g.shape, generator=rng).to(g).mul_(2).sub_(1)
        hv = torch.autograd.grad(g, leaf, v, retain_graph=True, materialize_grads=True)[0]
        found.append(float((v * hv).sum()))
    return found


@dataclass
class Fisher:
    """Of one layer: diagonal of the Fisher information in its weights (like the weights), of the mean loss; and of each sample's
    in its own input, (N, *input).  Their sums (mean over N) are the traces of the Gauss-Newton matrix.
    """
    weights: torch.Tensor
    input: torch.Tensor

    @property
    def traces(self) -> Traces: return Traces(float(self.weights.double().sum()), float(self.input.double().sum() / len(self.input)))


def fisher_diagonals(net: Net, x: torch.Tensor, labels: torch.Tensor | None = None, draws: int = DRAWS, seed: int = 0,
                     batch: int = BATCH, loss: str | None = None) -> dict[str, Fisher]:
    """Diagonals of the Fisher information of every layer, from per-sample gradients.

    Without labels the expectation is over the net's own classes (over Rademacher directions of its outputs for `mse`): exact for
    up to EXACT outputs, else from `draws` random directions.  With labels it is the empirical Fisher information, the squared
    gradients of the labels' loss, which is about the true one only where the net is well calibrated (Kunstner et al. 2019).
    Memory: as much again as the kept activations.
    """
    with torch.no_grad():
        target = outputs(net, x, batch)
    of, rng = loss_of(net, target, labels, loss), torch.Generator().manual_seed(seed)
    found = {n: Fisher(torch.zeros_like(s.weight), torch.empty(len(x), *net.steps[s.args[0]].shape)) for n, s in net.layers.items()}
    for i in range(0, len(x), batch):
        part = slice(i, i + batch)
        seen = {n: (f.weights, f.input[part].zero_()) for n, f in found.items()}
        _squares(net, x[part], None if labels is None else labels[part], of, draws, rng, seen)
    for f in found.values():
        f.weights /= len(x)
    return found


def _squares(net: Net, x, labels, of: Loss, draws: int, rng: torch.Generator, seen: dict[str, tuple]) -> None:
    """Adds the squared per-sample gradients of one batch to (weights, inputs) of each layer."""
    layers = net.layers
    shifts = {n: torch.zeros(len(x), *net.steps[s.args[0]].shape, requires_grad=True) for n, s in layers.items()}
    z, taps = run(net, x, {}, shifts)
    flat = z.reshape(len(x), -1)
    leaves = [*shifts.values(), *(out for _, out in taps.values())]
    for v in directions(flat.detach(), labels, of, draws, rng):
        grads = torch.autograd.grad(flat, leaves, v, retain_graph=True, materialize_grads=True)
        for (n, (w, inputs)), g_in, g_out in zip(seen.items(), grads, grads[len(layers):]):
            inputs += g_in.square()
            w += squared_gradient(layers[n], taps[n][0].detach(), g_out).view_as(w)


def directions(z: torch.Tensor, labels: torch.Tensor | None, of: Loss, draws: int, rng: torch.Generator) -> Iterator[torch.Tensor]:
    """Gradients in the outputs z (n, K) whose squares, summed over all that come, have the Fisher information as their mean."""
    if labels is not None:
        yield z.softmax(1) - F.one_hot(labels, z.shape[1])
    elif z.shape[1] <= EXACT:
        for k in range(z.shape[1]):
            yield of.root(z, F.one_hot(torch.tensor(k), z.shape[1]).to(z).expand_as(z))
    else:
        for _ in range(draws):
            yield of.root(z, torch.randint(0, 2, z.shape, generator=rng).to(z) * 2 - 1) / math.sqrt(draws)


def squared_gradient(step: Step, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Sum over samples of the squared gradient in the weights, of a layer with input x (n, ...) and output gradient g."""
    if step.kind == "linear":
        x, g = x.reshape(len(x), -1, x.shape[-1]), g.reshape(len(g), -1, g.shape[-1])
        return (g.transpose(1, 2) @ x).square().sum(0)
    a, k, groups = step.attrs, step.weight.shape[2:], step.attrs["groups"]
    x, two = pad(x, a["padding"], 0.0), len(k) == 2
    cols = F.unfold(x if two else x.unsqueeze(2), *((v if two else (1, *v)) for v in (k, a["dilation"])), 0,
                    tuple(a["stride"]) if two else (1, *a["stride"]))
    cols, g = cols.unflatten(1, (groups, -1)), g.reshape(len(g), groups, -1, cols.shape[-1])
    return (g @ cols.transpose(2, 3)).square().sum(0)


def run(net: Net, x: torch.Tensor, weights: dict[str, torch.Tensor], shifts: dict[str, torch.Tensor]):
    """(output, {layer: (its input, its output)}) of the net with these weights, and `shifts` added to the layers' own inputs."""
    env: dict[str, torch.Tensor] = {}
    taps = {}
    for s in net.steps.values():
        xs = [env[a] for a in s.args]
        if s.name in shifts:
            xs = [xs[0] + shifts[s.name]]
            env[s.name] = compute(replace(s, weight=weights.get(s.name, s.weight)), *xs)
            taps[s.name] = xs[0], env[s.name]
        else:
            env[s.name] = x if s.kind == "input" else _smooth(s, *xs) if xs else constant(s, len(x))
    return env[net.output], taps


def _smooth(s: Step, *xs: torch.Tensor) -> torch.Tensor:
    """One step in a form that torch can differentiate twice: of its own hardsigmoid it cannot."""
    return (xs[0] / 6 + 0.5).clip(0, 1) if s.attrs.get("fn") == "hardsigmoid" else compute(s, *xs)


def outputs(net: Net, x: torch.Tensor, batch: int) -> torch.Tensor:
    """(N, K) float outputs, a batch at a time."""
    return torch.cat([net(x[i:i + batch]).reshape(len(x[i:i + batch]), -1) for i in range(0, len(x), batch)])
