"""What torch trains is what the graph computes, bit for bit, on every value."""
import numpy as np
import pytest
import torch

from ir import FORMATS, Plan, run
from quant import calibrate, execute, quantize
from quant.layout import WEIGHT_BITS
from quant_nets import NETS, images

OPTIONS = ["int8/uint8", "int4/uint4", "int8t/int8", "ternary/int4", "int2/uint2", "pot4/uint6", "e2m1/int8", "int16/uint12",
           "binary/uint8", "apot4/uint8", "fx6.5/fx8.4"]


def equal_everywhere(q, x: torch.Tensor) -> None:
    """Every node of the lowered graph: torch's values, the reference interpreter's and the torch backend's are the same."""
    g = q.lower()
    codes = q.encode(x).detach()
    assert (codes.numpy() == g.encodings[q.input_name].encode(x.numpy(), q.input.fmt.lo, q.input.fmt.hi)).all()
    ours, want, backend = q.forward_integers(codes, keep=True), run(g, codes.long().numpy(), keep=True), execute.run(g, codes.long(), keep=True)
    for name, value in want.items():
        assert (backend[name].numpy() == value).all(), name
        if name in ours:  # a requant that took over another's bounds holds what that one held
            clamped = ours[name].detach().double().numpy().clip(g.nodes[name].type.lo, g.nodes[name].type.hi)
            assert (clamped == value).all(), name
    y = q(x).detach().numpy()
    assert (y == g.encodings[g.output.name].decode(want[g.output.name]).astype(np.float32)).all()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", NETS)
def test_torch_equals_graph(name, option):
    net = NETS[name]()
    x = images(net)
    equal_everywhere(quantize(net, Plan.uniform(net.layers, option), calibrate(net, x)), x)


@pytest.mark.parametrize("fmt", [f.name for f in FORMATS.values() if f.signed and f.hi.bit_length() < WEIGHT_BITS])
def test_any_signed_format_is_a_weight_format(fmt):
    net = NETS["sequence"]()
    x = images(net, 8)
    equal_everywhere(quantize(net, Plan.uniform(net.layers, f"{fmt}/uint8"), calibrate(net, x)), x)


@pytest.mark.parametrize("fmt", [f.name for f in FORMATS.values() if isinstance(f.grid, range)])
def test_any_plain_format_is_an_activation_format(fmt):
    net = NETS["sequence"]()
    x = images(net, 8)
    equal_everywhere(quantize(net, Plan.uniform(net.layers, f"int4/{fmt}"), calibrate(net, x)), x)


@pytest.mark.parametrize("name", NETS)
def test_equal_after_steps_of_training(name):
    net = NETS[name]()
    x = images(net)
    q = quantize(net, Plan.uniform(net.layers, "int4/uint4"), calibrate(net, x))
    opt = torch.optim.Adam(q.parameters(), lr=1e-2)
    for _ in range(3):
        opt.zero_grad()
        q(x).square().sum().backward()
        opt.step()
    equal_everywhere(q, x)


@pytest.mark.parametrize("name", NETS)
def test_gradients_reach_everything_that_is_trained(name):
    net = NETS[name]()
    x = images(net)
    q = quantize(net, Plan.uniform(net.layers, "int4/uint4"), calibrate(net, x))
    q(x).square().sum().backward()
    dead = [n for n, p in q.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)]
    assert not dead


def test_mixed_plan_narrows_only_the_layer_that_asks():
    net = NETS["residual"]()
    x = images(net)
    plan = Plan({n: "int8/uint8" for n in net.layers} | {"conv2": "int4/uint4"})
    q = quantize(net, plan, calibrate(net, x))
    g = q.lower()
    assert g.nodes["conv2.in"].type.hi == 15 and g.nodes["conv1.q"].type.hi == 255
    assert [n for n in g.nodes if n.endswith(".in")] == ["conv2.in"]
    equal_everywhere(q, x)


def test_relu_is_the_low_bound_and_relu6_the_high_one():
    net = NETS["residual"]()
    q = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, images(net)))
    g = q.lower()
    assert not [n for n in g.nodes if n.startswith("relu")]
    op, coding = g.nodes["depthwise.q"].op, q.codings["depthwise"]
    assert op.lo == op.zero == coding.zero and op.hi == min(255, round(6 / coding.encoding.scale))


def test_the_output_is_int16_with_one_scale():
    net = NETS["residual"]()
    g = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, images(net))).lower()
    assert g.output.name == "head.fc.q" and g.output.type.bits <= 16 and g.encodings["head.fc.q"].zero == 0
