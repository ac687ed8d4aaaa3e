"""Latency tables: what each layer takes on this machine with each option, measured, and how far their sum is from the whole.

As in HAWQ-V3 (Yao et al. 2021, section 3.4), where layers are timed alone and their times are added.  We differ: options that
compile to the same program share one measurement, so that noise cannot choose among them; the time of an empty call is taken
from every layer; the fastest runs count, not the median, in proportion to a reference; and the error of the sum is measured and told.
"""
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

from ir import Graph, Input, Ints, Layer, Option, Reshape, Table, UserError
from ir.example import MUL_BITS, example, menus
from ir.kept import Kept
from ir.store import digest, graph_hash

from .timing import Onnx, Timing, Tvm

BACKENDS = {"cpu": Tvm, "onnx": Onnx}
KIND = "latency"
Progress = Callable[[int, int, str], None]


def latency_table(layers: Mapping[str, Layer], options: Mapping[str, Iterable[str]], target: str = "cpu",
                  cache: Path | str | None = None, progress: Progress | None = None) -> Table:
    """Microseconds of each layer with each option for one sample, over `options`, {layer: option texts}.

    A layer is measured alone, with its requant fused, as the target's build compiles it; equal programs are measured once.
    target: "cpu" (TVM) or "onnx" (ONNX Runtime), on this machine.  cache: a folder of finished measurements (None: the
    user's), so a sweep that was stopped goes on.  progress(done, total, text) before each cell and once at the end.
    about: machine, versions, `empty_call_us`, and of each cell `median_us`, `spread` (middle half / median) and `calls`.
    UserError: an unknown layer, or one with no option that the target can run.
    """
    clock, offered = _clock(target), menus(layers, options, target)
    kept, rows, reasons, told = Kept(KIND, cache), {}, {}, {"median_us": {}, "spread": {}, "calls": {}}
    cells = [(name, o) for name, menu in offered.items() for o in menu]
    empty = _empty(clock, kept)
    for done, (name, o) in enumerate(cells):
        if progress:
            progress(done, len(cells), f"{target} {name} {o}")
        try:
            found = _cell(clock, kept, layers[name], Option.parse(o))
        except UserError as e:
            reasons.setdefault(name, f"{o}: {e}")
            continue
        rows.setdefault(name, {})[o] = max(0.0, found.us - empty)
        for what, by_layer in told.items():
            by_layer.setdefault(name, {})[o] = round(getattr(found, what), 4)
    if progress:
        progress(len(cells), len(cells), "")
    for name in offered:
        if name not in rows:
            raise UserError(f"layer {name!r}: none of its options can run on {target}; {reasons[name]}; offer narrower formats")
    about = clock.about | {"clock": "processor time" if clock.threads == 1 else "wall", "batch": 1, "empty_call_us": empty,
                           "reference_us": kept.get("speed", clock.about, code())["us"], **told}
    return Table("latency_us" if target == "cpu" else f"latency_{target}_us", "cost", rows, "us", about)


def whole_us(g: Graph, target: str = "cpu", cache: Path | str | None = None) -> Timing:
    """The time of a whole graph for one sample, as its layers are timed."""
    clock, kept = _clock(target), Kept(KIND, cache)
    key = ("whole", graph_hash(g), clock.about, code())
    return _kept(clock, kept, key, lambda: g)


def fit_fixed(table: Table, g: Graph, options: Mapping[str, str], target: str = "cpu", cache: Path | str | None = None) -> float:
    """Sets table.fixed to what the whole graph `g` of these options takes beyond its layers; returns the relative error left.

    Pools, sums, format changes and the call are in it; never below 0, so a sum that is too large leaves an error.
    """
    measured = whole_us(g, target, cache).us
    own = math.fsum(table.rows[k][str(o)] for k, o in options.items())
    table.fixed = max(0.0, measured - own)
    return (own + table.fixed) / measured - 1


def additive_error(table: Table, g: Graph, options: Mapping[str, str], target: str = "cpu", cache: Path | str | None = None) -> dict:
    """{"predicted", "measured", "relative", "spread"}: the table's sum for {layer: option} beside the whole graph `g`."""
    measured = whole_us(g, target, cache)
    predicted = math.fsum([table.fixed, *(table.rows[k][str(o)] for k, o in options.items())])
    return {"predicted": predicted, "measured": measured.us, "relative": predicted / measured.us - 1, "spread": measured.spread}


@cache
def code() -> str:
    """Hash of the code that decides what is compiled and how it is timed."""
    from ir import graph, infer, ops
    here = Path(__file__).parent
    files = sorted([*here.glob("*.py"), *here.glob("cpu/*.py"), *(Path(m.__file__) for m in (graph, infer, ops))])
    return digest(*(f.read_text() for f in files))


def _clock(target: str):
    if target not in BACKENDS:
        raise UserError(f"latency is not measured on {target!r}; give one of {', '.join(BACKENDS)}")
    return BACKENDS[target]()


def _cell(clock, kept: Kept, layer: Layer, o: Option) -> Timing:
    """Two steps: geometry and option lead to a program, the program to its time."""
    shape = {k: v for k, v in asdict(layer).items() if k != "name"}
    about, graph = [clock.about, code()], None
    found = kept.get("program", shape, str(o), about)
    if found is None:
        graph = example(layer, o, MUL_BITS)
        found = kept.put({"program": clock.program(graph)}, "program", shape, str(o), about)

    return _kept(clock, kept, ("time", found["program"], about), lambda: graph or example(layer, o, MUL_BITS), alone=True)


def _empty(clock, kept: Kept) -> float:
    """The time of a call that computes nothing."""
    g = Graph()
    g.add("x", Input(Ints((2,), 0, 255)))
    g.add("y", Reshape((2, 1)), "x")
    return _kept(clock, kept, ("empty", clock.about, code()), lambda: g).us


def _kept(clock, kept: Kept, key: tuple, graph: Callable[[], Graph], alone: bool = False) -> Timing:
    """The time under this key, or that of the graph now, at the speed that the machine had when it was first asked."""
    if (found := kept.get(*key)) is None:
        found = clock.time(graph(), alone).data()
        kept.put(found, *key)
    speed = kept.get("speed", clock.about, code()) or kept.put({"us": found["reference_us"]}, "speed", clock.about, code())
    return Timing(**found).at(speed["us"])
