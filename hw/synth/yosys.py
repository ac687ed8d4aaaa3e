"""Synthesis with Yosys: SystemVerilog in, counts of LUTs, flip-flops, multipliers and block RAMs out."""
import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from ir import UserError

from ..targets import DSP_BITS, FAMILIES, Family
from .tools import Stopped, call, command, last_line

ARITH = Path(__file__).parents[1] / "data" / "arith.v"
PASS = r"[\d.]+ Executing "
DELAY_PS = 10_000  # of logic between registers; as much again is left for routing at 50 MHz


def synthesize(sources: list[Path], top: str, params: dict[str, int | str] | None = None, family: str = "ecp5",
               files: list[Path] = (), dsp_bits: int = DSP_BITS, timeout_s: float = 900) -> dict[str, int]:
    """Resources of module `top` with these parameters after technology mapping: {"lut", "ff", "dsp", "bram"}.

    `sources` are SystemVerilog files (packages first); `files` are what $readmemh opens, by name, beside them.  Products
    smaller than `dsp_bits` by `dsp_bits` bits are built of LUTs.  Nothing is placed, so a LUT that a placer would share or
    lose is not seen.  UserError: Yosys missing, failed, or too slow.
    """
    f = FAMILIES[family]
    with _work([*sources, *files]) as work:
        run(work, script([Path(p).name for p in sources], top, params or {}, f, dsp_bits), top, timeout_s)
        return f.count(cells(work / "stat.json"))


def netlist(sources: list[Path], top: str, files: list[Path], text: str, timeout_s: float,
            watch: Callable[[str], None] | None = None) -> dict:
    """Module `top` after technology mapping by a `script`, flat, as Yosys writes it: {"ports", "cells", "netnames"}."""
    with _work([*sources, *files]) as work:
        run(work, text + "write_json netlist.json\n", top, timeout_s, "netlist.json", watch)
        return json.loads((work / "netlist.json").read_text())["modules"][top]


def script(sources: list[str], top: str, params: dict[str, int | str], family: Family, dsp_bits: int,
           marks: list[str] = ()) -> str:
    """The Yosys commands: the usual flow of the family, but each adder a carry chain (see hw/data/arith.v).

    marks: commands for the flat design as it was read, which name the part of it that a cell belongs to.

    abc9 gets a delay that it need not beat: without one it spends up to seven times the LUTs on short paths.  Its SAT
    check is off because it does not end on large adder graphs.  QS_ALU and the family's own macro choose carry chains in
    hw/rtl/qs_sum2.sv; a product marked qs_dsp is for a multiplier block however small it is.
    """
    lines = [f"read_verilog -defer -sv -icells -D QS_ALU {family.arith} {' '.join(sources)}", *chparam(top, params)]
    return "\n".join([*lines, f"hierarchy -top {top}", "proc", "flatten", *marks, "opt -nodffe -nosdff", "peepopt", "wreduce", "opt_clean",
                      f"techmap {family.arith} -D DSP_BITS={dsp_bits} -map {ARITH.name} * a:qs_dsp %d",
                      f"scratchpad -set abc9.verify 0 -set abc9.D {DELAY_PS}",
                      f"{family.synth} -top {top}", "tee -o stat.json stat -json", ""])


def chparam(top: str, params: dict[str, int | str]) -> list[str]:
    """The command that gives module `top`, read with -defer, these parameters; none where there are none."""
    return [f"chparam {' '.join(f'-set {k} {_value(v)}' for k, v in params.items())} $abstract\\{top}"] if params else []


def version() -> str:
    """The version of the Yosys that `synthesize` runs."""
    out = subprocess.run([*command("yosys"), "-V"], capture_output=True, text=True, timeout=600).stdout
    return out.split("(")[0].strip()


def run(work: Path, text: str, top: str, timeout_s: float, made: str = "stat.json", watch: Callable[[str], None] | None = None) -> None:
    """Runs the script in the folder, where it has to leave a file `made`; watch(text) hears now and then which pass runs.

    UserError: Yosys missing, failed, or too slow.
    """
    (work / "run.ys").write_text(text)
    try:
        code, said = call([*command("yosys"), "-q", "-l", "yosys.log", "-s", "run.ys"], work, timeout_s,
                          watch and (lambda: watch(last_line(work / "yosys.log", PASS))))
    except Stopped:
        raise UserError(f"synthesis of {top} took more than {timeout_s:.3g} s and was stopped; "
                        "allow more time or fold the design more") from None
    if not (work / made).is_file():  # the console may be lost once ABC has run, the files are what counts
        log = (work / "yosys.log").read_text() if (work / "yosys.log").is_file() else ""
        errors = [line.strip() for line in (said + log).splitlines() if "ERROR" in line]
        raise UserError(f"synthesis of {top} failed: {errors[0] if errors else f'Yosys ended with {code} and no report'}")


def cells(path: Path) -> dict[str, int]:
    """Cell type -> number of a report of `stat -json`, of the whole design."""
    return json.loads(path.read_text())["design"]["num_cells_by_type"]


@contextlib.contextmanager
def _work(files: list[Path]):
    """A folder with copies of the files and of the mapping of arithmetic, for as long as the body runs."""
    with tempfile.TemporaryDirectory(prefix="qs_synth_") as d:
        for p in (*files, ARITH):
            shutil.copyfile(p, Path(d) / Path(p).name)
        yield Path(d)


def _value(v: int | str) -> str:
    """As chparam reads it, which knows no sign; the declared type of the parameter cuts what is too wide."""
    bits = 64 if isinstance(v, str) else max(64, int(v).bit_length())
    return f'"{v}"' if isinstance(v, str) else f"{bits}'d{int(v) & (1 << bits) - 1}"
