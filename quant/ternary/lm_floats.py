"""Float language models to stand a ternary one beside: a transformer of the same widths and a GRU of as many parameters."""
import math

import torch
from torch import nn
from torch.nn import functional as F

from ir import UserError
from .bitlinear import RMSNorm
from .matmulfree import STD

HEAD = 32          # least width of an attention head, where the model's width allows
ROPE_BASE = 10000
GRU_LAYERS = 2     # at this size two wide layers learn more than many narrow ones
GRU_GAIN = 10      # of the initial embeddings over STD: a GRU has no norm in front that would lift them


class Attention(nn.Module):
    """Causal softmax attention with rotary positions (Su et al. 2021, arXiv 2104.09864), no biases."""

    def __init__(self, dim: int):
        super().__init__()
        self.heads = next(h for h in range(max(1, dim // HEAD), 0, -1) if dim % (2 * h) == 0)
        self.qkv_proj, self.o_proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv_proj(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention and SwiGLU, each behind an RMSNorm and added to the residual."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.attn_norm, self.attn = RMSNorm(dim), Attention(dim)
        self.mlp_norm, self.gate_proj, self.down_proj = RMSNorm(dim), nn.Linear(dim, 2 * hidden, bias=False), nn.Linear(hidden, dim, bias=False)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        h = h + self.attn(self.attn_norm(h))
        u, v = self.gate_proj(self.mlp_norm(h)).chunk(2, -1)
        return h + self.down_proj(F.silu(u) * v)


class FloatTransformer(nn.Module):
    """tokens (N, T) -> logits (N, T, vocab): the blocks of Llama (Touvron et al. 2023), embeddings and head not shared.

    UserError: an odd width.
    """

    def __init__(self, vocab: int, dim: int, layers: int, hidden: int):
        super().__init__()
        if dim % 2:
            raise UserError(f"a transformer of width {dim}: rotary positions take an even width")
        self.embeddings = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(TransformerBlock(dim, hidden) for _ in range(layers))
        self.norm, self.lm_head = RMSNorm(dim), nn.Linear(dim, vocab, bias=False)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=STD / math.sqrt(2 * layers) if name.endswith(("o_proj.weight", "down_proj.weight")) else STD)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        h = self.embeddings(tokens)
        for block in self.layers:
            h = block(h)
        return self.lm_head(self.norm(h))


class FloatGRU(nn.Module):
    """tokens (N, T) -> logits (N, T, vocab): torch's GRU of two layers (Cho et al. 2014) between embeddings and a linear head."""

    def __init__(self, vocab: int, dim: int):
        super().__init__()
        self.embeddings, self.gru, self.lm_head = nn.Embedding(vocab, dim), nn.GRU(dim, dim, GRU_LAYERS, batch_first=True), nn.Linear(dim, vocab)
        nn.init.normal_(self.embeddings.weight, std=STD * GRU_GAIN)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor: return self.lm_head(self.gru(self.embeddings(tokens))[0])


def gru_of(parameters: int, vocab: int) -> FloatGRU:
    """The GRU whose width brings it closest to so many parameters."""
    per, fixed = 6 * GRU_LAYERS, 2 * vocab + 6 * GRU_LAYERS  # weights a squared width, and a width
    dim = round((math.sqrt(fixed ** 2 + 4 * per * parameters) - fixed) / (2 * per))
    return FloatGRU(vocab, max(1, dim))


def rotate(x: torch.Tensor) -> torch.Tensor:
    """Each pair of channels (c, c + E/2) of x (..., T, E) turned by its position times ROPE_BASE**(-2c/E)."""
    tokens, width = x.shape[-2:]
    angle = torch.arange(tokens)[:, None] * ROPE_BASE ** (-torch.arange(0, width, 2) / width)
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)
