"""Why a plan is as it is: what each budget is worth, and what stands between a layer and its next better option."""
import numpy as np

from ir import Plan

from .budgets import TOLERANCE
from .exact import Found
from .space import Columns, Space


def why(s: Space, columns: Columns, room: np.ndarray, resources: list[str], found: Found, base: float = 0.0) -> dict:
    """{"bound", "budgets": {resource: {"spare", "price", "tight"}}, "layers": {layer: {"next", "saves", "needs", "over"}}}.

    price: damage that one more unit of the resource would save (of the relaxation that may choose fractions).  tight: some
    layer's next better option would not fit for its sake.  A layer that has its least damage already is not listed; of tied
    layers each is, with the sums of all.  `columns.regret` is the damage of each column, the other layers being as chosen; `room`
    is what the excess may sum to; `base` lies below the bound found.
    """
    chosen = found.chosen
    spare = room - columns.excess[chosen].sum(axis=0)
    saves = columns.regret[chosen][columns.group] - columns.regret
    needs = columns.excess - columns.excess[chosen][columns.group]
    priced = np.where(saves > 0, needs @ found.prices - saves, np.inf)
    least = np.minimum.reduceat(priced, s.starts)
    open_groups = np.flatnonzero(np.isfinite(least))
    fits = spare + TOLERANCE * room
    better = np.flatnonzero(priced <= least[columns.group])
    following = better[np.searchsorted(better, s.starts)][open_groups]
    groups, layers = list(s.menus.items()), {}
    for g, j, extra in zip(open_groups.tolist(), following.tolist(), needs[following].tolist()):
        names, menu = groups[g]
        over = {r: e - float(left) for r, e, left, most in zip(resources, extra, spare, fits) if e > most}
        entry = {"next": menu[j - int(s.starts[g])], "saves": float(saves[j]), "needs": dict(zip(resources, extra)), "over": over}
        layers |= dict.fromkeys(names, entry)
    tight = (needs[following] > fits).any(axis=0) if len(following) else np.zeros(len(resources), bool)
    budgets = {r: {"spare": float(max(0.0, left)), "price": float(p), "tight": bool(t)}
               for r, left, p, t in zip(resources, spare, found.prices, tight)}
    return {"bound": float(base + found.bound), "budgets": budgets, "layers": layers}


def explain(plan: Plan) -> list[str]:
    """The plan's `why` as lines to print: each budget, then for each layer why it has no more."""
    lines = []
    for r, b in plan.why.get("budgets", {}).items():
        worth = f"; one more unit would save {b['price']:.3g} of damage" if b["price"] > 0 else ""
        paid = f"{plan.costs[r]:g} of {plan.budgets[r]:g}" if r in plan.budgets else f"within {b['spare']:.3g}"
        lines.append(f"{r}: {paid}, {'tight' if b['tight'] else 'not tight'}{worth}")
    layers = plan.why.get("layers", {})
    for layer, option in plan.options.items():
        if layer not in layers:
            lines.append(f"{layer}: {option}, the least damage of its options")
            continue
        e = layers[layer]
        needs = ", ".join(f"{v:+g} {r}" for r, v in e["needs"].items()) or "nothing"
        over = "".join(f"; {v:g} {r} too many" for r, v in e["over"].items()) or "; it would fit, but spares less than the gap or moves others"
        lines.append(f"{layer}: {option}; {e['next']} would save {e['saves']:.3g} for {needs}{over}")
    return lines
