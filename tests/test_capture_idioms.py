"""The ways in which well-known code bases spell attention, positions and time: each is captured, equal to torch."""
import math

import pytest
import torch
import torch.nn.functional as F
from ir import UserError
from test_capture import Fn, same
from torch import nn

from quant import Simulation, calibrate, capture


class TokenModel(nn.Module):
    """As nanoGPT: positions by an embedding of a range, a split projection, a masked fill from a buffer, a tied head."""

    def __init__(self, tokens=6, d=8, heads=2):
        super().__init__()
        self.tok, self.pos, self.heads = nn.Embedding(11, d), nn.Embedding(tokens, d), heads
        self.attn, self.proj, self.norm, self.head = nn.Linear(d, 3 * d), nn.Linear(d, d), nn.LayerNorm(d), nn.Linear(d, 11, bias=False)
        self.register_buffer("seen", torch.tril(torch.ones(tokens, tokens)).view(1, 1, tokens, tokens))
        self.head.weight = self.tok.weight

    def forward(self, ids):
        b, t = ids.size()
        x = self.tok(ids) + self.pos(torch.arange(t))
        q, k, v = (p.view(b, t, self.heads, -1).transpose(1, 2) for p in self.attn(self.norm(x)).split(x.size(2), dim=2))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.seen[:, :, :t, :t] == 0, float("-inf"))
        return self.head(x + self.proj((F.softmax(scores, dim=-1) @ v).transpose(1, 2).contiguous().view(b, t, -1)))


class FusedHeads(nn.Module):
    """As timm: query, key and value in front of the batch for a while; one of them also picked by its index."""

    def __init__(self, d=8):
        super().__init__()
        self.qkv, self.proj, self.gamma = nn.Linear(d, 3 * d), nn.Linear(d, d), nn.Parameter(torch.ones(d))

    def forward(self, x):
        n, tokens, d = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        y = (q * 0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v + qkv[-1]
        return x + self.gamma * self.proj(y.transpose(1, 2).reshape(n, tokens, d))


class ImageModel(nn.Module):
    """As torchvision: a class token for each sample, nn.MultiheadAttention without its weights."""

    def __init__(self, d=8):
        super().__init__()
        self.patches, self.token, self.pos = nn.Conv2d(3, d, 4, 4), nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1, 5, d))
        self.attention, self.norm, self.head = nn.MultiheadAttention(d, 2, batch_first=True), nn.LayerNorm(d), nn.Linear(d, 3)

    def forward(self, x):
        n = x.shape[0]
        x = self.patches(x).reshape(n, 8, 4).permute(0, 2, 1)
        x = torch.cat([self.token.expand(n, -1, -1), x], dim=1) + self.pos
        y = self.norm(x)
        return self.head((x + self.attention(y, y, y, need_weights=False)[0])[:, 0])


class TokensFirst(nn.Module):
    """As CLIP: tokens in front of the batch through all blocks, and back at the end."""

    def __init__(self, d=8):
        super().__init__()
        self.attn, self.norm, self.pos = nn.MultiheadAttention(d, 2), nn.LayerNorm(d), nn.Parameter(torch.zeros(5, 1, d))
        self.block = nn.TransformerEncoderLayer(d, 2, 12, norm_first=True, activation="gelu")
        self.fc = nn.Linear(d, d)

    def forward(self, x):
        x = x.permute(1, 0, 2) + self.pos
        y = self.norm(x)
        x = self.block(x + self.attn(y, y, y, need_weights=False)[0])
        y = self.fc(x)
        return (y * torch.sigmoid(1.702 * y)).permute(1, 0, 2)[:, 0]


class Modulated(nn.Module):
    """As DiT: a time turned to waves inside the net, which scale and shift a norm without weights."""

    def __init__(self):
        super().__init__()
        self.norm, self.ada, self.mlp, self.out = nn.LayerNorm(8, elementwise_affine=False), nn.Linear(4, 16), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, packed):
        x, t = packed[:, :40].view(-1, 5, 8), packed[:, 40:]
        wave = t * torch.exp(-math.log(100) * torch.arange(2) / 2)[None]
        shift, scale = self.ada(F.silu(torch.cat((wave.cos(), wave.sin()), -1))).chunk(2, 1)
        y = self.norm(x) * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)
        return self.out(x + F.gelu(self.mlp(y), approximate="tanh"))


class PixelAttention(nn.Module):
    """As diffusion U-Nets: group norm, a 1x1 convolution over pixels, both products by einsum."""

    def __init__(self, c=4):
        super().__init__()
        self.norm, self.qkv, self.proj = nn.GroupNorm(2, c), nn.Conv1d(c, 3 * c, 1), nn.Conv1d(c, c, 1)

    def forward(self, x):
        y = x.reshape(*x.shape[:2], -1)
        q, k, v = self.qkv(self.norm(y)).chunk(3, 1)
        weights = torch.einsum("bct,bcs->bts", q * 4 ** -0.25, k * 4 ** -0.25).softmax(-1)
        return (y + self.proj(torch.einsum("bts,bcs->bct", weights, v))).reshape(x.shape)


MODELS = {"tokens": (TokenModel, (6,), "attn proj head"), "fused": (FusedHeads, (5, 8), "qkv proj"),
          "image": (ImageModel, (3, 8, 8), "patches attention.in_proj attention.out_proj head"), "modulated": (Modulated, (41,), "ada mlp out"),
          "first": (TokensFirst, (5, 8), "attn.in_proj attn.out_proj block.self_attn.in_proj block.self_attn.out_proj block.linear1 "
                    "block.linear2 fc"),
          "pixels": (PixelAttention, (4, 3, 3), "qkv proj")}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    make, shape, layers = MODELS[name]
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(0, 11, (6, *shape), generator=rng) if name == "tokens" else torch.randn(6, *shape, generator=rng)
    net = same(make(), x=x)
    assert list(net.layers) == layers.split()
    s = Simulation(net, calibrate(net, x))
    assert all(abs(s.outputs({n: "int2/uint8"}) - s.reference()).max() > 0 for n in net.layers)


def test_a_buffer_may_hide_with_infinity_but_not_hold_nan():
    class Hides(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.full((5, 5), -math.inf).triu(1))

        def forward(self, x): return ((x @ x.mT) + self.mask).softmax(-1) @ x

    model, x = Hides().eval(), torch.randn(3, 5, 4)
    net = capture(model, x)
    assert (net(x) - model(x)).abs().max() < 1e-5 and "mask" in net.steps
    assert math.isfinite(float(calibrate(net, x).stats["mask"].lo))
    model.mask[0, 1] = math.nan
    with pytest.raises(UserError, match=r"^Hides: parameter 'mask' holds NaN; train or load the weights again$"):
        capture(model, x)


def test_the_batch_may_not_be_used_while_it_is_elsewhere():
    with pytest.raises(UserError, match=r"^aten.softmax at .*: works on a value whose batch axis was moved; it must stay the first, or come back$"):
        capture(Fn(lambda x: x.permute(1, 0, 2).softmax(0).permute(1, 0, 2)), torch.randn(2, 5, 4))
    with pytest.raises(UserError, match=r"a constant of shape \(5, 2, 4\) that differs between samples$"):
        capture(Fn(lambda x: x.permute(1, 0, 2) + torch.arange(40.).view(5, 2, 4)), torch.randn(2, 5, 4))
    assert list(same(nn.Sequential(Fn(lambda x: x.permute(1, 2, 0).chunk(2, 1)[1].transpose(0, 2)), nn.ReLU()), 5, 4).steps)[-1] == "1"
