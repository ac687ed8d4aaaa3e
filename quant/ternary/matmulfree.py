"""The MatMul-free language model (Zhu et al. 2024, arXiv 2406.02528) as torch modules that train and run on any device.

Where paper and published code differ the code is followed, because the published weights were trained with it: the norm is on
the gate, SiLU is on the state, every BitLinear norms once more.  Parameters have the published names (without `model.`).
"""
import math

import torch
from torch import nn
from torch.nn import functional as F

from ir import UserError
from .bitlinear import BitLinear, RMSNorm

HIDDEN_UNIT = 256   # the hidden width of a GLU is a multiple of it
STD = 0.02          # of initial weights
MIXER_GAIN = 2 ** -2.5  # of the token mixer's Xavier-uniform initial weights


class MLGRU(nn.Module):
    """The token mixer, a linear recurrence on each channel: s[t] = f[t] * s[t-1] + (1 - f[t]) * silu(i[t])."""

    def __init__(self, dim: int, rounding: str = "away"):
        super().__init__()
        self.i_proj, self.f_proj, self.g_proj, self.o_proj = (BitLinear(dim, dim, rounding) for _ in range(4))
        self.g_norm = RMSNorm(dim)
        for p in (self.i_proj, self.f_proj, self.g_proj, self.o_proj):
            nn.init.xavier_uniform_(p.weight, MIXER_GAIN)

    def forward(self, x: torch.Tensor, lower: torch.Tensor | None = None, state: torch.Tensor | None = None):
        """x (N, T, D) -> the same shape, and the last state (N, D); `lower` (D,) bounds the forget gate, `state` (N, D) is s[-1]."""
        f = self.forget(x, lower)
        s = scan(f, F.silu(self.i_proj(x)) * (1 - f), state)
        return self.o_proj(self.g_norm(self.g_proj(x)) * F.silu(s)), s[:, -1]

    def forget(self, x: torch.Tensor, lower: torch.Tensor | None = None) -> torch.Tensor:
        """The forget gate, in [lower, 1]."""
        f = self.f_proj(x).sigmoid()
        return f if lower is None else lower + (1 - lower) * f


class GLU(nn.Module):
    """The channel mixer: down(silu(u) * v), where u and v are the halves of one projection."""

    def __init__(self, dim: int, hidden: int, rounding: str = "away"):
        super().__init__()
        self.gate_proj, self.down_proj = BitLinear(dim, 2 * hidden, rounding), BitLinear(hidden, dim, rounding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u, v = self.gate_proj(x).chunk(2, -1)
        return self.down_proj(F.silu(u) * v)


class Block(nn.Module):
    """Both mixers, each behind a norm and added to the residual."""

    def __init__(self, dim: int, hidden: int, rounding: str = "away"):
        super().__init__()
        self.attn_norm, self.attn = RMSNorm(dim), MLGRU(dim, rounding)
        self.mlp_norm, self.mlp = RMSNorm(dim), GLU(dim, hidden, rounding)

    def forward(self, h: torch.Tensor, lower: torch.Tensor | None = None, state: torch.Tensor | None = None):
        y, state = self.attn(self.attn_norm(h), lower, state)
        h = h + y
        return h + self.mlp(self.mlp_norm(h)), state


class MatMulFreeLM(nn.Module):
    """tokens (N, T) -> logits (N, T, vocab).  The head is a BitLinear too; there is no encoding of positions.

    hidden: width inside the GLU; 0 takes 8/3 of dim, rounded up to a multiple of 256.  rounding: of the codes of each token.
    UserError: a size below 1.
    """

    def __init__(self, vocab: int, dim: int, layers: int, hidden: int = 0, rounding: str = "away"):
        super().__init__()
        if min(vocab, dim, layers) < 1 or hidden < 0:
            raise UserError(f"vocabulary {vocab}, width {dim}, {layers} layers, hidden width {hidden}: give sizes of at least 1")
        hidden = hidden or HIDDEN_UNIT * math.ceil(int(dim * 8 / 3) / HIDDEN_UNIT)
        self.embeddings = nn.Embedding(vocab, dim)
        self.lower_bounds = nn.Parameter(torch.zeros(layers, dim))
        self.layers = nn.ModuleList(Block(dim, hidden, rounding) for _ in range(layers))
        self.norm = RMSNorm(dim)
        self.lm_head = BitLinear(dim, vocab, rounding)
        nn.init.normal_(self.embeddings.weight, std=STD)
        for block in self.layers:
            nn.init.normal_(block.mlp.down_proj.weight, std=STD / math.sqrt(2 * layers))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor: return self.advance(tokens)[0]

    def advance(self, tokens: torch.Tensor, states: list | None = None) -> tuple[torch.Tensor, list]:
        """Logits, and the state (N, dim) of each layer after the last token: what is needed to go on, however long the text was."""
        h, after = self.embeddings(tokens), []
        for block, lower, state in zip(self.layers, self.bounds(), states or [None] * len(self.layers)):
            h, state = block(h, lower, state)
            after.append(state)
        return self.lm_head(self.norm(h)), after

    def bounds(self) -> list[torch.Tensor | None]:
        """The forget gate's lower bound (dim,) of each layer: none for the first, then rising with depth below 1."""
        share = self.lower_bounds.softmax(0)
        return [None, *(share.cumsum(0) - share[0])[1:]]


def scan(f: torch.Tensor, c: torch.Tensor, state: torch.Tensor | None = None) -> torch.Tensor:
    """s[:, t] = f[:, t] * s[:, t-1] + c[:, t] for all t of (N, T, D); s[:, -1] is `state` (N, D) or 0."""
    if state is not None:
        c = torch.cat([c[:, :1] + f[:, :1] * state[:, None], c[:, 1:]], 1)
    return Recurrence.apply(f, c)


class Recurrence(torch.autograd.Function):
    """The scan step by step, and backwards in time for its gradients: each step is one product and sum of (N, D)."""

    @staticmethod
    def forward(ctx, f, c):
        s = torch.empty_like(c)
        s[:, 0] = c[:, 0]
        for t in range(1, c.shape[1]):
            torch.addcmul(c[:, t], f[:, t], s[:, t - 1], out=s[:, t])
        ctx.save_for_backward(f, s)
        return s

    @staticmethod
    def backward(ctx, grad):
        f, s = ctx.saved_tensors
        to_c, to_f = grad.clone(), torch.zeros_like(f)
        for t in range(f.shape[1] - 1, 0, -1):
            to_c[:, t - 1].addcmul_(f[:, t], to_c[:, t])
        torch.mul(to_c[:, 1:], s[:, :-1], out=to_f[:, 1:])
        return to_f, to_c
