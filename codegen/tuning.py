"""The fastest of several forms of each kernel, found by timing them on this machine and kept in a file.

Only how a layer is computed is chosen, never what; a build without the choices is as exact and a build with equal choices has equal bytes.
"""
from collections.abc import Callable
from pathlib import Path

import tvm

from ir import Graph, Input
from ir.kept import Kept

from . import tvm as door
from .cpu.choices import Choices
from .cpu.groups import Group
from .cpu.isa import isa_of
from .cpu.layout import Layout, Run
from .cpu.model import compiled
from .cpu.program import program
from .latency import code
from .timing import machine, one_sample, steady

KIND = "tiles"


def tune(g: Graph, count: int, cache: Path | str | None = None, progress: Callable[[int, int, str], None] | None = None) -> dict:
    """{key of a kernel's shape: its form}, for `codegen.tvm.build(tiles=...)`: of each shape the fastest of the `count` most promising forms.

    cache: a folder of what was timed before (None: the user's), by shape and machine; a search that was stopped goes on.
    """
    target, kept, found = door.parse_target("llvm"), Kept(KIND, cache), {}
    about = [machine(), code(), count]
    runs = [step.group for step in Layout(g, isa_of(target)).steps if isinstance(step, Run)]
    alone = [(group.anchor, own) for group in runs if (own := apart(g, group)) is not None]
    for done, (anchor, own) in enumerate(alone):
        if progress:
            progress(done, len(alone), anchor.name)
        for key, forms in offered(own, target).items():
            if key not in found:
                best = kept.get(key, about) or kept.put({"form": fastest(own, key, forms[:count], target)}, key, about)
                found[key] = tuple(best["form"])
    if progress:
        progress(len(alone), len(alone), "")
    return found


def apart(g: Graph, group: Group) -> Graph | None:
    """A graph of the group alone; None if it has no products."""
    if group.anchor is None or not hasattr(group.anchor.op, "weight"):
        return None
    own = Graph()
    for name in group.reads:
        own.add(name, Input(g.nodes[name].type))
    for n in group.nodes:
        own.add(n.name, n.op, *n.args)
    return own


def offered(g: Graph, target: tvm.target.Target) -> dict[str, list[tuple]]:
    """{key: forms, the most promising first} of the kernels of a graph."""
    choices = Choices()
    program(g, isa_of(target), choices)
    return choices.offered


def fastest(g: Graph, key: str, forms: list[tuple], target: tvm.target.Target) -> list[int]:
    """The form with the least time of the graph."""
    return list(min(forms, key=lambda form: seconds(g, {key: form}, target)))


def seconds(g: Graph, forms: dict, target: tvm.target.Target) -> float:
    return steady(compiled(g, program(g, isa_of(target), Choices(forms)), target).calls(one_sample(g), 1)).us

