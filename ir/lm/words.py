"""How many bits each kind of integer of a MatMul-free language model has."""
from dataclasses import dataclass

from ..errors import UserError

SLOPE = 12       # fraction bits of the slope of a curve's piece
SHARE = 12       # of a value relative to the largest of its vector
ROOT = 4         # of the root of a sum of squared shares, beyond SHARE
STATE_BITS = 32  # of a word of the state; it saturates
GAIN_BITS = 18   # of a gain
PRODUCT = 62     # bits of any numerator, its sign among them


@dataclass(frozen=True)
class Words:
    """Fraction bits and widths; a width counts the sign.

    residual, residual_bits: of the residual, which saturates.  vector_bits: of a vector whose maximum is taken.  gate: fraction
    bits of what enters curves, which has `whole` bits before the point.  sigmoid: of the forget gate.  state: of the state.
    code_bits: of a token's codes, symmetric.  factor_bits: of the scale of a token's sums, unsigned.
    UserError: widths that do not fit together.
    """
    residual: int = 14
    residual_bits: int = 24
    vector_bits: int = 26
    gate: int = 12
    whole: int = 4
    sigmoid: int = 16
    state: int = 24
    code_bits: int = 8
    factor_bits: int = 17

    def __post_init__(self):
        ranges = {"residual": (4, 24), "residual_bits": (self.residual + 4, 32), "vector_bits": (20, 30), "gate": (6, 20), "whole": (2, 6),
                  "sigmoid": (8, 20), "state": (self.gate, STATE_BITS - 4), "code_bits": (4, 16), "factor_bits": (12, 22)}
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise UserError(f"{getattr(self, name)} bits of {name}: take {least} to {most}")

    @property
    def top(self) -> int:
        """The largest code."""
        return (1 << self.code_bits - 1) - 1

    @property
    def vector(self) -> int:
        """The largest magnitude in a vector."""
        return (1 << self.vector_bits - 1) - 1

    @property
    def pieces(self) -> int:
        """log2 of the straight pieces of a curve on each unit: their error stays near half a step of a gate."""
        return self.gate // 2 - 2

    @property
    def piece_bits(self) -> int:
        """Bits of a gate below the number of its piece."""
        return self.gate - self.pieces

    @property
    def gates(self) -> tuple[int, int]:
        """Bounds of a gate's input, so that a curve has 2**(whole + 1 + pieces) pieces."""
        return -1 << self.gate + self.whole, (1 << self.gate + self.whole) - (1 << self.piece_bits - 1) - 1

    @property
    def residuals(self) -> tuple[int, int]: return -1 << self.residual_bits - 1, (1 << self.residual_bits - 1) - 1

    @property
    def numerator_bits(self) -> int:
        """Bits of the constant by which the maximum of a vector is multiplied."""
        return PRODUCT - self.vector_bits


STATES = (-1 << STATE_BITS - 1, (1 << STATE_BITS - 1) - 1)
WORDS = {"q14": Words(), "q16": Words(16, 26, 28, 14), "q18": Words(18, 28, 30, 16, sigmoid=18, factor_bits=16)}


def words_of(name: Words | str) -> Words:
    """Widths by name.  UserError: an unknown name."""
    if isinstance(name, Words):
        return name
    if name not in WORDS:
        raise UserError(f"unknown precision {name!r} (known: {', '.join(WORDS)})")
    return WORDS[name]
