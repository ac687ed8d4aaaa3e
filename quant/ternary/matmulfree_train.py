"""Training a small language model on one text, with the learning rate that MatMul-free models are trained with."""
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from ir import UserError

BETAS = (0.9, 0.95)
CLIP = 1.0     # norm that gradients are clipped to
STRETCHES = 64  # of text that are scored at once


class HalvedCosine(LRScheduler):
    """A cosine from the optimizer's learning rates to 0, halved from the middle on: ternary weights settle late, all at once.

    Zhu et al. 2024 (arXiv 2406.02528), training details.  `warmup` steps rise linearly first.  `halved` False: a plain cosine, for
    float models.  UserError: no steps to make.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int, warmup: int = 0, halved: bool = True):
        if not 0 <= warmup < steps:
            raise UserError(f"a schedule of {steps} steps with {warmup} of warm-up; give more steps than warm-up")
        self.steps, self.warmup, self.halved = steps, warmup, halved
        super().__init__(optimizer)

    def get_lr(self) -> list[float]: return [base * self.factor(self.last_epoch) for base in self.base_lrs]

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at this step."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / (self.steps - self.warmup))
        return (1 + math.cos(math.pi * done)) / 2 * (0.5 if self.halved and done >= 0.5 else 1.0)


@dataclass(frozen=True)
class Course:
    """How a training goes: `steps` of `batch` stretches of `length` tokens.

    decay: weight decay of matrices; vectors (gains, bounds of gates) have none.  UserError: a setting out of range.
    """
    steps: int
    length: int = 128
    batch: int = 16
    lr: float = 4e-3
    warmup: int = 0
    decay: float = 0.01
    halved: bool = True
    seed: int = 0

    def __post_init__(self):
        if min(self.steps, self.length, self.batch) < 1:
            raise UserError(f"{self.steps} steps of {self.batch} stretches of {self.length} tokens: give numbers of at least 1")
        if not (0 < self.lr < math.inf and 0 <= self.decay < math.inf and self.seed >= 0):
            raise UserError(f"learning rate {self.lr}, weight decay {self.decay}, seed {self.seed}: give a positive rate, the others not below 0")


class Training:
    """A model in training to predict each next token of a text (K,), in nats a token; saved between two steps it goes on bit for bit.

    Each step draws its stretches from the seed and its own number; AdamW, gradients clipped, HalvedCosine.
    UserError: a text too short, a loss that is no number.
    """

    def __init__(self, model: nn.Module, tokens: np.ndarray, course: Course):
        self.text = torch.as_tensor(np.asarray(tokens), dtype=torch.long)
        if len(self.text) < course.length + 2:
            raise UserError(f"a text of {len(self.text)} tokens is too short for stretches of {course.length}; give a longer one or a smaller length")
        self.model, self.course, self.done = model, course, 0
        self.rate = 0.0  # of the step before
        matrices, vectors = ([p for n, p in model.named_parameters() if (p.dim() > 1 and n.endswith("weight")) == m] for m in (True, False))
        self.optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": course.decay}, {"params": vectors, "weight_decay": 0.0}],
                                           course.lr, BETAS, fused=True)
        self.schedule = HalvedCosine(self.optimizer, course.steps, course.warmup, course.halved)

    def advance(self) -> float:
        """One step; returns the loss before it."""
        c = self.course
        start = np.random.default_rng([c.seed, self.done]).integers(0, len(self.text) - c.length, (c.batch, 1))
        at = torch.from_numpy(start) + torch.arange(c.length + 1)
        loss = next_token_loss(self.model(self.text[at[:, :-1]]), self.text[at[:, 1:]])
        if not torch.isfinite(loss):
            raise UserError(f"training diverged at step {self.done + 1}; lower the learning rate (now {c.lr})")
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.rate = self.schedule.get_last_lr()[0]
        self.schedule.step()
        self.done += 1
        return loss.item()

    def state_dict(self) -> dict:
        return {"done": self.done, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.done = state["done"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def train_lm(model: nn.Module, tokens: np.ndarray, steps: int, length: int = 64, batch: int = 16, lr: float = 4e-3, warmup: int = 0,
             seed: int = 0, progress=None) -> list[float]:
    """Train in place to predict each next token of a text (K,); returns the loss of each step, in nats a token.

    progress(done, total, loss) is called after each step.  UserError: as Training.
    """
    training, losses = Training(model, tokens, Course(steps, length, batch, lr, warmup, seed=seed)), []
    for step in range(steps):
        losses.append(training.advance())
        if progress:
            progress(step + 1, steps, losses[-1])
    return losses


def text_loss(model: nn.Module, tokens: np.ndarray, length: int, most: int | None = None) -> float:
    """Mean loss in nats a token of a text cut into stretches of `length`, each without what was before; of the first `most` stretches.

    The rest that fills no stretch is left out.  UserError: a text shorter than one stretch.
    """
    text = torch.as_tensor(np.asarray(tokens), dtype=torch.long)
    count = (len(text) - 1) // length
    if count < 1:
        raise UserError(f"a text of {len(text)} tokens is too short for stretches of {length}; give a longer one or a smaller length")
    count = min(count, most or count)
    x, y = (text[i:i + count * length].view(count, length) for i in (0, 1))
    with torch.no_grad():
        parts = [next_token_loss(model(x[i:i + STRETCHES]), y[i:i + STRETCHES]).item() * len(x[i:i + STRETCHES]) for i in range(0, count, STRETCHES)]
    return sum(parts) / count


def next_token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats a token of logits (N, T, V) for targets (N, T)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
