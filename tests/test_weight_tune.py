"""Scales trained together: the same codes, scales that float16 holds, and outputs nearer to the float net."""
import pytest
import torch
from lm_nets import both

from ir import UserError
from quant.post.weight_only import weight_only
from quant.post.weight_tune import distilled


@pytest.fixture(scope="module")
def case():
    net, x, c = both("llama")
    return net, x, weight_only(net, c, "int2g8/-", "gptq+lorc", symmetric=False, rank=1)


def kl(net, w, x): return float(torch.nn.functional.kl_div(w.net(x).log_softmax(-1), net(x).log_softmax(-1), reduction="sum", log_target=True))


def test_outputs_come_nearer(case):
    net, x, w = case
    losses = []
    tuned = distilled(w, net, x, 30, batch=6, progress=lambda done, total, loss: losses.append((done, total, loss)))
    assert kl(net, tuned, x) < 0.6 * kl(net, w, x)
    assert [d for d, *_ in losses] == list(range(1, 31)) and losses[-1][2] < losses[0][2]
    assert tuned.net.hash != w.net.hash and tuned.net.notes == w.net.notes and tuned.layer_bytes == w.layer_bytes
    for n, c in tuned.coded.items():
        assert torch.equal(c.codes, w.coded[n].codes)
        assert torch.equal(c.grid.scale, c.grid.scale.half().double()) and torch.equal(tuned.net.steps[n].weight, c.weight.float())
    assert any(not torch.equal(c.grid.scale, w.coded[n].grid.scale) for n, c in tuned.coded.items())


def test_same_seed_same_scales(case):
    net, x, w = case
    a, b = (distilled(w, net, x, 2, seed=5) for _ in range(2))
    assert a.net.hash == b.net.hash and a.net.hash != distilled(w, net, x, 2, seed=6).net.hash


def test_refusals(case):
    net, x, w = case
    with pytest.raises(UserError, match="^0 steps of batches of 8: each must be at least 1$"):
        distilled(w, net, x, 0)
    with pytest.raises(UserError, match=r"^the tuning diverged in step \d+ \(loss (nan|inf)\); lower the learning rate \(now 1e\+30\)$"):
        distilled(w, net, x, 4, lr=1e30)
