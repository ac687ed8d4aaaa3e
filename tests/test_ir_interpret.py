"""The reference against independent oracles: torch in int64/float64 for what torch has, naive loops for the rest."""
import math
import time
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from strategies import graphs, samples
from torch.nn import functional as F

import ir.interpret
from ir import (Add, Concat, Constant, Conv, Dense, Div, Encoding, Expand, Gather, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Pad,
                Recur, Requant, Reshape, Slice, Sqrt, SumPool, Transpose, UserError, run)
from ir.infer import exact_bound
from ir.interpret import evaluate

SEEDS = st.integers(0, 2**32)


def one(op, *types: Ints, n: int = 3, seed: int = 0):
    """(inputs, result) of a graph of a single op on n random samples, of which the first two are all lo and all hi."""
    rng, g = np.random.default_rng(seed), Graph()
    names = [g.add(f"x{i}", Input(t)) for i, t in enumerate(types)]
    xs = {k: rng.integers(t.lo, t.hi + 1, (n, *t.shape)) for k, t in zip(names, types)}
    for k, t in zip(names, types):
        xs[k][0], xs[k][min(1, n - 1)] = t.lo, t.hi
    g.add("y", op, *names)
    y = run(g, xs)
    assert y.dtype == np.int64 and y.shape == (n, *g.output.type.shape)
    return list(xs.values()), y


def same(y, want) -> None:
    want = np.asarray(want)
    assert y.shape == want.shape and (y == want).all()


def padded(x, padding, value):
    return F.pad(torch.tensor(x, dtype=torch.float64), [v for p in reversed(padding) for v in p], value=value)


@given(st.data(), SEEDS)
@settings(max_examples=120, deadline=None)
def test_conv_is_torchs(data, seed):
    """Every mix of 1d and 2d, kernel, stride, asymmetric padding with a value, dilation and groups; float64 holds these sums exactly."""
    rng, pick = np.random.default_rng(seed), lambda lo, hi: data.draw(st.integers(lo, hi))
    dims = pick(1, 2)
    groups, per_in, per_out = pick(1, 3), pick(1, 3), pick(1, 3)
    kernel, stride, dilation = (tuple(pick(1, 3) for _ in range(dims)) for _ in range(3))
    padding = tuple((pick(0, 3), pick(0, 3)) for _ in range(dims))
    space = tuple(max(1, d * (k - 1) + 1 - sum(p)) + pick(0, 4) for d, k, p in zip(dilation, kernel, padding))
    bits, pad = pick(1, 20), pick(-300, 300)  # narrow and wide: through float32, float64
    weight = rng.integers(-2**bits, 2**bits, (groups * per_out, per_in, *kernel))
    bias = rng.integers(-2**bits, 2**bits, groups * per_out)
    (x,), y = one(Conv(weight, bias, stride, padding, dilation, groups, pad), Ints((groups * per_in, *space), -128, 300), seed=seed)
    conv = F.conv1d if dims == 1 else F.conv2d
    same(y, conv(padded(x, padding, pad), torch.tensor(weight).double(), torch.tensor(bias).double(), stride, 0, dilation, groups))


@pytest.mark.parametrize("hi", [255, 2**20, 2**30, 2**45])
def test_sums_are_exact_at_every_width(hi):
    """float32, float64 and integer arithmetic take turns; Python's integers are the judge."""
    rng = np.random.default_rng(hi)
    w, b = rng.integers(-2**12, 2**12, (3, 5)), rng.integers(-2**30, 2**30, 3)
    (x,), y = one(Dense(w, b), Ints((5,), -hi, hi), n=50)
    same(y, [[int(b[o]) + sum(int(w[o, i]) * int(v[i]) for i in range(5)) for o in range(3)] for v in x])
    (x,), y = one(Conv(w[:, None], b, (1,), ((0, 0),), (1,)), Ints((1, 5), -hi, hi), n=50)
    same(y[:, :, 0], [[int(b[o]) + sum(int(w[o, i]) * int(v[0, i]) for i in range(5)) for o in range(3)] for v in x])
    (a, c), y = one(MatMul(), Ints((2, 3), -hi, hi), Ints((3, 2), -2**12, 2**12), n=20)
    same(y, [[[sum(int(p[i, k]) * int(q[k, j]) for k in range(3)) for j in range(2)] for i in range(2)] for p, q in zip(a, c)])


