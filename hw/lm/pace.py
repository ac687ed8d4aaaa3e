"""Cycles of a token by the sizes alone: what a core that streams weights takes, before anything of it is built."""
from dataclasses import dataclass
from math import ceil

from .shape import Shape

BARRIER = 48  # from the last value of a vector to its first code: maximum, reciprocal
FILL = 16     # from the first beat of a matrix to its first sum


@dataclass(frozen=True)
class Pace:
    """Cycles of a token: `matrices` in which weights stream (memory stalls counted), `rest` in which they cannot."""
    matrices: float
    rest: int

    @property
    def cycles(self) -> float: return self.matrices + self.rest


def token(s: Shape, engines: int, trits: int, lanes: int, share: float = 1.0) -> Pace:
    """share: of the cycles in which the outer memory has a beat for every engine; 1 for weights on the chip.

    Each layer quantizes three vectors of the residual's width (the three gates' at once) and one of the gated unit's.
    """
    rest = 3 * (ceil(s.dim / lanes) + BARRIER) + ceil(s.hidden / lanes) + BARRIER + FILL * len(s.matrices())
    return Pace(s.beats(engines, trits) / share, s.layers * rest + ceil(s.dim / lanes) + BARRIER + FILL)
