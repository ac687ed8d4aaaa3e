"""Learned rounding, layer by layer and block by block: choices are made, losses sink, integers stay exact."""
import pytest
import torch

from ir import FORMATS, Plan, UserError
from quant import QuantNet, Reconstruction, calibrate, quantize, reconstruct
from quant.post.blocks import blocks, float_values
from quant.post.reconstruct import Drops, importance
from quant.post.rounding import Rounding, codes_of, neighbours
from quant_nets import NETS, Maker, images
from test_lowering import equal_everywhere

SHORT = dict(iterations=60, batch=16, lr=0.1)


def start(name: str, option: str, count: int = 32):
    net = NETS[name]()
    x = images(net, count)
    calibration = calibrate(net, x)
    return net, x, calibration, QuantNet(net, Plan.uniform(net.layers, option), calibration)


@torch.no_grad()
def damage(net, q, x) -> float: return float((q(x) - net(x)).square().mean() / net(x).var())


def test_blocks_of_a_residual_net():
    *_, q = start("residual", "int4/uint8", 4)
    found = [" ".join(s.name for s in b.sites) for b in blocks(q)]
    assert found == ["conv1", "conv2 sum", "depthwise", "grouped", "mean", "flat", "head.fc"]
    assert [b.inputs for b in blocks(q)][1] == ("conv1",)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("joined", [True, False])
def test_blocks_take_every_site_once_and_make_the_float_net(name, joined):
    net, x, _, q = start(name, "int4/uint8", 4)
    found, values = blocks(q, joined), {net.input.name: x}
    assert [s.name for b in found for s in b.sites] == [s.name for s in q.sites]
    for b in found:
        values = float_values(q, b.sites, {a: values[a] for a in b.inputs}) | values
        inside = {s.name for s in b.sites[:-1]}
        assert not any(inside & set(q.args[s.name]) for other in found if other is not b for s in other.sites)
    assert torch.equal(values[q.output_name], net(x))


@pytest.mark.parametrize("name,option", [("residual", "ternary/uint4"), ("residual", "int2t/uint8"), ("branches", "int3/uint8"),
                                         ("attention", "int2/uint8"), ("sequence", "int8/uint4"), ("residual", "e2m1/uint8"),
                                         ("sequence", "pot4/uint8"), ("sequence", "fx4.3/uint4")])
def test_losses_sink_and_every_choice_is_made(name, option):
    net, x, calibration, q = start(name, option)
    fitted = reconstruct(q, calibration, settings=Reconstruction(**SHORT))
    assert len([b for b in blocks(q) if any(s.name in q.layers for s in b.sites)]) == len(fitted)
    assert all(f.after <= f.nearest for f in fitted.values())
    assert sum(f.undecided for f in fitted.values()) == 0
    assert damage(net, q, x) < damage(net, start(name, option)[3], x)
    equal_everywhere(q, x)


def test_the_net_rounds_to_what_was_chosen():
    _, _, _, q = start("residual", "int3/uint8")
    for site in q.layers.values():
        r = Rounding(site, site.weight.detach())
        assert torch.allclose(r.soft().detach(), site.weight.clip(site.fmt.lo * r.scale, site.fmt.hi * r.scale), atol=1e-5)
        r.logit.data.normal_(generator=torch.Generator().manual_seed(0))
        r.stretch.data.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
        codes = r.codes()
        r.keep()
        assert torch.equal(codes_of(site), codes) and codes.abs().max() > 0


def test_neighbours():
    v = torch.tensor([-9.0, -8.0, -2.5, 0.0, 0.2, 6.9, 7.0, 30.0])
    lower, upper = neighbours(FORMATS["int4"], v)
    assert lower.tolist() == [-8, -8, -3, 0, 0, 6, 7, 7] and upper.tolist() == [-8, -8, -2, 1, 1, 7, 7, 7]
    grid = torch.tensor(list(FORMATS["e2m1"].grid)).float()
    lower, upper = neighbours(FORMATS["e2m1"], torch.tensor([-99.0, 4.5, 5.5, 99.0]))
    for a, b, v in zip(lower[1:3], upper[1:3], (4.5, 5.5)):
        assert a == grid[grid <= v].max() and b == grid[grid > v].min()
    assert lower[0] == upper[0] == grid[0] and lower[3] == upper[3] == grid[-1]


