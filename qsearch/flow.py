"""The whole road as a straight list of steps: a model in, a plan, an integer graph and checked builds out.

The steps are in qsearch/steps.py; `run` chains them in a folder, so that a run that was stopped goes on where it was.
"""
import functools
from dataclasses import asdict, dataclass
from pathlib import Path

import ir
from ir import Graph, Plan
from ir.store import graph_hash, load_json, save_json

from . import backends
from .data import Data, load_data
from .journal import Journal
from .keep import canonical_rows, load_front, load_quantized, load_tables, save_front, save_plan, save_tables
from .screen import Screen
from .planning import choose, mistyped, pareto, possible
from .sensing import interactions, load_pairs, probe, save_pairs, sense
from .settings import Settings, metrics_of
from .steps import build, calibrate, capture, cost, quantize


NO_PLAN = ("prepare", "act_range", "tune", "learning_rate", "recipe", "distill", "augment", "prune", "check", "simulate", "engine",
           "workers")  # settings that no plan depends on
FEW = 32  # calibration samples that are worth a warning


@dataclass
class Result:
    """What a run leaves behind, also on disk in `folder`."""
    folder: Path
    plan: Plan
    graph: Graph
    rows: list[dict]                               # the table: one row a backend
    seconds: dict[str, float]
    damage: dict[str, ir.Table]                    # by metric
    costs: dict[str, ir.Table]                     # by resource

    @property
    def mismatches(self) -> int:
        """Values, over all backends, that are not the reference's."""
        return sum(r["mismatches"] or 0 for r in self.rows)


def run(model, data, out: Path | str, settings: Settings | None = None, screen: Screen | None = None) -> Result:
    """Everything in one go, resumable, in the folder `out`; see Settings.  `model` and `data`: see load_model, load_data."""
    s, screen = settings or Settings(), screen or Screen(quiet=True)
    targets = [backends.target(t) for t in s.targets]
    data = load_data(data)
    net = capture(model, data)
    journal, out = Journal(out, screen), Path(out)
    key = [net.hash, data.key, ir.store.VERSION]
    screen.say(headline(model, net, data))
    mistyped(net, s)  # refused before the long work
    with screen.step("calibrate"):
        calibration = calibrate(net, data, s)
    with screen.step("costs") as progress:
        costs = save_tables(cost(net, targets, s, calibration, progress), out, "cost")
    possible(net, costs, s)  # budgets that cannot be met are refused before the measuring

    names, cache, looked = metrics_of(s), out / "sense.cache", functools.cache(lambda: probe(net, calibration, data, s))
    sense_key = [*key, names, s.options, s.rules, s.observer, s.rounding, s.samples, s.apart, s.seed]
    damage = journal.step("sense", f"sensitivity ({', '.join(names)})", sense_key,
                          lambda progress: save_tables(sense(looked(), net, s, cache, progress), out, "damage"),
                          lambda: load_tables(names, out, "damage"))
    pairs = journal.step("pairs", f"interactions ({s.pairs})", [*sense_key, s.pairs],
                         lambda progress: save_pairs(interactions(looked(), net, s, cache, progress), out),
                         lambda: load_pairs(out, names[0])) if s.pairs else None
    plan_key = [*sense_key, *(v for k, v in asdict(s).items() if k not in NO_PLAN), *map(canonical_rows, costs.values())]
    plan = journal.step("plan", "allocate bits", plan_key,
                        lambda progress: save_plan(choose(damage, costs, s, net.hash, pairs, looked, progress, out / "search.cache"),
                                                   out / "plan.json"),
                        lambda: Plan.load(out / "plan.json"))
    front = journal.step("front", "Pareto front", plan_key, lambda progress: save_front(pareto(damage, costs, s, pairs), out),
                         lambda: load_front(out)) if s.pareto else []
    quant_key = [*key, {k: str(v) for k, v in plan.options.items()}, s.rounding, s.observer, s.tune, s.learning_rate, s.seed,
                 s.prepare, s.act_range, s.recipe, s.distill, s.augment, s.prune]
    graph, rows, expected = journal.step("quantize", "quantize and train" if s.tune else "quantize", quant_key,
                                         lambda progress: quantize(net, plan, calibration, data, s, out, progress),
                                         lambda: load_quantized(out))
    for t in targets:
        build_key = [graph_hash(graph), s.budgets, s.check, s.simulate, data.key]
        rows.append(journal.step(t.name, f"compile and check for {t.name}", build_key,
                                 lambda progress, t=t: build(t, graph, data, expected, s, out),
                                 lambda t=t: load_json(out / f"{t.name}.check.json", "check")))

    result = Result(out, plan, graph, rows, journal.seconds, damage, costs)
    save_json(out / "result.json", "result", {"rows": rows, "seconds": result.seconds, "settings": asdict(s), "graph": graph_hash(graph)})
    from .report import write_report
    with screen.step("report"):
        write_report(out, tables=list(damage.values()), plan=plan, front=front, rows=rows, costs=list(costs.values()))
    return result


def headline(model, net, data: Data) -> str:
    """What is at hand, and what capture has to say of it."""
    name = model if isinstance(model, (str, Path)) else type(model).__name__
    macs = sum(step.macs for step in net.steps.values()) / 1e6
    line = f"{name}: {len(net.layers)} layers, {macs:.1f} M multiply-accumulates"
    samples = f"{len(data.calib_x)} calibration and {len(data.x)} evaluation samples"
    notes = list(net.notes)
    if len(data.calib_x) < FEW:
        notes.append(f"{len(data.calib_x)} calibration samples make for poor ranges; give {FEW} or more")
    return "\n".join([f"{line}, {samples}", *(f"  note: {note}" for note in notes)])
