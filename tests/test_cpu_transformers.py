"""What transformers are made of, compiled for the kinds of processors that this machine is: equal to `ir.run` on every value."""
import numpy as np
import pytest
import tvm
from op_cases import pair
from strategies import samples

import codegen
import ir
from ir import Graph, Ints, MatMul, Requant, Transpose

HERE = {str(name) for name, on in tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")().items() if on}
TARGETS = [t for t, needs in (("llvm", ""), ("llvm -mcpu=alderlake", "avxvnni"), ("llvm -mcpu=x86-64-v3", "avx2"),
                              ("llvm -mcpu=x86-64-v2", "sse4.1"), ("llvm -mcpu=x86-64", "")) if not needs or needs in HERE]
targets = pytest.mark.parametrize("target", TARGETS)


def equal(g: Graph, target: str, count: int = 2) -> None:
    x = samples(g, count)
    model, y = codegen.tvm.build(g, target=target), ir.run(g, x)
    for threads in (1, 3):
        assert (model(x, threads=threads) == y).all()


def scores(heads: int, rows: int, inner: int, columns: int, a, b, *after) -> Graph:
    """a times b transposed, as attention has it."""
    g = Graph()
    g.add("a", ir.Input(Ints((heads, rows, inner), *a)))
    g.add("b", Transpose((0, 2, 1)), g.add("k", ir.Input(Ints((heads, columns, inner), *b))))
    g.add("m", MatMul(), "a", "b")
    for i, op in enumerate(after):
        g.add(f"n{i}", op, "m" if not i else f"n{i - 1}")
    return g


BYTES, SIGNED, ASIDE, WIDE = (0, 255), (-128, 127), (-131, 124), (-300, 300)
TO_BYTE = Requant([19], 12, 117, 0, 255)


@targets
@pytest.mark.parametrize("shape, a, b", [((1, 1, 1, 1), BYTES, BYTES), ((2, 5, 3, 17), ASIDE, ASIDE), ((3, 13, 32, 65), ASIDE, BYTES),
                                         ((1, 40, 66, 33), BYTES, SIGNED), ((2, 7, 9, 16), WIDE, BYTES), ((1, 3, 130, 97), (900, 1155), ASIDE)])
def test_products_of_activations(target, shape, a, b):
    heads, rows, inner, columns = shape
    equal(scores(*shape, a, b, TO_BYTE), target)
    equal(pair(MatMul(), Ints((heads, rows, inner), *a), Ints((heads, inner, columns), *b), TO_BYTE), target)
    equal(pair(MatMul(), Ints((heads, rows, inner), *a), Ints((heads, inner, columns), *b)), target)


@targets
def test_heads_are_views(target):
    """Rows of three heads side by side, their scores with themselves, and a requant for each column."""
    g = Graph()
    g.add("x", ir.Input(Ints((9, 3, 20), *ASIDE)))
    g.add("q", Requant([1], 1, 3, -60, 60), "x")
    g.add("heads", Transpose((1, 0, 2)), "q")
    g.add("turned", Transpose((1, 2, 0)), "q")
    g.add("m", MatMul(), "heads", "turned")
    g.add("y", Requant(np.arange(1, 10), 12, 3, -128, 127, -1), "m")
    equal(g, target)
