"""Small graphs that between them use every module of the streaming library."""
import math

import numpy as np

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Pad, Recur, Requant,
                Reshape, Slice, Sqrt, SumPool, Transpose)

rng = np.random.default_rng(7)


def fixed(make) -> Graph:
    """make(), the same whatever was made before."""
    global rng
    rng = np.random.default_rng(7)
    return make()


def weights(bits: int, *shape) -> np.ndarray:
    """Random signed weights; 'bits' 0 is ternary."""
    return rng.integers(-1, 2, shape) if bits == 0 else rng.integers(-(1 << bits - 1), 1 << bits - 1, shape)


def narrow(g: Graph, name: str, lo: int, hi: int, axis: int = 0, zero: int = 0) -> str:
    """The value requantized per channel to about [lo, hi], some of it clipped."""
    t = g.nodes[name].type
    shift = max(0, (max(t.hi, -t.lo) * 100 // max(hi - lo, 1)).bit_length() - 2)
    return g.add(f"{name}_q", Requant(rng.integers(64, 128, t.shape[axis]), shift, zero, lo, hi, axis), name)


def conv(g: Graph, name: str, x: str, out: int, kernel, bits: int = 4, groups: int = 1, **options) -> str:
    c = g.nodes[x].type.shape[0]
    return g.add(name, Conv(weights(bits, out, c // groups, *kernel), rng.integers(-50, 50, out), groups=groups, **options), x)


def dense(g: Graph, name: str, x: str, out: int, bits: int = 4) -> str:
    return g.add(name, Dense(weights(bits, out, g.nodes[x].type.shape[-1]), rng.integers(-50, 50, out)), x)


def dense_chain() -> Graph:
    g = Graph()
    g.add("x", Input(Ints((12,), -8, 7)))
    narrow(g, dense(g, "d1", "x", 10, 0), 0, 3)
    narrow(g, dense(g, "d2", "d1_q", 6, 2), -1, 1)
    dense(g, "d3", "d2_q", 4, 8)
    return g


def convs() -> Graph:
    """Strides, dilation, groups, uneven padding, a padding value inside, at the end of and outside the range of x."""
    g = Graph()
    g.add("x", Input(Ints((4, 7, 6), 0, 15)))
    a = narrow(g, conv(g, "c1", "x", 6, (3, 2), padding=((1, 2), (0, 1)), stride=(2, 1), pad=5), -8, 7)
    b = narrow(g, conv(g, "c2", a, 4, (2, 2), groups=2, dilation=(1, 2), padding=((1, 0), (1, 1)), pad=-9), 0, 15, zero=3)
    narrow(g, conv(g, "c3", b, 4, (1, 1), bits=0, stride=(1, 2)), 0, 3)
    conv(g, "c4", "c3_q", 3, (3, 3), padding=((1, 1), (1, 1)), pad=3)
    return g


def depthwise() -> Graph:
    g = Graph()
    g.add("x", Input(Ints((6, 5, 5), -8, 7)))
    narrow(g, conv(g, "dw", "x", 6, (3, 3), groups=6, padding=((1, 1), (1, 1)), pad=1, stride=(1, 2)), 0, 15)
    narrow(g, conv(g, "pw", "dw_q", 4, (1, 1)), 0, 15)
    conv(g, "multi", "pw_q", 8, (2, 2), groups=4)
    return g


def one_axis() -> Graph:
    """Convolutions along time, then a dense layer at every step: (C, T) to (T, C) costs nothing."""
    g = Graph()
    g.add("x", Input(Ints((3, 11), -8, 7)))
    narrow(g, conv(g, "c1", "x", 4, (3,), padding=((2, 0),), stride=(1,), dilation=(1,)), 0, 15)
    narrow(g, conv(g, "c2", "c1_q", 4, (3,), padding=((4, 0),), stride=(2,), dilation=(2,), groups=4), 0, 15)
    g.add("p", MaxPool((2,), (2,), ((0, 0),)), "c2_q")
    g.add("t", Transpose((1, 0)), "p")
    dense(g, "d", "t", 3)
    return g


def branches() -> Graph:
    """A fork of three, joins of skewed branches, a join of a value with itself, a concat along the channels."""
    g = Graph()
    g.add("x", Input(Ints((4, 6, 6), 0, 15)))
    a = narrow(g, conv(g, "a", "x", 4, (3, 3), padding=((1, 1), (1, 1))), 0, 15)
    b = narrow(g, conv(g, "b", a, 4, (5, 5), padding=((2, 2), (2, 2))), 0, 15)
    g.add("s", Add(), b, "x")
    g.add("m", Mul(), "s", "a_q")
    g.add("d", Add(), "m", "m")
    g.add("l", Lut(rng.integers(-9, 9, 16), 0), "x")
    g.add("cat", Concat(0), "d", "l", "x")
    return g


def pools() -> Graph:
    g = Graph()
    g.add("x", Input(Ints((4, 6, 6), -8, 7)))
    g.add("max", MaxPool((3, 3), (2, 2), ((1, 1), (1, 1))), "x")
    g.add("sum", SumPool((2, 3), (1, 2), ((1, 0), (0, 1)), -20), "max")
    g.add("all", SumPool((3, 1), (3, 1)), "sum")
    return g


def shapes() -> Graph:
    """Reshape to dense with permuted weights, slices, pads, transposes, a matrix product of two activations, an embedding."""
    g = Graph()
    g.add("x", Input(Ints((4, 3, 4), 0, 15)))
    g.add("cut", Slice((0, 1, 0), (4, 3, 3), (2, 1, 2)), "x")
    g.add("pad", Pad(((1, 1), (0, 1), (2, 0)), 17), "cut")
    g.add("flat", Reshape((48,)), "x")
    dense(g, "d", "flat", 6)
    g.add("rows", Reshape((4, 12)), "x")
    g.add("columns", Transpose((1, 0)), "rows")
    g.add("product", MatMul(), "rows", "columns")
    g.add("word", Gather(weights(4, 16, 6)), "rows")
    leaves = [g.add(f"flat_{n}", Reshape((g.nodes[n].type.size,)), n) for n in ("pad", "d", "product", "word")]
    g.add("everything", Concat(0), *leaves)
    return g


def resnet(size: int = 8, widths=(4, 8), classes: int = 4) -> Graph:
    """Two convolutions a stage, a strided 1x1 shortcut where the width changes, a global mean and a dense layer."""
    g = Graph()
    g.add("x", Input(Ints((3, size, size), 0, 255)))
    same = {"padding": ((1, 1), (1, 1))}
    v = narrow(g, conv(g, "stem", "x", widths[0], (3, 3), **same), 0, 15)
    for k, c in enumerate(widths):
        st = {"stride": (2, 2)} if k else {}
        a = narrow(g, conv(g, f"s{k}a", v, c, (3, 3), **same, **st), 0, 15)
        b = narrow(g, conv(g, f"s{k}b", a, c, (3, 3), **same), -8, 7)
        short = narrow(g, conv(g, f"s{k}c", v, c, (1, 1), **st), -8, 7) if k else v
        g.add(f"s{k}", Add(), b, short)
        v = g.add(f"s{k}_relu", Requant([1], 0, 0, 0, 15), f"s{k}")
    left = g.nodes[v].type.shape[1]
    g.add("pool", SumPool((left, left), (left, left)), v)
    g.add("mean", Requant([1], 2 * (left.bit_length() - 1) - 2, 0, 0, 63), "pool")
    g.add("vector", Reshape((widths[-1],)), "mean")
    dense(g, "fc", "vector", classes)
    return g


def unet() -> Graph:
    """A map halved and, nearest neighbours doubled, put beside what it came from."""
    g = Graph()
    g.add("x", Input(Ints((3, 8, 8), 0, 15)))
    same = {"padding": ((1, 1), (1, 1))}
    a = narrow(g, conv(g, "c1", "x", 4, (3, 3), **same), 0, 15)
    g.add("half", MaxPool((2, 2), (2, 2)), a)
    narrow(g, conv(g, "c2", "half", 4, (3, 3), **same), 0, 15)
    g.add("small", Reshape((4, 4, 1, 4, 1)), "c2_q")
    g.add("double", Expand((4, 4, 2, 4, 2)), "small")
    g.add("large", Reshape((4, 8, 8)), "double")
    g.add("both", Concat(0), a, "large")
    narrow(g, conv(g, "c3", "both", 4, (3, 3), **same), 0, 15)
    return g


def _softmax(g: Graph, x: str) -> str:
    """Weights of 7 bits of the last axis of x, (..., width) of narrow scores: less the largest, an exponential by table, over the sum."""
    shape, width = g.nodes[x].type.shape, g.nodes[x].type.shape[-1]
    g.add("rows", Reshape((math.prod(shape[:-1]), width)), x)
    t = g.nodes["rows"].type
    g.add("most", MaxPool((width,), (width,), ((0, 0),)), "rows")
    g.add("less", Requant([-1], 0, 0, -1 << 20, 1 << 20), "most")
    g.add("less_each", Expand(t.shape), "less")
    g.add("below", Add(), "rows", "less_each")
    low = g.nodes["below"].type
    g.add("exp", Lut(np.rint(200 * np.exp2(np.arange(low.lo, low.hi + 1) / 4).clip(max=1)), low.lo), "below")
    g.add("sum", SumPool((width,), (width,), ((0, 0),)), "exp")
    g.add("over", Requant([1], 0, 0, 1, 1 << 20), "sum")  # at least 1
    g.add("over_each", Expand(t.shape), "over")
    g.add("wide", Requant([127], 0, 0, 0, 1 << 20), "exp")
    g.add("share", Div(), "wide", "over_each")
    return g.add("weight", Reshape(shape), "share")


def layernorm(rows: int = 4, width: int = 6) -> Graph:
    """(x - mean) / sqrt(variance) of each row, times a constant, plus a constant."""
    g = Graph()
    g.add("x", Input(Ints((rows, width), -128, 127)))
    g.add("sum", SumPool((width,), (width,), ((0, 0),)), "x")
    g.add("mean", Requant([-((1 << 12) // width)], 12, 0, -128, 127), "sum")
    g.add("means", Expand((rows, width)), "mean")
    g.add("centered", Add(), "x", "means")
    g.add("square", Mul(), "centered", "centered")
    g.add("squares", Dense(np.ones((1, width)), [width]), "square")
    g.add("variance", Requant([1], 0, 0, 0, 1 << 30), "squares")
    g.add("root", Sqrt(), "variance")
    g.add("deviation", Requant([1], 0, 0, 1, 1 << 30), "root")
    g.add("deviations", Expand((rows, width)), "deviation")
    g.add("wide", Requant([256], 0, 0, -1 << 20, 1 << 20), "centered")
    g.add("unit", Div(), "wide", "deviations")
    g.add("gain", Constant(weights(6, 1, width)))
    g.add("gains", Expand((rows, width)), "gain")
    g.add("scaled", Mul(), "unit", "gains")
    g.add("offset", Constant(np.tile(weights(8, 1, width), (rows, 1))))
    g.add("y", Add(), "offset", "scaled")
    return g


def per_token() -> Graph:
    """Each token by its own largest magnitude, to 8 bits; a product of matrices; and back by what it was divided by."""
    g = Graph()
    g.add("x", Input(Ints((5, 8), -900, 900)))
    g.add("minus", Requant([-1], 0, 0, -900, 900), "x")
    g.add("top", MaxPool((8,), (8,), ((0, 0),)), "x")
    g.add("bottom", MaxPool((8,), (8,), ((0, 0),)), "minus")
    g.add("both", Concat(1), "top", "bottom")
    g.add("reach", MaxPool((2,), (2,), ((0, 0),)), "both")
    g.add("scale", Requant([1], 0, 0, 1, 900), "reach")
    g.add("scales", Expand((5, 8)), "scale")
    g.add("times", Requant([127], 0, 0, -1 << 20, 1 << 20), "x")
    g.add("code", Div(), "times", "scales")
    dense(g, "d", "code", 6)
    g.add("back", Expand((5, 6)), "scale")
    g.add("y", Mul(), "d", "back")
    return g


def attention(tokens: int = 4, heads: int = 2, width: int = 6) -> Graph:
    """Attention of several heads over tokens, around which the tokens themselves pass."""
    g = Graph()
    g.add("x", Input(Ints((tokens, width), -8, 7)))
    for n in "qkv":
        narrow(g, dense(g, n, "x", width), -8, 7, axis=1)
        g.add(f"{n}_split", Reshape((tokens, heads, width // heads)), f"{n}_q")
        g.add(f"{n}_heads", Transpose((1, 2, 0) if n == "k" else (1, 0, 2)), f"{n}_split")
    g.add("scores", MatMul(), "q_heads", "k_heads")
    narrow(g, "scores", -8, 7)
    _softmax(g, "scores_q")
    g.add("mixed", MatMul(), "weight", "v_heads")
    g.add("together", Transpose((1, 0, 2)), "mixed")
    g.add("flat", Reshape((tokens, width)), "together")
    narrow(g, "flat", -8, 7, axis=1)
    narrow(g, dense(g, "out", "flat_q", width), -8, 7, axis=1)
    g.add("y", Add(), "x", "out_q")
    return g


def recurrent(steps: int = 5, width: int = 4) -> Graph:
    """A gated linear recurrence (MLGRU): state = forget * state + (1 - forget) * candidate, gated at the output."""
    g = Graph()
    g.add("x", Input(Ints((steps, width), -8, 7)))
    for n in "fcg":
        narrow(g, dense(g, n, "x", width, 0), -8, 7, axis=1)
    g.add("forget", Lut(np.rint(255 / (1 + np.exp(-np.arange(-8, 8) / 2))), -8), "f_q")
    g.add("keep", Requant([-1], 0, 255, 0, 255), "forget")
    g.add("candidate", Lut(np.rint(99 * np.tanh(np.arange(-8, 8) / 3)), -8), "c_q")
    g.add("fresh", Mul(), "keep", "candidate")
    g.add("first", Constant(weights(6, 1, width)))
    g.add("state", Recur(8, -128, 127), "forget", "fresh", "first")
    g.add("gated", Mul(), "state", "g_q")
    g.add("alone", Recur(3, -500, 500), "g_q", "gated")
    dense(g, "y", "alone", 3)
    return g


def expanded() -> Graph:
    """Axes of one element in every place, of images and of rows, joined with what flows in another order."""
    g = Graph()
    g.add("x", Input(Ints((4, 3, 2), 0, 15)))
    g.add("pooled", SumPool((3, 2), (3, 2)), "x")
    g.add("gate", Expand((4, 3, 2)), "pooled")
    g.add("gated", Mul(), "gate", "x")
    g.add("first", Slice((0, 0, 0), (1, 3, 2), (1, 1, 1)), "x")
    g.add("planes", Expand((5, 3, 2)), "first")
    g.add("column", Slice((0, 0, 1), (4, 3, 2), (1, 1, 1)), "x")
    g.add("columns", Expand((4, 3, 3)), "column")
    g.add("row", Reshape((1, 6, 1, 4)), "gated")
    g.add("rows", Expand((2, 6, 3, 4)), "row")
    g.add("mean", Constant(np.arange(144).reshape(2, 6, 3, 4) % 7 - 3))
    g.add("off", Add(), "mean", "rows")
    leaves = [g.add(f"flat_{n}", Reshape((g.nodes[n].type.size,)), n) for n in ("planes", "columns", "off")]
    g.add("everything", Concat(0), *leaves)
    return g
