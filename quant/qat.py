"""Training with the integers in the loop."""
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ir import UserError
from ir import store
from .encode import Coding
from .model import QuantNet
from .observers import checked
from .site_layers import Weighted

MODES = ("ste", "lsq")
SCALE_LR = 0.1  # of the learning rate of the weights, for the logarithm of a scale


def tune(q: QuantNet, x, y=None, epochs: int = 3, lr: float = 1e-4, mode: str = "lsq", distill=None, batch: int = 32, seed: int = 0,
         progress=None, checkpoint: Path | str | None = None) -> list[dict]:
    """Train q in place on x (N, *input.shape); returns one {"epoch", "loss"} an epoch.

    y: labels (N,) for cross-entropy; None: q learns the outputs of the float net.  distill: a float net (a Net or a module)
    whose softened outputs join the labels in equal parts (Hinton et al. 2015, temperature 4).
    mode: "ste" trains weights and biases, "lsq" their scales and those of the activations too (Esser et al. 2020; we differ:
    scales are trained in their logarithm).  Adam with a cosine from lr to 0; `seed` governs the order of the images.
    progress(done, total, loss) is called after each batch.  checkpoint: a file written after each epoch and resumed from if
    it is there; removed by nobody.  UserError: unknown mode, labels that do not fit, a loss that is no number.
    """
    x = checked(q.net, x)
    labels = _labels(y, len(x), math.prod(q.net.steps[q.net.output].shape))
    if mode not in MODES:
        raise UserError(f"unknown training mode {mode!r} (known: {', '.join(MODES)})")
    if epochs < 1 or not lr > 0:
        raise UserError(f"{epochs} epochs at a learning rate of {lr}: give at least one epoch and a rate above 0")
    teacher = distill if distill is not None else q.net if labels is None else None
    optimizer = torch.optim.Adam(groups(q, lr, mode))
    steps = -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    history = _resume(checkpoint, q, optimizer, schedule, epochs, mode)
    for epoch in range(len(history), epochs):
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(x)))
        total = 0.0
        for i, at in enumerate(order.split(batch)):
            loss = loss_of(q(x[at]), None if labels is None else labels[at], teacher, x[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if not torch.isfinite(loss) or diverged(q):
                raise UserError(f"training diverged in epoch {epoch + 1} (loss {float(loss.detach())}); lower the learning rate (now {lr})")
            total += float(loss.detach()) * len(at)
            if progress:
                progress(epoch * steps + i + 1, epochs * steps, float(loss.detach()))
        history.append({"epoch": epoch + 1, "loss": total / len(x)})
        _save(checkpoint, q, optimizer, schedule, history, epochs, mode)
    return history


def groups(q: QuantNet, lr: float, mode: str) -> list[dict]:
    """Parameter groups; with "ste" the scales stand still."""
    scales = [m.log_scale for m in q.modules() if isinstance(m, (Coding, Weighted)) and m.log_scale.requires_grad]
    ids = {id(p) for p in scales}
    rest = [p for p in q.parameters() if p.requires_grad and id(p) not in ids]
    return [{"params": rest, "lr": lr}] + ([{"params": scales, "lr": lr * SCALE_LR}] if mode == "lsq" else [])


def diverged(q: QuantNet) -> bool:
    """Whether a parameter is no number, or a scale one that no integers can follow."""
    scales = [m.log_scale for m in q.modules() if isinstance(m, (Coding, Weighted))]
    return not all(bool(p.isfinite().all()) for p in q.parameters()) or any(bool((p.abs() > 40).any()) for p in scales)


def loss_of(out: torch.Tensor, labels, teacher, x: torch.Tensor, temperature: float = 4.0) -> torch.Tensor:
    """Cross-entropy with labels, joined by a teacher's softened outputs; without labels the teacher's outputs are learned."""
    if labels is None:
        with torch.no_grad():
            want = teacher(x)
        return F.mse_loss(out, want) / want.var(correction=0).clip(1e-12)
    hard = F.cross_entropy(out.reshape(len(out), -1), labels)
    if teacher is None:
        return hard
    with torch.no_grad():
        want = teacher(x).reshape(len(out), -1)
    student, taught = (F.log_softmax(v.reshape(len(v), -1) / temperature, 1) for v in (out, want))
    soft = F.kl_div(student, taught, log_target=True, reduction="batchmean")
    return (hard + soft * temperature ** 2) / 2


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


def _save(path, q, optimizer, schedule, history, epochs, mode) -> None:
    if path is None:
        return
    with store.whole(path) as tmp:
        torch.save({"key": _key(q, epochs, mode), "net": q.state_dict(), "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(), "history": history}, tmp)


def _resume(path, q, optimizer, schedule, epochs, mode) -> list[dict]:
    if path is None or not Path(path).exists():
        return []
    try:
        state = torch.load(path, weights_only=True)
        key = state["key"]
    except Exception as e:  # pickle, zip and torch raise many kinds for a damaged file
        raise UserError(f"{path}: not a checkpoint of this program, or damaged ({type(e).__name__}); delete it to start anew") from None
    if key != _key(q, epochs, mode):
        raise UserError(f"{path}: a checkpoint of another model, plan or training; delete it or give another file")
    q.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return list(state["history"])


def _key(q: QuantNet, epochs: int, mode: str) -> str:
    return store.digest(q.net.hash, store.canonical({k: str(v) for k, v in q.plan.options.items()}), str(epochs), mode)
