"""A graph network of two layers: the aggregation has an option of its own, and all of it runs in integers."""
import io
import pickle
from collections import defaultdict

import numpy as np
import pytest
import torch

from benchmarks.gcn import GCN, Planetoid, accuracy, cora, integers, normalized, plan, quantized, right, train
from ir import Dense, UserError, run
from quant import capture, execute

NODES, FEATURES, CLASSES = 60, 24, 3


@pytest.fixture(scope="module")
def data() -> dict:
    """Three groups of nodes: more edges within a group than between groups, faint features of each group."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    y = np.arange(NODES) % CLASSES
    odds = np.where(y[:, None] == y, 0.3, 0.02)
    edges = np.argwhere(np.triu(rng.random((NODES, NODES)) < odds, 1))
    x = rng.random((NODES, FEATURES)) < np.where(np.arange(FEATURES) % CLASSES == y[:, None], 0.3, 0.15)
    x = (x / np.maximum(x.sum(1, keepdims=True), 1)).astype(np.float32)
    return {"x": torch.from_numpy(x)[None], "y": torch.from_numpy(y), "adjacency": normalized(edges, NODES),
            "train": torch.arange(12), "choose": torch.arange(12, 24), "test": torch.arange(24, NODES)}


@pytest.fixture(scope="module")
def trained(data) -> GCN:
    model = GCN(data["adjacency"], FEATURES, 8, CLASSES)
    train(model, data, 120, 0.02)
    return model.eval()


def test_adjacency():
    a = normalized(np.array([[0, 1], [1, 2], [2, 1]]), 4)
    assert torch.equal(a, a.T) and a[3].tolist() == [0, 0, 0, 1]
    assert a[0, 1] == pytest.approx(6 ** -0.5) and a[1, 1] == pytest.approx(1 / 3)
    assert torch.linalg.eigvalsh(a.double()).max() == pytest.approx(1.0)


def test_the_adjacency_is_a_layer_that_training_leaves_alone(data, trained):
    assert accuracy(trained, data, "test") > 0.75
    assert torch.equal(trained.aggregate1.weight, data["adjacency"]) and torch.equal(trained.aggregate2.weight, data["adjacency"])
    net = capture(trained, data["x"])
    assert list(net.layers) == ["linear1", "aggregate1", "linear2", "aggregate2"]
    assert torch.allclose(net.layers["aggregate1"].weight, data["adjacency"])
    with torch.no_grad():
        assert torch.allclose(net(data["x"]), trained(data["x"]), atol=1e-5)


def test_aggregation_is_quantized_on_its_own(data, trained):
    net = capture(trained, data["x"])
    q = quantized(net, data, plan(net))
    dense = {n.name: n.op.weight for n in q.lower().nodes.values() if isinstance(n.op, Dense)}
    assert dense["linear1"].min() >= -8 and dense["linear1"].max() <= 7
    assert dense["aggregate1"].shape == (NODES, NODES) and 63 < dense["aggregate1"].max() <= 127 and dense["aggregate1"].min() == 0
    coarse = quantized(net, data, plan(net, aggregate="int2/int8"))
    assert {n.name: n.op.weight.max() for n in coarse.lower().nodes.values() if isinstance(n.op, Dense)}["aggregate1"] == 1
    with torch.no_grad():
        fine, rough, want = q(data["x"]), coarse(data["x"]), trained(data["x"])
    assert (fine - want).square().mean() < (rough - want).square().mean()


def test_integers_after_training_with_them(data, trained):
    net = capture(trained, data["x"])
    q = quantized(net, data, plan(net))
    before = q.layers["linear1"].weight.detach().clone()
    train(q, data, 15, 2e-3, 0.0)
    assert torch.equal(q.layers["aggregate1"].weight, net.layers["aggregate1"].weight) and not torch.equal(q.layers["linear1"].weight, before)
    g, codes = q.lower(), q.encode(data["x"]).long()
    scores = integers(q, data)
    assert torch.equal(execute.run(g, codes), torch.from_numpy(run(g, codes.numpy())))
    with torch.no_grad():
        assert torch.equal(scores, q(data["x"]))
    drop = accuracy(trained, data, "test") - float(right(scores, data, "test").double().mean())
    assert drop <= 3 / 36  # three nodes of the test part


def test_only_planetoid_files_are_opened():
    with pytest.raises(UserError, match="^the file names posix.system, which no Planetoid file needs; it was not opened$"):
        Planetoid(io.BytesIO(b"cposix\nsystem\n(S'true'\ntR."), encoding="latin1").load()
    again = Planetoid(io.BytesIO(pickle.dumps(defaultdict(list, {3: [1, 2]}), protocol=2)), encoding="latin1").load()
    assert again == {3: [1, 2]}


def test_cora(real_data):
    d = cora()
    assert d["x"].shape == (1, 2708, 1433) and d["adjacency"].shape == (2708, 2708) and torch.equal(d["adjacency"], d["adjacency"].T)
    assert [len(d[k]) for k in ("train", "choose", "test")] == [140, 500, 1000] and d["y"].bincount()[:7].sum() == 2708
    assert int((d["adjacency"] > 0).sum()) == 2 * 5278 + 2708  # edges either way, and every node itself
