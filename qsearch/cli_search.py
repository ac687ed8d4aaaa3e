"""The verbs of the search: sense, cost and plan."""
from pathlib import Path
from typing import Annotated

import typer

from ir import Table, UserError

from . import keep
from .cli_args import (Apart, Budgets, DataOption, Engine, Evaluations, Fix, Floor, Forbid, Gap, Group, Measured, Metrics, Model, Observer,
                       Options, Order, Out, PairsOf, Ratio, Reference, Rounding, Samples, Searcher, Seed, Solver, Tie, TimeLimit, Tolerance,
                       Workers, ties)
from .data import load_data
from .screen import Screen
from .settings import DEFAULT_OPTIONS, Settings, sensible, weights_of

screen = Screen()


def sense(model: Model, data: DataOption, out: Out = Path("."), metric: Metrics = ["kl", "sqnr"], options: Options = "", fix: Fix = [],  # noqa: B006
          observer: Observer = "mse", rounding: Rounding = "gptq", samples: Samples = 128, apart: Apart = False, pairs: PairsOf = "",
          engine: Engine = "local", workers: Workers = 1, seed: Seed = 0) -> None:
    """Damage tables: what each option of each layer does to the model."""
    from . import sensing, steps
    s = Settings(metrics=tuple(metric), options=options or DEFAULT_OPTIONS, rules=tuple(fix), observer=observer, rounding=rounding,
                 samples=samples, apart=apart, pairs=pairs, engine=engine, workers=workers, seed=seed)
    sensible(s)
    sensing.pairs_setting(s)
    d = load_data(data)
    net = steps.capture(model, d)
    with screen.step("calibrate"):
        looked = sensing.probe(net, steps.calibrate(net, d, s), d, s)
    with screen.step("sensitivity") as progress:
        tables = keep.save_tables(sensing.sense(looked, net, s, out / "sense.cache", progress), out, "damage")
    for name in tables:
        print(out / f"damage.{name}.table.json")
    if pairs:
        with screen.step("interactions") as progress:
            found = sensing.save_pairs(sensing.interactions(looked, net, s, out / "sense.cache", progress), out)
        print(out / f"pairs.{found.name}.json")


def cost(model: Annotated[str, typer.Argument(help="file.onnx, file.pt2 or package.module:factory; a language model: its folder, 370m, 1.3b, 2.7b or "
                                                   "DIMxHIDDENxLAYERSxTOKENS")],
         target: Annotated[list[str], typer.Option("--target", "-t", help="cpu (the default), onnx or an FPGA; of a language model a board, such as "
                                                   "kv260 (the default: all); may be repeated")] = [],  # noqa: B006
         data: Annotated[str, typer.Option("--data", "-d", help="needed for torch modules only, and for what stands beside the layers")] = "",
         out: Out = Path("."), options: Options = "", fix: Fix = [], budget: Budgets = [], measured: Measured = False,  # noqa: B006
         engines: Annotated[int, typer.Option(help="of a language model's core (0: the best)")] = 0,
         lanes: Annotated[int, typer.Option(help="of the core's quantizer (0: the best)")] = 0,
         encoding: Annotated[str, typer.Option(help="of the core's weights: base3, fields or two_bit (the best)")] = "") -> None:
    """Cost tables: what each option of each layer costs on the targets (an FPGA's at the cycles of --budget cycles=N).

    Of a MatMul-free language model: memory, tokens a second, cells and energy of its core on boards, or by how much it does not fit.
    """
    from . import lm_cost
    if (shape := lm_cost.shape_of(model)) is not None:
        return lm_cost.cost(shape, target, screen, engines, encoding, lanes)
    import quant
    from . import backends, steps
    target = target or ["cpu"]
    s = Settings(targets=tuple(target), options=options or DEFAULT_OPTIONS, rules=tuple(fix), budgets=tuple(budget), measured=measured)
    d = load_data(data) if data else None
    net = steps.capture(model, d) if d else quant.load_model(model)
    with screen.step("costs") as progress:
        calibration = steps.calibrate(net, d, s) if d else None
        tables = keep.save_tables(steps.cost(net, [backends.target(t) for t in target], s, calibration, progress), out, "cost")
    for name, table in tables.items():
        print(out / f"cost.{name}.table.json", additive(table))


