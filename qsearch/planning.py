"""From tables to a plan: which damage is made small, under which floors, by which searcher."""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ir import Plan, Table, UserError
from search import ENGINES, SEARCHERS, Pairs

from .sensing import pairs_setting, ties_of
from .settings import Settings, budgets_of, floors_of, menus, metrics_of, sensible, weights_of

EXACT = "exact"


def mistyped(net, s: Settings) -> None:
    """UserError: a setting of the search that means nothing, or a model that no plan can be carried out for."""
    import quant
    from search import groups
    sensible(s)
    pairs_setting(s)
    if s.groups:
        groups(quant.geometry(net), s.groups)
    budgets_of(s), menus(net, s), metrics_of(s), weights_of(s), forbidden(s), SEARCHERS[s.searcher], ENGINES[s.engine]
    quant.check_plan(net, Plan({layer: options[-1] for layer, options in menus(net, s).items()}))


def possible(net, costs: dict[str, Table], s: Settings) -> None:
    """UserError: no plan keeps the budgets and the rules, whatever the damage."""
    from search import allocate
    nothing = Table("nothing", "damage", {layer: dict.fromkeys(o, 0.0) for layer, o in menus(net, s).items()}, about={"ties": ties_of(net)})
    allocate(nothing, costs, budgets_of(s), **rules({"nothing": nothing}, s))


def choose(damage: dict[str, Table], costs: dict[str, Table], s: Settings, model: str = "", pairs: Pairs | None = None,
           look: Callable | None = None, progress=None, cache: Path | None = None) -> Plan:
    """The plan of least damage within the budgets.

    Of all tables: by the integer programme (with `pairs`, if given), by another searcher, or group by group with a final choice
    that is measured; the latter two look at the model through look(), a probe.
    """
    SEARCHERS[s.searcher]  # a name that means nothing is refused before all else
    if s.groups:
        plan = by_groups(damage, costs, s, look, progress, cache)
    elif s.searcher != EXACT:
        plan = searched(damage, costs, s, look, progress, cache)
    else:
        from search import allocate
        plan = allocate(objective(damage, s), costs, budgets_of(s), pairs=pairs, order=s.order, tolerance=s.tolerance, **rules(damage, s))
    plan.model, plan.target = model or plan.model, ",".join(s.targets)
    for name, table in damage.items():
        if all(str(o) in table.rows.get(layer, ()) for layer, o in plan.options.items()):
            plan.damage.setdefault(name, sum(table.rows[layer][str(o)] for layer, o in plan.options.items()))
    return plan


def pareto(damage: dict[str, Table], costs: dict[str, Table], s: Settings, pairs: Pairs | None = None) -> list[Plan]:
    """Plans between the cheapest and the dearest in the resource of the first budget, by the integer programme."""
    from search import pareto as front
    how = rules(damage, s) | ({"pairs": pairs} if pairs else {})
    return front(objective(damage, s), costs, swept(s), points=s.pareto, budgets=budgets_of(s), order=s.order, **how)


def swept(s: Settings) -> str:
    """The resource that a front is swept over: the first budget's."""
    return next(iter(budgets_of(s)), "bytes")


def rules(damage: dict[str, Table], s: Settings) -> dict:
    """What the integer programme keeps to."""
    return {"ties": tied(damage, s), "forbid": forbidden(s), "reference": reference_of(damage, s), "solver": s.solver,
            "time_limit": s.time_limit, "gap": s.gap}


def reference_of(damage: dict[str, Table], s: Settings) -> Plan | str | None:
    """What percentages are of: a plan, an option, or None for the dearest.  UserError: a plan of another model."""
    if not s.reference.endswith(".json"):
        return s.reference or None
    plan, model = Plan.load(s.reference), next((t.about["model"] for t in damage.values() if t.about.get("model")), "")
    if plan.model and model and plan.model != model:
        raise UserError(f"--reference {s.reference} is a plan of model {plan.model}, the damage tables are of {model}; give a plan of the same model")
    return plan


def tied(damage: dict[str, Table], s: Settings) -> list[tuple[str, ...]]:
    """Ties with their names replaced by the layers that the model has for them."""
    known = next((t.about["ties"] for t in damage.values() if "ties" in t.about), {})
    found: list[tuple[str, ...]] = []
    for tie in s.ties:
        if len(tie) > 1:
            found.append(tie)
        elif not known.get(tie[0]):
            there = ", ".join(k for k, v in known.items() if v) or "of no kind"
            raise UserError(f"tie {tie[0]!r}: this model has no such layers (it has ties {there}); name layers, for example a,b")
        else:
            found += [tuple(t) for t in known[tie[0]]]
    return found


