"""The one door to the programs of synthesis: the wheel of this Python, or else what is on the PATH."""
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ir import UserError

POLL_S = 0.2


class Stopped(Exception):
    """A program ran past its limit and was ended."""


def command(tool: str = "yosys") -> list[str]:
    """How `tool` (yosys, nextpnr-ecp5, ecppack, ...) is started.  UserError: it is not installed."""
    wheel = _wheel(tool)
    module = wheel.replace("-", "_")
    if importlib.util.find_spec(module):
        return [sys.executable, "-c", f"import {module}; {module}._run_{tool.replace('-', '_')}_argv()"]
    if exe := shutil.which(tool):
        return [exe]
    raise UserError(f"{tool.replace('yosys', 'Yosys')} is not installed; pip install {wheel}, or put {tool} on the PATH")


def version(tool: str) -> str:
    """Names the build of `tool` that `command` starts; of a wheel without starting it."""
    wheel = _wheel(tool)
    if importlib.util.find_spec(wheel.replace("-", "_")):
        return f"{wheel} {importlib.metadata.version(wheel)}"
    done = subprocess.run([*command(tool), "-V"], capture_output=True, text=True, timeout=600)
    return (done.stdout + done.stderr).split("(")[0].strip() if tool == "yosys" else (done.stdout + done.stderr).strip()


def call(started: list[str], work: Path, limit_s: float, watch: Callable[[], None] | None = None) -> tuple[int, str]:
    """Runs a command in `work`; its exit code and all that it said.  watch() is called a few times a second meanwhile.

    Stopped: it took more than `limit_s` seconds.  However the wait ends, by Ctrl-C too, the program ends with it.
    """
    end = time.monotonic() + limit_s
    with open(work / "console.txt", "w+") as said:
        p = subprocess.Popen(started, cwd=work, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            while True:
                try:
                    p.wait(min(POLL_S, max(0, end - time.monotonic())))
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() > end:
                        raise Stopped from None
                    if watch:
                        watch()
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
        said.seek(0)
        return p.returncode, said.read()


def last_line(log: Path, start: str = "") -> str:
    """The last line of a growing log that the pattern `start` begins, without it; "" while there is none."""
    try:
        with open(log, "rb") as f:
            f.seek(max(0, log.stat().st_size - 4000))
            lines = [line for line in f.read().decode(errors="replace").splitlines() if re.match(start, line)]
        return re.sub(start, "", lines[-1]).strip()[:60] if lines else ""
    except OSError:
        return ""


def _wheel(tool: str) -> str:
    packers = {"ecppack": "nextpnr-ecp5", "icepack": "nextpnr-ice40"}
    return f"yowasp-{packers.get(tool, tool)}"
