"""Samples in: `file.npz`, `package.module:factory` or arrays, checked and split into calibration and evaluation."""
import importlib
import os
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ir import UserError
from ir.store import arrays_digest

CALIBRATION = 512  # samples at most that calibrate when the data names none


@dataclass
class Data:
    """Model inputs `x` (N, *input) float32 with labels `y` (N,) or None to evaluate on, and others to calibrate with."""
    x: np.ndarray
    y: np.ndarray | None
    calib_x: np.ndarray
    calib_y: np.ndarray | None
    name: str = "arrays"

    @property
    def key(self) -> str:
        """Hash of every value."""
        parts = {"x": self.x, "y": self.y, "calib_x": self.calib_x, "calib_y": self.calib_y}
        return arrays_digest({k: v for k, v in parts.items() if v is not None})


def load_data(spec, limit: int | None = None) -> Data:
    """Data from a spec.

    An npz file holds `x` (N, *input), as the model takes them, and `y` (N,) if there are labels, and may hold
    `calib_x`, `calib_y`.  A factory returns such arrays as a dict, a pair (x, y), or an iterable of batches (a DataLoader).
    Without calibration samples of their own, the first half of x (at most 512) calibrates and the rest evaluates.
    `limit` bounds the evaluation samples.  UserError: missing or cut-off file, missing arrays, NaN, Inf, nothing in it.
    """
    if isinstance(spec, Data):
        return spec
    if isinstance(spec, (str, Path)):
        name = str(spec)
        arrays = _npz(Path(name)) if name.endswith(".npz") or "/" in name else _factory(name)
    else:
        name, arrays = "arrays", _arrays(spec, "the data")
    return _split(arrays, name, limit)


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as z:
            return {k: z[k] for k in z.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; data is an .npz with arrays x and y, or package.module:factory") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        why = str(e).splitlines()[0]
        raise UserError(f"{path}: not an .npz file, or cut off ({why}); save it with numpy.savez(path, x=..., y=...)") from None


def resolve(spec: str, what: str):
    """What `package.module:name` names; the working directory can be imported from.  UserError: it does not exist."""
    module, colon, attr = spec.partition(":")
    if not colon or not module or not attr:
        raise UserError(f"{what} {spec!r} is neither a file that exists nor package.module:factory")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except ImportError as e:
        raise UserError(f"{what} {spec!r}: cannot import {module}: {e}") from None
    if not hasattr(found, attr):
        raise UserError(f"{what} {spec!r}: {module} has no {attr!r}")
    return getattr(found, attr)


def _factory(spec: str) -> dict[str, np.ndarray]:
    try:
        made = resolve(spec, "data")()
    except UserError:
        raise
    except Exception as e:
        raise UserError(f"data {spec!r}: the factory raised {type(e).__name__}: {e}") from e
    return _arrays(made, f"data {spec!r}")


def _arrays(made, what: str) -> dict[str, np.ndarray]:
    if isinstance(made, dict):
        return {k: np.asarray(v) for k, v in made.items() if v is not None}
    if isinstance(made, np.ndarray) or hasattr(made, "numpy"):
        return {"x": np.asarray(made)}
    if isinstance(made, (tuple, list)) and len(made) == 2 and hasattr(made[0], "shape"):
        return {"x": np.asarray(made[0]), "y": np.asarray(made[1])}
    if not isinstance(made, Iterable):
        raise UserError(f"{what} gave a {type(made).__name__}; a dict of arrays, (x, y) or an iterable of batches is needed")
    xs, ys = [], []
    for batch in made:
        x, y = batch if isinstance(batch, (tuple, list)) else (batch, None)
        xs.append(np.asarray(x))
        ys += [] if y is None else [np.asarray(y)]
    if not xs:
        raise UserError(f"{what} gave no batches; at least one sample is needed")
    return {"x": np.concatenate(xs)} | ({"y": np.concatenate(ys)} if ys else {})


def _split(arrays: dict[str, np.ndarray], name: str, limit: int | None) -> Data:
    if "x" not in arrays:
        raise UserError(f"{name}: no array 'x' (it has {', '.join(arrays) or 'nothing'}); x holds the model's inputs, y the labels")
    x, y = _samples(arrays["x"], f"{name}: x"), arrays.get("y")
    if y is not None and len(y) != len(x):
        raise UserError(f"{name}: {len(x)} samples in x, but {len(y)} labels in y")
    if "calib_x" in arrays:
        cx, cy = _samples(arrays["calib_x"], f"{name}: calib_x"), arrays.get("calib_y")
        if cx.shape[1:] != x.shape[1:]:
            raise UserError(f"{name}: calib_x {cx.shape} and x {x.shape} hold samples of different shapes")
    elif len(x) == 1:
        cx, cy = x, y
    else:
        n = min(CALIBRATION, len(x) // 2)
        cx, cy, x, y = x[:n], None if y is None else y[:n], x[n:], None if y is None else y[n:]
    return Data(x[:limit], None if y is None else y[:limit], cx, cy, name)


def _samples(x: np.ndarray, what: str) -> np.ndarray:
    if x.ndim < 2 or len(x) == 0:
        raise UserError(f"{what} has the shape {x.shape}; (N, *input) with at least one sample is needed")
    if x.dtype.kind not in "fiub":
        raise UserError(f"{what} is of type {x.dtype}; numbers are needed")
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x).reshape(len(x), -1).all(1)).argmax())
        raise UserError(f"{what} holds NaN or Inf (first in sample {bad}); clean the data first")
    return x
