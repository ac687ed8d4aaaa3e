"""What the memories of a core hold, for $readmemh; the parameters of the core that follow from a model."""
from collections.abc import Iterable

import numpy as np

from ir.lm import Program
from ir.lm.sample import COARSE, FINE, NAT_BITS
from ir.lm.words import GAIN_BITS, SHARE, STATE_BITS
from ir.ops import round_shift

from .layout import ENCODINGS, Machine, Run, stream
from .micro import SHIFT_BITS, Step, gains, words

FILES = {"ProgFile": "program.mem", "GainFile": "gains.mem", "MoreFile": "more.mem", "LowerFile": "lower.mem", "CurvesFile": "curves.mem",
         "SiluFile": "silu.mem", "EmbedFile": "embed.mem", "ExpFile": "exp.mem"}
WEIGHTS = "weights"  # then the engine in two digits, and .mem


def params(p: Program, m: Machine, runs: list[Run], program: list[Step]) -> dict[str, int]:
    """Parameters of qs_lm_core, without files; every width as small as this model allows."""
    w, made = p.words, gains(p)
    mixers, glus = [n.attn for n in p.layers], [n.mlp for n in p.layers]
    depth = max(p.dim, p.hidden)
    scaled = [q.shift for a in mixers for q in (a.f, a.i, a.o)] + [q.shift for g in glus for q in (g.gate, g.down)]
    products = [a.product for a in mixers] + [g.product for g in glus]
    shifts = [v.shift for g in made for v in (g.first, g.unit, *g.more)]
    squares = [a.square for a in mixers]
    brief = round_shift(w.top * p.dim, min(squares))
    multiplied = [q.num for q in p.projections().values()] + [a.eps_mul for a in mixers]
    values = np.concatenate([c.value for c in (p.sigmoid, p.silu)])
    slopes = np.concatenate([c.slope for c in (p.sigmoid, p.silu)])
    last = runs[-1]
    return {
        "Dim": p.dim, "Hidden": p.hidden, "Layers": len(p.layers), "Vocab": p.tokens, "Engines": m.engines, "Trits": m.trits,
        "Encoding": ENCODINGS.index(m.encoding), "Lanes": m.lanes, "ActWidth": w.code_bits,
        "TopK": min(m.top_k, p.tokens), "Far": int(m.far), "Taps": int(m.taps),
        "WeightWords": last.at + last.length(m), "ProgWords": len(program),
        "AccWidth": signed_bits([w.top * depth]), "FactorWidth": w.factor_bits, "ResWidth": w.residual_bits, "VecWidth": w.vector_bits,
        "GainWidth": GAIN_BITS, "EmbWidth": signed_bits(p.embeddings), "ShareBits": SHARE, "NormWidth": ((depth + 1) << 2 * SHARE).bit_length(),
        "SquareWidth": (brief ** 2 * p.dim).bit_length() + 1, "NumWidth": max(*multiplied, *(g.eps_num for g in glus)).bit_length(),
        "MulWidth": max(multiplied).bit_length(), "Gate": w.gate, "GateWidth": w.gate + w.whole + 1, "PieceBits": w.piece_bits,
        "Sigmoid": w.sigmoid, "State": w.state, "StateWidth": STATE_BITS, "ValueWidth": signed_bits(values), "SlopeWidth": signed_bits(slopes),
        "SigmoidShift": p.sigmoid.shift, "SigmoidLo": p.sigmoid.lo, "SigmoidHi": p.sigmoid.hi, "SiluShift": p.silu.shift, "SiluLo": p.silu.lo,
        "SiluHi": p.silu.hi, "ShiftBits": SHIFT_BITS, "ValueLeast": min(scaled), "ValueMost": max(scaled), "SquareMost": max(squares),
        "ProductLeast": min(products), "ProductMost": max(products), "GainLeast": min(shifts), "GainMost": max(shifts),
        "HeadShift": p.head.shift + w.gate - NAT_BITS, "GainRows": made[-1].base + p.dim}


def memories(p: Program, m: Machine, runs: list[Run], program: list[Step], params: dict[str, int]) -> dict[str, str]:
    """File -> text."""
    code, bits = words(program, params)
    made, value, slope = gains(p), params["ValueWidth"], params["SlopeWidth"]
    inputs = [g for g in made if g.more]
    curves = [fields((c.slope, slope), (c.value, value)) for c in (p.sigmoid, p.silu)]
    lower = np.concatenate([n.attn.lower for n in p.layers])
    out = {
        "program.mem": lines(code, bits),
        "gains.mem": lines(fields(*[(np.concatenate([getattr(g, k).mul for g in made]), GAIN_BITS) for k in ("unit", "first")]), 2 * GAIN_BITS),
        "more.mem": lines(fields(*[(np.concatenate([g.more[k].mul for g in inputs]), GAIN_BITS) for k in (1, 0)]), 2 * GAIN_BITS),
        "lower.mem": lines(fields((lower, p.words.sigmoid + 1)), p.words.sigmoid + 1),
        "curves.mem": lines(curves[0] + curves[1], value + slope), "silu.mem": lines(curves[1], value + slope),
        "embed.mem": lines(fields((p.embeddings.ravel(), params["EmbWidth"])), params["EmbWidth"]),
        "exp.mem": lines([int(v) for v in (*COARSE, *FINE)], 17)}
    return out | {f"{WEIGHTS}{e:02}.mem": beats(stream(runs, m, e)) for e in range(m.engines)}


def fields(*parts: tuple[Iterable, int]) -> list[int]:
    """Words of several fields, the first highest: (values, bits) each."""
    out = [0] * len(parts[0][0])
    for values, bits in parts:
        out = [word << bits | int(v) & (1 << bits) - 1 for word, v in zip(out, values)]
    return out


def lines(numbers: Iterable[int], bits: int) -> str:
    digits = -(-bits // 4)
    return "".join(f"{v:0{digits}x}\n" for v in numbers)


def beats(data: np.ndarray) -> str:
    """(beats, bytes), a beat a line, its first byte last."""
    return "".join(row[::-1].tobytes().hex() + "\n" for row in data)


def signed_bits(values) -> int:
    """Bits of a signed word that holds all of them, and their magnitudes."""
    return int(np.abs(np.asarray(values, np.int64)).max()).bit_length() + 1
