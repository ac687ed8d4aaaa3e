"""Quantization after training: degenerate nets, plans that do not fit, and the two things that mend a layer."""
import numpy as np
import pytest
import torch

from ir import FORMATS, Plan, UserError
from quant import calibrate, quantize
from quant.emit import PRODUCT_BITS, dyadic
from ir.ops import requant
from quant.post.gptq import gptq, refit, second_moment, spread
from quant_nets import NETS, Maker, images
from test_lowering import equal_everywhere


def uniform(net, option, x=None, **options):
    return quantize(net, Plan.uniform(net.layers, option), calibrate(net, images(net) if x is None else x), **options)


def damage(net, q, x) -> float:
    return float((q(x) - net(x)).square().mean().detach() / net(x).var())


@pytest.mark.parametrize("name", NETS)
def test_eight_bits_are_close_to_float(name):
    net = NETS[name]()
    x = images(net, 64)
    assert damage(net, uniform(net, "int8/uint8", x), x) < 3e-3


@pytest.mark.parametrize("kill", ["channel", "layer", "all", "activation", "one image"])
def test_degenerate_nets_stay_exact(kill):
    net = NETS["residual"]()
    x = images(net, 1 if kill == "one image" else 8)
    for s in net.layers.values() if kill == "all" else [net.steps["conv2"]]:
        if kill == "channel":
            s.weight[2], s.bias[2] = 0, 3.0
        elif kill in ("layer", "all"):
            s.weight.zero_()
        elif kill == "activation":
            s.weight.zero_()
            s.bias.fill_(-5.0)
    q = uniform(net, "int4/uint8", x)
    equal_everywhere(q, x)
    if kill in ("layer", "all"):
        assert damage(net, q, x) < 1e-2 or net(x).var() < 1e-9


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_extreme_scales_stay_exact(scale):
    net = NETS["sequence"]()
    x = images(net)
    for s in net.layers.values():
        s.weight.mul_(scale)
    equal_everywhere(uniform(net, "int8/uint8", x), x)


def test_channels_of_very_different_size_stay_accurate():
    m = Maker(3, 8, 8)
    w = m.steps[m.conv("conv", "x", 16)].weight
    w.mul_(torch.logspace(-3, 0, 16).view(-1, 1, 1, 1))
    net = m.net()
    x = images(net)
    q = uniform(net, "int8/uint8", x, bias_correction=False)
    error = (q(x) - net(x)).detach().square().mean((0, 2, 3)).sqrt() / net(x).std((0, 2, 3))
    assert float(error.max()) < 0.05  # one int16 step of the output is 1/30 of the smallest deviation


def test_a_layer_alone_is_within_half_a_step():
    """One linear layer on inputs that are codes: the integer result differs from the exact one by the requant's rounding alone."""
    m = Maker(12)
    m.linear("fc", "x", 5)
    net = m.net()
    net.steps["fc"].weight = torch.randint(-7, 8, (5, 12)).float() / 8
    net.steps["fc"].weight[:, 0] = 7 / 8  # every row holds the largest weight: the scale is 1/8
    net.steps["fc"].bias = torch.randint(-99, 99, (5,)) / 64.0
    x = torch.randint(-7, 8, (64, 12)).float() / 8
    x[0, 0], x[0, 1] = 7 / 8, -7 / 8
    q = quantize(net, Plan.uniform(net.layers, "int4/int4"), calibrate(net, x, "minmax"), weight_range="minmax", bias_correction=False)
    error = (q(x) - net(x)).detach().abs().max() / q.output.encoding.scale
    assert float(error) <= 0.5 + 2.0 ** 15 * 2.0 ** -14  # half a step, and the multiplier's relative error at full scale


def test_dyadic_is_close_and_fits():
    rng = np.random.default_rng(0)
    for _ in range(300):
        ratio = 10.0 ** rng.uniform(-8, 3) * 10.0 ** rng.uniform(-2, 0, 8)
        bound = int(2 ** rng.uniform(1, 40))
        mul, shift = dyadic(ratio, bound)
        assert mul.min() >= 1 and shift >= 0 and int(mul.max()) * bound < 1 << PRODUCT_BITS
        if bound < 1 << 30:
            assert (abs(mul / 2.0 ** shift / ratio - 1) < 0.01).all()
    assert dyadic(np.array([1e-300, 0.0]), 1)[0].min() == 1


