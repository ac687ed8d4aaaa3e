"""What the integers of a tensor mean: format, scale and zero point, with a scale that can be trained."""
import math

import torch
from torch import nn

from ir import Encoding, Ints, NumberFormat, UserError
from .fake import Damped, Exactly, clipping, lsq_factor

TINY = 1e-20  # scales below it (a tensor that is always 0 but for noise) would leave the range of float32


class Coding(nn.Module):
    """real value = scale * (code - zero), code in the format.

    The scale is kept as its logarithm, so that every step of an optimizer leaves it positive (TQT, Jain et al. 2020,
    section 5.2; we differ: the scale is any real number, the requant realises it as a dyadic ratio).

    offset: the zero point while it is trained (LSQ+, Bhalgat et al. 2020, section 3.1), as a share of the format's range; the
    integer next to it is the zero point.  pact: the scale is trained as a clipping level (PACT, Choi et al. 2018).
    """

    def __init__(self, fmt: NumberFormat, encoding: Encoding, features: int = 1):
        super().__init__()
        self.fmt = fmt
        self.damp = lsq_factor(features, fmt)
        self.log_scale = nn.Parameter(torch.tensor(math.log(max(encoding.scale, TINY)), dtype=torch.float64))
        self.register_buffer("zero_point", torch.tensor(encoding.zero))
        self.register_parameter("offset", None)
        self.pact = False

    @property
    def scale(self) -> torch.Tensor:
        return torch.full_like(self.log_scale, self.fmt.scale) if self.fmt.scale else Damped.apply(self.log_scale, self.damp).exp()

    @property
    def zero(self) -> int: return int(self.zero_point if self.offset is None else self.origin)

    @property
    def span(self) -> int:
        """Between the least and the largest code."""
        return self.fmt.hi - self.fmt.lo

    @property
    def origin(self) -> int | torch.Tensor:
        """The zero point; a scalar float64 tensor with a gradient while it is trained."""
        if self.offset is None:
            return self.zero
        z = self.fmt.lo + (self.fmt.hi - self.fmt.lo) * Damped.apply(self.offset, self.damp)
        return Exactly.apply(z.detach().round().clip(self.fmt.lo, self.fmt.hi), z)

    def live(self, lo: int | None = None, hi: int | None = None) -> dict:
        """What the gradient of a requant to these codes, within [lo, hi], needs beside its ratio (Emitter.requant)."""
        moving = lo is not None and lo > self.fmt.lo, hi is not None and hi < self.fmt.hi
        zero = {} if self.offset is None else {"zero": self.origin, "moving": moving}
        return zero | ({"log_clip": Damped.apply(self.log_scale, self.damp)} if self.pact else {})

    def pads(self) -> dict:
        """The zero point that stands around an image, with a gradient if it is trained."""
        return {} if self.offset is None else {"pad": self.origin}

    def free(self) -> None:
        """From now on the zero point is trained."""
        if self.offset is None:
            share = (self.zero - self.fmt.lo) / (self.fmt.hi - self.fmt.lo)
            self.offset = nn.Parameter(torch.tensor(share, dtype=torch.float64, device=self.log_scale.device))

    @property
    def encoding(self) -> Encoding: return Encoding(float(self.scale.detach()), self.zero)

    def type(self, shape: tuple[int, ...]) -> Ints: return Ints(shape, self.fmt.lo, self.fmt.hi)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Reals to codes held as float32, ties to even: the same numbers as Encoding.encode."""
        v = x.double() / self.scale
        exact = (v.detach().round() + self.zero).clip(self.fmt.lo, self.fmt.hi).float()
        shadow = (v + self.origin).clip(self.fmt.lo, self.fmt.hi)
        return Exactly.apply(exact, clipping(shadow, exact, self.live().get("log_clip")))

    def decode(self, q: torch.Tensor) -> torch.Tensor:
        """Codes held as floats to float32 reals."""
        return ((q.double() - self.origin) * self.scale).float()

    def code_of(self, value: float) -> int:
        """The code nearest to a real constant, within the format."""
        v = value / float(self.scale.detach())
        return int(min(max(round(v) + self.zero, self.fmt.lo), self.fmt.hi)) if math.isfinite(v) else self.fmt.hi if v > 0 else self.fmt.lo

    def clamps(self, lo: float | None, hi: float | None) -> tuple[int, int]:
        """The codes of two real bounds; None = the end of the format."""
        return self.fmt.lo if lo is None else self.code_of(lo), self.fmt.hi if hi is None else self.code_of(hi)


def encoding_of(lo: float, hi: float, fmt: NumberFormat) -> Encoding:
    """The encoding of [lo, hi] in a format: int* symmetric about 0 (zero point 0), uint* from end to end.  0 is always a code.

    A fixed point format has a scale of its own, whatever the range.
    """
    if fmt.scale:
        return Encoding(fmt.scale)
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    if fmt.signed:
        return Encoding(max(-lo, hi) / fmt.hi or 1.0)
    scale = (hi - lo) / (fmt.hi - fmt.lo) or 1.0
    return Encoding(scale, int(min(max(round(-lo / scale), fmt.lo), fmt.hi)))


def activation_format(fmt: NumberFormat) -> NumberFormat:
    """fmt, if activations can have it.  UserError: a grid with gaps."""
    if not isinstance(fmt.grid, range):
        raise UserError(f"activations cannot have the format {fmt}: its grid has gaps; choose uint8, int8, uint4 or another plain integer format")
    return fmt