def additive(table: Table) -> str:
    """How far the sum over layers is from a whole network that was measured, if it was."""
    error = table.about.get("additive_error")
    return f"(sum of layers against a whole network: {error['relative']:+.1%})" if error and "relative" in error else ""


def plan(tables: Annotated[list[Path], typer.Argument(help="*.table.json files, or folders of them")], budget: Budgets = [],  # noqa: B006
         metric: Metrics = [], order: Order = "weighted", tolerance: Tolerance = 0.01, tie: Tie = [], forbid: Forbid = [],  # noqa: B006
         floor: Floor = [], group: Group = [], ratio: Ratio = [], reference: Reference = "",  # noqa: B006
         pairs: Annotated[Path | None, typer.Option(help="interactions of layers, as `sense --pairs` wrote them")] = None,
         searcher: Searcher = "exact", evaluations: Evaluations = 250,
         model: Annotated[str, typer.Option(help="what --group and --searcher evolve or fliqs look at; greedy and exact need the tables alone")] = "",
         data: Annotated[str, typer.Option("--data", "-d", help="samples for --model")] = "", out: Out = Path("plan.json"),
         pareto: Annotated[int, typer.Option(help="write a front of this many plans instead, and a plot of it")] = 0,
         solver: Solver = "highs", time_limit: TimeLimit = 60.0, gap: Gap = 1e-4, observer: Observer = "mse", rounding: Rounding = "gptq",
         samples: Samples = 128, seed: Seed = 0) -> None:
    """The plan of least damage within the budgets: what each layer gets, what it pays, and why."""
    from search import Pairs
    from . import planning
    from .plan_view import print_plan
    from .tables import gather
    damage, costs = gather(tables)
    s = Settings(budgets=tuple(budget), metrics=tuple(metric) or (next(iter(damage)),), order=order, tolerance=tolerance, ties=ties(tie),
                 forbid=tuple(forbid), floors=tuple(floor), groups=tuple(group), ratios=tuple(ratio), reference=reference,
                 searcher=searcher,
                 evaluations=evaluations, solver=solver, time_limit=time_limit, gap=gap, observer=observer, rounding=rounding,
                 samples=samples, pareto=pareto, seed=seed, targets=(), pairs=str(pairs or ""))
    sensible(s)
    if not group:
        screen.say(f"  minimises {', '.join(name for name, _, _ in weights_of(s))} of the damage tables {', '.join(damage)}")
    together = Pairs.load(pairs) if pairs else None
    if pareto:
        if group or searcher != planning.EXACT:
            raise UserError("--pareto writes a front by the integer programme alone; leave out --group and --searcher")
        return write_front(damage, costs, s, together, out.parent)
    with screen.step("allocate bits") as progress:
        p = keep.save_plan(planning.choose(damage, costs, s, "", together, looker(model, data, s, damage), progress, out.with_suffix(".cache")), out)
    print_plan(p, screen, damage, costs)
    print(out)


def write_front(damage: dict[str, Table], costs: dict[str, Table], s: Settings, pairs, out: Path) -> None:
    """A front of plans, with these interactions or None, their files and a plot."""
    from . import planning
    from .plan_view import sums
    from .plots import front as plot
    with screen.step("Pareto front"):
        front = keep.save_front(planning.pareto(damage, costs, s, pairs), out)
    for i, p in enumerate(front):
        print(keep.front_file(out, i), sums(p))
    resource = planning.swept(s)
    print(plot(front, resource, s.metrics[0].partition("=")[0], out / "front" / "front.png", unit=costs[resource].unit))


def looker(model: str, data: str, s: Settings, damage: dict[str, Table]):
    """A function that gives the probe of the model that the tables were made from; None without a model."""
    if not model:
        return None
    if not data:
        raise UserError(f"--model {model} without samples; give --data")

    def look():
        from . import sensing, steps
        d = load_data(data)
        net = steps.capture(model, d)
        made = next((t for t in damage.values() if t.about.get("model")), None)
        if made and made.about["model"] != net.hash:
            raise UserError(f"damage table {made.name!r} is of model {made.about['model']}, {model} is {net.hash}; make the tables from this model")
        return sensing.probe(net, steps.calibrate(net, d, s), d, s)
    return look
