"""Damage measured: the probe of a model, its tables, and what pairs of layers do to each other."""
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ir import Option, Table, UserError
from search import Pairs

from .data import Data
from .settings import Settings, menus, metrics_of
from .steps import tensor

FIT = 256  # samples at most that rounding is fitted to when damage is measured
PREDICTED, STRONGEST = "predicted", 64  # interactions that are foretold, and how many of them a plan takes account of


def probe(net, calibration, data: Data, s: Settings):
    """What metrics look at: some calibration samples, with rounding fitted to others of them."""
    import quant
    count = min(s.samples, -(-len(data.calib_x) // 2))  # one half to look at, the other to fit to; one image must do for both
    seen, fitted = data.calib_x[-count:], data.calib_x[:max(1, len(data.calib_x) - count)][:FIT]
    labels = None if data.calib_y is None or data.calib_y.dtype.kind not in "iu" or data.calib_y.ndim != 1 else data.calib_y[-count:]
    return quant.Simulation(net, calibration, tensor(seen), rounding=s.rounding, fit=tensor(fitted), labels=labels)


def sense(looked, net, s: Settings, cache: Path | None = None, progress=None) -> dict[str, Table]:
    """Damage tables by metric, over every layer and option; finished cells survive in `cache`."""
    from search import measure
    names, options, ties = metrics_of(s), menus(net, s), ties_of(net)  # ties, so that a plan can be made from the tables alone
    how = {"cache": cache, "progress": progress, "engine": s.engine, "workers": s.workers}
    if not s.apart:
        return {n: replace(t, about=t.about | {"ties": ties}) for n, t in measure(looked, names, options, **how).items()}
    from search import join
    both = [{k: sides(menu, at) for k, menu in options.items()} for at in (0, 1)]
    cells = measure(looked, names, {k: (*both[0][k], *both[1][k]) for k in options}, **how)
    one_side = {n: [replace(t, rows={k: {o: t.rows[k][o] for o in side[k]} for k in t.rows}) for side in both] for n, t in cells.items()}
    tables = {n: join(*parts) for n, parts in one_side.items()}
    return {n: replace(t, rows={k: {o: t.rows[k][o] for o in options[k]} for k in options}, about=t.about | {"ties": ties, "apart": True})
            for n, t in tables.items()}


def ties_of(net) -> dict[str, list[tuple[str, ...]]]:
    """Every kind of tie with the layers that the net has for it."""
    import quant
    return {name: find(net) for name, find in quant.TIES.items()}


def sides(menu: Iterable[str], at: int) -> tuple[str, ...]:
    """The options of a menu with one side (0: weights, 1: input) alone quantized."""
    parsed = [Option.parse(o) for o in menu]
    return tuple(dict.fromkeys(str(replace(o, acts="-") if at == 0 else Option("-", o.acts)) for o in parsed))


def interactions(looked, net, s: Settings, cache: Path | None = None, progress=None) -> Pairs:
    """What pairs of layers do to each other, of the first metric: foretold from what each does alone, or measured.

    Foretold ones are the strongest, `predicted:20` of them; measured ones are those that measure_pairs means by the setting.
    UserError: not a number of pairs, or what measure_pairs refuses.
    """
    from search import gauss_newton_pairs, measure, measure_pairs
    metric, options = metrics_of(s)[0], menus(net, s)
    kind, number = pairs_setting(s)
    if kind != PREDICTED:
        return measure_pairs(looked, options, s.pairs, metric, cache, progress)
    alone = measure(looked, [metric], options, cache)[metric]
    return gauss_newton_pairs(looked, options, number or STRONGEST, metric, damage=alone, progress=progress)


def pairs_setting(s: Settings) -> tuple[str, int]:
    """(kind, its number or 0) of --pairs.  UserError: it means nothing."""
    kind, colon, number = s.pairs.partition(":")
    whole = number.isdecimal() and int(number) > 0
    if s.pairs and not (kind in (PREDICTED, "window", "top") and whole or not colon and kind in (PREDICTED, "adjacent", "all")):
        raise UserError(f"pairs {s.pairs!r}: give predicted, predicted:{STRONGEST}, adjacent, window:3, top:6 or all")
    return kind, int(number) if whole else 0


def save_pairs(pairs: Pairs, out: Path) -> Pairs:
    pairs.save(out / f"pairs.{pairs.name}.json")
    return pairs


def load_pairs(out: Path, metric: str) -> Pairs:
    path = out / f"pairs.{metric}.json"
    if not path.exists():
        raise UserError(f"{path}: no such file; measure pairs with `qsearch sense --pairs predicted`")
    return Pairs.load(path)
