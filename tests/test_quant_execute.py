"""The torch backend against the reference, on random graphs over the whole op set and on values no float holds."""
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from ir import Conv, Graph, Input, Ints, MaxPool, SumPool, UserError, run
from quant import execute
from strategies import graphs, random_graph, samples


def agree(g: Graph, x) -> None:
    feeds = {k: torch.from_numpy(v) for k, v in x.items()} if isinstance(x, dict) else torch.from_numpy(x)
    want, got = run(g, x, keep=True), execute.run(g, feeds, keep=True)
    for name, value in want.items():
        assert got[name].dtype == torch.int64 and (got[name].numpy() == value).all(), name


@given(graphs())
@settings(max_examples=100, deadline=None)
def test_random_graphs(g):
    agree(g, samples(g, 4))


def test_many_seeds():
    for seed in range(150):
        g = random_graph(random.Random(seed))
        agree(g, samples(g, 3, seed))


@pytest.mark.parametrize("top", [1 << 20, 1 << 30, 1 << 55])
@pytest.mark.parametrize("space,groups", [((9,), 1), ((7, 6), 2), ((7, 6), 4)])
def test_convolution_at_any_width(top, space, groups):
    """The accumulator lives in float32, in float64 or in int64; the values are those of the integers."""
    rng = np.random.default_rng(0)
    n = len(space)
    g = Graph()
    g.add("x", Input(Ints((4, *space), -top, top)))
    g.add("y", Conv(rng.integers(-3, 4, (8, 4 // groups, *[3] * n)), rng.integers(-9, 9, 8), (2,) * n, ((1, 2),) * n, (2,) * n, groups, pad=5), "x")
    agree(g, samples(g, 5))


@pytest.mark.parametrize("op", [MaxPool((3,), (2,), ((1, 1),)), SumPool((3,), (2,), ((1, 1),), 7)], ids=["max", "sum"])
def test_pools_of_values_beyond_any_float(op):
    g = Graph()
    g.add("x", Input(Ints((2, 9), 1 << 55, (1 << 55) + 9)))
    g.add("y", op, "x")
    agree(g, samples(g, 5))


@pytest.mark.parametrize("x,says", [
    (torch.zeros(2, 3), r"^input 'x' takes integers, not torch.float32; encode reals with graph.encodings\['x'\].encode"),
    (torch.zeros(2, 4, dtype=torch.int64), r"^input 'x' takes \(N, 3\), not \(2, 4\)"),
    (torch.full((2, 3), 9), r"^input 'x' takes integers in \[0, 7\], got \[9, 9\]"),
])
def test_inputs_that_cannot_be(x, says):
    g = Graph()
    g.add("x", Input(Ints((3,), 0, 7)))
    with pytest.raises(UserError, match=says):
        execute.run(g, x)
