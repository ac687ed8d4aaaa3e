"""The C compiler that makes a compiled graph a library and a program, for this machine or another."""
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ir import UserError

HOST = "aarch64" if platform.machine() in ("arm64", "aarch64") else platform.machine()
VARIABLE = "CC_{}"  # of the environment: a compiler for another machine
FLAGS = ["-std=c11", "-O2", "-g0", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-fvisibility=hidden",
         "-ffunction-sections", "-fdata-sections", "-ffile-prefix-map=/=."]
LINK = ["-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-s"]


@dataclass(frozen=True)
class Toolchain:
    """What compiles and links for one CPU: target is LLVM's side of it, `text` how the user said it."""
    text: str
    machine: str                 # x86_64, aarch64
    features: tuple[str, ...]    # names of LLVM that the CPU must have
    target: dict                 # for tvm.target.Target


def compilers(machine: str) -> tuple[list[str], list[str]]:
    """Commands that compile and link C for the machine: (for a library, for a program that needs no other file).

    UserError: none is installed.
    """
    if machine == HOST:
        return _native()
    named = os.environ.get(VARIABLE.format(machine.upper()))
    if named:
        command = shlex.split(named)
        if not command or shutil.which(command[0]) is None:
            raise _none(machine, named)
        return command, [*command, "-static"]
    if shutil.which(gcc := f"{machine}-linux-gnu-gcc"):
        return [gcc], [gcc, "-static"]
    if importlib.util.find_spec("ziglang"):
        zig = [sys.executable, "-m", "ziglang", "cc", "-target"]
        return [*zig, f"{machine}-linux-gnu.2.17"], [*zig, f"{machine}-linux-musl", "-static"]
    raise _none(machine, f"{gcc} and the Python package ziglang")


def _native() -> tuple[list[str], list[str]]:
    wanted = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    for command in map(shlex.split, wanted):
        if command and shutil.which(command[0]):
            return command, [*command, "-static"]
    raise UserError(f"no C compiler to link the library with (looked for {', '.join(wanted)}); "
                    "install gcc, or name one in the environment variable CC")


def _none(machine: str, looked: str) -> UserError:
    return UserError(f"no C compiler to link for {machine} with (looked for {looked}); pip install ziglang, or name one in the environment "
                     f"variable {VARIABLE.format(machine.upper())}")


def run(command: list[str], folder: Path, what: str) -> None:
    """The command in the folder.  UserError: it fails; `what` is what it was to make."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        telling = next((line for line in lines if any(word in line for word in ("undefined", "error", "cannot"))),
                       lines[-1] if lines else f"exit code {done.returncode}")
        raise UserError(f"{command[0]} could not make {what}: {telling.strip()}; is a whole C toolchain for this target installed?")