def forbidden(s: Settings) -> dict[str, tuple[str, ...]]:
    """{layer or pattern: option patterns}.  UserError: not of that form."""
    found: dict[str, tuple[str, ...]] = {}
    for text in s.forbid:
        layer, equals, options = text.partition("=")
        if not equals or not layer.strip() or not options.strip():
            raise UserError(f"--forbid {text!r} is not of the form layer=options, for example first=int2/uint8,int3/uint8")
        found[layer.strip()] = found.get(layer.strip(), ()) + tuple(o.strip() for o in options.split(","))
    return found


def objective(damage: dict[str, Table], s: Settings) -> Table | list[tuple]:
    """The first metric's table, or the weighed ones, with the options above each floor only."""
    weighed = [(floored(named(damage, name), damage, s), w, *([layers] if layers else [])) for name, w, layers in weights_of(s)]
    return weighed if len(weighed) > 1 or any("=" in m for m in s.metrics) else weighed[0][0]


def floored(table: Table, damage: dict[str, Table], s: Settings) -> Table:
    """A table without the options that a floor rules out: those whose damage in the floor's own table is too large."""
    from search import Floor
    for name, most in floors_of(s):
        table = Floor.of(named(damage, name), most).under(table)
    return table


def named(damage: dict[str, Table], name: str) -> Table:
    if name not in damage:
        raise UserError(f"no damage table {name!r} was given (there are {', '.join(damage)}); make it with `qsearch sense --metric {name}`")
    return damage[name]


def by_groups(damage: dict[str, Table], costs: dict[str, Table], s: Settings, look, progress, cache) -> Plan:
    """Each group's own programme, a sweep over how they share the budgets, and a final choice measured on the model's output."""
    import quant
    from search import decoupled, groups, output_error
    probe = looked(look, "--group")
    layers = {k: v for k, v in quant.geometry(probe.net).items() if k in next(iter(damage.values())).rows}
    tables = {g.name: replace(floored(named(damage, g.metric), damage, s), rows={k: damage[g.metric].rows[k] for k in g.layers})
              for g in groups(layers, s.groups).values()}
    found = decoupled(tables, costs, budgets_of(s), output_error(probe), ratios=s.ratios or None, ties=tied(damage, s), progress=progress,
                      reference=reference_of(damage, s), solver=s.solver, time_limit=s.time_limit, gap=s.gap)
    if cache:
        found.save(cache.with_name("decoupled.json"))
    return found.plan()


def searched(damage: dict[str, Table], costs: dict[str, Table], s: Settings, look, progress, cache) -> Plan:
    """Another searcher: `greedy` on the tables, `evolve` on the first metric measured for each whole plan, `fliqs` on training steps.

    What fliqs trains is left behind: `quantize --tune` trains the plan's own weights.
    """
    from search import find, whole_plan
    goal = objective(damage, s)
    first = goal[0][0] if isinstance(goal, list) else goal
    options = {k: tuple(row) for k, row in first.rows.items()}
    how = {"ties": tied(damage, s), "forbid": forbidden(s), "reference": reference_of(damage, s), "seed": s.seed, "progress": progress}
    if s.searcher == "greedy":
        return find("greedy", options, goal, costs, budgets_of(s), **how)
    probe, metric = looked(look, f"--searcher {s.searcher}"), metrics_of(s)[0]
    how |= {"evaluations": s.evaluations, "name": "loss" if s.searcher == "fliqs" else metric}
    if s.searcher == "fliqs":
        import quant
        return find("fliqs", options, quant.OneShot(probe.net, probe.calibration, probe.calibration.x, seed=s.seed), costs, budgets_of(s), **how)
    return find(s.searcher, options, whole_plan(probe, metric), costs, budgets_of(s), prior=first, cache=cache, key=probe.key + metric, **how)


def looked(look: Callable | None, what: str):
    """The probe.  UserError: there is no model to look at."""
    if look is None:
        raise UserError(f"{what} measures whole plans on the model; give --model and --data")
    return look()
