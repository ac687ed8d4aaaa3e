"""A language model -> a folder with a library, a program, their weights, a header and a Python loader."""
import hashlib
import shutil
import tempfile
from pathlib import Path

import tvm

from ir.lm import Program, check, lm_hash
from ir.store import canonical, digest, save_json, whole

from ..deploy import source as deploy_source
from ..deploy.elf import Object
from ..deploy.features import KNOWN
from ..deploy.link import check_folder
from ..deploy.target import parse
from ..deploy.toolchain import FLAGS, LINK, Toolchain, compilers, run
from . import source, values
from .bounds import check_widths
from .kernels import compiled
from .layout import Layout, Sections, sections
from .weights import Packed, write

HERE = Path(__file__).parent
FILE = "compiled language model"   # what manifest.json says it is
# Loops become vectors: floor() may be an instruction, and no value is a NaN.  Nothing here lets sums be taken in another order.
VECTORS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffinite-math-only", "-fno-signed-zeros", "-Wno-unused-function"]
WIDE = "avx512f"
NOT_GCC = {"crc", "neon"}  # features of LLVM that need no word to a C compiler


def build(p: Program, out: Path | str, target: str = "llvm", name: str = "lm", form: str = "base3", threads: int = 1,
          packed: Packed | None = None) -> dict:
    """Writes libNAME.so, the program NAME, NAME.weights, NAME.h, run.py and, last, manifest.json; returns the manifest.

    form: how ternary weights lie in memory, "base3" (5 to a byte) or "two_bit" (4).  threads: how many parts the work is split into, which
    is how many threads it can run on.  packed: another source of packed weights than the program's codes, as in weights.write.
    UserError: a target that is no CPU of LLVM's, no C compiler, a folder that cannot be written, widths that the engine does not hold.
    """
    deploy_source.check_name(name)
    toolchain, out = parse(target), Path(out)
    commands = compilers(toolchain.machine)
    layout = Layout.of(p, form, threads)
    check_widths(p if packed else check(p))
    check_folder(out)
    s = sections(p, layout)
    about = canonical({"form": form, "parts": threads, "dim": p.dim, "layers": len(p.layers)})
    model = digest(lm_hash(p) if packed is None else "other weights", about)
    with tempfile.TemporaryDirectory() as work:
        _sources(Path(work), p, s, model, toolchain, name)
        _compile(Path(work), commands, toolchain, name)
        (out / "manifest.json").unlink(missing_ok=True)  # an older one must not vouch for half a new build
        write(p, s, model, out / f"{name}.weights", packed)
        return _hand_over(Path(work), out, _about(p, s, model, toolchain, name), name)


def _sources(work: Path, p: Program, s: Sections, model: str, toolchain: Toolchain, name: str) -> None:
    features = {f: KNOWN[toolchain.machine][f] for f in toolchain.features}
    code = Object(compiled(s.layout, toolchain))
    (work / "traced.o").write_bytes(code.renamed(lambda *old: deploy_source.symbol(name, *old)))
    (work / f"{name}.h").write_text(source.header(name, p, s, model))
    (work / f"{name}.c").write_text(source.source(name, p, s, model, toolchain.text, features))
    for file in ("glue.c", "engine.c", "api.c", "program.c"):
        shutil.copyfile(HERE / file, work / file)
    shutil.copyfile(HERE.parent / "deploy" / "runtime.c", work / "runtime.c")
    shutil.copyfile(HERE / "loader.py", work / "run.py")


def _compile(work: Path, commands: tuple[list[str], list[str]], toolchain: Toolchain, name: str) -> None:
    library, program = commands
    flags = [*FLAGS, *VECTORS, *machine_flags(toolchain)]
    run([*library, "-nostdlib", "-r", "-Wl,-S", "traced.o", "-o", "kernels.o"], work, "the kernels without debug information")
    run([*library, *flags, "-fPIC", "-c", f"{name}.c", "-o", "model.o"], work, "the engine")
    parts = ["model.o", "kernels.o", "-pthread", "-lm"]
    run([*library, "-shared", *parts, *LINK, "-o", f"lib{name}.so"], work, "the shared library")
    run([*program, *parts, *LINK, "-o", name], work, "the program")


def machine_flags(toolchain: Toolchain) -> list[str]:
    """What a C compiler must be told of the CPU."""
    if toolchain.machine != "x86_64":
        return []
    wide = ["-mprefer-vector-width=512"] if WIDE in toolchain.features else []
    return [f"-m{f}" for f in toolchain.features if f not in NOT_GCC] + wide


def _about(p: Program, s: Sections, model: str, toolchain: Toolchain, name: str) -> dict:
    n = s.layout
    return {"name": name, "model": model, "lm": {"dim": n.dim, "hidden": n.hidden, "layers": n.layers, "tokens": n.tokens}, "form": n.form,
            "threads": n.parts, "vocab": list(p.vocab) if p.vocab else None, "values": values.names(1), "target": toolchain.text,
            "machine": toolchain.machine, "features": list(toolchain.features), "weight_bytes": n.weight_bytes,
            "file_bytes": s.at["end"], "versions": {"tvm": tvm.__version__}}


def _hand_over(work: Path, out: Path, manifest: dict, name: str) -> dict:
    """Moves the files into the folder, manifest.json last."""
    files = [f"lib{name}.so", f"{name}.h", name, "run.py"]
    manifest["files"] = {f: hashlib.sha256((work / f).read_bytes()).hexdigest() for f in files}
    for f in files:
        with whole(out / f) as part:
            shutil.copyfile(work / f, part)
            part.chmod((work / f).stat().st_mode & 0o777)
    save_json(out / "manifest.json", FILE, manifest)
    return manifest
