"""The scales of a weight-only net trained together until the whole net gives what the float net gives; its codes stay."""
from dataclasses import replace

import torch
from torch.nn import functional as F

from ir import UserError

from .channels import with_weights
from .grids import Grid, half
from ..net import Net
from .weight_only import Coded, WeightOnly


def distilled(w: WeightOnly, net: Net, x: torch.Tensor, steps: int = 60, batch: int = 8, lr: float = 1e-2, seed: int = 0,
              progress=None) -> WeightOnly:
    """w with scales for which its outputs are nearer to those of the float `net` on samples x (N, ...).

    The loss is the KL divergence over the last axis of the outputs; Adam on the scales' logarithms, its rate falling to 0: the
    second phase of EfficientQAT (Chen et al. 2024, arXiv 2407.11062); we differ: its targets are the float net's outputs, and zero points
    stay, too.  progress(done, total, loss).  UserError: no steps, a loss that is no number.
    """
    if steps < 1 or batch < 1:
        raise UserError(f"{steps} steps of batches of {batch}: each must be at least 1")
    growth = {n: torch.zeros_like(c.grid.scale, dtype=torch.float32).requires_grad_() for n, c in w.coded.items()}
    optimizer = torch.optim.Adam(growth.values(), lr=lr, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1 - k / steps)
    rng = torch.Generator().manual_seed(seed)
    order = torch.cat([torch.randperm(len(x), generator=rng) for _ in range(-(-steps * batch // len(x)))])
    for k in range(steps):
        part = x[order[k * batch:(k + 1) * batch]]
        with torch.no_grad():
            wanted = net(part).log_softmax(-1)
        loss = F.kl_div(_grown(w, growth)(part).log_softmax(-1), wanted, reduction="none", log_target=True).sum(-1).mean()
        if not torch.isfinite(loss):
            raise UserError(f"the tuning diverged in step {k + 1} (loss {float(loss.detach())}); lower the learning rate (now {lr:g})")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress:
            progress(k + 1, steps, float(loss.detach()))
    coded = {n: _kept(c, growth[n].detach()) for n, c in w.coded.items()}
    return w.renewed({n: with_weights(w.net.steps[n], c.weight) for n, c in coded.items()}, coded)


def _grown(w: WeightOnly, growth: dict[str, torch.Tensor]) -> Net:
    """The net with scales times exp(growth), through which gradients pass."""
    steps = dict(w.net.steps)
    for n, c in w.coded.items():
        weight = c.grid.values(c.codes).float() * c.grid.columns(growth[n].exp())
        steps[n] = replace(steps[n], weight=weight if c.factors is None else weight + c.factors.product.float())
    return replace(w.net, steps=steps)


def _kept(c: Coded, growth: torch.Tensor) -> Coded:
    g = c.grid
    return replace(c, grid=Grid(g.fmt, g.size, g.inputs, half(g.scale * growth.double().exp()), g.zero))
