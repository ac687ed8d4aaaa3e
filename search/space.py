"""What can be chosen: for every group of tied layers its menu, after all rules; and, where a menu is empty, why."""
import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ir import Table, UserError

from .budgets import combines_by_max, matching, within

Rows = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Columns:
    """What can be chosen: one column of every group.  Sorted by group; excess >= 0, regret too.

    regret: damage above the least of its group, (n,); excess: cost above the least of its group for R resources, (n, R).
    """
    group: np.ndarray   # (n,) of int
    regret: np.ndarray
    excess: np.ndarray

    def take(self, which: np.ndarray) -> "Columns":
        return Columns(self.group[which], self.regret[which], self.excess[which])

    @property
    def starts(self) -> np.ndarray:
        """Where each group begins."""
        return np.flatnonzero(np.r_[True, self.group[1:] != self.group[:-1]]) if len(self.group) else np.zeros(0, int)


class Space:
    """Tied layers -> the options that all of them can get, and the same as columns in that order."""

    def __init__(self, menus: dict[tuple[str, ...], list[str]]):
        self.menus = menus
        sizes = np.array([len(m) for m in menus.values()])
        self.group = np.repeat(np.arange(len(sizes)), sizes)
        self.starts = np.cumsum(sizes) - sizes
        self.layers = [k for layers in menus for k in layers]

    def sums(self, rows: Rows) -> np.ndarray:
        """What each column's layers pay together, (n,); layers without a row pay nothing."""
        return np.array(self._each(rows, math.fsum), np.float64)

    def worst(self, rows: Rows) -> np.ndarray:
        """What the dearest of each column's layers pays, (n,)."""
        return np.array(self._each(rows, lambda cells: max(cells, default=-math.inf)), np.float64)

    def _each(self, rows: Rows, combine) -> list[float]:
        paid: list[float] = []
        for layers, menu in self.menus.items():
            if len(layers) == 1 and layers[0] in rows:
                row = rows[layers[0]]
                paid += [row[o] for o in menu]
            else:
                known = [rows[k] for k in layers if k in rows]
                paid += [combine([row[o] for row in known]) for o in menu]
        return paid

    def above_least(self, paid: np.ndarray) -> tuple[np.ndarray, float]:
        """(what each column pays above the cheapest of its group, the sum of the cheapest)."""
        least = np.minimum.reduceat(paid, self.starts)
        return paid - least[self.group], math.fsum(least)

    def options(self, chosen: np.ndarray, order: Iterable[str]) -> dict[str, str]:
        """{layer: option text} of one column a group, in the order of `order`."""
        found = {layer: menu[k] for (layers, menu), k in zip(self.menus.items(), chosen - self.starts, strict=True) for layer in layers}
        return {layer: found[layer] for layer in order}

    def column(self, group: int, option: str) -> int:
        """Place of an option of a group."""
        return int(self.starts[group]) + list(self.menus.values())[group].index(option)


def by_pattern(layers: Sequence[str], rules: Mapping, what: str) -> dict[str, list[str]]:
    """{layer: option texts} of {layer or pattern: one or several option texts}.  UserError: a pattern that matches nothing."""
    found: dict[str, list[str]] = {}
    for pattern, options in rules.items():
        matched = matching(layers, pattern)
        if not matched:
            raise UserError(f"{what}: no layer {pattern!r} in the damage table (it has {', '.join(layers)})")
        for k in matched:
            found.setdefault(k, []).extend([str(o) for o in options] if isinstance(options, (list, tuple, set, frozenset)) else [str(options)])
    return found


def space(score: Rows, costs: Sequence[Table], ties: Sequence[Sequence[str]], fixed: Mapping[str, list[str]],
          forbid: Mapping[str, list[str]]) -> Space:
    """The menus left by what was measured, what every cost table knows, ties and rules.  UserError: one is empty, and why."""
    if half := next((o for row in score.values() for o in row if o.startswith("-/") or o.endswith("/-")), None):
        raise UserError(f"the damage table has one-sided options such as {half}; make whole ones of them with search.join first")
    menus = {}
    for layers in _together(score, ties):
        options = list(score[layers[0]])
        for k in layers:
            options = [o for o in options if o in score[k]]
            for t in costs:
                if k in t.rows:
                    row = t.rows[k]
                    options = [o for o in options if o in row]
            if k in fixed:
                options = [o for o in options if all(o == f for f in fixed[k])]
            if k in forbid:
                options = [o for o in options if not _forbidden(o, forbid[k])]
        if not options:
            raise UserError(_why_none(layers, score, costs, fixed, forbid))
        menus[layers] = options
    return Space(menus)


