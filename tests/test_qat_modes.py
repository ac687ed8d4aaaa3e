"""Every mode of training on scikit-learn's digits: the loss falls, and the graph is what was trained."""
import copy

import numpy as np
import pytest
import torch

from ir import FORMATS, Encoding, Plan, UserError
from qsearch.digits import DigitNet, digits
from quant import calibrate, capture, quantize, tune
from quant.encode import Coding
from quant.fake import lsq_factor
from quant.train.modes import codings, mode_of
from quant.observers import weight_scale
from quant_nets import NETS, images
from test_lowering import equal_everywhere


@pytest.fixture(scope="module")
def problem():
    """A float DigitNet of eight channels after a few epochs, 192 images and their labels."""
    torch.manual_seed(0)
    d = digits()
    x, y = torch.from_numpy(d["calib_x"][:192]), torch.from_numpy(d["calib_y"][:192])
    module = DigitNet(8)
    opt = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(10):
        for at in torch.randperm(192).split(32):
            opt.zero_grad()
            torch.nn.functional.cross_entropy(module(x[at]), y[at]).backward()
            opt.step()
    return capture(module.eval(), x[:2]), x, y


def start(problem, option: str):
    net, x, _ = problem
    return quantize(net, Plan.uniform(net.layers, option), calibrate(net, x[:96]))


def right(f, x, y) -> float:
    with torch.no_grad():
        return float((f(x).argmax(1) == y).float().mean())


@pytest.mark.parametrize("option,mode", [
    ("int3/uint3", "ste"), ("int3/uint3", "lsq"), ("int3/uint3", "lsq+"), ("int3/uint3", "pact"), ("ternary/uint4", "lsq"), ("ternary/uint4", "pact"),
    ("binary/uint4", "lsq"), ("pot4/uint4", "lsq+"), ("e2m1/int4", "lsq"), ("int2t/uint4", {"int2t/*": "lsq", "*": "ste"})])
def test_the_loss_falls_and_the_graph_is_what_was_trained(problem, option, mode):
    net, x, y = problem
    q = start(problem, option)
    before = right(q, x, y)
    history = tune(q, x, y, epochs=3, lr=4e-3, mode=mode, distill=net)
    assert history[-1]["loss"] < history[0]["loss"]
    assert right(q, x, y) > min(before + 0.03, 0.9)
    equal_everywhere(q, x[:16])


def test_zero_points_are_trained_by_lsq_plus_alone(problem):
    net, x = NETS["branches"](), images(NETS["branches"](), 64)
    q = quantize(net, Plan.uniform(net.layers, "int3/uint3"), calibrate(net, x, "minmax"))
    asymmetric = [m for m in q.modules() if isinstance(m, Coding) and m.zero > 0 and not m.fmt.signed]
    assert len(asymmetric) > 3
    plain, plus = copy.deepcopy(q), copy.deepcopy(q)
    tune(plain, x, epochs=1, lr=1e-2, mode="lsq")
    assert not any(m.offset is not None for m in plain.modules() if isinstance(m, Coding))
    tune(plus, x, epochs=4, lr=4e-2, mode="lsq+")
    free = [m for m in plus.modules() if isinstance(m, Coding) and m.offset is not None]
    steps = plus.net.steps
    held = {c for s in plus.sites if steps[s.name].kind in ("relu", "clip", "pad") for c in (s.out, *s.ins)}  # their bounds give no gradient
    assert len(free) == len(asymmetric) - sum(m.zero > 0 for m in held) and 0 < len(free) and any(m.zero != int(m.zero_point) for m in free)
    equal_everywhere(plus, x[:8])


def test_the_gradient_of_a_zero_point_is_that_of_lsq_plus():
    """In the range 0, outside of it minus the scale a code (Bhalgat et al. 2020; offset = -scale * zero)."""
    c = Coding(FORMATS["uint3"], Encoding(0.5, 3))
    c.free()
    for value, want in ((0.6, 0.0), (-0.2, 0.0), (-9.0, -0.5 * 7), (9.0, -0.5 * 7)):
        c.offset.grad = None
        c.decode(c.encode(torch.tensor([[value]]))).sum().backward()
        assert float(c.offset.grad) == pytest.approx(want * c.damp, abs=1e-6)


