"""Plots of a run: damage of each layer, bits of a plan, the front.  The only door to matplotlib."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ir import Option, Plan, Table
from ir.store import whole

INK, GRID, WEIGHT, ACT, CHOSEN = "#222222", "#dddddd", "#2166ac", "#b2abd2", "#d6604d"
ROW_INCHES, FEW = 0.24, 60  # height of a layer's row; with more layers than FEW, labels are thinned
DPI = 120
MARKERS = "odsv^P*X"


def damage(table: Table, path: Path, plan: Plan | None = None) -> Path:
    """Damage of every option of every layer, one row a layer, log scale; the plan's choice is circled."""
    layers, options = list(table.rows), _by_bits({o for row in table.rows.values() for o in row})
    color, marker = _codes(options)
    fig, ax = _rows(layers, legend=len(options) + 1)
    positive = [v for row in table.rows.values() for v in row.values() if v > 0]
    floor = min(positive, default=1e-12) / 3
    for o in options:
        y = [k for k, layer in enumerate(layers) if o in table.rows[layer]]
        x = [max(table.rows[layers[k]][o], floor) for k in y]
        ax.scatter(x, y, s=26, color=color[o], marker=marker[o], label=o, zorder=3, linewidths=0)
    for k, layer in enumerate(layers):
        values = [max(v, floor) for v in table.rows[layer].values()]
        ax.plot([min(values), max(values)], [k, k], color=GRID, zorder=1, lw=1.5)
    if plan:
        y = [k for k, layer in enumerate(layers) if layer in plan.options and str(plan[layer]) in table.rows[layer]]
        ax.scatter([max(table.rows[layers[k]][str(plan[layers[k]])], floor) for k in y], y, s=85, facecolors="none", edgecolors=CHOSEN,
                   linewidths=1.6, label="chosen", zorder=4)
    if positive:
        ax.set_xscale("log")
    ax.set_xlabel(f"{table.name} [{table.unit}]" if table.unit else table.name)
    ax.set_title(f"Damage of quantizing one layer alone: {table.name}", loc="left")
    _legend_beside(ax)
    return _save(fig, path)


def bits(plan: Plan, path: Path) -> Path:
    """Weight and activation bits of every layer of a plan."""
    layers = list(plan.options)
    fig, ax = _rows(layers)
    y = np.arange(len(layers))
    for values, offset, color, label in (([o.weight_format.bits for o in plan.options.values()], -0.2, WEIGHT, "weights"),
                                         ([o.act_format.bits for o in plan.options.values()], 0.2, ACT, "activations")):
        ax.barh(y + offset, values, height=0.36, color=color, label=label, zorder=3)
        if len(layers) <= FEW:
            for k, v in enumerate(values):
                ax.annotate(str(v), (v, k + offset), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7, color=INK)
    top = max(max(o.weight_format.bits, o.act_format.bits) for o in plan.options.values())
    ax.set_xlim(0, top + 0.6)
    ax.set_xticks(range(0, top + 1, 1 if top <= 8 else 2))
    ax.set_xlabel("bits")
    ax.set_title("Bits of each layer", loc="left")
    _legend_beside(ax)
    return _save(fig, path)


def front(plans: Sequence[Plan], resource: str, metric: str, path: Path, plan: Plan | None = None, unit: str = "") -> Path:
    """Damage over one resource, a step a plan of the front; `plan` is marked."""
    fig, ax = _figure(7.2, 4.2)
    x, y = [p.costs[resource] for p in plans], [p.damage[metric] for p in plans]
    ax.step(x, y, where="post", color=GRID, zorder=1, lw=1.5)
    ax.scatter(x, y, s=30, color=WEIGHT, zorder=3, label="best plans found", linewidths=0)
    if plan and resource in plan.costs and metric in plan.damage:
        ax.scatter([plan.costs[resource]], [plan.damage[metric]], s=130, facecolors="none", edgecolors=CHOSEN, linewidths=2, zorder=4,
                   label="chosen plan")
        if resource in plan.budgets:
            ax.axvline(plan.budgets[resource], color=CHOSEN, lw=1, ls="--", zorder=2, label="budget")
    if min(y) > 0 and max(y) / min(y) > 10:
        ax.set_yscale("log")
    ax.set_xlabel(f"{resource} [{unit}]" if unit and unit != resource else resource)
    ax.set_ylabel(f"predicted damage: {metric}")
    ax.set_title(f"Least damage for every budget of {resource}", loc="left")
    _engineering(ax.xaxis)
    ax.grid(color=GRID, lw=0.6, zorder=0)
    ax.legend(frameon=False)
    return _save(fig, path)


