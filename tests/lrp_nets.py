"""Small float nets with the parts that relevance has rules for: a ViT, a decoder, a MobileNet, a residual net with a concat.

Biases are on everywhere.  Inputs: images, or tokens for the decoder.
"""
import torch

from quant import Net
from quant_nets import Maker


def heads(m: Maker, name: str, x: str, count: int, perm=(1, 0, 2)) -> str:
    """(T, D) -> (heads, T, D/heads), or in the order of `perm`."""
    tokens, width = m.shape(x)
    return m.transpose(f"{name}.t", m.reshape(f"{name}.r", x, tokens, count, width // count), *perm)


def attend(m: Maker, name: str, x: str, count: int, mask: str | None = None) -> str:
    """Self-attention with a bias on each projection; scores are scaled, masked if asked, then softmax over the last axis."""
    tokens, width = m.shape(x)
    size = width // count
    q, k, v = (m.linear(f"{name}.{p}", x, width) for p in "qkv")
    scores = m.add(f"{name}.scores", "matmul", (heads(m, f"{name}.q", q, count), heads(m, f"{name}.k", k, count, (1, 2, 0))), (count, tokens, tokens))
    scores = m.same(f"{name}.scaled", "scale", scores, weight=torch.full((count,), size ** -0.5), bias=torch.zeros(count), axis=0)
    if mask:
        scores = m.same(f"{name}.masked", "add", scores, mask)
    p = m.same(f"{name}.softmax", "softmax", scores, axis=2)
    y = m.add(f"{name}.mix", "matmul", (p, heads(m, f"{name}.v", v, count)), (count, tokens, size))
    return m.linear(f"{name}.proj", m.reshape(f"{name}.join", m.transpose(f"{name}.back", y, 1, 0, 2), tokens, width), width)


def norm(m: Maker, name: str, x: str, kind: str = "layernorm") -> str:
    width = m.shape(x)[-1]
    attrs = {"dims": 1, "eps": 1e-5} if kind == "layernorm" else {"eps": 1e-5}
    return m.same(name, kind, x, weight=1 + m.rand(width, scale=0.2), bias=m.rand(width, scale=0.2) if kind == "layernorm" else None, **attrs)


def vit(pooling: str = "cls", blocks: int = 2) -> Net:
    """Patches by a convolution, class token, learned positions, pre-norm blocks with GELU, class token or mean of tokens."""
    m, width = Maker(3, 8, 8, seed=4), 12
    m.conv("patches", "x", width, k=4, stride=4, same=False)
    y = m.transpose("tokens", m.reshape("flat", "patches", width, 4), 1, 0)
    if pooling == "cls":
        m.add("cls", "constant", (), (1, width), m.rand(1, width))
        y = m.add("joined", "concat", ("cls", y), (5, width), axis=0)
    count = m.shape(y)[0]
    m.add("positions", "constant", (), (count, width), m.rand(count, width, scale=0.3))
    y = m.same("embedded", "add", y, "positions")
    for b in range(blocks):
        y = m.same(f"{b}.add1", "add", y, attend(m, f"{b}.attn", norm(m, f"{b}.norm1", y), 3))
        z = m.same(f"{b}.gelu", "function", m.linear(f"{b}.fc1", norm(m, f"{b}.norm2", y), 24), fn="gelu")
        y = m.same(f"{b}.add2", "add", y, m.linear(f"{b}.fc2", z, width))
    y = norm(m, "norm", y)
    if pooling == "cls":
        y = m.add("first", "slice", y, (1, width), start=(0, 0), stop=(1, width), step=(1, 1))
    else:
        y = m.pool("mean", "avgpool", m.transpose("turned", y, 1, 0), count, count, ((0, 0),))
    m.linear("head", m.reshape("vector", y, width), 6)
    return m.net()


def decoder(blocks: int = 2, classes: int = 11, infinite: bool = False) -> Net:
    """Embedding, RMSNorm, causal softmax, MLP gated by SiLU, scores of the next token at each position."""
    m, width, tokens = Maker(5, seed=5), 12, 5
    y = m.add("embed", "embedding", "x", (tokens, width), weight=m.rand(11, width))
    hidden = torch.full((tokens, tokens), -float("inf") if infinite else -1e9).triu(1)
    m.add("mask", "constant", (), (2, tokens, tokens), hidden.expand(2, -1, -1).contiguous())
    for b in range(blocks):
        y = m.same(f"{b}.add1", "add", y, attend(m, f"{b}.attn", norm(m, f"{b}.norm1", y, "rmsnorm"), 2, "mask"))
        n = norm(m, f"{b}.norm2", y, "rmsnorm")
        gate = m.same(f"{b}.silu", "function", m.linear(f"{b}.gate", n, 20), fn="silu")
        y = m.same(f"{b}.add2", "add", y, m.linear(f"{b}.down", m.same(f"{b}.gated", "mul", gate, m.linear(f"{b}.up", n, 20)), width))
    m.linear("head", norm(m, "norm", y, "rmsnorm"), classes)
    return m.net()


def mobile() -> Net:
    """Depthwise and pointwise convolutions with stride, padding and ReLU6, an inverted residual, squeeze and excitation."""
    m = Maker(3, 9, 9, seed=6)
    y = m.same("stem.relu6", "clip", m.conv("stem", "x", 8, stride=2), lo=0.0, hi=6.0)
    e = m.same("up.relu6", "clip", m.conv("up", y, 16, k=1), lo=0.0, hi=6.0)
    d = m.same("dw.relu6", "clip", m.conv("dw", e, 16, groups=16), lo=0.0, hi=6.0)
    s = m.same("se.gate", "function", m.conv("se", m.same("se.relu", "relu", m.conv("se.in", d, 16, k=1)), 16, k=1), fn="hardsigmoid")
    y = m.same("add", "add", y, m.conv("down", m.same("se.mul", "mul", d, s), 8, k=1))
    y = m.same("wide.relu6", "clip", m.conv("wide", y, 12, k=3, groups=4, dilation=2), lo=0.0, hi=6.0)
    m.linear("head", m.reshape("flat", m.pool("mean", "avgpool", y, 5, 5), 12), 5)
    return m.net()


def residual_concat() -> Net:
    """Residual blocks, a branch joined by concat, both pools, padding of a shortcut's channels, an affine with no layer before it."""
    m = Maker(3, 8, 8, seed=7)
    a = m.same("relu0", "relu", m.conv("conv0", "x", 6))
    b = m.same("relu1", "relu", m.same("add1", "add", m.conv("conv1b", m.same("relu1a", "relu", m.conv("conv1a", a, 6)), 6), a))
    cut = m.add("shortcut", "slice", b, (6, 4, 4), start=(0, 0, 0), stop=(6, 8, 8), step=(1, 2, 2))
    wide = m.add("widened", "pad", cut, (8, 4, 4), padding=((1, 1), (0, 0), (0, 0)), value=0.0)
    c = m.same("relu2", "relu", m.same("add2", "add", m.conv("conv2", b, 8, stride=2), wide))
    top = m.pool("max", "maxpool", c, 3, 2, ((1, 1), (1, 1)))
    mean = m.pool("avg", "avgpool", c, 3, 2, ((1, 1), (1, 1)))
    y = m.add("cat", "concat", (top, m.conv("branch", mean, 4, k=1)), (12, 2, 2), axis=0)
    y = m.same("relu3", "relu", m.same("affine", "scale", y, weight=m.rand(12), bias=m.rand(12, scale=0.2), axis=0))
    m.linear("head", m.reshape("flat", y, 48), 5)
    return m.net()


NETS = {"residual_concat": residual_concat, "mobile": mobile, "vit_cls": vit, "vit_mean": lambda: vit("mean"), "decoder": decoder}


def samples(net: Net, count: int = 4, seed: int = 3) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    if any(s.kind == "embedding" for s in net.steps.values()):
        return torch.randint(0, 11, (count, *net.input.shape), generator=rng).float()
    return torch.randn(count, *net.input.shape, generator=rng)