def test_odd_sums_at_the_edge_of_float32():
    """2**24 - 1 is the largest bound that runs in float32; one more and the next type takes over."""
    for hi in (2**24 - 1, 2**24, 2**53 - 1, 2**53):
        op, t = Dense([[1, 1]], [0]), Ints((2,), 0, hi)
        g = Graph()
        g.add("y", op, g.add("x", Input(t)))
        x = np.array([[hi, hi], [hi, hi - 1], [hi - 1, 1], [1, hi]])
        same(run(g, x), x.sum(1, keepdims=True))
        assert exact_bound(op, t) == 2 * hi


@given(st.data(), SEEDS)
@settings(max_examples=60, deadline=None)
def test_pools_are_torchs(data, seed):
    pick = lambda lo, hi: data.draw(st.integers(lo, hi))
    dims, channels = pick(1, 2), pick(1, 3)
    kernel, stride = (tuple(pick(1, 3) for _ in range(dims)) for _ in range(2))
    padding = tuple((pick(0, k - 1), pick(0, k - 1)) for k in kernel)
    t = Ints((channels, *(pick(3, 6) for _ in range(dims))), -40, pick(-30, 90))
    (x,), y = one(MaxPool(kernel, stride, padding), t, seed=seed)
    same(y, (F.max_pool1d if dims == 1 else F.max_pool2d)(padded(x, padding, -math.inf), kernel, stride))
    pad = pick(-50, 50)
    (x,), y = one(SumPool(kernel, stride, padding, pad), t, seed=seed)
    avg = (F.avg_pool1d if dims == 1 else F.avg_pool2d)(padded(x, padding, pad), kernel, stride)
    same(y, (avg * math.prod(kernel)).round())


@given(st.sampled_from([(5,), (3, 4), (2, 3, 2)]), st.data(), SEEDS)
@settings(deadline=None)
def test_requant_is_the_formula(shape, data, seed):
    rng, axis = np.random.default_rng(seed), data.draw(st.integers(-len(shape), len(shape) - 1))
    mul = rng.integers(1, 2**15, data.draw(st.sampled_from([1, shape[axis]])))
    shift, zero = data.draw(st.integers(0, 20)), data.draw(st.integers(-20, 20))
    (x,), y = one(Requant(mul, shift, zero, -100, 90, axis), Ints(shape, -5000, 4000), seed=seed)
    want = np.empty_like(x)
    for at in np.ndindex(*x.shape):
        m = int(mul[at[1:][axis] if len(mul) > 1 else 0])
        want[at] = min(max(math.floor((int(x[at]) * m * 2 + 2**shift) / 2**(shift + 1)) + zero, -100), 90)
    same(y, want)


@given(st.integers(-2**50, 2**50), st.integers(1, 2**45))
def test_division_is_the_formula(a, b):
    g = Graph()
    g.add("y", Div(), g.add("a", Input(Ints((1,), -2**50, 2**50))), g.add("b", Input(Ints((1,), 1, 2**45))))
    same(run(g, {"a": np.array([[a]]), "b": np.array([[b]])}), [[math.floor(Fraction(a, b) + Fraction(1, 2))]])


@given(st.integers(0, 2**52 - 1), st.integers(1, 2**26))
def test_roots_are_those_of_integers(x, k):
    values = np.array([[x, k * k - 1, min(k * k, 2**52 - 1), 2**52 - 1]])
    g = Graph()
    g.add("y", Sqrt(), g.add("x", Input(Ints((4,), 0, 2**52 - 1))))
    same(run(g, values), [[math.isqrt(int(v)) for v in values[0]]])


def test_constants_and_repeats():
    g = Graph()
    g.add("x", Input(Ints((2, 1), 0, 9)))
    g.add("wide", Expand((2, 3)), "x")
    g.add("c", Constant([[1, 2, 3], [-4, 5, 6]]))
    g.add("y", Add(), "wide", "c")
    x = np.array([[[0], [1]], [[7], [9]]])
    same(run(g, x), x + np.array([[1, 2, 3], [-4, 5, 6]]))
    assert run(g, x, keep=True)["c"].shape == (2, 2, 3) and run(g, x[:0]).shape == (0, 2, 3)