def test_gptq_with_uncorrelated_inputs_is_plain_rounding():
    w, scale = torch.randn(7, 30), torch.full((7, 1), 0.3)
    codes = gptq(w, scale, FORMATS["int4"], spread(torch.eye(30)))
    assert (codes == (w / scale).round().clip(-8, 7)).all()


def test_gptq_block_size_changes_nothing():
    x = torch.randn(30, 500, generator=torch.Generator().manual_seed(0)).cumsum(0)
    w, h = torch.randn(7, 30, generator=torch.Generator().manual_seed(1)), second_moment(x)
    a, b = (gptq(w, torch.full((7, 1), 0.3), FORMATS["int3"], spread(h), block=n) for n in (1, 30))
    assert (a == b).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_halves_the_output_error_on_correlated_inputs(bits):
    """The mean over seeds: on a single one plain rounding may win (papers: ratio about 0.2)."""
    fmt, ratios = FORMATS[f"int{bits}"], []
    for seed in range(10):
        rng = torch.Generator().manual_seed(seed)
        x = torch.randn(32, 32, generator=rng) @ torch.randn(32, 400, generator=rng) + torch.randn(1, 400, generator=rng) * 4
        w = torch.randn(16, 32, generator=rng)
        scale = w.abs().amax(1, keepdim=True) / fmt.hi
        loss = lambda codes: float(((codes * scale - w).float() @ x).square().sum())
        ratios.append(loss(gptq(w, scale, fmt, spread(second_moment(x)))) / loss((w / scale).round().clip(fmt.lo, fmt.hi)))
    assert np.mean(ratios) < 0.5


def test_gptq_takes_dead_and_singular_inputs():
    x = torch.randn(6, 3)
    x[2] = 0
    codes = gptq(torch.randn(4, 6), torch.full((4, 1), 0.2), FORMATS["int4"], spread(second_moment(x)))
    assert codes.isfinite().all() and (codes[:, 2] == 0).all()


def test_gptq_says_what_no_damping_mends():
    h = torch.eye(5)
    h[1, 1] = -100.0
    with pytest.raises(UserError, match=r"^GPTQ: the second moment of a layer's 5 inputs is not positive definite, even with 10 times its mean"):
        spread(h)
    h[1, 1] = float("nan")
    with pytest.raises(UserError, match=r"^GPTQ: the second moment of a layer's inputs holds NaN or infinity; check the calibration data"):
        spread(h)


def test_gptq_keeps_a_constant_input_whatever_happens_to_the_bias():
    """An input that never changes has no second moment about its mean, yet the output needs it."""
    m = Maker(6)
    m.linear("fc", "x", 8)
    net = m.net()
    x = images(net, 64)
    x[:, 2] = 2.0
    for correction in (True, False):
        q = uniform(net, "int8/uint8", x, rounding="gptq", bias_correction=correction)
        assert damage(net, q, x) < 1e-3
        equal_everywhere(q, x)


def test_dyadic_requants_are_those_of_their_scale():
    """1e4 accumulators: none differs from the float rescale by the scale that the integers have, none by more than a step from
    the one that was asked for (HAWQ-V3, Yao et al. 2021, section 3).
    """
    rng = np.random.default_rng(0)
    acc = rng.integers(-2 ** 20, 2 ** 20, 10_000)
    for ratio in 10.0 ** rng.uniform(-5, -3.7, 20):
        mul, shift = dyadic(np.array([ratio]), 2 ** 20)
        had = requant(acc, mul, shift, 0, -2 ** 15, 2 ** 15 - 1)
        assert (had == np.floor(acc * (mul[0] / 2.0 ** shift) + 0.5)).all()
        assert np.abs(had - np.rint(acc * ratio)).max() <= 1


def test_analytic_bias_correction_takes_out_what_weights_do():
    """The mean error of each output, with 8-bit activations and coarse weights."""
    net = NETS["residual"]()
    x = images(net, 64) + 0.5
    shift = lambda q: float((q(x) - net(x)).mean(0).abs().max().detach())
    none, analytic, empirical = (shift(uniform(net, "int3/uint8", x, bias_correction=how)) for how in (False, "analytic", "empirical"))
    assert empirical < analytic < none / 2
    with pytest.raises(UserError, match=r"^unknown bias correction 'some' \(known: empirical, analytic, or none with False\)$"):
        uniform(net, "int3/uint8", x, bias_correction="some")


