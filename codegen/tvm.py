"""ir.Graph -> machine code compiled by TVM that computes the same integers: in memory, or as a folder with all that is needed to deploy it."""
import tempfile
from pathlib import Path

import tvm

from ir import Graph, UserError
from ir.store import graph_hash

from .cpu.choices import Choices
from .cpu.isa import SCALAR, isa_of
from .cpu.model import Model
from .cpu.program import Program, program
from .deploy import Library, link, load, portable
from .deploy.link import check_folder
from .deploy.target import parse
from .deploy.toolchain import HOST, Toolchain, compilers
from .words import interface


def build(g: Graph, out: Path | str | None = None, target: str = "llvm", name: str = "model",
          tiles: dict | None = None, copies: bool = True) -> Model | Library | None:
    """The graph compiled for a CPU, ready to be called on any number of samples.

    target: "llvm" is this machine's CPU, "llvm -mcpu=NAME" another (x86-64-v3, cascadelake, ...), "aarch64" a 64-bit Arm, "c" one file of C
    for any other machine.
    out: a folder for libNAME.so, libNAME.a, NAME.h, the program NAME, run.py and, last, manifest.json, which vouches for the rest;
    codegen.load reads it.  For "c", NAME.c, NAME.h and manifest.json.  The result is None if this machine cannot run what was built.
    tiles: forms of kernels that were found to be fast, as codegen.tuning.tune returns them.
    copies: False leaves out what brings values from one layout into another; the result then is wrong, and the time that of the layers.
    UserError: a target that is not a CPU of LLVM's, no C compiler to link with, a folder that cannot be written.
    """
    if target == portable.TARGET:
        return _portable(g, out, name)
    toolchain = parse(target)
    if out is None and toolchain.machine != HOST:
        raise UserError(f"code for {toolchain.machine} cannot be called on this {HOST}; give a folder to build it into")
    if out is not None:
        compilers(toolchain.machine)
        check_folder(Path(out))
    made = _program(g, toolchain, tiles, copies)
    executable = tvm.compile(made.module, target=tvm.target.Target(toolchain.target))
    if out is None:
        return Model(executable, made, interface(g))
    link(_object(executable), made.weights.tobytes(), _about(g, made), out, toolchain, name)
    try:
        return load(out)
    except UserError:
        if target == "llvm":
            raise
        return None  # it was just written: it is for another machine


def lowered(g: Graph, target: str = "llvm") -> Program:
    """The program of the graph for a target, before TVM compiles it."""
    return _program(g, parse(target))


def parse_target(text: str) -> tvm.target.Target:
    """A target's text as TVM's target."""
    return tvm.target.Target(parse(text).target)


def _program(g: Graph, toolchain: Toolchain, tiles: dict | None = None, copies: bool = True) -> Program:
    return program(g, isa_of(tvm.target.Target(toolchain.target)), Choices(tiles or {}), copies)


def _portable(g: Graph, out: Path | str | None, name: str) -> None:
    if out is None:
        raise UserError("C code cannot be called here; give a folder to write it into")
    made = program(g, SCALAR)
    private = tvm.IRModule({gv: f for gv, f in made.module.functions.items() if gv.name_hint != "main"})  # which is for TVM's FFI
    with tvm.transform.PassContext(config={"tirx.disable_vectorize": True}):
        code = tvm.compile(private, target=tvm.target.Target("c")).mod.inspect_source()
    portable.write(code, made.weights.tobytes(), _about(g, made), out, name)


def _about(g: Graph, made: Program) -> dict:
    return {**interface(g), "graph_hash": graph_hash(g), "workspace": made.workspace, "versions": {"tvm": tvm.__version__}}


def _object(executable) -> bytes:
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "graph.o"
        executable.mod.write_to_file(str(path))
        return path.read_bytes()
