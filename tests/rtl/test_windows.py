"""qs_window, qs_taps, qs_mvu, qs_vvu and qs_pool against the reference.

A window's elements are themselves a convolution, with one-hot kernels: `evaluate` says what qs_window and qs_taps must give.
"""
from dataclasses import replace

import numpy as np
import pytest

from checks import agree, check, random_ints
from hw.dataflow.taps import taps_legal
from ir import Conv, Dense, Ints, MaxPool, SumPool
from ir.infer import infer
from sim.words import mem, pack

pytestmark = pytest.mark.slow

WINDOWS = [  # shape (C, H, W), kernel, stride, padding, dilation, lanes, depthwise, rows of the ring beyond what a window spans
    ((2, 5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2, False, 1), ((4, 6, 5), (2, 3), (2, 1), ((0, 1), (2, 0)), (1, 1), 2, False, 2),
    ((4, 6, 5), (3, 2), (1, 2), ((1, 0), (0, 1)), (2, 2), 2, True, 1), ((3, 4, 4), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, False, 1),
    ((2, 4, 4), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), 1, True, 2), ((1, 5, 5), (5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), 1, False, 1),
    ((2, 7, 7), (2, 2), (3, 3), ((0, 0), (0, 0)), (1, 1), 2, False, 1), ((2, 1, 9), (1, 3), (1, 1), ((0, 0), (1, 1)), (1, 2), 1, False, 1),
    ((2, 3, 3), (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, True, 0), ((6, 2, 2), (1, 2), (1, 1), ((0, 0), (0, 1)), (1, 1), 3, True, 1),
]


def one_hot(c: int, kernel, lanes: int, depthwise: bool) -> np.ndarray:
    """Kernels that pick the elements of a window in the order in which qs_window gives them."""
    blocks = [range(b, b + lanes) for b in range(0, c, lanes)] if depthwise else [range(c)]
    picks = [(ch, *tap) for block in blocks for tap in np.ndindex(*kernel) for ch in block]
    w = np.zeros((len(picks), c, *kernel), np.int64)
    for k, pick in enumerate(picks):
        w[(k, *pick)] = 1
    return w


def window(shape, kernel, stride, padding, dilation, lanes, depthwise, spare, value=-3, frames=4):
    t = Ints(shape, -8, 7)
    w = one_hot(shape[0], kernel, lanes, depthwise)
    op = Conv(w, np.zeros(len(w)), stride, padding, dilation, pad=value)
    out = infer(op, t).shape
    c = check(op, [t], [random_ints(t, frames)], "qs_window", dict(
        Lanes=lanes, Blocks=shape[0] // lanes, Groups=shape[0] // lanes if depthwise else 1, Width=4, PadValue=value & 15, InRows=shape[1], InCols=shape[2],
        OutRows=out[1], OutCols=out[2], KernelRows=kernel[0], KernelCols=kernel[1], StrideRows=stride[0], StrideCols=stride[1],
        DilateRows=dilation[0], DilateCols=dilation[1], PadTop=padding[0][0], PadLeft=padding[1][0],
        RingRows=(kernel[0] - 1) * dilation[0] + 1 + spare), lanes=lanes)
    assert infer(op, t).bits == 4
    return replace(c, case=replace(c.case, surplus=True))  # the padding before the next frame comes early


def test_windows(tmp_path):
    agree([window(*w) for w in WINDOWS], tmp_path)


TAPS = [  # shape (C, H, W), kernel, stride, padding, dilation, lanes, taps a beat
    ((2, 5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2, 9), ((2, 5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2, 3),
    ((4, 6, 5), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1, 9), ((4, 6, 6), (3, 3), (2, 2), ((0, 1), (0, 1)), (1, 1), 2, 1),
    ((3, 4, 4), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), 3, 4), ((2, 7, 8), (3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2), 1, 9),
    ((1, 5, 5), (5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), 1, 5), ((2, 7, 7), (2, 2), (3, 3), ((0, 0), (0, 0)), (1, 1), 1, 2),
    ((4, 9, 1), (3, 1), (1, 1), ((1, 1), (0, 0)), (1, 1), 2, 3), ((3, 4, 6), (1, 3), (1, 1), ((0, 0), (1, 1)), (1, 1), 1, 3),
    ((4, 6, 5), (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 4, 9), ((6, 3, 3), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2, 9),
    ((1, 4, 4), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 1),
]


def taps(shape, kernel, stride, padding, dilation, lanes, per, value=-3, frames=4):
    t = Ints(shape, -8, 7)
    w = one_hot(shape[0], kernel, lanes, True)
    op = Conv(w, np.zeros(len(w)), stride, padding, dilation, pad=value)
    out = infer(op, t).shape
    assert taps_legal(shape[1:], out[1:], kernel, stride, dilation, [p[0] for p in padding])
    return check(op, [t], [random_ints(t, frames)], "qs_taps", dict(
        Lanes=lanes, Blocks=shape[0] // lanes, Taps=per, Width=4, PadValue=value & 15, InRows=shape[1], InCols=shape[2], OutRows=out[1], OutCols=out[2],
        KernelRows=kernel[0], KernelCols=kernel[1], StrideRows=stride[0], StrideCols=stride[1], DilateRows=dilation[0], DilateCols=dilation[1],
        PadTop=padding[0][0], PadLeft=padding[1][0]), lanes=lanes, out_lanes=lanes * per)


def test_several_taps_a_beat(tmp_path):
    agree([taps(*w) for w in TAPS], tmp_path)


def folded(w: np.ndarray, pe: int, simd: int, bits: int) -> str:
    """(groups, rows, cols) weights: one word a cycle; groups, turns of pe rows, beats of simd columns; (pe, simd) in a word."""
    g, rows, cols = w.shape
    words = w.reshape(g, rows // pe, pe, cols // simd, simd).transpose(0, 1, 3, 2, 4)
    return mem(pack(words, pe * simd, bits), pe * simd * bits)


MATRICES = [  # groups, rows, cols, pe, simd, range of x, range of the weights
    (1, 4, 6, 1, 1, (-8, 7), (-8, 7)), (1, 6, 8, 3, 4, (0, 15), (-1, 1)), (2, 4, 3, 2, 3, (-128, 127), (-128, 127)),
    (1, 5, 7, 5, 7, (0, 255), (-8, 7)), (1, 1, 1, 1, 1, (0, 1), (-1, 0)), (3, 1, 4, 1, 2, (-2, 1), (-2, 1)),
    (1, 8, 1, 2, 1, (0, 3), (-8, 7)), (1, 4, 4, 4, 1, (-512, 511), (-512, 511)),
]


def matrix(groups, rows, cols, pe, simd, x_range, w_range, frames=100):
    rng = np.random.default_rng(0)
    w, b = rng.integers(*w_range, (groups, rows, cols), endpoint=True), rng.integers(-100, 101, groups * rows)
    w.flat[0] = w_range[0]
    bits = Ints((1,), *w_range).bits
    op = Conv(w.reshape(groups * rows, cols, 1, 1), b, groups=groups) if groups > 1 else Dense(w[0], b)
    t = Ints((groups * cols, 1, 1) if groups > 1 else (cols,), *x_range)
    return check(op, [t], [random_ints(t, frames)], "qs_mvu", dict(
        Groups=groups, Rows=rows, Cols=cols, Pe=pe, Simd=simd, InWidth=t.bits, InSigned=int(t.signed), WeightWidth=bits, BiasWidth=8,
        OutWidth=infer(op, t).bits, WeightFile="w.mem", BiasFile="b.mem"),
        {"w.mem": folded(w, pe, simd, bits), "b.mem": mem(pack(b, pe, 8), pe * 8)}, simd, out_lanes=pe)


def test_matrix_vector(tmp_path):
    agree([matrix(*m) for m in MATRICES], tmp_path)


def by_block(x: np.ndarray, lanes: int) -> np.ndarray:
    """(N, C, *taps) -> (N, blocks * taps * lanes): block by block, in a block tap by tap."""
    n, c = x.shape[:2]
    return x.reshape(n, c // lanes, lanes, -1).transpose(0, 1, 3, 2).reshape(n, -1)


def whole_window(op, top: str, params: dict, mems: dict, t: Ints, lanes: int, frames: int = 100):
    """A check in which one window is the whole of x: its elements flow as qs_window would give them."""
    x = random_ints(t, frames)
    c = check(op, [t], [x], top, params | dict(Lanes=lanes, InWidth=t.bits, InSigned=int(t.signed), OutWidth=infer(op, t).bits), mems, lanes)
    return replace(c, case=replace(c.case, inputs={"s": pack(by_block(x, lanes), lanes, t.bits)}))


def test_vector_vector(tmp_path):
    rng = np.random.default_rng(0)
    cases = []
    for c, kernel, lanes, lo, hi, wlo, whi in [(4, (3, 3), 2, -8, 7, -8, 7), (3, (1, 2), 1, 0, 15, -1, 1), (4, (1, 1), 4, 0, 255, -128, 127), (6, (2, 1), 3, -1, 0, -2, 1)]:
        w, b = rng.integers(wlo, whi + 1, (c, 1, *kernel)), rng.integers(-100, 101, c)
        w.flat[0] = wlo
        bits, t = Ints((1,), wlo, whi).bits, Ints((c, *kernel), lo, hi)
        cases.append(whole_window(Conv(w, b, groups=c), "qs_vvu", dict(
            Blocks=c // lanes, Taps=kernel[0] * kernel[1], WeightWidth=bits, BiasWidth=8, WeightFile="w.mem", BiasFile="b.mem"),
            {"w.mem": mem(pack(by_block(w[None, :, 0], lanes), lanes, bits), lanes * bits), "b.mem": mem(pack(b, lanes, 8), lanes * 8)}, t, lanes))
    agree(cases, tmp_path)


def test_pool(tmp_path):
    cases = []
    for c, kernel, lanes, lo, hi in [(4, (2, 2), 2, -8, 7), (3, (3, 3), 1, 0, 15), (2, (1, 1), 2, -128, 127), (4, (1, 5), 4, 0, 255), (2, (2, 1), 1, -8, -3), (1, (3, 1), 1, 0, 1)]:
        t = Ints((c, *kernel), lo, hi)
        for op in (MaxPool(kernel, (1, 1)), SumPool(kernel, (1, 1))):
            cases.append(whole_window(op, "qs_pool", dict(Taps=kernel[0] * kernel[1], Largest=int(isinstance(op, MaxPool))), {}, t, lanes))
    agree(cases, tmp_path)