@pytest.mark.parametrize("pact", [False, True])
def test_the_gradient_of_a_step_size(pact):
    """LSQ: (code - v) within the range; PACT: 0 there, and the clipping level's 1 a unit outside (equation 3 of each)."""
    c = Coding(FORMATS["uint3"], Encoding(0.5, 0))
    c.pact = pact
    for value, inside in ((0.6, 0.5 - 0.6), (3.3, 3.5 - 3.3), (9.0, None)):
        c.log_scale.grad = None
        c.decode(c.encode(torch.tensor([[value]]))).sum().backward()
        want = 7 * 0.5 if inside is None else 0.0 if pact else inside
        assert float(c.log_scale.grad) == pytest.approx(want * c.damp, abs=1e-6)


def test_the_gradient_of_a_step_size_by_finite_differences():
    """Between two ties the loss is smooth in the step: its slope there plus what rounding hides, sum of dL/dv v / s."""
    rng = np.random.default_rng(0)
    v, g = torch.from_numpy(rng.normal(0, 1, 200)).float()[None], torch.from_numpy(rng.normal(0, 1, 200))
    c = Coding(FORMATS["int4"], Encoding(0.3, 0))
    (c.decode(c.encode(v)).double() * g).sum().backward()

    def value(t):
        codes = (v.double() / 0.3).round().clip(-8, 7)  # held, as between ties
        inside = (v.double() / 0.3).clip(-8, 7) == v.double() / 0.3
        smooth = torch.where(inside, codes * np.exp(t) - v.double() * (t - np.log(0.3)), codes * np.exp(t))
        return float((smooth * g).sum())
    h, t = 1e-5, np.log(0.3)
    assert float(c.log_scale.grad) == pytest.approx((value(t + h) - value(t - h)) / (2 * h) * c.damp, rel=1e-4)


def test_clipping_levels_shrink_under_their_regulariser(problem):
    _, x, y = problem
    runs = [start(problem, "int4/uint4") for _ in range(2)]
    for q, decay in zip(runs, (0.0, 1.0)):
        tune(q, x[:96], y[:96], epochs=2, lr=1e-2, mode="pact", clip_decay=decay, scale_lr=1.0)
    free, tight = (sum(c.encoding.scale * c.fmt.hi for c in codings(q, "pact")) for q in runs)
    assert tight < 0.97 * free


def test_a_mode_for_each_option(problem):
    net, x, y = problem
    names = list(net.layers)
    plan = Plan({n: "int2/uint4" if i % 2 else "int4/uint4" for i, n in enumerate(names)})
    q = quantize(net, plan, calibrate(net, x[:96]))
    mode = {"int2/*": "lsq", names[0]: "pact", "*": "ste"}
    assert [mode_of(q, n, mode) for n in names] == ["pact"] + ["lsq" if i % 2 else "ste" for i in range(1, len(names))]
    before = {n: s.log_scale.clone() for n, s in q.layers.items()}
    tune(q, x[:96], y[:96], epochs=1, lr=1e-2, mode=mode)
    moved = [not torch.equal(before[n], q.layers[n].log_scale) for n in names]
    assert moved == [bool(i % 2) for i in range(len(names))]
    assert q.layers[names[0]].coding.pact and not q.layers[names[1]].coding.pact
    equal_everywhere(q, x[:8])


def test_scales_at_the_start():
    w = torch.randn(3, 400, generator=torch.Generator().manual_seed(0)) + 0.1
    lsq, plus = (weight_scale(w, FORMATS["int4"], how) for how in ("lsq", "lsq+"))
    assert torch.allclose(lsq, 2 * w.double().abs().mean(1) / 7 ** 0.5)
    assert torch.allclose(plus, torch.maximum((w.double().mean(1) + 3 * w.double().std(1, correction=0)).abs(),
                                              (w.double().mean(1) - 3 * w.double().std(1, correction=0)).abs()) / 7)


def test_the_factor_counts_the_points_of_a_grid():
    assert lsq_factor(100, FORMATS["int4"]) == (100 * 7) ** -0.5
    assert lsq_factor(100, FORMATS["pot4"]) == (100 * 7) ** -0.5  # seven positive points, not 64 steps
    assert lsq_factor(100, FORMATS["ternary"]) == lsq_factor(100, FORMATS["binary"]) == 0.1


def test_an_unknown_mode_of_an_option(problem):
    _, x, y = problem
    with pytest.raises(UserError, match=r"^unknown training mode 'dorefa' \(known: ste, lsq, lsq\+, pact\)$"):
        tune(start(problem, "int4/uint4"), x, y, mode={"*": "dorefa"})
