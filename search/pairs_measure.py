"""Interactions measured: the model is run with two layers quantized at once."""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path

import numpy as np

from ir import Table, UserError

from .ledger import Ledger
from .measure import measure
from .metrics import METRICS
from .pairs import Pairs
from .probe import Probe, Remembering

LIMIT = 5000  # runs of the model

Which = str | Iterable[tuple[str, str]]


def measure_pairs(probe: Probe, options: Mapping[str, Sequence[str]], which: Which = "adjacent", metric: str = "kl",
                  cache: Path | str | None = None, progress: Callable[[int, int, str], None] | None = None, *,
                  limit: int = LIMIT) -> Pairs:
    """Damage of two layers quantized together less the damages of each alone, for all combinations of their options.

    which: `adjacent` (neighbours in the order of the data flow), `window:3` (at most 3 apart), `top:6` (among the 6 layers of the
    largest damage), `all`, or a list of pairs.  metric: one of the model's output, as kl, task or output_mse.
    An allocator should be given `tempered` ones: foretold damage may otherwise fall below 0.
    cache: as in `measure`, whose cells it shares; limit: runs of the model at most.
    UserError: no pairs, too many runs, unknown layers, a metric of one layer's inside, or a result that is not finite.
    """
    damage = measure(probe, [metric], options, cache)[metric]
    chosen = pairs_of(options, which, damage)
    cells = [(metric, a, b, p, q) for a, b in chosen for p, q in product(options[a], options[b])]
    if len(cells) > limit:
        raise UserError(f"{len(chosen)} pairs of layers with all their options are {len(cells)} runs of the model, more than {limit}; "
                        "name fewer pairs or options, raise the limit, or take search.gauss_newton_pairs, which needs no such runs")
    known = Ledger(cache, probe.key)
    shared = Remembering(probe)
    for done, cell in enumerate(cells):
        if progress:
            progress(done, len(cells), " ".join(cell))
        if cell not in known:
            known.enter(cell, _both(shared, *cell))
    if progress:
        progress(len(cells), len(cells), "")
    rows: dict[tuple[str, str], dict[tuple[str, str], float]] = {pair: {} for pair in chosen}
    for cell in cells:
        _, a, b, p, q = cell
        rows[a, b][p, q] = known[cell] - damage.rows[a][p] - damage.rows[b][q]
    return Pairs(metric, rows, damage.unit, damage.about | {"how": "measured", "which": which if isinstance(which, str) else "listed"})


def pairs_of(layers: Iterable[str], which: Which, damage: Table) -> list[tuple[str, str]]:
    """The pairs that `which` means (see measure_pairs), each in the order of `layers`.  UserError: none, or unknown layers."""
    names = list(layers)
    if isinstance(which, str):
        found = _named(names, which, damage)
    else:
        asked = [tuple(pair) for pair in which]
        if bad := [k for pair in asked for k in pair if k not in names]:
            raise UserError(f"a pair of layers names {bad[0]!r}, which has no options here (layers: {', '.join(names)})")
        if same := [pair for pair in asked if len(set(pair)) != 2]:
            raise UserError(f"a pair of layers is {same[0]}; name two different ones")
        found = list(dict.fromkeys(tuple(sorted(pair, key=names.index)) for pair in asked))
    if not found:
        raise UserError(f"no pair of layers is meant by {which!r} of the {len(names)} layers {', '.join(names)}; give two layers or more")
    return found


def _named(names: list[str], which: str, damage: Table) -> list[tuple[str, str]]:
    kind, _, number = which.partition(":")
    count = {"adjacent": 1, "all": len(names)}.get(which) or (int(number) if number.isdecimal() else 0)
    if kind == "top" and count:
        worst = sorted(names, key=lambda k: -max(damage.rows[k].values()))[:count]
        return list(combinations(sorted(worst, key=names.index), 2))
    if kind == "window" and count or which in ("adjacent", "all"):
        return [(a, b) for i, a in enumerate(names) for b in names[i + 1:i + 1 + count]]
    raise UserError(f"pairs {which!r}: give adjacent, window:3, top:6, all, or a list of pairs of layers")


def _both(probe: Probe, metric: str, a: str, b: str, p: str, q: str) -> float:
    v = METRICS[metric](Together(probe, {a: p, b: q}, metric), a, p)
    if not math.isfinite(v):
        raise UserError(f"metric {metric!r}: layers {a!r} with {p!r} and {b!r} with {q!r} together give {v}; leave one of these options out")
    return float(v)


def whole_plan(probe: Probe, metric: str) -> Callable[[Mapping[str, str]], float]:
    """A function of {layer: option}: the metric of the model's output with all of these layers quantized at once.

    UserError: an unknown metric, or one that looks inside a layer.
    """
    METRICS[metric]
    shared = Remembering(probe)
    def damage(options: Mapping[str, str]) -> float:
        layer, option = next(iter(options.items()))
        return float(METRICS[metric](Together(shared, options, metric), layer, option))
    return damage


class Together:
    """A probe whose outputs are those of one set of options, whatever is asked: so a metric of the output measures the whole set."""

    def __init__(self, probe: Probe, options: Mapping[str, str], metric: str):
        self.probe, self.options, self.metric = probe, dict(options), metric

    def reference(self) -> np.ndarray: return self.probe.reference()

    def labels(self) -> np.ndarray | None: return self.probe.labels()

    def outputs(self, _: Mapping[str, str]) -> np.ndarray: return self.probe.outputs(self.options)

    def __getattr__(self, asked: str):
        raise UserError(f"metric {self.metric!r} looks inside one layer (it asks for {asked}); layers together need a metric of the "
                        "model's output, such as kl, task or output_mse")
