"""Weights alone as codes: grids of groups, roundings, sizes; the net stays float and says so."""
from dataclasses import replace

import pytest
import torch
from lm_nets import both

from ir import FORMATS, Option, UserError
from quant.post.gptq import gptq, second_moment, spread
from quant.post.grids import fitted
from quant.post.weight_only import in_turn, weight_only


def rand(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gptq_takes_scales_and_zero_points_of_groups():
    w = rand(5, 12)
    scale, zero = 0.1 + rand(5, 12, seed=1).abs(), torch.randint(0, 15, (5, 12), generator=torch.Generator().manual_seed(2))
    plain = (w / scale + zero).round().clip(0, 15)
    assert torch.equal(gptq(w, scale, FORMATS["uint4"], spread(torch.eye(12)), zero=zero), plain)
    x = rand(12, 12, seed=3) @ rand(12, 200, seed=4)
    h = second_moment(x)
    loss = lambda q: float(((w - scale * (q - zero)) @ x).square().sum())
    assert loss(gptq(w, scale, FORMATS["uint4"], spread(h), zero=zero)) < loss(plain)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("how", ["minmax", "mse", "output"])
def test_grids(symmetric, how):
    w, h = rand(6, 20), second_moment(rand(20, 300, seed=1) * torch.linspace(0.1, 3, 20)[:, None])
    g = fitted(w, FORMATS["int4"], 8, symmetric, how, h)
    codes = g.codes(w)
    assert g.scale.shape == (6, 3) and torch.equal(g.scale, g.scale.half().double())  # the last group has 4 inputs
    assert torch.equal(codes, codes.round()) and codes.min() >= g.fmt.lo and codes.max() <= g.fmt.hi
    assert (g.values(codes) - w).abs().max() < (0.16 if how == "minmax" else 1) * w.abs().max()
    assert g.bits == 120 * 4 + 18 * (16 if symmetric else 20)


def test_searched_ranges_are_better_in_what_they_look_for():
    w, x = rand(8, 32), rand(32, 400, seed=1) * torch.linspace(0.05, 4, 32)[:, None] ** 2
    h = second_moment(x)
    def errors(how):
        g = fitted(w, FORMATS["int3"], 16, True, how, h)
        e = g.values(g.codes(w)) - w
        return float(e.square().sum()), float((e @ x).square().sum())
    (m, mx), (s, _), (_, ox) = errors("minmax"), errors("mse"), errors("output")
    assert s < m and ox < mx


def test_a_negative_scale_mirrors_the_grid():
    w = torch.tensor([[1.0, 2.0, -1.0, 0.0]])
    g = fitted(w, FORMATS["int2"], 4)
    assert g.scale < 0 and torch.allclose(g.values(g.codes(w)), w.double(), atol=0.05)


def test_codes_scales_and_the_net_agree():
    net, x, c = both("llama")
    for method, symmetric in (("rtn", True), ("gptq", False), ("gptq+awq+lorc", True)):
        w = weight_only(net, c, "int4g8/-", method, symmetric, rank=2)
        assert set(w.coded) == set(net.layers) and "float: weights are codes, arithmetic is float" in w.net.notes
        for n, k in w.coded.items():
            assert torch.equal(k.codes, k.codes.round()) and k.grid.fmt.lo <= k.codes.min() and k.codes.max() <= k.grid.fmt.hi
            assert torch.equal(w.net.steps[n].weight, k.weight.float())
        assert float((w.net(x) - net(x)).square().mean() / net(x).square().mean()) < 0.1


def test_size_counts_everything():
    net, _, c = both("llama")
    weights = sum(s.weight.numel() for s in net.layers.values())
    groups = sum(s.weight.numel() // 8 for s in net.layers.values())
    assert weight_only(net, c, "int4g8/-", "rtn").layer_bytes == weights // 2 + groups * 2
    assert weight_only(net, c, "int4g8/-", "rtn", symmetric=False).layer_bytes == weights // 2 + groups * 2 + groups // 2
    ends = sum(len(s.weight) + s.weight.shape[1] for s in net.layers.values())
    lorc = weight_only(net, c, "int4g8/-", "rtn+lorc", rank=3)
    assert lorc.layer_bytes == weights // 2 + groups * 2 + 3 * ends + len(net.layers) * 2 * 2 * 3
    norms = sum(s.weight.numel() for s in net.steps.values() if s.kind in ("rmsnorm", "embedding"))
    assert lorc.other_bytes == 2 * norms


def test_gptq_loses_less_than_rounding():
    net, x, c = both("llama")
    y = net(x)
    errors = {m: float((weight_only(net, c, "int3/-", m).net(x) - y).square().mean()) for m in ("rtn", "gptq", "rtn+lorc", "gptq+lorc")}
    assert errors["gptq"] < errors["rtn"] and errors["rtn+lorc"] < errors["rtn"] and errors["gptq+lorc"] < errors["gptq"]


def test_only_the_layers_that_are_named():
    net, x, c = both("encoder")
    w = weight_only(net, c, {"up": "int4/-", "down": Option.parse("int8g4/-")}, "gptq")
    assert [n for n, s in net.layers.items() if not torch.equal(s.weight, w.net.steps[n].weight)] == ["up", "down"]
    assert {n: k.grid.fmt.name for n, k in w.coded.items()} == {"up": "int4", "down": "int8"}


def test_layers_read_what_rounded_layers_give():
    net, x, c = both("encoder")
    seen = []
    def change(s, x, real):
        seen.append((s.name, x, real))
        return replace(s, weight=s.weight * 1.5)
    steps = in_turn(net, c.x, change)
    values, old = replace(net, steps=steps)(c.x, keep=True), net(c.x, keep=True)
    for name, x, real in seen:
        a = net.steps[name].args[0]
        assert torch.allclose(x, values[a].flatten(0, -2), atol=1e-5) and torch.allclose(real, old[a].flatten(0, -2), atol=1e-5)


def test_refusals():
    net, _, c = both("encoder")
    for args, message in (
            (("int4/-", "gptq+rtn"), r"^unknown method 'gptq\+rtn': rtn or gptq, and \+awq, \+lorc; for example gptq\+awq$"),
            (("int4/-", "gptq", True, "best"), r"^unknown weight range 'best' \(known: minmax, mse, output\)$"),
            (("uint4/-",), r"^layer 'embed': uint4/- names no signed format for weights with scales of channels or groups; give "),
            (({"conv": "int4/-"},), r"^the model has no linear layer 'conv' \(it has embed, qkv, proj, up, down, head\)$")):
        with pytest.raises(UserError, match=message):
            weight_only(net, c, *args)
