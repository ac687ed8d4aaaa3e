"""The `qsearch` command.  Each verb reads files, calls one function of the public API and writes files.

A mistake gets one line and exit code 1 (2 for wrong usage); a traceback only with --debug.
"""
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ir import UserError

from . import keep
from .data import load_data
from .screen import Screen
from .settings import DEFAULT_OPTIONS, Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
                  context_settings={"help_option_names": ["-h", "--help"]},
                  help="Hardware-aware quantization compiler: a float network in, a mixed-precision plan and bit-exact code out.")
screen = Screen()

Model = Annotated[str, typer.Argument(help="file.onnx, file.pt2 or package.module:factory")]
DataOption = Annotated[str, typer.Option("--data", "-d", help="file.npz (x, y, maybe calib_x, calib_y) or package.module:factory")]
Out = Annotated[Path, typer.Option("--out", "-o", help="folder or file to write")]
Targets = Annotated[list[str], typer.Option("--target", "-t", help="cpu, onnx or an FPGA; `qsearch list targets`; may be repeated")]
Budgets = Annotated[list[str], typer.Option("--budget", "-b", help="lut=20000, bytes=25%, wbits=4 ...; may be repeated")]
Metrics = Annotated[list[str], typer.Option("--metric", "-m", help="`qsearch list metrics`; the plan minimises the first")]
Options = Annotated[str, typer.Option(help="weight formats / activation formats that a layer may get")]
Fix = Annotated[list[str], typer.Option("--fix", help="LAYER=OPTIONS: an own menu; LAYER: a name, pattern, first or last; may be repeated")]
Tie = Annotated[list[str], typer.Option("--tie", help="LAYER,LAYER,...: these get the same option; may be repeated")]
Seed = Annotated[int, typer.Option(help="governs all chance")]


@app.callback()
def common(debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
           quiet: Annotated[bool, typer.Option("--quiet", "-q", help="results only")] = False) -> None:
    os.environ["QSEARCH_DEBUG"] = "1" if debug else os.environ.get("QSEARCH_DEBUG", "")
    screen.err.quiet = quiet


@app.command()
def demo(out: Out = Path("qsearch-demo"), seed: Seed = 0,
         images: Annotated[int, typer.Option(help="test images to simulate")] = 64) -> None:
    """The whole road on real data in about two minutes; nothing to download."""
    from .demo import demo
    demo(out, screen, seed=seed, images=images)


@app.command()
def run(model: Model, data: DataOption, out: Out = Path("qsearch-run"), target: Targets = ["cpu", "onnx"],  # noqa: B006
        budget: Budgets = ["bytes=25%"], metric: Metrics = ["kl", "sqnr"], options: Options = "", fix: Fix = [], tie: Tie = [],  # noqa: B006
        observer: Annotated[str, typer.Option(help="minmax, percentile, mse or entropy")] = "mse",
        rounding: Annotated[str, typer.Option(help="nearest or gptq")] = "gptq",
        tune: Annotated[int, typer.Option(help="epochs of training under the plan")] = 0,
        lr: Annotated[float, typer.Option(help="learning rate of --tune")] = 1e-3,
        samples: Annotated[int, typer.Option(help="calibration samples that the metrics look at")] = 128,
        check: Annotated[int, typer.Option(help="samples at most to compare on the CPU backends")] = 1000,
        simulate: Annotated[int, typer.Option(help="samples to simulate")] = 3,
        pareto: Annotated[int, typer.Option(help="points of a Pareto front over the first budget's resource")] = 0,
        solver: Annotated[str, typer.Option(help="highs or cbc")] = "highs", seed: Seed = 0) -> None:
    """A model in; plan, integer graph, checked builds and a report out.  Stopped, it goes on where it was."""
    from . import flow
    s = Settings(targets=tuple(target), budgets=tuple(budget), metrics=tuple(metric), options=options or DEFAULT_OPTIONS,
                 rules=tuple(fix), ties=_ties(tie), observer=observer, rounding=rounding, samples=samples, tune=tune, learning_rate=lr,
                 check=check, simulate=simulate, pareto=pareto, solver=solver, seed=seed)
    show_result(flow.run(model, data, out, s, screen))


