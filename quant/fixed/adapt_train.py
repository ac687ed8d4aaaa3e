"""The steps of AdaPT's training: the sparsifying loss, rounded gradients, float masters, and what resumes it."""
import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ir import UserError
from ir import store
from .adapt_net import Diverged, in_fixed_point, layers_of
from .adapt_numbers import WIDEST, Word, fixed, initialize
from .adapt_switch import LayerState, Rules, Strategy

CODED_L1 = 1e-4  # what the official code uses, whatever its settings say
EVERY = 10       # optimizer steps between two records for the cost model
SCHEDULES = ("plateau", "cosine")


@dataclass(frozen=True)
class Course:
    """How long and how fast.  The defaults are those of the official AlexNet on CIFAR-10.

    batch: samples of one pass, `accumulate` of which make a step.  lr is of gradients of norm 1.  l1: of all parameters.
    schedule: "plateau" (a tenth of lr after `patience` epochs without a lower loss) or "cosine".  gain: of the initial weights
    (quant/fixed/adapt_numbers.py); None keeps those that the model has.  most: bits of the words handed back.
    """
    epochs: int = 100
    batch: int = 512
    accumulate: int = 4
    lr: float = 0.1
    momentum: float = 0.9
    l1: float = 1e-4
    weight_decay: float = 1e-8
    schedule: str = "plateau"
    patience: int = 10
    threshold: float = 1e-6
    gain: float | None = 0.5
    most: int = 16

    def __post_init__(self):
        if min(self.epochs, self.batch, self.accumulate, self.patience) < 1 or not self.lr > 0:
            raise UserError(f"{self.epochs} epochs, batch {self.batch}, {self.accumulate} batches a step, patience {self.patience}, learning "
                            f"rate {self.lr}: each must be above 0")
        if self.schedule not in SCHEDULES:
            raise UserError(f"unknown schedule {self.schedule!r} (known: {', '.join(SCHEDULES)})")
        if not 2 <= self.most <= WIDEST:
            raise UserError(f"words of at most {self.most} bits; give 2 to {WIDEST}")


