"""Rows that no sample changes, split off: the same function, and integers whose range they no longer stretch."""
from dataclasses import replace

import pytest
import torch
from lm_nets import double
from quant_nets import Maker

from torch import nn

from ir import Plan, UserError, run
from quant import Step, calibrate, capture, quantize
from quant.post.bos import split_constant_rows

T, C = 9, 6


class Text(nn.Module):
    """Keys and values of cross-attention, of an encoded text; the queries are constant."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.to_k, self.to_v, self.out = nn.Linear(C, 4), nn.Linear(C, 4), nn.Linear(4, 3)
        self.q = nn.Parameter(torch.randn(2, 4))

    def forward(self, x):
        k, v = self.to_k(x), self.to_v(x)
        return self.out(torch.tanh(self.q @ k.transpose(1, 2)) @ v)


def texts(count=40, constant=1, outlier=100.0):
    x = torch.randn(count, T, C, generator=torch.Generator().manual_seed(1))
    x[:, :constant] = outlier * torch.linspace(-1, 1, C)
    return x


def pieces(net):
    """Keys and values side by side, of all the rows that their layers compute."""
    steps = {n: s for n, s in net.steps.items() if n in (net.input.name, "input.rest", "to_k", "to_v")}
    steps["both"] = Step("both", "concat", ("to_k", "to_v"), (steps["to_k"].shape[0], 8), {"axis": 1})
    return replace(net, steps=steps, output="both", hash="")


@pytest.mark.parametrize("constant", [1, 2])
def test_the_same_function(constant):
    x = texts(constant=constant)
    net = capture(Text().eval(), x)
    changed = split_constant_rows(net, calibrate(net, x))
    assert changed.steps["to_k"].shape == (T - constant, 4) and changed.hash != net.hash
    assert [s.name for s in changed.steps.values() if s.kind == "slice"] == ["input.rest"]
    y = net(x)
    assert float((changed(x) - y).abs().max() / y.abs().max()) < 1e-4
    wide, x = double(net), x.double()
    changed = split_constant_rows(wide, replace(calibrate(net, x), x=x))
    assert float((changed(x) - wide(x)).abs().max() / wide(x).abs().max()) < 1e-9


def quantized(net, x): return quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, x, "minmax"), bias_correction=False)


def error(net, x):
    """Squared error of the integers' keys and values, without the first row."""
    q = quantized(net, x)
    y = q.decode(torch.as_tensor(run(q.lower(), q.encode(x).long().numpy())))
    assert torch.equal(q(x), y)
    return float((y - net(x)).detach()[:, 1 - T:].square().mean())


def test_keys_and_values_of_the_rest_get_better():
    x = texts()
    net = capture(Text().eval(), x)
    changed = split_constant_rows(net, calibrate(net, x))
    assert error(pieces(changed), x) < 0.02 * error(pieces(net), x)


def test_range_of_a_tensor_is_that_of_what_is_read():
    x = texts()
    net = capture(Text().eval(), x)
    changed = split_constant_rows(net, calibrate(net, x))
    assert 0.9 < quantized(pieces(changed), x).input.encoding.scale * 255 / float(x[:, 1:].max() - x[:, 1:].min()) < 1.1
    kept = split_constant_rows(net, calibrate(net, x), layers=["to_k"])  # to_v still reads the first row
    kept = replace(kept, steps={n: s for n, s in kept.steps.items() if n in ("input", "input.rest", "to_k", "to_v")}, output="to_v", hash="")
    assert quantized(kept, x).input.encoding.scale * 255 > 190


def test_refusals():
    x = texts()
    net = capture(Text().eval(), x)
    c = calibrate(net, x)
    with pytest.raises(UserError, match=r"^layer 'q' is no linear layer over tokens \(there are to_k, to_v, out\)$"):
        split_constant_rows(net, c, ["q"])
    with pytest.raises(UserError, match="^layer 'to_k': of its 2 leading rows 1 are the same in all samples; give fewer, or other layers$"):
        split_constant_rows(net, c, ["to_k"], rows=2)
    with pytest.raises(UserError, match="^no linear layer over tokens reads leading rows that are the same in all samples; there is nothing"):
        split_constant_rows(net, calibrate(net, x + torch.randn(len(x), 1, 1)), ["to_k", "to_v"])
    m = Maker(4)
    m.linear("fc", "x", 3)
    with pytest.raises(UserError, match=r"^layer 'fc' is no linear layer over tokens \(there are none\)$"):
        split_constant_rows(m.net(), calibrate(m.net(), torch.randn(4, 4)), ["fc"])
