"""What a plan is to make small: one damage table, or several, each for all layers or for a group of them."""
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ir import Table, UserError

from .budgets import matching


@dataclass(frozen=True)
class Objective:
    """A damage table, over the layers that it speaks for, with its weight; `scale` times it is what is summed."""
    table: Table
    weight: float
    scale: float

    @property
    def name(self) -> str: return self.table.name


Damage = Table | Sequence[Table | tuple]


def objectives(damage: Damage) -> list[Objective]:
    """The objectives of a table, or of tables, (table, weight) or (table, weight, layers), layers being names or patterns.

    Of several, each is divided by its largest possible total first, so that its weight counts whatever its unit.
    UserError: empty or unnamed tables, layers that no table speaks for, a weight below 0.
    """
    entries = [_entry(e) for e in ([damage] if isinstance(damage, Table) else damage)]
    if not entries or any(not t.rows or not all(t.rows.values()) for t, _, _ in entries):
        raise UserError("a damage table is empty; measure at least one layer with one option")
    first = entries[0][0]
    for t, w, layers in entries:
        if not layers and t.rows.keys() != first.rows.keys() and not entries[0][2]:
            raise UserError(f"damage tables {first.name!r} and {t.name!r} are of different layers: "
                            f"{', '.join(sorted(t.rows.keys() ^ first.rows.keys())[:8])}; to give each its own layers, write (table, weight, layers)")
        if not (isinstance(w, (int, float)) and math.isfinite(w) and w >= 0):
            raise UserError(f"damage table {t.name!r}: weight {w} is not a number >= 0")
    groups = [_group(t, layers) for t, _, layers in entries]
    if lost := {k for t, _, _ in entries for k in t.rows} - {k for t in groups for k in t.rows}:
        raise UserError(f"layer {min(lost)!r} belongs to no group of layers; name it in one of {', '.join(e[2] for e in entries if e[2])}")
    if len({t.name for t in groups}) < len(groups):
        raise UserError(f"damage tables {', '.join(t.name for t in groups)}: two of one name; rename one (table.name)")
    return [Objective(t, float(w), w / _largest(t) if len(groups) > 1 else 1.0) for t, (_, w, _) in zip(groups, entries)]


def score(goals: Sequence[Objective]) -> dict[str, dict[str, float]]:
    """Layer -> option -> the weighted sum; only options that every table of that layer knows."""
    if len(goals) == 1:
        return {layer: dict(row) for layer, row in goals[0].table.rows.items()}
    rows: dict[str, dict[str, float]] = {}
    for layer in dict.fromkeys(k for g in goals for k in g.table.rows):
        mine = [(g.scale, g.table.rows[layer]) for g in goals if layer in g.table.rows]
        rows[layer] = {o: math.fsum(s * row[o] for s, row in mine) for o in mine[0][1] if all(o in row for _, row in mine)}
    return rows


def one_model(tables: Iterable) -> None:
    """UserError: two tables were made from different models."""
    known = [(t, str(t.about["model"])) for t in tables if t.about.get("model")]
    for t, model in known:
        if model != known[0][1]:
            raise UserError(f"{_of(known[0][0])} is of model {known[0][1]}, {_of(t)} of model {model}; make both from the same model")


def _of(t) -> str: return f"{getattr(t, 'kind', 'pairs')} table {t.name!r}"


def _entry(e) -> tuple[Table, float, str]:
    match e:
        case Table():
            return e, 1.0, ""
        case (Table() as t, w):
            return t, w, ""
        case (Table() as t, w, layers):
            return t, w, layers if isinstance(layers, str) else ",".join(layers)
    raise UserError(f"damage is a table, or a list of tables, (table, weight) or (table, weight, layers), not {type(e).__name__}")


def _group(t: Table, layers: str) -> Table:
    chosen = matching(list(t.rows), layers) if layers else list(t.rows)
    if not chosen:
        raise UserError(f"damage table {t.name!r}: no layer matches {layers!r} (it has {', '.join(list(t.rows)[:8])})")
    return replace(t, rows={k: t.rows[k] for k in chosen}) if layers else t


def _largest(t: Table) -> float:
    return math.fsum(max(map(abs, row.values())) for row in t.rows.values()) or 1.0