def below(s: Space, table: Table, most: float) -> Space:
    """The options whose layers each stay within `most`.  UserError: some layer has none."""
    if not within(table.fixed, most):
        raise UserError(f"no plan fits the budget {table.name}<={most:g}: what has no options needs {table.fixed:g}; raise the budget")
    paid, menus = np.split(s.worst(table.rows), s.starts[1:]), {}
    for (layers, menu), cost in zip(s.menus.items(), paid):
        menus[layers] = [o for o, v in zip(menu, cost.tolist()) if within(v, most)]
        if not menus[layers]:
            raise UserError(f"no plan fits the budget {table.name}<={most:g}: {names(layers)} needs at least "
                            f"{min(cost):g}; raise the budget or offer cheaper options")
    return Space(menus)


def names(layers: Sequence[str]) -> str: return f"layer{'s' * (len(layers) > 1)} {', '.join(layers)}"


def _forbidden(option: str, patterns: list[str]) -> bool: return any(fnmatch.fnmatchcase(option, p) for p in patterns)


def _together(score: Rows, ties: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Groups of layers tied to each other, in the order of their first layers."""
    parent = {k: k for k in score}

    def root(k: str) -> str:
        while parent[k] != k:
            parent[k] = k = parent[parent[k]]
        return k
    for tie in ties:
        for k in tie:
            if k not in score:
                raise UserError(f"tie {'+'.join(tie)}: no layer {k!r} in the damage table (it has {', '.join(score)})")
            parent[root(k)] = root(tie[0])
    groups: dict[str, list[str]] = {}
    for k in score:
        groups.setdefault(root(k), []).append(k)
    return [tuple(g) for g in groups.values()]


def _why_none(layers: tuple[str, ...], score: Rows, costs: Sequence[Table], fixed: Mapping, forbid: Mapping) -> str:
    """The first of the reasons, in the order in which they exclude, that leaves nothing; one line with what to do."""
    tied = f"layers {', '.join(layers)} are tied" if len(layers) > 1 else f"layer {layers[0]}"
    common = [o for o in score[layers[0]] if all(o in score[k] for k in layers)]
    if not common:
        each = "; ".join(f"{k} has {', '.join(score[k])}" for k in layers)
        return f"{tied} but share no measured option ({each}); measure a common one or untie them"
    asked = {k: fixed[k] for k in layers if k in fixed}
    if len({o for options in asked.values() for o in options}) > 1:
        each = ", ".join(f"{k} to {' and '.join(options)}" for k, options in asked.items())
        return f"{tied}{' but' if len(layers) > 1 else ' is'} fixed to different options ({each}); fix one" + (" or untie them" * (len(layers) > 1))
    wanted = next((o[0] for o in asked.values()), None)
    if wanted and wanted not in common:
        return f"no option is left for {names(layers)}: damage tables know {', '.join(common)}, fixed is {wanted}; measure it or fix another"
    left = [wanted] if wanted else common
    for t in costs:
        for k in layers:
            if k in t.rows and not any(o in t.rows[k] for o in left):
                target = f" of target {t.about['target']}" if t.about.get("target") else ""
                return (f"no option is left for {names(layers)}: cost table {t.name!r}{target} has {', '.join(t.rows[k]) or 'nothing'} "
                        f"for {k}, but wanted is {', '.join(left)}; offer options that it can run")
    for k in layers:
        if k in forbid and all(_forbidden(o, forbid[k]) for o in left):
            what = f"which is {'tied and ' * (wanted not in asked.get(k, []))}fixed to {wanted}" if wanted else f"which has only {', '.join(left)}"
            return f"no option is left for {names(layers)}: {', '.join(forbid[k])} is forbidden for {k}, {what}; drop one of the rules"
    return (f"no option is left for {names(layers)}: of {', '.join(left)}, cost tables and rules (forbidden: "
            f"{', '.join(o for k in layers for o in forbid.get(k, [])) or 'none'}) leave none to all of them; relax a rule or untie them")


def kinds(tables: Iterable[Table]) -> tuple[list[Table], list[Table]]:
    """(tables that sum over layers, tables whose worst layer counts)."""
    tables = list(tables)
    return [t for t in tables if not combines_by_max(t)], [t for t in tables if combines_by_max(t)]
