"""What every design folder holds beside the design: a peripheral around it, constraints, a file list, a page to read first."""
from pathlib import Path

from ir import Graph, store

from ..design import RTL, TOP, Design
from .constraints import constraints
from .litex import module
from .readme import readme
from .system import SYSTEM, system

FOLDER = "system"
CLOCK_MHZ = 50.0


def files(d: Design, g: Graph, sources: list[str]) -> dict[str, str]:
    """Path in the design's folder -> text.  sources: the design's own SystemVerilog files, in that folder."""
    own = {f"{SYSTEM}.sv": system(d, store.graph_hash(g)), "qs_axil.sv": (RTL / "qs_axil.sv").read_text(), "litex_qsearch.py": module(d),
           **constraints(CLOCK_MHZ)}
    listed = [*sources, f"{TOP}.sv", f"{FOLDER}/qs_axil.sv", f"{FOLDER}/{SYSTEM}.sv"]
    own["files.f"] = "".join(f"{Path(p).as_posix()}\n" for p in listed)
    return {f"{FOLDER}/{name}": text for name, text in own.items()} | {"README.md": readme(d, g)}
