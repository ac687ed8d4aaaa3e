"""Shared weights: what a step computes, that training helps, every format, and the whole one-shot search on digits."""
import numpy as np
import pytest
import torch
from torch import nn

from ir import FORMATS, Option, Plan, UserError
from quant import Simulation, calibrate, capture, geometry, quantize
from quant.sensing.oneshot import OneShot
from search import METRICS, cost_tables, find, measure, whole_plan
from small import data

FLOATS = ("e2m1", "e2m3", "e3m2", "e4m3", "e5m2")


@pytest.fixture(scope="module")
def trained():
    """(net, calibration, x, y) of a small network that knows its digits."""
    import small
    d = data()
    x, y = torch.from_numpy(d["calib_x"]), torch.from_numpy(d["calib_y"])
    net = capture(small.net(), x[:2])
    return net, calibrate(net, x), x, y


def test_without_options_it_is_the_float_net(trained):
    net, calibration, x, y = trained
    shot = OneShot(net, calibration, x, y)
    assert torch.equal(shot.run(x[:9], {}), net(x[:9])) and shot.adapted().hash == net.hash


def test_a_layer_is_rounded_as_the_formula_says(trained):
    """Weights: the largest of each channel is the largest code.  Inputs: from the least to the largest of the batch."""
    net, calibration, x, y = trained
    step = net.steps["fc"]
    for option, fmt, per_row in (("int4/-", "int4", True), ("int3t/-", "int3", False), ("e2m1/-", "e2m1", True)):
        w = step.weight.numpy().astype(np.float32)
        scale = np.abs(w).max(1, keepdims=True) if per_row else np.abs(w).max()
        scale = (scale / np.float32(FORMATS[fmt].hi)).astype(np.float32)
        want = FORMATS[fmt].nearest(w / scale) * scale
        inputs = net(x[:5], keep=True)[step.args[0]].numpy()
        got = OneShot(net, calibration, x, y, weight_range="minmax").run(x[:5], {"fc": option}).detach().numpy()
        np.testing.assert_allclose(got, inputs @ want.T + step.bias.numpy(), rtol=1e-4, atol=1e-5)
    v = net(x[:5], keep=True)[step.args[0]].numpy()
    scale = v.max() / 15
    got = OneShot(net, calibration, x, y).run(x[:5], {"fc": "-/uint4"}).detach().numpy()
    np.testing.assert_allclose(got, np.round(v / scale) * scale @ step.weight.numpy().T + step.bias.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("acts", ["dynamic", "calibrated"])
@pytest.mark.parametrize("fmt", [f.name for f in FORMATS.values() if f.signed and (f.bits < 9 or f.name == "int16")])
def test_every_format_trains_on_both_sides(trained, fmt, acts):
    net, calibration, x, y = trained
    shot = OneShot(net, calibration, x, y, acts=acts)
    plan = dict.fromkeys(net.layers, f"{fmt}/uint8" if fmt == "binary" else f"{fmt}/{fmt}")  # a sign says little of an activation
    losses = [shot(plan) for _ in range(3)]
    assert np.isfinite(losses).all() and shot.steps == 3
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in shot.weights.values())
    real, had = net(x).detach(), OneShot(net, calibration, x, y, acts=acts).run(x, plan).detach()
    error = float((had - real).square().mean() / real.var())
    coarse = 4 if fmt.startswith("pot") else 8  # more powers of two reach further down, they are no closer together
    assert error < {1: 4.0, 2: 4.0, 3: 0.6, 4: 0.15}.get(min(FORMATS[fmt].bits, coarse), 0.03)


