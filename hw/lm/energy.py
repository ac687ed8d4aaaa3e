"""Energy of a token, as a range.

Method: power at rest times the token's time, plus outer memory's bits times its energy a bit (both of hw/lm/devices.py), plus cycles times what
the used cells take a cycle.  For the last: 1 to 4 pJ for an output of a LUT that changes, its register and wires among it, at 40 nm, an
eighth of the outputs changing; 10 to 25 pJ for an access of a block RAM of 18 kbit, 8 to 25 pJ for a product of 18 by 18 bits, scaled to
28 nm by 0.6 and to 16 nm by 0.3.  These are the sizes of what vendors' calculators give for half-full chips, not measurements: where the
range matters, measure.  No energy of voltage converters, of hosts or of input and output is in it.
"""
from dataclasses import dataclass

from .fit import Fit

SCALE = {"ecp5": 1.0, "xc7": 0.6, "xcup": 0.3}
PJ = {"lut": (1 / 8, 4 / 8), "bram": (5, 25), "uram": (10, 50), "dsp": (2, 12)}  # a cycle; memories and multipliers half idle at least


@dataclass(frozen=True)
class Energy:
    """Joules of a token, least and most, and of what; measured: watts that somebody measured on such a board, times the time."""
    rest: tuple[float, float]
    outer: tuple[float, float]
    core: tuple[float, float]
    measured: float | None

    @property
    def total(self) -> tuple[float, float]:
        return tuple(self.rest[k] + self.outer[k] + self.core[k] for k in (0, 1))


def energy(f: Fit) -> Energy:
    b, seconds = f.board, 1 / f.tokens_s
    cell = [f.cycles * SCALE[b.family] * sum(PJ[k][end] * n for k, n in f.used.items() if k in PJ) * 1e-12 for end in (0, 1)]
    outer = [8 * f.bytes_token * (b.outer.picojoules[end] if b.outer else 0) * 1e-12 for end in (0, 1)]
    return Energy(tuple(w * seconds for w in b.rest_w), tuple(outer), tuple(cell), b.measured_w and b.measured_w[0] * seconds)
