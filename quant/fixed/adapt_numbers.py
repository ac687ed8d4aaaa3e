"""Fixed point <WL,FL>: rounding to the nearest and stochastic rounding, and the initial weights that AdaPT trains from."""
import math
from dataclasses import dataclass

import torch

from ir import UserError

WIDEST = 32    # bits of a word in AdaPT
HELD_BITS = 24  # of a float32: wider words lose their last bits


@dataclass(frozen=True, order=True)
class Word:
    """Fixed point <WL,FL>: WL bits in two's complement, FL of them after the point; real value = integer * 2**-FL."""
    bits: int
    fraction: int

    def __post_init__(self):
        if not (1 <= self.bits <= WIDEST and 0 <= self.fraction <= WIDEST):
            raise UserError(f"fixed point <{self.bits},{self.fraction}>: WL is 1 to {WIDEST} bits, FL is 0 to {WIDEST}")

    @classmethod
    def of(cls, pair) -> "Word": return pair if isinstance(pair, Word) else cls(*pair)

    @property
    def step(self) -> float: return 2.0 ** -self.fraction

    @property
    def lo(self) -> float: return -2.0 ** (self.bits - 1 - self.fraction)

    @property
    def hi(self) -> float:
        """The largest value; with more than HELD_BITS bits, the largest one below it that a float32 holds."""
        low = max(self.bits - 1 - HELD_BITS, 0)
        return math.ldexp((1 << self.bits - 1) - (1 << low), -self.fraction)

    def narrowed(self, bits: int, largest: float) -> "Word":
        """The word of at most so many bits: integer bits that values up to `largest` do not need go first, fraction bits then."""
        if self.bits <= bits:
            return self
        whole = min(self.bits - self.fraction, max(1, 1 + math.ceil(math.log2(max(largest, 2.0 ** -WIDEST) + self.step))))
        return Word(bits, min(self.fraction, bits - min(whole, bits)))

    def __str__(self) -> str: return f"fx{self.bits}.{self.fraction}"


def fixed(x: torch.Tensor, word: Word, rng: torch.Generator | None = None) -> torch.Tensor:
    """x on the grid of `word`: to the nearest point, ties to even; with rng stochastically, up with the probability of the
    fraction that is cut off (Gupta et al. 2015, section 3; QPyTorch's floor(v + u)).  Then clamped.

    Exact: the fraction of a float32 is one, so nothing but the draw decides; NaN stays NaN.
    """
    v = x * 2.0 ** word.fraction
    if rng is None:
        v = v.round()
    else:
        down = v.floor()
        v = down + (torch.rand(v.shape, generator=rng, dtype=v.dtype, device=v.device) < v - down)
    return (v * word.step).clip(word.lo, word.hi)


def tnvs_(tensor: torch.Tensor, gain: float = 0.5, rng: torch.Generator | None = None) -> torch.Tensor:
    """Fill a weight (O, I, *kernel) from a normal distribution of deviation sqrt(gain / fan_in), cut at +-sqrt(3 gain / fan_in).

    Truncated normal variance scaling (AdaPT, official code); returns the tensor.
    """
    std = math.sqrt(gain / tensor[0].numel())
    with torch.no_grad():
        return torch.nn.init.trunc_normal_(tensor, 0.0, std, -math.sqrt(3) * std, math.sqrt(3) * std, generator=rng)


def tnvs_deviation(fan_in: int, gain: float = 0.5) -> float:
    """The standard deviation of what tnvs_ draws: that of the cut distribution, below sqrt(gain / fan_in)."""
    a = math.sqrt(3)
    density, mass = math.exp(-a * a / 2) / math.sqrt(2 * math.pi), math.erf(a / math.sqrt(2))
    return math.sqrt(gain / fan_in * (1 - 2 * a * density / mass))


def initialize(model: torch.nn.Module, gain: float = 0.5, seed: int = 0) -> None:
    """AdaPT's start: weights of Conv1d, Conv2d and Linear by tnvs_, their biases from U(+-1/sqrt(weight.shape[1])).

    As the official code has it: the kernel of a convolution does not count in the bias.
    """
    rng = torch.Generator().manual_seed(seed)
    for m in model.modules():
        if isinstance(m, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Linear)):
            tnvs_(m.weight, gain, rng)
            if m.bias is not None:
                with torch.no_grad():
                    m.bias.uniform_(-(m.weight.shape[1] ** -0.5), m.weight.shape[1] ** -0.5, generator=rng)
