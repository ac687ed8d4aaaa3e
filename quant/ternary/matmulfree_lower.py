"""The MatMul-free language model in integers alone, as a graph for a fixed number of tokens.

A norm's factor is the same for all of a token, and int8 codes do not change when their token is scaled: so no norm is computed
before a code, only its gains are, and the raw sums of the gate and of half of the GLU go on unscaled.  Scales are needed where
a curve or the residual follows; they are made of two maxima and one root, epsilons included:

    one norm after another has 1 / sqrt(mean(u**2) + eps * mean(x**2) + eps**2) as its factor, u = x * gain of the first,
    hence the epsilon between joins the gains (sqrt(gain**2 + eps)) and the last one is one more column, eps * sqrt(width).

Every projection keeps int8 codes (`*.codes`), their sums (the name of the projection) and what they mean (`*.value`).
"""
from dataclasses import asdict, dataclass

import numpy as np
import torch

from ir import Add, Dense, Encoding, Gather, Graph, Input, Ints, Mul, Recur, UserError
from .bitlinear import EPS, TERNARY_RULE, BitLinear, RMSNorm, ternary_codes
from .fixed_point import Fixed, Norm, Rows, Scale
from .matmulfree import GLU, MLGRU, Block, MatMulFreeLM

RESIDUAL_BITS = 32  # a word of the residual and of the state
HEADS = ("sums", "logits")


@dataclass(frozen=True)
class Precision:
    """Fraction bits of the residual, the gains, what enters curves and the gates; of words that hold 5 bits before the point."""
    residual: int = 14
    gain: int = 14
    gate: int = 12
    sigmoid: int = 16
    state: int = 24
    whole: int = 5  # |gate input| < 2**whole

    def __post_init__(self):
        for name, least, most in (("state", 8, RESIDUAL_BITS - 3), ("gate", 4, self.state), ("residual", 4, 24), ("gain", 8, 20), ("sigmoid", 8, 20)):
            if not least <= getattr(self, name) <= most:
                raise UserError(f"{getattr(self, name)} fraction bits of {name}: take {least} to {most}")

    @property
    def pieces(self) -> int:
        """log2 of the straight pieces of a curve on each unit: their error stays near half a step of a gate."""
        return self.gate // 2 - 1

    @property
    def gates(self) -> tuple[int, int]:
        """Bounds of a gate's input, in steps."""
        return -1 << self.gate + self.whole, (1 << self.gate + self.whole) - 1


PRECISIONS = {"q14": Precision(), "q16": Precision(16, 16, 14, 16), "q18": Precision(18, 18, 16, 18)}
WORDS = (-1 << RESIDUAL_BITS - 1, (1 << RESIDUAL_BITS - 1) - 1)


def about(precision: Precision) -> dict:
    """What a report or a file should say of the numbers of such a graph."""
    return {"ternary codes": TERNARY_RULE, "int8 codes": "floor(127 * x / max|x| + 1/2) of each token", "eps": EPS, **asdict(precision)}


def lower_lm(model: MatMulFreeLM, tokens: int, precision: Precision | str = "q14", head: str = "sums", states: bool = False) -> Graph:
    """The model on `tokens` tokens: inputs "tokens" (T,), output (T, vocab).

    head: "sums" gives the raw sums of the last projection, whose order is that of the logits; "logits" scales them to fixed
    point.  states: further inputs "layers.<l>.attn.before" (1, dim), the last row of "layers.<l>.attn.state" of the tokens before.
    UserError: an unknown precision or head, fewer than one token.
    """
    p = _precision(precision)
    if head not in HEADS or tokens < 1:
        raise UserError(f"head {head!r} for {tokens} tokens: give {' or '.join(HEADS)} and at least one token")
    g, r = Graph(), None
    table = np.rint(np.ldexp(_real(model.embeddings.weight), p.residual)).clip(*WORDS)
    g.add("tokens", Input(Ints((tokens,), 0, len(table) - 1)))
    g.encodings["tokens"] = Encoding(1.0)
    r = Rows(g, tokens)
    h = Fixed(r.op("embeddings", Gather(table), "tokens"), p.residual)
    for i, (block, lower) in enumerate(zip(model.layers, model.bounds())):
        h = _block(r.under(f"layers.{i}."), block, lower, h, p, states)
    acc, top = _project(r, "lm_head", model.lm_head, h, model.norm, p)
    if head == "logits":
        scale = _scale(r, "lm_head", model.lm_head, top, _after_norm(r, "lm_head.norm", h, model.norm, p))
        acc = r.scaled("logits", acc, scale, p.gate, WORDS).name
        g.encodings[acc] = Encoding(2.0 ** -p.gate)
    g.result = acc
    return g


