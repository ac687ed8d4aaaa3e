"""A MatMul-free language model as integers: every constant that CPU code and a core need, none that follows from another.

What it computes is the graph that `ir.lm.graph` makes of it; backends may compute it in other ways.  Model: Zhu et al. 2024,
arXiv 2406.02528, as its published code has it.
"""
from dataclasses import dataclass, field, fields

import numpy as np

from ..errors import UserError
from .words import GAIN_BITS, Words


@dataclass(frozen=True, eq=False)
class Gain:
    """v[k] = round(x[k] * mul[k] / 2**shift)."""
    mul: np.ndarray  # (K,) of GAIN_BITS bits
    shift: int


@dataclass(frozen=True, eq=False)
class Projection:
    """Codes of a vector behind its gains, times a ternary matrix; a sum is worth round(sum * factor / 2**shift).

    factor = round(top of the vector * num / (top of the norm's vector * root)); num is 0 where sums are used as they are.
    """
    gain: Gain
    codes: np.ndarray  # (O, I) int8 of -1, 0, 1
    num: int = 0
    shift: int = 0


@dataclass(frozen=True, eq=False)
class Mixer:
    """The gated recurrence.  `unit`: gains of the vector whose norm counts for i, f (and g), `gated_unit`: for o.

    gated = round(sums of g * silu(state) / 2**product); the epsilon of o's norm is the root of the sum of the squares of
    round(sums of g / 2**square), times eps_mul / 2**eps_shift.
    """
    unit: Gain
    i: Projection
    f: Projection
    g: Projection
    o: Projection
    lower: np.ndarray  # (H,) lower bound of the forget gate
    product: int
    gated_unit: Gain
    square: int
    eps_mul: int
    eps_shift: int


@dataclass(frozen=True, eq=False)
class Glu:
    """The gated linear unit: `gate` has the rows of u, then those of v.  The epsilon of down's norm is round(eps_num / factor of gate)."""
    unit: Gain
    gate: Projection
    down: Projection
    product: int
    gated_unit: Gain
    eps_num: int


@dataclass(frozen=True, eq=False)
class Curve:
    """y = clamp(round((value[p] + slope[p] * o) / 2**shift), lo, hi) for x = (p - len(value) / 2) * 2**piece_bits + o, p the nearest."""
    value: np.ndarray  # (P,)
    slope: np.ndarray  # (P,)
    shift: int
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Layer:
    attn: Mixer
    mlp: Glu


@dataclass(frozen=True, eq=False)
class Program:
    """The model.  vocab: the text of each token, or None; reals: the real model behind it, by parameter name; about: where it is from."""
    words: Words
    embeddings: np.ndarray  # (V, H) of words.residual fraction bits
    layers: tuple[Layer, ...]
    unit: Gain
    head: Projection
    sigmoid: Curve
    silu: Curve
    vocab: tuple[str, ...] | None = None
    reals: dict[str, np.ndarray] = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    @property
    def dim(self) -> int: return self.embeddings.shape[1]

    @property
    def hidden(self) -> int: return self.layers[0].mlp.down.codes.shape[1]

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return len(self.embeddings)

    def projections(self) -> dict[str, Projection]:
        """Every ternary matrix by the name of its sums, in the order of the graph."""
        out = {}
        for n, layer in enumerate(self.layers):
            out |= {f"layers.{n}.attn.{k}_proj": getattr(layer.attn, k) for k in "gfio"}
            out |= {f"layers.{n}.mlp.gate_proj": layer.mlp.gate, f"layers.{n}.mlp.down_proj": layer.mlp.down}
        return out | {"lm_head": self.head}


def check(p: Program) -> Program:
    """The program itself.  UserError: shapes that do not belong together, codes that are not ternary, gains or embeddings out of range."""
    h, i, v = p.dim, p.hidden, p.tokens
    shapes = {"g": (h, h), "f": (h, h), "i": (h, h), "o": (h, h), "gate": (2 * i, h), "down": (h, i), "lm_head": (v, h)}
    for name, q in p.projections().items():
        want = shapes[name.split(".")[-1].removesuffix("_proj")]
        if q.codes.shape != want or len(q.gain.mul) != want[1]:
            raise UserError(f"{name}: weights {q.codes.shape} with {len(q.gain.mul)} gains, where the model needs {want}")
        if not ((q.codes >= -1) & (q.codes <= 1)).all():
            raise UserError(f"{name}: weights from {int(q.codes.min())} to {int(q.codes.max())} are not ternary")
    for g in gains(p):
        if len(g.mul) and np.abs(g.mul).max() >= 1 << GAIN_BITS - 1:
            raise UserError(f"a gain of {int(np.abs(g.mul).max())} needs more than {GAIN_BITS} bits")
    lo, hi = p.words.residuals
    if p.embeddings.min() < lo or p.embeddings.max() > hi:
        raise UserError(f"embeddings from {p.embeddings.min()} to {p.embeddings.max()} exceed {p.words.residual_bits} bits")
    if p.vocab is not None and len(p.vocab) != v:
        raise UserError(f"a vocabulary of {len(p.vocab)} texts for {v} tokens; give one text a token")
    return p


def gains(part) -> list[Gain]:
    """Every gain below a program or a part of one."""
    if isinstance(part, Gain):
        return [part]
    if isinstance(part, tuple):
        return [g for v in part for g in gains(v)]
    return [g for f in fields(part) for g in gains(getattr(part, f.name))] if hasattr(part, "__dataclass_fields__") else []
