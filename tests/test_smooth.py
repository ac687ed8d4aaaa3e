"""Scales that change sides between a norm and the layers it feeds: the same function, flatter activations, better integers."""
import pytest
import torch
from lm_nets import assert_same, both, small_encoder, small_llama

from ir import UserError
from quant.post.channels import balanced, feeds, observed
from quant.post.smooth import smooth


@pytest.mark.parametrize("name", ["llama", "encoder"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.85])
def test_the_same_function(name, alpha):
    assert_same(lambda net, c: smooth(net, c, alpha), name)


def test_only_layers_behind_norms_change():
    net, _, c = both("llama")
    changed = smooth(net, c)
    moved = {n for n, s in net.layers.items() if not torch.equal(s.weight, changed.steps[n].weight)}
    assert moved == {n for n in net.layers if n.split(".")[-1] in ("q", "k", "v", "gate", "up", "head")}


def test_query_key_and_value_share_the_scale_of_equation_4():
    net, x, c = both("llama")
    norm, layers = "blocks.0.norm1", [f"blocks.0.attention.{n}" for n in "qkv"]
    s = net.steps[norm].weight / smooth(net, c, 0.7).steps[norm].weight
    acts = net(x, keep=True)[norm].abs().amax((0, 1))
    weights = torch.stack([net.steps[n].weight.abs().amax(0) for n in layers]).amax(0)
    assert torch.allclose(s, acts ** 0.7 / weights ** 0.3, rtol=1e-4)
    assert all(torch.allclose(smooth(net, c, 0.7).steps[n].weight, net.steps[n].weight * s, rtol=1e-4) for n in layers)


def test_activations_become_flatter():
    net, x, c = both("encoder")
    flat = lambda n: observed(n, x, ["norm2"])["norm2"].abs().amax(0)
    before, after = flat(net), flat(smooth(net, c, 0.8))
    assert after.max() / after.median() < 0.5 * before.max() / before.median()


def test_channels_are_followed_to_where_they_end():
    net, _ = small_llama()
    found = {f.source: f.readers for f in feeds(net, ("rmsnorm", "linear"))}
    assert set(found["blocks.1.norm2"]) == {"blocks.1.mlp.gate", "blocks.1.mlp.up"} and set(found["norm"]) == {"head"}
    assert found["blocks.0.mlp.up"]["blocks.0.mlp.down"].tolist() == list(range(48))
    kv = found["blocks.0.attention.v"]["blocks.0.attention.out"].tolist()
    assert kv == [*range(8), *range(8), *range(8, 16), *range(8, 16)]  # two heads of queries share one of values
    assert not {n for n in found if n.endswith((".q", ".k", ".gate", ".down", "head", ".out"))}
    encoder, _ = small_encoder()
    assert {f.source for f in feeds(encoder, ("layernorm", "linear"))} == {"norm1", "norm2", "norm3"}  # qkv is sliced, its values mix with keys


@pytest.mark.parametrize("kind", ["rmsnorm", "linear"])
def test_any_scale_balances(kind):
    net, x = small_llama()
    y = net(x)
    for f in feeds(net, (kind,)):
        s = torch.rand(net.steps[f.source].shape[-1], generator=torch.Generator().manual_seed(3)) + 0.2
        assert torch.allclose(balanced(net, f, s)(x), y, rtol=1e-4, atol=1e-4), f.source


def test_refusals():
    net, _, c = both("llama")
    with pytest.raises(UserError, match="^alpha is how much of the spread moves from activations to weights, 0 to 1, not 1.5$"):
        smooth(net, c, 1.5)
    from quant_nets import images, residual
    from quant import calibrate
    with pytest.raises(UserError, match="^the model has no layer norm or RMS norm that feeds layers alone; there is nothing to smooth$"):
        smooth(residual(), calibrate(residual(), images(residual())))