def costs(rows: dict[str, float], resource: str, path: Path, unit: str = "", title: str = "", shares: bool = True) -> Path:
    """What every layer or node pays of one resource; `shares` writes percentages of the sum beside the bars."""
    fig, ax = _rows(list(rows))
    values = list(rows.values())
    ax.barh(np.arange(len(rows)), values, height=0.62, color=WEIGHT, zorder=3)
    whole_cost = sum(values) or 1
    if shares and len(rows) <= FEW:
        for k, v in enumerate(values):
            ax.annotate(f"{100 * v / whole_cost:.0f} %", (v, k), xytext=(3, 0), textcoords="offset points", va="center",
                        fontsize=7, color=INK)
    ax.margins(x=0.1)
    _engineering(ax.xaxis)
    ax.set_xlabel(f"{resource} [{unit}]" if unit and unit != resource else resource)
    ax.set_title(title, loc="left")
    return _save(fig, path)


def short(name: str, most: int = 34) -> str:
    """A layer's name, its middle left out when it is long."""
    return name if len(name) <= most else f"{name[:most // 2 - 1]}…{name[-(most // 2 - 1):]}"


def _rows(layers: list[str], legend: int = 2):
    """A figure with one labelled row a layer, the first on top, and room for `legend` lines beside."""
    n = len(layers)
    height = ROW_INCHES if n <= FEW else max(0.06, ROW_INCHES * FEW / n)
    fig, ax = _figure(8.2, max(1.9, 1.1 + height * n, 0.6 + 0.19 * legend))
    step = max(1, -(-n // FEW))
    ax.set_yticks(range(0, n, step), [short(name) for name in layers[::step]], fontsize=8)
    ax.set_ylim(n - 0.4, -0.6)
    ax.grid(axis="x", color=GRID, lw=0.6, zorder=0)
    ax.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    return fig, ax


def _by_bits(options) -> list[str]:
    """Options by falling activation bits, then rising weight bits."""
    return sorted(options, key=lambda o: (-Option.parse(o).act_format.bits, Option.parse(o).weight_format.bits, o))


def _codes(options: list[str]) -> tuple[dict, dict]:
    """Colour by what the weights get, marker by what the activations get."""
    from matplotlib import colormaps
    parsed = {o: Option.parse(o) for o in options}
    weights = sorted({(o.weight_format.bits, o.weights, o.granularity) for o in parsed.values()})
    acts = list(dict.fromkeys(o.acts for o in parsed.values()))
    shades = dict(zip(weights, colormaps["viridis"](np.linspace(0.92, 0.05, len(weights)))))
    return ({t: shades[o.weight_format.bits, o.weights, o.granularity] for t, o in parsed.items()},
            {t: MARKERS[acts.index(o.acts) % len(MARKERS)] for t, o in parsed.items()})


def _legend_beside(ax) -> None:
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8, borderaxespad=0)


def _save(fig, path: Path) -> Path:
    with whole(path) as tmp:
        fig.savefig(tmp, format="png", dpi=DPI)
    return Path(path)


def _figure(width: float, height: float):
    """A figure of its own, apart from pyplot and its state."""
    from matplotlib.figure import Figure
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots()


def _engineering(axis) -> None:
    from matplotlib.ticker import EngFormatter
    axis.set_major_formatter(EngFormatter(sep=" "))
