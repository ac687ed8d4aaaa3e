"""Scaled channels before the rounding of weights: the same function before it, a smaller error after it."""
import pytest
import torch
from lm_nets import assert_same, both

from ir import Option
from quant.post.awq import awq
from quant.post.grids import fitted


def every(net, option="int3g8/-"): return {n: Option.parse(option) for n, s in net.layers.items()}


@pytest.mark.parametrize("name", ["llama", "encoder"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_same_function(name, symmetric):
    assert_same(lambda net, c: awq(net, c, every(net), symmetric), name)


def loss(net, changed, x, layer):
    """Error of a layer's outputs if its weights are rounded in the changed net."""
    w, s = changed.steps[layer].weight.double(), changed.steps[layer]
    grid = fitted(w, Option.parse("int3/-").weight_format, 8)
    read = changed(x, keep=True)[s.args[0]].double()
    return float(((grid.values(grid.codes(w)) - w) @ read.flatten(0, -2).T).square().sum())


def test_rounding_costs_less():
    net, x, c = both("encoder")
    changed = awq(net, c, every(net))
    before, after = ([loss(net, n, x, k) for k in ("qkv", "up", "head")] for n in (net, changed))
    assert all(a < b for a, b in zip(after, before)) and sum(after) < 0.8 * sum(before)


def test_queries_that_share_values_share_a_scale():
    net, _, c = both("llama")
    changed = awq(net, c, every(net))
    ratio = changed.steps["blocks.0.attention.out"].weight / net.steps["blocks.0.attention.out"].weight
    s = ratio[0].view(4, 8)
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-4) and not torch.allclose(s[0], s[2])
    assert torch.allclose(s[0], s[1]) and torch.allclose(s[2], s[3])


def test_layers_without_an_option_decide_nothing():
    net, _, c = both("encoder")
    changed = awq(net, c, {"up": Option.parse("int3/-")})
    assert torch.equal(changed.steps["qkv"].weight, net.steps["qkv"].weight) and not torch.equal(changed.steps["up"].weight, net.steps["up"].weight)
