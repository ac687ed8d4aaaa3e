"""Place and route with nextpnr: a mapped netlist in; what it occupies, how fast it runs and its configuration out."""
import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ir import UserError

from ..targets import Family
from . import harness, yosys
from .squeeze import squeezed
from .tools import Stopped, call, command, last_line

UTILISATION = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", re.M)


@dataclass(frozen=True)
class Part:
    """How nextpnr is told a device.  logic: the cell that holds a LUT (on iCE40 with its flip-flop); harness: the resource that says
    how many of them the harness has; config: the option for the configuration, and its file; packer: the program that makes a
    bitstream of it, and its file.
    """
    tool: str
    options: tuple[str, ...]
    logic: str
    harness: str
    config: tuple[str, str]
    packer: tuple[str, str]


def _ecp5(size: str) -> Part:
    return Part("nextpnr-ecp5", (f"--{size}", "--package", "CABGA381", "--speed", "6", "--lpf-allow-unconstrained"), "TRELLIS_COMB", "lut",
                ("--textcfg", "design.config"), ("ecppack", "design.bit"))


def _ice40(size: str, package: str) -> Part:
    return Part("nextpnr-ice40", (f"--{size}", "--package", package, "--pcf-allow-unconstrained"), "ICESTORM_LC", "ff",
                ("--asc", "design.asc"), ("icepack", "design.bin"))


PARTS = {"ecp5-25k": _ecp5("25k"), "ecp5-45k": _ecp5("45k"), "ecp5-85k": _ecp5("85k"),
         "ice40-up5k": _ice40("up5k", "sg48"), "ice40-hx8k": _ice40("hx8k", "ct256")}


def arguments(part: Part, clock_mhz: float, seed: int, pack: bool) -> list[str]:
    """The command line, program aside; with `pack` nothing is placed."""
    given = [*part.options, "--json", "routed.json", "--top", harness.NAME, "--freq", f"{clock_mhz:g}", "--seed", str(seed),
             "--timing-allow-fail", "--log", "nextpnr.log", "--quiet"]
    return [*given, "--pack-only"] if pack else [*given, "--report", "report.json", "--detailed-timing-report", *part.config]


def route(module: dict, top: str, family: Family, part: Part, given: list[str], limit_s: float, watch: Callable[[str], None] | None = None,
          clock: str = harness.CLOCK) -> dict:
    """Places and routes module `top`, mapped, in its harness, with `given` arguments.  clock: the module's port for it.

    Returns {"utilisation": {cell: [used, available]}, "harness": {resource: number}, "log"}, and unless it was only packed or needs
    more cells than there are "report", nextpnr's own, and "config", the configuration (both squeezed).  Of the cells used the
    harness's are not taken off.  UserError: nextpnr missing, no legal placement or route, or `limit_s` seconds over.
    """
    start, end = command(part.tool), time.monotonic() + limit_s
    with tempfile.TemporaryDirectory(prefix="qs_route_") as d:
        work = Path(d)
        (work / "netlist.json").write_text(json.dumps({"creator": "qsearch", "modules": {top: module}}))
        (work / "harness.sv").write_text(harness.around(top, module, clock))
        yosys.run(work, harness.script(top, family.synth), harness.NAME, limit_s, "routed.json")
        try:
            code, said = call([*start, *given], work, end - time.monotonic(), watch and (lambda: watch(last_line(work / "nextpnr.log", "Info:"))))
        except Stopped:
            at = last_line(work / "nextpnr.log", "Info:") or "the start"
            raise UserError(f"place and route of {top} took more than {limit_s:.3g} s and was stopped at: {at}; "
                            "allow more time, fold the design more, or go without routing") from None
        log = (work / "nextpnr.log").read_text() if (work / "nextpnr.log").is_file() else said
        made = {"utilisation": {c: [int(n), int(of)] for c, n, of in UTILISATION.findall(log)}, "log": log,
                "harness": family.count(yosys.cells(work / "harness_stat.json"))}
        if code and not any(n > of for n, of in made["utilisation"].values()):
            raise UserError(f"place and route of {top} failed: {_reason(log + said, code)}")
        if not code and (work / "report.json").is_file():
            made |= {"report": squeezed((work / "report.json").read_bytes()), "config": squeezed((work / part.config[1]).read_bytes())}
        return made


def bitstream(part: Part, config: bytes, limit_s: float) -> bytes | None:
    """What a device loads, of a configuration; None where the packer is not installed.  UserError: it failed."""
    tool, name = part.packer
    try:
        start = command(tool)
    except UserError:
        return None
    with tempfile.TemporaryDirectory(prefix="qs_pack_") as d:
        (Path(d) / part.config[1]).write_bytes(config)
        try:
            code, said = call([*start, part.config[1], name], Path(d), limit_s)
        except Stopped:
            raise UserError(f"{tool} took more than {limit_s:.3g} s and was stopped; allow more time") from None
        if code:
            raise UserError(f"{tool} failed: {(said.strip().splitlines() or [f'it ended with {code}'])[-1]}")
        return (Path(d) / name).read_bytes()


def _reason(text: str, code: int) -> str:
    errors = [line.strip() for line in text.splitlines() if line.startswith("ERROR")]
    return errors[0].removeprefix("ERROR: ") if errors else f"nextpnr ended with {code} and no report"
