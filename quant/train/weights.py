"""The weights that pruning and clustering work on, of a torch module or of a quantized net, by layer; and a small training loop."""
import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ir import UserError
from ..fixed.adapt_net import LAYERS
from ..model import QuantNet


def weighted(model: nn.Module, layers: Iterable[str] | None = None) -> dict[str, nn.Module]:
    """The layers with weights, by name: Conv1d, Conv2d and Linear of a module, the layers that a plan names of a quantized net.

    layers: only these.  UserError: none at all, or a name that the model does not have.
    """
    found = dict(model.layers) if isinstance(model, QuantNet) else {n: m for n, m in model.named_modules() if isinstance(m, LAYERS)}
    wanted = list(found) if layers is None else list(layers)
    if unknown := [n for n in wanted if n not in found]:
        raise UserError(f"no layer {unknown[0]!r} with weights; the model has {', '.join(found) or 'none'}")
    if not wanted:
        raise UserError(f"{type(model).__name__} has no layer with weights to work on, or none was named")
    return {n: found[n] for n in wanted}


def fit(model: nn.Module, x, y, epochs: int = 1, lr: float = 1e-3, batch: int = 32, seed: int = 0,
        after: Callable[[int], None] | None = None, progress: Callable | None = None) -> list[dict]:
    """Train a module in place by cross entropy on x (N, ...) with labels y (N,); one {"epoch", "loss"} an epoch; ends in eval mode.

    Adam with a cosine from lr to 0; `seed` governs the order of the samples and dropout.  after(step) is called after each step of
    the optimizer, counted from 1; progress(done, total, loss) too.  UserError: labels that do not fit, a loss that is no number.
    """
    x, y = torch.as_tensor(x).float(), torch.as_tensor(y)
    if y.shape != (len(x),) or not len(x) or y.is_floating_point():
        raise UserError(f"{len(x)} samples need as many labels, class indices; got an array of shape {tuple(y.shape)} of {y.dtype}")
    if epochs < 1 or batch < 1 or not lr > 0:
        raise UserError(f"{epochs} epochs of batches of {batch} at a learning rate of {lr}: each must be above 0")
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr)
    steps, history, done = -(-len(x) // batch), [], 0
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    model.train()
    try:
        with torch.random.fork_rng(devices=[]):
            for epoch in range(epochs):
                torch.manual_seed(seed * 1_000_003 + epoch)
                total = 0.0
                for at in torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(x))).split(batch):
                    loss = F.cross_entropy(model(x[at]), y[at].long())
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    done, value = done + 1, float(loss.detach())
                    if not math.isfinite(value):
                        raise UserError(f"training diverged in step {done} (loss {value}); lower the learning rate (now {lr:g})")
                    if after:
                        after(done)
                    if progress:
                        progress(done, epochs * steps, value)
                    total += value * len(at)
                history.append({"epoch": epoch + 1, "loss": total / len(x)})
    finally:
        model.eval()
    return history
