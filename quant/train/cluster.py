"""Weight clustering: a layer's weights share a few values, which are trained together (Han et al., "Deep Compression", ICLR 2016).

As in the tiny time-series transformer (Allam et al., arXiv 2303.08951): the layers that are named, linear initial centroids, fine-tuning,
strip.  With quantization the centroids go to the grid, so that there are still at most as many codes, where one scale is used for the
tensor (`int8t/uint8`); a scale for each channel gives at most as many codes in each channel.  Batch norm that is folded into a layer
gives each channel a factor of its own: cluster the quantized net, or a module without it.
"""
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from ir import UserError
from .weights import fit, weighted

INITS = ("linear", "density")
ROUNDS = 100  # of Lloyd's iteration at the most


class Shared(nn.Module):
    """A weight as indices into a table of centroids; the gradients of all weights of a cluster add up in its centroid."""

    def __init__(self, centroids: torch.Tensor, index: torch.Tensor, held: int | None):
        super().__init__()
        self.centroids = nn.Parameter(centroids)
        self.register_buffer("index", index)
        self.held = held  # a centroid that stays 0

    @property
    def table(self) -> torch.Tensor:
        if self.held is None:
            return self.centroids
        return self.centroids * (torch.arange(len(self.centroids), device=self.centroids.device) != self.held)

    def forward(self, weight: torch.Tensor) -> torch.Tensor: return self.table[self.index]


class Clusters:
    """Shared weights of a torch module or of a quantized net, until strip(): optimizers see centroids instead of weights.

    k: values a layer.  init: "linear" (equal steps from the smallest weight to the largest) or "density" (quantiles); Lloyd's
    iteration follows.  zeros: weights that are exactly 0 (pruned) keep a centroid that stays 0.
    UserError: fewer than 2 clusters, an unknown init or layer.
    """

    def __init__(self, model: nn.Module, k: int = 16, layers: Iterable[str] | None = None, init: str = "linear", zeros: bool = True):
        if k < 2:
            raise UserError(f"{k} clusters; give at least 2")
        if init not in INITS:
            raise UserError(f"unknown initial centroids {init!r} (known: {', '.join(INITS)})")
        self.k, self.layers = k, weighted(model, layers)
        if again := [n for n, m in self.layers.items() if parametrize.is_parametrized(m, "weight")]:
            raise UserError(f"layer {again[0]!r} is clustered already; strip its clusters first")
        for m in self.layers.values():
            shared = Shared(*shares(m.weight.detach(), k, init, zeros))
            m.weight.requires_grad_(False)
            parametrize.register_parametrization(m, "weight", shared)

    def strip(self) -> None:
        """Plain weights again, each with one of its layer's centroids."""
        for m in self.layers.values():
            if parametrize.is_parametrized(m, "weight"):
                parametrize.remove_parametrizations(m, "weight", leave_parametrized=True)
                m.weight.requires_grad_(True)

    @property
    def unique(self) -> dict[str, int]:
        """How many values each layer's weights have."""
        return {n: len(m.weight.detach().unique()) for n, m in self.layers.items()}


def shares(w: torch.Tensor, k: int, init: str = "linear", zeros: bool = True) -> tuple[torch.Tensor, torch.Tensor, int | None]:
    """Centroids (k,), the index of each weight's centroid, and which centroid stays 0 (if zeros are kept and there are any)."""
    values = w.reshape(-1).double().cpu().numpy()
    free = values != 0 if zeros else np.ones(len(values), bool)
    held = 0 if not free.all() else None
    count = k - (held is not None)
    centroids, index = np.zeros(0), np.zeros(len(values), np.int64)
    if free.any():
        centroids, index[free] = lloyd(values[free], count, init)
    if held is not None:
        index[free] += 1
        centroids = np.concatenate([[0.0], centroids])
    return torch.from_numpy(centroids).to(w), torch.from_numpy(index).reshape(w.shape).to(w.device), held


def lloyd(values: np.ndarray, k: int, init: str) -> tuple[np.ndarray, np.ndarray]:
    """Centroids (k,), ascending, and the index of each value's nearest; a centroid that no value is nearest to stays where it is."""
    centroids = np.linspace(values.min(), values.max(), k) if init == "linear" else np.quantile(values, (np.arange(k) + 0.5) / k)
    for _ in range(ROUNDS):
        index = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
        count, total = np.bincount(index, minlength=k), np.bincount(index, values, k)
        new = np.where(count > 0, total / np.maximum(count, 1), centroids)
        if np.array_equal(new, centroids):
            break
        centroids = new
    return centroids, np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)


def cluster(model: nn.Module, x, y, k: int = 16, layers: Iterable[str] | None = None, init: str = "linear", zeros: bool = True,
            epochs: int = 2, lr: float = 1e-3, batch: int = 32, seed: int = 0, progress: Callable | None = None) -> Clusters:
    """Cluster the weights of a module, train the centroids (and what is not clustered) in place, and strip."""
    c = Clusters(model, k, layers, init, zeros)
    try:
        fit(model, x, y, epochs, lr, batch, seed, progress=progress)
    finally:
        c.strip()
    return c
