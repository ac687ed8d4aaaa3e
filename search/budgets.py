"""Budgets as people write them: `lut=20000`, `lut=20k`, `bytes=25%`, `wbits=4`."""
import math
import re

from ir import Table, UserError

TOLERANCE = 1e-9  # relative; sums of floating point costs are no more exact than that
_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_FORM = re.compile(r"([\w.-]+)\s*(?:<=|=)\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*(%|[kMGT]|[KMG]i)?")


def parse_budget(text: str) -> tuple[str, float | str]:
    """(resource, bound); a percentage stays text, for example ("bytes", "25%").  UserError: not of that form."""
    m = _FORM.fullmatch(text.strip())
    try:
        number = float(m[2]) if m else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"budget {text!r} is not of the form resource=number, for example lut=20000, bytes=25% or wbits=4")
    return (m[1], f"{number:g}%") if m[3] == "%" else (m[1], number * _UNITS[m[3] or ""])


def bound(table: Table, budget: float | str, reference: str | None = None) -> float:
    """What a budget means for one cost table, as a number in the table's unit.

    A percentage is of the plan with the option `reference` everywhere, or of the dearest plan when None.
    """
    if isinstance(budget, str):
        if not re.fullmatch(r"[0-9.]+%", budget):
            raise UserError(f"budget {table.name}={budget!r}: give a number or a percentage, for example 25%")
        return float(budget[:-1]) / 100 * total(table, {layer: _whole(table, layer, reference) for layer in table.rows})
    if not math.isfinite(budget):
        raise UserError(f"budget {table.name}={budget}: a finite number is needed")
    return float(budget)


def _whole(table: Table, layer: str, reference: str | None) -> str:
    row = table.rows[layer]
    if reference is None:
        return max(row, key=row.__getitem__)
    if reference not in row:
        raise UserError(f"cost table {table.name!r}: layer {layer!r} has no option {reference!r} to take a percentage of "
                        f"(it has {', '.join(row)})")
    return reference


def combines_by_max(table: Table) -> bool:
    """True where the whole costs as much as its worst layer (a pipeline's cycles), not the sum of all layers."""
    return table.about.get("combine", "sum") == "max"


def total(table: Table, options: dict[str, str]) -> float:
    """Cost or damage of {layer: option text}, what is fixed included."""
    cells = [table.rows[layer][option] for layer, option in options.items()]
    return max([*cells, table.fixed]) if combines_by_max(table) else math.fsum([*cells, table.fixed])


def within(cost: float, most: float) -> bool: return cost <= most + TOLERANCE * abs(most)
