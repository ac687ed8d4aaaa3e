"""A dense layer spelled out in TIR with the calling convention of compiled graphs, and what it computes."""
import numpy as np
import tvm
from tvm import tirx
from tvm.ir import Call, GlobalVar, PointerType, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from codegen.deploy.toolchain import Toolchain

INS, OUTS, STEP = 48, 10, 3  # y = W @ (STEP * x)
MANIFEST = {"inputs": [{"name": "x", "shape": [4, 12], "dtype": "uint8", "lo": 0, "hi": 200, "scale": 0.5, "zero": 3}],
            "output": {"name": "y", "shape": [OUTS], "dtype": "int32", "lo": -128 * 600 * INS, "hi": 128 * 600 * INS}, "graph_hash": "0" * 16,
            "workspace": 2 * INS, "versions": {}}


def weights(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (OUTS, INS)).astype(np.int8)


def expected(w: np.ndarray, x: np.ndarray) -> np.ndarray: return (x.reshape(len(x), INS).astype(np.int64) * STEP) @ w.astype(np.int64).T


def object_code(toolchain: Toolchain) -> bytes:
    """Both phases of a sample run on all threads, a barrier between them: phase 1 needs all of phase 0."""
    kernels = {GlobalVar("scale"): _kernel("scale", _scale), GlobalVar("dense"): _kernel("dense", _dense)}
    module = tvm.IRModule({"main": _main(*kernels), **kernels})
    compiled = tvm.compile(module, target=tvm.target.Target(toolchain.target))
    return _written(compiled.mod)


def _written(module) -> bytes:
    import tempfile
    from pathlib import Path
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "graph.o"
        module.write_to_file(str(path))
        return path.read_bytes()


def _pointer(name: str, dtype: str): return T.arg(name, tirx.Var(name, PointerType(PrimType(dtype))))


def _kernel(name: str, body):
    """body(source, target, weights, begin, end) on plain pointers."""
    with IRBuilder() as ib, T.prim_func(s_tir=True, is_private=True):
        T.func_name(name)
        T.func_attr({"tirx.noalias": True})
        body()
    return ib.get()


def _scale():
    x, t = _pointer("x", "uint8"), _pointer("t", "int16")
    begin, end = T.arg("begin", T.int32()), T.arg("end", T.int32())
    xs, ts = T.decl_buffer((INS,), "uint8", data=x), T.decl_buffer((INS,), "int16", data=t)
    with T.serial(begin, end) as i:
        T.buffer_store(ts, xs[i].astype("int16") * tirx.const(STEP, "int16"), [i])


def _dense():
    t, w, y = _pointer("t", "int16"), _pointer("w", "int8"), _pointer("y", "int32")
    begin, end = T.arg("begin", T.int32()), T.arg("end", T.int32())
    ts, ws, ys = T.decl_buffer((INS,), "int16", data=t), T.decl_buffer((OUTS * INS,), "int8", data=w), T.decl_buffer((OUTS,), "int32", data=y)
    with T.serial(begin, end) as o:
        T.buffer_store(ys, tirx.const(0, "int32"), [o])
        with T.serial(0, INS) as i:
            T.buffer_store(ys, ys[o] + ts[i].astype("int32") * ws[o * INS + i].astype("int32"), [o])


def _main(scale: GlobalVar, dense: GlobalVar):
    with IRBuilder() as ib, T.prim_func(s_tir=True, is_private=False):
        T.func_name("main")
        handles = [T.arg(name, T.handle()) for name in ("x", "y", "weights", "workspace")]
        n, threads = T.arg("n", T.int32()), T.arg("threads", T.int32())
        room = tirx.Var("room", "int32")
        shapes = [(n * INS,), (n * OUTS,), (OUTS * INS,), (room,)]
        x, y, w, t = [T.match_buffer(h, s, d) for h, s, d in zip(handles, shapes, ("uint8", "int32", "uint8", "uint8"))]
        with T.serial(0, n) as s, T.attr(0, "pragma_parallel_launch_point", 1):
            for gv, total, pointers in ((scale, INS, (_at(x, s * INS), _at(t, 0))), (dense, OUTS, (_at(t, 0), _at(w, 0), _at(y, s * OUTS)))):
                with T.attr(0, "pragma_parallel_barrier_when_finish", 1), T.parallel(threads) as k:
                    T.evaluate(Call(gv, [*pointers, k * total // threads, (k + 1) * total // threads], ret_ty=PrimType("void")))
    return ib.get()


def _at(buffer, offset): return buffer.access_ptr("rw", offset=offset)
