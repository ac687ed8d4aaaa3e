"""ir.Graph -> a library compiled by TVM that computes the same integers, alone or with all that is needed to deploy it."""
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tvm
from tvm import relax
from tvm.support import cc

from ir import Graph, UserError
from ir.store import digest, graph_hash, load_json, save_json, save_text, whole

from .cpu.isa import isa_of
from .cpu.model import Model, compiled
from .cpu.program import Program, program
from .tvm_module import module
from .tvm_quiet import quiet
from .words import check_feeds, interface

FILE = "tvm library"       # what manifest.json says it is
GROUP_BYTES = 1 << 28      # samples are computed in groups whose values take about this
MAX_GROUP = 1024


# TVM tells LLVM that memory under different names never overlaps (TBAA); kernels that are inlined into each other give the same memory
# different names, so that is off.  LLVM 22 for AVX-512 lets a masked store of truncated values (what its loop vectorizer makes of a short
# or conditional loop) overwrite the element behind the mask.  The kernels spell their vectors out, so that pass is not needed: off.
LLVM_OPTIONS = ["-vectorize-loops=0", "-enable-tbaa=0"]


class TvmModule:
    """A compiled graph: model(x) -> y, integers (N, *shape) in, int64 out; several inputs as {name: array}.

    UserError: wrong shape, values outside the input's interval.
    """

    def __init__(self, library, manifest: dict):
        """library: the compiled code; manifest: inputs, output, group, fixed."""
        self.manifest, self.group, self.fixed = manifest, manifest["group"], manifest["fixed"]
        with quiet():
            self.machine = relax.VirtualMachine(library, tvm.cpu())

    def __call__(self, x) -> np.ndarray:
        feeds = list(check_feeds(self.manifest["inputs"], x).values())
        out = self.manifest["output"]
        parts = [self._group([f[i:i + self.group] for f in feeds]) for i in range(0, len(feeds[0]), self.group)]
        return np.concatenate([p.astype(np.int64) for p in parts]) if parts else np.zeros((0, *out["shape"]), np.int64)

    def _group(self, feeds: list[np.ndarray]) -> np.ndarray:
        count = len(feeds[0])
        if self.fixed and count < self.group:
            feeds = [np.concatenate([f, np.repeat(f[:1], self.group - count, 0)]) for f in feeds]
        return self.machine["main"](*[tvm.runtime.tensor(np.ascontiguousarray(f)) for f in feeds]).numpy()[:count]


def build(g: Graph, out: Path | str | None = None, target: str = "llvm", batch: int | None = None) -> TvmModule | Model:
    """The graph compiled for a CPU: "llvm" is this machine's, "llvm -mcpu=NAME" another (x86-64-v3, skylake-avx512, ...).

    batch: None takes any number of samples at once; a number compiles for just so many, and calls go in such groups.
    out: a folder for model.so, main.cc, run.py and, last, manifest.json, which vouches for the rest.  codegen.load reads it.
    UserError: a target that is not a CPU of LLVM's, no C++ compiler to link with, a folder that cannot be written.
    """
    if batch is not None and batch < 1:
        raise UserError(f"batch {batch}: give the number of samples, at least 1, or None for any")
    machine = parse_target(target)
    if out is None:
        return compiled(g, lowered(g, target), machine)
    _can_link()
    _can_write(Path(out))
    with quiet():
        library = tvm.compile(module(g, batch), target=machine)
    manifest = {**interface(g), "target": target, "graph_hash": graph_hash(g), "fixed": batch is not None,
                "group": batch or _group_size(g), "versions": {"tvm": tvm.__version__}}
    _save(library, manifest, Path(out))
    return load(out)


def lowered(g: Graph, target: str = "llvm") -> Program:
    """The program of the graph for a target, before TVM compiles it."""
    return program(g, isa_of(parse_target(target)))


def load(folder: Path | str) -> TvmModule:
    """What build(..., out=folder) wrote.  UserError: missing, damaged, or not loadable here."""
    folder = Path(folder)
    manifest = load_json(folder / "manifest.json", FILE)
    path = folder / "model.so"
    if not path.is_file() or digest(path.read_bytes()) != manifest["library_hash"]:
        raise UserError(f"{path}: missing, or not the library that manifest.json was written with; build it again")
    # The dynamic linker knows a library by its path: a copy under a name of its own cannot be taken for an older build.
    with tempfile.TemporaryDirectory() as private:
        copy = shutil.copy(path, Path(private) / f"{manifest['library_hash']}.so")
        try:
            with quiet():
                return TvmModule(tvm.runtime.load_module(str(copy)), manifest)
        except (RuntimeError, OSError) as e:
            raise UserError(f"{path}: cannot be loaded here by TVM {tvm.__version__} (built with {manifest['versions']['tvm']} for "
                            f"{manifest['target']!r}): {str(e).strip().splitlines()[-1]}; build it again on this machine") from None


