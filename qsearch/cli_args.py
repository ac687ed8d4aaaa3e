"""What the verbs of the command take: arguments and options that several of them share."""
from pathlib import Path
from typing import Annotated

import typer

from .settings import DEFAULT_OPTIONS

Model = Annotated[str, typer.Argument(help="file.onnx, file.pt2 or package.module:factory")]
DataOption = Annotated[str, typer.Option("--data", "-d", help="file.npz (x, y, maybe calib_x, calib_y) or package.module:factory")]
Out = Annotated[Path, typer.Option("--out", "-o", help="folder or file to write")]
Targets = Annotated[list[str], typer.Option("--target", "-t", help="cpu, onnx or an FPGA; `qsearch list targets`; may be repeated")]
Budgets = Annotated[list[str], typer.Option("--budget", "-b", help="lut=20000, bytes=25%, wbits=4 ...; may be repeated")]
Metrics = Annotated[list[str], typer.Option("--metric", "-m", help="`qsearch list metrics`; the plan minimises the first, or those weighed: kl=0.7")]
Options = Annotated[str, typer.Option(help=f"weight formats / activation formats that a layer may get; by default {DEFAULT_OPTIONS}")]
Fix = Annotated[list[str], typer.Option("--fix", help="LAYER=OPTIONS: an own menu; LAYER: a name, pattern, first or last; may be repeated")]
Tie = Annotated[list[str], typer.Option("--tie", help="LAYER,LAYER,... get the same option; or residual, qkv, shared; may be repeated")]
Forbid = Annotated[list[str], typer.Option("--forbid", help="LAYER=OPTIONS that it may not get (a layer, pattern, first or last); may be repeated")]
Observer = Annotated[str, typer.Option(help="minmax, percentile, mse or entropy")]
Rounding = Annotated[str, typer.Option(help="nearest, gptq, adaround, brecq or qdrop")]
Prepare = Annotated[list[str], typer.Option("--prepare", help="change of the float net first, see `qsearch list preparations`; may be repeated")]
ActRange = Annotated[str, typer.Option(help="ranges of activations: as the observer says, or scaled by what is best for the next layer's output")]
Tune = Annotated[int, typer.Option(help="epochs of training under the plan")]
LearningRate = Annotated[float, typer.Option(help="learning rate of --tune")]
Train = Annotated[list[str], typer.Option("--train", help="NAME=VALUE of the training: mode=lsq+, norms=virtual, accumulator_bits=16, ema=0.99 ...")]
Distill = Annotated[bool, typer.Option("--distill", help="let the float net teach beside the labels")]
Augment = Annotated[str, typer.Option(help="of images in training: none, flip or flip+crop")]
Prune = Annotated[float, typer.Option(help="share of each layer's weights that --tune takes to 0")]
Samples = Annotated[int, typer.Option(help="calibration samples that the metrics look at")]
Solver = Annotated[str, typer.Option(help="highs or cbc")]
Reference = Annotated[str, typer.Option(help="what budgets in % are of: an option, everywhere, or a plan.json; by default the dearest plan")]
Floor = Annotated[list[str], typer.Option("--floor", help="METRIC=DAMAGE: no option with more damage than this in that table; may be repeated")]
Group = Annotated[list[str], typer.Option("--group", help="NAME=PATTERN:METRIC: layers with a metric and programme of their own; one or two groups")]
Ratio = Annotated[list[float], typer.Option("--ratio", help="of the first group's share of a budget to the second one's; all given are tried")]
PairsOf = Annotated[str, typer.Option("--pairs", help="interactions of layers: predicted, or measured: adjacent, window:3, top:6, all")]
Order = Annotated[str, typer.Option(help="of several metrics: weighted or lexicographic")]
Tolerance = Annotated[float, typer.Option(help="of --order lexicographic: how far, relatively, each metric may be above its least")]
Searcher = Annotated[str, typer.Option(help="`qsearch list searchers`; exact is the integer programme")]
Evaluations = Annotated[int, typer.Option(help="plans that a searcher measures on the model, at most")]
TimeLimit = Annotated[float, typer.Option(help="seconds for the integer programme")]
Gap = Annotated[float, typer.Option(help="how far, relatively, a plan may be proven above the least possible damage")]
Measured = Annotated[bool, typer.Option("--measured", help="costs measured: latency on this machine, resources through synthesis")]
Apart = Annotated[bool, typer.Option("--apart", help="measure weights and activations one side at a time and add the damages: fewer cells")]
Engine = Annotated[str, typer.Option(help="local, or ray (a cluster: RAY_ADDRESS)")]
Workers = Annotated[int, typer.Option(help="processes that measure, as far as memory allows")]
Seed = Annotated[int, typer.Option(help="governs all chance")]
Engines = Annotated[int, typer.Option(help="of a language model on an FPGA: rows of a matrix at once (0: 2)")]
Trits = Annotated[int, typer.Option(help="of the same: weights of a row that an engine takes in a cycle (0: 80, or 64 with --form two_bit)")]
TopK = Annotated[int, typer.Option("--top-k", help="of the same: most candidates of a draw, 1: it always takes the likeliest (0: 8)")]
Far = Annotated[bool, typer.Option("--far", help="of the same: the weights stand in an outer memory and are read over AXI4")]
Taps = Annotated[bool, typer.Option("--taps", help="of the same: every intermediate can be seen")]


def ties(given: list[str]) -> tuple[tuple[str, ...], ...]:
    """Tied layers as they are written: `a,b` `c,d`."""
    return tuple(tuple(g.split(",")) for g in given)
