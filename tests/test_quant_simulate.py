"""The fast what-if equals rounding by hand, touches nothing upstream and agrees with the quantized net about what hurts."""
import numpy as np
import pytest
import torch
import quant

from ir import Option, Plan, UserError
from quant import Simulation, calibrate, quantize
from quant.net import compute
from quant.sensing.simulate import round_weights
from quant_nets import NETS, images


@pytest.fixture(scope="module", params=NETS)
def probe(request) -> Simulation:
    net = NETS[request.param]()
    return Simulation(net, calibrate(net, images(net, 48)), images(net, 20, seed=5))


def test_nothing_quantized_is_the_reference(probe):
    assert (probe.outputs({}) == probe.reference()).all()
    assert np.allclose(probe.reference(), probe.net(probe.x).reshape(20, -1).numpy(), atol=1e-6)


def test_rerunning_downstream_is_rerunning_everything(probe):
    """The whole net by hand, each named layer rounded: no cached value is stale."""
    chosen = {n: o for n, o in zip(probe.layers, ("int4/uint4", "int3/uint8", "ternary/uint8"))}
    env = {}
    for s in probe.net.steps.values():
        if s.name in chosen:
            env[s.name] = probe._rounded(s, Option.parse(chosen[s.name]), env[s.args[0]])
        else:
            env[s.name] = probe.x if s.kind == "input" else compute(s, *[env[a] for a in s.args])
    assert np.allclose(probe.outputs(chosen), env[probe.net.output].reshape(20, -1).numpy(), atol=1e-5)


def test_other_images_as_the_probes_own(probe):
    chosen = {n: o for n, o in zip(probe.layers, ("int4/uint4", "int3/uint8", "ternary/uint8"))}
    assert np.allclose(probe.outputs(chosen, probe.x), probe.outputs(chosen), atol=1e-5)
    assert np.allclose(probe.outputs({}, probe.x[:3]), probe.reference(probe.x[:3]), atol=1e-6)
    assert not np.allclose(probe.outputs(chosen, probe.x[::2].contiguous()), probe.reference()[::2], atol=1e-5)


def test_local_is_the_layer_alone(probe):
    layer = probe.layers[0]
    exact, rounded = probe.local(layer, "int8/uint8")
    assert exact.shape == rounded.shape and 0 < np.square(exact - rounded).mean() < 1e-2 * exact.var()
    worse = probe.local(layer, "int2/uint2")[1]
    assert np.square(exact - worse).mean() > 10 * np.square(exact - rounded).mean()


def test_fewer_bits_hurt_more(probe):
    loss = lambda o: np.square(probe.outputs({n: o for n in probe.layers}) - probe.reference()).mean()
    assert loss("int8/uint8") < loss("int4/uint4") < loss("int2/uint2")


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_it_foretells_the_quantized_net(rounding):
    """All layers rounded: about the damage that the integer net then has."""
    net = NETS["residual"]()
    cal = calibrate(net, images(net, 64))
    probe = Simulation(net, cal, images(net, 64), rounding=rounding)
    said = np.square(probe.outputs({n: "int4/uint6" for n in net.layers}) - probe.reference()).mean()
    with torch.no_grad():
        q = quantize(net, Plan.uniform(net.layers, "int4/uint6"), cal, rounding=rounding)
        got = float((q(probe.x) - net(probe.x)).square().mean())
    assert 0.5 < got / said < 2


def test_rounded_weights_are_on_their_grid():
    w = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    r = round_weights(w, Option.parse("ternary/uint8"))
    assert all(len(torch.unique(row)) <= 3 for row in r) and round_weights(w, Option.parse("ternaryt/uint8")).unique().numel() == 3


def test_equal_probes_have_equal_keys():
    net = NETS["residual"]()
    cal = calibrate(net, images(net, 8))
    key = Simulation(net, cal).key
    assert Simulation(net, calibrate(net, images(net, 8))).key == key
    assert Simulation(net, cal, images(net, 8, seed=1)).key != key
    assert Simulation(net, cal, rounding="gptq").key != key
    assert Simulation(net, calibrate(net, images(net, 8), "minmax")).key != key


def test_mistakes():
    net = NETS["residual"]()
    probe = Simulation(net, calibrate(net, images(net, 8)))
    with pytest.raises(UserError, match=r"^the model has no layer 'fc' \(it has conv1, conv2, depthwise, grouped, head.fc\)$"):
        probe.outputs({"fc": "int4/uint8"})
    with pytest.raises(UserError, match="^layer 'conv1': weights are symmetric about 0 and cannot be uint8"):
        probe.local("conv1", "uint8/uint8")


def test_unknown_rounding():
    net = NETS["residual"]()
    with pytest.raises(UserError, match=r"^unknown rounding 'up' \(known: nearest, gptq, adaround, brecq, qdrop\)$"):
        Simulation(net, calibrate(net, images(net, 8)), rounding="up")


def test_one_side_alone():
    """`int4/-` rounds only the weights, `-/uint4` only the input; neither makes a plan."""
    torch.manual_seed(3)
    net = quant.capture(torch.nn.Linear(6, 4).eval(), torch.randn(2, 6))
    x = torch.randn(64, 6)
    s = Simulation(net, calibrate(net, x), x)
    exact, weights = s.local(net.output, "int3/-")
    _, acts = s.local(net.output, "-/uint3")
    _, both = s.local(net.output, "int3/uint3")
    errors = [float(((v - exact) ** 2).mean()) for v in (weights, acts, both)]
    assert 0 < errors[0] and 0 < errors[1] and max(errors) == errors[2]
    with pytest.raises(UserError, match=r"^plan: layer 'a' has int3/-, one side left in float; name a format on either side$"):
        Plan({"a": "int3/-"})
