"""Object code and weights -> a folder with a library, a program, a header and a Python loader, none of which needs anything else."""
import hashlib
import shutil
import tempfile
from pathlib import Path

from ir import UserError
from ir.store import digest, save_json, whole

from . import source
from .elf import Object, archive
from .features import KNOWN
from .toolchain import FLAGS, LINK, Toolchain, compilers, run

HERE = Path(__file__).parent
FILE = "compiled model"     # what manifest.json says it is
NEEDED_KEYS = {"inputs", "output", "graph_hash", "workspace"}
MAX_INPUTS = 16


def link(code: bytes, weights: bytes, manifest: dict, folder: Path | str, toolchain: Toolchain, name: str = "model") -> dict:
    """Writes libNAME.so, libNAME.a, NAME.h, the program NAME, run.py and, last, manifest.json, which vouches for the rest.

    code: an object file with `__tvm_ffi_main(inputs..., y, weights, workspace, n, threads)`; manifest: codegen.words.interface,
    graph_hash, and workspace, the bytes that one thread needs.  Returns the whole manifest.  Equal arguments give equal bytes.
    UserError: a name that C cannot have, no compiler, a folder that cannot be written; the folder then is as it was.
    """
    source.check_name(name)
    if missing := NEEDED_KEYS - manifest.keys():
        raise ValueError(f"a manifest without {sorted(missing)}")
    if len(manifest["inputs"]) > MAX_INPUTS:
        raise UserError(f"a graph with {len(manifest['inputs'])} inputs; a library takes up to {MAX_INPUTS}, join some of them")
    folder, commands = Path(folder), compilers(toolchain.machine)
    check_folder(folder)
    compiled = Object(code)
    if compiled.machine != toolchain.machine:
        raise UserError(f"object code for {compiled.machine}, to be linked for {toolchain.machine}; compile it for that target")
    manifest = {**manifest, "name": name, "target": toolchain.text, "machine": toolchain.machine, "features": list(toolchain.features),
                "weights_hash": digest(weights), "sizes": {"code": compiled.code_bytes, "weights": len(weights), "workspace": manifest["workspace"]}}
    with tempfile.TemporaryDirectory() as work:
        _sources(Path(work), compiled, weights, manifest, toolchain)
        files = _build(Path(work), commands, name)
        _hand_over(Path(work), folder, files, manifest)
    return manifest


def check_folder(folder: Path) -> None:
    """UserError: files cannot be written into it."""
    probe = folder
    while not probe.exists() and probe != probe.parent:
        probe = probe.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise UserError(f"cannot write {folder}: {e.strerror or e}; choose a folder that can be written") from None


def _sources(work: Path, compiled: Object, weights: bytes, manifest: dict, toolchain: Toolchain) -> None:
    name, features = manifest["name"], {f: KNOWN[toolchain.machine][f] for f in toolchain.features}
    (work / "traced.o").write_bytes(compiled.renamed(lambda *old: source.symbol(name, *old)))
    (work / "weights.bin").write_bytes(weights)
    (work / "weights.S").write_text(source.weights_source(manifest))
    (work / f"{name}.h").write_text(source.header(manifest))
    (work / f"{name}.c").write_text(source.source(manifest, features))
    for file in ("runtime.c", "program.c"):
        shutil.copyfile(HERE / file, work / file)
    shutil.copyfile(HERE / "loader.py", work / "run.py")


def _build(work: Path, commands: tuple[list[str], list[str]], name: str) -> list[str]:
    """Compiles and links what lies in `work`; the names of the files for the user."""
    library, program = commands
    run([*library, "-nostdlib", "-r", "-Wl,-S", "traced.o", "-o", "graph.o"], work, "the graph's code without debug information")
    run([*library, "-c", "weights.S", "-o", "weights.o"], work, "the weights an object")
    run([*library, *FLAGS, "-DQS_NO_THREADS", "-c", f"{name}.c", "-o", "single.o"], work, "the runtime")
    members = {"graph.o": "graph.o", "weights.o": "weights.o", "runtime.o": "single.o"}
    (work / f"lib{name}.a").write_bytes(archive({member: (work / file).read_bytes() for member, file in members.items()}))
    parts = [f"{name}.c", "graph.o", "weights.o", "-pthread", "-lm"]
    run([*library, *FLAGS, "-fPIC", "-shared", *parts, *LINK, "-o", f"lib{name}.so"], work, "the shared library")
    run([*program, *FLAGS, "-DQS_PROGRAM", *parts, *LINK, "-o", name], work, "the program")
    return [f"lib{name}.so", f"lib{name}.a", f"{name}.h", name, "run.py"]


def _hand_over(work: Path, folder: Path, files: list[str], manifest: dict) -> None:
    """Moves the files into the folder, manifest.json last: an older one must not vouch for half a new build."""
    manifest["files"] = {f: hashlib.sha256((work / f).read_bytes()).hexdigest() for f in files}
    manifest["sizes"] |= {"files": {f: (work / f).stat().st_size for f in files}}
    (folder / "manifest.json").unlink(missing_ok=True)
    for f in files:
        with whole(folder / f) as tmp:
            shutil.copyfile(work / f, tmp)
            tmp.chmod((work / f).stat().st_mode & 0o777)
    save_json(folder / "manifest.json", FILE, manifest)
