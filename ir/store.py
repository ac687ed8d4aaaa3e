"""Files: whole or not at all, versioned, with a hash inside that a later reader checks."""
import contextlib
import glob
import hashlib
import json
import os
import secrets
import time
from pathlib import Path

import numpy as np

from .errors import UserError
from .graph import Encoding, Graph
from .opset import ARRAYS, OPS, Input, Ints, constants
from .infer import kind

VERSION = 1
HEADER = {"qsearch", "version", "hash"}
MAX_JSON_BYTES = 1 << 28
STALE_SECONDS = 24 * 3600  # a .part this old belongs to nobody who still writes


@contextlib.contextmanager
def whole(path: Path | str):
    """Yields a temporary path beside `path`, which replaces `path` if the body ends well and vanishes if not.

    Killed at any moment, it leaves the old file as it was (and perhaps a `.part` beside it, which a later save clears away).
    UserError: nothing can be written there.
    """
    path = Path(path)
    tmp = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"cannot write {path}: it is a folder or a device; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_stale(path)
        tmp.touch(exist_ok=False)
    except OSError as e:
        raise UserError(f"cannot write {path}: {e.strerror or e}; choose a folder that can be written") from None
    try:
        yield tmp
        with open(tmp, "rb") as f:
            os.fsync(f.fileno())
        os.replace(tmp, path)
    except OSError as e:
        if e.filename not in (None, tmp, str(tmp)):
            raise  # the body's own trouble with another file
        raise UserError(f"cannot write {path}: {e.strerror or e}") from e
    finally:
        tmp.unlink(missing_ok=True)


def save_text(path: Path | str, text: str) -> None:
    with whole(path) as tmp:
        tmp.write_text(text, encoding="utf-8")


def digest(*parts: bytes | str) -> str:
    """Short hex SHA-256 of the parts, each with its length so that they cannot run together."""
    h = hashlib.sha256()
    for p in parts:
        b = p.encode() if isinstance(p, str) else p
        h.update(len(b).to_bytes(8, "little") + b)
    return h.hexdigest()[:16]


def canonical(data) -> str: return json.dumps(data, sort_keys=True, separators=(",", ":"), default=_plain)


def save_json(path: Path | str, what: str, data: dict) -> str:
    """Write `data` as a qsearch file of kind `what`; returns its hash."""
    text, h = document(what, data)
    save_text(path, text)
    return h


