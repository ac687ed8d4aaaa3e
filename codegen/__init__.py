"""Integer graphs as programs: a library compiled by TVM for a CPU or a GPU, or an ONNX file.  All compute what ir.run computes.

`codegen.tvm.build(graph, out)` and `codegen.load(out)`; for GPUs `codegen.cuda.build(graph, out)` and `codegen.cuda.load(out)`;
`codegen.onnx.build(graph)`, `.save(graph, path)`, `.run(path, x)`.  For other tools
`codegen.onnx_qdq` and `codegen.qonnx` write the graph with quantizers around plain operators.
The heavy libraries are imported when they are first needed.
"""
import importlib

from ir import UserError

NEEDS = {**dict.fromkeys(("tvm", "cuda"), "apache-tvm"),  # submodule -> what to install for it
         **dict.fromkeys(("onnx", "onnx_qdq", "qonnx"), "onnx onnxruntime")}


def load(folder):
    """The model that codegen.tvm.build wrote into `folder`, ready to be called on integers."""
    from .deploy import load
    return load(folder)


def __getattr__(name: str):
    if name not in NEEDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return importlib.import_module(f".{name}", __name__)
    except ModuleNotFoundError as e:
        raise UserError(f"codegen.{name} needs the Python package {e.name!r}, which is not installed; pip install {NEEDS[name]}") from None
