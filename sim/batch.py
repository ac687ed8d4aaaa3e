"""Benches that run by themselves, without cocotb: millions of cycles a second."""
import subprocess
import tempfile
from pathlib import Path

from ir import UserError

from .build import How, complaint, kept
from .jobs import Job
from .tools import environment

MAIN = Path(__file__).parent / "batch.cpp"
WAVES = {"": (), "fst": ("--trace-fst", "--trace-structs"), "vcd": ("--trace-vcd", "--trace-structs")}


def build(bench: str, files: list[Path], waves: str = "") -> Path:
    """Executable of a design's bench; made once for equal texts.  waves: "fst" or "vcd", what it writes as it runs.

    UserError: an unknown kind of waves; headers that they need and that are missing; the first complaint of Verilator or the compiler.
    """
    if waves not in WAVES:
        raise UserError(f"waves in a .{waves} file: give a name that ends in .fst or .vcd")
    if waves == "fst" and (missing := next((h for h in ("lz4.h", "zlib.h") if not _has_header(h)), None)):
        raise UserError(f"FST waves need the header {missing}; get it with: apt install liblz4-dev zlib1g-dev; or name a .vcd file")
    return kept(bench, files, How(("-O3", *WAVES[waves]), MAIN, "-O1"))


def execute(binary: Path, work: Path, job: Job, power_up: int, waves: str = "") -> str:
    """Run it on the files in `work`; returns what it printed.  UserError: the simulation's own words."""
    numbers = [job.seed, job.often, job.beats, job.patience, job.limit, job.reset]
    done = subprocess.run([binary, *map(str, numbers), *([waves] if waves else []), f"+verilator+seed+{power_up}", "+verilator+rand+reset+2"],
                          cwd=work, env=environment(), capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode or "%Error" in said or "%Fatal" in said or not (work / "streams.txt").exists():
        raise UserError(f"the simulation stopped: {complaint(said)}")
    return said


def _has_header(name: str) -> bool:
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as f:
        f.write(f"#include <{name}>\n")
        f.flush()
        return subprocess.run(["g++", "-fsyntax-only", f.name], env=environment(), capture_output=True).returncode == 0
