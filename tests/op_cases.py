"""Small graphs, one corner of one op each, that every backend must get right: CASES = {name: graph}."""
import numpy as np

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Pad, Recur,
                Requant, Reshape, Slice, Sqrt, SumPool, Transpose)

RNG = np.random.default_rng(7)


def weights(*shape, bits: int = 8) -> np.ndarray: return RNG.integers(-(1 << bits - 1), 1 << bits - 1, shape)


def chain(shape, lo: int, hi: int, *ops) -> Graph:
    """Input of integers in [lo, hi], then one op after the other."""
    g = Graph()
    at = g.add("x", Input(Ints(shape, lo, hi)))
    for i, op in enumerate(ops):
        at = g.add(f"n{i}", op, at)
    return g


def pair(op, a: Ints, b: Ints, *after) -> Graph:
    g = Graph()
    at = g.add("y", op, g.add("a", Input(a)), g.add("b", Input(b)))
    for i, o in enumerate(after):
        at = g.add(f"n{i}", o, at)
    return g


def twice() -> Graph:
    """A value and its requant, both used: nothing may vanish in a fused kernel."""
    g = chain((3, 4), -8, 7, Dense(weights(5, 4), weights(5)))
    g.add("q", Requant([3], 4, 1, -8, 7), "n0")
    g.add("wide", Requant([1], 0, 0, -5000, 5000), "n0")
    g.add("sum", Add(), "q", "wide")
    return g


def conv(w, bits=8, **attributes) -> Conv: return Conv(weights(*w, bits=bits), weights(w[0], bits=10), **attributes)


def requant(n=1, shift=9, zero=0, lo=-128, hi=127, axis=0) -> Requant: return Requant(RNG.integers(1, 64, n), shift, zero, lo, hi, axis)


def constants() -> Graph:
    """Constants added and multiplied, of which one is wide and one is read by nothing else."""
    g = chain((3, 4), -8, 7)
    g.add("c", Constant(weights(3, 4, bits=12)))
    g.add("sum", Add(), "x", "c")
    g.add("row", Constant(weights(1, 4, bits=40)))
    g.add("rows", Expand((3, 4)), "row")
    g.add("y", Mul(), "sum", "rows")
    return g


def recurrence(f: Ints, c: Ints, first: Ints | None, *op) -> Graph:
    g = Graph()
    names = [g.add(n, Input(t)) for n, t in zip("fcs", (f, c, first)) if t]
    g.add("y", Recur(*op), *names)
    return g


