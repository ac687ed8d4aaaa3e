"""Weight clustering: centroids, their training, and what quantization makes of them."""
import copy

import numpy as np
import pytest
import torch
from torch import nn

from ir import Plan, UserError
from quant import Clusters, Pruner, calibrate, capture, cluster, prune, quantize, sparsity, tune
from quant.train.cluster import lloyd, shares
from quant.train.weights import fit
from test_lowering import equal_everywhere
from test_prune import accuracy, module, task


@pytest.fixture(scope="module")
def trained():
    model, (x, y) = module(), task()
    fit(model, x, y, 8, 5e-3, 16)
    return model, x, y


def test_lloyd_finds_groups_and_never_gets_worse():
    rng = np.random.default_rng(0)
    v = np.concatenate([rng.normal(c, 0.01, 50) for c in (-1, 0.2, 0.3, 2)])
    centroids, index = lloyd(v, 4, "density")
    assert np.allclose(centroids, [-1, 0.2, 0.3, 2], atol=0.01) and (np.diff(index.reshape(4, 50), axis=1) == 0).all()
    for k in (2, 3, 5, 16):
        c, i = lloyd(v, k, "linear")
        start = np.linspace(v.min(), v.max(), k)
        first = start[np.abs(v[:, None] - start).argmin(1)]
        assert np.square(c[i] - v).sum() <= np.square(first - v).sum() + 1e-12
        assert (np.abs(v[:, None] - c).argmin(1) == i).mean() > 0.99 and (np.diff(c) >= 0).all()


def test_linear_centroids_start_at_equal_steps():
    """Two clusters of {0, 1, 10} from 0 and 10: 1 is nearer to 0."""
    centroids, index = lloyd(np.array([0.0, 1.0, 10.0]), 2, "linear")
    assert centroids.tolist() == [0.5, 10.0] and index.tolist() == [0, 0, 1]
    few, index = lloyd(np.array([3.0, 3.0]), 4, "linear")
    assert few[index].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("init", ["linear", "density"])
@pytest.mark.parametrize("k", [2, 5, 16])
def test_weights_have_at_most_k_values_before_during_and_after_training(trained, k, init):
    model, x, y = copy.deepcopy(trained[0]), *trained[1:]
    names = {n for n, _ in model.named_parameters()}
    c = Clusters(model, k, init=init)
    assert max(c.unique.values()) <= k
    fit(model, x, y, 2, 2e-3, 16)
    assert max(c.unique.values()) <= k
    held = {n: m.weight.detach().clone() for n, m in c.layers.items()}
    c.strip()
    assert {n for n, _ in model.named_parameters()} == names
    assert all(torch.equal(m.weight, held[n]) and m.weight.requires_grad for n, m in c.layers.items()) and max(c.unique.values()) <= k
    assert accuracy(model, x, y) > (0.9 if k == 16 else 0.3)


def test_the_gradient_of_a_centroid_is_the_sum_over_its_cluster():
    model = nn.Sequential(nn.Linear(6, 5))
    plain = copy.deepcopy(model)
    c = Clusters(model, 3)
    plain[0].weight.data.copy_(model[0].weight.detach())
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))
    for m in (model, plain):
        m(x).square().sum().backward()
    shared = model[0].parametrizations.weight[0]
    want = torch.zeros(3).index_add(0, shared.index.flatten(), plain[0].weight.grad.flatten())
    assert torch.allclose(shared.centroids.grad, want, atol=1e-5)
    assert model[0].parametrizations.weight.original.grad is None
    c.strip()


def test_training_centroids_lowers_the_loss(trained):
    model, x, y = copy.deepcopy(trained[0]), *trained[1:]
    c = cluster(model, x, y, 4, epochs=5, lr=5e-3, batch=16)
    plain = copy.deepcopy(trained[0])
    Clusters(plain, 4).strip()
    loss = lambda m: float(nn.functional.cross_entropy(m(x), y).detach())
    assert loss(model) < loss(plain) and max(c.unique.values()) <= 4


