"""The kernels of a program as CUDA C++, through TVM's passes and its CUDA code generator."""
import re

import tvm
from tvm import tirx

from .kernel import Count, Kernel
from .program import Program

CALLBACK = "tvm_callback_cuda_compile"


def source(*programs: Program) -> tuple[str, list[list[dict]]]:
    """(CUDA source of all kernels, launches of each program): each launch as {"kernel", "grid", "threads", "args", "least", "most"}.

    args are names of the program's params, or "n".  It is for calls of least to most samples (None: any more).  grid: three
    entries, a number of blocks or [each, block] for ceil(n * each / block), n samples.
    """
    target = tvm.target.Target({"kind": "cuda", "arch": "sm_80"})  # of no weight: nvcc is told what to compile for
    funcs = {s.name: Kernel(s, p.params).func for p in programs for s in p.steps}
    mod = _lowered(tvm.IRModule(funcs), target.with_host(tvm.target.Target("llvm")))
    device = tirx.transform.Filter(lambda f: "tirx.kernel_launch_params" in f.attrs)(mod)
    device = tvm.ir.transform.Sequential([tirx.transform.LowerWarpMemory(), tirx.transform.StmtSimplify(), tirx.transform.LowerIntrin()])(device)
    text = _generated(device, target)
    return text, [[_launch(s, text) for s in p.steps] for p in programs]


def _lowered(mod, target):
    """From thread-bound loops to functions for the device alone; no common subexpressions: they would become arguments."""
    return tvm.ir.transform.Sequential([
        tirx.transform.BindTarget(target), tirx.transform.StmtSimplify(), tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32), tirx.transform.VectorizeLoop(True), tirx.transform.StmtSimplify(),
        tirx.transform.AnnotateEntryFunc(), tirx.transform.SplitHostDevice()])(mod)


def _generated(device, target) -> str:
    """The text, whether or not TVM's CUDA runtime, which would compile it at once, can be loaded here."""
    seen, before = [], tvm.get_global_func(CALLBACK, allow_missing=True)
    tvm.register_global_func(CALLBACK, lambda text, *_: (seen.append(text), b"")[1], override=True)
    try:
        module = tvm.get_global_func("target.build.cuda")(device, target)
    finally:
        if before:
            tvm.register_global_func(CALLBACK, before, override=True)
    return seen[0] if seen else module.inspect_source()


def _launch(s, text: str) -> dict:
    """What the host must know of a kernel; its arguments are those of p.params that it uses, in TVM's order."""
    name = f"{s.name}_kernel"
    args = re.search(rf"\b{name}\(([^)]*)\);", text)[1]
    return {"kernel": name, "threads": s.threads, "least": s.least, "most": s.most, "args": [a.split()[-1].lstrip("*") for a in args.split(",")],
            "grid": [[c.each, c.block] if isinstance(c, Count) else c for c in (*s.grid, 1, 1)[:3]]}
