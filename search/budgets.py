"""Budgets as people write them: `lut=20000`, `lut=20k`, `bytes=25%`, `bytes=2MB`, `wbits=4`, `bytes@encoder.*=64KiB`."""
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ir import Option, Plan, Table, UserError

from .options import named

TOLERANCE = 1e-9  # relative; sums of floating point costs are no more exact than that
_THOUSANDS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_BYTES = {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_STEPS = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0}
_FORM = re.compile(r"([\w.-]+(?:@[^=<]+?)?)\s*(?:<=|=)\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*(%|[a-zA-Z]*)")


def parse_budget(text: str) -> tuple[str, float | str]:
    """(resource or resource@layers, bound); a percentage stays text, for example ("bytes", "25%").

    k, M, G, T, Ki, Mi, Gi multiply any bound; B, kB, MB, KiB ... are for bytes; resources named for their unit (energy_pj,
    latency_us) take pJ ... J or ns ... s.  UserError: not of that form, or a unit that the resource does not have.
    """
    m = _FORM.fullmatch(text.strip())
    try:
        number = float(m[2]) if m else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"budget {text!r} is not of the form resource=number, for example lut=20000, bytes=25% or wbits=4")
    if m[3] == "%":
        return m[1], f"{number:g}%"
    known = _units(split(m[1])[0])
    if m[3] not in known:
        raise UserError(f"budget {text!r}: {m[1]} has no unit {m[3]!r}; write a plain number, % or one of {', '.join(filter(None, known))}")
    return m[1], number * known[m[3]]


def _units(resource: str) -> dict[str, float]:
    """Unit -> how many of the resource's own."""
    if "bytes" in resource:
        return _THOUSANDS | _BYTES
    if m := re.search(r"_([pnum]?)([js])$", resource):
        unit = m[2].upper() if m[2] == "j" else m[2]
        return _THOUSANDS | {p + unit: float(f"{v / _STEPS[m[1]]:g}") for p, v in _STEPS.items()}
    return _THOUSANDS


def split(key: str) -> tuple[str, str]:
    """`bytes@encoder.*` -> ("bytes", "encoder.*"); `bytes` -> ("bytes", "")."""
    resource, _, layers = key.partition("@")
    return resource, layers


def matching(layers: Sequence[str], patterns: str) -> list[str]:
    """The layers that one of the patterns, parted by commas, names; in their order."""
    found = {k for pattern in patterns.split(",") for k in named(layers, pattern.strip())}
    return [k for k in layers if k in found]


def region(table: Table, layers: str) -> Table:
    """What only some layers pay, named `table@layers`; an average over all becomes the average over them.

    UserError: the patterns match no layer.
    """
    chosen = matching(list(table.rows), layers)
    if not chosen:
        raise UserError(f"budget {table.name}@{layers}: no layer matches {layers!r} (layers: {_few(table.rows)})")
    share = table.about.get("share")
    whole = math.fsum(share[k] for k in chosen) if share else 1.0
    rows = {k: {o: v / whole for o, v in table.rows[k].items()} for k in chosen}
    return replace(table, name=f"{table.name}@{layers}", rows=rows, fixed=0.0)


def bound(table: Table, budget: float | str, reference: str | Option | Plan | None = None) -> float:
    """What a budget means for one cost table, as a number in the table's unit.

    A percentage is of the plan `reference`, or of the plan with that option everywhere, or (None) of the dearest plan.
    """
    if isinstance(budget, str):
        if not re.fullmatch(r"\d+\.?\d*%|\.\d+%", budget):
            raise UserError(f"budget {table.name}={budget!r}: give a number or a percentage, for example 25%")
        return float(budget[:-1]) / 100 * total(table, {layer: _whole(table, layer, reference) for layer in table.rows})
    if not math.isfinite(budget):
        raise UserError(f"budget {table.name}={budget}: a finite number is needed")
    return float(budget)


def _whole(table: Table, layer: str, reference: str | Option | Plan | None) -> str:
    row = table.rows[layer]
    if reference is None:
        return max(row, key=row.__getitem__)
    option = str(reference[layer] if isinstance(reference, Plan) else reference)
    if option not in row:
        raise UserError(f"cost table {table.name!r}: layer {layer!r} has no option {option!r} to take a percentage of "
                        f"(it has {', '.join(row)})")
    return option


def combines_by_max(table: Table) -> bool:
    """True where the whole costs as much as its worst layer (a pipeline's cycles), not the sum of all layers."""
    return table.about.get("combine", "sum") == "max"


def total(table: Table, options: Mapping[str, str]) -> float:
    """Cost or damage of {layer: option text}, what is fixed included; layers that the table does not know pay nothing."""
    cells = [table.rows[layer][str(option)] for layer, option in options.items() if layer in table.rows]
    return max([*cells, table.fixed]) if combines_by_max(table) else math.fsum([*cells, table.fixed])


def within(cost: float, most: float) -> bool: return cost <= most + TOLERANCE * abs(most)


def _few(names) -> str:
    names = list(names)
    return ", ".join(names[:8]) + (f", ... {len(names)} in all" if len(names) > 8 else "")