@app.command()
def sense(model: Model, data: DataOption, out: Out = Path("."), metric: Metrics = ["kl", "sqnr"], options: Options = "", fix: Fix = [],  # noqa: B006
          observer: Annotated[str, typer.Option(help="minmax, percentile, mse or entropy")] = "mse",
          rounding: Annotated[str, typer.Option(help="nearest or gptq, as it will be quantized")] = "gptq",
          samples: Annotated[int, typer.Option(help="calibration samples that the metrics look at")] = 128, seed: Seed = 0) -> None:
    """Damage tables: what each option of each layer does to the model."""
    from . import steps
    s = Settings(metrics=tuple(metric), options=options or DEFAULT_OPTIONS, rules=tuple(fix), observer=observer, rounding=rounding,
                 samples=samples, seed=seed)
    d = load_data(data)
    net = steps.capture(model, d)
    with screen.step("calibrate"):
        calibration = steps.calibrate(net, d, s)
    with screen.step("sensitivity") as progress:
        tables = keep.save_tables(steps.sense(net, calibration, d, s, out / "sense.cache", progress), out, "damage")
    for name in tables:
        print(out / f"damage.{name}.table.json")


@app.command()
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


@app.command()
def plan(tables: Annotated[list[Path], typer.Argument(help="*.table.json files, or folders of them")], budget: Budgets = [],  # noqa: B006
         metric: Annotated[str, typer.Option(help="the damage table to minimise, if there are several")] = "", tie: Tie = [],  # noqa: B006
         out: Out = Path("plan.json"), pareto: Annotated[int, typer.Option(help="write a front of this many plans instead")] = 0,
         solver: Annotated[str, typer.Option(help="highs or cbc")] = "highs") -> None:
    """The plan of least damage within the budgets."""
    from . import steps
    from .tables import gather
    damage, costs = gather(tables)
    if metric and metric not in damage:
        raise UserError(f"no damage table {metric!r} was given (there are {', '.join(damage)})")
    first = metric or next(iter(damage))
    s = Settings(budgets=tuple(budget), metrics=(first,), ties=_ties(tie), solver=solver, pareto=pareto)
    if pareto:
        for i, p in enumerate(steps.pareto(damage, costs, s)):
            p.save(out.parent / "front" / f"{i:02d}.plan.json")
            print(out.parent / "front" / f"{i:02d}.plan.json", _sums(p))
        return
    p = keep.save_plan(steps.choose(damage, costs, s), out)
    show_plan(p)
    print(out)


@app.command()
def quantize(model: Model, plan: Annotated[Path, typer.Argument(help="plan.json")], data: DataOption, out: Out = Path("quantized"),
             tune: Annotated[int, typer.Option(help="epochs of training under the plan")] = 0,
             lr: Annotated[float, typer.Option(help="learning rate of --tune")] = 1e-3,
             observer: Annotated[str, typer.Option(help="minmax, percentile, mse or entropy")] = "mse",
             rounding: Annotated[str, typer.Option(help="nearest or gptq")] = "gptq", seed: Seed = 0) -> None:
    """Quantize after a plan (and train with --tune): an integer graph, and its accuracy."""
    import ir
    from . import steps
    s = Settings(observer=observer, rounding=rounding, tune=tune, learning_rate=lr, seed=seed)
    p, d = ir.Plan.load(plan), load_data(data)
    net = steps.capture(model, d)
    if p.model and p.model != net.hash:
        raise UserError(f"{plan} was made for another model (hash {p.model}, this one has {net.hash}); make the plan again")
    with screen.step("quantize") as progress:
        _, rows, _ = steps.quantize(net, p, steps.calibrate(net, d, s), d, s, out, progress)
    screen.table("", rows)
    print(out / "graph")


@app.command("eval")
def evaluate(model: Annotated[str, typer.Argument(help="a model, or the folder of an integer graph")], data: DataOption) -> None:
    """Score of a float model or of an integer graph on the evaluation samples."""
    import ir
    from . import steps
    from .evaluate import score
    d = load_data(data)
    if d.y is None:
        raise UserError(f"{data}: no labels y, so there is nothing to score against")
    if Path(model).is_dir() or model.endswith(".json"):
        g = ir.store.load_graph(model)
        outputs = steps.decode(g, steps.reference(g, d.x))
    else:
        outputs = steps.batched(steps.capture(model, d), d.x)
    print(score(outputs, d.y, outputs), f"on {len(d.x)} samples")