def parse_target(text: str) -> tvm.target.Target:
    """"llvm" or "llvm -mcpu=NAME" as TVM's target."""
    kind, *options = text.split() or [""]
    cpu = options[0].removeprefix("-mcpu=") if options else ""
    if kind != "llvm" or len(options) > 1 or options and not options[0].startswith("-mcpu="):
        raise UserError(f"the TVM backend has no target {text!r}; give 'llvm' for this machine's CPU or 'llvm -mcpu=NAME' for another")
    if not cpu:  # the features are named as well: what a virtual machine hides must not be used
        features = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")()
        return tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu(), "cl-opt": LLVM_OPTIONS,
                                  "mattr": [("+" if on else "-") + str(name) for name, on in features.items()]})
    known = [str(c) for c in tvm.target.codegen.llvm_get_cpu_archlist(tvm.target.Target("llvm"))]
    if cpu not in known:
        raise UserError(f"LLVM knows no CPU {cpu!r} here (known: {', '.join(known)})")
    return tvm.target.Target({"kind": "llvm", "mcpu": cpu, "cl-opt": LLVM_OPTIONS})


def _save(compiled, manifest: dict, folder: Path) -> None:
    (folder / "manifest.json").unlink(missing_ok=True)  # an older one must not vouch for half a new build
    with whole(folder / "model.so") as tmp, tempfile.TemporaryDirectory() as work:
        with quiet():
            compiled.export_library(str(Path(work) / "model.so"))
        shutil.copyfile(Path(work) / "model.so", tmp)
    save_text(folder / "main.cc", main_cc(manifest))
    save_text(folder / "run.py", RUN_PY)
    save_json(folder / "manifest.json", FILE, manifest | {"library_hash": digest((folder / "model.so").read_bytes()),
                                                          "compile": " ".join(compile_command("main.cc", "main"))})


RUN_PY = '''"""Runs the compiled model beside this file on an array of integers: python run.py INPUT.npy OUTPUT.npy"""
import sys
from pathlib import Path

import numpy as np

import codegen

np.save(sys.argv[2], codegen.load(Path(__file__).parent)(np.load(sys.argv[1])))
'''


def main_cc(manifest: dict) -> str:
    """The C++ program that runs the library of this manifest."""
    inputs = manifest["inputs"]
    fill = {"INPUTS": ", ".join(f'{{"{i["dtype"]}", {{{", ".join(map(str, i["shape"]))}}}, {{}}}}' for i in inputs),
            "GROUP": manifest["group"], "FIXED": str(manifest["fixed"]).lower(), "USAGE": " INPUT" * len(inputs)}
    text = (Path(__file__).parent / "main.cc").read_text()
    for name, value in fill.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def compile_command(source: Path | str, program: Path | str) -> list[str]:
    """g++ and its arguments that make `program` of main.cc, with the headers and libraries of the installed TVM."""
    from tvm_ffi import libinfo
    libs = [str(Path(tvm.__file__).parent / "lib"), str(Path(libinfo.find_libtvm_ffi()).parent)]
    return ["g++", "-std=c++17", "-O2", str(source), *[f"-I{p}" for p in libinfo.include_paths()], *[f"-L{p}" for p in libs],
            "-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_ffi", f"-Wl,-rpath,{':'.join(libs)}", "-o", str(program)]


def _group_size(g: Graph) -> int:
    widest = max(n.type.size for n in g.nodes.values())
    return max(1, min(MAX_GROUP, GROUP_BYTES // (16 * widest)))  # a few values of up to 8 bytes live at once


def _can_link() -> None:
    compiler = cc.get_cc()
    if compiler is None or shutil.which(compiler) is None:
        raise UserError(f"no C++ compiler to link the library with (looked for {compiler or 'g++, gcc, clang'}); "
                        "install g++, or name one in the environment variable CXX")


def _can_write(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot write {folder}: {e.strerror or e}; choose a folder that can be written") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write {folder}: no permission; choose a folder that can be written")
