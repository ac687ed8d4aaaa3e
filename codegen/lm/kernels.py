"""The matrix by vector products of a language model, as machine code: one function for each shape."""
import tempfile
from pathlib import Path

import tvm

from .. import lowbit
from ..deploy.toolchain import Toolchain
from ..lowbit import standalone
from ..lowbit.isa import signed
from .layout import PROJECTIONS, Layout


def shapes(n: Layout) -> dict[tuple[int, int], str]:
    """The name of the function for each (rows, columns) that some part multiplies."""
    found = {(end - begin, n.columns(name)) for p in range(n.parts) for name in PROJECTIONS for begin, end in [n.rows(p, name)] if end > begin}
    return {(rows, k): f"gemv_{rows}_{k}" for rows, k in sorted(found)}


def compiled(n: Layout, toolchain: Toolchain) -> bytes:
    """An object file with __tvm_ffi_NAME(x, w, y, begin, end) for each of `shapes`: y = panels begin..end of w by signed bytes x."""
    target = tvm.target.Target(toolchain.target)
    isa = signed(lowbit.isa_of(target))
    functions = {name: standalone.kernel(isa, lowbit.Geometry(n.format, rows, k), name).with_attr("global_symbol", name)
                 for (rows, k), name in shapes(n).items()}
    executable = tvm.compile(tvm.IRModule(functions), target=target)
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "kernels.o"
        executable.mod.write_to_file(str(path))
        return path.read_bytes()
