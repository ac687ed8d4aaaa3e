"""Nets for the tests of what language models and transformers are changed by: captured, in float32 or float64."""
import functools
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from examples import llama
from quant import Net, calibrate, capture
from quant.observers import Calibration

VOCABULARY = 40


def ids(count=12, tokens=16, seed=0): return torch.randint(0, VOCABULARY, (count, tokens), generator=torch.Generator().manual_seed(seed))


def double(net: Net) -> Net:
    """The net with weights in float64, so that it computes in float64."""
    wide = {n: replace(s, weight=None if s.weight is None else s.weight.double(), bias=None if s.bias is None else s.bias.double())
            for n, s in net.steps.items()}
    return replace(net, steps=wide)


@functools.cache
def small_llama() -> tuple[Net, torch.Tensor]:
    x = ids()
    return capture(llama.random(), x), x


class Encoder(nn.Module):
    """Tokens of reals, one block with layer norms whose channels differ much, scores of the mean."""

    def __init__(self, d=16, tokens=6, heads=2, seed=0):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.heads, self.embed = heads, nn.Linear(5, d)
        self.norm1, self.qkv, self.proj = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.norm2, self.up, self.down, self.norm3, self.head = nn.LayerNorm(d), nn.Linear(d, 24), nn.Linear(24, d), nn.LayerNorm(d), nn.Linear(d, 7)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=rng) * (p.shape[-1] ** -0.5 if p.dim() > 1 else 0.3))
            for norm in (self.norm1, self.norm2, self.norm3):
                norm.weight.copy_(torch.rand(d, generator=rng) + 0.3)
                norm.weight[::5] *= 12
                norm.bias[1::4] += 3

    def forward(self, x):
        x = self.embed(x)
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(self.norm3(x))


@functools.cache
def small_encoder() -> tuple[Net, torch.Tensor]:
    x = torch.randn(12, 6, 5, generator=torch.Generator().manual_seed(1))
    return capture(Encoder().eval(), x), x


NETS = {"llama": small_llama, "encoder": small_encoder}


def both(name: str) -> tuple[Net, torch.Tensor, Calibration]:
    net, x = NETS[name]()
    return net, x, calibrate(net, x)


def assert_same(change, name: str) -> Net:
    """change(net, calibration) computes what the net does, to 1e-4 in float32 and 1e-9 in float64; returns the float32 one."""
    net, x, calibration = both(name)
    for n, samples, tolerance in ((net, x, 1e-4), (double(net), x if name == "llama" else x.double(), 1e-9)):
        changed = change(n, calibration if n is net else replace(calibration, x=samples, model=""))
        y, z = n(samples), changed(samples)
        assert z.dtype == y.dtype and float((z - y).abs().max() / y.abs().max()) < tolerance
        assert changed.hash != n.hash
    return change(net, calibration)
