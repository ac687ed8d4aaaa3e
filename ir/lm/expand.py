"""The graph of a language model: what its integers mean, one row a token, on any number of tokens.

A norm's factor is the same for all of a token, and codes do not change when their token is scaled: no norm is computed before a
code, only its gains are, and the raw sums of the gate and of half of the GLU go on unscaled.  Scales are needed where a curve or the
residual follows: one factor a token, made of two maxima and one root.

Every projection has its vector (`*.in`), int8 codes (`*.codes`), their sums (the name of the projection), the factor of the token
(`*.factor`) and what the sums mean (`*.value`).
"""
import numpy as np

from ..graph import Encoding, Graph
from ..opset import Add, Concat, Constant, Dense, Div, Expand, Gather, Input, Ints, Lut, MaxPool, Mul, Op, Recur, Requant, Slice, Sqrt
from ..errors import UserError
from .program import Curve, Gain, Glu, Mixer, Program, Projection
from .words import ROOT, SHARE, STATES, Words

HEADS = ("sums", "logits")
LOGITS = (-1 << 31, (1 << 31) - 1)


def graph(p: Program, tokens: int, head: str = "sums", states: bool = False) -> Graph:
    """The model on `tokens` tokens: input "tokens" (T,), output (T, V).

    head: "sums" gives the raw sums of the last projection, whose order is that of the logits; "logits" scales them to words.gate
    fraction bits.  states: further inputs "layers.<l>.attn.before" (1, H), the last row of "layers.<l>.attn.state" of the tokens before.
    UserError: an unknown head, fewer than one token.
    """
    if head not in HEADS or tokens < 1:
        raise UserError(f"head {head!r} for {tokens} tokens: give {' or '.join(HEADS)} and at least one token")
    g = Graph()
    g.add("tokens", Input(Ints((tokens,), 0, p.tokens - 1)))
    g.encodings["tokens"] = Encoding(1.0)
    b = Builder(g, tokens, p.words, p.sigmoid, p.silu)
    h = b.op("embeddings", Gather(p.embeddings), "tokens")
    for n, layer in enumerate(p.layers):
        h = mixer(b.under(f"layers.{n}.attn."), layer.attn, h, states)
        h = glu(b.under(f"layers.{n}.mlp."), layer.mlp, h)
    acc, top = b.sums("lm_head", p.head, h)
    if head == "logits":
        acc = b.value("lm_head", p.head, acc, b.factor("lm_head", p.head, top, b.norm("norm", b.gain("norm.u", p.unit, h))), LOGITS)
        g.encodings[acc] = Encoding(2.0 ** -p.words.gate)
    g.result = acc
    return g


def step_graph(p: Program) -> Graph:
    """The graph of one token: inputs "tokens" (1,) and the states, output "lm_head.value" (1, V); its nodes are what taps are compared with."""
    return graph(p, 1, "logits", True)


def block_graph(p: Program, layer: int, tokens: int) -> Graph:
    """One layer alone: input "residual" (T, H), output the residual after it."""
    g = Graph()
    g.add("residual", Input(Ints((tokens, p.dim), *p.words.residuals)))
    b = Builder(g, tokens, p.words, p.sigmoid, p.silu)
    g.result = glu(b.under("mlp."), p.layers[layer].mlp, mixer(b.under("attn."), p.layers[layer].attn, "residual", False))
    g.encodings = {name: Encoding(2.0 ** -p.words.residual) for name in ("residual", g.result)}
    return g