def test_more_mantissa_errs_less_and_small_floats_cover_outliers(trained):
    """Of six bits e2m3 is the finer one; where one weight is 300 times the others, e4m3 still sees these and int8 does not."""
    net, calibration, x, y = trained
    shot = OneShot(net, calibration, x, y)
    real = net(x).detach()
    error = {f: float((shot.run(x, dict.fromkeys(net.layers, f"{f}/-")).detach() - real).square().mean()) for f in ("e2m3", "e3m2")}
    assert error["e2m3"] < error["e3m2"]
    w = torch.full((1, 64), 0.3)
    w[0, 0] = 100.0
    linear = nn.Linear(64, 1, bias=False)
    linear.weight.data.copy_(w)
    odd = capture(linear, torch.zeros(1, 64))
    z = torch.rand(20, 64)
    shot = OneShot(odd, calibrate(odd, z), z, weight_range="minmax")
    err = {f: float((shot.run(z, {next(iter(odd.layers)): f"{f}/-"}).detach() - odd(z)).abs().mean()) for f in ("int8", "e4m3", "e5m2")}
    assert err["e4m3"] < 0.2 * err["int8"] and err["e5m2"] < err["int8"]


def test_training_under_a_plan_lowers_its_loss(trained):
    net, calibration, x, y = trained
    shot = OneShot(net, calibration, x, y, lr=1e-3)
    plan = dict.fromkeys(net.layers, "int2/uint4")
    loss = lambda: float(nn.functional.cross_entropy(shot.run(x, plan), y).detach())
    before = loss()
    for _ in range(40):
        shot(plan)
    assert loss() < 0.85 * before
    other = shot.adapted()
    assert other.hash != net.hash and torch.equal(other.steps["fc"].weight, shot.weights["fc"].detach())
    assert torch.equal(net.steps["fc"].weight, OneShot(net, calibration, x, y).weights["fc"].detach())  # the net itself is as it was


def test_without_labels_it_learns_the_float_net(trained):
    net, calibration, x, _ = trained
    shot = OneShot(net, calibration, x, lr=1e-3)
    losses = [shot(dict.fromkeys(net.layers, "int3/uint8")) for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_one_seed_one_training(trained):
    net, calibration, x, y = trained
    run = lambda seed: [s(dict.fromkeys(net.layers, "int4/uint8")) for s in [OneShot(net, calibration, x, y, seed=seed)] for _ in range(3)]
    assert run(1) == run(1) != run(2)


def test_policy_and_weights_together(trained):
    """A one-shot search: the plan keeps its budget, and its weights, calibrated anew and quantized, still know the digits."""
    net, calibration, x, y = trained
    menus = dict.fromkeys(net.layers, ("ternary/uint8", "int4/uint8", "e2m1/uint8", "int8/uint8"))
    costs = cost_tables(geometry(net), menus, ["bops"])
    shot = OneShot(net, calibration, x, y, lr=3e-4)
    plan = find("fliqs", menus, shot, costs, {"bops": "55%"}, evaluations=120, seed=0)
    assert shot.steps == 120 and plan.costs["bops"] <= plan.budgets["bops"]
    adapted = shot.adapted()
    q = quantize(adapted, plan, calibrate(adapted, x))
    d = data()
    score = lambda m: float((m(torch.from_numpy(d["x"])).detach().argmax(1).numpy() == d["y"]).mean())
    assert score(q) > 0.8 * score(net)


def test_a_metric_of_a_whole_plan(trained):
    """Of one layer it is the metric itself; of all it is no sum, and a searcher may make it small."""
    net, calibration, x, _ = trained
    probe = Simulation(net, calibration, x)
    menus = dict.fromkeys(net.layers, ("int2/uint8", "int4/uint8", "int8/uint8"))
    kl, cells = whole_plan(probe, "kl"), measure(probe, ["kl"], menus)["kl"].rows
    assert kl({"mix": "int2/uint8"}) == cells["mix"]["int2/uint8"] == METRICS["kl"](probe, "mix", "int2/uint8")
    everywhere = dict.fromkeys(net.layers, "int2/uint8")
    assert kl(everywhere) != pytest.approx(sum(cells[k][o] for k, o in everywhere.items()), rel=1e-3)
    costs = cost_tables(geometry(net), menus, ["bytes"])
    plan = find("greedy", menus, kl, costs, {"bytes": "60%"}, name="kl")
    assert plan.damage == {"kl": kl({k: str(o) for k, o in plan.options.items()})} and plan.damage["kl"] < kl(everywhere)


def test_small_floats_are_lowered_or_refused_by_name(trained):
    """Those whose integers a requant can follow are close to the float net; e5m2 spans 33 bits."""
    net, calibration, x, _ = trained
    real, error = net(x).detach(), {}
    for fmt in FLOATS[:4]:
        q = quantize(net, Plan.uniform(net.layers, f"{fmt}/uint8"), calibration)
        error[fmt] = float((q(x).detach() - real).square().mean() / real.var())
    assert error["e4m3"] < 0.002 and error["e2m3"] < 0.002 and error["e3m2"] < 0.005 and error["e2m1"] < 0.02
    with pytest.raises(UserError) as e:
        quantize(net, Plan.uniform(net.layers, "e5m2/uint8"), calibration)
    assert str(e.value) == ("layer 'conv': e5m2 weights are integers of 33 bits, more than the 24 that a layer can carry; choose e4m3, e3m2 "
                            "or int8 (sensitivity and searches take e5m2)")


@pytest.mark.parametrize("fmt, smallest, top", [("e2m1", 2**-1, 6.0), ("e2m3", 2**-3, 7.5), ("e3m2", 2**-4, 28.0),
                                                ("e4m3", 2**-9, 448.0), ("e5m2", 2**-16, 57344.0)])
def test_small_floats_are_those_of_the_specifications(fmt, smallest, top):
    """Largest value and smallest subnormal (OCP Microscaling Formats 1.0, section 5.3; OFP8 1.0, table 1); the 8-bit ones are torch's own."""
    f = FORMATS[fmt]
    assert f.hi * smallest == top and f.grid[f.grid.index(0) + 1] == 1 and f.bits == sum(map(int, fmt[1::2])) + 1
    dtype = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}.get(fmt)
    if dtype:
        values = torch.arange(256, dtype=torch.uint8).view(dtype).double()
        assert (values[values.isfinite()].unique() / smallest).tolist() == list(f.grid)


