"""The state of a training in one file, from which it goes on bit for bit."""
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ir import UserError, store
from ..model import QuantNet
from .recipe import Recipe


@dataclass
class Progress:
    """Where a training stands: finished epochs, steps of the one under way and the sum of its losses."""
    history: list[dict] = field(default_factory=list)
    step: int = 0
    total: float = 0.0


def key(q: QuantNet, recipe: Recipe, images: int, *more: str) -> str:
    """What a checkpoint belongs to."""
    options = {k: str(v) for k, v in q.plan.options.items()}
    return store.digest(q.net.hash, store.canonical(options), repr(recipe), str(images), *more)


def save(path: Path | str, belongs: str, progress: Progress, parts: dict) -> None:
    """parts: name -> what has a state_dict."""
    with store.whole(path) as tmp:
        torch.save({"key": belongs, "progress": vars(progress), "parts": {k: p.state_dict() for k, p in parts.items()}}, tmp)


def resume(path: Path | str | None, belongs: str, parts: dict) -> Progress:
    """Where to go on, with the parts as they were.  UserError: a damaged file, or one that belongs to something else."""
    if path is None or not Path(path).exists():
        return Progress()
    try:
        state = torch.load(path, weights_only=True)
        found, progress, states = state["key"], Progress(**state["progress"]), state["parts"]
    except Exception as e:  # pickle, zip and torch raise many kinds for a damaged file
        raise UserError(f"{path}: not a checkpoint of this program, or damaged ({type(e).__name__}); delete it to start anew") from None
    if found != belongs or states.keys() != parts.keys():
        raise UserError(f"{path}: a checkpoint of another model, plan or training; delete it or give another file")
    for name, part in parts.items():
        part.load_state_dict(states[name])
    return progress
