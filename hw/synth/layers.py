"""Which part of a design each cell of its flat netlist belongs to.

Mapping works on the flat design, for it saves what stands on the borders of modules (1 to 2 % of the LUTs).  Registers, carry
chains, memories and multipliers carry the name of their instance (see yosys.script); a LUT goes where its output goes.
"""
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ir.store import load_graph

from ..design import TOP as TOP_MODULE
from ..targets import Family

TOP = ""  # the owner of what stands in no instance
PIPELINE = "u_qs_unrolled.u_pipeline"  # of an unrolled design: all layers are one module, whose wires are named after nodes


def marks(folder: Path) -> list[str]:
    """For yosys.script: cells are marked with the name of their instance in the top module, in an unrolled design with their node's.

    The mark is the attribute src, the one which every pass hands on to the cells that it makes.  A node's cells are what drives
    the wires named after it, and what lies in instances named after it; nodes with longer names come later, so that `fc_q` is not `fc`.
    """
    instances = re.findall(r"^  (?:\)|\w+) (\w+) \($", (folder / f"{TOP_MODULE}.sv").read_text(), re.M)
    found = [f'setattr -set src "{i}" c:{i}.* c:$flatten\\{i}.*' for i in instances]
    if (unrolled := PIPELINE.split(".")[0]) in instances:
        found.append("opt_clean")  # the names of wires reach the pins of cells
        for n in sorted(map(_identifier, load_graph(folder).nodes), key=len):
            mark, at = f'setattr -set src "{unrolled}.{n}"', f"{PIPELINE}.u_{n}_*"
            found += [f"{mark} w:{PIPELINE}.{n} w:{PIPELINE}.{n}_* %u %ci c:* %i", f"{mark} c:{at} c:$flatten\\{at}"]
    return found


def owners(module: dict, parts: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Cell -> the instance of the top module that it lies in, "" for none.  module: as Yosys writes it, flat.

    parts: start of a cell's name -> what is told of it instead of the instance, the longest that fits.
    """
    cells = {n: c for n, c in module["cells"].items() if c["type"] != "$scopeinfo"}
    instances = {n for n, c in module["cells"].items() if c["type"] == "$scopeinfo" and "." not in n}
    found: dict[str, str] = {}
    readers, drivers = defaultdict(list), {}
    for name, cell in cells.items():
        for b in _bits(cell, "input"):
            readers[b].append(name)
        drivers |= dict.fromkeys(_bits(cell, "output"), name)
        told = cell["attributes"].get("src", "").split("|")[0]
        if told.split(".")[0] in instances:
            found[name] = told
        elif "LUT" not in cell["type"] and (scope := _scope(name, instances, parts)):
            found[name] = scope  # a memory block has its memory's name
    outs = {n: [r for b in _bits(c, "output") for r in readers[b]] for n, c in cells.items()}
    ins = {n: [drivers[b] for b in _bits(c, "input") if b in drivers] for n, c in cells.items()}
    for to in (outs, ins):  # what only feeds the outside belongs to what feeds it
        _spread(found, to)
    return {n: found.get(n, TOP) for n in cells}


def _spread(found: dict[str, str], to: dict[str, list[str]]) -> None:
    """Cells without an owner take that of most of the cells they lead to, those nearest to a known one first."""
    while fresh := {n: Counter(known).most_common(1)[0][0] for n, ends in to.items() if n not in found
                    if (known := [found[e] for e in ends if e in found])}:
        found |= fresh


def used(module: dict, family: Family, parts: Mapping[str, str] = MappingProxyType({})) -> dict[str, dict[str, int]]:
    """Instance -> resource -> number, "carry" among them, in the order of the names; the sums are the whole design's."""
    kinds: dict[str, Counter] = defaultdict(Counter)
    for name, owner in owners(module, parts).items():
        kinds[owner][module["cells"][name]["type"]] += 1
    return {n: family.count(c) | {"carry": family.carries(c)} for n, c in sorted(kinds.items())}


def layer_of(instance: str, nodes: list[str]) -> str:
    """The node of the graph that an instance stands for, by its name; the instance itself where there is none."""
    words = instance.split(".")[-1].removeprefix("u_")
    fits = [n for n in nodes if words == _identifier(n) or words.startswith(_identifier(n) + "_")]
    return max(fits, key=len, default=instance)


def _identifier(node: str) -> str: return "".join(c if c.isalnum() and c.isascii() else "_" for c in node)


def _scope(name: str, instances: set[str], parts: Mapping[str, str]) -> str:
    first = name.split(".")[0]
    if fits := [p for p in parts if name.startswith(p)]:
        return parts[max(fits, key=len)]
    return first if "." in name and first in instances else TOP


def _bits(cell: dict, direction: str) -> list[int]:
    return [b for p, bits in cell["connections"].items() if cell["port_directions"][p] == direction for b in bits if not isinstance(b, str)]
