"""Speaks with the compiled language model of a folder: python run.py "prompt", or import it; needs Python and numpy only.

    import run
    model = run.Model()                      # of the folder that run.py lies in
    print(model.text("To be", 100, k=8, temperature=0.8, seed=1))
    for token in model.generate([3, 1, 4], 10): ...
"""
import ctypes
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

WHAT = "compiled language model"
C = ctypes
FUNCTIONS = {  # name -> (result, arguments behind the model)
    "sampler": (C.c_int, [C.c_int, C.c_int, C.c_uint32]), "step": (C.c_int, [C.c_int32, C.c_int]), "next": (C.c_int32, []), "reset": (None, []),
    "save": (None, [C.c_void_p]), "restore": (C.c_int, [C.c_void_p]), "trace": (C.c_int, [C.c_int32]),
    "value": (C.c_ssize_t, [C.c_char_p, C.c_void_p, C.c_size_t]), "encode": (C.c_ssize_t, [C.c_char_p, C.c_void_p, C.c_size_t]),
    "weights": (C.c_void_p, [C.POINTER(C.c_size_t)]), "destroy": (None, [])}


class ModelError(ValueError):
    """One line: what is wrong, and what to do."""


class Model:
    """A compiled language model on so many threads.

    ModelError: files missing or damaged, weights of another model, an instruction set that this CPU lacks, more threads than it was built for.
    """

    def __init__(self, folder: Path | str | None = None, threads: int = 1, weights: Path | str | None = None):
        folder, self.handle = Path(folder or Path(__file__).parent), None
        self.manifest = manifest(folder)
        self.name, self.vocab, self.tokens = self.manifest["name"], self.manifest["vocab"], self.manifest["lm"]["tokens"]
        self.library = _library(folder, self.manifest)
        self._error = self._function("error", C.c_char_p, [])
        state_bytes = self._function("state_bytes", C.c_size_t, [])
        self.state_bytes = state_bytes()
        self._calls = {f: self._function(f, result, [C.c_void_p, *arguments]) for f, (result, arguments) in FUNCTIONS.items()}
        create = self._function("create", C.c_void_p, [C.c_char_p, C.c_int])
        self.handle = create(str(weights or folder / f"{self.name}.weights").encode(), threads)
        if not self.handle:
            raise ModelError(self._error().decode())

    def _function(self, name: str, result, arguments: list):
        f = getattr(self.library, f"{self.name}_{name}")
        f.restype, f.argtypes = result, arguments
        return f

    def _call(self, name: str, *arguments):
        """ModelError: the function failed."""
        out = self._calls[name](self.handle, *arguments)
        if isinstance(out, int) and out < 0:
            raise ModelError(self._error().decode())
        return out

    def __del__(self):
        if self.handle:
            self._calls["destroy"](self.handle)
            self.handle = None

    def reset(self) -> None:
        """As at the beginning of a text."""
        self._call("reset")

    def sampler(self, k: int = 1, temperature: float = 1.0, seed: int = 1) -> None:
        """ModelError: out of range."""
        if not temperature > 0:
            raise ModelError(f"temperature {temperature}: give a positive one, or top-k 1 for the likeliest token")
        self.sampler_of(k, round(256 / temperature), seed)

    def sampler_of(self, k: int, inverse: int, seed: int) -> None:
        """The sampler by the integers that it computes with: inverse = 256 / temperature."""
        if not 0 < seed < 1 << 32:
            raise ModelError(f"seed {seed}: take 1 to {(1 << 32) - 1}; xorshift stays at 0")
        self._call("sampler", k, min(inverse, 1 << 30), seed)

    def step(self, token: int, wanted: bool = True) -> None:
        """One token; wanted: whether `next` is asked for behind it."""
        self._call("step", token, wanted)

    def next(self) -> int:
        """The token that the sampler takes."""
        return self._call("next")

    def generate(self, prompt: list[int], count: int) -> Iterator[int]:
        """`count` tokens behind a prompt.  ModelError: no prompt, a token out of the vocabulary."""
        if not len(prompt) or count < 1:
            raise ModelError(f"{count} tokens after a prompt of {len(prompt)}; give at least one of each")
        for n, token in enumerate(prompt):
            self.step(token, n + 1 == len(prompt))
        for left in range(count, 0, -1):
            token = self.next()
            yield token
            if left > 1:
                self.step(token)

    def text(self, prompt: str, count: int, k: int = 1, temperature: float = 1.0, seed: int = 1) -> str:
        """`count` tokens behind a prompt, as text, from the beginning of a text."""
        self.reset()
        self.sampler(k, temperature, seed)
        return "".join(self.vocab[t] for t in self.generate(self.encode(prompt), count))

    def encode(self, text: str) -> list[int]:
        """ModelError: a letter that begins no piece of the vocabulary; a model without one."""
        out = np.empty(len(text.encode()) + 1, np.int32)
        count = self._call("encode", text.encode(), out.ctypes.data, len(out))
        return out[:count].tolist()

    def save(self) -> bytes:
        """The states of the text so far and the sampler."""
        room = C.create_string_buffer(self.state_bytes)
        self._call("save", room)
        return room.raw

    def restore(self, state: bytes) -> None:
        """ModelError: of another model."""
        if len(state) != self.state_bytes:
            raise ModelError(f"a state of {len(state)} bytes, where this model's have {self.state_bytes}; restore one that this model saved")
        self._call("restore", state)

    def trace(self, token: int) -> None:
        """A step that keeps every value of the model's graph for `value`."""
        self._call("trace", token)

    def value(self, name: str) -> np.ndarray:
        """A value of the last traced step, by its name in the graph."""
        out = np.empty(self._call("value", name.encode(), None, 0), np.int64)
        self._call("value", name.encode(), out.ctypes.data, len(out))
        return out

    def weights(self) -> np.ndarray:
        """The bytes of packed weights in memory, which each token reads; they live as long as the model."""
        size = C.c_size_t()
        at = self._call("weights", C.byref(size))
        return np.frombuffer((C.c_uint8 * size.value).from_address(at), np.uint8)


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
    if head["qsearch"] != WHAT:
        raise ModelError(f"{path}: a qsearch {head['qsearch']}, where a {WHAT} is needed")
    return data


def _library(folder: Path, about: dict) -> ctypes.CDLL:
    """The shared library, after a look at its hash: damaged code is not run."""
    path = folder / f"lib{about['name']}.so"
    code = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(code).hexdigest() != about["files"][path.name]:
        raise ModelError(f"{path}: missing, or not the library that manifest.json was written with; build it again")
    try:
        return ctypes.CDLL(str(path.resolve()))
    except OSError as e:
        raise ModelError(f"{path}: cannot be loaded here ({e}); build it again on this machine") from None


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        print("usage: run.py PROMPT [TOKENS]; the program beside it takes more", file=sys.stderr)
        return 2
    try:
        model = Model()
        print(arguments[0] + model.text(arguments[0], int(arguments[1]) if len(arguments) > 1 else 100))
    except ValueError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
