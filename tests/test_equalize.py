"""Cross-layer equalization and absorption: the float function stays, the ranges become alike."""
import pytest
import torch

from ir import Plan, UserError
from quant import absorb, calibrate, equalize, quantize
from quant.post.equalize import pairs
from quant_nets import NETS, Maker, images


def mobile(clip: str = "relu", seed: int = 0):
    """Pointwise -> depthwise -> pointwise, grouped, mean, flattened classifier, with channels of very different size."""
    m = Maker(4, 8, 8, seed=seed)
    act = lambda name, x: m.same(name, "clip", x, lo=0.0, hi=6.0) if clip == "relu6" else m.same(name, "relu", x)
    a = act("act1", m.conv("expand", "x", 12, k=1))
    b = act("act2", m.conv("depthwise", a, 12, groups=12))
    c = m.same("leaky", "function", m.conv("project", b, 8, k=1), fn="leaky_relu", slope=0.1)
    d = act("act3", m.conv("grouped", c, 12, groups=4))
    p = m.pool("mean", "avgpool", d, 4, 4)
    m.linear("second", m.same("act4", "relu", m.linear("head", m.reshape("flat", p, 48), 6)), 5)
    for s in m.steps.values():
        if s.weight is not None:
            s.weight.mul_(torch.logspace(-1, 1, len(s.weight))[torch.randperm(len(s.weight), generator=m.rng)].view(-1, *[1] * (s.weight.dim() - 1)))
    return m.net()


def apart(net, other, x) -> float:
    return float((net(x) - other(x)).abs().max() / net(x).abs().max())


@pytest.mark.parametrize("make", [mobile, *NETS.values()])
def test_the_function_stays(make):
    net = make()
    x = images(net)
    assert apart(net, equalize(net), x) < 1e-5
    assert apart(net, absorb(equalize(net), x), x) < 1e-5


def test_ranges_meet():
    """At the end both sides of every channel have the same range (Nagel et al. 2019, equation 9)."""
    net = mobile()
    found = list(pairs(net))
    assert [(p.first, p.second) for p in found] == [("expand", "depthwise"), ("depthwise", "project"), ("project", "grouped"), ("grouped", "head"),
                                                    ("head", "second")]
    new = equalize(net)
    a, b = new.steps["expand"].weight.flatten(1).abs().amax(1), new.steps["depthwise"].weight.flatten(1).abs().amax(1)
    assert torch.allclose(a, b, rtol=1e-3)
    a, b = new.steps["depthwise"].weight.flatten(1).abs().amax(1), new.steps["project"].weight.abs().amax((0, 2, 3))
    assert torch.allclose(a, b, rtol=1e-3)
    again = equalize(new)
    assert all(torch.allclose(s.weight, again.steps[n].weight, rtol=1e-2) for n, s in new.layers.items())


def test_one_scale_for_a_tensor_fits_better():
    """int8 with a scale for the whole tensor: the mean over nets, since a single one may get worse."""
    ratios = []
    for seed in range(5):
        net = mobile(seed=seed)
        x = images(net, 64)
        damage = []
        for n in (net, equalize(net)):
            q = quantize(n, Plan.uniform(n.layers, "int8t/uint8"), calibrate(n, x), bias_correction=False)
            damage.append(float((q(x) - net(x)).square().mean().detach()))
        ratios.append(damage[1] / damage[0])
    assert sum(ratios) / 5 < 0.5


def test_what_stops_a_pair():
    """A sum, a second reader, the output, relu6."""
    assert [(p.first, p.second) for p in pairs(NETS["residual"]())] == [("grouped", "head.fc")]
    net = mobile("relu6")
    assert [(p.first, p.second) for p in pairs(net)] == [("project", "grouped"), ("head", "second")]
    x = images(net) * 0.01
    assert len(list(pairs(equalize(net, clips="relu")))) == 5
    assert apart(net, equalize(net), x) < 1e-5 and apart(net, equalize(net, clips="relu"), x) < 1e-5  # no value above 6
    with pytest.raises(UserError, match=r"^unknown treatment of clips 'drop' \(known: keep, relu\)$"):
        equalize(net, clips="drop")


def test_dead_channels_keep_their_factor():
    net = mobile()
    net.steps["expand"].weight[3] = 0
    net.steps["project"].weight[:, 5] = 0
    x = images(net)
    new = equalize(net)
    assert apart(net, new, x) < 1e-5 and not new.steps["expand"].weight[3].any()


def test_high_biases_move_on():
    net = mobile()
    for name in ("expand", "depthwise", "head"):
        net.steps[name].bias += 50.0 * torch.arange(len(net.steps[name].bias)).remainder(2) * net.steps[name].weight.flatten(1).abs().sum(1)
    x = images(net)
    new = absorb(net, x)
    assert apart(net, new, x) < 1e-5
    assert (new.steps["depthwise"].bias < net.steps["depthwise"].bias - 1).sum() >= 3
    assert torch.equal(new.steps["expand"].bias, net.steps["expand"].bias)  # a padded convolution reads it


def test_the_new_net_has_its_own_hash():
    net = mobile()
    net.hash = "aaaa"
    new = equalize(net)
    assert new.hash not in ("", "aaaa")
    with pytest.raises(UserError, match="calibrate again$"):
        quantize(new, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, images(net)))
