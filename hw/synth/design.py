"""A generated design through Yosys and nextpnr: what it occupies, layer by layer, and how fast it runs; kept by what it depends on."""
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from ir.kept import Kept
from ir.store import digest, load_graph
from ir.target import Target

from ..design import TOP, Design, load
from ..targets import DSP_BITS, FAMILIES, fpga
from . import nextpnr, timing
from .layers import layer_of, marks, owners, used
from .nextpnr import PARTS
from .report import counts, layers, save, unfit
from .squeeze import expanded, squeezed
from .tools import version
from .yosys import ARITH, netlist, script

Step = Callable[[str], contextlib.AbstractContextManager]
Watch = Callable[[str], None]
KEPT_ATTRIBUTES = ("hdlname", "src")


def synth_design(folder: Path | str, device: str | Target | None = None, limit_s: float = 3600, route: bool = False, pack: bool = False,
                 seed: int = 1, clock_mhz: float | None = None, cache: Path | str | None = None, write: bool = False,
                 step: Step | None = None) -> dict:
    """What the generated design in `folder` occupies on a device, and with `route` how fast it runs there.

    {"device", "lut", "ff", "carry", "dsp", "bram", "fullest", "fits", "why", "layers", "instances", "tools", "seconds"}: `fullest` is the share
    of the device that the scarcest resource takes, `fits` whether every resource suffices, `why` by how much it does not and
    which layer takes the most.  Rows of `layers` are {"layer", "lut", ...} whose sums are the design's.
    Placed and routed by nextpnr (where it knows the device and the design fits), also: "fmax_mhz", "critical" (the slowest path,
    in one line), "path", "packed" ({cell: [used, available]}), "harness" (what of that is the harness's), "seed", and "ns" in each
    row: the latest arrival at a register of that layer.  pack: packed only, which is quick.  clock_mhz: what is aimed at (the target's).
    Results are kept in the folder `cache` (None: the user's) by sources, scripts, versions and device: what is known costs nothing, and
    a netlist is used again for another seed or clock.  write: also DIR/synth/<device>.json and the folder beside it with the
    netlist, the log and the configuration.  step(title) is a context that tells of progress; it yields progress(done, total, text).
    UserError: no design there, unknown device, a tool missing or failed, or more than `limit_s` seconds in all.
    """
    design, target, start, step = load(folder), fpga(device), time.monotonic(), step or quiet
    part, nodes = PARTS.get(target.name) if route or pack else None, list(load_graph(design.folder).nodes)
    tools = {"yosys": version("yosys")}
    with step("synthesis with Yosys") as progress:
        module = mapped(design, target, tools["yosys"], limit_s, cache, told(progress))
    report = counts(target, used(module, FAMILIES[target.family]), nodes)
    report |= {"tools": tools, "seconds": {"yosys": round(time.monotonic() - start, 1)}}
    made = None
    if part and report["fits"]:
        tools["nextpnr"] = version(part.tool)
        with step(f"{'packing' if pack else 'place and route'} with {part.tool}") as progress:
            left = limit_s - (time.monotonic() - start)
            made = routed(module, target, tools, (clock_mhz or target.clock_mhz, seed, pack), left, cache, told(progress))
        report |= found(made, module, nodes) | {"seed": seed, "clock_mhz": clock_mhz or target.clock_mhz}
        layers(report, nodes)
        unfit(report)
        report["seconds"]["nextpnr"] = round(time.monotonic() - start - report["seconds"]["yosys"], 1)
    if write:
        save(design.folder, report, module, made, part)
    return report


def mapped(design: Design, target: Target, tool: str, limit_s: float, cache: Path | str | None, watch: Watch | None = None) -> dict:
    """The flat, mapped netlist of the design: from the cache, or synthesized."""
    family, kept = FAMILIES[target.family], Kept("netlist", cache)
    files = sorted(design.folder.glob("*.mem"))
    text = script([p.name for p in design.sources], TOP, {}, family, target.dsp_bits or DSP_BITS, marks(design.folder))
    key = (*((p.name, digest(p.read_bytes())) for p in (*design.sources, *files, ARITH)), text, tool)
    if (entry := kept.get(*key)) is None:
        made = netlist(design.sources, TOP, files, text, limit_s, watch)
        entry = kept.put({"module": squeezed(json.dumps(_trimmed(made)))}, *key)
    return json.loads(expanded(entry["module"]))


def routed(module: dict, target: Target, tools: dict, aim: tuple[float, int, bool], limit_s: float, cache: Path | str | None,
           watch: Watch | None = None) -> dict:
    """What nextpnr.route made of the netlist: from the cache, or routed.  aim: clock in MHz, seed, only packed."""
    part, kept = PARTS[target.name], Kept("routing", cache)
    given = nextpnr.arguments(part, *aim)
    key = (digest(json.dumps(module, sort_keys=True)), given, tools)
    if (entry := kept.get(*key)) is None:
        entry = kept.put(nextpnr.route(module, TOP, FAMILIES[target.family], part, given, limit_s, watch), *key)
    return entry


def found(made: dict, module: dict, nodes: list[str]) -> dict:
    """The report's part that place and route adds."""
    out = {"packed": {c: n for c, n in made["utilisation"].items() if n[0]}, "harness": {r: n for r, n in made["harness"].items() if n}}
    if "report" not in made:
        return out
    own, told_by = owners(module), json.loads(expanded(made["report"]))
    fmax, path = timing.fmax_mhz(told_by), timing.critical(told_by, own)
    return out | {"fmax_mhz": fmax and round(fmax, 2), "path": path, "slowest_ns": timing.slowest(told_by, own),
                  "critical": path and timing.told(path, lambda at: layer_of(at, nodes) or TOP)}


def told(progress) -> Watch | None:
    """What a tool says last, passed on with the seconds that have gone by; progress: what a step yields."""
    start = time.monotonic()
    return progress and (lambda text: progress(None, None, f"{text} ({time.monotonic() - start:.0f} s)"))


@contextlib.contextmanager
def quiet(title: str):
    """A step that nobody hears of."""
    yield None


def _trimmed(module: dict) -> dict:
    """Without what neither the report nor nextpnr reads: most of a netlist is attributes."""
    for group in ("cells", "netnames"):
        for thing in module[group].values():
            thing["attributes"] = {k: v for k, v in thing["attributes"].items() if k in KEPT_ATTRIBUTES}
    return {k: module[k] for k in ("attributes", "ports", "cells", "netnames")}
