"""Interactions, measured and foretold, on small nets whose every combination can be run."""
import itertools

import numpy as np
import pytest

from ir import Table, UserError
from search import METRICS, Pairs, gauss_newton, gauss_newton_pairs, measure, measure_pairs, menu, superposed_pairs, tempered
from search.pairs_model import surpluses
from test_search_measure import NumpyNet

FEW = menu("int3,int6/int16")
LAYERS = {k: FEW for k in ("fc1", "fc2", "out")}


class Labelled(NumpyNet):
    """With the class of each sample, mostly the float model's own."""

    def labels(self):
        y = self.reference().argmax(1)
        y[::7] = 0
        return y


class Linear:
    """Outputs move by a fixed direction for each cell, all together: errors add up exactly."""
    layers, key, model = ("a", "b", "c"), "linear", "m"

    def __init__(self, size, seed=0, classes=4):
        rng = np.random.default_rng(seed)
        self.z = rng.normal(size=(50, classes))
        self.d = {(k, o): size * s * rng.normal(size=self.z.shape) for k in self.layers for o, s in (("int4/int8", 2), ("int8/int8", 1))}

    def reference(self): return self.z
    def outputs(self, options): return self.z + sum(self.d[c] for c in options.items())


MENU = {k: ("int4/int8", "int8/int8") for k in Linear.layers}


@pytest.mark.parametrize("metric", ["kl", "task", "output_mse", "top1_flips"])
def test_a_pair_and_its_surplus_make_the_damage_of_both(metric):
    net = Labelled()
    damage, pairs = measure(net, [metric], LAYERS)[metric], measure_pairs(net, LAYERS, "all", metric)
    assert len(pairs.rows) == 3 and all(len(cells) == 4 for cells in pairs.rows.values())
    exact = net.reference()
    for (a, b), cells in pairs.rows.items():
        for (p, q), surplus in cells.items():
            both = type("Both", (), {"reference": lambda s: exact, "labels": net.labels, "outputs": lambda s, _, o={a: p, b: q}: net.outputs(o)})()
            assert damage.rows[a][p] + damage.rows[b][q] + surplus == pytest.approx(METRICS[metric](both, a, p), abs=1e-12)
    assert pairs.about["probe"] == net.key and pairs.unit == damage.unit


def test_which_pairs():
    net, chain = NumpyNet(), ["fc1", "fc2", "out"]
    keys = lambda which: list(measure_pairs(net, LAYERS, which, "output_mse").rows)
    assert keys("adjacent") == keys("window:1") == [("fc1", "fc2"), ("fc2", "out")]
    assert keys("window:2") == keys("all") == keys("top:3") == list(itertools.combinations(chain, 2))
    damage = measure(net, ["output_mse"], LAYERS)["output_mse"]
    worst = sorted(chain, key=lambda k: -max(damage.rows[k].values()))[:2]
    assert keys("top:2") == [tuple(sorted(worst, key=chain.index))]
    assert keys([("out", "fc1"), ("fc1", "out")]) == [("fc1", "out")]


def test_what_was_measured_is_not_measured_again(tmp_path):
    cache, calls = tmp_path / "cells", tmp_path / "calls"

    def stop(done, total, text):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_pairs(NumpyNet(), LAYERS, "all", cache=cache, progress=stop)
    lines = len(cache.read_text().splitlines())
    assert lines == 6 + 5
    with open(cache, "a") as f:
        f.write(cache.read_text()[:50])  # a line that was being written
    again = measure_pairs(NumpyNet(calls=calls), LAYERS, "all", cache=cache)
    assert len(calls.read_text().splitlines()) == 1 + 12 - 5 and again.rows == measure_pairs(NumpyNet(), LAYERS, "all").rows
    calls.unlink()
    measure_pairs(NumpyNet(calls=calls), LAYERS, "all", cache=cache)
    assert measure(NumpyNet(calls=calls), ["kl"], LAYERS, cache)["kl"].rows and not calls.exists()


def test_pairs_go_to_files(tmp_path):
    for pairs in (measure_pairs(NumpyNet(), LAYERS), gauss_newton_pairs(NumpyNet(), LAYERS, keep=2)):
        pairs.save(tmp_path / "pairs.json")
        assert Pairs.load(tmp_path / "pairs.json") == pairs


@pytest.mark.parametrize("metric", ["kl", "output_mse"])
def test_foretold_is_measured_where_errors_are_small_and_add_up(metric):
    net = Linear(1e-4)
    true, said = measure_pairs(net, MENU, "all", metric), gauss_newton_pairs(net, MENU, metric=metric)
    size = max(abs(v) for cells in true.rows.values() for v in cells.values())
    assert true.rows.keys() == said.rows.keys()
    for pair, cells in true.rows.items():
        for options, v in cells.items():
            assert said.rows[pair][options] == pytest.approx(v, abs=2e-3 * size)


