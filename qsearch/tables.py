"""Files for people: gather tables, describe any file of ours, list what can be named, make a report again."""
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import ir
from ir import Plan, Table, UserError, lm
from ir.store import load_graph, load_json


def gather(paths: list[Path]) -> tuple[dict[str, Table], dict[str, Table]]:
    """(damage tables, cost tables) by name, from files and folders.  UserError: none of either kind, or two of a name."""
    files = [f for p in paths for f in (sorted(p.glob("*.table.json")) if p.is_dir() else [p])]
    found: dict[str, dict[str, Table]] = {"damage": {}, "cost": {}}
    for f in files:
        t = Table.load(f)
        if t.name in found[t.kind]:
            raise UserError(f"{f}: a second {t.kind} table of {t.name!r}; give only one")
        found[t.kind][t.name] = t
    for kind, verb in (("damage", "sense"), ("cost", "cost")):
        if not found[kind]:
            raise UserError(f"no {kind} table in {', '.join(map(str, paths))}; make one with `qsearch {verb}`")
    return found["damage"], found["cost"]


def describe(path: Path) -> str:
    """Any file of ours, as text."""
    folder = path.parent if path.name == "lm.json" else path
    if lm.is_lm(folder):
        from .lm_view import describe_lm
        return describe_lm(folder)
    if path.is_dir():
        return str(load_graph(path))
    try:
        what = json.loads(path.read_text()).get("qsearch")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, AttributeError):
        raise UserError(f"{path}: not a qsearch file, or cut off") from None
    match what:
        case "graph":
            return str(load_graph(path))
        case "plan":
            p = Plan.load(path)
            width = max(map(len, p.options))
            bounds = {k: f" of at most {v:,.6g}" for k, v in p.budgets.items()}
            return "\n".join([f"plan for {p.target or 'any target'}", *(f"  {k.ljust(width)}  {v}" for k, v in p.options.items()),
                              *(f"damage {k}: {v:.6g}" for k, v in p.damage.items()),
                              *(f"cost {k}: {v:,.6g}{bounds.get(k, '')}" for k, v in p.costs.items())])
        case "table":
            return grid(Table.load(path))
        case str():
            return json.dumps(load_json(path, what), indent=1)
    raise UserError(f"{path}: not a qsearch file")


def describe_difference(a: Path, b: Path) -> tuple[list[dict], list[dict]]:
    """(layers that differ, totals) of two plan files.  UserError: not plans, or of different models."""
    from .plan_view import difference
    first, second = Plan.load(a), Plan.load(b)
    if first.model and second.model and first.model != second.model:
        raise UserError(f"{a} and {b} are plans of different models ({first.model} and {second.model}); compare plans of one model")
    layers, totals = difference(first, second, (str(a), str(b)))
    return layers or [{"layer": "(all layers have the same options)"}], totals


def grid(t: Table) -> str:
    """A table of layers x options."""
    options = list(dict.fromkeys(o for row in t.rows.values() for o in row))
    lines = [[f"{t.kind} {t.name}" + (f" [{t.unit}]" if t.unit else ""), *options]]
    lines += [[layer, *(f"{row[o]:.4g}" if o in row else "-" for o in options)] for layer, row in t.rows.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(options) + 1)]
    return "\n".join("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))) for line in lines)


def listing(what: str) -> list[str]:
    """Lines that tell what there is of a kind."""
    kinds: dict[str, Callable[[], list[str]]] = {"formats": _formats, "metrics": _metrics, "costs": _costs, "targets": _targets,
                                                 "observers": _observers, "searchers": _searchers, "ties": _ties, "engines": _engines, "ops": _ops,
                                                 "preparations": _preparations, "training": _training}
    if what not in kinds:
        raise UserError(f"cannot list {what!r}; there are {', '.join(kinds)}")
    return kinds[what]()


def rewrite_report(folder: Path) -> Path:
    """The report of a finished run, made again from its files."""
    from .keep import load_front
    from .report import write_report
    rows = load_json(folder / "result.json", "result")["rows"]
    damage, costs = gather([folder])
    front = load_front(folder) if (folder / "front" / "front.json").exists() else []
    write_report(folder, tables=list(damage.values()), plan=Plan.load(folder / "plan.json"), front=front, rows=rows,
                 costs=list(costs.values()))
    return folder / "report.html"


def _formats() -> list[str]:
    return [*(f"{f.name:9} {f.bits:2} bits  {len(f.grid):6} values in [{f.lo}, {f.hi}]" for f in ir.FORMATS.values()),
            "fxWL.FL   fixed point: WL bits (2 to 16), FL of them behind the point, for example fx8.4",
            "eXmY      a small float of X bits of exponent and Y of mantissa, up to 8 bits with the sign, for example e3m4"]


def _preparations() -> list[str]:
    from quant import PREPARATIONS
    return list(PREPARATIONS)


def _training() -> list[str]:
    """What --train takes, with its defaults."""
    from dataclasses import fields
    from quant.train.recipe import Recipe
    from .training import OURS
    return [f"{f.name} = {f.default}" for f in fields(Recipe) if f.name not in OURS]


def _metrics() -> list[str]:
    from search import METRICS
    return _lines(METRICS)


def _costs() -> list[str]:
    from search import COSTS
    return _lines(COSTS)


def _targets() -> list[str]:
    from .backends import targets
    names = {k: f"the same as {t.name}" if k != t.name else ", ".join(f"{r} {v:,}" for r, v in t.resources.items()) for k, t in targets().items()}
    return [f"{k:12} {targets()[k].kind:5} {text}".rstrip() for k, text in names.items()]


def _observers() -> list[str]:
    from quant import OBSERVERS
    return _lines(OBSERVERS)


def _searchers() -> list[str]:
    from search import SEARCHERS
    return _lines(SEARCHERS)


def _ties() -> list[str]:
    from quant import TIES
    return _lines(TIES)


def _engines() -> list[str]:
    from search import ENGINES
    return _lines(ENGINES)


def _ops() -> list[str]:
    return _lines({c.__name__.lower(): c for c in ir.opset.OPS})


def _lines(things: Mapping[str, object]) -> list[str]:
    """A name and what its first paragraph says, one line each."""
    width = max(map(len, things))
    return [f"{name.ljust(width)}  {_summary(thing)}".rstrip() for name, thing in things.items()]


def _summary(thing) -> str:
    """The first paragraph of a docstring on one line; of a long one the first sentence."""
    text = " ".join((thing.__doc__ or "").strip().split("\n\n")[0].split())
    first, stop, _ = text.partition(". ")
    return first + stop.strip() if len(text) > 160 else text
