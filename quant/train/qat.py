"""Training with the integers in the loop."""
import math
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from ir import UserError
from . import divergence, norming
from .average import Average
from .checkpoint import Progress, key, resume, save
from .distill import Student, Teacher, feature_loss, loss_of
from ..encode import Coding
from ..model import QuantNet
from .modes import clipping_levels, prepare, restrict
from ..observers import checked
from .parallel import all_sum, barrier, share, world
from .recipe import Recipe
from ..sites.site_layers import Weighted

NORM_IMAGES = 256  # that norms are measured on at the start


def tune(q: QuantNet, x, y=None, *, distill=None, augment: Callable | None = None, after_step: Iterable = (), progress: Callable | None = None,
         checkpoint: Path | str | None = None, **recipe) -> list[dict]:
    """Train q in place on x (N, *input.shape); returns one {"epoch", "loss"} an epoch.

    y: labels (N,) for cross-entropy; None: q learns the outputs of `distill`, or of the float net it was made of.
    distill: a float net (a Net or a module) that teaches beside the labels.  recipe: the fields of Recipe (quant/train/recipe.py):
    epochs, lr, mode, batch, seed and all else that can be chosen.
    augment(images, rng): the images of a batch changed at random, with a torch.Generator that epoch and step govern.
    after_step: each f is called as f(step) after each optimizer step, or as f.step(step), f.apply() if it has those (masks of
    pruning; applied once more to averaged parameters).  progress(done, total, loss) is called after each batch.
    checkpoint: a file written after each epoch (and `every` so many steps), resumed from bit for bit if it is there; removed
    by nobody.  What a training adds to q (norms, trained zero points, limits) stays with it: lower q itself, or a deepcopy.
    In a torch.distributed group each process is given the same data and takes its share of each batch; rank 0 writes the file.
    UserError: options, labels or a file that do not fit; a loss, gradient or parameter that is no number.
    """
    recipe = Recipe.of(recipe)
    x = checked(q.net, x)
    labels = _labels(y, len(x), math.prod(q.net.steps[q.net.output].shape))
    restrict(q, recipe)
    if recipe.norms == "virtual":
        norming.attach(q, x[:NORM_IMAGES], recipe.norm_momentum)
    with training(q, recipe) as groups:
        student = Student(q, recipe.features)
        taught = labels is None or distill is not None  # else a teacher compares features alone
        teacher = Teacher(distill if distill is not None else q.net, student) if taught or recipe.features else None
        run = Run(q, student, teacher, taught, groups, recipe, len(x), list(after_step), checkpoint,
                  key(q, recipe, len(x), str(labels is None), str(distill is not None)))
        for epoch in range(len(run.at.history), recipe.epochs):
            order = torch.from_numpy(np.random.default_rng([recipe.seed, epoch]).permutation(len(x))).split(recipe.batch)
            for i in range(run.at.step, len(order)):
                images = x[order[i]]
                if augment:
                    images = augment(images, _generator(recipe.seed, epoch, i))
                loss = run.step(images, None if labels is None else labels[order[i]], epoch * len(order) + i)
                if progress:
                    progress(epoch * len(order) + i + 1, recipe.epochs * len(order), loss)
            run.end_epoch(len(x))
    if run.average:
        run.average.take()
        for hook in run.hooks:
            _apply(hook)
    if recipe.reestimate:
        norming.reestimate(q, x[:recipe.reestimate])
    return run.at.history


