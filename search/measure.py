"""Damage tables, cell by cell; what was measured survives a kill."""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ir import Table, UserError

from .engines import ENGINES, Cell, Unit
from .ledger import Ledger
from .metrics import METRICS
from .probe import Probe, Remembering


def measure(probe: Probe, metrics: Sequence[str], options: Mapping[str, Iterable[str]], cache: Path | str | None = None,
            progress: Callable[[int, int, str], None] | None = None, *, engine: str = "local", workers: int = 1) -> dict[str, Table]:
    """{metric: damage table} over `options`, {layer: option texts}.

    Cells found in the file `cache` under the same probe.key are not measured again; every new one is appended at once.
    engine: a name in ENGINES; workers: processes at most (fewer where memory does not hold so many copies of the probe).
    progress(done, total, text) is called at the start and after each cell.
    UserError: unknown metric, layer or engine, a result that is not finite, or a cache that cannot be written.
    """
    named, run = [METRICS[m] for m in metrics], ENGINES[engine]
    if unknown := [k for k in options if k not in probe.layers]:
        raise UserError(f"the model has no layer {unknown[0]!r} to quantize (it has {', '.join(probe.layers)})")
    if workers < 1:
        raise UserError(f"{workers} workers; give 1 or more")
    cells = [(m.name, layer, o) for layer in options for o in options[layer] for m in named]
    known = Ledger(cache, probe.key)
    todo = [c for c in cells if c not in known]
    shared = Remembering(probe)
    first, *rest = units(todo) or [None]
    done = len(cells) - len(todo)
    if progress:
        progress(done, len(cells), "")
    # the first unit is measured here in any case: what a metric finds out once for all layers then travels to the workers
    for answers in ([run(shared, named, [first], 1)] if first else []) + [run(shared, named, rest, workers)]:
        for cell, value in answers:
            known.enter(cell, _finite(value, cell))
            done += 1
            if progress:
                progress(done, len(cells), " ".join(cell))
    about = {"probe": probe.key} | ({"model": probe.model} if getattr(probe, "model", "") else {})
    return {m.name: Table(m.name, "damage", {k: {o: known[m.name, k, o] for o in options[k]} for k in options}, m.unit, about) for m in named}


def units(cells: Sequence[Cell]) -> list[Unit]:
    """The cells as units of work: those of a layer that share their weights go together, as weights are rounded once."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell[1], cell[2].partition("/")[0]), []).append(cell)
    return [tuple(cells) for cells in found.values()]


def _finite(v: float, cell: Cell) -> float:
    if not math.isfinite(v):
        raise UserError(f"metric {cell[0]!r}: layer {cell[1]!r} with {cell[2]!r} gives {v}; "
                        "leave this option out, or calibrate on other samples")
    return float(v)
