"""Training a small language model on one text, with the learning rate that MatMul-free models are trained with."""
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from ir import UserError


class HalvedCosine(LRScheduler):
    """A cosine from the optimizer's learning rates to 0, halved from the middle on: ternary weights settle late, all at once.

    Zhu et al. 2024 (arXiv 2406.02528), training details.  `warmup` steps rise linearly first.  UserError: no steps to make.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int, warmup: int = 0):
        if not 0 <= warmup < steps:
            raise UserError(f"a schedule of {steps} steps with {warmup} of warm-up; give more steps than warm-up")
        self.steps, self.warmup = steps, warmup
        super().__init__(optimizer)

    def get_lr(self) -> list[float]: return [base * self.factor(self.last_epoch) for base in self.base_lrs]

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at this step."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / (self.steps - self.warmup))
        return (1 + math.cos(math.pi * done)) / 2 * (0.5 if done >= 0.5 else 1.0)


def train_lm(model: nn.Module, tokens: np.ndarray, steps: int, length: int = 64, batch: int = 16, lr: float = 4e-3, warmup: int = 0,
             seed: int = 0, progress=None) -> list[float]:
    """Train in place to predict each next token of a text (K,); returns the loss of each step, in nats a token.

    Random stretches of `length` tokens, AdamW (betas 0.9 and 0.95, weight decay 0.01), gradients clipped to norm 1, HalvedCosine.
    progress(done, total, loss) is called after each step.  UserError: a text too short, a loss that is no number.
    """
    text = torch.as_tensor(np.asarray(tokens), dtype=torch.long)
    if len(text) < length + 2:
        raise UserError(f"a text of {len(text)} tokens is too short for stretches of {length}; give a longer one or a smaller length")
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr, (0.9, 0.95), weight_decay=0.01)
    schedule, losses = HalvedCosine(optimizer, steps, warmup), []
    for step in range(steps):
        at = torch.from_numpy(rng.integers(0, len(text) - length, (batch, 1))) + torch.arange(length + 1)
        loss = next_token_loss(model(text[at[:, :-1]]), text[at[:, 1:]])
        if not torch.isfinite(loss):
            raise UserError(f"training diverged at step {step + 1}; lower the learning rate (now {lr})")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if progress:
            progress(step + 1, steps, losses[-1])
    return losses


def next_token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats a token of logits (N, T, V) for targets (N, T)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
