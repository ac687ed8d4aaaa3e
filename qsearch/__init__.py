"""Hardware-aware quantization compiler: the public API.

`qsearch.run(model, data, out, settings)` does everything; the single steps are functions of `qsearch.steps`, and the
packages below (`quant`, `search`, `codegen`, `hw`, `sim`, `ir`) can be used alone.
"""
import importlib

from ir import Graph, Option, Plan, Table, UserError

_LAZY = {"run": "flow", "Result": "flow", "Settings": "settings", "load_data": "data", "Data": "data", "score": "evaluate",
         **dict.fromkeys(("capture", "calibrate", "sense", "cost", "choose", "pareto", "quantize", "build", "check", "reference",
                          "encode", "decode"), "steps")}
__all__ = ["Graph", "Option", "Plan", "Table", "UserError", *_LAZY]


def __getattr__(name: str):
    """The heavy parts are imported when they are first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'qsearch' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