def test_only_the_layer_that_is_named(trained):
    model, x, y = copy.deepcopy(trained[0]), *trained[1:]
    c = cluster(model, x, y, 8, layers=["7"], epochs=1)
    assert list(c.unique) == ["7"] and c.unique["7"] <= 8
    assert len(model[5].weight.unique()) > 1000


def test_zeros_of_a_pruned_layer_stay_zeros(trained):
    model, x, y = copy.deepcopy(trained[0]), *trained[1:]
    p = prune(model, x, y, 0.7, epochs=3, lr=2e-3, batch=16)
    c = cluster(model, x, y, 8, epochs=3, lr=5e-3, batch=16)
    assert all(torch.equal(m.weight != 0, p.masks[n]) for n, m in c.layers.items())
    assert max(c.unique.values()) <= 8
    loose = copy.deepcopy(model)
    cluster(loose, x, y, 8, zeros=False, epochs=3, lr=5e-3, batch=16)
    assert max(sparsity(loose).values()) < 0.5  # otherwise the cluster at 0 moves
    centroids, index, held = shares(model[7].weight.detach(), 8)
    assert held == 0 and centroids[0] == 0 and len(centroids) == 8


@pytest.mark.parametrize("option", ["int8t/uint8", "int4t/uint8", "int8/uint8"])
def test_quantized_clusters_are_at_most_k_codes(trained, option):
    """One scale: k codes a tensor.  A scale for each channel: k codes a channel."""
    x, y = trained[1:]
    torch.manual_seed(0)
    model = nn.Sequential(*[m for i, m in enumerate(copy.deepcopy(trained[0])) if i != 1])  # without batch norm
    fit(model, x, y, 5, 5e-3, 16)
    cluster(model, x, y, 6, epochs=1)
    net = capture(model, x[:2])
    q = quantize(net, Plan.uniform(net.layers, option), calibrate(net, x))
    g = q.lower()
    for n in net.layers:
        w = g.nodes[n].op.weight
        rows = w.reshape(1 if option.endswith("t/uint8") else len(w), -1)
        assert max(len(np.unique(r)) for r in rows) <= 6
    equal_everywhere(q, x[:8])


def test_a_quantized_net_trains_its_clusters_with_the_integers_in_the_loop(trained):
    model, x, y = trained
    net = capture(model, x[:2])
    q = quantize(net, Plan.uniform(net.layers, "int8t/uint8"), calibrate(net, x))
    c = Clusters(q, 5)
    before = {n: m.weight.detach().clone() for n, m in c.layers.items()}
    tune(q, x, y, epochs=2, lr=2e-3, batch=16, mode="ste")
    assert all(not torch.equal(m.weight, before[n]) for n, m in c.layers.items())
    c.strip()
    g = q.lower()
    assert all(len(np.unique(g.nodes[n].op.weight)) <= 5 for n in net.layers)
    equal_everywhere(q, x[:8])
    assert type(next(iter(q.layers.values()))).__name__ == "ConvSite"


def test_the_seed_governs_chance(trained):
    runs = []
    for seed in (1, 1, 2):
        model = copy.deepcopy(trained[0])
        cluster(model, *trained[1:], 4, epochs=1, seed=seed)
        runs.append(torch.cat([v.detach().flatten() for v in model.parameters()]))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def twice():
    model = module()
    Clusters(model, 4)
    Clusters(model, 4)


@pytest.mark.parametrize("call,says", [
    (lambda: Clusters(module(), 1), r"^1 clusters; give at least 2$"),
    (lambda: Clusters(module(), init="random"), r"^unknown initial centroids 'random' \(known: linear, density\)$"),
    (lambda: Clusters(module(), layers=["fc"]), r"^no layer 'fc' with weights; the model has 0, 5, 7$"),
    (twice, r"^layer '0' is clustered already; strip its clusters first$"),
])
def test_mistakes(call, says):
    with pytest.raises(UserError, match=says):
        call()


def test_a_training_that_fails_leaves_plain_weights(trained):
    model = copy.deepcopy(trained[0])
    with pytest.raises(UserError):
        cluster(model, trained[1], trained[2][:3], 4)
    assert set(dict(model.named_parameters())) == set(dict(trained[0].named_parameters()))
    Pruner(model, 0.5, 1).step(1)
