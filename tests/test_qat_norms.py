"""Virtual batch norm: it begins as nothing, follows the data, is frozen, and lowers to what was trained."""
import copy

import pytest
import torch

from ir import Plan, UserError
from quant import calibrate, quantize, tune
from quant.train import norming
from quant_nets import NETS, images
from test_lowering import equal_everywhere


def made(name: str, option: str = "int4/uint4"):
    net = NETS[name]()
    x = images(net, 64)
    return quantize(net, Plan.uniform(net.layers, option), calibrate(net, x)), x


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("option", ["int4/uint4", "int3t/uint8"])
def test_it_begins_as_the_identity(name, option):
    q, x = made(name, option)
    before = q.forward_integers(q.encode(x), keep=True)
    norming.attach(q, x, 0.1)
    after = q.forward_integers(q.encode(x), keep=True)
    assert len(norming.norms(q)) == len(q.layers)
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("option", ["int4/uint4", "int3t/uint8", "ternary/uint4"])
def test_what_is_trained_is_what_is_lowered(option):
    q, x = made("residual", option)
    history = tune(q, x, epochs=4, lr=4e-3, norms="virtual", reestimate=64)
    assert history[-1]["loss"] < history[0]["loss"]
    assert all(not n.gain.eq(0).all() and not torch.equal(n.mean, n.first_mean) for n in norming.norms(q))
    equal_everywhere(q, x)


def test_moments_are_those_of_the_layer_without_its_norm():
    """Whatever gain, shift and running statistics are, the mean and variance that are measured do not depend on them."""
    q, x = made("residual", "int8/uint8")
    norming.attach(q, x, 0.1)
    first = {s.name: s.norm.moments(acc, scale, s.axis) for s, acc, scale in norming.accumulators(q, x)}
    site = next(iter(q.layers.values()))
    with torch.no_grad():
        site.norm.gain.add_(0.3)
        site.norm.shift.add_(0.2)
        site.norm.mean.add_(0.1)
        site.norm.variance.mul_(1.5)
    s, acc, scale = next(norming.accumulators(q, x))
    mean, variance = s.norm.moments(acc, scale, s.axis)
    assert s is site and torch.allclose(mean, first[s.name][0], atol=2e-2) and torch.allclose(variance, first[s.name][1], rtol=2e-2)


def test_statistics_follow_the_data_until_they_are_frozen():
    q, x = made("residual")
    tune(q, x, epochs=2, lr=1e-6, norms="virtual", norm_momentum=1.0, freeze=0.5, batch=32)
    one, other = copy.deepcopy(q), copy.deepcopy(q)
    tune(one, x + 1, epochs=1, lr=1e-6, norms="virtual", freeze=0.0)
    tune(other, x + 1, epochs=1, lr=1e-6, norms="virtual", freeze=1.0)
    frozen, moved, was = (norming.norms(v)[0].mean for v in (one, other, q))
    assert torch.equal(frozen, was) and (moved - was).abs().max() > 0.1


def test_measuring_anew_sets_what_the_images_give():
    q, x = made("residual")
    norming.attach(q, x[:8], 0.1)
    norming.reestimate(q, x)
    for site, acc, scale in norming.accumulators(q, x):
        mean, variance = site.norm.moments(acc, scale, site.axis)
        # the codes of the bias are rounded anew with the new mean; nothing else differs
        assert torch.allclose(mean, site.norm.mean, atol=float(scale.max()) * 2) and torch.allclose(variance, site.norm.variance, rtol=0.1)
    equal_everywhere(q, x)


def test_images_to_measure_on_without_norms():
    q, x = made("sequence")
    with pytest.raises(UserError, match=r"^reestimate measures the running statistics of norms, and there are none; add norms='virtual'$"):
        tune(q, x, reestimate=10)
