"""Expressions of TVM, of one number or of a vector: casts that keep the lanes, and what the operations of ir.ops mean on them."""
import tvm
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import ops


@ops.clamp.register
def _(x: tvm.ir.Expr, lo, hi): return tirx.max(tirx.min(x, hi), lo)


@ops.root.register
def _(x: tvm.ir.Expr): return cast(tirx.sqrt(cast(x, "float64")), "int64")


def kind_of(x) -> tuple[str, int]:
    """(dtype of an element, number of lanes) of an expression."""
    dtype, _, lanes = str(x.ty.dtype).partition("x")
    return dtype, int(lanes or 1)


def as_wide(dtype: str, x) -> str:
    """The dtype with as many lanes as x has."""
    lanes = kind_of(x)[1]
    return f"{dtype}x{lanes}" if lanes > 1 else dtype


def cast(x, dtype: str):
    """The same numbers in words of `dtype`, in as many lanes."""
    return x.astype(as_wide(dtype, x))


def bits(x, dtype: str):
    """The same bits as another type: casts would let TVM's simplifier reason as if nothing wrapped around."""
    return tirx.reinterpret(as_wide(dtype, x), x)


def intrinsic(name: str, *args, dtype: str):
    """A call of an LLVM intrinsic without side effects."""
    return T.call_llvm_pure_intrin(T.llvm_lookup_intrinsic_id(name), *args, dtype=dtype)


def reduced(kind: str, vector):
    """The lanes of a vector of integers in one: "add" or "smax"."""
    if kind_of(vector)[1] == 1:
        return vector
    return intrinsic(f"llvm.vector.reduce.{kind}", vector, dtype=kind_of(vector)[0])
