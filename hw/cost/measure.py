"""Hardware costs measured instead of fitted: each layer alone through Yosys, kept by what was synthesized.

The fitted tables (hw/cost/tables.py) stand first; what is measured takes the place of their cells.  And the check of the sum: the
tables' prediction for a whole design beside the whole design synthesized.
"""
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ir import Graph, Layer, Option, Table
from ir.example import example, menus
from ir.kept import Kept
from ir.store import digest

from ..dataflow.build import build
from .graph import RESOURCES
from ..dataflow.emit import core
from ..dataflow.fold import Folding
from ..dataflow.netlist import Netlist
from ..synth.tools import version
from ..synth.yosys import ARITH, script, synthesize
from .tables import best, layer_costs
from ..targets import DSP_BITS, FAMILIES, Target, fpga
from ..dataflow.verilog import generate
from ..design import TOP, library

KIND = "synthesis"
CORE = "qs_alone"
Progress = Callable[[int, int, str], None]


def measure(layers: Mapping[str, Layer], options: Mapping[str, Iterable[str]], target: Target | str | None = None,
            cycles: int | None = None, fitted: Mapping[str, Table] | None = None, limit: int | None = None, max_lut: float | None = None,
            cache: Path | str | None = None, progress: Progress | None = None) -> dict[str, Table]:
    """Tables "lut", "ff", "dsp", "bram" and "cycles" over `options`, {layer: option texts}, of layers synthesized alone.

    Layers are folded as in layer_costs, whose tables (`fitted`, or made here) these are where nothing was measured: at most `limit` new runs of Yosys
    are made (None: no bound), the largest cells first, and none of a cell of more than `max_lut` fitted LUTs.  Runs that the
    folder `cache` holds (None: the user's) cost nothing, and equal designs are run once.  progress(done, total, text).
    about: `folding` and `measured` ({layer: [options]}), `fitted` (the numbers that were replaced), the version of Yosys.
    UserError: an unknown layer, one with no option that can be built, a goal out of reach, Yosys missing or failing.
    """
    t, offered = fpga(target), menus(layers, options, "an FPGA")
    if fitted is None:
        fitted = layer_costs({k: layers[k] for k in offered}, list(dict.fromkeys(o for m in offered.values() for o in m)), t, cycles)
    tables = {r: replace(v, rows={k: {o: v.rows[k][o] for o in menu} for k, menu in offered.items()}) for r, v in fitted.items()}
    cycles = fitted["lut"].about["cycles"]
    kept, tool = Kept(KIND, cache), version("yosys")
    cells = sorted(((k, o) for k, menu in offered.items() for o in menu), key=lambda c: -fitted["lut"].rows[c[0]][c[1]])
    cells = [c for c in cells if max_lut is None or fitted["lut"].rows[c[0]][c[1]] <= max_lut]
    left, done, folding, replaced = len(cells) if limit is None else limit, {}, {}, {r: {} for r in RESOURCES}
    for at, (name, o) in enumerate(cells):
        if progress:
            progress(at, len(cells), f"{t.name} {name} {o}")
        option = Option.parse(o)
        shape = best(layers[name], option, t, cycles).folding
        netlist = build(example(layers[name], option), {"layer": shape})
        used, fresh = _synthesized(core(netlist, CORE), netlist, CORE, t, tool, kept, left > 0)
        left -= fresh
        if used is None:
            continue
        done.setdefault(name, []).append(o)
        folding.setdefault(name, {})[o] = list(shape)
        for r in RESOURCES:
            replaced[r].setdefault(name, {})[o] = tables[r].rows[name][o]
            tables[r].rows[name][o] = float(used[r])
    if progress:
        progress(len(cells), len(cells), "")
    for r, table in tables.items():
        table.about = fitted[r].about | {"yosys": tool, "measured": done, "folding": folding} | ({"fitted": replaced[r]} if r in replaced else {})
    return tables


def whole(g: Graph, folding: Folding, target: Target | str | None = None, cache: Path | str | None = None) -> dict[str, int]:
    """{"lut", "ff", "dsp", "bram"} of the whole design of graph `g`, AXI-Streams included, synthesized or from the cache."""
    t = fpga(target)
    with tempfile.TemporaryDirectory(prefix="qs_whole_") as d:
        design = generate(g, Path(d) / "design", folding)
        net = Netlist(mems={p.name: p.read_text() for p in sorted(design.folder.glob("*.mem"))})
        return _synthesized((design.folder / f"{TOP}.sv").read_text(), net, TOP, t, version("yosys"), Kept(KIND, cache), True)[0]


def fit_fixed(tables: Mapping[str, Table], g: Graph, options: Mapping[str, str], folding: Folding,
              target: Target | str | None = None, cache: Path | str | None = None) -> None:
    """Sets each table's `fixed` to what the whole design of `g`, {layer: option}, takes beyond its layers; never below 0.

    Sums, pools, buffers, lane converters and the AXI-Streams are in it, and what synthesis shares among layers is taken off.
    """
    used = whole(g, folding, target, cache)
    for r in RESOURCES:
        tables[r].fixed = max(0.0, used[r] - sum(tables[r].rows[k][str(o)] for k, o in options.items()))


def additive_error(tables: Mapping[str, Table], g: Graph, options: Mapping[str, str], folding: Folding,
                   target: Target | str | None = None, cache: Path | str | None = None) -> dict[str, dict[str, float]]:
    """resource -> {"predicted", "measured", "relative"}: the tables' sums for {layer: option} and what is fixed, and the design.

    `relative` is (predicted - measured) / max(1, measured).
    """
    used, out = whole(g, folding, target, cache), {}
    for r in RESOURCES:
        predicted = tables[r].fixed + sum(tables[r].rows[k][str(o)] for k, o in options.items())
        out[r] = {"predicted": predicted, "measured": used[r], "relative": (predicted - used[r]) / max(1, used[r])}
    return out


def _synthesized(text: str, net: Netlist, top: str, t: Target, tool: str, kept: Kept, may_run: bool) -> tuple[dict[str, int] | None, bool]:
    """Resources of module `top` in `text`, and whether Yosys ran for them; None where it may not."""
    sources, dsp_bits = library(text), t.dsp_bits or DSP_BITS
    words = [" ".join(re.sub(r"//[^\n]*", "", s).split()) for s in (text, *(p.read_text() for p in sources), ARITH.read_text())]
    key = (digest(*words), net.mems, script([], top, {}, FAMILIES[t.family], dsp_bits), tool)
    if (found := kept.get(*key)) is not None or not may_run:
        return found, False
    with tempfile.TemporaryDirectory(prefix="qs_alone_") as d:
        written = Path(d) / f"{top}.sv"
        written.write_text(text)
        for name, content in net.mems.items():
            (Path(d) / name).write_text(content)
        used = synthesize([*sources, written], top, None, t.family, [Path(d) / n for n in net.mems], dsp_bits)
    return kept.put(used, *key), True
