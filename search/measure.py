"""Damage tables, cell by cell; what was measured survives a kill."""
import contextlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ir import Table, UserError
from ir.store import canonical, digest, save_text

from .metrics import METRICS
from .probe import Probe, Remembering

Cell = tuple[str, str, str]  # metric, layer, option


def measure(probe: Probe, metrics: Sequence[str], options: Mapping[str, Iterable[str]], cache: Path | str | None = None,
            progress: Callable[[int, int, str], None] | None = None) -> dict[str, Table]:
    """{metric: damage table} over `options`, {layer: option texts}.

    Cells found in the file `cache` under the same probe.key are not measured again; every new one is appended at once.
    progress(done, total, text) is called before each cell and once at the end.
    UserError: unknown metric or layer, a result that is not finite, or a cache that cannot be written.
    """
    named = [METRICS[m] for m in metrics]
    if unknown := [k for k in options if k not in probe.layers]:
        raise UserError(f"the model has no layer {unknown[0]!r} to quantize (it has {', '.join(probe.layers)})")
    cells = [(m.name, layer, o) for layer in options for o in options[layer] for m in named]
    known = _load(Path(cache), probe.key) if cache else {}
    shared = Remembering(probe)
    with _Appender(cache) as append:
        for done, cell in enumerate(cells):
            if progress:
                progress(done, len(cells), f"{cell[0]} {cell[1]} {cell[2]}")
            if cell not in known:
                known[cell] = _finite(METRICS[cell[0]](shared, cell[1], cell[2]), cell)
                append(_line(probe.key, cell, known[cell]))
    if progress:
        progress(len(cells), len(cells), "")
    return {m.name: Table(m.name, "damage", {k: {o: known[m.name, k, o] for o in options[k]} for k in options}, m.unit,
                          {"probe": probe.key}) for m in named}


def _finite(v: float, cell: Cell) -> float:
    if not math.isfinite(v):
        raise UserError(f"metric {cell[0]!r}: layer {cell[1]!r} with {cell[2]!r} gives {v}; "
                        "leave this option out, or calibrate on other samples")
    return float(v)


def _line(key: str, cell: Cell, value: float) -> str:
    body = [key, *cell, value]
    return canonical([digest(canonical(body)), body]) + "\n"


def _load(path: Path, key: str) -> dict[Cell, float]:
    """The cells of this probe.  Lines that are torn or altered are dropped from the file; those of other probes stay."""
    try:
        lines = path.read_text(errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise UserError(f"cannot read the cache {path}: {e.strerror or e}; name another file") from None
    whole = [(line, body) for line in lines if (body := _body(line))]
    if len(whole) < len(lines):
        save_text(path, "".join(line for line, _ in whole))
    return {(m, layer, o): v for _, (k, m, layer, o, v) in whole if k == key}


def _body(line: str) -> list | None:
    try:
        check, body = json.loads(line)
    except (ValueError, TypeError):
        return None
    return body if line.endswith("\n") and isinstance(body, list) and len(body) == 5 and check == digest(canonical(body)) else None


class _Appender:
    """Context of a function that appends one line and hands it to the system before it returns; without a path it does nothing."""

    def __init__(self, path: Path | str | None):
        self.path, self.file = path, None

    def __enter__(self) -> Callable[[str], None]:
        if self.path is not None:
            with self._told():
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
                self.file = open(self.path, "ab", buffering=0)
        return self._append

    def __exit__(self, *_) -> None:
        if self.file:
            self.file.close()

    def _append(self, line: str) -> None:
        if self.file:
            with self._told():
                self.file.write(line.encode())

    @contextlib.contextmanager
    def _told(self):
        try:
            yield
        except OSError as e:
            raise UserError(f"cannot write the cache {self.path}: {e.strerror or e}; "
                            "choose a folder that can be written, with room") from None
