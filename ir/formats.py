"""Number formats.  A format is a finite, ordered set of integers: its grid.

real value = scale * g, with g taken from the grid.  Everything else about a format (bits, range, rounding,
storage code) follows from the grid.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .registry import Registry

FORMATS: Registry = Registry("number format")


@dataclass(frozen=True)
class NumberFormat:
    """A name and an ascending grid of integers that holds 0; a `range` where every step is 1."""
    name: str
    grid: Sequence[int]

    def __post_init__(self):
        g = self.grid
        if not (isinstance(g, range) and g.step == 1 or list(g) == sorted(set(g))) or 0 not in g:
            raise ValueError(f"{self.name}: a grid is ascending, without repeats, and holds 0; got {g}")

    @property
    def lo(self) -> int: return self.grid[0]

    @property
    def hi(self) -> int: return self.grid[-1]

    @property
    def bits(self) -> int:
        """Storage of one code, in bits."""
        return max(1, (len(self.grid) - 1).bit_length())

    @property
    def signed(self) -> bool: return self.lo < 0

    def nearest(self, v, xp=np):
        """Grid point nearest to v (reals in steps, of `xp`: numpy or torch), as floats; ties to the even step of the grid."""
        if isinstance(self.grid, range):
            return xp.round(v).clip(self.lo, self.hi)
        v = xp.asarray(v)
        like = {"dtype": np.result_type(v, np.float32)} if xp is np else {"dtype": v.dtype, "device": v.device}
        g = xp.asarray(self.grid, **like)
        mid = (g[1:] + g[:-1]) / 2
        below = xp.searchsorted(mid, v, side="left")
        above = xp.searchsorted(mid, v, side="right")
        even = (below - self.grid.index(0)) % 2 == 0
        return g[xp.where(even, below, above)]

    def __str__(self) -> str: return self.name


def _add(name: str, grid) -> None:
    FORMATS.register(name)(NumberFormat(name, grid if isinstance(grid, range) else tuple(sorted(set(grid)))))


def _floats(exponent: int, mantissa: int, top: int) -> list[int]:
    """Small floats, subnormals on, up to `top` smallest steps: what an exponent and a mantissa of so many bits can write."""
    steps = [m << max(e - 1, 0) for e in range(1 << exponent) for m in range((e > 0) << mantissa, (1 + (e > 0)) << mantissa)]
    return [s * m for s in (-1, 1) for m in steps if m <= top]


for _bits in range(2, 17):
    _add(f"int{_bits}", range(-(1 << _bits - 1), 1 << _bits - 1))
    _add(f"uint{_bits}", range(1 << _bits))
_add("ternary", range(-1, 2))
_add("pot4", [0] + [s << e for s in (-1, 1) for e in range(7)])           # +-2**e
_add("e2m1", _floats(2, 1, 12))            # OCP MX FP4: up to 6, one step = 2**-1
_add("e2m3", _floats(2, 3, 60))            # OCP MX FP6: up to 7.5, one step = 2**-3
_add("e3m2", _floats(3, 2, 448))           # OCP MX FP6: up to 28, one step = 2**-4
_add("e4m3", _floats(4, 3, 448 << 9))      # OCP OFP8 (FP8 E4M3FN): up to 448, not the 240 of an IEEE-like one; one step = 2**-9
_add("e5m2", _floats(5, 2, 57344 << 16))   # OCP OFP8: up to 57344, without its infinities; one step = 2**-16
