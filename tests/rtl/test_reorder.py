"""qs_concat, qs_pad, qs_slice, qs_reorder, qs_gather and qs_fork against the reference, frame after frame."""
import numpy as np
import pytest

from checks import Check, agree, check, packed, random_ints
from ir import Concat, Gather, Ints, Pad, Slice, Transpose
from ir.infer import infer
from sim import Case
from sim.words import mem, pack, stream

pytestmark = pytest.mark.slow

FRAMES = 20


def flow(values, lanes: int = 1) -> list[int]:
    """Numbers of the axes in stream order, the last one in beats: (C, H, W) flows as H, W, C / lanes."""
    order = [*values[1:], values[0]] if len(values) == 3 else list(values)
    assert order[-1] % lanes == 0
    return [*order[:-1], order[-1] // lanes]


def test_concat(tmp_path):
    cases = []
    for shapes, axis, lanes in [([(2, 3, 2), (4, 3, 2)], 0, 2), ([(3,), (1,), (2,)], 0, 1), ([(2, 4), (3, 4)], 0, 4), ([(2, 3), (2, 1)], 1, 1),
                                ([(2, 2, 3), (2, 4, 3)], 1, 2), ([(2, 3, 1), (2, 3, 4)], 2, 1), ([(5,), (5,), (5,), (5,), (5,)], 0, 5)]:
        types = [Ints(s, -8, 7) for s in shapes]
        order = [1, 2, 0] if len(shapes[0]) == 3 else list(range(len(shapes[0])))
        place = order.index(axis)
        beats = [int(np.prod([s[a] for a in order[place:]])) // lanes for s in shapes]  # of one step of the axes outside
        names = [f"s[{k}]" for k in range(len(shapes))]
        cases.append(check(Concat(axis), types, [random_ints(t, FRAMES, k) for k, t in enumerate(types)], "qs_concat",
                           dict(NumIn=len(shapes), Width=4 * lanes, Beats=packed(beats)), lanes=[lanes] * len(shapes), names=names))
    agree(cases, tmp_path)


def test_pad(tmp_path):
    cases = []
    for shape, padding, value, lanes in [((2, 3, 2), ((0, 0), (1, 2), (3, 0)), -8, 2), ((2, 3, 2), ((2, 4), (0, 0), (0, 1)), 3, 2),
                                         ((3,), ((1, 1),), 0, 1), ((2, 3), ((0, 2), (1, 0)), 7, 1), ((1, 1, 1), ((0, 0), (1, 1), (1, 1)), -1, 1),
                                         ((4,), ((0, 0),), 0, 2), ((2, 2, 1, 3), ((1, 0), (0, 1), (1, 1), (2, 0)), 5, 1)]:
        t, op = Ints(shape, -8, 7), Pad(padding, value)
        before, after = zip(*padding)
        cases.append(check(op, [t], [random_ints(t, FRAMES)], "qs_pad", dict(
            Rank=len(shape), Width=4 * lanes, Size=packed(flow(shape, lanes)), Before=packed(flow(before, lanes)), After=packed(flow(after, lanes)),
            Value=pack([value] * lanes, lanes, 4)[0]), lanes=lanes))
    agree(cases, tmp_path)


def test_slice(tmp_path):
    cases = []
    for shape, start, stop, step, lanes in [((4, 5, 6), (0, 1, 0), (4, 5, 6), (1, 2, 3), 2), ((4, 5, 6), (2, 0, 1), (4, 3, 2), (1, 1, 1), 2),
                                            ((7,), (1,), (7,), (2,), 1), ((7,), (2,), (6,), (3,), 1), ((3, 4), (1, 0), (2, 4), (1, 3), 1),
                                            ((4, 3), (0, 0), (4, 3), (2, 5), 1), ((2, 3, 2, 4), (0, 1, 1, 0), (2, 3, 2, 3), (1, 1, 1, 2), 1),
                                            ((8, 2, 2), (4, 0, 0), (8, 2, 2), (1, 1, 1), 4), ((1,), (0,), (1,), (1,), 1)]:
        t = Ints(shape, -8, 7)
        cases.append(check(Slice(start, stop, step), [t], [random_ints(t, FRAMES)], "qs_slice", dict(
            Rank=len(shape), Width=4 * lanes, Size=packed(flow(shape, lanes)), Start=packed(flow(start, lanes)), Stop=packed(flow(stop, lanes)),
            Step=packed(flow(step))), lanes=lanes))
    agree(cases, tmp_path)


def test_reorder(tmp_path):
    """Every transpose, and a cut: the order is the reference's own, taken from a frame of numbered elements."""
    cases = []
    for shape, op in [((2, 3, 4), Transpose((1, 2, 0))), ((2, 3, 4), Transpose((2, 1, 0))), ((3, 5), Transpose((1, 0))), ((7,), Transpose((0,))),
                      ((1,), Transpose((0,))), ((2, 2, 2, 3), Transpose((3, 0, 2, 1))), ((9,), Slice((1,), (9,), (3,)))]:
        t = Ints(shape, -8, 7)
        order = numbered(op, shape)
        cases.append(check(op, [t], [random_ints(t, FRAMES)], "qs_reorder", dict(Width=4, InBeats=t.size, OutBeats=len(order), OrderFile="o.mem"),
                           {"o.mem": mem(order, 32)}))
    agree(cases, tmp_path)


def numbered(op, shape) -> np.ndarray:
    """For each element of the result, in stream order, its place in the stream of x."""
    from ir.interpret import evaluate
    from sim.words import unstream
    places = unstream(np.arange(np.prod(shape)), shape)
    return stream(evaluate(op, (Ints(shape, 0, int(np.prod(shape)) - 1 or 1),), places))[0]


def test_gather(tmp_path):
    rng = np.random.default_rng(0)
    cases = []
    for rows, depth, lanes, n in [(16, 4, 2, 3), (10, 3, 1, 5), (2, 1, 1, 1), (5, 6, 6, 2), (1, 4, 1, 2)]:
        op, t = Gather(rng.integers(-100, 100, (rows, depth))), Ints((n,), 0, rows - 1)
        bits = infer(op, t).bits
        cases.append(check(op, [t], [random_ints(t, 60)], "qs_gather", dict(
            InWidth=t.bits, NumRows=rows, RowBeats=depth // lanes, Lanes=lanes, OutWidth=bits, TableFile="t.mem"),
            {"t.mem": mem(pack(op.table, lanes, bits), lanes * bits)}, out_lanes=lanes))
    agree(cases, tmp_path)


def test_fork(tmp_path):
    """Every consumer gets every beat once, whatever the others do."""
    cases = []
    for n in (1, 2, 5):
        x = pack(random_ints(Ints((1,), 0, 255), 500), 1, 8)
        cases.append(Check(Case("qs_fork", dict(NumOut=n, Width=8), {"s": x}, {f"m[{k}]": len(x) for k in range(n)}), {f"m[{k}]": x for k in range(n)}))
    agree(cases, tmp_path, (None, 1, 2, 3, 4, 5))
