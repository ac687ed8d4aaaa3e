"""ATen ops of attention: softmax, masks, scaled dot products; and torch's attention module with the batch kept in front."""
import contextlib
import math
from types import MethodType

import torch
from torch import nn
from torch.nn import functional as F

from .aten_layers import product
from .aten_math import affine, lone, repeat, sum_of
from .builder import Builder, key, rule

HIDDEN = -1e3  # what is filled in below this is a mask before a softmax


@rule("softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax")
def softmax(b: Builder, a):
    """The last step of a classifier moves no prediction and is left out: the net ends in the logits before it."""
    what, axis = key(b.node).removeprefix("_").removeprefix("safe_"), b.axis(a.self, a.dim)
    if all(u.op == "output" for u in b.node.users) and axis == len(b.shape(a.self)) - 1:
        b.notes.append(f"the final {what} is left out: outputs are logits, predictions are the same")
        return a.self
    if what == "log_softmax":
        b.refuse("log_softmax inside the network is not supported (at its very end, over the classes, it is left out)")
    return b.emit("softmax", a.self, axis=axis)


@rule("masked_fill")
def masked_fill(b: Builder, a):
    return masked(b, a.self, a.mask, a.value)


@rule("where")
def where(b: Builder, a):
    """Of an activation and a number, by a constant condition."""
    if isinstance(a.self, str) and isinstance(a.other, torch.Tensor) and isinstance(a.condition, torch.Tensor):
        return masked(b, a.self, ~a.condition, a.other)
    if isinstance(a.other, str) and isinstance(a.self, torch.Tensor) and isinstance(a.condition, torch.Tensor):
        return masked(b, a.other, a.condition, a.self)
    b.refuse("only an activation where a constant condition holds, and a constant elsewhere")


def masked(b: Builder, x: str, mask, value) -> str:
    """x, but `value` where the constant mask is true.  Before a softmax, adding it does as well."""
    if isinstance(mask, str) or isinstance(value, str):
        b.refuse("a mask or a value that is computed from the input; only constant ones")
    mask, value = lone(b, x, mask).double(), torch.as_tensor(value, dtype=torch.float64)
    fill = torch.where(mask > 0, value, 0.0)
    if not (value <= HIDDEN).all():
        x = affine(b, x, 1 - mask, 0)
    return affine(b, x, 1, fill)


@rule("scaled_dot_product_attention")
def attention(b: Builder, a):
    """softmax(q k^T * scale + mask) v (Vaswani et al. 2017, equation 1)."""
    if a.dropout_p:
        b.refuse("dropout in attention; call model.eval(), or give dropout_p=0 there")
    q, k, v = (x if isinstance(x, str) else b.constant(x) for x in (a.query, a.key, a.value))
    heads = b.shape(q)[:-2]
    k, v = (spread(b, x, heads) for x in (k, v))
    rank = len(heads) + 2
    turned = b.emit("transpose", k, title=b.title("transpose"), perm=(*range(rank - 2), rank - 1, rank - 2))
    scores = product(b, q, turned)
    scores = affine(b, scores, b.shape(q)[-1] ** -0.5 if a.scale is None else a.scale, 0)
    if a.is_causal:
        scores = masked(b, scores, torch.ones(b.shape(scores)[-2:], dtype=torch.bool).triu(1), -math.inf)
    if isinstance(mask := a.attn_mask, torch.Tensor):
        hidden = ~mask if mask.dtype == torch.bool else mask == -math.inf
        if hidden.all(-1).any():
            b.refuse("a mask that hides every key from a query; let each query see one")
        scores = masked(b, scores, hidden, -math.inf) if mask.dtype == torch.bool else affine(b, scores, 1, mask)
    elif mask is not None:
        scores = sum_of(b, scores, mask, 1)
    return product(b, b.emit("softmax", scores, title=b.title("softmax"), axis=rank - 1), v)


def spread(b: Builder, x: str, heads: tuple[int, ...]) -> str:
    """Keys or values with as many heads as the queries: each repeated for the queries that share it (Ainslie et al. 2023)."""
    shape = b.shape(x)
    if shape[:-2] == heads or len(shape) != len(heads) + 2 or not heads or heads[-1] % shape[-3]:
        return x
    share = heads[-1] // shape[-3]
    x = b.emit("reshape", x, title=b.title("reshape"), shape=(*shape[:-2], 1, *shape[-2:]))
    x = repeat(b, x, (*shape[:-2], share, *shape[-2:]))
    return b.emit("reshape", x, title=b.title("reshape"), shape=(*heads, *shape[-2:]))


@contextlib.contextmanager
def plain_attention(model: nn.Module):
    """Within it, nn.MultiheadAttention computes what it always does, but with the batch in front all the way, and without the
    fused kernels of nn.TransformerEncoderLayer: so that samples can be told apart in the exported graph.
    """
    fast, changed = torch.backends.mha.get_fastpath_enabled(), []
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for m in model.modules():
            if type(m) is nn.MultiheadAttention and m.bias_k is None and not m.add_zero_attn:
                m.forward = MethodType(multihead, m)
                changed.append(m)
        yield
    finally:
        for m in changed:
            del m.forward
        torch.backends.mha.set_fastpath_enabled(fast)


def multihead(self: nn.MultiheadAttention, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
              average_attn_weights=True, is_causal=False):
    """nn.MultiheadAttention.forward for batches of tokens; masks for each head and for paddings are left to torch's own."""
    if query.dim() != 3 or key_padding_mask is not None or attn_mask is not None and attn_mask.dim() == 3:
        return nn.MultiheadAttention.forward(self, query, key, value, key_padding_mask, need_weights, attn_mask,
                                             average_attn_weights, is_causal)
    if not self.batch_first:  # (tokens, N, channels): there and back again
        turned = {id(x): x.transpose(0, 1) for x in (query, key, value)}
        query, key, value = (turned[id(x)] for x in (query, key, value))
    if self._qkv_same_embed_dim and query is key is value:
        parts = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
    else:
        weights = self.in_proj_weight.chunk(3) if self._qkv_same_embed_dim else (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        parts = [F.linear(*xwb) for xwb in zip((query, key, value), weights, biases)]
    q, k, v = (p.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for p in parts)
    if not need_weights:
        y, weights = F.scaled_dot_product_attention(q, k, v, attn_mask if attn_mask is None or attn_mask.dtype != torch.bool else ~attn_mask), None
    else:
        scores = q @ k.transpose(-2, -1) * self.head_dim ** -0.5
        if attn_mask is not None:
            scores = scores.masked_fill(attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        weights = scores.softmax(-1)
        y = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    y = self.out_proj(y.transpose(1, 2).flatten(2))
    return y if self.batch_first else y.transpose(0, 1), weights
