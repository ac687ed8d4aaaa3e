"""Prints docs/ops.md: every op with its fields, its type rule and an example that is computed here, not typed in.

    python docs/make_ops.py > docs/ops.md
"""
import inspect
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Pad,  # noqa: E402
                Recur, Requant, Reshape, Slice, Sqrt, SumPool, Transpose, run)
from ir.opset import OPS, Op  # noqa: E402
from ir.infer import kind  # noqa: E402
from ir.ops import requant, round_shift  # noqa: E402

HEAD = """\
# The ops of the integer graph

Made by `python docs/make_ops.py > docs/ops.md`; every result below was computed by the interpreter when the page was made,
and a test keeps the page equal to what is computed now.

A graph is a list of values. Each is an array of integers with the batch axis first (left out below wherever a shape is
written), made by one op out of earlier values. The type of a value, `s7[3x4] in [-50, 49]`, is a shape and a proven
interval; `s7` is the two's complement word (`u7`: unsigned) that just holds the interval. Types are inferred, never given:
an op whose result would need more than 63 bits is refused when the graph is built, so nothing overflows later.

## Rounding

There is one rounding, `round_shift(x, n) = floor(x / 2**n + 1/2)`: to the nearest, ties towards plus infinity. In integers
it is an addition and an arithmetic shift, `(x + (2**n >> 1)) >> n`, the same in numpy, torch, TVM, ONNX and SystemVerilog.
"""
RULES = {
    Input: "given; it is what the caller promises, and `run` checks it.",
    Dense: "exact; for each output, positive weights meet one end of x and negative weights the other. "
           "The widest output decides.",
    Conv: "as dense; where there is padding, x's interval is first widened to hold `pad`.",
    Requant: "rounding is monotone, so the ends of x with the smallest and the largest multiplier give the ends of y. "
             "`x * mul` and its half step must fit a signed word of 63 bits.",
    Constant: "its least and its greatest value.",
    Div: "the least and the greatest of the four quotients of ends. `2 a + 2 b` must fit a signed word of 63 bits.",
    Sqrt: "[floor(sqrt(x.lo)), floor(sqrt(x.hi))].",
    Expand: "that of x.",
    Recur: "[lo, hi]. `f * s + c` and its half step must fit a signed word of 63 bits.",
    Add: "[a.lo + b.lo, a.hi + b.hi].",
    Mul: "the least and the greatest of the four products of ends.",
    MatMul: "K times the interval of one product.",
    MaxPool: "that of x.",
    SumPool: "the interval of x (widened to hold `pad` where there is padding), times the size of the window.",
    Lut: "the least and the greatest entry that x can pick.",
    Concat: "the hull of all intervals.",
    Reshape: "that of x.", Transpose: "that of x.", Slice: "that of x.",
    Pad: "that of x, widened to hold `value`.",
    Gather: "the least and the greatest entry of the rows that x can pick.",
}
EXAMPLES: dict[type, tuple[Op, list[tuple[Ints, list]]]] = {
    Input: (Input(Ints((2,), 0, 255)), []),
    Dense: (Dense([[1, -2, 3], [0, 1, 1]], [10, -1]), [(Ints((3,), 0, 15), [1, 2, 3])]),
    Conv: (Conv([[[1, 2, -1]]], [5], (2,), ((1, 1),), (1,), pad=3), [(Ints((1, 5), 0, 9), [[1, 2, 3, 4, 5]])]),
    Requant: (Requant([3, 5], 3, 10, 0, 15), [(Ints((2, 3), -99, 99), [[-4, 4, 12], [-4, 4, 12]])]),
    Constant: (Constant([[1, 2], [3, -4]]), []),
    Div: (Div(), [(Ints((4,), -9, 9), [-5, -3, 3, 5]), (Ints((4,), 1, 5), [2, 2, 2, 3])]),
    Sqrt: (Sqrt(), [(Ints((4,), 0, 99), [0, 8, 9, 99])]),
    Expand: (Expand((2, 3)), [(Ints((2, 1), 0, 9), [[1], [2]])]),
    Recur: (Recur(1, -9, 9), [(Ints((4, 1), 0, 2), [[1], [1], [2], [0]]), (Ints((4, 1), -20, 20), [[8], [0], [3], [-20]])]),
    Add: (Add(), [(Ints((3,), 0, 9), [1, 2, 3]), (Ints((3,), -5, 5), [5, 0, -5])]),
    Mul: (Mul(), [(Ints((3,), 0, 9), [1, 2, 3]), (Ints((3,), -5, 5), [5, 0, -5])]),
    MatMul: (MatMul(), [(Ints((2, 2), 0, 9), [[1, 2], [3, 4]]), (Ints((2, 1), -5, 5), [[5], [-5]])]),
    MaxPool: (MaxPool((2,), (2,), ((1, 0),)), [(Ints((1, 5), -9, 9), [[-3, -1, -2, 7, 0]])]),
    SumPool: (SumPool((2,), (2,), ((1, 0),), 1), [(Ints((1, 5), -9, 9), [[-3, -1, -2, 7, 0]])]),
    Lut: (Lut([4, 1, 0, 1, 4], -2), [(Ints((4,), -2, 1), [-2, -1, 0, 1])]),
    Concat: (Concat(0), [(Ints((2,), 0, 9), [1, 2]), (Ints((1,), -5, 5), [-5])]),
    Reshape: (Reshape((2, 2)), [(Ints((4,), 0, 9), [1, 2, 3, 4])]),
    Transpose: (Transpose((1, 0)), [(Ints((2, 3), 0, 9), [[1, 2, 3], [4, 5, 6]])]),
    Slice: (Slice((0, 1), (1, 3), (1, 1)), [(Ints((2, 3), 0, 9), [[1, 2, 3], [4, 5, 6]])]),
    Pad: (Pad(((0, 0), (1, 2)), 7), [(Ints((2, 1), 0, 5), [[1], [2]])]),
    Gather: (Gather([[1, 2], [3, 4], [5, 6]]), [(Ints((3,), 0, 2), [2, 0, 1])]),
}


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, rounding_table(), requant_table(), "## The closed set\n",
                      " ".join(f"[{kind_of(c)}](#{kind_of(c)})" for c in OPS) + "\n", *map(section, OPS)])


