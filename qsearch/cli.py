"""The `qsearch` command.  Each verb reads files, calls one function of the public API and writes files.

A mistake gets one line and exit code 1 (2 for wrong usage); a traceback only with --debug.
"""
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ir import UserError

from . import cli_hw, cli_lm, cli_prove, cli_quantize, cli_search
from .cli_args import (ActRange, Apart, Augment, Budgets, DataOption, Distill, Engine, Evaluations, Fix, Floor, Forbid, Gap, Group, LearningRate,
                       Measured, Metrics, Model, Observer, Options, Order, Out, PairsOf, Prepare, Prune, Ratio, Reference, Rounding, Samples,
                       Searcher, Seed, Solver, Targets, Tie, TimeLimit, Tolerance, Train, Tune, Workers, ties)
from .plan_view import print_plan
from .settings import DEFAULT_OPTIONS, Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
                  context_settings={"help_option_names": ["-h", "--help"]},
                  help="Hardware-aware quantization compiler: a float network in, a mixed-precision plan and bit-exact code out.")
screen = cli_search.screen
DEMOS = ("digits", "lm")

@app.callback()
def common(debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
           quiet: Annotated[bool, typer.Option("--quiet", "-q", help="results only")] = False) -> None:
    os.environ["QSEARCH_DEBUG"] = "1" if debug else os.environ.get("QSEARCH_DEBUG", "")
    screen.err.quiet = quiet


@app.command()
def demo(what: Annotated[str, typer.Argument(help="digits: a classifier from training to builds; lm: a language model speaks")] = "digits",
         out: Out = Path("qsearch-demo"), seed: Seed = 0,
         images: Annotated[int, typer.Option(help="of digits: test images to simulate")] = 64,
         model: Annotated[Path | None, typer.Option(help="of lm: the folder of another language model (`qsearch train` writes it)")] = None,
         prompt: Annotated[str, typer.Option(help="of lm: the text that it goes on with")] = "",
         tokens: Annotated[int, typer.Option("--tokens", "-n", help="of lm: tokens to make")] = 80) -> None:
    """The whole road on real data in about two minutes; nothing to download.

    `demo lm`: a trained language model, compiled for this CPU and on its simulated core, side by side.
    """
    if what not in DEMOS:
        raise UserError(f"unknown demo {what!r}; give {' or '.join(DEMOS)}")
    if what == "lm":
        from .lm_demo import demo
        raise typer.Exit(0 if demo(out, screen, seed, model, prompt, tokens) else 1)
    from .demo import demo
    demo(out, screen, seed=seed, images=images)


@app.command()
def run(model: Model, data: DataOption, out: Out = Path("qsearch-run"), target: Targets = ["cpu", "onnx"],  # noqa: B006
        budget: Budgets = ["bytes=25%"], metric: Metrics = ["kl", "sqnr"], options: Options = "", fix: Fix = [], tie: Tie = [],  # noqa: B006
        forbid: Forbid = [], floor: Floor = [], group: Group = [], ratio: Ratio = [], pairs: PairsOf = "", order: Order = "weighted",  # noqa: B006
        tolerance: Tolerance = 0.01, reference: Reference = "", searcher: Searcher = "exact", evaluations: Evaluations = 250,
        measured: Measured = False,
        observer: Observer = "mse", rounding: Rounding = "gptq", apart: Apart = False, engine: Engine = "local", workers: Workers = 1,
        prepare: Prepare = [], act_range: ActRange = "observer",  # noqa: B006
        tune: Tune = 0, lr: LearningRate = 1e-3, train: Train = [], distill: Distill = False, augment: Augment = "none", prune: Prune = 0.0,  # noqa: B006
        samples: Samples = 128,
        check: Annotated[int, typer.Option(help="samples at most to compare on the CPU backends")] = 1000,
        simulate: Annotated[int, typer.Option(help="samples to simulate")] = 3,
        pareto: Annotated[int, typer.Option(help="points of a Pareto front over the first budget's resource")] = 0,
        solver: Solver = "highs", time_limit: TimeLimit = 60.0, gap: Gap = 1e-4, seed: Seed = 0) -> None:
    """A model in; plan, integer graph, checked builds and a report out.  Stopped, it goes on where it was."""
    from . import flow
    s = Settings(targets=tuple(target), budgets=tuple(budget), metrics=tuple(metric), options=options or DEFAULT_OPTIONS,
                 rules=tuple(fix), ties=ties(tie), observer=observer, rounding=rounding, samples=samples, tune=tune, learning_rate=lr,
                 check=check, simulate=simulate, pareto=pareto, solver=solver, apart=apart, engine=engine, workers=workers,
                 forbid=tuple(forbid), floors=tuple(floor), groups=tuple(group), ratios=tuple(ratio), pairs=pairs, order=order, reference=reference,
                 tolerance=tolerance, searcher=searcher, evaluations=evaluations, measured=measured, time_limit=time_limit, gap=gap, seed=seed,
                 prepare=tuple(prepare), act_range=act_range, recipe=tuple(train), distill=distill, augment=augment, prune=prune)
    show_result(flow.run(model, data, out, s, screen))


app.command()(cli_search.sense)
app.command()(cli_search.cost)
app.command()(cli_search.plan)


app.command()(cli_quantize.quantize)
app.command("import")(cli_quantize.import_)
app.command("eval")(cli_quantize.evaluate)
app.command("compile")(cli_quantize.compile_)
app.command()(cli_quantize.size)


app.command("sim")(cli_hw.simulate)
app.command()(cli_hw.synth)
app.command()(cli_prove.prove)
app.command()(cli_lm.train)


@app.command()
def show(file: Annotated[Path, typer.Argument(help="a plan, table, graph or result")],
         diff: Annotated[Path | None, typer.Option(help="another plan: print what is different")] = None) -> None:
    """Print any file of ours for people, or how two plans differ: `show a.json --diff b.json`."""
    from .tables import describe, describe_difference
    if diff is None:
        print(describe(file))
        return
    for rows in describe_difference(file, diff):
        if rows:
            screen.table("", rows)


@app.command("list")
def list_(what: Annotated[str, typer.Argument(help="formats, metrics, costs, targets, observers, searchers, ties, engines, ops, preparations, "
                                                "training")]) -> None:
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
    print_plan(r.plan, screen, r.damage, r.costs)
    screen.table("", r.rows)
    print(f"mismatching values: {r.mismatches}\neverything is in {r.folder} (report.html, plan.json, graph/)")
    if r.mismatches:
        raise UserError(f"{r.mismatches} values differ from the reference; this is a defect, please report it with {r.folder}")


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