def test_recurrence_is_a_loop():
    f, c, s = Ints((4, 2), 0, 255), Ints((4, 2), -9999, 9999), Ints((1, 2), -50, 50)
    for types in ((f, c), (f, c, s)):
        xs, y = one(Recur(8, -30, 40), *types, n=20)
        for n in range(20):
            state = xs[2][n, 0] if len(xs) > 2 else np.zeros(2, int)
            for t in range(4):
                state = np.clip((xs[0][n, t] * state + xs[1][n, t] + 128) >> 8, -30, 40)
                same(y[n, t], state)


def test_elementwise_and_tables():
    a, b = Ints((2, 3), -9, 9), Ints((2, 3), 0, 5)
    (p, q), y = one(Add(), a, b)
    same(y, p + q)
    (p, q), y = one(Mul(), a, b)
    same(y, p * q)
    table = np.random.default_rng(0).integers(-99, 99, 25)
    (x,), y = one(Lut(table, -12), a)
    same(y, [[[table[v + 12] for v in row] for row in m] for m in x])
    rows = np.arange(18).reshape(6, 3)
    (x,), y = one(Gather(rows), b)
    same(y, [[[[rows[v, d] for d in range(3)] for v in row] for row in m] for m in x])


@pytest.mark.parametrize("shape_a, shape_b", [((2, 3), (3, 4)), ((5, 2, 3), (5, 3, 1)), ((2, 2, 1, 3), (2, 2, 3, 2))])
def test_matmul(shape_a, shape_b):
    (a, b), y = one(MatMul(), Ints(shape_a, -128, 127), Ints(shape_b, 0, 255))
    same(y, torch.tensor(a) @ torch.tensor(b))


def test_dense_acts_on_the_last_axis():
    w, b = np.arange(-6, 6).reshape(3, 4), np.array([1, -2, 3])
    for shape in ((4,), (2, 4), (2, 3, 4)):
        (x,), y = one(Dense(w, b), Ints(shape, -8, 7))
        same(y, F.linear(torch.tensor(x), torch.tensor(w), torch.tensor(b)))


def test_shapes():
    t = Ints((2, 3, 4), -9, 9)
    (a, b), y = one(Concat(1), t, Ints((2, 1, 4), 0, 3))
    same(y, torch.cat([torch.tensor(a), torch.tensor(b)], 2))
    (x,), y = one(Reshape((4, 6)), t)
    same(y, torch.tensor(x).reshape(-1, 4, 6))
    (x,), y = one(Transpose((2, 0, 1)), t)
    same(y, torch.tensor(x).permute(0, 3, 1, 2))
    assert y.flags.c_contiguous
    (x,), y = one(Slice((0, 1, 1), (2, 3, 4), (1, 1, 2)), t)
    same(y, torch.tensor(x)[:, 0:2, 1:3, 1:4:2])
    (x,), y = one(Pad(((1, 0), (0, 0), (0, 2)), -7), t)
    same(y, F.pad(torch.tensor(x), (0, 2, 0, 0, 1, 0), value=-7))


@given(graphs(), SEEDS)
@settings(max_examples=40, deadline=None)
def test_chunks_change_nothing(g, seed):
    x = samples(g, 7, seed)
    whole, everything = run(g, x), run(g, x, keep=True)
    assert set(everything) == set(g.nodes)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(ir.interpret, "CHUNK_BYTES", 1)
        same(run(g, x), whole)
        for name, v in run(g, x, keep=True).items():
            same(v, everything[name])


@given(graphs())
@settings(max_examples=20, deadline=None)
def test_no_samples_are_no_trouble(g):
    x = {n.name: np.zeros((0, *n.type.shape), int) for n in g.inputs}
    assert run(g, x).shape == (0, *g.output.type.shape)


def test_inputs_are_left_alone():
    g = Graph()
    g.add("y", Requant([1], 0, 0, 0, 9), g.add("x", Input(Ints((3,), -9, 9))))
    x = np.array([[-5, 0, 12 - 3]])
    y = run(g, x, keep=True)
    assert x.tolist() == [[-5, 0, 9]] and y["x"] is not x and y["y"].tolist() == [[0, 0, 9]]


def two_inputs() -> Graph:
    g = Graph()
    g.add("a", Input(Ints((2,), 0, 9)))
    g.add("b", Input(Ints((2,), 0, 9)))
    g.add("y", Add(), "a", "b")
    return g


