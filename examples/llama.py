"""A Llama language model (Touvron et al. 2023) of fixed sequence length, from a checkpoint in the format of llama2.c, or random.

    LLAMA_CHECKPOINT=stories260K.bin qsearch sense examples.llama:pretrained --data ...
"""
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ir import UserError

TOKENS = 256  # of a sequence, unless asked otherwise


@dataclass
class Shape:
    """What the seven integers at the head of a llama2.c checkpoint say."""
    dim: int = 32
    hidden: int = 48
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    vocabulary: int = 40
    tokens: int = 16

    @property
    def head(self) -> int: return self.dim // self.heads


class Attention(nn.Module):
    """Causal attention with rotary positions; several heads of queries share one of keys and values."""

    def __init__(self, s: Shape):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(s.dim, n * s.head, bias=False) for n in (s.heads, s.kv_heads, s.kv_heads))
        self.out, self.head = nn.Linear(s.dim, s.dim, bias=False), s.head

    def forward(self, x, cos, sin):
        q, k, v = (f(x).unflatten(-1, (-1, self.head)).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(turned(q, cos, sin), turned(k, cos, sin), v, is_causal=True, enable_gqa=True)
        return self.out(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, s: Shape):
        super().__init__()
        self.gate, self.up = nn.Linear(s.dim, s.hidden, bias=False), nn.Linear(s.dim, s.hidden, bias=False)
        self.down = nn.Linear(s.hidden, s.dim, bias=False)

    def forward(self, x): return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.norm1, self.attention, self.norm2, self.mlp = nn.RMSNorm(s.dim, 1e-5), Attention(s), nn.RMSNorm(s.dim, 1e-5), FeedForward(s)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class Llama(nn.Module):
    """Token ids (N, T) -> scores of the next token (N, T, vocabulary)."""

    def __init__(self, s: Shape):
        super().__init__()
        self.shape, self.embed = s, nn.Embedding(s.vocabulary, s.dim)
        self.blocks, self.norm = nn.ModuleList(Block(s) for _ in range(s.layers)), nn.RMSNorm(s.dim, 1e-5)
        self.head = nn.Linear(s.dim, s.vocabulary, bias=False)
        angle = torch.arange(s.tokens)[:, None] * 10000.0 ** (-torch.arange(0, s.head, 2) / s.head)
        self.register_buffer("cos", angle.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sin", angle.sin().repeat(1, 2), persistent=False)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


def turned(x, cos, sin):
    """The pairs (i, i + half) of each head's channels turned by the angles of their positions (RoPE, Su et al. 2021)."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def pretrained(path: str | Path = "", tokens: int = TOKENS) -> Llama:
    """The model of a checkpoint that llama2.c wrote (its legacy format, float32).

    UserError: no path here nor in LLAMA_CHECKPOINT, or a file that is cut off or of another format.
    """
    path = Path(path or os.environ.get("LLAMA_CHECKPOINT", ""))
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; the environment variable LLAMA_CHECKPOINT names a file in the format of llama2.c")
    head, data = np.fromfile(path, "<i4", 7), np.fromfile(path, "<f4", offset=28)
    if len(head) < 7 or min(head[:5]) <= 0 or max(head) > 1 << 24 or head[0] % head[3] or head[3] % head[4]:
        raise UserError(f"{path}: its first integers {head.tolist()} are no header of llama2.c; its newer versions are not read")
    s = Shape(*map(int, head[:5]), abs(int(head[5])), tokens)
    model, left = Llama(s), Reader(data, str(path))
    fill(model, left, int(head[6]), shared=head[5] > 0)
    return model.eval()


@dataclass
class Reader:
    """The floats of a file, taken one tensor after another."""
    data: np.ndarray
    path: str
    at: int = field(default=0)

    def take(self, *shape: int) -> torch.Tensor:
        count = int(np.prod(shape))
        if self.at + count > len(self.data):
            raise UserError(f"{self.path}: ends after {len(self.data)} of at least {self.at + count} numbers; download it again")
        self.at += count
        return torch.from_numpy(self.data[self.at - count:self.at].reshape(shape).copy())


@torch.no_grad()
def fill(model: Llama, r: Reader, longest: int, shared: bool) -> None:
    """Every parameter, in the file's order: tensors of one kind lie together, layer after layer."""
    s, blocks = model.shape, model.blocks
    kv, hidden = s.kv_heads * s.head, s.hidden
    model.embed.weight.copy_(r.take(s.vocabulary, s.dim))
    for path, size in (("norm1", (s.dim,)), ("attention.q", (s.dim, s.dim)), ("attention.k", (kv, s.dim)), ("attention.v", (kv, s.dim)),
                       ("attention.out", (s.dim, s.dim)), ("norm2", (s.dim,)), ("mlp.gate", (hidden, s.dim)), ("mlp.down", (s.dim, hidden)),
                       ("mlp.up", (hidden, s.dim))):
        for b in blocks:
            w = r.take(*size)
            b.get_submodule(path).weight.copy_(halves(w, s.head) if path in ("attention.q", "attention.k") else w)
    model.norm.weight.copy_(r.take(s.dim))
    r.take(2, longest, s.head // 2)  # tables of cosines and sines, which are computed here
    model.head.weight.copy_(model.embed.weight if shared else r.take(s.vocabulary, s.dim))


def halves(w: torch.Tensor, head: int) -> torch.Tensor:
    """Rows of each head from (even, odd) pairs, which llama2.c turns, to first and second halves."""
    return w.unflatten(0, (-1, head // 2, 2)).transpose(1, 2).flatten(0, 2)


def random(seed: int = 0, **shape: int) -> Llama:
    """Untrained, with gains that differ between channels: for tests."""
    rng = torch.Generator().manual_seed(seed)
    model = Llama(Shape(**shape)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.rand(p.shape, generator=rng) + 0.5 if "norm" in name else torch.randn(p.shape, generator=rng) * p.shape[-1] ** -0.5)
    return model
