"""A folder that link() wrote -> a callable model, without TVM."""
from pathlib import Path

import numpy as np

from ir import UserError

from ..words import check_feeds
from .loader import Model, ModelError


class Library:
    """A compiled graph: model(x) -> y, integers (N, *shape) in, int64 out; several inputs as {name: array}.

    UserError: wrong shape, values outside the input's interval.
    """

    def __init__(self, model: Model):
        self.model, self.manifest = model, model.manifest

    def __call__(self, x) -> np.ndarray:
        feeds = [np.ascontiguousarray(f) for f in check_feeds(self.manifest["inputs"], x).values()]
        if len({len(f) for f in feeds}) != 1:
            raise UserError(f"inputs of {', '.join(str(len(f)) for f in feeds)} samples; give as many of each")
        try:
            return self.model.words(*feeds).astype(np.int64)
        except ModelError as e:
            raise UserError(str(e)) from None


def load(folder: Path | str, threads: int = 0) -> Library:
    """What link wrote into the folder; threads: 0 takes one for each CPU that the process may use.

    UserError: missing, damaged, built for another machine or for instructions that this CPU lacks.
    """
    try:
        return Library(Model(folder, threads))
    except ModelError as e:
        raise UserError(str(e)) from None
