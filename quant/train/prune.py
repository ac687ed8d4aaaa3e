"""Pruning by magnitude while training, along a cubic schedule (Zhu & Gupta, "To prune, or not to prune", arXiv 1710.01878)."""
from collections.abc import Callable, Iterable

import torch
from torch import nn

from ir import UserError
from .weights import fit, weighted


def cubic(step: int, begin: int, end: int, final: float, initial: float = 0.0) -> float:
    """The sparsity wanted after so many steps: s_f + (s_i - s_f) (1 - (t - t0) / (n dt))**3, its ends outside (equation 1)."""
    left = 1 - min(max((step - begin) / (end - begin), 0.0), 1.0) if end > begin else float(step < begin)
    return final + (initial - final) * left ** 3


class Pruner:
    """Masks of the weights of a torch module or of a quantized net, set anew every `every` steps from `begin` to `end`, then frozen.

    A training loop calls step(i) after each step of its optimizer, i counted from 1; quant.tune does with after_step=[pruner].  Masked
    weights are exact zeros before each forward pass, and stay zeros when they are quantized (weights are symmetric about 0) to the
    nearest; GPTQ moves them, call apply() on the quantized net then.
    In each tensor the smallest magnitudes go.  regrow: what was masked keeps its dense value, which goes on being trained (its
    gradient is taken at 0), and may come back while masks move; else what is masked stays so.
    UserError: a sparsity outside [0, 1), steps that do not ascend, an unknown layer.
    """

    def __init__(self, model: nn.Module, final: float, end: int, begin: int = 0, every: int = 100, initial: float = 0.0,
                 layers: Iterable[str] | None = None, regrow: bool = False):
        if not 0 <= initial <= final < 1:
            raise UserError(f"sparsity from {initial} to {final}; give fractions of at least 0 and below 1, the smaller one first")
        if not 0 <= begin <= end or every < 1:
            raise UserError(f"pruning from step {begin} to {end} every {every}: give steps that ascend from 0, and at least 1 between masks")
        self.final, self.begin, self.end, self.every, self.initial, self.regrow = final, begin, end, every, initial, regrow
        self.layers = weighted(model, layers)
        self.masks = {n: torch.ones_like(m.weight, dtype=torch.bool) for n, m in self.layers.items()}
        self.dense = {n: m.weight.detach().clone() for n, m in self.layers.items()} if regrow else {}
        self.at = -1  # step of the last masks

    @classmethod
    def keeping(cls, model: nn.Module, layers: Iterable[str] | None = None) -> "Pruner":
        """A pruner that only keeps the zeros which the weights have now: for fine-tuning, and for a net quantized after pruning."""
        p = cls(model, 0.0, 0, layers=layers)
        p.masks = {n: m.weight.detach() != 0 for n, m in p.layers.items()}
        p.at = 0
        return p

    @torch.no_grad()
    def step(self, done: int) -> None:
        """After `done` steps of the optimizer: new masks if they are due, and zeros where the masks say so."""
        if self.regrow:
            for n, m in self.layers.items():
                self.dense[n] += m.weight.detach() - self.dense[n] * self.masks[n]
        due = self.end if done >= self.end else done - (done - self.begin) % self.every
        if self.begin <= due > self.at:
            self.update(due)
        if self.regrow:
            for n, m in self.layers.items():
                m.weight.copy_(self.dense[n])
        self.apply()

    def update(self, step: int) -> None:
        """The masks of a step of the schedule: in each tensor round(sparsity * size) weights go."""
        self.at = step
        sparsity = cubic(step, self.begin, self.end, self.final, self.initial)
        for n, m in self.layers.items():
            size = (self.dense[n] if self.regrow else m.weight).detach().abs().flatten()
            if not self.regrow:
                size = size.masked_fill(~self.masks[n].flatten(), -1.0)  # what is masked is the first to be so again
            mask = torch.ones_like(size, dtype=torch.bool)
            mask[size.argsort(stable=True)[:round(sparsity * len(size))]] = False
            self.masks[n] = mask.reshape(m.weight.shape)

    @torch.no_grad()
    def apply(self) -> None:
        """Zeros where the masks say so."""
        for n, m in self.layers.items():
            m.weight.mul_(self.masks[n])

    @property
    def sparsity(self) -> dict[str, float]:
        """Share of masked weights of each layer."""
        return {n: 1 - float(v.count_nonzero()) / v.numel() for n, v in self.masks.items()}

    def state_dict(self) -> dict: return {"at": self.at, "masks": self.masks, "dense": self.dense}

    def load_state_dict(self, state: dict) -> None: self.at, self.masks, self.dense = state["at"], dict(state["masks"]), dict(state["dense"])


def prune(model: nn.Module, x, y, final: float, epochs: int = 4, lr: float = 1e-3, batch: int = 32, layers: Iterable[str] | None = None,
          initial: float = 0.0, regrow: bool = False, seed: int = 0, progress: Callable | None = None) -> Pruner:
    """Train a module in place while it is pruned over the first three quarters of the steps, at most 100 of them apart."""
    total = epochs * -(-len(x) // batch)
    end = max(1, total * 3 // 4)
    p = Pruner(model, final, end, every=min(100, max(1, end // 10)), initial=initial, layers=layers, regrow=regrow)
    fit(model, x, y, epochs, lr, batch, seed, p.step, progress)
    return p


def sparsity(model: nn.Module, layers: Iterable[str] | None = None) -> dict[str, float]:
    """Share of exact zeros among each layer's weights."""
    return {n: 1 - float(m.weight.detach().count_nonzero()) / m.weight.numel() for n, m in weighted(model, layers).items()}
