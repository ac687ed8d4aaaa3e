"""CPU kernels of all that is no dense or regular convolution, on every instruction set that this machine has."""
import functools

import numpy as np
import pytest
import tvm
from strategies import samples

from codegen import tvm as backend
from ir import Concat, Conv, Graph, Input, Ints, MaxPool, Pad, Requant, Reshape, Slice, SumPool, Transpose, run

CPUS = ("znver4", "cascadelake", "haswell", "nehalem", "x86-64")  # AVX-512 with and without VBMI, AVX2, SSE4, SSE2
VECTORS = ("sse4.1", "avx2", "avx512bw", "avx512vl", "avx512vnni", "avx512vbmi")


@functools.cache
def runs_here(cpu: str) -> bool:
    """Whether this machine has all that LLVM says of a CPU's vectors."""
    have = {str(n) for n, on in tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")().items() if on}
    target = backend.parse_target(f"llvm -mcpu={cpu}")
    return all(n in have for n in VECTORS if tvm.target.codegen.target_has_features(n, target))


@pytest.fixture(params=CPUS)
def cpu(request) -> str:
    if not runs_here(request.param):
        pytest.skip(f"this machine cannot run code for {request.param}")
    return f"llvm -mcpu={request.param}"


def agrees(g: Graph, target: str, n: int = 3, threads: int | None = None) -> None:
    x = samples(g, n)
    np.testing.assert_array_equal(backend.build(g, target=target)(x, threads), run(g, x))


def depthwise(shape, lo: int, hi: int, kernel, times: int = 1, bits: int = 8, seed: int = 0, **attributes) -> Graph:
    """A depthwise convolution with `times` outputs for each channel, and a requant that saturates on both sides."""
    r, g, out = np.random.default_rng(seed), Graph(), shape[0] * times
    x = g.add("x", Input(Ints(shape, lo, hi)))
    weight = r.integers(-(1 << bits - 1), 1 << bits - 1, (out, 1, *kernel))
    y = g.add("y", Conv(weight, r.integers(-999, 999, out), groups=shape[0], pad=min(lo + 3, hi), **attributes), x)
    shift = max(abs(g.nodes[y].type.lo), g.nodes[y].type.hi).bit_length() + 4
    g.add("q", Requant(r.integers(1 << 13, 1 << 14, out), shift, 5, lo, hi), y)
    return g


def plane(stride=1, padding=((1, 1), (1, 1)), dilation=1) -> dict:
    return dict(stride=(stride,) * len(padding), padding=padding, dilation=(dilation,) * len(padding))


DEPTHWISE = {
    "3x3": depthwise((16, 8, 9), 0, 255, (3, 3), **plane()),
    "3x3 of 24 channels, stride 2, padded behind": depthwise((24, 12, 11), 0, 255, (3, 3), **plane(2, ((0, 1), (0, 1)))),
    "3x3 signed": depthwise((33, 7, 7), -128, 127, (3, 3), **plane()),
    "3x3 of 3 channels": depthwise((3, 9, 5), -8, 7, (3, 3), **plane()),
    "5x5 of 48 channels": depthwise((48, 10, 10), 0, 255, (5, 5), **plane(1, ((2, 2), (2, 2)))),
    "7x7 on a smaller plane": depthwise((17, 4, 5), 0, 255, (7, 7), **plane(1, ((3, 3), (3, 3)))),
    "4x10, stride 2": depthwise((16, 12, 12), 0, 127, (4, 10), **plane(2, ((1, 2), (4, 5)))),
    "dilated": depthwise((20, 12, 12), 0, 255, (3, 3), **plane(1, ((2, 2), (2, 2)), 2)),
    "1d": depthwise((12, 33), 0, 255, (5,), **plane(1, ((4, 0),))),
    "1d, stride 2, dilated": depthwise((40, 31), -128, 127, (3,), **plane(2, ((2, 1),), 2)),
    "two outputs a channel": depthwise((8, 9, 9), 0, 255, (3, 3), 2, **plane()),
    "four outputs a channel, stride 2": depthwise((12, 9, 9), 0, 255, (3, 3), 4, **plane(2)),
    "three outputs a channel": depthwise((4, 6, 6), 0, 255, (3, 3), 3, **plane()),
    "weights of 16 bits": depthwise((16, 5, 5), 0, 255, (3, 3), bits=16, **plane()),
    "values of 16 bits": depthwise((18, 5, 5), -32768, 32767, (3, 3), bits=6, **plane()),
    "one result": depthwise((16, 3, 3), 0, 255, (3, 3), **plane(padding=((0, 0), (0, 0)))),
}


FEW = ("3x3", "3x3 signed", "3x3 of 3 channels", "dilated", "four outputs a channel, stride 2")  # of other processors than the newest


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise(name):
    agrees(DEPTHWISE[name], "llvm")


@pytest.mark.parametrize("name", FEW)
def test_depthwise_on(name, cpu):
    agrees(DEPTHWISE[name], cpu)


def test_depthwise_of_any_shape():
    """Random shapes and attributes."""
    r = np.random.default_rng(3)
    for seed in range(6):
        shape = (int(r.integers(2, 70)), *map(int, r.integers(3, 14, 2)))
        kernel, padding = r.integers(1, 4, 2), r.integers(0, 3, (2, 2))
        lo, hi = [(0, 255), (-128, 127), (0, 9)][seed % 3]
        attributes = dict(stride=tuple(r.integers(1, 4, 2)), padding=padding.tolist(), dilation=(1, 1))
        agrees(depthwise(shape, lo, hi, tuple(kernel), seed=seed, **attributes), "llvm", 2)


def test_tasks_of_threads():
    """Tiles that begin earlier so as to end with the plane are computed by one thread."""
    agrees(depthwise((40, 7, 9), 0, 255, (3, 3), **plane()), "llvm", 1, threads=3)


def steps_of(op: Requant, t: Ints) -> np.ndarray:
    """Accumulators of each row just below, at and above where the result takes a step, the saturated ends among them."""
    rows = []
    for mul in map(int, op.mul):
        levels = [*range(op.lo - 1, min(op.hi, op.lo + 500) + 2), op.hi, op.hi + 1]
        at = [-((((op.zero - y) << op.shift) + (1 << op.shift >> 1)) // mul) for y in levels]
        rows.append(np.resize([a + d for a in (*at, t.lo, t.hi) for d in (-1, 0, 1)], t.shape[1]))
    return np.clip(rows, t.lo, t.hi)[None]


@pytest.mark.parametrize("shift, muls", [(24, (40000, 65535, 131071)), (25, (17759,)), (26, (23165, 99999, 70001)), (29, (3, 131071, 8)),
                                         (31, (1 << 16, 12, 40)),
                                         (33, (70001,)), (40, (1 << 23, (1 << 24) - 1, 5)), (3, (8, 24, 4)), (25, (19348, 2, 64))])
def test_requant_by_large_shifts(shift, muls):
    """Results of 8 bits behind shifts for which 32 bits do not hold the product: exact at every step."""
    for lo, hi, zero in ((0, 255, 0), (-128, 127, 7), (10, 2000, 5)):
        op, t, g = Requant(muls, shift, zero, lo, hi), Ints((len(muls), 1600), -(1 << 24) + 3, (1 << 26) - 1), Graph()
        g.add("q", op, g.add("x", Input(t)))
        x = np.concatenate([steps_of(op, t), samples(g, 3)])
        np.testing.assert_array_equal(backend.build(g)(x), run(g, x))


def moved(shape, lo: int, hi: int, *ops) -> Graph:
    g = Graph()
    at = g.add("x", Input(Ints(shape, lo, hi)))
    for i, op in enumerate(ops):
        at = g.add(f"n{i}", op, at)
    return g


def pooled(shape, lo: int, hi: int, kernel=(2, 2)) -> Graph:
    """A pool: its input is put channel-last, with a halo, and its output back."""
    return moved(shape, lo, hi, MaxPool(kernel, (1, 1), ((1, 0), (0, 1))))


def joined(axis: int, *types: Ints) -> Graph:
    g = Graph()
    g.add("y", Concat(axis), *[g.add(f"x{i}", Input(t)) for i, t in enumerate(types)])
    return g


MOVES = {
    "3 planes": pooled((3, 37, 21), 0, 255), "2 signed planes": pooled((2, 5, 64), -128, 127), "one plane": pooled((1, 9, 10), 0, 255),
    "4 planes": pooled((4, 8, 8), -8, 7), "5 planes": pooled((5, 4, 9), 0, 255), "17 planes": pooled((17, 6, 5), -128, 127),
    "64 planes": pooled((64, 7, 7), 0, 255), "planes of 16 bits": pooled((19, 6, 7), -32768, 32767),
    "planes of 32 bits": pooled((9, 6, 7), -2**31, 99),
    "transpose": moved((37, 50), 0, 255, Transpose((1, 0)), Reshape((37 * 50,))),
    "transpose of leading axes": moved((5, 6, 33), -128, 127, Transpose((1, 0, 2)), Reshape((990,))),
    "transpose of three": moved((6, 20, 33), -9, 9, Transpose((2, 0, 1)), Reshape((6 * 20 * 33,))),
    "transpose of words": moved((12, 20), 0, 65535, Transpose((1, 0)), Reshape((240,))),
    "pad of channels": moved((16, 9, 9), 0, 255, MaxPool((1, 1), (1, 1)), Slice((0, 0, 0), (16, 9, 9), (1, 2, 2)), Pad(((8, 8), (0, 0), (0, 0)))),
    "pad all around": moved((3, 5, 7), 0, 255, Pad(((1, 2), (0, 1), (3, 0)), -3)),
    "pad by nothing": moved((3, 5), 0, 255, Pad(((0, 0), (0, 0)), 5)),
    "concat of channels": joined(0, Ints((3, 5, 6), 0, 255), Ints((20, 5, 6), 0, 255), Ints((1, 5, 6), 0, 9)),
    "concat of signs": joined(1, Ints((3, 4), 0, 127), Ints((3, 9), -128, 127)),
    "concat of words": joined(1, Ints((3, 4), 0, 255), Ints((3, 9), -300, 127)),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    agrees(MOVES[name], "llvm", threads=2)


def windows(op, shape, lo: int, hi: int, kernel, stride, padding, *after) -> Graph:
    more = (lo + 1,) if op is SumPool else ()
    return moved(shape, lo, hi, op(kernel, stride, padding, *more), *after)


SAME, NONE = ((1, 1), (1, 1)), ((0, 0), (0, 0))
POOLS = {
    "maxima of 100 channels": windows(MaxPool, (100, 9, 8), 0, 255, (3, 3), (2, 2), SAME),
    "maxima, signed, requantized": windows(MaxPool, (35, 6, 7), -128, 127, (2, 3), (1, 2), NONE, Requant([77], 6, 3, -128, 127)),
    "maxima of rows": windows(MaxPool, (16, 33), 0, 99, (4,), (3,), ((2, 1),)),
    "maxima of words": windows(MaxPool, (21, 5, 5), -30000, 30000, (2, 2), (2, 2), NONE),
    "a mean of all": windows(SumPool, (131, 7, 7), 0, 255, (7, 7), (7, 7), NONE, Requant([1337], 16, 0, 0, 255)),
    "signed means": windows(SumPool, (64, 8, 8), -128, 127, (2, 2), (2, 2), NONE, Requant([1 << 14], 16, -3, -128, 127)),
    "sums of more than 257 bytes": windows(SumPool, (33, 17, 17), 0, 255, (17, 17), (1, 1), NONE),
    "sums beyond 16 bits": windows(SumPool, (5, 300), -7, 255, (290,), (1,), ((5, 6),)),
    "sums of words, padded": windows(SumPool, (18, 6, 5), -32768, 32767, (3, 3), (1, 1), SAME),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools(name):
    agrees(POOLS[name], "llvm", threads=2)


@pytest.mark.parametrize("name", list(POOLS)[:2] + list(POOLS)[5:7])
def test_pools_on(name, cpu):
    agrees(POOLS[name], cpu)
