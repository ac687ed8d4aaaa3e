"""The targets by name, and how each one builds a graph and runs it."""
from pathlib import Path

import numpy as np

from ir import Graph, Registry, UserError
from ir.store import graph_hash, save_graph, save_json

TITLES = {"cpu": "TVM (cpu)", "cuda": "TVM (cuda)", "onnx": "ONNX Runtime", "fpga": "Verilog (Verilator)"}


def targets() -> Registry:
    """Every target that can be built for."""
    import hw.targets  # noqa: F401  (the FPGAs enter themselves)
    from ir.target import TARGETS
    return TARGETS


def target(name: str):
    """The target of that name.  UserError: unknown."""
    return targets()[name]


def title(t) -> str: return TITLES[t.kind]


def build(t, graph: Graph, out: Path, settings, x: np.ndarray | None = None, **choices) -> Path:
    """Compile into the folder `out` (library, ONNX file or design), with the graph beside it, and return the folder.

    x: integer inputs that a design's own test plays; by default some that it makes up.  choices: of a CPU `mcpu`, `name` and `tiles`, of
    a GPU `archs`, of an FPGA `unrolled`, the keywords of hw.unroll_design.
    """
    _make(t, graph, out, settings, x, choices)
    if t.kind != "fpga":  # a design brings its graph along, for the test that it ships with
        save_graph(graph, out / "graph")
    save_json(out / "build.json", "build", {"target": t.name, "graph": graph_hash(graph)})
    return out


def processor(t, mcpu: str = "") -> str:
    """The target of a CPU backend as codegen.tvm calls it."""
    return ("llvm" if t.name == "cpu" else t.name) + (f" -mcpu={mcpu}" if mcpu else "")


def _make(t, graph: Graph, out: Path, settings, x: np.ndarray | None, choices: dict) -> None:
    match t.kind:
        case "cpu":
            from codegen import tvm
            tvm.build(graph, out, processor(t, choices.pop("mcpu", "")), **choices)
        case "cuda":
            from codegen import cuda
            cuda.build(graph, out, **choices)
        case "onnx":
            from codegen import onnx
            onnx.save(graph, out / "model.onnx")
        case "fpga":
            import hw
            import sim
            from search import parse_budget
            if core := choices.get("core"):
                _core(t, graph, out, core, x)
                return
            if "unrolled" in choices:
                return _unrolled(t, graph, out, x, choices["unrolled"])
            budgets = {r: b for r, b in map(parse_budget, settings.budgets) if isinstance(b, float)}
            folding = hw.fold(graph, target=t, max_lut=budgets.get("lut"), max_cycles=budgets.get("cycles"))
            sim.ship(graph, out, folding, x)
        case _:
            raise UserError(f"target {t.name!r} cannot be built for")


def _core(t, graph: Graph, out: Path, text: str, x: np.ndarray | None) -> None:
    """The design of a sequential core, of the shape that `text` tells or the fastest that fits the device."""
    import hw
    import sim
    from hw.core import fit
    shape = fit.shape(text) if text != "auto" else fit.best_shape(graph, t)
    sim.ship(graph, out, x=x, make=lambda g, folder, extra: hw.core_design(g, folder, *shape, extra=extra))


def _unrolled(t, graph: Graph, out: Path, x: np.ndarray | None, choices: dict) -> None:
    """The design with an adder for every weight, and its test."""
    import hw
    import sim
    family = t.family if t.family in hw.UNROLLED else "portable"
    sim.ship(graph, out, x=x, make=lambda g, to, extra: hw.unroll_design(g, to, family, extra=extra, **choices))


def save_form(graph: Graph, form: str, path: Path) -> Path:
    """Write the graph as an ONNX file of quantizers: "qdq" or "qonnx"."""
    from codegen import onnx_qdq, qonnx
    {"qdq": onnx_qdq, "qonnx": qonnx}[form].save(graph, path)
    return path


def execute(t, made: Path, x: np.ndarray) -> tuple[np.ndarray, dict]:
    """Integer outputs of integer inputs (N, ...) on the built thing, and what is known of it: bytes, cycles a frame."""
    match t.kind:
        case "cpu" if t.name == "c":
            raise UserError(f"{made}: C for any machine is built and run by the program that it goes into; check the graph with --target cpu")
        case "cpu":
            import codegen
            return codegen.load(made)(x), {"bytes": next(made.glob("lib*.so")).stat().st_size}
        case "cuda":
            from codegen import cuda
            return cuda.load(made)(x), {"bytes": sum((made / f).stat().st_size for f in ("kernels.fatbin", "weights.bin"))}
        case "onnx":
            from codegen import onnx
            return onnx.run(made / "model.onnx", x), {"bytes": (made / "model.onnx").stat().st_size}
        case "fpga":
            import sim
            r = sim.simulate(made, x)
            return r.outputs, {"cycles_per_frame": r.cycles_per_frame}
    raise UserError(f"target {t.name!r} cannot be run")
