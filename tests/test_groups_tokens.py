"""Scales for groups of weights and for each token: exact in every backend, and as good as they promise."""
import numpy as np
import pytest
import torch

import codegen
from ir import FORMATS, Option, Plan, run
from quant import calibrate, quantize
from quant.sites.groups import TOP, group_scales
from quant.sensing.simulate import Simulation, round_weights
from quant_nets import NETS, Maker, images
from test_lowering import equal_everywhere


def tokens_net(seed: int = 3):
    """Two dense layers over five tokens, the second one after a ReLU."""
    m = Maker(5, 12, seed=seed)
    a = m.same("relu", "relu", m.linear("up", "x", 16))
    m.linear("down", a, 6)
    return m.net()


@pytest.mark.parametrize("option", ["int4g4/uint8", "int2g8/uint4", "ternaryg5/uint8", "e2m1g16/int8", "binaryg3/uint8", "int8g999/uint8"])
@pytest.mark.parametrize("name", NETS)
def test_groups_are_exact(name, option):
    net = NETS[name]()
    x = images(net)
    for rounding in ("nearest", "gptq", "adaround"):
        equal_everywhere(quantize(net, Plan.uniform(net.layers, option), calibrate(net, x), rounding=rounding), x)


@pytest.mark.parametrize("option", ["int8/int8d", "int4g4/int8d", "ternary/int4d", "int8t/int16d"])
def test_tokens_are_exact(option):
    net = tokens_net()
    x = images(net)
    q = quantize(net, Plan.uniform(net.layers, option), calibrate(net, x))
    equal_everywhere(q, x)
    g = q.lower()
    codes = g.encodings[g.inputs[0].name].encode(x.numpy(), g.inputs[0].type.lo, g.inputs[0].type.hi)
    assert np.array_equal(codegen.onnx.run(codegen.onnx.build(g), codes), run(g, codes))


@pytest.mark.parametrize("size", [4, 16])
def test_two_levels_cost_little(size):
    """The small integer in place of a real scale of the group's own loses little, and a channel's scale loses much."""
    rng = torch.Generator().manual_seed(0)
    w = torch.randn(32, 64, generator=rng) * torch.rand(32, 64 // size, generator=rng).add(0.05).repeat_interleave(size, 1)
    fmt = FORMATS["int4"]
    channel, factors = group_scales(w, fmt, "mse", size)
    assert factors.shape == w.shape and 1 <= factors.min() and factors.max() == TOP and (factors == factors.round()).all()
    had = round_weights(w, Option.parse(f"int4g{size}/uint8"))
    alone = round_weights(w.reshape(-1, size), Option.parse("int4/uint8")).reshape(w.shape)
    coarse = round_weights(w, Option.parse("int4/uint8"))
    errors = [float((v - w).square().mean()) for v in (alone, had, coarse)]
    assert errors[0] * 0.99 <= errors[1] <= errors[0] * 1.05 and errors[1] < errors[2] / 1.5


def test_dead_groups_and_channels_stay_finite():
    w = torch.zeros(3, 10)
    w[0, :4], w[1, 9] = 1.0, -2.0
    channel, factors = group_scales(w, FORMATS["int4"], "mse", 4)
    assert torch.isfinite(channel).all() and (channel > 0).all() and factors.min() >= 1
    assert torch.equal(round_weights(w, Option.parse("int8g4/uint8")).sign(), w.sign())


def test_a_token_has_the_scale_of_its_largest_value():
    """Tokens a thousand times apart keep seven bits each; one scale for all of them loses the small ones."""
    net = tokens_net()
    sizes = torch.tensor([1.0, 0.001, 0.1, 0.01, 1.0])[:, None]
    x = images(net, 64) * sizes
    real, q = net(x), {o: quantize(net, Plan.uniform(net.layers, o), calibrate(net, x), bias_correction=False) for o in ("int8/int8d", "int8/int8")}
    for q_ in q.values():
        equal_everywhere(q_, x)
    small = {o: float(((m(x).detach() - real)[:, 1] / real[:, 1].std()).square().mean()) for o, m in q.items()}
    assert small["int8/int8d"] < small["int8/int8"]


def test_the_sum_of_a_token_is_that_of_its_codes():
    """Against the definition in numpy: q = floor(127 x / m + 1/2), y = (sum w q) m / 127 with the layer's own scales."""
    net = tokens_net()
    x = images(net)
    q = quantize(net, Plan.uniform(net.layers, "int8/int8d"), calibrate(net, x), bias_correction=False)
    with torch.no_grad():
        values = q.forward_integers(q.encode(x), keep=True)
    v = (values["x"] - q.input.zero).long().numpy()
    m = np.maximum(np.abs(v).max(-1, keepdims=True), 1)
    codes = (2 * 127 * v + m) // (2 * m)
    assert np.array_equal(values["up.tokens"].numpy(), codes)
    w = values_of(q.layers["up"])
    assert np.array_equal(values["up.real"].double().numpy(), (codes @ w.T * m).astype(float))


def values_of(site) -> np.ndarray:
    w, *_ = site.integers(site.token)
    return w.detach().numpy().astype(int)


def test_dynamic_trains_and_is_measured():
    net = tokens_net()
    x = images(net)
    cal = calibrate(net, x)
    q = quantize(net, Plan.uniform(net.layers, "int4/int4d"), cal)
    q(x).square().sum().backward()
    assert all(site.weight.grad.abs().sum() > 0 for site in q.layers.values())
    s = Simulation(net, cal, x)
    real = s.reference()
    errors = {o: float(np.square(s.outputs({"down": o}) - real).mean()) for o in ("int8/int8d", "int4g4/int8d", "int4/int4d", "int4/int8")}
    assert 0 < errors["int8/int8d"] < errors["int4g4/int8d"] < errors["int4/int4d"]


@pytest.mark.parametrize("option", ["int4g4/uint8", "int3/int8d", "int2g4/int8d"])
def test_learned_rounding_pays(option):
    net = tokens_net()
    x = images(net, 256)
    cal, real = calibrate(net, x), net(x)
    error = {r: float((quantize(net, Plan.uniform(net.layers, option), cal, rounding=r)(x).detach() - real).square().mean())
             for r in ("nearest", "gptq", "adaround")}
    assert error["gptq"] < error["nearest"] and error["adaround"] < error["nearest"]


def test_fixed_point_keeps_its_scale():
    """Weights and inputs on <WL,FL> grids of their own: nothing of a scale is left to move, not even in training."""
    net = NETS["residual"]()
    x = images(net)
    q = quantize(net, Plan.uniform(net.layers, "fx8.6/fx8.4"), calibrate(net, x))
    for site in q.layers.values():
        assert not site.log_scale.requires_grad
        own = site.realised(site.coding)[0]
        assert torch.allclose(own, torch.full_like(own, 2.0 ** -6), rtol=1e-12)
    assert q.input.encoding.scale == 2.0 ** -4
    equal_everywhere(q, x)
