"""Transformers and diffusion nets captured: equal to torch, measured layer by layer."""
import math

import pytest
import torch
import torch.nn.functional as F
from ir import UserError
from test_capture import Fn, same, shaken
from torch import nn

from quant import Simulation, calibrate, capture, geometry


class Vit(nn.Module):
    """Patches, a class token, positions, one encoder block with a fused projection of query, key and value."""

    def __init__(self, d=8, heads=2):
        super().__init__()
        self.patch, self.heads = nn.Conv2d(3, d, 4, 4), heads
        self.cls, self.pos = nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1, 5, d))
        self.norm1, self.qkv, self.proj = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.norm2, self.up, self.down = nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.head = nn.Linear(d, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(len(x), -1, -1), x), 1) + self.pos
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(x[:, 0])


class Norm(nn.Module):
    """RMSNorm (Zhang and Sennrich 2019) as language models spell it."""

    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x): return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


class Decoder(nn.Module):
    """Tokens, rotary positions, causal attention with two queries a key, a gated feed-forward, scores of the next token."""

    def __init__(self, tokens=6, d=8, heads=4, kv=2):
        super().__init__()
        self.embed, self.heads, self.kv = nn.Embedding(11, d), heads, kv
        self.norm1, self.q, self.k, self.v = Norm(d), nn.Linear(d, d), nn.Linear(d, d * kv // heads), nn.Linear(d, d * kv // heads)
        self.out, self.norm2 = nn.Linear(d, d), nn.RMSNorm(d)
        self.gate, self.up, self.down, self.head = (nn.Linear(*s, bias=False) for s in ((d, 12), (d, 12), (12, d), (d, 11)))
        angle = torch.arange(tokens)[:, None] * torch.ones(d // heads)
        self.register_buffer("cos", angle.cos()), self.register_buffer("sin", angle.sin())

    def turned(self, x):
        a, b = x.chunk(2, -1)
        return x * self.cos + torch.cat((-b, a), -1) * self.sin

    def forward(self, ids):
        x = self.embed(ids)
        y = self.norm1(x)
        q, k, v = (f(y).unflatten(-1, (n, -1)).transpose(1, 2) for f, n in ((self.q, self.heads), (self.k, self.kv), (self.v, self.kv)))
        y = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=True, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return self.head(x + self.down(F.silu(self.gate(y)) * self.up(y)))


class Denoiser(nn.Module):
    """A U-Net of one level on a packed image and time: layer norm over (C, H, W), transposed convolution, a skip that is joined."""

    def __init__(self):
        super().__init__()
        self.time, self.stem, self.ln = nn.Linear(4, 4), nn.Conv2d(1, 4, 3, 1, 1), nn.LayerNorm((4, 8, 8))
        self.down, self.gn, self.mid = nn.Conv2d(4, 6, 4, 2, 1), nn.GroupNorm(2, 6), nn.Conv2d(6, 6, 3, 1, 1)
        self.up, self.out = nn.ConvTranspose2d(6, 4, 4, 2, 1), nn.Conv2d(8, 1, 3, 1, 1)

    def forward(self, packed):
        x, t = packed[:, :64].reshape(-1, 1, 8, 8), packed[:, 64:]
        fine = F.silu(self.ln(self.stem(x) + self.time(t)[:, :, None, None]))
        y = F.silu(self.mid(F.silu(self.gn(self.down(fine)))))
        return self.out(torch.cat((fine, self.up(y)), 1))


def kinds(net): return [s.kind for s in net.steps.values()][1:]


def data(name):
    rng = torch.Generator().manual_seed(3)
    return torch.randint(0, 11, (8, 6), generator=rng) if name == "decoder" else torch.randn(8, *SHAPES[name], generator=rng)


NETS = {"vit": Vit, "decoder": Decoder, "denoiser": Denoiser}
SHAPES = {"vit": (3, 8, 8), "decoder": (6,), "denoiser": (68,)}
LAYERS = {"vit": "patch qkv proj up down head", "decoder": "q k v out gate up down head", "denoiser": "time stem down mid up out"}


@pytest.fixture(scope="module", params=NETS)
def case(request):
    """(name, the net, its calibration); the net was found equal to torch."""
    x = data(request.param)
    net = same(NETS[request.param](), x=x)
    return request.param, net, calibrate(net, x)


def test_layers_have_the_names_of_their_modules(case):
    name, net, _ = case
    assert sorted(net.layers) == sorted(LAYERS[name].split())


def test_every_layer_has_a_geometry(case):
    name, net, _ = case
    for n, g in geometry(net).items():
        assert g.macs == net.steps[n].macs > 0
    if name == "vit":
        assert geometry(net)["qkv"].in_space == (5,) and geometry(net)["head"].in_space == ()


def test_fewer_bits_do_more_damage_in_every_layer(case):
    _, net, calibration = case
    s = Simulation(net, calibration, calibration.x)
    y = s.reference()
    for layer in net.layers:
        errors = [float(((s.outputs({layer: o}) - y) ** 2).mean()) for o in ("int8/uint8", "int3/uint8")]
        assert 0 < errors[0] < errors[1], layer


MASK = torch.full((5, 5), -math.inf).triu(1)
FUNCTIONS = {  # each a line of a forward on (5, 4) or the given shape
    "softmax": (lambda x: x.softmax(-1) + 1, None, "softmax scale"),
    "softmax of channels": (lambda x: F.softmax(x, 1), None, "softmax"),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x), None, "transpose matmul scale softmax matmul"),
    "attention scaled": (lambda x: F.scaled_dot_product_attention(x, x, x, scale=1.0), None, "transpose matmul softmax matmul"),
    "attention causal": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), None,
                         "transpose matmul scale constant add softmax matmul"),
    "attention masked": (lambda x: F.scaled_dot_product_attention(x, x, x, MASK == 0), None,
                         "transpose matmul scale constant add softmax matmul"),
    "attention biased": (lambda x: F.scaled_dot_product_attention(x, x, x, torch.arange(25.).view(5, 5)), (2, 5, 4),
                         "transpose matmul scale constant add softmax matmul"),
    "mask by hand": (lambda x: (x @ x.transpose(1, 2) + MASK).softmax(-1) @ x, None, "transpose matmul constant add softmax matmul"),
    "masked fill": (lambda x: (x @ x.mT).masked_fill(MASK < 0, -math.inf).softmax(-1) @ x, None,
                    "transpose matmul constant add softmax matmul"),
    "fill with a number": (lambda x: x.masked_fill(torch.eye(5, 4) > 0, 2.5), None, "constant mul constant add"),
    "where": (lambda x: torch.where(torch.eye(5, 4) > 0, x, torch.tensor(0.0)), None, "constant mul"),
    "table": (lambda x: x * torch.arange(20.).view(5, 4) + torch.arange(20.).view(1, 5, 4), None, "constant mul constant add"),
    "table enlarges": (lambda x: x[:, :1] + torch.arange(20.).view(5, 4), None, "slice constant concat add"),
    "joined": (lambda x: torch.cat((torch.ones(2, 4).expand(len(x), -1, -1), x), 1), None, "constant concat"),
    "repeated": (lambda x: torch.cat((torch.ones(1, 1, 4).repeat(x.shape[0], 2, 1), x), 1), None, "constant concat"),
    "matrix on the left": (lambda x: torch.ones(3, 5) @ x, None, "constant matmul"),
    "matrices": (lambda x: x @ torch.ones(2, 4, 3), (2, 5, 4), "constant matmul"),
    "shared matrix": (lambda x: x @ x[:, :1].mT, (2, 4, 4), "slice transpose concat matmul"),
    "einsum": (lambda x: torch.einsum("nij,nkj->nik", x, x), None, None),
    "layer norm by hand": (lambda x: (d := x - x.mean(-1, True)) / (d.square().mean(-1, True) + 0.1).sqrt() * torch.arange(4.) + 1, None,
                           "layernorm"),
    "rms by hand": (lambda x: x * (x.square().mean(-1, True) + 0.1).rsqrt() * torch.arange(1., 5), (2, 5, 4), "rmsnorm"),
    "other axis": (lambda x: x * (x.square().mean(1, True) + 0.1).rsqrt(), (2, 4), "mul transpose avgpool reshape scale function concat mul"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    f, shape, wanted = FUNCTIONS[name]
    net = same(nn.Sequential(Fn(f), nn.Identity()), *(shape or (5, 4)))
    assert wanted is None or sorted(kinds(net)) == sorted(wanted.split())


MODULES = {
    "layer norm": (lambda: nn.LayerNorm((5, 4)), (3, 5, 4), "layernorm"),
    "layer norm bare": (lambda: nn.LayerNorm(4, elementwise_affine=False), (5, 4), "layernorm"),
    "layer norm no bias": (lambda: nn.LayerNorm(4, bias=False), (5, 4), "layernorm"),
    "rms norm": (lambda: nn.RMSNorm((5, 4), eps=0.1), (3, 5, 4), "reshape rmsnorm reshape"),
    "group norm": (lambda: nn.GroupNorm(2, 6), (6, 5, 4), "reshape layernorm reshape scale"),
    "group norm tokens": (lambda: nn.GroupNorm(3, 6, affine=False), (6, 5), "reshape layernorm reshape"),
    "instance norm": (lambda: nn.InstanceNorm2d(3, affine=True), (3, 5, 4), "reshape layernorm reshape scale"),
    "conv transpose": (lambda: nn.ConvTranspose2d(4, 6, 3, (2, 3), 1, (1, 0)), (4, 5, 3), "reshape pad reshape slice conv"),
    "conv transpose groups": (lambda: nn.ConvTranspose2d(4, 6, (3, 2), 2, groups=2, bias=False), (4, 5, 3), "reshape pad reshape conv"),
    "conv transpose 1d": (lambda: nn.ConvTranspose1d(2, 3, 4, 2, 1, dilation=2), (2, 7), "reshape pad reshape conv"),
    "conv transpose crop": (lambda: nn.ConvTranspose1d(2, 3, 2, 3, 2), (2, 7), "reshape pad reshape slice conv"),
    "conv transpose plain": (lambda: nn.ConvTranspose2d(2, 3, 3, padding=1), (2, 4, 4), "conv"),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8), None),
    "encoder stack": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False),
                      (5, 8), None),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    make, shape, wanted = MODULES[name]
    net = same(make(), *shape)
    assert wanted is None or kinds(net) == wanted.split()