ONE = dict(stride=(1,), padding=((0, 0),), dilation=(1,))
CASES = {
    "input alone": chain((3,), -5, 9),
    "scalar": chain((), -5, 9, Lut(np.arange(-5, 10) * 7, -5)),
    "dense": chain((7,), 0, 255, Dense(weights(9, 7), weights(9)), requant(9)),
    "dense of rows, short of a vector": chain((4, 3), 4, 49, Dense(weights(9, 3), weights(9))),
    "dense of matrices": chain((2, 5, 6), -8, 7, Dense(weights(17, 6), weights(17)), requant(17, axis=-1)),
    "dense beyond 2**24": chain((40,), 0, 65535, Dense(weights(3, 40, bits=12), weights(3))),
    "dense beyond 2**31": chain((9,), -32768, 32767, Dense(weights(20, 9, bits=24), weights(20, bits=30))),
    "dense beyond 2**53": chain((5,), -2**31, 2**31 - 1, Dense(weights(4, 5, bits=27), weights(4, bits=60))),
    "dense whose bias alone is wide": chain((2,), 0, 1, Dense([[1, -1]], [2**40 + 1])),
    "conv 3x3 padded with its zero point": chain((3, 6, 5), 0, 255,
        conv((16, 3, 3, 3), padding=((1, 1), (1, 1)), pad=128), requant(16, lo=0, hi=255)),
    "conv uneven all over": chain((4, 9, 7), -8, 7,
        conv((6, 2, 3, 2), stride=(2, 3), padding=((0, 2), (1, 0)), dilation=(2, 1), groups=2, pad=-9)),
    "conv 1x1 of odd planes": chain((5, 7, 7), 0, 15, conv((18, 5, 1, 1)), requant(18)),
    "conv 1x1 with a requant across its columns": chain((5, 7, 3), 0, 15, conv((18, 5, 1, 1)), requant(3, axis=-1)),
    "conv 1x1 strided": chain((5, 7, 7), 0, 15, conv((4, 5, 1, 1), stride=(2, 2))),
    "conv depthwise": chain((5, 8, 9), -128, 127, conv((5, 1, 3, 3), groups=5, padding=((1, 1), (1, 1)), pad=3), requant(5)),
    "conv depthwise with a multiplier": chain((3, 5, 6), 0, 255, conv((6, 1, 2, 3), groups=3, stride=(1, 2)), requant(6)),
    "conv 1d causal, dilated": chain((3, 12), -8, 7, conv((17, 3, 3), stride=(1,), padding=((4, 0),), dilation=(2,), pad=1), requant(17)),
    "conv 1d of one column": chain((3, 2), -8, 7, conv((2, 3, 2), **ONE)),
    "conv of 2**24 and more": chain((64, 3, 3), 0, 255, Conv(np.full((4, 64, 3, 3), 127), [1, 0, -1, 5], padding=((1, 1), (1, 1)))),
    "conv beyond float32 by far": chain((3, 4, 4), -32768, 32767, conv((4, 3, 2, 2), bits=24, padding=((1, 0), (0, 1)), pad=5)),
    "conv grouped beyond 2**31": chain((4, 4, 3), 0, 2**32 - 1, conv((6, 2, 3, 3), bits=16, groups=2, padding=((1, 1), (1, 1)), pad=-1)),
    "conv depthwise beyond 2**53": chain((2, 4), -2**40, 2**40, conv((4, 1, 3), bits=18, groups=2, **ONE)),
    "requant: ties, both signs": chain((9,), -64, 64, Requant([1], 3, 0, -8, 8)),
    "requant: zero and clamp": chain((9,), -300, 300, Requant([5], 2, -100, -100, 50)),
    "requant per row": chain((4, 3), -2**20, 2**20, requant(4, shift=14)),
    "requant per last axis": chain((2, 4, 5), -2**20, 2**20, requant(5, shift=14, axis=-1)),
    "requant per middle axis, from the end": chain((2, 4, 5), -2**20, 2**20, requant(4, shift=14, axis=-2)),
    "requant by 2**30": chain((5,), -2**30, 2**30, Requant([2**30 - 1], 52, 7, -128, 127)),
    "requant of 60 bits": chain((5,), -2**50, 2**50, Requant([1023], 55, 7, -128, 127)),
    "requant of shift 0": chain((5,), -3, 3, Requant([2**40], 0, 1, -2**42, 2**41)),
    "requant that only clamps": chain((3, 3), 0, 255, Requant([1], 0, 0, 10, 20)),
    "add of two signs": pair(Add(), Ints((3, 5), 0, 255), Ints((3, 5), -128, 127), requant(3, shift=6)),
    "add that cancels": pair(Add(), Ints((17,), 2**40, 2**40 + 9), Ints((17,), -2**40, -2**40 + 3)),
    "mul": pair(Mul(), Ints((2, 3, 4), 0, 65535), Ints((2, 3, 4), -32768, 32767), requant(3, shift=24, axis=1)),
    "mul beyond 2**53": pair(Mul(), Ints((4,), -2**29, 2**29), Ints((4,), 0, 2**28)),
    "matmul": pair(MatMul(), Ints((2, 3, 5), 0, 255), Ints((2, 5, 18), -128, 127), requant(2)),
    "matmul beyond 2**31": pair(MatMul(), Ints((3, 5), -2**20, 2**20), Ints((5, 2), -2**15, 2**15)),
    "matmul beyond 2**53": pair(MatMul(), Ints((3, 2), -2**30, 2**30), Ints((2, 3), 0, 2**27)),
    "conv by nothing": chain((1, 3), -2**31, 2**31 - 1, Conv(weights(1, 1, 1, bits=1) * 0, [0], (1,), ((0, 0),), (1,))),
    "maxpool uneven": chain((2, 5, 6), -128, 127, MaxPool((3, 2), (2, 3), ((1, 2), (0, 1)))),
    "maxpool 1d": chain((2, 7), 3, 9, MaxPool((3,), (2,), ((1, 1),))),
    "maxpool of wide values": chain((2, 7), 2**54, 2**54 + 9, MaxPool((3,), (2,), ((1, 1),))),
    "sumpool uneven": chain((2, 5, 6), 3, 255, SumPool((3, 2), (2, 3), ((1, 2), (0, 1)), 7)),
    "sumpool of everything": chain((18, 7, 7), 0, 255, SumPool((7, 7), (7, 7)), Requant([1337], 16, 0, 0, 255)),
    "sumpool 1d beyond 2**24": chain((2, 9), -2**23, 2**23, SumPool((4,), (3,), ((0, 3),), -1)),
    "lut": chain((3, 7), -128, 127, Lut(weights(256, bits=20), -128)),
    "lut larger than its type": chain((3, 7), 5, 9, Lut(weights(20), 0)),
    "lut of wide values": chain((3, 7), -8, 7, Lut(weights(16, bits=60), -8)),
    "requant with bounds far beyond its shift": chain((3, 5), 1 - 2**31, 2**31 - 1, Requant([2**24 + 1], 30, 7, -2**35, 2**35)),
    "requant by wide multipliers": chain((3, 2), -8, 7, Requant([2**40, 1, 2**50], 52, 0, -8, 7)),
    "requant of a constant 0": chain((3, 2), 0, 0, Requant([2**40], 3, 5, -8, 7)),
    "concat of unlike types": pair(Concat(1), Ints((2, 3, 2), 0, 255), Ints((2, 5, 2), -2**33, 3)),
    "reshape": chain((4, 6), 0, 3, Reshape((2, 3, 4)), Reshape((24,))),
    "transpose": chain((2, 3, 4), 0, 255, Transpose((2, 0, 1))),
    "slice": chain((5, 6, 7), 0, 255, Slice((1, 0, 6), (5, 6, 7), (2, 5, 1))),
    "pad": chain((2, 3), 0, 15, Pad(((1, 0), (2, 3)), -4)),
    "gather": chain((2, 3), 1, 9, Gather(weights(11, 5, bits=12))),
    "requant by negative and zero multipliers": chain((4, 3), -300, 300, Requant([-5, 0, 7, -1], 3, 2, -128, 127)),
    "requant that negates": chain((4, 3), -2**33, 300, Requant([-1], 0, 0, -2**40, 2**40)),
    "dense with a negative requant": chain((7,), 0, 255, Dense(weights(9, 7), weights(9)), Requant(weights(9, bits=6), 9, 1, -99, 99)),
    "div": pair(Div(), Ints((3, 17), -2**20, 2**20), Ints((3, 17), 1, 999), requant(3, shift=12)),
    "div, small: ties, both signs": pair(Div(), Ints((40, 9), -9, 9), Ints((40, 9), 1, 6)),
    "div of wide values": pair(Div(), Ints((5,), -2**55, 2**55), Ints((5,), 2**40, 2**52)),
    "sqrt": chain((2, 19), 0, 1025, Sqrt()),
    "sqrt of wide values": chain((7,), 2**51, 2**52 - 1, Sqrt()),
    "expand": chain((3, 1, 5, 1), -8, 7, Expand((3, 4, 5, 2))),
    "constants": constants(),
    "recur": recurrence(Ints((5, 2, 3), 0, 65535), Ints((5, 2, 3), -2**38, 2**38), None, 16, -2**26, 2**26),
    "recur from a state": recurrence(Ints((4, 17), -9, 9), Ints((4, 17), -99, 99), Ints((1, 17), -7, 5), 2, -50, 60),
    "recur of one step, wide": recurrence(Ints((1, 3), 0, 2**10), Ints((1, 3), 0, 2**50), Ints((1, 3), 0, 2**24), 5, 0, 2**50),
    "a value read twice": twice(),
}
