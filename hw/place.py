"""A design is put into its folder, whole or not at all."""
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ir import Graph, UserError, store

from .design import TOP, Design, library
from .shell.files import files


def place(d: Design, g: Graph, text: str, mems: dict[str, str], extra: Callable[[Path, Design], None] | None = None) -> Design:
    """Put the design into its folder, whole or not at all; a design that is there already is replaced.

    text: of qs_top; the library modules that it names are copied along.  mems: file -> text: what modules read, and modules of this
    design alone (rtl/*.sv).  extra(folder, design) may add files.
    UserError: the folder exists and is no design, or cannot be written.
    """
    def write(part: Path) -> None:
        _write(d, g, text, mems, part)
        if extra:
            extra(part, d)
    whole(d.folder, write)
    return d


def whole(out: Path, write: Callable[[Path], None]) -> None:
    """A folder of a design as `write` fills it, whole or not at all; a design that is there already is replaced.

    UserError: the folder exists and is no design, or cannot be written.
    """
    if out.exists() and not (out.is_dir() and ((out / "manifest.json").exists() or not any(out.iterdir()))):
        raise UserError(f"{out} exists and is no generated design; name a new or empty folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as work:
            part = Path(work) / "design"
            write(part)
            part.chmod(0o755)
            if out.exists():
                out.rename(Path(work) / "old")
            part.rename(out)
    except OSError as e:
        raise UserError(f"cannot write {out}: {e.strerror or e}") from None


def modules(part: Path, text: str, mems: dict[str, str]) -> None:
    """qs_top with the library modules that it and `mems` name, and these files, into a new folder."""
    (part / "rtl").mkdir(parents=True)
    (part / f"{TOP}.sv").write_text(text)
    for path in library("\n".join([text, *(t for name, t in mems.items() if name.endswith(".sv"))])):
        shutil.copyfile(path, part / "rtl" / path.name)
    for name, words in mems.items():
        (part / name).write_text(words)


def _write(d: Design, g: Graph, text: str, mems: dict[str, str], part: Path) -> None:
    modules(part, text, mems)
    for name, words in files(d, g, sorted(f"rtl/{p.name}" for p in (part / "rtl").glob("*.sv"))).items():
        (part / name).parent.mkdir(exist_ok=True)
        (part / name).write_text(words)
    store.save_graph(g, part)
    store.save_json(part / "manifest.json", "design", {
        "kind": d.kind, "graph": store.graph_hash(g), "top": TOP,
        "ports": [{"name": p.name, "node": p.node, "shape": p.type.shape, "lo": p.type.lo, "hi": p.type.hi, "bits": p.type.bits,
                   "signed": p.type.signed, "lanes": p.lanes, "inner": p.inner, "beats": p.beats, "data_bits": p.data_bits}
                  for p in [*d.inputs, d.output]],
        "streams": d.streams,
        "values": [{"node": v.node, "stream": v.stream, "data": v.data, "shape": v.type.shape, "lo": v.type.lo, "hi": v.type.hi,
                    "lanes": v.lanes, "bits": v.bits, "order": v.order} for v in d.values],
        "folding": d.folding, "cycles": d.cycles, "interval": d.interval})
