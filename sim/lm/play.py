"""Scripts carried out on the bench of a language-model core, in Verilator."""
import os
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ir import UserError

from ..build import How, complaint, kept
from ..tools import environment
from . import taps, testbench
from .script import Log, Script, read_logs
from .testbench import Bench

HERE = Path(__file__).parent
SV = HERE / "sv"
MAIN = HERE / "drive.cpp"
PARTS = (HERE.parent / "sv" / "qs_stall.sv", HERE.parent / "sv" / "qs_tap.sv", SV / "qs_axi_memory.sv")


@dataclass(frozen=True)
class Played:
    """What a script came to: a log for each time from reset to reset; after the last reset the beats of every group of taps, if recorded,
    and what m_axis_tap carried (beats, TLAST in the highest digit)."""
    logs: list[Log]
    rows: list[np.ndarray] = field(default_factory=list)
    stream: bytes = b""

    @property
    def log(self) -> Log: return self.logs[-1]


def play(bench: Bench, sources: Iterable[Path], mems: Path, script: Script, lanes: int, code_bits: int, power_up: int = 1) -> Played:
    """Carry out a script; mems: the folder of memory files.  The build is kept for the next call with equal texts.

    UserError: the first complaint of Verilator or the compiler; a rule of a protocol that the core broke, in words.
    """
    binary = kept(testbench.text(bench), [*sorted(sources), *PARTS], How(("-O3",), MAIN, "-O1"))
    with tempfile.TemporaryDirectory() as d:
        work = Path(d)
        for mem in mems.glob("*.mem"):
            os.symlink(mem.resolve(), work / mem.name)
        (work / "script.txt").write_text("\n".join(script.lines) + "\n")
        command = [binary, "script.txt", "log.txt", f"+verilator+seed+{power_up}", "+verilator+rand+reset+2"]
        done = subprocess.run(command, cwd=work, env=environment(), capture_output=True, text=True)
        said = done.stdout + done.stderr
        logs = read_logs((work / "log.txt").read_text()) if (work / "log.txt").exists() else []
        if broken := next((log.broken for log in logs if log.broken), ""):
            raise UserError(f"the simulation stopped: {broken}")
        if done.returncode or "%Error" in said or "%Fatal" in said or not logs:
            raise UserError(f"the simulation stopped: {complaint(said)}")
        rows = [taps.recorded(work, g, bench.digits, lanes, code_bits) for g in range(testbench.TAP_GROUPS)] if bench.taps else []
        return Played(logs, rows, (work / testbench.STREAM_OF_TAPS).read_bytes())
