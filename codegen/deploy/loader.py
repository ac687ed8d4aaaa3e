"""Runs the compiled network of a folder: python run.py INPUT.npy... OUTPUT.npy, or import it; needs Python and numpy only.

    import run
    model = run.Model()          # of the folder that run.py lies in
    y = model(x)                 # integers (N, *shape) in, the output's dtype out; several inputs in the order of model.inputs
"""
import ctypes
import hashlib
import json
import math
import platform
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

WHAT = "compiled model"
ALIGN = 64


class ModelError(Exception):
    """One line: what is wrong, and what to do."""


class Model:
    """A compiled network; threads: 0 takes one for each CPU that this process may use.

    ModelError: files missing or damaged, another kind of machine, an instruction set that this CPU lacks.
    """

    def __init__(self, folder: Path | str | None = None, threads: int = 0):
        folder = Path(folder or Path(__file__).parent)
        self.handle, self.lock = None, threading.Lock()
        self.manifest = manifest(folder)
        self.inputs, self.output, name = self.manifest["inputs"], self.manifest["output"], self.manifest["name"]
        self.library = _library(folder, self.manifest)
        create, self._run, self._error, self._destroy = [getattr(self.library, f"{name}_{f}") for f in ("create", "run", "error", "destroy")]
        create.restype, create.argtypes = ctypes.c_void_p, [ctypes.c_int]
        self._error.restype, self._destroy.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        self._run.argtypes = [ctypes.c_void_p] * (len(self.inputs) + 2) + [ctypes.c_size_t]
        self.handle = create(threads)
        if not self.handle:
            raise ModelError(f"{folder}: {self._error().decode()}")

    def __del__(self):
        if self.handle:
            self._destroy(self.handle)
            self.handle = None

    def __call__(self, *xs) -> np.ndarray:
        """ModelError: another number of arrays, another shape, no integers, values outside an interval."""
        if len(xs) != len(self.inputs):
            raise ModelError(f"{len(xs)} arrays, where the model has {len(self.inputs)} inputs: {', '.join(i['name'] for i in self.inputs)}")
        xs = [_checked(i, np.asarray(x)) for i, x in zip(self.inputs, xs)]
        if len({len(x) for x in xs}) != 1:
            raise ModelError(f"inputs of {', '.join(str(len(x)) for x in xs)} samples; give as many of each")
        return self.words(*xs)

    def words(self, *xs: np.ndarray) -> np.ndarray:
        """The same on arrays that are known to be of the right shapes and dtypes, in C order."""
        y = _aligned((len(xs[0]), *self.output["shape"]), np.dtype(self.output["dtype"]))
        with self.lock:  # one call at a time: they share working memory
            if self._run(self.handle, *map(_address, xs), _address(y), len(y)):
                raise ModelError(self._error().decode())
        return y


def manifest(folder: Path) -> dict:
    """What the folder says of itself.  ModelError: no such folder, a damaged manifest."""
    path = folder / "manifest.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        head = {k: data.pop(k) for k in ("qsearch", "version", "hash")}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; expected a qsearch {WHAT}") from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as e:
        raise ModelError(f"{path}: not readable, not JSON, or cut off ({e}); build it again") from None
    if head["qsearch"] != WHAT or head["version"] != 1:
        raise ModelError(f"{path}: a qsearch {head['qsearch']} of version {head['version']}, where a {WHAT} of version 1 is needed")
    if head["hash"] != _digest(WHAT, json.dumps(data, sort_keys=True, separators=(",", ":"))):
        raise ModelError(f"{path}: the hash inside does not match the content; it was damaged or edited, build it again")
    return data


def _digest(*parts: str) -> str:
    h = hashlib.sha256()
    for b in map(str.encode, parts):
        h.update(len(b).to_bytes(8, "little") + b)
    return h.hexdigest()[:16]


def _library(folder: Path, manifest: dict) -> ctypes.CDLL:
    """The shared library, after a look at its hash: damaged code is not run."""
    name, machine = f"lib{manifest['name']}.so", platform.machine()
    path = folder / name
    code = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(code).hexdigest() != manifest["files"][name]:
        raise ModelError(f"{path}: missing, or not the library that manifest.json was written with; build it again")
    if sys.platform != "linux" or machine != manifest["machine"]:
        raise ModelError(f"{path}: built for {manifest['machine']} Linux ({manifest['target']}), this machine is {machine} {sys.platform}; "
                         "build it for this machine")
    # The dynamic linker knows a library by its path: a copy under a name of its own cannot be taken for an older build.
    private = tempfile.mkdtemp()
    copy = Path(private) / f"{manifest['files'][name]}.so"
    try:
        copy.write_bytes(code)
        return ctypes.CDLL(str(copy))
    except OSError:  # no room, or a system that runs nothing from its folder of temporary files
        return _in_place(path)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _in_place(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path.resolve()))
    except OSError as e:
        raise ModelError(f"{path}: cannot be loaded here ({e}); build it again on this machine") from None


def _checked(i: dict, x: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "iu" and x.dtype != bool:
        raise ModelError(f"input {i['name']!r} takes integers, not {x.dtype}")
    if x.shape[1:] != tuple(i["shape"]) or x.ndim == 0:
        raise ModelError(f"input {i['name']!r} takes {_shape(['N', *i['shape']])}, not {_shape(x.shape)}")
    if x.size and (x.min() < i["lo"] or x.max() > i["hi"]):
        raise ModelError(f"input {i['name']!r} takes integers in [{i['lo']}, {i['hi']}], got [{x.min()}, {x.max()}]")
    return np.ascontiguousarray(x, i["dtype"])


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that starts at a multiple of 64, where the code can write without a copy."""
    size = dtype.itemsize * math.prod(shape)
    room = np.empty(size + ALIGN, np.uint8)
    start = -_address(room) % ALIGN
    return room[start:start + size].view(dtype).reshape(shape)


def _address(a: np.ndarray) -> int: return a.__array_interface__["data"][0]


def _shape(sizes) -> str: return f"({', '.join(map(str, sizes))})"


def main(arguments: list[str]) -> int:
    try:
        model = Model()
        if len(arguments) != len(model.inputs) + 1:
            print(f"usage: run.py {' '.join(i['name'] + '.npy' for i in model.inputs)} OUTPUT.npy", file=sys.stderr)
            return 2
        try:
            xs = [np.load(a) for a in arguments[:-1]]
            y = model(*xs)
            with open(arguments[-1], "wb") as f:
                np.save(f, y)
        except (OSError, ValueError, EOFError) as e:
            raise ModelError(f"cannot read or write {' '.join(arguments)}: {e}") from None
    except ModelError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