def rounding_table() -> str:
    rows = [(x, n, f"{x / 2**n:g}", round_shift(x, n)) for x, n in
            [(5, 1), (-5, 1), (1, 1), (-1, 1), (6, 2), (-6, 2), (-7, 2), (-5, 2), (4, 3), (-4, 3), (-5, 3), (7, 0)]]
    return table(("x", "n", "x / 2**n", "round_shift(x, n)"), rows)


def requant_table() -> str:
    rows = [(acc, 3, 3, 10, 0, 15, f"{acc * 3 / 8 + 10:g}", requant(acc, 3, 3, 10, 0, 15)) for acc in (-100, -12, -4, -3, 0, 4, 12, 100)]
    return ("`requant(acc, mul, shift, zero, lo, hi) = clamp(round_shift(acc * mul, shift) + zero, lo, hi)` brings an accumulator "
            "to a narrow\ncode: the real factor between two scales is the dyadic number `mul / 2**shift`.\n\n"
            + table(("acc", "mul", "shift", "zero", "lo", "hi", "acc * mul / 2**shift + zero", "requant"), rows))


def section(cls: type[Op]) -> str:
    op, args = EXAMPLES[cls]
    lines = [f"### {kind_of(cls)}\n", inspect.getdoc(cls) + "\n"]
    if fields := re.findall(r"^    \w+: .*$", inspect.getsource(cls), re.M):
        lines += ["```", *(re.sub(r"\s+#", "  #", f.strip()) for f in fields), "```\n"]
    return "\n".join([*lines, f"Interval of y: {RULES[cls]}\n", "```", example(op, args), "```\n"])


def example(op: Op, args: list[tuple[Ints, list]]) -> str:
    g = Graph()
    names = [g.add("ab"[i] if len(args) > 1 else "x", Input(t)) for i, (t, _) in enumerate(args)]
    g.add("y", op, *names)
    rows = [(n, t, v) for n, (t, v) in zip(names, args)]
    if rows:
        y = run(g, {n: np.array([v]) for n, _, v in rows})[0].tolist()
        fields = [f"{k}={v.tolist() if isinstance(v, np.ndarray) else v}" for k, v in vars(op).items()]
        rows.append(("y", g.output.type, f"{y}  = {kind(op)}({', '.join([*names, *fields])})"))
    else:
        given = op.type if isinstance(op, Input) else op.value.tolist()
        rows.append(("y", g.output.type, f"= {kind(op)}({given})"))
    width = max(len(str(t)) for _, t, _ in rows)
    return "\n".join(f"{n}: {str(t):<{width}}  {v}" for n, t, v in rows)


def kind_of(cls: type[Op]) -> str: return cls.__name__.lower()


def table(head, rows) -> str:
    return "\n".join(f"| {' | '.join(map(str, r))} |" for r in [head, ["---:"] * len(head), *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