@pytest.mark.parametrize("how, options, text", [
    ({"acts": "static"}, {}, "unknown range of activations 'static' (known: dynamic, calibrated)"),
    ({}, {"cnov": "int4/uint8"}, "the model has no layer 'cnov' (it has conv, mix, fc)"),
    ({}, {"fc": "uint4/uint8"}, "layer 'fc': weights are symmetric about 0 and cannot be uint4; choose a signed format"),
    ({}, {"fc": Option.parse("int4g32/uint8")}, "layer 'fc': int4g32/uint8 asks for a scale for each 32 inputs; the one-shot search has one"),
    ({"y": [0, 1]}, {}, "labels are one integer for each of 200 samples"),
    ({"lr": 1e30}, {"fc": "int4/uint8"}, "the shared weights diverged in step 2 (loss nan); lower the learning rate (now 1e+30)"),
])
def test_messages(trained, how, options, text):
    net, calibration, x, y = trained
    with pytest.raises(UserError) as e:
        shot = OneShot(net, calibration, x, **{"y": y} | how)
        for _ in range(3):
            shot(options)
    assert str(e.value).startswith(text) and "\n" not in str(e.value)


def test_every_kind_of_step_runs():
    """Attention, norms, constants: what has no weights is computed as the float net does."""
    from quant_nets import NETS, images
    for make in NETS.values():
        net = make()
        x = images(net, 4)
        shot = OneShot(net, calibrate(net, x), x)
        assert torch.allclose(shot.run(x, {}), net(x), atol=1e-6)
        assert np.isfinite(shot({k: "int4/uint8" for k in net.layers}))
