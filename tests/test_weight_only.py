"""Weights alone as codes: grids of groups, roundings, sizes; the net stays float and says so."""
import torch

from ir import FORMATS
from quant.gptq import gptq, second_moment, spread


def rand(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gptq_takes_scales_and_zero_points_of_groups():
    w = rand(5, 12)
    scale, zero = 0.1 + rand(5, 12, seed=1).abs(), torch.randint(0, 15, (5, 12), generator=torch.Generator().manual_seed(2))
    plain = (w / scale + zero).round().clip(0, 15)
    assert torch.equal(gptq(w, scale, FORMATS["uint4"], spread(torch.eye(12)), zero=zero), plain)
    x = rand(12, 12, seed=3) @ rand(12, 200, seed=4)
    h = second_moment(x)
    loss = lambda q: float(((w - scale * (q - zero)) @ x).square().sum())
    assert loss(gptq(w, scale, FORMATS["uint4"], spread(h), zero=zero)) < loss(plain)
