"""Rotations of the residual stream: the same function, no channel that stands out, and nets that cannot be turned named."""
import pytest
import torch
from lm_nets import assert_same, both, double, small_llama
from quant_nets import Maker
from torch import nn

from ir import UserError
from quant import capture
from quant.post.channels import observed, with_weights
from quant.post.rotate import fold_gains, orthogonal, rotate


@pytest.mark.parametrize("name", ["llama", "encoder"])
@pytest.mark.parametrize("kind", ["hadamard", "random"])
def test_the_same_function(name, kind):
    changed = assert_same(lambda net, _: rotate(net, kind, seed=1), name)
    assert not any(s.kind == "layernorm" for s in changed.steps.values())


@pytest.mark.parametrize("name", ["llama", "encoder"])
def test_gains_go_into_layers(name):
    changed = assert_same(lambda net, _: fold_gains(net), name)
    norms = [s for s in changed.steps.values() if s.kind in ("layernorm", "rmsnorm")]
    assert norms and all((s.weight == 1).all() and (s.bias is None or not s.bias.any()) for s in norms)


@pytest.mark.parametrize("n", [1, 7, 12, 32, 48])
@pytest.mark.parametrize("kind", ["hadamard", "random"])
def test_orthogonal(n, kind):
    q = orthogonal(n, kind, 3)
    assert torch.linalg.norm(q.T @ q - torch.eye(n)) < 1e-9
    if kind == "hadamard" and n == 32:
        assert torch.allclose(q.abs(), torch.full((n, n), n ** -0.5, dtype=q.dtype))
    assert n == 1 or not torch.equal(q, orthogonal(n, kind, 4))


def test_outliers_of_the_stream_vanish():
    net, x = double(small_llama()[0]), small_llama()[1]
    table = net.steps["embed"]
    spiky = table.weight.clone()
    spiky[:, 5] *= 40
    net.steps["embed"] = with_weights(table, spiky)
    stream = "blocks.1.norm2"
    peak = lambda n: (v := observed(n, x, [n.steps[stream].args[0]])[n.steps[stream].args[0]]).abs().max() / v.square().mean().sqrt()
    kurtosis = lambda n: (v := observed(n, x, [stream])[stream]).pow(4).mean() / v.square().mean() ** 2
    turned = rotate(net)
    assert peak(turned) < 0.7 * peak(net) and kurtosis(turned) < 0.5 * kurtosis(net)


def test_embeddings_of_rms_norm_models_are_not_centred():
    net, _, _ = both("llama")
    q = orthogonal(32, seed=0)
    assert torch.allclose(rotate(net).steps["embed"].weight, (net.steps["embed"].weight.double() @ q).float(), atol=1e-6)


class Odd(nn.Module):
    """What the argument says on the residual stream, before a norm."""

    def __init__(self, what):
        super().__init__()
        self.embed, self.norm, self.head, self.what = nn.Linear(3, 4), nn.RMSNorm(4), nn.Linear(4, 2), what

    def forward(self, x): return self.head(self.norm(self.what(self.embed(x))))


def test_refusals():
    x = torch.zeros(1, 5, 3)
    with pytest.raises(UserError, match="^unknown rotation 'left' "):
        rotate(small_llama()[0], "left")
    with pytest.raises(UserError, match=r"lies on the residual stream and is a relu; a rotation needs sums, linear layers, embeddings and "):
        rotate(capture(Odd(torch.relu), x))
    with pytest.raises(UserError, match=r"reads the residual stream and is a function; a rotation needs norms before linear layers, or linear"):
        rotate(capture(Odd(lambda y: y + torch.sigmoid(y) if False else torch.sigmoid(y) * 0 + y), x))
    m = Maker(4)
    m.linear("fc", "x", 3)
    with pytest.raises(UserError, match="^the model has no layer norm or RMS norm over its last axis; there is no residual stream to turn$"):
        rotate(m.net())
