"""What the compiled engine asks of a model's widths: everything between the projections is exact in doubles, codes are bytes."""
from ir import UserError
from ir.lm import Program
from ir.lm.words import GAIN_BITS, STATE_BITS

from ..lowbit.geometry import MAX_K

EXACT = 52       # bits of a magnitude, with the half that is added, in a double
MOST_CODES = 8   # bits


def check_widths(p: Program) -> Program:
    """The program itself.  UserError: wider codes or words, more columns than the kernels take."""
    w = p.words
    if w.code_bits > MOST_CODES:
        raise UserError(f"codes of {w.code_bits} bits: the CPU's engine multiplies up to {MOST_CODES}; lower the model with code_bits={MOST_CODES}")
    if max(p.dim, p.hidden) > MAX_K:
        raise UserError(f"projections of {max(p.dim, p.hidden)} columns: the CPU's engine takes up to {MAX_K}")
    sums = w.code_bits - 1 + max(p.dim, p.hidden).bit_length()
    gate = w.gate + w.whole
    widest = {"gains of the residual": w.residual_bits - 1 + GAIN_BITS - 1, "gains of a vector": w.vector_bits - 1 + GAIN_BITS - 1,
              "scaled sums": sums + w.factor_bits, "gated products": sums + gate, "states": w.sigmoid + STATE_BITS,
              "inputs of states": w.sigmoid + 1 + gate + w.state - w.gate, "a residual and what is added": w.residual_bits + 22}
    what = max(widest, key=widest.get)
    if widest[what] > EXACT:
        raise UserError(f"{what} have {widest[what]} bits: the CPU's engine holds {EXACT}; take narrower words")
    return p


def curve_word(p: Program) -> str:
    """The word in which curves are evaluated: int32 if their lines fit, else int64."""
    def reach(c): return int(abs(c.value).max()) + (int(abs(c.slope).max()) << p.words.piece_bits) + (1 << c.shift)
    return "int32" if max(map(reach, (p.sigmoid, p.silu))) < 1 << 31 else "int64"
