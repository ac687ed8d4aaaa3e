"""AdaPT: training from scratch in fixed point, each layer's <WL,FL> switched as it learns (Kummer et al., arXiv 2107.13490).

Weights, what goes into and out of each layer, and the gradients of weights are on the layer's grid; the optimizer keeps a float32
copy of the weights.  How words are switched, and where the paper and its code differ: quant/fixed/adapt_switch.py.
We differ: the loss that a plateau is found in is the training loss, unless a cosine is asked for; batch norm takes the word of the
layer before it, as biases take that of their weight.
"""
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ir import FORMATS, Option, Plan, UserError
from .adapt_net import Diverged
from .adapt_numbers import Word, fixed
from .adapt_switch import Rules
from .adapt_train import Course, Training
from ..train.checkpoint import Progress, resume, save
from ..net import Net


@dataclass
class Adapted:
    """What training found.

    trained: each layer's word at the end.  words: (of the weights, of the layer's input) handed back, at most Course.most bits.
    history: {"epoch", "loss", "lr", "strategy", "words", "density"} an epoch.  log: layer -> [[WL, density, lookback, resolution], ..]
    every EVERY steps, for quant/fixed/adapt_cost.py.  notes: what the user should know, each one line.
    """
    trained: dict[str, Word]
    words: dict[str, tuple[Word, Word]]
    history: list[dict]
    log: dict[str, list[list[float]]]
    notes: list[str] = field(default_factory=list)

    def plan(self, net: Net) -> Plan:
        """The plan `fxWL.FL/fxWL.FL` of each layer of the captured module; a module that is called twice has its word twice.

        Batch norm that is folded into a layer takes its weights off their grid; they are rounded to it anew.
        UserError: a layer that was not trained, or one of more bits than formats have.
        """
        options = {}
        for n in net.layers:
            name = n if n in self.words else re.sub(r"_\d+$", "", n)
            if name not in self.words:
                raise UserError(f"layer {n!r} was not trained in fixed point (these were: {', '.join(self.words)}); capture the module that was")
            if any(str(w) not in FORMATS for w in self.words[name]):
                raise UserError(f"layer {n!r} ended at {self.words[name][0]}, and formats have 2 to 16 bits; train with most=16")
            options[n] = Option(*map(str, self.words[name]))
        return Plan(options, model=net.hash, why={"method": "adapt", "trained": {k: str(v) for k, v in self.trained.items()}, "notes": self.notes})


def adapt(model: nn.Module, x, y, rules: Rules | None = None, course: Course | None = None, seed: int = 0,
          progress: Callable | None = None, checkpoint: Path | str | None = None) -> Adapted:
    """Train `model` in place on x (N, ...) with labels y (N,); it is handed back in eval mode with its weights on their grids.

    A layer that ends above Course.most bits is narrowed: integer bits that nothing needs go first (weights and input each by the
    largest value seen), fraction bits then; its weights are rounded to the nearest point, and a note says so.
    progress(done, total, loss) is called after each step.  checkpoint: written after each epoch and resumed from, bit for bit.
    UserError: a model without layers, labels that do not fit, a checkpoint of another training, a loss that is no number.
    """
    x, y = _samples(x, y)
    rules, course = rules or Rules(), course or Course()
    t = Training(model, rules, course, seed)
    path = Path(checkpoint) if checkpoint is not None else None
    t.history = resume(path, t.key(), {"adapt": t}).history
    if not t.history:
        t.begin()
    steps = -(-len(x) // (course.batch * course.accumulate))
    model.train()
    try:
        with torch.random.fork_rng(devices=[]):
            for epoch in range(len(t.history), course.epochs):
                torch.manual_seed(seed * 1_000_003 + epoch)  # of dropout and what else draws
                order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(x)))
                t.epoch(x, y, order, epoch, steps, progress)
                if path:
                    save(path, t.key(), Progress(t.history), {"adapt": t})
    except Diverged as e:
        kept = f"the last good checkpoint is kept at {path}" if path and path.exists() else "no checkpoint is kept: give a file for one"
        raise UserError(f"training stopped in step {t.done + 1}: {e}; {kept}; lower the learning rate (now {course.lr:g})") from None
    finally:
        model.eval()
    return hand_back(t)


@torch.no_grad()
def hand_back(t: Training) -> Adapted:
    """Words of at most Course.most bits, and the weights on their grids."""
    most, trained, words, notes = t.course.most, {n: s.word for n, s in t.states.items()}, {}, []
    for n, m in t.layers.items():
        word = trained[n]
        own = word.narrowed(most, float(m.weight.abs().max())), word.narrowed(most, t.seen.get(n, 0.0))
        words[n] = own
        if word.bits > most:
            m.weight.copy_(fixed(m.weight, own[0]))
            notes.append(f"layer {n!r} ended at {word}, above {most} bits: its weights became {own[0]} and its input {own[1]}")
    return Adapted(trained, words, t.history, t.log, notes)


def _samples(x, y) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.as_tensor(x).float(), torch.as_tensor(y)
    if y.shape != (len(x),) or not len(x) or y.is_floating_point() or int(y.min()) < 0:
        raise UserError(f"{len(x)} samples need as many labels, class indices from 0; got an array of shape {tuple(y.shape)} of {y.dtype}")
    if not x.isfinite().all():
        raise UserError(f"{int((~x.isfinite()).sum())} of {x.numel()} values of the data are NaN or infinite; clean the data first")
    return x, y.long()
