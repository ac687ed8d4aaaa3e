"""A generated design through Yosys and nextpnr: what it occupies, layer by layer, and how fast it runs; kept by what it depends on."""
import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ir import UserError
from ir.kept import Kept
from ir.store import digest, load_graph
from ir.target import Target

from ..design import TOP, load
from ..lm import units
from ..lm.design import is_lm_design, load_lm_design
from ..targets import DSP_BITS, FAMILIES, fpga
from . import harness, nextpnr, timing
from .layers import layer_of, marks, owners, used
from .nextpnr import PARTS, Part
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
    in one line), "path", "packed" ({cell: [used, available]}), "harness" (what of that is the harness's), "cells" (the design's logic
    cells: TRELLIS_COMB, ICESTORM_LC), "seed", and "ns" in each row: the latest arrival at a register of that layer.
    pack: packed only, which is quick.  clock_mhz: what is aimed at (the target's).
    Results are kept in the folder `cache` (None: the user's) by sources, scripts, versions and device: what is known costs nothing, and
    a netlist is used again for another seed or clock.  write: also DIR/synth/<device>.json and the folder beside it with the
    netlist, the log and the configuration.  step(title) is a context that tells of progress; it yields progress(done, total, text).
    UserError: no design there, unknown device, a tool missing or failed, or more than `limit_s` seconds in all.
    """
    folder = Path(folder)
    report, module, made = _made(_job(folder), fpga(device), limit_s, route, Aim(clock_mhz, seed, pack), cache, step or quiet)
    if write:
        save(folder, report, module, made, PARTS.get(report["device"]))
    return report


def synth_module(sources: Iterable[Path | str], top: str, device: str | Target | None = None, files: Iterable[Path | str] = (),
                 params: Mapping[str, int | str] | None = None, clock: str = harness.CLOCK, limit_s: float = 3600, route: bool = False,
                 pack: bool = False, seed: int = 1, clock_mhz: float | None = None, cache: Path | str | None = None,
                 step: Step | None = None) -> dict:
    """Like synth_design, of any module `top` in Verilog or SystemVerilog: the same commands and report, its instances not told apart.

    files: what $readmemh opens, by name; params: of `top`; clock: its port for the one clock, if it has any.
    """
    job = Job([Path(p) for p in sources], top, [Path(p) for p in files], dict(params or {}), clock)
    return _made(job, fpga(device), limit_s, route, Aim(clock_mhz, seed, pack), cache, step or quiet)[0]


@dataclass(frozen=True)
class Job:
    """What is synthesized.  marks, parts: see layers.marks, layers.owners; nodes: of the graph whose layers are told apart, or parts."""
    sources: list[Path]
    top: str
    files: list[Path]
    params: dict[str, int | str]
    clock: str
    marks: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)


def _job(folder: Path) -> Job:
    """A design by its layers, a language model's core by its units."""
    if is_lm_design(folder):
        core = load_lm_design(folder)
        return Job(core.sources, TOP, core.memories, {}, harness.CLOCK, units.marks(), list(units.PARTS), units.paths())
    design = load(folder)
    return Job(design.sources, TOP, sorted(folder.glob("*.mem")), {}, harness.CLOCK, marks(folder), list(load_graph(folder).nodes))


@dataclass(frozen=True)
class Aim:
    """Of place and route: MHz (None: the target's), seed, and whether cells are only packed."""
    clock_mhz: float | None
    seed: int
    pack: bool


def _made(job: Job, target: Target, limit_s: float, route: bool, aim: Aim, cache: Path | str | None, step: Step) -> tuple[dict, dict, dict | None]:
    """The report, the netlist, and what nextpnr made of it."""
    start, part, tools, made = time.monotonic(), PARTS.get(target.name) if route or aim.pack else None, {"yosys": version("yosys")}, None
    with step("synthesis with Yosys") as progress:
        module = mapped(job, target, tools["yosys"], limit_s, cache, told(progress))
    report = counts(target, used(module, FAMILIES[target.family], job.parts), job.nodes)
    report |= {"tools": tools, "seconds": {"yosys": round(time.monotonic() - start, 1)}}
    if part and report["fits"]:
        tools["nextpnr"] = version(part.tool)
        aim = replace(aim, clock_mhz=aim.clock_mhz or target.clock_mhz)
        with step(f"{'packing' if aim.pack else 'place and route'} with {part.tool}") as progress:
            made = routed(job, module, target, tools, aim, limit_s - (time.monotonic() - start), cache, told(progress))
        report |= found(made, module, part, job) | {"seed": aim.seed, "clock_mhz": aim.clock_mhz}
        layers(report, job.nodes)
        unfit(report)
        report["seconds"]["nextpnr"] = round(time.monotonic() - start - report["seconds"]["yosys"], 1)
    return report, module, made


def mapped(job: Job, target: Target, tool: str, limit_s: float, cache: Path | str | None, watch: Watch | None = None) -> dict:
    """The flat, mapped netlist: from the cache, or synthesized."""
    family, kept = FAMILIES[target.family], Kept("netlist", cache)
    text = f"read_verilog -lib -specify {family.library}\n" + script([p.name for p in job.sources], job.top, job.params, family,
                                                                     target.dsp_bits or DSP_BITS, job.marks)
    key = (*((p.name, digest(_bytes(p))) for p in (*job.sources, *job.files, ARITH)), text, tool)
    if (entry := kept.get(*key)) is None:
        made = netlist(job.sources, job.top, job.files, text, limit_s, watch)
        entry = kept.put({"module": squeezed(json.dumps(_trimmed(made)))}, *key)
    return json.loads(expanded(entry["module"]))


def routed(job: Job, module: dict, target: Target, tools: dict, aim: Aim, limit_s: float, cache: Path | str | None,
           watch: Watch | None = None) -> dict:
    """What nextpnr.route made of the netlist: from the cache, or routed."""
    part, family, kept = PARTS[target.name], FAMILIES[target.family], Kept("routing", cache)
    given = nextpnr.arguments(part, aim.clock_mhz, aim.seed, aim.pack)
    fixture = (harness.around(job.top, module, job.clock), harness.script(job.top, family.synth))
    key = (digest(json.dumps(module, sort_keys=True)), *fixture, given, tools)
    if (entry := kept.get(*key)) is None:
        entry = kept.put(nextpnr.route(module, job.top, family, part, given, limit_s, watch, job.clock), *key)
    return entry


def found(made: dict, module: dict, part: Part, job: Job) -> dict:
    """The report's part that place and route adds."""
    out = {"packed": {c: n for c, n in made["utilisation"].items() if n[0]}, "harness": {r: n for r, n in made["harness"].items() if n}}
    out["cells"] = out["packed"].get(part.logic, [0])[0] - made["harness"][part.harness]
    if "report" not in made:
        return out
    own, told_by = owners(module, job.parts), json.loads(expanded(made["report"]))
    fmax, path = timing.fmax_mhz(told_by), timing.critical(told_by, own)
    return out | {"fmax_mhz": fmax and round(fmax, 2), "path": path, "slowest_ns": timing.slowest(told_by, own),
                  "critical": path and timing.told(path, lambda at: layer_of(at, job.nodes) or job.top)}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise UserError(f"cannot read {path}: {e.strerror or e}; name the Verilog sources and memory files of the module") from None


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
