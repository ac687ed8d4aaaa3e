"""Verilator builds, kept by what went into them, and runs of the result under cocotb."""
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ir import UserError
from ir.kept import cache_folder as cache

from .tools import environment

FLAGS = ["-Wall", "--assert", "--x-assign", "unique", "--x-initial", "unique", "--timescale", "1ns/1ps",
         "--output-split", "0", "--output-split-cfuncs", "20000"]  # one file: the headers, read again for each, cost more than the model
KEPT = 200  # builds; the oldest go first
LIBRARY = Path(__file__).parents[1] / "hw" / "rtl"
PARTS = ("verilated", "verilated_vpi", "verilated_threads", "verilated_timing", "verilated_random", "verilated_dpi", "verilated_probdist",
         "verilated_vcd_c", "verilated_fst_c")


def sources(top: str, folders: list[Path]) -> list[Path]:
    """The file of module `top` and those of all modules that it uses, each found by its name in one of `folders`."""
    found: dict[str, Path] = {}
    todo = [top]
    while todo:
        name = todo.pop()
        path = next((f / f"{name}.sv" for f in folders if (f / f"{name}.sv").exists()), None)
        if path is None and name == top:
            raise UserError(f"no file {top}.sv in {', '.join(map(str, folders))}")
        if path is None or name in found:
            continue
        found[name] = path
        todo += sorted(set(re.findall(r"\b(?:qs_\w+)\b", path.read_text())) - found.keys())
    return [found[k] for k in sorted(found)]


@dataclass(frozen=True)
class How:
    """Of what an executable is made, beside the bench: flags of Verilator, the main program and how hard the compiler tries."""
    flags: tuple[str, ...]
    main: Path
    optimise: str


def build(bench: str, files: list[Path], fast: bool = False) -> Path:
    """Executable of a bench (SystemVerilog text, module qs_bench) over `files`, to run under cocotb; made once for equal texts.

    fast=True optimises the model (-O2: slower to build, for long runs).  UserError: Verilator's or the compiler's first complaint.
    """
    environment()
    import cocotb_tools.config as cocotb
    link = f"-Wl,-rpath,{cocotb.libs_dir} -L{cocotb.libs_dir} -lcocotbvpi_verilator"
    main = cocotb.share_dir / "lib" / "verilator" / "verilator.cpp"
    return kept(bench, files, How(("--vpi", "-LDFLAGS", link), main, "-O2" if fast else "-O0"))


def kept(bench: str, files: list[Path], how: How) -> Path:
    """The executable, from the user's cache if it was made before."""
    env = environment()
    h = hashlib.sha256("\0".join([bench, *(f.read_text() for f in files), *FLAGS, *how.flags, how.main.read_text(), how.optimise,
                                  _versions(env)]).encode())
    kept = cache() / "verilator" / h.hexdigest()[:24]
    if kept.exists():
        kept.touch()
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as d:
        work = Path(d)
        (work / "qs_bench.sv").write_text(bench)
        _compile(work, files, how, env)
        fresh = kept.with_suffix(f".{os.getpid()}")
        shutil.copy2(work / "obj" / "qs_bench", fresh)
        fresh.replace(kept)
    for old in sorted((p for p in kept.parent.iterdir() if p.is_file()), key=lambda p: p.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return kept


def execute(binary: Path, work: Path, seed: int | None, test: str = "sim.streams") -> None:
    """Run the cocotb module `test` on work/job.json; memory files are read from `work`.  UserError: what the simulation printed."""
    import cocotb_tools.config as cocotb
    import find_libpython
    env = environment() | {
        "COCOTB_TOPLEVEL": "qs_bench", "COCOTB_TEST_MODULES": test, "TOPLEVEL_LANG": "verilog",
        "COCOTB_TRUST_INERTIAL_WRITES": "1", "COCOTB_LOG_LEVEL": "WARNING", "COCOTB_RESULTS_FILE": "results.xml",
        "PYGPI_PYTHON_BIN": sys.executable, "GPI_USERS": f"{find_libpython.find_libpython()};{cocotb.pygpi_entry_point()}"}
    (work / "result.json").unlink(missing_ok=True)
    done = subprocess.run([binary, f"+verilator+seed+{(seed or 0) + 1}", "+verilator+rand+reset+2"], cwd=work, env=env,
                          capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode or "%Error" in said or "%Fatal" in said or not (work / "result.json").exists():
        raise UserError(f"the simulation stopped: {complaint(said)}")


def lint(files: list[Path], top: str) -> str:
    """What Verilator -Wall has to say about module `top` with its default parameters; empty if nothing."""
    env = environment()
    done = subprocess.run(["verilator", "--lint-only", "-Wall", "--top-module", top, *map(str, files)], env=env, capture_output=True, text=True)
    return "" if done.returncode == 0 and "%" not in done.stderr else done.stdout + done.stderr


def _compile(work: Path, files: list[Path], how: How, env: dict[str, str]) -> None:
    _call(["verilator", "-cc", "--exe", "-Mdir", str(work / "obj"), "--top-module", "qs_bench", "--prefix", "Vtop", "-o", "qs_bench",
           *FLAGS, *how.flags, str(how.main), *(str(f.resolve()) for f in files), str(work / "qs_bench.sv")], env, work)
    make = ["make", f"-j{os.cpu_count() or 1}", "-C", str(work / "obj"), "-f", "Vtop.mk", f"PYTHON3={sys.executable}",
            f"OPT_FAST={how.optimise}", f"OPT_SLOW={how.optimise}", "OPT_GLOBAL=-O1"]
    objects = cache() / "verilator" / f"objects-{hashlib.sha256(' '.join([*how.flags, _versions(env)]).encode()).hexdigest()[:12]}"
    if objects.exists():  # the simulator's own library is compiled once, not for every design
        for o in objects.iterdir():
            shutil.copy(o, work / "obj" / o.name)
    _call(make, env, work)
    if not objects.exists():
        fresh = objects.with_suffix(f".{os.getpid()}")
        fresh.mkdir(parents=True)
        for part in PARTS:
            if (o := work / "obj" / f"{part}.o").exists():
                shutil.copy(o, fresh)
        try:
            fresh.rename(objects)
        except OSError:  # another process was first
            shutil.rmtree(fresh)


def _call(command: list[str], env: dict[str, str], work: Path) -> None:
    done = subprocess.run(command, env=env, cwd=work, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{command[0]} failed: {complaint(done.stdout + done.stderr)}")


def complaint(said: str) -> str:
    """The lines that matter, of a tool's many."""
    lines = said.strip().splitlines()
    bad = [s.strip() for s in lines if re.search(r"%(Error|Warning|Fatal)|error:|Error\b|Traceback", s)]
    return " | ".join((bad or lines or ["no output"])[:6])


def _versions(env: dict[str, str]) -> str:
    import cocotb
    return f"{_verilator(env['PATH'], env.get('VERILATOR_ROOT', ''))} cocotb {cocotb.__version__} python {sys.version}"


@functools.cache
def _verilator(path: str, root: str) -> str:
    return subprocess.run(["verilator", "--version"], env=os.environ | {"PATH": path, "VERILATOR_ROOT": root}, capture_output=True, text=True).stdout
