"""Interactions foretold from runs with one layer quantized: errors of two layers add up in the outputs, to first order.

Near the float model's outputs z the damage is quadratic, 1/2 dz' F dz, with F = diag p - p p' for `kl`; with dz of several layers
the sum of each layer's own, the surplus of two is the cross term dz_i' F dz_j.  That is the matrix of cross sensitivities of
CLADO (Deng et al. 2023) with the Gauss-Newton matrix for the Hessian.  We differ: CLADO runs the model for each pair and then
repairs the matrix to be positive semidefinite; ours needs no pair runs and is a Gram matrix by construction.

Where errors are large the damage is no quadratic form any more (probabilities saturate), while changes of the outputs may still
add up: `superposed_pairs` puts the sum of two changes into the metric itself.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ir import Table, UserError

from .metrics import METRICS, classes, log_softmax, pair
from .pairs import Pairs
from .pairs_measure import Together
from .pairs_temper import tempered
from .probe import Probe, Remembering


@dataclass(frozen=True)
class Gram:
    """Cross sensitivities: damage of {cells chosen} = 1/2 sum over chosen i, j of matrix[i, j]; positive semidefinite."""
    cells: list[tuple[str, str]]  # layer, option
    matrix: np.ndarray            # (cells, cells)

    def matched(self, damage: Table) -> "Gram":
        """Scaled so that each cell alone has the damage that was measured; correlations stay, and so does semidefiniteness.

        Large errors do less damage than the quadratic form says, as probabilities saturate.
        """
        if missing := [(k, o) for k, o in self.cells if o not in damage.rows.get(k, {})]:
            raise UserError(f"damage table {damage.name!r} says nothing of layer {missing[0][0]!r} with {missing[0][1]!r}; measure the same menus")
        own = np.sqrt(np.diag(self.matrix))
        wanted = np.sqrt([2 * max(0.0, damage.rows[k][o]) for k, o in self.cells])
        scale = np.divide(wanted, own, out=np.zeros_like(own), where=own > 0)
        return Gram(self.cells, self.matrix * np.outer(scale, scale))


def gauss_newton(probe: Probe, options: Mapping[str, Sequence[str]], metric: str = "kl",
                 progress: Callable[[int, int, str], None] | None = None) -> Gram:
    """The Gram matrix of all cells, from one run each; its entry of two cells is the surplus of both, in nats for `kl`.

    metric: kl, task (of the same second order), or output_mse.
    UserError: another metric, no class scores, or outputs that are not finite, naming the layer.
    """
    if metric not in WEIGHINGS:
        raise UserError(f"pairs of metric {metric!r} cannot be foretold by Gauss-Newton, only of {', '.join(WEIGHINGS)}; "
                        "take search.superposed_pairs, or measure them with search.measure_pairs")
    exact, changed = changes(probe, options, progress)
    a = np.array([WEIGHINGS[metric](exact, change).ravel() for change in changed.values()])
    return Gram(list(changed), a @ a.T)


def changes(probe: Probe, options: Mapping[str, Sequence[str]], progress: Callable[[int, int, str], None] | None = None):
    """Float outputs (N, K), and {(layer, option): change of the outputs (N, K)}.  UserError: as gauss_newton."""
    if unknown := [k for k in options if k not in probe.layers]:
        raise UserError(f"the model has no layer {unknown[0]!r} to quantize (it has {', '.join(probe.layers)})")
    shared, cells = Remembering(probe), [(k, o) for k in options for o in options[k]]
    found = {}
    for done, (layer, option) in enumerate(cells):
        if progress:
            progress(done, len(cells), f"{layer} {option}")
        exact, rounded = pair(shared.reference(), shared.outputs({layer: option}), layer)
        if not np.isfinite(rounded).all():
            raise UserError(f"layer {layer!r} with {option!r} makes the model's outputs infinite or undefined; leave this option out")
        found[layer, option] = rounded - exact
    if progress:
        progress(len(cells), len(cells), "")
    return pair(shared.reference(), shared.reference(), "")[0], found


def gauss_newton_pairs(probe: Probe, options: Mapping[str, Sequence[str]], keep: int | None = None, metric: str = "kl", *,
                       above: float = 0.0, damage: Table | None = None,
                       progress: Callable[[int, int, str], None] | None = None) -> Pairs:
    """Interactions of all pairs of layers, foretold without running any pair: one run of the model a cell.

    keep: this many pairs of layers with the largest interactions; above: only pairs of layers with one at least this large, in the
    metric's unit.  damage: measured table that the cells alone are matched to (recommended: see Gram.matched).
    All pairs together are of a semidefinite matrix: no plan is foretold a damage below 0.  What is kept of them is not, and is
    therefore `tempered`.  `about` tells how many were kept and which share of the sum of |interactions| was left out.
    UserError: as gauss_newton.
    """
    gram = gauss_newton(probe, options, metric, progress)
    gram = gram if damage is None else gram.matched(damage)
    pairs = _strongest(surpluses(gram), probe, metric, keep, above, {"how": "Gauss-Newton", "matched": damage is not None})
    rows: dict[str, dict[str, float]] = {}
    for (layer, option), own in zip(gram.cells, np.diag(gram.matrix), strict=True):
        rows.setdefault(layer, {})[option] = float(own) / 2
    return tempered(pairs, Table(metric, "damage", rows, about={"model": pairs.about["model"]})) if pairs.about["left_out"] else pairs


def superposed_pairs(probe: Probe, options: Mapping[str, Sequence[str]], keep: int | None = None, metric: str = "kl", *, above: float = 0.0,
                     progress: Callable[[int, int, str], None] | None = None) -> Pairs:
    """Interactions of all pairs of layers as if changes of the outputs added up: one run of the model a cell, none a pair.

    The metric is given z + dz_i + dz_j for the outputs of both; near z this is `gauss_newton_pairs`, far from it it saturates as the
    metric does (on ResNet-20 it foretells measured surpluses better), but the matrix need not be semidefinite: give an allocator
    `tempered` ones.  metric: any of the model's output; keep, above: as in gauss_newton_pairs.
    """
    exact, changed = changes(probe, options, progress)
    alone = {cell: METRICS[metric](Summed(probe, exact, change, metric), *cell) for cell, change in changed.items()}
    names = list(options)
    rows = {(a, b): {(p, q): METRICS[metric](Summed(probe, exact, changed[a, p] + changed[b, q], metric), a, p) - alone[a, p] - alone[b, q]
                     for p, q in product(options[a], options[b])} for n, a in enumerate(names) for b in names[n + 1:]}
    return _strongest(rows, probe, metric, keep, above, {"how": "superposed"})


class Summed(Together):
    """A probe whose outputs are the float ones and a change."""

    def __init__(self, probe: Probe, exact: np.ndarray, change: np.ndarray, metric: str):
        super().__init__(probe, {}, metric)
        self.exact, self.changed = exact, exact + change

    def reference(self) -> np.ndarray: return self.exact

    def outputs(self, _: Mapping[str, str]) -> np.ndarray: return self.changed


def _strongest(rows: dict, probe: Probe, metric: str, keep: int | None, above: float, about: dict) -> Pairs:
    """The pairs of layers with the largest interactions, and what is left out."""
    size = {pair: max(map(abs, cells.values())) for pair, cells in rows.items() if cells}
    kept = set([pair for pair in sorted(size, key=lambda pair: -size[pair]) if size[pair] > 0 and size[pair] >= above][:keep])
    weight = {pair: sum(map(abs, cells.values())) for pair, cells in rows.items()}
    left = 1 - sum(weight[pair] for pair in rows if pair in kept) / (sum(weight.values()) or 1.0)
    return Pairs(metric, {pair: rows[pair] for pair in rows if pair in kept}, METRICS[metric].unit,
                 {"probe": probe.key, "model": getattr(probe, "model", "")} | about
                 | {"kept": f"{len(kept)} of {len(rows)}", "left_out": max(0.0, left)})


def surpluses(gram: Gram) -> dict[tuple[str, str], dict[tuple[str, str], float]]:
    """The Gram matrix as rows of Pairs: (layer, layer) -> (option, option) -> surplus."""
    places: dict[str, list[int]] = {}
    for i, (layer, _) in enumerate(gram.cells):
        places.setdefault(layer, []).append(i)
    names = list(places)
    return {(a, b): {(gram.cells[i][1], gram.cells[j][1]): float(gram.matrix[i, j]) for i in places[a] for j in places[b]}
            for n, a in enumerate(names) for b in names[n + 1:]}


def _of_probabilities(exact: np.ndarray, change: np.ndarray) -> np.ndarray:
    """F**(1/2) dz of the mean KL over samples: sqrt(p) (dz - p'dz) / sqrt(N)."""
    classes("kl", exact)
    p = np.exp(log_softmax(exact))
    return np.sqrt(p / len(exact)) * (change - (p * change).sum(1, keepdims=True))


def _of_squares(exact: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Of the mean squared error over the variance of the float outputs; twice, as the damage is half the square."""
    return change * np.sqrt(2 / (change.size * max(float(np.var(exact)), np.finfo(np.float64).tiny)))


# metric -> root of its Hessian times a change of the outputs
WEIGHINGS = {"kl": _of_probabilities, "task": _of_probabilities, "output_mse": _of_squares}
