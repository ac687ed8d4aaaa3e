"""A language model's folder: lm.json says what it is, lm.npz holds the numbers, ternary weights five to a byte."""
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np

from .. import store
from ..errors import UserError
from .program import Curve, Gain, Glu, Layer, Mixer, Program, Projection, check
from .trits import pack, unpack
from .words import Words

KIND, JSON, ARRAYS = "language model", "lm.json", "lm.npz"
CLASSES = {c.__name__: c for c in (Program, Words, Layer, Mixer, Glu, Projection, Gain, Curve)}
TERNARY = "codes"  # the field that is packed


def is_lm(folder: Path | str) -> bool:
    """Whether a path is the folder of a language model."""
    return (Path(folder) / JSON).is_file()


def save_lm(p: Program, folder: Path | str) -> str:
    """Both files in `folder`, whole or not at all; returns the model's hash.  UserError: see `check`; it cannot be written."""
    folder, arrays = Path(folder), {}
    tree = _split("", check(p), arrays)
    text, h = store.document(KIND, {"model": tree, "arrays": store.arrays_digest(arrays)})
    with store.whole(folder / ARRAYS) as weights, store.whole(folder / JSON) as about:
        with open(weights, "wb") as f:
            np.savez_compressed(f, **arrays)
        about.write_text(text, encoding="utf-8")
    return h


def load_lm(folder: Path | str) -> Program:
    """The model in `folder`.  UserError: missing, foreign, damaged, or shapes that do not belong together."""
    folder = Path(folder)
    body = store.load_json(folder / JSON, KIND)
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as z:
            arrays = {k: z[k] for k in z.files}
    except FileNotFoundError:
        raise UserError(f"{folder / ARRAYS}: no such file; it belongs to {folder / JSON}") from None
    except Exception as e:  # numpy and zipfile raise many kinds for a damaged archive
        raise UserError(f"{folder / ARRAYS}: damaged or cut off ({e}); make the model again") from None
    if store.arrays_digest(arrays) != body["arrays"]:
        raise UserError(f"{folder / ARRAYS}: not the numbers that {JSON} was written with; make the model again")
    return check(_join("", body["model"], arrays))


def lm_hash(p: Program) -> str:
    """What names a model: all that it computes with, whatever is told about it."""
    arrays: dict[str, np.ndarray] = {}
    tree = _split("", p, arrays)
    return store.digest(KIND, store.canonical({k: v for k, v in tree.items() if k not in ("reals", "about", "vocab")}),
                        store.arrays_digest({k: v for k, v in arrays.items() if not k.startswith("reals.")}))


def _split(name: str, part, arrays: dict):
    """What JSON holds of a part of the model; its arrays are put beside, by dotted name."""
    if is_dataclass(part):
        out = {"is": type(part).__name__}
        for f in fields(part):
            v, at = getattr(part, f.name), f"{name}.{f.name}".lstrip(".")
            out[f.name] = _packed(at, v, arrays) if f.name == TERNARY else _split(at, v, arrays)
        return out
    if isinstance(part, np.ndarray):
        arrays[name] = part if part.dtype.kind == "f" else part.astype(store.narrowest(part))
        return {"is": "array"}
    if isinstance(part, tuple) and part and is_dataclass(part[0]):
        return [_split(f"{name}.{n}", v, arrays) for n, v in enumerate(part)]
    if isinstance(part, dict) and any(isinstance(v, np.ndarray) for v in part.values()):
        return {"is": "arrays", "of": [[k, _split(f"{name}.{k}", v, arrays)] for k, v in part.items()]}
    return part


def _packed(name: str, codes: np.ndarray, arrays: dict) -> dict:
    arrays[name] = pack(codes)
    return {"is": "ternary", "columns": codes.shape[1]}


def _join(name: str, tree, arrays: dict):
    def inner(k, v): return _join(f"{name}.{k}".lstrip("."), v, arrays)
    match tree:
        case {"is": "ternary", "columns": columns}:
            return unpack(arrays[name], columns)
        case {"is": "array"}:
            a = arrays[name]
            return a if a.dtype.kind == "f" else a.astype(np.int64)
        case {"is": "arrays", "of": items}:
            return {k: inner(k, v) for k, v in items}
        case {"is": str() as kind, **values} if kind in CLASSES:
            made = {k: inner(k, v) for k, v in values.items()}
            return CLASSES[kind](**made)
        case list() if all(isinstance(v, dict) for v in tree):
            return tuple(inner(n, v) for n, v in enumerate(tree))
        case list():
            return tuple(tree)
    return tree
