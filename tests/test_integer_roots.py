"""Square roots in integers: against float64, at 0, below it, and at the largest."""
import numpy as np
import pytest
import torch
from site_cases import coding, extremes, made, reals
from test_capture import same
from test_lowering import equal_everywhere
from torch import nn

from ir import Plan
from quant import Step, calibrate, quantize


@pytest.mark.parametrize("fmt, scale, zero", [("int16", 1e-3, 0), ("uint8", 0.02, 0), ("uint8", 0.5, 30), ("int4", 1.0, 0), ("uint16", 1e-9, 5)])
def test_roots(fmt, scale, zero):
    inside = coding(fmt, scale, zero)
    codes = np.concatenate([np.random.default_rng(0).integers(inside.fmt.lo, inside.fmt.hi + 1, (40, 8)), extremes(inside.fmt.lo, inside.fmt.hi, 8)])
    x = inside.encoding.decode(codes)
    largest = inside.encoding.decode(inside.fmt.hi)
    for out in (coding("uint8", largest ** 0.5 / 255), coding("int16", largest ** 0.5 / 32767)):
        had = reals(made(Step("root", "function", ("x",), (8,), {"fn": "sqrt"}), inside, out), (8,), codes)
        assert np.abs(had - np.sqrt(x.clip(0))).max() <= (0.51 if out.fmt.hi == 255 else 2) * out.encoding.scale
        inverse = coding(out.fmt.name, scale ** -0.5 / out.fmt.hi)
        had = reals(made(Step("root", "function", ("x",), (8,), {"fn": "rsqrt"}), inside, inverse), (8,), codes)
        assert np.abs(had - x.clip(scale) ** -0.5).max() <= (0.51 if out.fmt.hi == 255 else 5) * inverse.encoding.scale


class OtherAxis(nn.Module):
    """A root-mean-square norm over the tokens, spelled out: no norm that capture knows."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x): return self.head(x * (x.square().mean(1, True) + 0.1).rsqrt()) + x.abs().sqrt()[..., :3]


def test_a_norm_of_our_own_is_close_to_float():
    torch.manual_seed(0)
    x = torch.randn(32, 6, 4)
    net = same(OtherAxis(), x=x)
    q = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, x))
    equal_everywhere(q, x)
    assert (q(x) - net(x)).norm() < 0.02 * net(x).norm()
