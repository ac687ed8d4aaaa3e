"""A language model of which only the sizes are known, as far as its schedule and its memories ask: no weights, every shift 0."""
from functools import cache
from types import SimpleNamespace

import numpy as np

from ir.lm import Gain, Program, Projection, Words
from ir.lm.words import GAIN_BITS, SHARE, STATE_BITS

from . import cycles, micro
from .layout import Machine
from .shape import Shape

SLOPE_BITS = 2   # of a slope beyond the fraction bits of a gate
PROG_BITS = 144  # of a word of the microprogram


def program(s: Shape) -> Program:
    """What hw/lm/micro.py reads of a program."""
    def gain(size: int) -> Gain: return Gain(np.broadcast_to(np.int64(0), size), 0)
    def projection(size: int) -> Projection: return Projection(gain(size), np.zeros((0, 0), np.int8))
    h, g = projection(s.dim), gain(s.dim)
    attn = SimpleNamespace(unit=g, i=h, f=h, g=h, o=h, product=0, gated_unit=g, square=0, eps_mul=0, eps_shift=0)
    mlp = SimpleNamespace(unit=g, gate=h, down=projection(s.hidden), product=0, gated_unit=gain(s.hidden), eps_num=0)
    return SimpleNamespace(dim=s.dim, hidden=s.hidden, tokens=s.tokens, layers=[SimpleNamespace(attn=attn, mlp=mlp)] * s.layers, head=h, unit=g)


def params(s: Shape, m: Machine, w: Words) -> dict[str, int]:
    """The parameters of qs_lm_core that follow from sizes and widths alone; what follows from a model's constants, at its usual."""
    longest, layer = max(s.dim, s.hidden), 3 * s.dim + s.hidden
    return {
        "Dim": s.dim, "Hidden": s.hidden, "Layers": s.layers, "Vocab": s.tokens, "Engines": m.engines, "Trits": m.trits, "Lanes": m.lanes,
        "ActWidth": w.code_bits, "TopK": min(m.top_k, s.tokens), "WeightWords": s.beats(m.engines, m.trits), "ShareBits": SHARE,
        "ProgWords": _steps(s, m.top_k), "AccWidth": (w.top * longest).bit_length() + 1, "ResWidth": w.residual_bits,
        "VecWidth": w.vector_bits, "GainWidth": GAIN_BITS, "EmbWidth": s.embedding_bits, "NormWidth": ((longest + 1) << 2 * SHARE).bit_length(),
        "SquareWidth": ((w.top * s.dim) ** 2 * s.dim).bit_length() + 1, "GateWidth": w.gate + w.whole + 1, "PieceBits": w.piece_bits,
        "Sigmoid": w.sigmoid, "StateWidth": STATE_BITS, "ValueWidth": w.gate + w.sigmoid + 1, "SlopeWidth": w.gate + SLOPE_BITS,
        "GainRows": s.layers * layer + s.dim}


@cache
def _steps(s: Shape, top_k: int) -> int: return len(micro.steps(program(s), Machine(top_k=top_k)))


def token(s: Shape, m: Machine, w: Words, share: float = 1.0) -> float:
    """Cycles of a token, greedy; share: of the cycles in which an outer memory has a beat for every engine."""
    here = cycles.cycles(micro.steps(program(s), m), params(s, m, w)).token
    return here + (1 / share - 1) * s.beats(m.engines, m.trits)