def load_json(path: Path | str, what: str) -> dict:
    """The data of a file that save_json(path, what, data) wrote.  UserError: missing, foreign, newer or damaged."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"{path}: {path.stat().st_size} bytes is too large for a qsearch {what}")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a qsearch {what}") from None
    except OSError as e:
        raise UserError(f"cannot read {path}: {e.strerror or e}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise UserError(f"{path}: not JSON, or cut off ({e}); expected a qsearch {what}, make it again") from None
    if not isinstance(data, dict) or "qsearch" not in data:
        raise UserError(f"{path}: not a qsearch file; expected a qsearch {what}")
    if data["qsearch"] != what:
        raise UserError(f"{path}: a qsearch {data['qsearch']}, where a {what} is needed")
    if data.get("version") != VERSION:
        raise UserError(f"{path}: written in version {data.get('version')} of the file format, "
                        f"this program reads version {VERSION}; make it again, or use the program that wrote it")
    h = data.get("hash")
    body = {k: v for k, v in data.items() if k not in HEADER}
    if h != digest(what, canonical(body)):
        raise UserError(f"{path}: the hash inside does not match the content; the file was damaged or edited, make it again")
    return body


def save_graph(g: Graph, folder: Path | str) -> str:
    """graph.json + weights.npz in `folder`; returns the graph's hash.

    Both are written before either takes its place, and graph.json vouches for the arrays: load_graph refuses a torn pair.
    """
    folder = Path(folder)
    arrays = {f"{n.name}:{a}": v for n in g.nodes.values() for a, v in constants(n.op).items()}
    text, _ = document("graph", {
        "nodes": [{"name": n.name, "op": kind(n.op), "args": list(n.args), **_attributes(n.op)} for n in g.nodes.values()],
        "result": g.output.name,
        "encodings": {k: [e.scale, e.zero] for k, e in g.encodings.items()},
        "weights": arrays_digest(arrays)})
    with whole(folder / "weights.npz") as weights, whole(folder / "graph.json") as graph:
        with open(weights, "wb") as f:
            np.savez(f, **{k: v.astype(narrowest(v)) for k, v in arrays.items()})
        graph.write_text(text, encoding="utf-8")
    return graph_hash(g)


def load_graph(folder: Path | str) -> Graph:
    """The graph that save_graph wrote into `folder` (or its graph.json); every type is inferred anew."""
    folder = Path(folder)
    folder = folder.parent if folder.name == "graph.json" else folder
    body = load_json(folder / "graph.json", "graph")
    try:
        with np.load(folder / "weights.npz", allow_pickle=False) as z:
            arrays = {k: z[k].astype(np.int64) for k in z.files}
    except FileNotFoundError:
        raise UserError(f"{folder / 'weights.npz'}: no such file; it belongs to {folder / 'graph.json'}") from None
    except Exception as e:  # numpy and zipfile raise many kinds for a damaged archive
        raise UserError(f"{folder / 'weights.npz'}: damaged or cut off ({e}); make the graph again") from None
    if arrays_digest(arrays) != body["weights"]:
        raise UserError(f"{folder / 'weights.npz'}: not the weights that graph.json was written with; make the graph again")
    kinds = {c.__name__.lower(): c for c in OPS}
    g = Graph()
    for n in body["nodes"]:
        if n["op"] not in kinds:
            raise UserError(f"{folder / 'graph.json'}: unknown op {n['op']!r} (known: {', '.join(kinds)})")
        cls, attrs = kinds[n["op"]], {k: _tuples(v) for k, v in n.items() if k not in ("name", "op", "args")}
        if cls is Input:
            attrs = {"type": Ints(*attrs["type"])}
        attrs |= {a: arrays[f"{n['name']}:{a}"] for a in ARRAYS.get(cls, ())}
        g.add(n["name"], cls(**attrs), *n["args"])
    g.result = body["result"]
    g.encodings = {k: Encoding(*v) for k, v in body["encodings"].items()}
    return g


def graph_hash(g: Graph) -> str:
    """What names a graph: its nodes, constants and encodings, whatever order the nodes stand in."""
    parts = []
    for _, n in sorted(g.nodes.items()):
        parts += [canonical([n.name, kind(n.op), n.args, _attributes(n.op)]), arrays_digest(constants(n.op))]
    return digest(*parts, g.output.name, canonical({k: [e.scale, e.zero] for k, e in g.encodings.items()}))


def arrays_digest(arrays: dict[str, np.ndarray]) -> str:
    """One hash of named arrays: names, shapes and values."""
    return digest(*(p for k in sorted(arrays) for p in (k, str(arrays[k].shape), np.ascontiguousarray(arrays[k]).tobytes())))


def document(what: str, data: dict) -> tuple[str, str]:
    """The text of a qsearch file of kind `what`, and the hash that is in it."""
    if taken := HEADER & set(data):
        raise ValueError(f"a {what} with fields {sorted(taken)}: these names belong to the file's own header")
    h = digest(what, canonical(json.loads(canonical(data))))
    return json.dumps({"qsearch": what, "version": VERSION, "hash": h, **data}, indent=1, default=_plain) + "\n", h


def _clear_stale(path: Path) -> None:
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > STALE_SECONDS:
                old.unlink()


def _attributes(op) -> dict:
    if isinstance(op, Input):
        return {"type": [op.type.shape, op.type.lo, op.type.hi]}
    return {k: v for k, v in vars(op).items() if k not in constants(op)}


def narrowest(a: np.ndarray):
    for t in (np.int8, np.int16, np.int32):
        if a.size == 0 or (a.min() >= np.iinfo(t).min and a.max() <= np.iinfo(t).max):
            return t
    return np.int64


def _tuples(v): return tuple(map(_tuples, v)) if isinstance(v, list) else v


def _plain(v):
    if isinstance(v, np.generic):
        return v.item()
    if isinstance(v, (set, frozenset)):
        return sorted(v)
    if isinstance(v, Path):
        return str(v)
    raise TypeError(f"{type(v).__name__} does not go into a JSON file")
