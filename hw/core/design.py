"""A program of the core as a design folder: the core behind AXI4-Streams, its memories, its listing."""
import shutil
from pathlib import Path

import numpy as np

from ir import Graph

from ..design import Design, Port, Value, library
from ..place import place
from .compile import Program, compile_graph
from .fuse import inner_axes
from .isa import Pass
from .model import cycles, frame_cycles
from .top import top

def core_design(g: Graph, out: Path | str, lanes: int = 8, pe: int = 8, results: int = 2, buffer: int = 0, extra=None) -> Design:
    """Write the graph as a design of the sequential core to folder `out`, whole or not at all; program.txt is its listing.

    lanes: elements of a word; pe: rows of a matrix at once; results: handed on in a cycle; buffer: words of the weight memory where
    the weights stay in an outer memory (0: they are inside); folder axi/ then has a top with an AXI4 read master, and the weights.
    extra(folder, design) may add files.
    UserError: see compile_graph; `out` exists and is no design.
    """
    program = compile_graph(g, lanes, pe, results, buffer)
    g, p = program.graph, program.params
    (source,) = g.inputs
    lay = program.layouts[source.name]
    inputs = [Port("s_axis", source.name, source.type, p["InLanes"], lay.inner)]
    output = Port("m_axis", g.output.name, g.output.type, 1, inner_axes(g)[g.output.name])
    taps = visible(program)
    spent: dict[str, int] = {}
    for s, n in zip(program.steps, cycles(program)):   # HALT is nobody's
        spent[s.node] = spent.get(s.node, 0) + n
    d = Design(Path(out), inputs, output, ["x", "y", *(f"v{k}" for k in range(len(taps)))], spent, frame_cycles(program),
               values=[v for v, _ in taps], kind="core")

    def add(folder: Path, made: Design) -> None:
        (folder / "program.txt").write_text(program.text)
        if buffer:
            hardware(folder / "axi", program, made)
        if extra:
            extra(folder, made)
    return place(d, g, top(program, inputs[0], output, [pc for _, pc in taps]), program.memories(), add)


def hardware(folder: Path, program: Program, d: Design) -> None:
    """What takes the place of qs_top in a real system: qs_top_axi reads the weights from a memory, weights.bin is what stands there."""
    text = top(program, d.inputs[0], d.output, axi=True)
    folder.mkdir()
    (folder / "qs_top_axi.sv").write_text(text)
    for path in library(text):
        shutil.copyfile(path, folder / path.name)
    (folder / "weights.bin").write_bytes(np.packbits(program.images.weight_bits(), axis=1, bitorder="little").tobytes())


def visible(program: Program) -> list[tuple[Value, int]]:
    """Values that one pass writes in full beats, and where the program stands while it does."""
    out, g, m = [], program.graph, program.machine
    made, axes = {}, inner_axes(g)
    for s, (_, pc) in zip(program.steps, program.assembled.spans):
        made.setdefault(s.node, []).append((s, pc))
    for n in g.nodes.values():
        match made.get(n.name):
            case [(Pass() as s, pc)] if not s.from_stream and not s.by_element:
                inner, lanes = axes[n.name], m.out
                if n.type.shape[inner] % lanes == 0 and s.keep == n.type.shape[inner]:
                    out.append((Value(n.name, f"v{len(out)}", "results", n.type, lanes, program.params["ResWidth"], inner), pc))
    return out
