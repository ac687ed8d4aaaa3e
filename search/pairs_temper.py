"""Interactions that an allocator can be trusted with: foretold damage stays at or above 0, whatever is chosen."""
from dataclasses import replace

import numpy as np

from ir import Table, UserError

from .pairs import Pairs


def tempered(pairs: Pairs, damage: Table) -> Pairs:
    """Pairs whose negative surpluses are weakened, by one factor, until no plan's damage can be foretold to be below 0.

    Of some pairs only, or of measured ones, sums need not be those of a semidefinite matrix; an allocator then finds the plans that
    are foretold best for no reason (ResNet-20 at 70 % of the bytes, superposed pairs: KL foretold -.005, measured .006, and .0004
    tempered as without any pairs; benchmarks/pairs.py).  It bounds the harm and adds no knowledge: the 40 strongest of 190 pairs may
    still be worse than none, all of them from `gauss_newton_pairs` need no tempering.

    With s the roots of the damages alone, surpluses v >= -2 N s s' and N the worst of each two layers (at most 1), the damage of a
    plan is at least s's - f s'N s, which is >= 0 for f <= 1 / (largest eigenvalue of N).
    `about["tempered"]` is f.  UserError: damage of another metric or model, or without one of the layers or options.
    """
    if pairs.name != damage.name or (pairs.about.get("model") or "") != (damage.about.get("model") or ""):
        raise UserError(f"pairs of {pairs.name!r} and damage of {damage.name!r} are of different metrics or models; make both with the same probe")
    place = {k: i for i, k in enumerate(damage.rows)}
    worst = np.zeros((len(place), len(place)))
    rows = {}
    for (a, b), cells in pairs.rows.items():
        rows[a, b] = {}
        for (p, q), v in cells.items():
            reach = 2 * np.sqrt(max(0.0, _alone(damage, a, p)) * max(0.0, _alone(damage, b, q)))
            rows[a, b][p, q] = v = max(v, -float(reach))
            if v < 0:
                worst[place[a], place[b]] = worst[place[b], place[a]] = max(worst[place[a], place[b]], -v / reach)
    f = min(1.0, 1 / max(1.0, float(np.linalg.eigvalsh(worst)[-1]))) if len(place) else 1.0
    weak = {pair: {o: v * f if v < 0 else v for o, v in cells.items()} for pair, cells in rows.items()}
    return replace(pairs, rows=weak, about=pairs.about | {"tempered": f})


def _alone(damage: Table, layer: str, option: str) -> float:
    if option not in damage.rows.get(layer, ()):
        raise UserError(f"damage table {damage.name!r} says nothing of layer {layer!r} with {option!r}; measure the same menus")
    return damage.rows[layer][option]
