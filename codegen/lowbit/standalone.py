"""A packed matrix product as a program of its own, int32 out: what tests and benchmarks run."""
import tvm
from tvm import tirx
from tvm.ir import Call, GlobalVar, PointerType, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from .geometry import Geometry
from .isa import Isa
from .kernels import emit, tasks


def kernel(isa: Isa, g: Geometry, name: str):
    """A private function name(x, w, y, begin, end) of plain pointers: tasks begin..end of y = x w^T, (m, rows) of int32."""
    with IRBuilder() as ib:
        with T.prim_func(is_private=True, s_tir=True):
            T.func_name(name)
            T.func_attr({"tirx.noalias": True})
            kinds = {"x": isa.word, "w": "uint8", "y": "int32"}
            x, w, y = (T.arg(n, tirx.Var(n, PointerType(PrimType(d)))) for n, d in kinds.items())
            begin, end = T.arg("begin", T.int32()), T.arg("end", T.int32())
            x, y = T.decl_buffer((g.m * g.k,), isa.word, data=x), T.decl_buffer((g.m * g.rows,), "int32", data=y)
            w = T.decl_buffer((g.bytes,), "uint8", data=w)

            def store(acc, m, row, lanes):
                for first, count in _powers(lanes):
                    at = m * g.rows + row + first
                    T.buffer_store(y, acc.vload([first], f"int32x{count}") if count > 1 else acc[first], [T.ramp(at, 1, count) if count > 1 else at])
            emit(isa, g, x, lambda m: m * g.k, w, T.int64(0), store, begin, end)
    return ib.get()


def module(isa: Isa, g: Geometry) -> tvm.IRModule:
    """main(x, w, y, threads): the whole product, its tasks split evenly over threads."""
    inner, count = GlobalVar("product"), tasks(g)
    with IRBuilder() as ib:
        with T.prim_func(s_tir=True):
            T.func_name("main")
            handles = [T.arg(n, T.handle()) for n in "xwy"]
            threads = T.arg("threads", T.int32())
            shapes = ((g.m, g.k), isa.word), ((g.bytes,), "uint8"), ((g.m, g.rows), "int32")
            x, w, y = (T.match_buffer(h, *s) for h, s in zip(handles, shapes))
            with T.attr(0, "pragma_parallel_launch_point", 1), T.parallel(threads) as t:
                args = [x.data, w.data, y.data, t * count // threads, (t + 1) * count // threads]
                T.evaluate(Call(inner, args, ret_ty=PrimType("void")))
    return tvm.IRModule({"main": ib.get(), inner: kernel(isa, g, "product")})


def _powers(lanes: int) -> list[tuple[int, int]]:
    """(first, count) of pieces whose counts are powers of two, the largest first."""
    pieces, first = [], 0
    for count in (16, 8, 4, 2, 1):
        if lanes - first >= count:
            pieces.append((first, count))
            first += count
    return pieces