@pytest.mark.parametrize("metric", ["kl", "output_mse", "output_sqnr", "top1_flips"])
def test_superposed_is_measured_where_outputs_add_up_however_far(metric):
    net = Linear(2.0)
    true, said = measure_pairs(net, MENU, "all", metric), superposed_pairs(net, MENU, metric=metric)
    for pair, cells in true.rows.items():
        assert said.rows[pair] == pytest.approx(cells, abs=1e-12)
    near = Linear(1e-4)
    quadratic, exact = (f(near, MENU).rows["a", "c"] for f in (gauss_newton_pairs, superposed_pairs))
    assert quadratic == pytest.approx(exact, abs=2e-3 * max(map(abs, exact.values())))


@pytest.mark.parametrize("probe", [Linear(1e-3), Linear(1e-3, seed=3, classes=2)])
def test_whole_plans_are_foretold(probe):
    """Damages alone plus pairs are the damage of each whole plan, which the sum of the damages alone misses."""
    damage, pairs = measure(probe, ["kl"], MENU)["kl"], gauss_newton_pairs(probe, MENU)
    for chosen in itertools.product(*MENU.values()):
        options = dict(zip(MENU, chosen))
        both = type("All", (), {"reference": lambda s: probe.z, "outputs": lambda s, _: probe.outputs(options)})()
        true, alone = METRICS["kl"](both, "a", ""), sum(damage.rows[k][o] for k, o in options.items())
        assert alone + pairs.total(options) == pytest.approx(true, rel=0.02)
        assert abs(alone - true) > 2 * abs(alone + pairs.total(options) - true)


def test_the_matrix_is_semidefinite_and_matched_to_damage():
    net = NumpyNet()
    gram, damage = gauss_newton(net, LAYERS), measure(net, ["kl"], LAYERS)["kl"]
    matched = gram.matched(damage)
    for m in (gram.matrix, matched.matrix):
        assert np.array_equal(m, m.T) and np.linalg.eigvalsh(m)[0] > -1e-12 * np.trace(m)
    assert np.allclose(np.diag(matched.matrix) / 2, [damage.rows[k][o] for k, o in gram.cells], rtol=1e-12)
    cosine = lambda m: m / np.sqrt(np.diag(m) * np.diag(m)[:, None])
    assert np.allclose(cosine(gram.matrix), cosine(matched.matrix))
    said = gauss_newton_pairs(net, LAYERS, damage=damage)
    assert said.rows == surpluses(matched) and said.about["matched"]
    # a cell without any effect has no interactions, and no division by its 0
    still = Linear(1e-3)
    still.d["b", "int8/int8"][:] = 0
    rows = gauss_newton_pairs(still, MENU, damage=measure(still, ["kl"], MENU)["kl"]).rows
    assert rows["a", "b"]["int4/int8", "int8/int8"] == 0 != rows["a", "b"]["int4/int8", "int4/int8"]


def test_the_strongest_are_kept():
    net = NumpyNet()
    every = gauss_newton_pairs(net, LAYERS)
    size = {pair: max(map(abs, cells.values())) for pair, cells in every.rows.items()}
    order = sorted(size, key=lambda pair: -size[pair])
    for n in range(4):
        kept = gauss_newton_pairs(net, LAYERS, keep=n)
        assert set(kept.rows) == set(order[:n]) and kept.about["kept"] == f"{n} of 3"
        f = kept.about.get("tempered", 1.0)
        assert kept.rows == {pair: {o: v * f if v < 0 else v for o, v in every.rows[pair].items()} for pair in kept.rows}
    assert kept.about["left_out"] == 0 < gauss_newton_pairs(net, LAYERS, keep=2).about["left_out"] < 1
    assert set(gauss_newton_pairs(net, LAYERS, above=size[order[1]]).rows) == set(order[:2])


@pytest.mark.parametrize("seed", range(20))
def test_no_plan_is_foretold_less_than_nothing(seed):
    """Wild surpluses, of part of the pairs: the least of all plans is below 0 before tempering and never after."""
    rng, names, options = np.random.default_rng(seed), "abcde", ("int4/int8", "int8/int8")
    damage = Table("kl", "damage", {k: {o: float(rng.choice([0, 1, 10]) * rng.random()) for o in options} for k in names})
    every = list(itertools.combinations(names, 2))
    chosen = [every[i] for i in rng.permutation(10)[:7]]
    wild = Pairs("kl", {pair: {o: float(rng.normal(-4, 4)) for o in itertools.product(options, options)} for pair in chosen})
    calm = tempered(wild, damage)

    def least(pairs):
        plans = [dict(zip(names, p)) for p in itertools.product(options, repeat=5)]
        return min(sum(damage.rows[k][o] for k, o in p.items()) + pairs.total(p) for p in plans)

    assert least(wild) < 0 and least(calm) > -1e-12
    assert all(v == wild.rows[pair][o] for pair, cells in calm.rows.items() for o, v in cells.items() if v > 0)
    assert 0 < calm.about["tempered"] <= 1 and tempered(calm, damage).rows.keys() == calm.rows.keys()


