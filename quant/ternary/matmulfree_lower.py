"""A trained MatMul-free language model to its integers: gains folded, scales as constants, curves as tables.

What the integers compute stands in `ir/lm/expand.py`.  Real numbers come in here alone, in float64:

    one norm after another has 1 / sqrt(mean(u**2) + eps * mean(x**2) + eps**2) as its factor, u = x * gain of the first.  The
    epsilon between joins the gains (sqrt(gain**2 + eps)); eps**2 lies below what the residual's words can hold.
    The norm on the gate's sums g and the one behind it have 1 / sqrt(mean(u**2) + eps * mean(g**2) + eps**2), u = g * silu(s) * gain:
    the middle term joins the squares as one more number, the root of the sum of g**2 times sqrt(eps).
"""
import math
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch

from ir import Graph, lm
from ir.ops import round_shift
from ir.lm import Curve, Gain, Glu, Layer, Mixer, Program, Projection, Words
from ir.lm.words import GAIN_BITS, ROOT, SHARE, SLOPE
from .bitlinear import EPS, TERNARY_RULE, BitLinear, RMSNorm, ternary_codes
from .matmulfree import GLU, MLGRU, Block, MatMulFreeLM

GAIN_FRAC = 30   # most fraction bits of a gain
ROOM = 1.125     # a maximum of rounded products against the product of the maxima
EPS_BITS = 18    # of the multiplier that makes an epsilon
MAX_SHIFT = 47


def program(model: MatMulFreeLM, precision: Words | str = "q14", vocab=None, about: dict | None = None) -> Program:
    """The integers of a trained model, or of what has its parts: blocks are taken one after another.

    vocab: the text of each token.  UserError: an unknown precision.
    """
    w = lm.words_of(precision)
    embeddings, layers = _real(model.embeddings.weight), []
    table = np.rint(np.ldexp(embeddings, w.residual)).clip(*w.residuals).astype(np.int64)
    real = {"embeddings.weight": embeddings.astype(np.float32), "lower_bounds": _real(model.lower_bounds).astype(np.float32)}
    for n, (block, lower) in enumerate(zip(model.layers, model.bounds())):
        layers.append(_layer(block, lower, w))
        real |= reals(block, f"layers.{n}.")
    last, lm_head = model.norm, model.lm_head
    unit, unit_frac = _unit(last, w)
    head = _projection(lm_head, last, w, w.residual, w.residuals, unit_frac, w.gate)
    real |= reals(last, "norm.") | reals(lm_head, "lm_head.")
    return lm.check(Program(w, table, tuple(layers), unit, head, sigmoid(w), silu(w), tuple(vocab) if vocab else None, real, about or {}))


def lower_lm(model: MatMulFreeLM, tokens: int, precision: Words | str = "q14", head: str = "sums", states: bool = False) -> Graph:
    """The model on `tokens` tokens as a graph of integers: see `ir.lm.graph`.  UserError: as there, and an unknown precision."""
    return lm.graph(program(model, precision), tokens, head, states)


def lower_block(block: Block, lower: torch.Tensor | None, tokens: int, precision: Words | str = "q14") -> Graph:
    """One block: input "residual" (T, dim) with the precision's fraction bits, output the residual after it."""
    w, dim = lm.words_of(precision), len(block.attn_norm.weight)
    none = Gain(np.ones(dim, np.int64), 0)
    head = Projection(none, np.zeros((1, dim), np.int8))
    alone = Program(w, np.zeros((1, dim), np.int64), (_layer(block, lower, w),), none, head, sigmoid(w), silu(w))
    return lm.block_graph(alone, 0, tokens)


def about(precision: Words | str) -> dict:
    """What a report or a file should say of the numbers of such a graph."""
    return {"ternary codes": TERNARY_RULE, "int8 codes": "floor(127 * x / max|x| + 1/2) of each token", "eps": EPS, **asdict(lm.words_of(precision))}


def reals(part: torch.nn.Module, prefix: str) -> dict[str, np.ndarray]:
    """What a part of the real model has beside its ternary codes: gains, mean |W| (`*.mean`); float32, by parameter name."""
    out = {prefix + n: p.detach().float().cpu().numpy() for n, p in part.named_parameters() if p.ndim == 1}
    means = {f"{prefix}{n}".rstrip(".") + ".mean": np.float32(float(ternary_codes(m.weight)[1])).reshape(1)
             for n, m in part.named_modules() if isinstance(m, BitLinear)}
    return out | means


def sigmoid(w: Words) -> Curve: return curve(w, _sigmoid, w.sigmoid, (0, (1 << w.sigmoid) - 1))


def silu(w: Words) -> Curve: return curve(w, lambda v: v * _sigmoid(v), w.gate, w.gates)


def curve(w: Words, fn: Callable, frac: int, limits: tuple[int, int]) -> Curve:
    """fn by straight pieces, each the best line around its middle: its error is 1/16 of the curvature times the square of its length."""
    pieces, fine = 1 << w.whole + w.pieces, w.gate + SLOPE
    middle, half = np.ldexp(np.arange(-pieces, pieces), -w.pieces), math.ldexp(0.5, -w.pieces)
    left, right = fn(middle - half), fn(middle + half)
    value, slope = ((left + right) / 2 + fn(middle)) / 2, (right - left) / (2 * half)
    return Curve(np.rint(np.ldexp(value, fine)).astype(np.int64), np.rint(np.ldexp(slope, SLOPE)).astype(np.int64), fine - frac, *limits)