def lower_block(block: Block, lower: torch.Tensor | None, tokens: int, precision: Precision | str = "q14") -> Graph:
    """One block: input "residual" (T, dim) of 32 bits with precision.residual fraction bits, output the residual after it."""
    p = _precision(precision)
    g, dim = Graph(), len(block.attn_norm.weight)
    g.add("residual", Input(Ints((tokens, dim), *WORDS)))
    g.result = _block(Rows(g, tokens), block, lower, Fixed("residual", p.residual), p, False).name
    g.encodings = {name: Encoding(2.0 ** -p.residual) for name in ("residual", g.result)}
    return g


def _block(r: Rows, block: Block, lower, h: Fixed, p: Precision, states: bool) -> Fixed:
    h = _mixer(r.under("attn."), block.attn, block.attn_norm, lower, h, p, states)
    return _glu(r.under("mlp."), block.mlp, block.mlp_norm, h, p)


def _mixer(r: Rows, m: MLGRU, before: RMSNorm, lower, h: Fixed, p: Precision, states: bool) -> Fixed:
    sums = {k: _project(r, f"{k}_proj", getattr(m, f"{k}_proj"), h, before, p) for k in "ifg"}
    norm = _after_norm(r, "norm", h, before, p)
    scale = {k: _scale(r, f"{k}_proj", getattr(m, f"{k}_proj"), sums[k][1], norm) for k in "ifg"}
    i, f = (r.scaled(f"{k}_proj.value", sums[k][0], scale[k], p.gate, p.gates) for k in "if")
    f = _forget(r, f, lower, p)
    c = r.op("input", Mul(), r.times("keep", f, -1, 0, 1 << p.sigmoid), _silu(r, "i_proj.silu", i, p).name)
    state = _state(r, f, r.times("input.fine", c, 1 << p.state - p.gate), p, states)
    s = r.times("state.gate", state, 1, p.state - p.gate, limits=p.gates)
    s = _silu(r, "state.silu", Fixed(s, p.gate), p)
    w = Fixed(r.op("gated", Mul(), sums["g"][0], s.name), p.gate)  # the unit of the gate's sums cancels, its norm with it
    acc, top = _project(r, "o_proj", m.o_proj, w, m.g_norm, p)
    u = r.gain("gated.norm.u", w, _real(m.g_norm.weight), p.gain)
    x = r.gain("gated.norm.x", Fixed(sums["g"][0], 0), np.full(1, EPS ** 0.5), p.gain + 8, u.frac)
    last = r.inverse("gated.norm.eps", scale["g"], EPS * r.width(u.name) ** 0.5, u.frac)
    norm = r.norm("gated.norm", u, x, last)
    return _residual(r, "o_proj", m.o_proj, h, acc, top, norm, p)


def _forget(r: Rows, f: Fixed, lower, p: Precision) -> str:
    """sigmoid, or lower + (1 - lower) * sigmoid, in steps of 2**-sigmoid and below 1."""
    one = 1 << p.sigmoid
    f = r.curve("f_proj.sigmoid", f, _sigmoid, p.pieces, p.sigmoid, (0, one - 1)).name
    if lower is None:
        return f
    low = np.rint(np.ldexp(_real(lower), p.sigmoid)).astype(np.int64)
    rest = r.times("forget.rest", f, one - low, p.sigmoid)
    total = r.op("forget.sum", Add(), r.constant("forget.lower", low, len(low)), rest)
    return r.clamp("forget", total, 0, one - 1)