def test_without_drops_qdrop_is_brecq():
    weights = []
    for rounding, settings in (("brecq", Reconstruction(**SHORT)), ("qdrop", Reconstruction(drop_prob=1.0, **SHORT)),
                               ("qdrop", Reconstruction(drop_prob=0.5, **SHORT))):
        net, x, calibration, q = start("residual", "int2/uint4")
        q = quantize(net, q.plan, calibration, rounding, settings=settings)
        weights.append(torch.cat([p.detach().double().flatten() for p in q.parameters()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_nothing_corrects_biases_that_were_learned():
    net, x, calibration, q = start("residual", "int2/uint4")
    reconstruct(q, calibration, settings=Reconstruction(**SHORT))
    for correction in (True, "analytic"):
        other = quantize(net, q.plan, calibration, "brecq", correction, settings=Reconstruction(**SHORT))
        assert all(torch.equal(a, b) for a, b in zip(q.parameters(), other.parameters()))


def test_drops():
    had, real = torch.ones(100, 100), torch.zeros(100, 100)
    assert Drops(1.0, 0).mixed(had, real) is had and not Drops(0.0, 0).mixed(had, real).any()
    mixed = Drops(0.3, 0).mixed(had, real)
    assert set(mixed.flatten().tolist()) == {0.0, 1.0} and abs(float(mixed.mean()) - 0.3) < 0.03
    big = torch.ones(3_000_000)
    assert abs(float(Drops(0.5, 0).mixed(big, big * 0).mean()) - 0.5) < 0.01  # more than the pool holds


def test_learned_steps_lower_the_loss_and_keep_the_codes():
    net, x, *_ = start("residual", "int3/uint3")
    calibration = calibrate(net, x, "minmax")
    plain, moved = (QuantNet(net, Plan.uniform(net.layers, "int3/uint3"), calibration) for _ in range(2))
    reconstruct(plain, calibration, settings=Reconstruction(**SHORT))
    fitted = reconstruct(moved, calibration, settings=Reconstruction(act_iterations=30, act_lr=1e-2, **SHORT))
    assert all(f.steps[1] <= f.steps[0] * (1 + 1e-3) for f in fitted.values())
    assert sum(f.steps[1] for f in fitted.values()) < 0.95 * sum(f.steps[0] for f in fitted.values())
    assert not torch.equal(plain.codings["conv1"].log_scale, moved.codings["conv1"].log_scale)
    assert torch.equal(codes_of(plain.layers["conv1"]), codes_of(moved.layers["conv1"]))  # the first block saw the same until then
    assert torch.equal(plain.output.log_scale, moved.output.log_scale)  # 16 bits stay
    equal_everywhere(moved, x)


def test_importance_is_the_squared_gradient():
    net, x, _, q = start("residual", "int4/uint8", 8)
    block = next(b for b in blocks(q) if b.output == "sum")
    values = float_values(q, [s for b in blocks(q) for s in b.sites][:3], {"x": x})
    found = importance(q, block, values, seed=0)
    at = values["sum"].clone().requires_grad_()
    out = float_values(q, list(q.sites)[3:], {"sum": at})[q.output_name]
    label = torch.multinomial(out.detach().softmax(1), 1, generator=torch.Generator().manual_seed(0))
    (grad,) = torch.autograd.grad(torch.nn.functional.cross_entropy(out, label[:, 0], reduction="sum"), at)
    assert torch.allclose(found, grad.square() / grad.square().mean(), rtol=1e-4) and float(found.mean()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["residual", "attention"])
def test_weighted_errors(name):
    net, x, calibration, q = start(name, "int2/uint8")
    fitted = reconstruct(q, calibration, settings=Reconstruction(fisher=True, **SHORT))
    assert all(f.after <= f.nearest for f in fitted.values()) and damage(net, q, x) < damage(net, start(name, "int2/uint8")[3], x)


@pytest.mark.parametrize("kill", ["channel", "layer", "activation", "one image"])
def test_dead_channels_and_one_image(kill):
    net = NETS["residual"]()
    x = images(net, 1 if kill == "one image" else 8)
    s = net.steps["conv2"]
    if kill == "channel":
        s.weight[2], s.bias[2] = 0, 3.0
    elif kill == "layer":
        s.weight.zero_()
    elif kill == "activation":
        s.weight.zero_()
        s.bias.fill_(-5.0)
    for rounding in ("adaround", "qdrop"):
        q = quantize(net, Plan.uniform(net.layers, "int4/uint8"), calibrate(net, x), rounding,
                     settings=Reconstruction(iterations=20, act_iterations=5, drop_prob=0.5))
        equal_everywhere(q, x)


def test_a_layer_of_zeros_alone():
    m = Maker(3)
    m.linear("fc", "x", 2)
    net = m.net()
    net.steps["fc"].weight.zero_()
    x = images(net, 4)
    equal_everywhere(quantize(net, Plan.uniform(net.layers, "int4/uint8"), calibrate(net, x), "brecq", settings=Reconstruction(iterations=5)), x)


@pytest.mark.parametrize("change,says", [
    (dict(iterations=0), r"^learned rounding with 0 iterations of 32 images out of 256 at a rate of 0.03: give at least one of each"),
    (dict(drop_prob=1.5), r"^drop_prob is 1.5; it is the chance that an activation is quantized, from 0 to 1$"),
    (dict(act_iterations=-1), r"^-1 iterations for the activations and a warm start of 0.2: give 0 or more, and a part from 0 to 1$"),
])
def test_mistakes(change, says):
    with pytest.raises(UserError, match=says):
        Reconstruction(**change)
