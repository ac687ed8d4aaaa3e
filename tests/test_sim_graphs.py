"""Generated designs, simulated whole: every output value equals ir.run, with and without stalls."""
import random

import numpy as np
import pytest
from strategies import random_graph, samples

import sim_graphs
from hw import generate, interval, legal
from hw.dataflow.fold import taps
from ir import run
from sim import simulate

pytestmark = pytest.mark.slow

CASES = [  # graph, folding
    ("dense_chain", {"d1": (5, 4), "d2": (1, 10), "d3": (4, 6)}),
    ("convs", {"c1": (2, 4), "c2": (1, 3), "c3": (4, 1), "c4": (3, 2)}),
    ("depthwise", {"dw": (3, 1), "pw": (2, 2), "multi": (2, 1)}),
    ("one_axis", {"c1": (2, 3), "c2": (4, 1), "d": (1, 4)}),
    ("branches", {"a": (2, 4), "b": (1, 2)}),
    ("pools", {"max": (2, 1), "sum": (4, 1)}),
    ("shapes", {"d": (3, 8), "product": (2, 3), "word": (3, 1)}),
    ("layernorm", {"unit": (2, 4), "root": (1, 3), "squares": (1, 2)}),
    ("per_token", {"code": (4, 6), "d": (2, 4)}),
    ("attention", {"q": (3, 2), "scores": (2, 1), "share": (1, 5)}),
    ("recurrent", {"f": (2, 2), "c": (1, 4)}),
    ("expanded", {"pooled": (2, 1)}),
    ("unet", {"c1": (4, 3), "c2": (2, 4), "c3": (4, 8)}),
]


@pytest.mark.parametrize("name,folding", CASES, ids=[c[0] for c in CASES])
def test_equal(name, folding, tmp_path):
    g = getattr(sim_graphs, name)()
    design = generate(g, tmp_path / "design", folding)
    x = samples(g, 8)
    quiet = simulate(design, x)
    assert np.array_equal(quiet.outputs, run(g, x))
    assert quiet.cycles_per_frame == interval(g, folding)
    stalled = simulate(design, x, stalls=5, reset=100)
    assert np.array_equal(stalled.outputs, run(g, x)), "with stalls, after a reset in the middle"


TAPS = [  # several taps of a window at once: of a row, of all rows, strided, in one axis, in one of two branches
    ("depthwise", {"dw": (2, 3), "pw": (1, 3), "multi": (1, 4)}),
    ("convs", {"c1": (6, 12), "c2": (2, 6), "c3": (4, 1), "c4": (1, 36)}),
    ("branches", {"a": (2, 36), "b": (4, 20)}),
    ("one_axis", {"c1": (2, 9), "c2": (4, 3), "d": (1, 4)}),
]


@pytest.mark.parametrize("name,folding", TAPS, ids=[c[0] for c in TAPS])
def test_taps(name, folding, tmp_path):
    """Equal, and in the long run just the cycles that were computed; the first frames come a little closer together or further apart."""
    g = getattr(sim_graphs, name)()
    design = generate(g, tmp_path / "design", folding)
    x = samples(g, 9)
    long = simulate(design, x)
    assert np.array_equal(long.outputs, run(g, x))
    assert long.cycles_total - simulate(design, x[:5]).cycles_total == 4 * interval(g, folding)
    assert np.array_equal(simulate(design, x, stalls=5, reset=100).outputs, run(g, x)), "with stalls, after a reset in the middle"


FOLDINGS = {
    "one by one": {},
    "mixed": {"stem": (2, 3), "s0a": (1, 4), "s0b": (4, 2), "s1a": (8, 1), "s1b": (2, 8), "s1c": (1, 2), "pool": (4, 1), "fc": (2, 4)},
    "widest": "widest",
}


@pytest.mark.parametrize("which", FOLDINGS)
def test_resnet(which, tmp_path):
    """Equal at every folding, stalls or not; and without stalls a frame takes just the cycles that were computed."""
    g = sim_graphs.resnet()
    folding = {n: _channels(g, n) for n in g.nodes if legal(g, n)} if which == "widest" else FOLDINGS[which]
    design = generate(g, tmp_path / "design", folding)
    x = samples(g, 5)
    quiet = simulate(design, x)
    assert np.array_equal(quiet.outputs, run(g, x))
    assert quiet.cycles_per_frame == interval(g, folding) == design.interval
    assert np.array_equal(simulate(design, x, stalls=9).outputs, run(g, x))


def _channels(g, n):
    """The widest folding of one tap a cycle."""
    return max(f for f in legal(g, n) if taps(g.nodes[n].op, f[1]) == 1)


@pytest.mark.parametrize("seed", [3, 8, 168, 378])
def test_random_graph(seed, tmp_path):
    r = random.Random(seed)
    g = random_graph(r)
    folding = {n: r.choice(legal(g, n)) for n in g.nodes if legal(g, n)}
    design = generate(g, tmp_path / "design", folding)
    x = samples(g, 4)
    assert np.array_equal(simulate(design, x).outputs, run(g, x))
    assert np.array_equal(simulate(design, x, stalls=seed).outputs, run(g, x))
