"""What the verbs of the command take: arguments and options that several of them share."""
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(help="file.onnx, file.pt2 or package.module:factory")]
DataOption = Annotated[str, typer.Option("--data", "-d", help="file.npz (x, y, maybe calib_x, calib_y) or package.module:factory")]
Out = Annotated[Path, typer.Option("--out", "-o", help="folder or file to write")]
Targets = Annotated[list[str], typer.Option("--target", "-t", help="cpu, onnx or an FPGA; `qsearch list targets`; may be repeated")]
Budgets = Annotated[list[str], typer.Option("--budget", "-b", help="lut=20000, bytes=25%, wbits=4 ...; may be repeated")]
Metrics = Annotated[list[str], typer.Option("--metric", "-m", help="`qsearch list metrics`; the plan minimises the first")]
Options = Annotated[str, typer.Option(help="weight formats / activation formats that a layer may get")]
Fix = Annotated[list[str], typer.Option("--fix", help="LAYER=OPTIONS: an own menu; LAYER: a name, pattern, first or last; may be repeated")]
Tie = Annotated[list[str], typer.Option("--tie", help="LAYER,LAYER,...: these get the same option; may be repeated")]
Forbid = Annotated[list[str], typer.Option("--forbid", help="LAYER=OPTIONS that it may not get (a layer, pattern, first or last); may be repeated")]
Observer = Annotated[str, typer.Option(help="minmax, percentile, mse or entropy")]
Rounding = Annotated[str, typer.Option(help="nearest or gptq")]
Samples = Annotated[int, typer.Option(help="calibration samples that the metrics look at")]
Solver = Annotated[str, typer.Option(help="highs or cbc")]
Apart = Annotated[bool, typer.Option("--apart", help="measure weights and activations one side at a time and add the damages: fewer cells")]
Engine = Annotated[str, typer.Option(help="local, or ray (a cluster: RAY_ADDRESS)")]
Workers = Annotated[int, typer.Option(help="processes that measure, as far as memory allows")]
Seed = Annotated[int, typer.Option(help="governs all chance")]


def ties(given: list[str]) -> tuple[tuple[str, ...], ...]:
    """Tied layers as they are written: `a,b` `c,d`."""
    return tuple(tuple(g.split(",")) for g in given)
