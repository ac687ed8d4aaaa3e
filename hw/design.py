"""A generated design on disk, of whatever kind: what its folder holds, and its manifest.

    manifest.json           kind, top, ports, streams, values, cycles, interval, folding
    qs_top.sv               module qs_top
    rtl/*.sv, *.mem         every other module, and the memory files that they read
    graph.json, weights.npz the graph that it carries out (ir.store.save_graph)
    README.md, system/      a page about it; a peripheral around it (hw/shell)

qs_top has the ports clk_i, rst_ni, frame_clear_i, frame_error_o (see hw/rtl/qs_axis_in.sv), the parameter CheckLast, and the
AXI4-Streams of `ports`: TVALID, TREADY, TDATA, TLAST.  Each name S of `streams` stands for wires S_valid and S_ready of qs_top.
"""
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ir import Ints, UserError, store

from .dataflow.fold import Fold
from .dataflow.orders import channels_inner

RTL = Path(__file__).parent / "rtl"
TOP = "qs_top"


@dataclass(frozen=True)
class Port:
    """One AXI-Stream of a design.  A frame is the tensor of `type` with axis `inner` innermost."""
    name: str
    node: str
    type: Ints
    lanes: int
    inner: int

    @property
    def beats(self) -> int:
        """Beats a frame."""
        return self.type.size // self.lanes

    @property
    def data_bits(self) -> int:
        """Width of TDATA."""
        return -(-self.lanes * self.type.bits // 8) * 8


@dataclass(frozen=True)
class Value:
    """Where the value of a node can be seen: on the wires `data` of qs_top, in the cycles in which `stream` is valid and ready.

    A beat holds `lanes` elements of `bits` bits, element 0 lowest; `order`: the axis that is innermost, or, for any other order,
    stream position -> index in C order.  Values of one stream come one after the other, each frame, as they are listed.
    """
    node: str
    stream: str
    data: str
    type: Ints
    lanes: int
    bits: int
    order: int | tuple[int, ...]

    @property
    def beats(self) -> int:
        """Beats a frame."""
        return self.type.size // self.lanes

    @property
    def positions(self) -> np.ndarray:
        """Stream position -> index in C order."""
        return channels_inner(self.type.shape, self.order) if isinstance(self.order, int) else np.array(self.order)


@dataclass(frozen=True)
class Design:
    """A generated design: its folder and what its manifest says.

    cycles: node -> cycles a frame; interval: cycles from one frame to the next, as computed; kind: dataflow, unrolled or core.
    """
    folder: Path
    inputs: list[Port]
    output: Port
    streams: list[str]
    cycles: dict[str, int]
    interval: int
    folding: dict[str, Fold] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    kind: str = "dataflow"

    @property
    def sources(self) -> list[Path]: return [*sorted((self.folder / "rtl").glob("*.sv")), self.folder / f"{TOP}.sv"]


def load(folder: Path | str) -> Design:
    """The design in `folder`.  UserError: missing or damaged."""
    folder = Path(folder)
    body = store.load_json(folder / "manifest.json", "design")
    with suppress(KeyError, TypeError, ValueError):
        ports = [Port(p["name"], p["node"], _type(p), p["lanes"], p["inner"]) for p in body["ports"]]
        values = [Value(v["node"], v["stream"], v["data"], _type(v), v["lanes"], v["bits"],
                        v["order"] if isinstance(v["order"], int) else tuple(v["order"])) for v in body["values"]]
        return Design(folder, ports[:-1], ports[-1], body["streams"], body["cycles"], body["interval"],
                      {k: Fold(*v) for k, v in body["folding"].items()}, values, body["kind"])
    raise UserError(f"{folder / 'manifest.json'} lacks what a design needs; generate it again")


def library(text: str) -> list[Path]:
    """The files of the library modules that a SystemVerilog text names, and of those that they name."""
    found: dict[str, Path] = {}
    todo = [text]
    while todo:
        for name in set(re.findall(r"\bqs_\w+\b", todo.pop())) - found.keys():
            if (path := RTL / f"{name}.sv").exists():
                found[name] = path
                todo.append(path.read_text())
    return [found[k] for k in sorted(found)]


def _type(p: dict) -> Ints: return Ints(tuple(p["shape"]), p["lo"], p["hi"])