class Mha(nn.Module):
    def __init__(self, weights, **options):
        super().__init__()
        self.attn, self.weights = nn.MultiheadAttention(8, 2, batch_first=True, **options), weights
        self.other = nn.Linear(8, options.get("kdim", 8))

    def forward(self, x):
        y = self.other(x)
        mask = MASK.to(x.dtype) if self.weights else None
        own = self.attn(x, x, x, need_weights=False)[0] if self.attn.kdim == 8 else x
        return own + self.attn(x, y, y, need_weights=self.weights, attn_mask=mask)[0]


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 6, "vdim": 6}])
def test_attention_modules(weights, options):
    model = Mha(weights, **options)
    net = same(model, 5, 8)
    assert {"attn.out_proj", "other"} < net.layers.keys() and all(n.startswith(("attn.", "other")) for n in net.layers)
    assert "forward" not in vars(model.attn) and torch.backends.mha.get_fastpath_enabled()


REFUSALS = {
    "padding": (lambda x: nn.MultiheadAttention(4, 2)(x, x, x)[0], r"mixes the batch with another axis"),
    "all hidden": (lambda x: F.scaled_dot_product_attention(x, x, x, torch.zeros(5, 5) > 0), r"a mask that hides every key from a query"),
    "log": (lambda x: x.log_softmax(1) + x, r"log_softmax inside the network is not supported"),
    "batch norm": (lambda x: F.layer_norm(x, (1, 5, 4)), r"over \(1, 5, 4\), the batch among them; samples must stay apart$"),
    "batch table": (lambda x: x + torch.arange(2.)[:, None, None], r"a constant of shape \(2, 1, 1\) with a value of shape \('N', 5, 4\)$"),
    "quotient": (lambda x: x / (x + 3), r"division by an activation, or with rounding; only by a constant or a square root$"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name):
    f, message = REFUSALS[name]
    with pytest.raises(UserError, match=message) as e:
        capture(Fn(f), torch.randn(2, 5, 4))
    assert "\n" not in str(e.value)


def test_constants_are_named_after_their_parameters():
    assert {"pos", "cls"} <= capture(shaken(Vit()), torch.randn(1, 3, 8, 8)).steps.keys()
