"""The targets by name, and how each one builds a graph and runs it."""
from pathlib import Path

import numpy as np

from ir import Graph, Registry, UserError

TITLES = {"cpu": "TVM (cpu)", "onnx": "ONNX Runtime", "fpga": "Verilog (Verilator)"}


def targets() -> Registry:
    """Every target that can be built for."""
    import hw
    return hw.TARGETS


def target(name: str):
    """The target of that name.  UserError: unknown."""
    return targets()[name]


def title(t) -> str: return TITLES[t.kind]


def build(t, graph: Graph, out: Path, settings) -> Path:
    """Compile into the folder (cpu, fpga) or file (onnx) `out`, and return it."""
    match t.kind:
        case "cpu":
            from codegen import tvm
            tvm.build(graph, out)
            return out
        case "onnx":
            from codegen import onnx
            onnx.save(graph, out / "model.onnx")
            return out
        case "fpga":
            import hw
            from search import parse_budgets
            budgets = parse_budgets(settings.budgets)
            folding = hw.fold(graph, target=t, max_lut=_absolute(budgets.get("lut")), max_cycles=_absolute(budgets.get("cycles")))
            hw.generate(graph, out, folding)
            return out
    raise UserError(f"target {t.name!r} cannot be built for")


def execute(t, made: Path, x: np.ndarray, progress=None) -> tuple[np.ndarray, dict]:
    """Integer outputs of integer inputs (N, ...) on the built thing, and what is known of it: bytes, cycles a frame."""
    match t.kind:
        case "cpu":
            import codegen
            y = codegen.load(made)(x)
            return y, {"bytes": (made / "model.so").stat().st_size}
        case "onnx":
            from codegen import onnx
            return onnx.run(made / "model.onnx", x), {"bytes": (made / "model.onnx").stat().st_size}
        case "fpga":
            import sim
            r = sim.simulate(made, x)
            return r.outputs, {"cycles_per_frame": r.cycles_per_frame}
    raise UserError(f"target {t.name!r} cannot be run")


def _absolute(v): return int(v) if isinstance(v, (int, float)) else None