def _layer(block: Block, lower, w: Words) -> Layer: return Layer(_mixer(block.attn, block.attn_norm, lower, w), _glu(block.mlp, block.mlp_norm, w))


def _mixer(m: MLGRU, before: RMSNorm, lower, w: Words) -> Mixer:
    unit, frac = _unit(before, w)
    dim = len(before.weight)
    i, f, g = (_projection(getattr(m, f"{k}_proj"), before, w, w.residual, w.residuals, frac, w.gate) for k in "ifg")
    product = _product_shift(w, dim)
    gated, limits = w.gate - product, (-w.vector, w.vector)
    gated_unit, gated_frac = _gain(_real(m.g_norm.weight), w, gated, limits)
    o = _projection(m.o_proj, m.g_norm, w, gated, limits, gated_frac, w.residual)
    low = np.zeros(dim, np.int64) if lower is None else np.rint(np.ldexp(_real(lower), w.sigmoid)).astype(np.int64)
    square = max(0, ((w.top * dim) ** 2 * dim).bit_length() - 50 + 1 >> 1)
    mul, shift = multiplier(math.ldexp(EPS ** 0.5, gated_frac + square), EPS_BITS)
    return Mixer(unit, i, f, g, o, low, product, gated_unit, square, mul, shift)


def _glu(m: GLU, before: RMSNorm, w: Words) -> Glu:
    unit, frac = _unit(before, w)
    gate = _projection(m.gate_proj, before, w, w.residual, w.residuals, frac, w.gate)
    hidden = m.down_proj.weight.shape[1]
    product = _product_shift(w, len(before.weight))
    gated, limits = w.gate - product, (-w.vector, w.vector)
    gated_unit, gated_frac = _gain(np.ones(hidden), w, gated, limits)
    down = _projection(m.down_proj, None, w, gated, limits, gated_frac, w.residual)
    eps = round(math.ldexp((EPS * hidden) ** 0.5, gated_frac + gate.shift + w.gate))
    return Glu(unit, gate, down, product, gated_unit, min(eps, (1 << 60) - 1))


def _projection(layer: BitLinear, before: RMSNorm | None, w: Words, frac: int, limits: tuple[int, int], unit_frac: int, out_frac: int) -> Projection:
    """frac, limits: of what enters; unit_frac: of the norm's vector; out_frac: of the value of a sum."""
    own = _real(layer.norm.weight)
    gain, in_frac = _gain(own * (1 if before is None else _real(before.weight)), w, frac, limits)
    t, mean = ternary_codes(layer.weight)
    step = math.ldexp(float(mean) * math.sqrt(len(own)) / w.top, unit_frac - in_frac + SHARE + ROOT)
    most = (float(np.abs(own).max()) * ROOM + ROOM - 1) * math.ldexp(1, in_frac - unit_frac)  # of the two maxima's ratio
    room = min(w.numerator_bits - math.log2(step), w.factor_bits + SHARE + ROOT - math.log2(step * most))
    shift = min(math.floor(room) - out_frac, MAX_SHIFT)
    return Projection(gain, t.to(torch.int8).cpu().numpy(), max(1, round(math.ldexp(step, out_frac + shift))), shift)


def _unit(norm: RMSNorm, w: Words) -> tuple[Gain, int]:
    """Gains of the vector whose norm counts behind a norm, with the epsilon of the next one."""
    return _gain(np.sqrt(_real(norm.weight) ** 2 + EPS), w, w.residual, w.residuals)


def _gain(gains: np.ndarray, w: Words, frac: int, limits: tuple[int, int]) -> tuple[Gain, int]:
    """Real gains of a value with `frac` fraction bits within limits, and the fraction bits of the product."""
    largest = max(float(np.abs(gains).max()), 2.0 ** -GAIN_FRAC)
    bits = min(GAIN_FRAC, GAIN_BITS - 1 - math.floor(math.log2(largest)) - 1)
    mul = np.rint(np.ldexp(gains, bits)).astype(np.int64).clip(-(1 << GAIN_BITS - 1) + 1, (1 << GAIN_BITS - 1) - 1)
    most = max(-limits[0], limits[1]) * max(int(np.abs(mul).max()), 1)
    shift = _fitting(most, w)
    return Gain(mul, shift), frac + bits - shift


def _product_shift(w: Words, inputs: int) -> int: return _fitting(w.top * inputs * -w.gates[0], w)


def _fitting(most: int, w: Words) -> int:
    """How many bits are cut off a magnitude so that a vector's word holds it."""
    shift = max(0, most.bit_length() - w.vector_bits + 1)
    return shift + (round_shift(most, shift) > w.vector)


def multiplier(ratio: float, bits: int) -> tuple[int, int]:
    """ratio > 0 as mul / 2**shift, the largest mul of at most `bits` bits."""
    shift = min(max(0, bits - 1 - math.floor(math.log2(ratio))), 60)
    mul = round(math.ldexp(ratio, shift))
    return (mul, shift) if mul.bit_length() <= bits or shift == 0 else (mul + 1 >> 1, shift - 1)


def _sigmoid(v: np.ndarray) -> np.ndarray: return 1 / (1 + np.exp(-v))


def _real(t: torch.Tensor) -> np.ndarray: return t.detach().double().cpu().numpy()
