"""Ranges of channels folded into one: not one code changes, the function stays, and clipped outliers help the layers behind."""
from math import inf

import pytest
import torch
from lm_nets import assert_same, both, double, small_encoder

from ir import FORMATS, Option, UserError
from quant.post.channels import feeds, observed
from quant.post.reparam import channel_range, fold_range, folded, reparametrise

W4A4, SIGNED = Option.parse("int4/uint4"), Option.parse("int4/int8")


def every(net, option): return dict.fromkeys(net.layers, option)


REPQ = dict(clips=(1.0,), limits=(inf,))


@pytest.mark.parametrize("name, option, candidates", [("llama", W4A4, REPQ), ("llama", SIGNED, dict(clips=(0.99,))), ("encoder", W4A4, REPQ),
                                                      ("encoder", W4A4, {}), ("encoder", SIGNED, {})])
def test_the_same_function(name, option, candidates):
    assert_same(lambda net, c: folded(net, c, every(net, option), **candidates)[0], name)


@pytest.mark.parametrize("fmt", ["uint4", "uint8", "int8"])
@pytest.mark.parametrize("clip, limit", [(1.0, inf), (0.99, 2.0)])
def test_codes_are_those_of_the_channels(fmt, clip, limit):
    net, x = double(small_encoder()[0]), small_encoder()[1].double()
    for f in feeds(net):
        values = observed(net, x, [f.source])[f.source]
        r = channel_range(values, FORMATS[fmt], True, clip, limit)
        assert r.zero.unique().numel() > 1 or fmt == "int8"
        after, one = observed(fold_range(net, f, r), x, [f.source])[f.source], r.folded
        codes = ((after / one.scale).round() + one.zero).clip(r.fmt.lo, r.fmt.hi)
        assert torch.equal(codes, r.codes(values)) and isinstance(one.zero, int)


def test_calibration_keeps_the_folded_range():
    net, x, c = both("encoder")
    changed, fresh = reparametrise(net, c, every(net, W4A4))
    assert {k[0] for k in fresh.fixed} == {"norm1", "norm2", "norm3"} and fresh.model == changed.hash
    e = fresh.encoding("norm2", FORMATS["uint4"])
    assert e == fresh.fixed["norm2", "uint4"] and e.scale > 0 and fresh.encoding("norm2", FORMATS["uint8"]) != e


def outputs_error(net, x, changed, fresh, layer="up", norm="norm2"):
    """Of a layer whose input alone is rounded, against the float net."""
    e = fresh.encoding(norm, FORMATS["uint4"])
    v = changed(x, keep=True)[norm]
    read = (((v / e.scale).round() + e.zero).clip(0, 15) - e.zero) * e.scale
    s = changed.steps[layer]
    return float((read @ s.weight.T + s.bias - net(x, keep=True)[layer]).square().mean())


def test_better_than_one_range_for_all():
    from quant import calibrate
    net, x, c = both("encoder")
    plain = outputs_error(net, x, net, calibrate(net, x, "mse"))
    repq = outputs_error(net, x, *reparametrise(net, c, every(net, W4A4), **REPQ))
    assert repq < 0.5 * plain


def test_without_clipping_it_is_repq():
    net, x, c = both("encoder")
    for f in feeds(net):
        values = observed(net, x, [f.source])[f.source].double()
        r = channel_range(values, FORMATS["uint4"], True)
        ends = [torch.stack([values.quantile(q, 0) for q in (1 - p, p)]) for p in (0.999, 0.9999, 0.99999)]
        scales = torch.stack([(hi.clip(min=0) - lo.clip(max=0)) / 15 for lo, hi in ends])
        assert ((r.scale - scales).abs().amin(0) < 1e-12).all()
    changed, fresh = reparametrise(net, c, every(net, W4A4), **REPQ)
    first = feeds(net)[0]
    r = channel_range(observed(net, x, ["norm1"])["norm1"], FORMATS["uint4"], True)
    assert fresh.fixed["norm1", "uint4"] == r.folded
    assert torch.equal(changed.steps["norm1"].weight, fold_range(net, first, r).steps["norm1"].weight)


def test_clipping_helps_when_a_channel_has_an_outlier():
    net, x, c = both("encoder")
    x = x.clone()
    x[0, 0] *= 30
    c.x = x
    error = lambda **k: outputs_error(net, x, *reparametrise(net, c, every(net, W4A4), **k))
    assert error() < error(**REPQ)


def test_refusals():
    net, _, c = both("encoder")
    with pytest.raises(UserError, match="^no option for layer 'qkv'; every layer behind a norm needs one$"):
        reparametrise(net, c, {})
    with pytest.raises(UserError, match=r"^clips are percentiles in \(0.5, 1\] and limits factors of at least 1, not \(0.2,\) and "):
        reparametrise(net, c, every(net, W4A4), clips=(0.2,))