def test_refit_undoes_what_a_linear_map_did_to_the_inputs():
    rng = torch.Generator().manual_seed(0)
    x, w = torch.randn(8, 500, generator=rng), torch.randn(3, 8, generator=rng)
    mixed = torch.randn(8, 8, generator=rng) @ x
    assert torch.allclose(refit(w, mixed, x, ridge=1e-9) @ mixed.double(), (w @ x).double(), atol=1e-4)
    assert torch.equal(refit(w, x, x), w.double())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("option", ["int3/uint8", "ternary/uint4"])
def test_gptq_nets_are_exact_and_better(name, option):
    net = NETS[name]()
    x = images(net, 64)
    q = uniform(net, option, x, rounding="gptq")
    equal_everywhere(q, x)
    assert damage(net, q, x) < 1.1 * damage(net, uniform(net, option, x), x)


def test_bias_correction_takes_the_mean_error_away():
    net = NETS["residual"]()
    x = images(net, 64)
    shift = lambda q: float((q(x) - net(x)).mean(0).abs().max().detach())
    assert shift(uniform(net, "int2/uint4", x)) < shift(uniform(net, "int2/uint4", x, bias_correction=False)) / 5


@pytest.mark.parametrize("change,says", [
    ({"conv1": None}, r"^the plan says nothing about conv1; every layer of the model needs an option$"),
    ({"conv9": "int8/uint8"}, r"^the plan names conv9, which the model does not have \(it has conv1, conv2, depthwise, grouped, head.fc\)$"),
    ({"conv1": "fx8.4g64/int8"}, r"^layer 'conv1': fx8.4 says its scale itself, there is none to share \(fx8.4g64/int8\); write fx8.4/int8$"),
    ({"conv1": "int4/int8d"}, r"^layer 'conv1': int4/int8d asks for a scale for each token, and a convolution reads no tokens; use int8$"),
    ({"head.fc": "int4/uint8d"}, r"^layer 'head.fc': codes of a token are symmetric about 0 and cannot be uint8; choose int8d$"),
    ({"conv1": "uint4/uint8"}, r"^layer 'conv1': weights are symmetric about 0 and cannot be uint4; choose int4 or another signed format$"),
    ({"conv1": "int4/e2m1"}, r"^activations cannot have the format e2m1: its grid has gaps; choose uint8"),
])
def test_plans_that_do_not_fit(change, says):
    net = NETS["residual"]()
    options = {k: v for k, v in ({n: "int8/uint8" for n in net.layers} | change).items() if v}
    with pytest.raises(UserError, match=says):
        quantize(net, Plan(options), calibrate(net, images(net, 4)))


def test_pieces_of_different_models():
    net, x = NETS["residual"](), images(NETS["residual"](), 4)
    net.hash = "aaaa"
    cal = calibrate(net, x)
    with pytest.raises(UserError, match="^the plan was made for the model bbbb, this one is aaaa; make the plan again$"):
        quantize(net, Plan({n: "int8/uint8" for n in net.layers}, model="bbbb"), cal)
    net.hash = "cccc"
    with pytest.raises(UserError, match="^the calibration was made with the model aaaa, this one is cccc; calibrate again$"):
        quantize(net, Plan.uniform(net.layers, "int8/uint8"), cal)
    with pytest.raises(UserError, match=r"^unknown rounding 'up' \(known: nearest, gptq, adaround, brecq, qdrop\)$"):
        uniform(net, "int8/uint8", x, rounding="up")
    with pytest.raises(UserError, match=r"^unknown weight range 'max' \(known: mse, minmax, lsq, lsq\+\)$"):
        uniform(net, "int8/uint8", x, weight_range="max")


def test_gptq_from_fewer_vectors_than_inputs_does_not_lose_to_plain_rounding():
    """8 calibration vectors for 64 inputs: judged on other vectors."""
    m = Maker(64)
    m.linear("fc", "x", 16)
    net = m.net()
    rng = torch.Generator().manual_seed(4)
    ratios = []
    for _ in range(10):
        x, other = (torch.randn(n, 64, generator=rng) for n in (8, 400))
        ratios.append(damage(net, uniform(net, "int4/uint8", x, rounding="gptq"), other) / damage(net, uniform(net, "int4/uint8", x), other))
    assert np.mean(ratios) < 1.2
