"""Accumulators of a given width: ir.infer proves it of every node, whatever the weights, biases and zero points."""
import copy
import re

import pytest
import torch

from ir import FORMATS, Conv, Dense, Ints, Plan, UserError
from ir.infer import infer
from quant import calibrate, quantize, tune
from quant.train.accumulators import Limit
from quant_nets import NETS, images
from test_lowering import equal_everywhere


def made(name: str, option: str):
    net = NETS[name]()
    x = images(net, 64)
    return net, quantize(net, Plan.uniform(net.layers, option), calibrate(net, x)), x


def widths(q) -> dict[str, int]:
    return {n.name: n.type.bits for n in q.lower().nodes.values() if isinstance(n.op, (Dense, Conv))}


@pytest.mark.parametrize("name,option,bits,centred", [
    ("residual", "int4/uint4", 9, False), ("residual", "ternary/uint8", 11, False), ("residual", "e2m1/uint4", 11, True),
    ("branches", "int8/uint8", 14, False), ("attention", "int4/uint8", 12, True), ("sequence", "int4/int4", 8, True)])
def test_every_sum_has_the_width(name, option, bits, centred):
    net, q, x = made(name, option)
    free = widths(q)
    tune(q, x, epochs=1, lr=1e-2, mode="lsq+", accumulator_bits=bits, centred=centred)
    got = widths(q)
    assert max(free.values()) > bits >= max(got.values()), (free, got)
    equal_everywhere(q, x[:8])


@pytest.mark.parametrize("norms", ["none", "virtual"])
def test_training_makes_up_for_it(norms):
    net, q, x = made("residual", "int4/uint4")

    def loss(f): return float((f(x).detach() - net(x)).square().mean() / net(x).var())
    untrained = copy.deepcopy(q)
    tune(untrained, x, epochs=1, lr=1e-12, accumulator_bits=9)
    tune(q, x, epochs=6, lr=4e-3, accumulator_bits=9, norms=norms, ema=0.9)
    assert loss(q) < 0.8 * loss(untrained) and max(widths(q).values()) <= 9
    equal_everywhere(q, x)


def test_a_width_for_each_layer():
    _, q, x = made("residual", "int4/uint4")
    free = widths(q)
    tune(q, x, epochs=1, lr=1e-4, mode="ste", accumulator_bits={"conv*": 9, "head.fc": 8})
    got = widths(q)
    assert got["conv1"] <= 9 and got["conv2"] <= 9 and got["head.fc"] <= 8
    assert abs(got["grouped"] - free["grouped"]) <= 1 and max(free["conv2"], free["head.fc"]) > 9


def test_projected_codes_against_all_thresholds():
    """The largest codes that fit: one threshold less would break the limit, and infer agrees on the ends."""
    v = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)) * 4
    bias = torch.tensor([0.0, 50.0, -50.0, 10.0, 0.0, 3.0])
    fmt, acts = FORMATS["int4"], FORMATS["uint4"]
    for zero in (0, 5):
        limit = Limit(10)
        codes = limit.project(v, bias, fmt, acts, zero)
        for row, value, b in zip(codes, v, bias):
            def fits(r):
                c = (b - zero * r.sum()).long()
                return infer(Dense(r.long().numpy()[None], c.numpy()[None]), Ints((40,), 0, 15)).bits <= 10
            assert fits(row)
            steps = torch.linspace(0, float(value.abs().max()), 4000)
            first = next(t for t in steps if fits(fmt.nearest(value.sign() * (value.abs() - t).clip(min=0), torch)))
            best = fmt.nearest(value.sign() * (value.abs() - first).clip(min=0), torch)
            assert (row - best).abs().sum() <= 1  # a tie more or less between the grids of thresholds


def test_what_fits_is_left_alone():
    v = torch.randn(5, 9, generator=torch.Generator().manual_seed(1)) * 3
    b = torch.randn(5, generator=torch.Generator().manual_seed(2)).double() * 40
    w, bias = Limit(14)(v, b, FORMATS["int4"], FORMATS["uint4"], 0)
    assert torch.equal(w, FORMATS["int4"].nearest(v, torch)) and torch.equal(bias, b.round())


@pytest.mark.parametrize("option,bits,says", [
    ("int4/uint8", 9, "layer 'conv1': an accumulator of 9 bits cannot hold one int4 weight times uint8 inputs and a bias; "
                      "give it at least 10 bits or narrower inputs"),
    ("binary/uint4", 12, "layer 'conv1': binary weights have no 0, so they cannot be fitted into an accumulator of 12 bits; choose ternary"),
    ("int4/uint4", {"nothing*": 9}, "accumulator bits for 'nothing*', which fits no layer (there are conv1, conv2, depthwise, grouped, head.fc)"),
    ("int4/uint4", 1, "an accumulator of 1 bits for '*': give 2 to 63")])
def test_widths_that_cannot_be(option, bits, says):
    _, q, x = made("residual", option)
    with pytest.raises(UserError, match=f"^{re.escape(says)}$"):
        tune(q, x, accumulator_bits=bits)


def test_the_least_width_that_is_named_works():
    _, q, x = made("residual", "int4/uint8")
    least = max(2 * (255 - s.coding.zero) if s.coding.zero < 128 else 2 * s.coding.zero for s in q.layers.values()).bit_length() + 1
    tune(q, x, epochs=1, lr=1e-3, accumulator_bits=least)
    assert max(widths(q).values()) <= least