class Training:
    """The state of a training: float masters, momenta, words, and what was logged."""

    def __init__(self, model: nn.Module, rules: Rules, course: Course, seed: int):
        self.model, self.rules, self.course, self.seed = model, rules, course, seed
        self.layers = layers_of(model)
        fresh = {}
        for m in self.layers.values():
            fresh.setdefault(id(m.weight), LayerState(rules.start, rules.lookback[0], rules.resolution[0]))
        self.states = {n: fresh[id(m.weight)] for n, m in self.layers.items()}  # tied weights share one
        self.home = self._homes()
        self.strategy = Strategy(rules.strategy)
        self.rng = torch.Generator().manual_seed(seed)
        self.masters: dict[str, torch.Tensor] = {}
        self.momenta: dict[str, torch.Tensor] = {}
        self.history: list[dict] = []
        self.log: dict[str, list] = {n: [] for n in self.layers}
        self.seen: dict[str, float] = {}
        self.lr, self.best, self.bad, self.done = course.lr, math.inf, 0, 0

    def _homes(self) -> dict[str, str]:
        """Parameter -> the layer whose word it has: its own, else the one before it."""
        homes, last = {}, next(iter(self.layers))
        for name, _ in self.model.named_parameters():
            owner = name.rpartition(".")[0]
            last = homes[name] = owner if owner in self.layers else last
        return homes

    def word(self, layer: str) -> Word: return self.states[layer].word

    @torch.no_grad()
    def begin(self) -> None:
        """Fresh weights, their float copies, and the first rounding."""
        if self.course.gain is not None:
            initialize(self.model, self.course.gain, self.seed)
        for name, p in self.model.named_parameters():
            self.masters[name], self.momenta[name] = p.detach().clone(), torch.zeros_like(p)
            p.copy_(fixed(p, self.word(self.home[name]), self.rng))

    def epoch(self, x, y, order: torch.Tensor, epoch: int, steps: int, progress) -> None:
        total, self.seen = 0.0, {}
        with in_fixed_point(self.model, self.word, self.rng, self.rules.mode == "code", self.seen):
            for i, chosen in enumerate(order.split(self.course.batch * self.course.accumulate)):
                if self.course.schedule == "cosine":
                    self.lr = self.course.lr * (1 + math.cos(math.pi * (epoch * steps + i) / (steps * self.course.epochs))) / 2
                loss = self.gradients(x, y, chosen)
                self.strategy.see(loss, int(np.mean([s.lookback for s in self.states.values()])), self.rules.mode)
                self.step()
                total += loss * len(chosen)
                self.done += 1
                if self.done % EVERY == 1:
                    self.record()
                if progress:
                    progress(epoch * steps + i + 1, steps * self.course.epochs, loss)
        self.history.append({"epoch": epoch + 1, "loss": total / len(order), "lr": self.lr, "strategy": self.strategy.name,
                             "words": {n: str(s.word) for n, s in self.states.items()}, "density": self.density()})
        self._plateau(total / len(order))

    def gradients(self, x, y, chosen: torch.Tensor) -> float:
        """Gradients of the sparsifying loss: cross entropy + l1 + the penalty of word lengths and densities; returns the loss."""
        self.model.zero_grad(set_to_none=True)
        l1, total = CODED_L1 if self.rules.mode == "code" else self.course.l1, 0.0
        for at in chosen.split(self.course.batch):
            out = self.model(x[at])
            if out.dim() != 2 or int(y.max()) >= out.shape[1]:
                raise UserError(f"labels up to {int(y.max())} for outputs of shape (N, {', '.join(map(str, out.shape[1:]))}); give class indices")
            loss = F.cross_entropy(out, y[at]) + self.penalty()
            if l1:
                loss = loss + l1 * sum(p.abs().sum() for p in self.model.parameters())
            (loss * (len(at) / len(chosen))).backward()
            total += float(loss.detach()) * len(at) / len(chosen)
        return total

    def penalty(self) -> float:
        """P = mean of (WL / 32) * (nonzero / all): over the weights of layers, in "code" over every parameter."""
        coded = self.rules.mode == "code"
        terms = [self.word(self.home[n]).bits / WIDEST * float(p.count_nonzero()) / p.numel()
                 for n, p in self.model.named_parameters() if coded or p.dim() > 1]
        return sum(terms) / len(terms)

    @torch.no_grad()
    def step(self) -> None:
        """Round and normalize gradients, switch words, move the float weights, and round them."""
        for name, p in self.model.named_parameters():
            layer, state = self.home[name], self.states[self.home[name]]
            if p.grad is None:
                continue
            if not p.grad.isfinite().all():
                raise Diverged(layer)
            g = fixed(p.grad, state.word, self.rng)
            norm = float(g.norm())
            g = g / norm if norm > 0 else g
            if p is self.layers[layer].weight and state.observe(g, self.rules):
                state.switch(self.masters[name], self.rules, self.strategy.name, self.rng)
            master, momentum = self.masters[name], self.momenta[name]
            momentum.mul_(self.course.momentum).add_(g).add_(master, alpha=self.course.weight_decay)
            master.sub_(momentum, alpha=self.lr)
            if not master.isfinite().all():
                raise Diverged(layer)
            p.copy_(fixed(master, state.word, self.rng))

    def density(self) -> float:
        """Nonzero weights of the layers, of all."""
        weights = [m.weight for m in self.layers.values()]
        return sum(float(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)

    def record(self) -> None:
        for n, m in self.layers.items():
            s = self.states[n]
            self.log[n].append([s.word.bits, float(m.weight.count_nonzero()) / m.weight.numel(), s.lookback, s.resolution])

    def _plateau(self, loss: float) -> None:
        if loss < self.best * (1 - self.course.threshold):
            self.best, self.bad = loss, 0
            return
        self.bad += 1
        if self.course.schedule == "plateau" and self.bad > self.course.patience:
            self.lr, self.bad = self.lr / 10, 0

    def state_dict(self) -> dict:
        states = {n: [s.word.bits, s.word.fraction, s.lookback, s.resolution, s.count, s.norms, s.total] for n, s in self.states.items()}
        return {"model": self.model.state_dict(), "masters": self.masters, "momenta": self.momenta, "states": states,
                "strategy": [self.strategy.name, self.strategy.losses], "rng": self.rng.get_state(), "log": self.log, "seen": self.seen,
                "numbers": [self.lr, self.best, self.bad, self.done]}

    def load_state_dict(self, kept: dict) -> None:
        self.model.load_state_dict(kept["model"])
        self.masters, self.momenta = kept["masters"], kept["momenta"]
        for n, (bits, fraction, *rest) in kept["states"].items():
            s = self.states[n]
            s.word, (s.lookback, s.resolution, s.count, s.norms, s.total) = Word(bits, fraction), rest
        self.strategy = Strategy(*kept["strategy"])
        self.rng.set_state(kept["rng"])
        self.log, self.seen = kept["log"], kept["seen"]
        self.lr, self.best, self.bad, self.done = kept["numbers"]

    def key(self) -> str:
        shapes = {n: tuple(v.shape) for n, v in self.model.state_dict().items()}
        return store.digest(store.canonical([shapes, asdict(self.rules), asdict(self.course), self.seed]))
