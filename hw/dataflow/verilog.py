"""Graph -> a folder with a streaming design: generated top, the library modules it uses, memories and a manifest."""
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ir import Graph, Ints, UserError, store

from .build import build
from .emit import ports, top
from .flow import flows
from .fold import Fold, Folding, checked
from .netlist import Netlist
from .orders import channels_inner, inner_axis, usual_axis
from .schedule import cycles

RTL = Path(__file__).parents[1] / "rtl"
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
class Design:
    """A generated design: its folder and what its manifest says.  cycles: node -> cycles a frame."""
    folder: Path
    inputs: list[Port]
    output: Port
    streams: list[str]
    cycles: dict[str, int]
    folding: dict[str, Fold]

    @property
    def interval(self) -> int:
        """Cycles from one frame to the next, as computed: the slowest node's."""
        return max(self.cycles.values())

    @property
    def sources(self) -> list[Path]: return [*sorted((self.folder / "rtl").glob("*.sv")), self.folder / f"{TOP}.sv"]


def generate(g: Graph, out: Path | str, folding: Folding | None = None, extra=None) -> Design:
    """Write the design of graph `g` to folder `out`, whole or not at all; a design that is there already is replaced.

    folding: node -> Fold or (pe, simd), see hw.legal.  extra(folder, design) may add files before the folder is put in place.
    UserError: an impossible folding; `out` exists and is no design.
    """
    out = Path(out)
    if out.exists() and not (out.is_dir() and ((out / "manifest.json").exists() or not any(out.iterdir()))):
        raise UserError(f"{out} exists and is no generated design; name a new or empty folder")
    net, plan = build(g, folding), flows(g, folding)
    design = Design(out, *_ports(g, net, plan), list(net.streams), cycles(g, folding), checked(g, folding))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as d:
            part = Path(d) / "design"
            _write(g, net, plan, design, part)
            if extra:
                extra(part, design)
            part.chmod(0o755)
            if out.exists():
                out.rename(Path(d) / "old")
            part.rename(out)
    except OSError as e:
        raise UserError(f"cannot write {out}: {e.strerror or e}") from None
    return design


def load(folder: Path | str) -> Design:
    """The design that generate wrote into `folder`.  UserError: missing or damaged."""
    folder = Path(folder)
    body = store.load_json(folder / "manifest.json", "design")
    made = [Port(p["name"], p["node"], Ints(tuple(p["shape"]), p["lo"], p["hi"]), p["lanes"], p["inner"]) for p in body["ports"]]
    return Design(folder, made[:-1], made[-1], body["streams"], body["cycles"], {k: Fold(*v) for k, v in body["folding"].items()})


def _ports(g: Graph, net: Netlist, plan) -> tuple[list[Port], Port]:
    made, result = [], g.output
    for (name, s), node in zip(ports(net).items(), [*net.inputs, result.name]):
        t = g.nodes[node].type
        inner = inner_axis(plan[node].order, t.shape)
        made.append(Port(name, node, t, s.lanes, usual_axis(t.shape) if inner is None else inner))
    return made[:-1], made[-1]


def _write(g: Graph, net: Netlist, plan, d: Design, part: Path) -> None:
    (part / "rtl").mkdir(parents=True)
    orders = {p.name: (p.type.shape, channels_inner(p.type.shape, p.inner)) for p in [*d.inputs, d.output]}
    text = top(g, net, orders, TOP)
    (part / f"{TOP}.sv").write_text(text)
    for path in library(text):
        shutil.copyfile(path, part / "rtl" / path.name)
    for name, words in net.mems.items():
        (part / name).write_text(words)
    store.save_graph(g, part)
    store.save_json(part / "manifest.json", "design", {
        "graph": store.graph_hash(g), "top": TOP,
        "ports": [{"name": p.name, "node": p.node, "shape": p.type.shape, "lo": p.type.lo, "hi": p.type.hi, "bits": p.type.bits,
                   "signed": p.type.signed, "lanes": p.lanes, "inner": p.inner, "beats": p.beats, "data_bits": p.data_bits}
                  for p in [*d.inputs, d.output]],
        "streams": d.streams, "folding": d.folding, "cycles": d.cycles, "interval": d.interval})


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
