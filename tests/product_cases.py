"""Graphs of what a backend may compute in one kernel: products of bytes in tiles, rows that are normed: PRODUCTS = {name: graph}."""
import numpy as np

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Requant, Reshape, Slice, Sqrt,
                SumPool, Transpose)

RNG = np.random.default_rng(11)


def weights(*shape, bits: int = 8) -> np.ndarray: return RNG.integers(-(1 << bits - 1), 1 << bits - 1, shape)


def ternary(*shape) -> np.ndarray: return RNG.integers(-1, 2, shape)


def to_bytes(n: int, shift: int, lo: int = 0, hi: int = 255, axis: int = 0) -> Requant:
    return Requant(RNG.integers(1 << 6, 1 << 8, n), shift, (lo + hi) // 2, lo, hi, axis)


def chain(t: Ints, *ops) -> Graph:
    g = Graph()
    at = g.add("x", Input(t))
    for i, op in enumerate(ops):
        at = g.add(f"n{i}", op, at)
    return g


def dense(rows: tuple, inner: int, outer: int, lo: int, hi: int, w: np.ndarray) -> Graph:
    return chain(Ints((*rows, inner), lo, hi), Dense(w, weights(outer, bits=12)), to_bytes(outer, 17, axis=-1))


def conv(channels: int, space: tuple, w: np.ndarray, lo: int = 0, hi: int = 255, **attributes) -> Graph:
    """A convolution of what a first 1x1 has made, so that it lies channel-last, and a requant."""
    g = chain(Ints((3, *space), 0, 255), Conv(weights(channels, 3, *(1 for _ in space)), weights(channels, bits=10), stride=(1,) * len(space),
                                              padding=((0, 0),) * len(space), dilation=(1,) * len(space)), to_bytes(channels, 15, lo, hi))
    g.add("conv", Conv(w, weights(len(w), bits=12), **attributes), "n1")
    g.add("q", to_bytes(len(w), 18), "conv")
    return g


def seen_another_way() -> Graph:
    """Feature maps that come and go with their channels last, as one long row at the end."""
    return chain(Ints((6, 5, 16), 0, 255), Transpose((2, 0, 1)), Conv(weights(24, 16, 3, 3), weights(24, bits=12), padding=((1, 1), (1, 1)), pad=9),
                 to_bytes(24, 18), Transpose((1, 2, 0)), Reshape((30, 24)), Reshape((720,)))


def residual() -> Graph:
    """A block of a residual net: the sum is requantized in the kernel of the second convolution."""
    g = conv(16, (7, 6), weights(16, 16, 3, 3), padding=((1, 1), (1, 1)), pad=127)
    g.add("wide", Requant([37], 0, -99, -1 << 20, 1 << 20), "q")
    g.add("short", Requant([53], 0, 7, -1 << 20, 1 << 20), "n1")
    g.add("sum", Add(), "wide", "short")
    g.add("out", Requant([900], 16, 0, 0, 255), "sum")
    return g


def attention(tokens: int, heads: int, width: int) -> Graph:
    """Products of two activations whose bytes mean a number less their zero point, and of the result with a third."""
    g = Graph()
    x = Ints((tokens, heads, width), 0, 255)
    for name, zero, axes in (("q", -135, (1, 0, 2)), ("k", -127, (1, 2, 0)), ("v", 0, (1, 0, 2))):
        g.add(f"{name}.in", Transpose(axes), g.add(f"{name}.x", Input(x)))
        g.add(name, Requant([1], 0, zero, zero, 255 + zero), f"{name}.in")
    g.add("scores", MatMul(), "q", "k")
    g.add("probabilities", Requant([300], 22, 128, 0, 255), "scores")
    g.add("mixed", MatMul(), "probabilities", "v")
    g.add("out", Requant([300], 24, 0, -128, 127), "mixed")
    return g


def named(x: Ints, *steps) -> Graph:
    """Nodes (name, op, *arguments) behind the input "x"."""
    g = Graph()
    g.add("x", Input(x))
    for name, op, *args in steps:
        g.add(name, op, *args)
    return g


def whole(length: int): return (length,), (length,), ((0, 0),)


def norm(rows: int, length: int) -> Graph:
    """A layer norm: mean, variance, root and division of each row."""
    wide, scale = 1 << 40, RNG.integers(1 << 8, 1 << 10, length)
    return named(
        Ints((rows, length), -2000, 2000), ("sum", SumPool(*whole(length)), "x"), ("minus", Requant([-1], 0, 0, -wide, wide), "sum"),
        ("mean", Expand((rows, length)), "minus"), ("times", Requant([length], 0, 0, -wide, wide), "x"), ("centred", Add(), "times", "mean"),
        ("narrow", Requant([1], 3, 0, -wide, wide), "centred"), ("squares", Mul(), "narrow", "narrow"), ("power", SumPool(*whole(length)), "squares"),
        ("eps", Requant([1], 0, 99, 99, (1 << 52) - 1), "power"), ("sqrt", Sqrt(), "eps"), ("root", Expand((rows, length)), "sqrt"),
        ("large", Requant([1 << 14], 0, 0, -wide, wide), "narrow"), ("ratio", Div(), "large", "root"),
        ("scaled", Requant(scale, 9, 0, -9999, 9999, -1), "ratio"),
        ("bias", Constant(weights(1, length)),), ("biases", Expand((rows, length)), "bias"), ("biased", Add(), "scaled", "biases"),
        ("y", Requant([1], 5, 128, 0, 255), "biased"))


def softmax(rows: int, length: int) -> Graph:
    """Exponentials by table over their sum, and the largest of each row, which is read as well."""
    table = np.round(np.exp(np.arange(-255, 1) / 32) * (1 << 20)).astype(int)
    return named(
        Ints((rows, length), 0, 255), ("max", MaxPool(*whole(length)), "x"), ("minus", Requant([-1], 0, 0, -255, 0), "max"),
        ("tops", Expand((rows, length)), "minus"), ("below", Add(), "x", "tops"), ("far", Requant([1], 0, 0, -255, 0), "below"),
        ("exp", Lut(table, -255), "far"), ("sum", SumPool(*whole(length)), "exp"), ("total", Requant([1], 9, 0, 1, 1 << 40), "sum"),
        ("totals", Expand((rows, length)), "total"), ("share", Div(), "exp", "totals"), ("q", Requant([300], 9, 0, 0, 255), "share"),
        ("both", Concat(1), "q", "max"))


def there_and_back() -> Graph:
    """What follows from the largest of each row goes through a product and meets it again: the product cannot wait for that."""
    return named(
        Ints((6, 32), 0, 255), ("max", MaxPool(*whole(32)), "x"), ("tops", Expand((6, 32)), "max"), ("below", Add(), "x", "tops"),
        ("less", Requant([1], 1, 0, 0, 255), "below"), ("mixed", Dense(weights(32, 32), weights(32)), "less"), ("q", to_bytes(1, 15), "mixed"),
        ("again", Add(), "q", "tops"), ("sum", SumPool(*whole(32)), "again"), ("all", Concat(1), "sum", "less"))


SAME = dict(padding=((1, 1), (1, 1)))
PRODUCTS = {
    "dense of one row": dense((), 528, 33, 0, 255, weights(33, 528)),
    "dense of one row, 4 bits": dense((), 1040, 20, -128, 127, weights(20, 1040, bits=4)),
    "dense of one row, ternary": dense((), 592, 21, 0, 255, ternary(21, 592)),
    "dense of rows": dense((37,), 96, 40, -128, 127, weights(40, 96)),
    "dense of rows, 4 bits": dense((3, 11), 144, 24, 0, 255, weights(24, 144, bits=4)),
    "dense of rows, ternary": dense((70,), 80, 18, -128, 127, ternary(18, 80)),
    "dense of rows of uneven length": dense((9,), 75, 17, 0, 200, weights(17, 75, bits=3)),
    "dense by weights beyond 127": dense((9,), 64, 17, 0, 255, RNG.integers(0, 256, (17, 64))),
    "conv 3x3 around its zero point": conv(16, (9, 8), weights(24, 16, 3, 3), pad=128, **SAME),
    "conv 3x3 strided, signed": conv(32, (9, 8), weights(10, 32, 3, 3), -128, 127, stride=(2, 2), padding=((0, 1), (1, 0)), pad=-128),
    "conv 3x3 of 4 bits": conv(16, (6, 6), weights(33, 16, 3, 3, bits=4), stride=(1, 2), **SAME),
    "conv 3x3 ternary": conv(48, (5, 5), ternary(16, 48, 3, 3), **SAME),
    "conv of words": conv(12, (8, 7), weights(20, 12, 3, 2), dilation=(2, 1), padding=((2, 1), (0, 1)), pad=5),
    "conv of odd channels": conv(7, (8, 7), weights(9, 7, 3, 3), pad=99, **SAME),
    "conv in groups": conv(32, (6, 5), weights(48, 16, 3, 3), groups=2, **SAME),
    "conv 1x1 strided": conv(64, (8, 8), weights(40, 64, 1, 1), stride=(2, 2)),
    "conv 1d causal": conv(16, (30,), weights(24, 16, 3), stride=(1,), padding=((4, 0),), dilation=(2,), pad=3),
    "conv depthwise": conv(24, (8, 9), weights(24, 1, 3, 3), groups=24, pad=77, **SAME),
    "conv depthwise, strided, signed": conv(20, (9, 9), weights(20, 1, 5, 3), -128, 127, groups=20, stride=(2, 1), padding=((2, 2), (1, 0))),
    "conv, channels last": seen_another_way(),
    "residual block": residual(),
    "attention": attention(17, 3, 32),
    "attention of few, odd": attention(5, 2, 20),
    "sums of rows": chain(Ints((5, 70), -128, 127), SumPool((70,), (70,), ((0, 0),)), to_bytes(5, 14)),
    "sums of parts of rows, wide": chain(Ints((3, 128), -2**40, 2**40), SumPool((64,), (32,), ((0, 0),))),
    "largest of rows": chain(Ints((6, 65), -128, 127), MaxPool((65,), (65,), ((0, 0),))),
    "norm": norm(7, 70),
    "norm of short rows": norm(5, 9),
    "softmax": softmax(9, 65),
    "rows that are left and met again": there_and_back(),
    "rows of a slice": chain(Ints((6, 96), 0, 255), Slice((1, 32), (6, 80), (2, 1)), Dense(weights(16, 48), weights(16)), to_bytes(16, 14, axis=-1)),
}