def _state(r: Rows, f: str, c: str, p: Precision, states: bool) -> str:
    first = [r.op("before", Input(Ints((1, r.width(c)), *WORDS)))] if states else []
    return r.op("state", Recur(p.sigmoid, *WORDS), f, c, *first)


def _glu(r: Rows, m: GLU, before: RMSNorm, h: Fixed, p: Precision) -> Fixed:
    acc, top = _project(r, "gate_proj", m.gate_proj, h, before, p)
    scale = _scale(r, "gate_proj", m.gate_proj, top, _after_norm(r, "norm", h, before, p))
    hidden = r.width(acc) // 2
    u, v = r.columns("gate_proj.u", acc, 0, hidden), r.columns("gate_proj.v", acc, hidden, 2 * hidden)
    u = _silu(r, "silu", r.scaled("gate_proj.value", u, scale, p.gate, p.gates), p)
    w = Fixed(r.op("gated", Mul(), u.name, v), p.gate)             # the unit of v cancels
    acc, top = _project(r, "down_proj", m.down_proj, w, None, p)
    u = r.gain("gated.norm.u", w, np.ones(1), 0)
    last = r.inverse("gated.norm.eps", scale, (EPS * hidden) ** 0.5, u.frac)
    return _residual(r, "down_proj", m.down_proj, h, acc, top, r.norm("gated.norm", u, last), p)


def _project(r: Rows, name: str, layer: BitLinear, x: Fixed, before: RMSNorm | None, p: Precision) -> tuple[str, Fixed]:
    """The sums of a projection behind a norm, and the maximum that made its codes: x times both norms' gains, neither computed."""
    gains = _real(layer.norm.weight) * (1 if before is None else _real(before.weight))
    q, top = r.codes(f"{name}.codes", r.gain(f"{name}.in", x, gains, p.gain))
    t = ternary_codes(layer.weight)[0].cpu().numpy()
    return r.op(name, Dense(t, np.zeros(len(t))), q), top


def _after_norm(r: Rows, name: str, x: Fixed, before: RMSNorm, p: Precision) -> Norm:
    """The norm of a BitLinear behind a norm, both with their epsilon."""
    u = r.gain(f"{name}.u", x, np.sqrt(_real(before.weight) ** 2 + EPS), p.gain)
    eps = max(1, round(EPS * r.width(u.name) ** 0.5 * 2.0 ** u.frac))
    return r.norm(name, u, Fixed(r.constant(f"{name}.eps", eps, 1), u.frac))


def _scale(r: Rows, name: str, layer: BitLinear, top: Fixed, norm: Norm) -> Scale:
    """What one step of a projection's sums is worth for each token."""
    most = float(np.abs(_real(layer.norm.weight)).max())
    return r.scale(f"{name}.scale", top, norm, most * 1.125 + 0.125, float(ternary_codes(layer.weight)[1]))


def _residual(r: Rows, name: str, layer: BitLinear, h: Fixed, acc: str, top: Fixed, norm: Norm, p: Precision) -> Fixed:
    y = r.scaled(f"{name}.value", acc, _scale(r, name, layer, top, norm), p.residual, WORDS)
    return Fixed(r.clamp("residual", r.op("residual.sum", Add(), h.name, y.name), *WORDS), p.residual)


def _silu(r: Rows, name: str, x: Fixed, p: Precision) -> Fixed:
    return r.curve(name, x, lambda v: v * _sigmoid(v), p.pieces, p.gate, p.gates)


def _sigmoid(v: np.ndarray) -> np.ndarray: return 1 / (1 + np.exp(-v))


def _real(t: torch.Tensor) -> np.ndarray: return t.detach().double().cpu().numpy()


def _precision(p: Precision | str) -> Precision:
    if isinstance(p, Precision):
        return p
    if p not in PRECISIONS:
        raise UserError(f"unknown precision {p!r} (known: {', '.join(PRECISIONS)})")
    return PRECISIONS[p]
