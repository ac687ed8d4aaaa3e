"""The next token out of the sums of the head, in integers: the largest, or one of the k largest by chance.

Candidates stand in falling order of their sums, equal ones in the order of their numbers.  How far one lies behind the first, in
nats, is d = round((best - sum) * factor / 2**shift) / 2**gate; times 1 / temperature it indexes two tables of exp.  The generator is
xorshift32 (Marsaglia 2003: 13, 17, 5), stepped once for each token that is drawn; with k = 1 nothing is drawn.
"""
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..ops import round_shift

EXP_BITS = 16                 # fraction bits of the tables, and bits of their index
INVERSE_BITS = 8              # fraction bits of 1 / temperature
NAT_BITS = 12                 # fraction bits of a difference in nats
MOST = 64                     # candidates
COARSE = np.rint(2.0 ** EXP_BITS * np.exp(-np.arange(256) / 16)).astype(np.int64)    # exp(-i / 16)
FINE = np.rint(2.0 ** EXP_BITS * np.exp(-np.arange(256) / 4096)).astype(np.int64)    # exp(-j / 4096)


def xorshift32(state: int) -> int:
    """The next state, which is the number drawn."""
    state ^= state << 13 & 0xffffffff
    state ^= state >> 17
    return state ^ (state << 5 & 0xffffffff)


@dataclass(frozen=True)
class Sampler:
    """k candidates, `inverse` = round(2**8 / temperature), a seed.  UserError: out of range."""
    k: int = 1
    inverse: int = 1 << INVERSE_BITS
    seed: int = 1

    def __post_init__(self):
        if not 1 <= self.k <= MOST:
            raise UserError(f"top-k of {self.k}: take 1 (greedy) to {MOST}")
        if not 0 <= self.inverse < 1 << 16:
            raise UserError(f"1 / temperature of {self.inverse} / 256: take 0 to 65535 of 1 / 256")
        if not 0 < self.seed < 1 << 32:
            raise UserError(f"seed {self.seed}: take 1 to {(1 << 32) - 1}; xorshift stays at 0")

    @classmethod
    def at(cls, k: int, temperature: float, seed: int = 1) -> "Sampler":
        """The sampler of a real temperature, rounded to what 16 bits hold.  UserError: not positive, or out of range."""
        if not temperature > 0:
            raise UserError(f"temperature {temperature}: give a positive one, or top-k 1 for the likeliest token")
        return cls(k, round(2 ** INVERSE_BITS / temperature), seed)


GREEDY = Sampler()


def weights(sums, factor: int, shift: int, inverse: int, gate: int = NAT_BITS) -> np.ndarray:
    """How likely each of the candidates is, out of 2**16 for the first; sums (K,) fall.  gate: fraction bits of factor / 2**shift."""
    behind = round_shift((int(sums[0]) - np.asarray(sums, np.int64)) * int(factor), shift + gate - NAT_BITS)
    x = np.minimum(round_shift(np.minimum(behind, 1 << 32) * inverse, INVERSE_BITS), (1 << EXP_BITS) - 1)
    return round_shift(COARSE[x >> 8] * FINE[x & 255], EXP_BITS)


def draw(sums, factor: int, shift: int, sampler: Sampler, state: int, gate: int = NAT_BITS) -> tuple[int, int]:
    """The next token out of sums (V,), and the generator's next state."""
    sums = np.asarray(sums, np.int64)
    if sampler.k == 1:
        return int(sums.argmax()), state
    order = np.argsort(-sums, kind="stable")[:sampler.k]
    mass = np.cumsum(weights(sums[order], factor, shift, sampler.inverse, gate))
    state = xorshift32(state)
    return int(order[np.searchsorted(mass, state * int(mass[-1]) >> 32, side="right")]), state
