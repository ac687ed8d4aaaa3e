"""Integer graphs on NVIDIA GPUs: `build(graph, folder)` compiles them anywhere, `load(folder)` runs them where there is a GPU.

build needs TVM and the CUDA toolkit's nvcc; load needs numpy and the driver alone.
"""
from ir import UserError

from .model import CudaModel, load


def build(g, out, archs=None) -> dict:
    """As codegen/cuda/compiler.py says; archs None: sm_80 and sm_90."""
    try:
        from .compiler import ARCHS, build
    except ModuleNotFoundError as e:
        raise UserError(f"codegen.cuda.build needs the Python package {e.name!r}, which is not installed; pip install apache-tvm") from None
    return build(g, out, archs or ARCHS)
