"""Plans for people: what each layer gets and pays, why, and how two plans differ."""
from collections.abc import Mapping, Sequence

from ir import Plan, Table, UserError


def layer_rows(plan: Plan, damage: Mapping[str, Table], costs: Mapping[str, Table]) -> list[dict]:
    """One row a layer: its option, its share of each damage and of each cost that is a sum of layers, and a total."""
    tables = {f"{t.name} damage": t for t in damage.values()} | dict(costs)
    tables = {k: t for k, t in tables.items() if all(str(o) in t.rows.get(layer, ()) for layer, o in plan.options.items())}
    more = {layer: why_not_more(e) for layer, e in plan.why.get("layers", {}).items()}
    last = {"the next better option": ""} if more else {}
    rows = [{"layer": layer, "option": str(o)} | {k: number(t.rows[layer][str(o)]) for k, t in tables.items()}
            | ({"the next better option": more.get(layer, "none")} if more else {}) for layer, o in plan.options.items()]
    beside = {k: number(t.fixed) if t.fixed else "" for k, t in tables.items()}
    if any(beside.values()):
        rows.append({"layer": "(all else)", "option": ""} | beside | last)
    sums = {f"{k} damage": v for k, v in plan.damage.items()} | plan.costs
    return [*rows, {"layer": "total", "option": ""} | {k: number(sums[k]) if k in sums else "" for k in tables} | last]


def why_not_more(entry: Mapping) -> str:
    """What a layer's next better option would save, what for, and what it would exceed."""
    needs = ", ".join(f"{v:+.3g} {r}" for r, v in entry["needs"].items()) or "nothing"
    over = "".join(f", {number(v)} {r} too many" for r, v in entry["over"].items())
    return f"{entry['next']} saves {entry['saves']:.2g} for {needs}{over}"


def print_plan(plan: Plan, screen, damage: Mapping[str, Table], costs: Mapping[str, Table]) -> None:
    """The plan on the screen: a row a layer with every damage, and the costs that have a budget (all of them, if none has)."""
    told = {k: t for k, t in costs.items() if k in plan.budgets} or dict(costs)
    screen.table("plan", layer_rows(plan, damage, told))
    print(sums(plan))
    for line in reasons(plan):
        print(line)


def sums(plan: Plan) -> str:
    """Damage and costs of the whole plan, in one line."""
    return ", ".join([*(f"{k} damage {v:.4g}" for k, v in plan.damage.items()),
                      *(f"{k} {number(v)}" + (f" of {number(plan.budgets[k])}" if k in plan.budgets else "") for k, v in plan.costs.items())])


def reasons(plan: Plan) -> list[str]:
    """Lines that say what bounds the plan and how good it is proven to be."""
    why, lines = plan.why, []
    for r, most in plan.budgets.items():
        paid = plan.costs.get(r)
        used = "" if paid is None or not most else f" ({paid / most:.1%} used)"
        price = why.get("budgets", {}).get(r, {}).get("price", 0)
        lines.append(f"budget {r}: {number(paid)} of {number(most)}{used}" + (f"; one more would save {price:.2g} of damage" if price > 0 else ""))
    if "gap" in why:
        lines.append(f"{why.get('status', '')}: at most {100 * why['gap']:.2g} % above the least possible damage"
                     f" ({why.get('solver', '')}, {why.get('seconds', 0):.3g} s)")
    return lines


def difference(a: Plan, b: Plan, names: Sequence[str] = ("a", "b")) -> tuple[list[dict], list[dict]]:
    """(layers whose options differ, totals that both plans know), one dict a row.  UserError: plans of different layers."""
    if a.options.keys() != b.options.keys():
        only = sorted(a.options.keys() ^ b.options.keys())
        raise UserError(f"the plans are of different models: {only[0]!r} is in {names[0] if only[0] in a.options else names[1]} alone; "
                        "compare plans of one model")
    left, right = _titles(names)
    layers = [{"layer": k, left: str(a.options[k]), right: str(b.options[k])} for k in a.options if a.options[k] != b.options[k]]
    totals = []
    for what, x, y in [*((f"{k} damage", v, b.damage.get(k)) for k, v in a.damage.items()), *((k, v, b.costs.get(k)) for k, v in a.costs.items())]:
        if y is not None:
            change = "" if not x else f"{(y - x) / abs(x):+.1%}"
            totals.append({"total": what, left: number(x), right: number(y), "change": change})
    return layers, totals


def number(v: float | None) -> str:
    """A number as short as it can be told: whole ones with separators, others in four digits."""
    if v is None:
        return ""
    return f"{v:,.0f}" if v == int(v) or abs(v) >= 1e3 else f"{v:.4g}"


def _titles(names: Sequence[str]) -> tuple[str, str]:
    """Two different column titles."""
    return (str(names[0]), str(names[1])) if names[0] != names[1] else (f"{names[0]} (first)", f"{names[1]} (second)")