def test_harmless_pairs_are_not_tempered():
    damage = Table("kl", "damage", {k: {"int4/int8": 1.0} for k in "abc"})
    pairs = Pairs("kl", {("a", "b"): {("int4/int8", "int4/int8"): -1.5}, ("b", "c"): {("int4/int8", "int4/int8"): 3.0}})
    assert tempered(pairs, damage).rows == pairs.rows and tempered(pairs, damage).about["tempered"] == 1


@pytest.mark.parametrize("do, text", [
    (lambda: tempered(Pairs("kl", {}), Table("mse", "damage", {})), "pairs of 'kl' and damage of 'mse' are of different metrics or models"),
    (lambda: tempered(Pairs("kl", {("a", "b"): {("int4/int8", "int4/int8"): 1.0}}), Table("kl", "damage", {"a": {"int4/int8": 1.0}})),
     "damage table 'kl' says nothing of layer 'b' with 'int4/int8'; measure the same menus"),
    (lambda: measure_pairs(NumpyNet(), LAYERS, "near"), "pairs 'near': give adjacent, window:3, top:6, all, or a list of pairs of layers"),
    (lambda: measure_pairs(NumpyNet(), LAYERS, "top:0"), "pairs 'top:0': give adjacent, window:3, top:6, all, or a list of pairs of layers"),
    (lambda: measure_pairs(NumpyNet(), {"fc1": FEW}, "all"), "no pair of layers is meant by 'all' of the 1 layers fc1; give two layers or more"),
    (lambda: measure_pairs(NumpyNet(), LAYERS, []), "no pair of layers is meant by [] of the 3 layers fc1, fc2, out; give two layers or more"),
    (lambda: measure_pairs(NumpyNet(), LAYERS, [("fc1", "fc9")]), "a pair of layers names 'fc9', which has no options here (layers: fc1, fc2, out)"),
    (lambda: measure_pairs(NumpyNet(), LAYERS, [("fc1", "fc1")]), "a pair of layers is ('fc1', 'fc1'); name two different ones"),
    (lambda: measure_pairs(NumpyNet(), LAYERS, "all", limit=11), "3 pairs of layers with all their options are 12 runs of the model, more than 11; "),
    (lambda: measure_pairs(NumpyNet(), LAYERS, "all", "mse"), "metric 'mse' looks inside one layer (it asks for local); layers together need a "
     "metric of the model's output, such as kl, task or output_mse"),
    (lambda: gauss_newton_pairs(NumpyNet(), LAYERS, metric="top1_flips"),
     "pairs of metric 'top1_flips' cannot be foretold by Gauss-Newton, only of kl, task, output_mse; "),
    (lambda: superposed_pairs(NumpyNet(), LAYERS, metric="mse"), "metric 'mse' looks inside one layer (it asks for local); "),
    (lambda: gauss_newton_pairs(NumpyNet(), {"fc9": FEW}), "the model has no layer 'fc9' to quantize (it has fc1, fc2, out)"),
    (lambda: gauss_newton_pairs(NumpyNet(outputs=1), LAYERS), "metric 'kl' needs scores of two or more classes"),
    (lambda: gauss_newton_pairs(NumpyNet(), LAYERS, damage=Table("kl", "damage", {"fc1": dict.fromkeys(FEW, 1.0)})),
     "damage table 'kl' says nothing of layer 'fc2' with 'int3/int16'; measure the same menus"),
])
def test_messages(do, text):
    with pytest.raises(UserError) as e:
        do()
    assert str(e.value).startswith(text)


def test_undefined_results_are_named():
    net = Linear(1.0)
    outputs = net.outputs
    net.outputs = lambda options: outputs(options) * (np.nan if len(options) == 2 and "b" in options else 1)
    with pytest.raises(UserError, match="^metric 'kl': layers 'a' with 'int4/int8' and 'b' with 'int4/int8' together give nan; leave one of"):
        measure_pairs(net, MENU)
    net.d["b", "int8/int8"][3] = np.inf
    with pytest.raises(UserError, match="^layer 'b' with 'int8/int8' makes the model's outputs infinite or undefined; leave this option out$"):
        gauss_newton_pairs(net, MENU)