def mixer(b: "Builder", m: Mixer, h: str, states: bool) -> str:
    w = b.words
    norm = b.norm("norm", b.gain("norm.u", m.unit, h))
    (g, _), (f, tf), (i, ti) = (b.sums(f"{k}_proj", getattr(m, k), h) for k in "gfi")
    f = b.value("f_proj", m.f, f, b.factor("f_proj", m.f, tf, norm), w.gates)
    f = _forget(b, m, b.curve("f_proj.sigmoid", b.sigmoid, f))
    i = b.value("i_proj", m.i, i, b.factor("i_proj", m.i, ti, norm), w.gates)
    c = b.op("input", Mul(), b.times("keep", f, -1, 0, 1 << w.sigmoid), b.curve("i_proj.silu", b.silu, i))
    c = b.times("input.fine", c, 1 << w.state - w.gate)
    first = [b.op("before", Input(Ints((1, b.width(c)), *STATES)))] if states else []
    state = b.op("state", Recur(w.sigmoid, *STATES), f, c, *first)
    z = b.curve("state.silu", b.silu, b.times("state.gate", state, 1, w.state - w.gate, limits=w.gates))
    x = b.times("gated", b.op("gated.product", Mul(), g, z), 1, m.product, limits=(-w.vector, w.vector))
    o, top = b.sums("o_proj", m.o, x)
    square = b.times("g_proj.short", g, 1, m.square)
    total = b.op("g_proj.sum", Dense(np.ones((1, b.width(g))), [0]), b.op("g_proj.square", Mul(), square, square))
    total = b.clamp("g_proj.squares", total, 0, b.bound(total))
    eps = b.times("gated.eps", b.op("g_proj.root", Sqrt(), total), m.eps_mul, m.eps_shift, limits=(0, w.vector))
    norm = b.norm("gated.norm", b.gain("gated.norm.u", m.gated_unit, x), eps)
    return _residual(b, "o_proj", m.o, h, o, b.factor("o_proj", m.o, top, norm))


def glu(b: "Builder", m: Glu, h: str) -> str:
    w = b.words
    norm = b.norm("norm", b.gain("norm.u", m.unit, h))
    acc, top = b.sums("gate_proj", m.gate, h)
    factor, hidden = b.factor("gate_proj", m.gate, top, norm), b.width(acc) // 2
    u, v = b.columns("gate_proj.u", acc, 0, hidden), b.columns("gate_proj.v", acc, hidden, 2 * hidden)
    z = b.curve("silu", b.silu, b.value("gate_proj", m.gate, u, factor, w.gates))
    x = b.times("gated", b.op("gated.product", Mul(), z, v), 1, m.product, limits=(-w.vector, w.vector))
    acc, top = b.sums("down_proj", m.down, x)
    eps = b.clamp("gated.eps", b.op("gated.eps.div", Div(), b.constant("gated.eps.one", m.eps_num, 1), factor), 0, w.vector)
    norm = b.norm("gated.norm", b.gain("gated.norm.u", m.gated_unit, x), eps)
    return _residual(b, "down_proj", m.down, h, acc, b.factor("down_proj", m.down, top, norm))


def _forget(b: "Builder", m: Mixer, f: str) -> str:
    one = 1 << b.words.sigmoid
    rest = b.times("forget.rest", f, one - m.lower, b.words.sigmoid)
    total = b.op("forget.sum", Add(), b.constant("forget.lower", m.lower, len(m.lower)), rest)
    return b.clamp("forget", total, 0, one - 1)


def _residual(b: "Builder", name: str, p: Projection, h: str, acc: str, factor: str) -> str:
    y = b.value(name, p, acc, factor, b.words.residuals)
    return b.clamp("residual", b.op("residual.sum", Add(), h, y), *b.words.residuals)


