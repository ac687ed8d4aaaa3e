"""The verbs of the search: sense, cost and plan."""
from pathlib import Path
from typing import Annotated

import typer

from . import keep
from .cli_args import (Apart, Budgets, DataOption, Engine, Fix, Metrics, Model, Observer, Options, Out, Rounding, Samples, Seed, Solver,
                       Targets, Tie, Workers, ties)
from .data import load_data
from .screen import Screen
from .settings import DEFAULT_OPTIONS, Settings

screen = Screen()


def sense(model: Model, data: DataOption, out: Out = Path("."), metric: Metrics = ["kl", "sqnr"], options: Options = "", fix: Fix = [],  # noqa: B006
          observer: Observer = "mse", rounding: Rounding = "gptq", samples: Samples = 128, apart: Apart = False,
          engine: Engine = "local", workers: Workers = 1, seed: Seed = 0) -> None:
    """Damage tables: what each option of each layer does to the model."""
    from . import steps
    s = Settings(metrics=tuple(metric), options=options or DEFAULT_OPTIONS, rules=tuple(fix), observer=observer, rounding=rounding,
                 samples=samples, apart=apart, engine=engine, workers=workers, seed=seed)
    d = load_data(data)
    net = steps.capture(model, d)
    with screen.step("calibrate"):
        calibration = steps.calibrate(net, d, s)
    with screen.step("sensitivity") as progress:
        tables = keep.save_tables(steps.sense(net, calibration, d, s, out / "sense.cache", progress), out, "damage")
    for name in tables:
        print(out / f"damage.{name}.table.json")


def cost(model: Model, target: Targets = ["cpu"],  # noqa: B006
         data: Annotated[str, typer.Option("--data", "-d", help="needed for torch modules only")] = "",
         out: Out = Path("."), options: Options = "", fix: Fix = [], budget: Budgets = []) -> None:  # noqa: B006
    """Cost tables: what each option of each layer costs on the targets (an FPGA's at the cycles of --budget cycles=N)."""
    import quant
    from . import backends, steps
    s = Settings(targets=tuple(target), options=options or DEFAULT_OPTIONS, rules=tuple(fix), budgets=tuple(budget))
    net = steps.capture(model, load_data(data)) if data else quant.load_model(model)
    tables = keep.save_tables(steps.cost(net, [backends.target(t) for t in target], s), out, "cost")
    for name in tables:
        print(out / f"cost.{name}.table.json")


def plan(tables: Annotated[list[Path], typer.Argument(help="*.table.json files, or folders of them")], budget: Budgets = [],  # noqa: B006
         metric: Annotated[list[str], typer.Option("--metric", "-m", help="damage table to minimise; several with weights: kl=0.7 sqnr=0.3")] = [],  # noqa: B006
         tie: Tie = [], out: Out = Path("plan.json"),  # noqa: B006
         pareto: Annotated[int, typer.Option(help="write a front of this many plans instead, and a plot of it")] = 0,
         solver: Solver = "highs") -> None:
    """The plan of least damage within the budgets."""
    from . import steps
    from .plan_view import print_plan, sums
    from .tables import gather
    damage, costs = gather(tables)
    first = metric[0] if metric else next(iter(damage))
    s = Settings(budgets=tuple(budget), metrics=(first,), ties=ties(tie), solver=solver, pareto=pareto)
    if pareto:
        from .plots import front as plot
        front = keep.save_front(steps.pareto(damage, costs, s), out.parent)
        for i, p in enumerate(front):
            print(keep.front_file(out.parent, i), sums(p))
        resource = steps.swept(s)
        print(plot(front, resource, first, out.parent / "front" / "front.png", unit=costs[resource].unit))
        return
    p = keep.save_plan(steps.choose(damage, costs, s), out)
    print_plan(p, screen, damage, costs)
    print(out)
