"""Ranges: what each observer promises, and the data it must survive or refuse."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from ir import FORMATS, UserError
from quant import OBSERVERS, calibrate
from quant.encode import encoding_of
from quant.observers import Stats, weight_scale
from quant_nets import NETS, images

ACTS = [f for f in FORMATS.values() if isinstance(f.grid, range)]


def stats(values) -> Stats:
    v = np.sort(np.asarray(values, np.float32))
    return Stats(float(v[0]), float(v[-1]), v, torch.zeros(1))


def error(v, lo, hi, fmt) -> float:
    e = encoding_of(lo, hi, fmt)
    return float(np.square(e.decode(e.encode(v, fmt.lo, fmt.hi)) - v).mean())


@pytest.mark.parametrize("fmt", ACTS, ids=str)
@pytest.mark.parametrize("observer", OBSERVERS)
def test_any_observer_gives_a_lawful_encoding(observer, fmt):
    rng = np.random.default_rng(0)
    for v in (rng.normal(size=4000), abs(rng.normal(size=4000)), np.zeros(10), np.full(10, -3.0), [2.5], rng.normal(size=4000) * 1e-12):
        s = stats(v)
        e = encoding_of(*OBSERVERS[observer](s, fmt), fmt)
        assert e.scale > 0 and np.isfinite(e.scale) and fmt.lo <= e.zero <= fmt.hi
        assert e.decode(e.encode(0.0, fmt.lo, fmt.hi)) == 0.0, "zero has a code of its own"
        assert e.zero == 0 or not fmt.signed, "int* is symmetric"


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(ACTS))
@settings(max_examples=200, deadline=None)
def test_the_ends_of_a_range_are_within_a_step_of_their_codes(a, b, fmt):
    lo, hi = min(a, b, 0.0), max(a, b, 0.0)
    e = encoding_of(lo, hi, fmt)
    ends = e.decode(e.encode(np.array([lo, hi]), fmt.lo, fmt.hi))
    assert (abs(ends - [lo, hi]) <= e.scale * 1.0000001).all()


def test_constants_are_exact():
    e = encoding_of(*OBSERVERS["mse"](stats(np.full(9, 3.0)), FORMATS["uint8"]), FORMATS["uint8"])
    assert e.decode(e.encode(3.0, 0, 255)) == pytest.approx(3.0)


def test_mse_beats_minmax_where_there_are_outliers():
    v = np.append(np.random.default_rng(1).normal(size=5000), [40.0])
    for fmt in (FORMATS["int4"], FORMATS["uint4"]):
        s = stats(v)
        assert error(v, *OBSERVERS["mse"](s, fmt), fmt) < error(v, *OBSERVERS["minmax"](s, fmt), fmt) / 2


def test_mse_is_about_the_best_of_a_fine_search():
    v = np.random.default_rng(2).laplace(size=5000)
    fmt = FORMATS["int4"]
    best = min(error(v, -t, t, fmt) for t in np.linspace(0.5, 12, 400))
    assert error(v, *OBSERVERS["mse"](stats(v), fmt), fmt) < 1.02 * best


def test_percentile_ignores_one_in_ten_thousand():
    v = np.append(np.linspace(0, 1, 99_999), [1000.0])
    assert OBSERVERS["percentile"](stats(v), FORMATS["uint8"])[1] == pytest.approx(1.0, abs=0.1)
    assert OBSERVERS["minmax"](stats(v), FORMATS["uint8"])[1] == 1000.0


def test_entropy_clips_a_thin_tail_and_keeps_a_uniform_range():
    rng = np.random.default_rng(3)
    tail = np.append(rng.normal(size=30000), rng.uniform(30, 40, 3))
    assert OBSERVERS["entropy"](stats(tail), FORMATS["int8"])[1] < 10
    flat = rng.uniform(-1, 1, 30000)
    assert OBSERVERS["entropy"](stats(flat), FORMATS["int8"])[1] > 0.95


@pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if f.signed], ids=str)
def test_weight_scales_suit_any_signed_format(fmt):
    w = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    w[3] = 0
    grid = torch.tensor(list(fmt.grid), dtype=torch.float64) if fmt.bits <= 8 else None
    for per_channel in (True, False):
        errors = {}
        for how in ("mse", "minmax"):
            s = weight_scale(w, fmt, how, per_channel)
            assert s.shape == ((6,) if per_channel else (1,)) and (s > 0).all() and s.isfinite().all()
            codes = fmt.nearest((w.double() / s[:, None]).float(), torch)
            assert grid is None or torch.isin(codes.double(), grid).all()
            errors[how] = float((codes * s[:, None] - w).square().sum())
        assert errors["mse"] <= errors["minmax"]


def test_ternary_scale_is_that_of_twn():
    """Alternating the best scale and the best codes from |w| > 0.7 mean|w| (Li et al. 2016, equation 6) does not find a better one."""
    w = torch.randn(1, 4000, generator=torch.Generator().manual_seed(1))
    mask = w.abs() > 0.7 * w.abs().mean()
    alpha = float(w.abs()[mask].mean())
    s = float(weight_scale(w, FORMATS["ternary"])[0])
    loss = lambda scale: float(((w / scale).round().clip(-1, 1) * scale - w).square().sum())
    assert loss(s) <= loss(alpha) * 1.001


def test_a_dead_channel_borrows_the_largest_scale():
    w = torch.randn(4, 9)
    w[1] = 0
    s = weight_scale(w, FORMATS["int8"], "minmax")
    assert s[1] == s.max()
    assert (weight_scale(torch.zeros(4, 9), FORMATS["int8"]) == 1).all()


@pytest.mark.parametrize("data,says", [
    (torch.zeros(0, 2, 20), r"^no images to calibrate with \(an array of shape \(0, 2, 20\)\); give at least one"),
    (torch.zeros(4, 20, 2), r"^the model takes \(N, 2, 20\), not \(4, 20, 2\); check the layout"),
    (torch.full((2, 2, 20), float("nan")), r"^80 of 80 values of the data are NaN or infinite"),
])
def test_data_that_cannot_be_used(data, says):
    with pytest.raises(UserError, match=says):
        calibrate(NETS["sequence"](), data)


def test_a_net_that_overflows_and_an_unknown_observer():
    net = NETS["sequence"]()
    net.steps["conv"].weight.mul_(1e30)
    net.steps["fc"].weight.mul_(1e30)
    with pytest.raises(UserError, match=r"^step '\w+' of the float model gives NaN or infinity on the calibration data"):
        calibrate(net, images(net) * 1e10)
    with pytest.raises(UserError, match=r"unknown observer 'minmix'; did you mean 'minmax'\?"):
        calibrate(net, images(net), observer="minmix")


def test_calibration_does_not_depend_on_the_batch():
    net = NETS["residual"]()
    x = images(net, 24)
    a, b = calibrate(net, x, batch=24), calibrate(net, x, batch=5)
    for k, s in a.stats.items():
        assert s.lo == pytest.approx(b.stats[k].lo, rel=1e-5, abs=1e-6) and s.hi == pytest.approx(b.stats[k].hi, rel=1e-5, abs=1e-6)


def test_channel_means_are_those_of_the_images_that_mend():
    net = NETS["residual"]()
    x = images(net, 24)
    c = calibrate(net, x, batch=10)
    env = net(x[:c.mend], keep=True)
    assert torch.allclose(c.stats["conv2"].mean, env["conv2"].mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(c.stats["head.fc"].mean, env["head.fc"].mean(0), atol=1e-5)
