"""Ranges of activations by the outputs of the layers that read them."""
import pytest
import torch

from ir import Plan, UserError
from quant import QuantNet, calibrate, fit_ranges, quantize
from quant_nets import NETS, Maker, images
from test_lowering import equal_everywhere


def outliers():
    """A linear layer whose largest inputs it hardly reads: a range for the values would waste codes on them."""
    m = Maker(16)
    m.linear("fc", "x", 8)
    net = m.net()
    net.steps["fc"].weight[:, :2] *= 0.01
    x = images(net, 64)
    x[:, :2] *= 3
    return net, x


def error(net, q, x) -> float: return float((q(x) - net(x)).square().mean().detach())


def test_codes_go_where_the_weights_look():
    net, x = outliers()
    plan, calibration = Plan.uniform(net.layers, "int8/uint4"), calibrate(net, x, "minmax")
    by_values, by_output = (quantize(net, plan, calibration, act_range=how) for how in ("observer", "output"))
    assert error(net, by_output, x) < 0.8 * error(net, by_values, x)
    assert by_output.input.encoding.scale < 0.8 * by_values.input.encoding.scale


@pytest.mark.parametrize("name", NETS)
def test_integers_stay_exact(name):
    net = NETS[name]()
    x = images(net)
    equal_everywhere(quantize(net, Plan.uniform(net.layers, "int4/uint4"), calibrate(net, x), "gptq", act_range="output"), x)


def test_only_what_layers_alone_read_moves():
    net = NETS["residual"]()
    x = images(net)
    calibration = calibrate(net, x)
    plan = Plan.uniform(net.layers, "int4/uint8")
    q, other = (QuantNet(net, plan, calibration) for _ in range(2))
    found = fit_ranges(q, calibration, factors=(0.5,))
    assert found == dict.fromkeys(("conv1", "depthwise", "grouped"), 0.5)  # conv2 and the sum share theirs; the mean reads what head.fc has
    for name, coding in q.codings.items():
        half = name in ("x", "sum", "depthwise")
        assert coding.encoding.scale == pytest.approx(other.codings[name].encoding.scale * (0.5 if half else 1))
    assert torch.equal(q.output.log_scale, other.output.log_scale)


def test_unknown_word():
    net, x = outliers()
    with pytest.raises(UserError, match=r"^unknown range of activations 'joint' \(known: observer, output\)$"):
        quantize(net, Plan.uniform(net.layers, "int8/uint4"), calibrate(net, x), act_range="joint")