@app.command("compile")
def compile_(graph: Annotated[Path, typer.Argument(help="folder of an integer graph")],
             target: Annotated[str, typer.Option("--target", "-t", help="one of `qsearch list targets`")],
             out: Out = Path("build"), budget: Budgets = []) -> None:  # noqa: B006
    """Library, ONNX file or SystemVerilog design of an integer graph."""
    import ir
    from . import backends
    t = backends.target(target)
    with screen.step(f"compile for {target}"):
        print(backends.build(t, ir.store.load_graph(graph), out, Settings(budgets=tuple(budget))))


@app.command("sim")
def simulate(build: Annotated[Path, typer.Argument(help="what `qsearch compile` wrote")], data: DataOption,
             samples: Annotated[int, typer.Option(help="how many samples")] = 3) -> None:
    """Run a build on samples, compare every value with the reference, and count cycles."""
    from . import steps
    d = load_data(data, samples)
    r = steps.check(build, d, screen)
    screen.table("", [r])
    if r["mismatches"]:
        raise UserError(f"{build}: {r['mismatches']} values differ from the reference; this is a defect, please report it with the folder")


@app.command()
def synth(build: Annotated[Path, typer.Argument(help="folder of a SystemVerilog design")],
          device: Annotated[str, typer.Option(help="an FPGA of `qsearch list targets`")] = "ecp5-85k") -> None:
    """LUT, FF, DSP and BRAM of a design after Yosys."""
    import hw
    with screen.step("synthesize"):
        r = hw.synth_design(build, device)
    screen.table("", [r])


@app.command()
def show(file: Annotated[Path, typer.Argument(help="a plan, table, graph or result")]) -> None:
    """Print any file of ours for people."""
    from .tables import describe
    print(describe(file))


@app.command("list")
def list_(what: Annotated[str, typer.Argument(help="formats, metrics, costs, targets, observers or ops")]) -> None:
    """What can be named on the command line."""
    from .tables import listing
    for line in listing(what):
        print(line)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="folder of a run")]) -> None:
    """Plots and report.html of a run, made again."""
    from .tables import rewrite_report
    print(rewrite_report(folder))


@app.command()
def doctor() -> None:
    """What is missing on this machine, and how to get it."""
    from . import doctor as d
    raise typer.Exit(d.main())


def show_result(r) -> None:
    """The plan, the table and where everything lies."""
    show_plan(r.plan)
    screen.table("", r.rows)
    print(f"mismatching values: {r.mismatches}\neverything is in {r.folder} (report.html, plan.json, graph/)")
    if r.mismatches:
        raise UserError(f"{r.mismatches} values differ from the reference; this is a defect, please report it with {r.folder}")


def show_plan(p) -> None:
    screen.table("plan", [{"layer": layer, "option": str(o)} for layer, o in p.options.items()])
    print(_sums(p))


def _sums(p) -> str:
    return ", ".join([*(f"{k} damage {v:.4g}" for k, v in p.damage.items()),
                      *(f"{k} {v:,.0f}" + (f" of {p.budgets[k]:,.0f}" if k in p.budgets else "") for k, v in p.costs.items())])


def _ties(given: list[str]) -> tuple[tuple[str, ...], ...]: return tuple(tuple(g.split(",")) for g in given)


def main() -> None:
    """Entry of the command: errors become one line and an exit code."""
    try:
        app()
    except UserError as e:
        _fail(str(e))
    except KeyboardInterrupt:
        _fail(STOPPED)
    except (OSError, MemoryError) as e:
        _fail(f"{type(e).__name__}: {e}")
    except SystemExit as e:  # typer turns Ctrl-C into exit code 130
        if e.code != 130:
            raise
        _fail(STOPPED)


STOPPED = "stopped; give the same command again to go on from what is done"


def _fail(line: str) -> None:
    if os.environ.get("QSEARCH_DEBUG"):
        raise
    print(f"error: {line}", file=sys.stderr)
    sys.exit(1)
