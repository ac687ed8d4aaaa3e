"""The report of a run: report.html (one file, plots inside), report.md and the plots as PNG files."""
import base64
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ir import Plan, Table
from ir.store import save_text

from . import plots

TITLES = {"model": "model", "score": "accuracy", "samples": "samples", "mismatches": "values that differ from the reference",
          "bytes": "bytes", "cycles_per_frame": "cycles a frame",
          "lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "BRAM", "fmax_mhz": "Fmax [MHz]"}


def write_report(folder: Path | str, *, tables: Sequence[Table] = (), plan: Plan | None = None, front: Sequence[Plan] = (),
                 rows: Sequence[Mapping] = (), costs: Sequence[Table] = (), node_costs: Mapping[str, Mapping[str, float]] | None = None,
                 title: str = "qsearch report") -> Path:
    """Write report.html, report.md and plots/*.png into `folder`; returns the path of report.html.

    tables: damage, the first is what the plan minimised; rows: one dict a model or backend, printed as they are;
    costs: tables whose share of each layer under the plan is shown; node_costs: {resource: {node: cost}} of a finished build.
    Whatever is left out is left out of the report.
    """
    folder = Path(folder)
    figures = _figures(folder / "plots", tables, plan, front, costs, node_costs or {})
    parts = [("Results", _results(rows)), ("The plan", _facts(plan)), ("Layers", _layers(plan, tables, costs)),
             ("Front", _front(front, tables))]
    parts = [(name, table) for name, table in parts if table]
    save_text(folder / "report.md", _markdown(title, parts, [(t, p.relative_to(folder)) for t, p in figures]))
    save_text(folder / "report.html", _html(title, parts, figures))
    return folder / "report.html"


def _figures(folder: Path, tables, plan: Plan | None, front, costs, node_costs) -> list[tuple[str, Path]]:
    made = []
    if plan and plan.options:
        made.append(("Bits of each layer", plots.bits(plan, folder / "bits.png")))
    if front and tables and (resource := _resource(front, plan)):
        unit = next((t.unit for t in costs if t.name == resource), "")
        made.append(("Pareto front", plots.front(front, resource, tables[0].name, folder / "front.png", plan, unit)))
    for t in tables:
        made.append((f"Damage: {t.name}", plots.damage(t, folder / f"damage_{_slug(t.name)}.png", plan)))
    for t in costs:
        if plan and t.name in plan.budgets and all(str(o) in t.rows.get(k, ()) for k, o in plan.options.items()):
            rows = {k: t.rows[k][str(o)] for k, o in plan.options.items()} | ({"(all else)": t.fixed} if t.fixed else {})
            worst = t.about.get("combine") == "max"
            headline = f"{t.name} of each layer" + (", of which the worst counts" if worst else "")
            path = folder / f"cost_{_slug(t.name)}.png"
            made.append((f"Cost: {t.name}", plots.costs(rows, t.name, path, t.unit, headline, not worst)))
    for resource, rows in node_costs.items():
        made.append((f"Built: {resource}", plots.costs(dict(rows), resource, folder / f"built_{_slug(resource)}.png",
                                                              title=f"{resource} of each node, as built")))
    return made


def _resource(front, plan: Plan | None) -> str | None:
    """The resource that a front was swept over: the one of the plan's budgets, or of all costs, that rises along it."""
    names = [*(plan.budgets if plan else ()), *front[0].costs]
    rising = [n for n in names if all(n in p.costs for p in front) and all(a.costs[n] < b.costs[n] for a, b in zip(front, front[1:]))]
    return next(iter(rising), None)


Cells = list[list[str]]  # the first row is the heading


def _results(rows) -> Cells:
    keys = [k for k in dict.fromkeys(k for r in rows for k in r) if any(r.get(k) not in (None, "") for r in rows)]
    return [[TITLES.get(k, k) for k in keys], *([_text(r.get(k)) for k in keys] for r in rows)] if keys else []


def _facts(plan: Plan | None) -> Cells:
    if plan is None:
        return []
    facts = [["", "value", "budget"]]
    facts += [[f"predicted damage: {k}", _text(v), ""] for k, v in plan.damage.items()]
    facts += [[f"cost: {k}", _text(v), _text(plan.budgets.get(k))] for k, v in plan.costs.items()]
    facts += [[name, _text(v), ""] for name, v in {"target": plan.target, "float model": plan.model, **plan.why}.items()
              if v not in ("", [], {}) and not isinstance(v, dict)]
    return facts


def _layers(plan: Plan | None, tables, costs) -> Cells:
    if plan is None or not plan.options:
        return []
    shown = [t for t in (*tables, *costs) if all(str(o) in t.rows.get(k, ()) for k, o in plan.options.items())]
    return [["layer", "weights", "activations", *(t.name for t in shown)],
            *([k, f"{o.weights}{o.granularity}", o.acts, *(_text(t.rows[k][str(o)]) for t in shown)] for k, o in plan.options.items())]


def _front(front, tables) -> Cells:
    if not front or not tables:
        return []
    damage, costs = tables[0].name, [r for r in front[0].costs if all(r in p.costs for p in front)]
    return [[*costs, f"damage {damage}"], *([*(_text(p.costs[r]) for r in costs), _text(p.damage.get(damage))] for p in front)]


def _text(v) -> str:
    match v:
        case None:
            return ""
        case bool() | str():
            return str(v)
        case int():
            return f"{v:,}"
        case float():
            return f"{v:,.0f}" if v.is_integer() and abs(v) < 1e15 else f"{v:.4g}"
        case list() | tuple():
            return ", ".join(map(_text, v))
    return str(v)


def _slug(name: str) -> str: return re.sub(r"[^\w.-]+", "_", name)


def _markdown(title: str, parts, figures) -> str:
    lines = [f"# {title}", ""]
    for name, (head, *body) in parts:
        escaped = [[c.replace("|", "\\|") for c in row] for row in body]
        lines += [f"## {name}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in escaped), ""]
    lines += [line for name, path in figures for line in (f"## {name}", "", f"![{name}]({path.as_posix()})", "")]
    return "\n".join(lines)


STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; } img { max-width: 100%; height: auto; }
th, td { padding: .2rem .9rem .2rem 0; text-align: right; white-space: nowrap; } th { border-bottom: 1px solid #999; }
th:first-child, td:first-child { text-align: left; } tbody tr:nth-child(even) { background: #f6f6f6; }
"""


def _html(title: str, parts, figures) -> str:
    e = html.escape
    body = [f"<h1>{e(title)}</h1>"]
    for name, (head, *cells) in parts:
        rows = "\n".join(f"<tr>{''.join(f'<td>{e(c)}</td>' for c in row)}</tr>" for row in cells)
        body.append(f"<h2>{e(name)}</h2>\n<div class=wide><table><thead><tr>{''.join(f'<th>{e(c)}</th>' for c in head)}</tr></thead>\n"
                    f"<tbody>\n{rows}\n</tbody></table></div>")
    for name, path in figures:
        data = base64.b64encode(path.read_bytes()).decode()
        body.append(f'<h2>{e(name)}</h2>\n<img alt="{e(name)}" src="data:image/png;base64,{data}">')
    return (f"<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>{e(title)}</title><style>{STYLE}</style></head>\n<body>\n"
            + "\n".join(body) + "\n</body></html>\n")