class Builder:
    """Adds nodes to a graph for `tokens` rows; all names begin with `prefix`."""

    def __init__(self, g: Graph, tokens: int, words: Words, sigmoid: Curve, silu: Curve, prefix: str = ""):
        self.graph, self.tokens, self.words, self.sigmoid, self.silu, self.prefix = g, tokens, words, sigmoid, silu, prefix

    def under(self, prefix: str) -> "Builder": return Builder(self.graph, self.tokens, self.words, self.sigmoid, self.silu, self.prefix + prefix)

    def op(self, name: str, op: Op, *args: str) -> str: return self.graph.add(self.prefix + name, op, *args)

    def width(self, node: str) -> int: return self.graph.nodes[node].type.shape[1]

    def bound(self, node: str) -> int:
        """Largest magnitude that a node is proven to have."""
        t = self.graph.nodes[node].type
        return max(-t.lo, t.hi)

    def clamp(self, name: str, x: str, lo: int, hi: int) -> str: return self.op(name, Requant([1], 0, 0, lo, hi), x)

    def times(self, name: str, x: str, mul, shift: int = 0, zero: int = 0, limits: tuple[int, int] | None = None) -> str:
        """round(x * mul / 2**shift) + zero with one factor or one a column, clamped only where `limits` are given."""
        mul = np.atleast_1d(mul)
        reach = (self.bound(x) * int(np.abs(mul).max()) >> shift) + abs(zero) + 1
        return self.op(name, Requant(mul, shift, zero, *(limits or (-reach, reach)), -1), x)

    def tile(self, name: str, x: str, width: int) -> str:
        """(T, 1) or (1, K) repeated to (T, width)."""
        return self.op(name, Expand((self.tokens, width)), x)

    def constant(self, name: str, values, width: int) -> str:
        """A number, or one a column (K,), for each token."""
        return self.tile(name, self.op(f"{name}.value", Constant(np.atleast_2d(values))), width)

    def columns(self, name: str, x: str, start: int, stop: int) -> str:
        return self.op(name, Slice((0, start), (self.tokens, stop), (1, 1)), x)

    def gain(self, name: str, gain: Gain, x: str) -> str:
        return self.times(name, x, gain.mul, gain.shift, limits=(-self.words.vector, self.words.vector))

    def largest(self, name: str, x: str) -> str:
        """max |x| of each token, at least 1: (T, 1)."""
        both = self.op(f"{name}.both", Concat(1), x, self.times(f"{name}.minus", x, -1))
        top = self.op(f"{name}.max", MaxPool((2 * self.width(x),), (1,), ((0, 0),)), both)
        return self.clamp(name, top, 1, max(self.bound(x), 1))

    def share(self, name: str, x: str, top: str, one: int) -> str:
        """x / top in steps of 1 / one, which lies in [-one, one]."""
        wide = self.tile(f"{name}.wide", top, self.width(x))
        return self.clamp(name, self.op(f"{name}.div", Div(), self.times(f"{name}.scaled", x, one), wide), -one, one)

    def sums(self, name: str, p: Projection, x: str) -> tuple[str, str]:
        """The sums of a projection, and the maximum that made its codes."""
        v = self.gain(f"{name}.in", p.gain, x)
        top = self.largest(f"{name}.top", v)
        q = self.share(f"{name}.codes", v, top, self.words.top)
        return self.op(name, Dense(p.codes, np.zeros(len(p.codes))), q), top

    def norm(self, name: str, u: str, eps: str | None = None) -> tuple[str, str]:
        """Largest of u and eps, and the root of the sum of the squares of their shares of it, with ROOT more bits of fraction."""
        x = self.op(f"{name}.all", Concat(1), u, eps) if eps else u
        columns = self.width(x)
        top = self.largest(f"{name}.top", x)
        y = self.share(f"{name}.share", x, top, 1 << SHARE)
        total = self.op(f"{name}.sum", Dense(np.ones((1, columns)), [0]), self.op(f"{name}.squares", Mul(), y, y))
        total = self.clamp(f"{name}.held", total, 1 << 2 * SHARE, columns << 2 * SHARE)  # the largest itself counts 1
        return top, self.op(f"{name}.root", Sqrt(), self.times(f"{name}.fine", total, 1 << 2 * ROOT))

    def factor(self, name: str, p: Projection, top: str, norm: tuple[str, str]) -> str:
        """What one step of a projection's sums is worth for each token, in steps of 2**-shift."""
        den = self.op(f"{name}.den", Mul(), *norm)
        ratio = self.op(f"{name}.ratio", Div(), self.times(f"{name}.num", top, p.num), den)
        return self.clamp(f"{name}.factor", ratio, 1, (1 << self.words.factor_bits) - 1)

    def value(self, name: str, p: Projection, acc: str, factor: str, limits: tuple[int, int]) -> str:
        product = self.op(f"{name}.product", Mul(), acc, self.tile(f"{name}.scale", factor, self.width(acc)))
        return self.times(f"{name}.value", product, 1, p.shift, limits=limits)

    def curve(self, name: str, c: Curve, x: str) -> str:
        """Two tables and one product."""
        below, first = self.words.piece_bits, -len(c.value) // 2
        piece = self.times(f"{name}.piece", x, 1, below)
        offset = self.op(f"{name}.from", Add(), x, self.times(f"{name}.start", piece, -1 << below))
        offset = self.clamp(f"{name}.offset", offset, -1 << below - 1, (1 << below - 1) - 1)
        value, slope = self.op(f"{name}.at", Lut(c.value, first), piece), self.op(f"{name}.slope", Lut(c.slope, first), piece)
        y = self.op(f"{name}.line", Add(), value, self.op(f"{name}.rise", Mul(), slope, offset))
        return self.times(name, y, 1, c.shift, limits=(c.lo, c.hi))