A = np.zeros((1, 2), int)
BAD_INPUTS = [
    (A, "the graph has the inputs a, b; give a dict of arrays"),
    ({"a": A}, "the graph has the inputs a, b; the dict has a"),
    ({}, "the graph has the inputs a, b; the dict has nothing"),
    ({"a": A, "b": A, "c": A}, "the graph has the inputs a, b; the dict has a, b, c"),
    ({"a": A, "b": np.zeros((2, 2), int)}, "the inputs hold different numbers of samples: a 1, b 2"),
    ({"a": A, "b": A + .5}, "input 'b' takes integers, not float64; encode reals with graph.encodings['b'].encode"),
    ({"a": A, "b": A[0]}, "input 'b' takes (N, 2), not (2,)"),
    ({"a": A, "b": 3}, "input 'b' takes (N, 2), not ()"),
    ({"a": A, "b": A + 10}, "input 'b' takes integers in [0, 9], got [10, 10]"),
    ({"a": A - 1, "b": A}, "input 'a' takes integers in [0, 9], got [-1, -1]"),
]


@pytest.mark.parametrize("x, line", BAD_INPUTS)
def test_bad_inputs(x, line):
    with pytest.raises(UserError) as e:
        run(two_inputs(), x)
    assert str(e.value) == line
    with pytest.raises(UserError, match="^the graph has no input; there is nothing to run it on$"):
        run(Graph(), A)


def test_every_width_of_input_array():
    for dtype in (np.uint8, np.int8, np.uint16, np.int32, np.uint64, bool):
        assert run(two_inputs(), {"a": A.astype(dtype), "b": A + 3}).tolist() == [[3, 3]]


def test_encoding():
    e = Encoding(0.5, 10)
    assert e.encode([-99, -.75, -.25, 0, .25, .75, 1, 99], 0, 20).tolist() == [0, 8, 10, 10, 10, 12, 12, 20]
    assert e.decode([0, 10, 13]).tolist() == [-5, 0, 1.5]
    with pytest.raises(UserError, match="^1 of 2 values are not a number; there is no code for NaN$"):
        e.encode([np.nan, 1], 0, 20)


def test_an_input_has_no_value_of_its_own():
    with pytest.raises(TypeError):
        evaluate(Input(Ints((1,), 0, 1)), ())


def block(g: Graph, rng, x: str, o: int, k: int = 3, stride: int = 1, groups: int = 1, lo: int = 0) -> str:
    """Convolution and requant; returns the name of the result."""
    padding, c = ((k // 2, k // 2),) * 2, g.nodes[x].type.shape[0]
    conv = Conv(rng.integers(-8, 8, (o, c // groups, k, k)), rng.integers(-99, 99, o), (stride,) * 2, padding, groups=groups)
    y = g.add(f"conv{len(g.nodes)}", conv, x)
    return g.add(f"q{len(g.nodes)}", Requant(rng.integers(2**14, 2**15, o), 22, 0, lo, lo + 255), y)


def resnet20(rng) -> Graph:
    g = Graph()
    x = block(g, rng, g.add("x", Input(Ints((3, 32, 32), -128, 127))), 16)
    for o in (16, 16, 16, 32, 32, 32, 64, 64, 64):
        stride = 1 if g.nodes[x].type.shape[0] == o else 2
        y = block(g, rng, block(g, rng, x, o, 3, stride), o, lo=-128)
        x = y if stride == 2 else g.add(f"relu{len(g.nodes)}", Requant([1], 0, 0, 0, 255), g.add(f"add{len(g.nodes)}", Add(), x, y))
    x = g.add("flat", Reshape((64,)), g.add("pool", SumPool((8, 8), (1, 1)), x))
    g.add("fc", Dense(rng.integers(-8, 8, (10, 64)), np.zeros(10)), x)
    return g


def test_speed_is_sensible():
    """100 CIFAR images through a ResNet-20, and one 224x224 image through depthwise blocks, in seconds (not minutes) on one core."""
    rng = np.random.default_rng(0)
    g = resnet20(rng)
    start = time.perf_counter()
    run(g, rng.integers(-128, 128, (100, 3, 32, 32)))
    m = Graph()
    x = block(m, rng, m.add("x", Input(Ints((3, 224, 224), -128, 127))), 32, stride=2)
    for o, stride in ((64, 1), (128, 2), (128, 1)):
        x = block(m, rng, block(m, rng, x, m.nodes[x].type.shape[0], 3, stride, m.nodes[x].type.shape[0]), o, 1)
    run(m, rng.integers(-128, 128, (1, 3, 224, 224)))
    assert time.perf_counter() - start < 20  # about 1 s on an idle core