class Run:
    """One training under way: what a step needs and what a checkpoint holds."""

    def __init__(self, q: QuantNet, student: Student, teacher: Teacher | None, taught: bool, groups: list[dict], recipe: Recipe, images: int,
                 hooks: list, path: Path | str | None, belongs: str):
        self.q, self.teacher, self.taught, self.recipe, self.hooks, self.path, self.belongs = q, teacher, taught, recipe, hooks, path, belongs
        self.parameters = [p for g in groups for p in g["params"]]
        self.optimizer = _optimizer(groups, recipe)
        self.steps = recipe.epochs * -(-images // recipe.batch)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda i: rate(i, self.steps, recipe))
        self.average = Average(self.parameters, recipe.ema) if recipe.ema else None
        self.parts = {"net": q, "optimizer": self.optimizer, "schedule": self.schedule} | ({"average": self.average} if self.average else {})
        self.parts |= {f"hook {i}": h for i, h in enumerate(hooks) if hasattr(h, "state_dict")}
        self.at: Progress = resume(path, belongs, self.parts)
        barrier()
        self.model = student
        if world()[1] > 1:
            self.model = DistributedDataParallel(student, forward_sync_buffers=False, find_unused_parameters=True)

    def step(self, images: torch.Tensor, labels: torch.Tensor | None, done: int) -> float:
        """One optimizer step on a batch, of which this process takes its share; returns the loss of the whole batch."""
        count, (own, weight) = len(images), share(torch.arange(len(images)))
        images, labels = images[own], None if labels is None else labels[own]
        for norm in norming.norms(self.q):
            norm.frozen = done >= self.recipe.freeze * self.steps
        self.optimizer.zero_grad()
        loss = self.loss(images, labels) * weight
        loss.backward()
        value = float(all_sum(loss.detach().clone())) / world()[1]
        size = self.clip()
        if not (math.isfinite(value) and math.isfinite(size)):  # before it gets into the parameters
            self.watch(images, value, size, done)
        self.optimizer.step()
        self.schedule.step()
        for norm in norming.norms(self.q):
            norm.follow()
        for hook in self.hooks:
            hook.step(done + 1) if hasattr(hook, "step") else hook(done + 1)
            _apply(hook)
        if self.average:
            self.average.follow()
        self.watch(images, value, size, done)
        self.at.step += 1
        self.at.total += value * count
        if self.recipe.every and (done + 1) % self.recipe.every == 0:
            self.save()
        return value

    def loss(self, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        out, features = self.model(images)
        taught, wanted = self.teacher(images) if self.teacher else (None, [])
        loss = loss_of(out, labels, taught if self.taught else None, self.recipe)
        if wanted:
            loss = loss + self.recipe.feature_weight * feature_loss(features, wanted)
        levels = clipping_levels(self.q)
        return loss + self.recipe.clip_decay * torch.stack(levels).square().sum() if levels else loss

    def clip(self) -> float:
        """The norm of the whole gradient, before it is cut to recipe.clip."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        size = float(torch.stack([g.norm().double() for g in grads]).norm())
        if 0 < self.recipe.clip < size < math.inf:
            for g in grads:
                g.mul_(self.recipe.clip / size)
        return size

    def watch(self, images: torch.Tensor, loss: float, size: float, done: int) -> None:
        """UserError: something is no number any more."""
        where = f"step {done + 1} of {self.steps} (epoch {len(self.at.history) + 1})"
        more = f"lower the learning rate (now {self.recipe.lr}) or clip the gradient"
        if self.path is not None:
            more += f"; the last good checkpoint is kept at {self.path}" if Path(self.path).exists() else "; no checkpoint was written yet"
        divergence.check(self.q, images, loss, size, where, more)

    def end_epoch(self, images: int) -> None:
        self.at.history.append({"epoch": len(self.at.history) + 1, "loss": self.at.total / images})
        self.at.step, self.at.total = 0, 0.0
        self.save()

    def save(self) -> None:
        if self.path is not None and world()[0] == 0:
            save(self.path, self.belongs, self.at, self.parts)


@contextmanager
def training(q: QuantNet, recipe: Recipe):
    """Parameter groups of a training; what stands still takes no gradient meanwhile, and norms watch."""
    scales = prepare(q, recipe.mode)
    still = [m.log_scale for m in q.modules() if isinstance(m, (Coding, Weighted)) and m.log_scale.requires_grad]
    ids = {id(p) for p in scales}
    still = [p for p in still if id(p) not in ids]
    for p in still:
        p.requires_grad_(False)
    for norm in norming.norms(q):
        norm.watching = True
    rest = [p for p in q.parameters() if p.requires_grad and id(p) not in ids]
    groups = [{"params": [p for p in rest if p.dim() > 1], "lr": recipe.lr, "weight_decay": recipe.weight_decay},
              {"params": [p for p in rest if p.dim() <= 1], "lr": recipe.lr}, {"params": scales, "lr": recipe.lr * recipe.scale_lr}]
    try:
        yield [g for g in groups if g["params"]]
    finally:
        for p in still:
            p.requires_grad_(True)
        for norm in norming.norms(q):
            norm.watching = False


def rate(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of a step as a share of the largest."""
    warm = round(recipe.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    along = (step - warm) / max(steps - warm, 1)
    return {"cosine": (1 + math.cos(math.pi * along)) / 2, "linear": 1 - along, "constant": 1.0}[recipe.schedule]


def _optimizer(groups: list[dict], recipe: Recipe) -> torch.optim.Optimizer:
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
        case "adamw":
            return torch.optim.AdamW(groups, recipe.lr, weight_decay=0.0)
    return torch.optim.Adam(groups, recipe.lr)


def _apply(hook) -> None:
    if hasattr(hook, "apply"):
        hook.apply()


def _generator(*seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))


def _labels(y, count: int, classes: int) -> torch.Tensor | None:
    if y is None:
        return None
    y = torch.as_tensor(y)
    if y.shape != (count,):
        raise UserError(f"{count} images need labels of shape ({count},), not {tuple(y.shape)}; give a class index for each image")
    y = y.long()
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise UserError(f"labels from {int(y.min())} to {int(y.max())} for a model of {classes} outputs; give class indices from 0 to {classes - 1}")
    return y
