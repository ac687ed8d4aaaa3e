"""Number formats.  A format is a finite, ordered set of integers: its grid.

real value = scale * g, with g taken from the grid.  Everything else about a format (bits, range, rounding,
storage code) follows from the grid.
"""
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .registry import Registry

MAX_FLOAT_BITS = 8  # of a small float found by its name: a grid of a few hundred points


@dataclass(frozen=True)
class NumberFormat:
    """A name and an ascending grid of integers, of which none or some are negative; a `range` where every step is 1.

    `scale` is the real value of one step where the format itself says it (fixed point), and 0 where calibration finds it.
    """
    name: str
    grid: Sequence[int]
    scale: float = 0.0

    def __post_init__(self):
        g = self.grid
        if not (isinstance(g, range) and g.step == 1 or list(g) == sorted(set(g))) or not g[0] <= 0 <= g[-1]:
            raise ValueError(f"{self.name}: a grid is ascending, without repeats, and reaches from 0 or below to 0 or above; got {g}")

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

    @property
    def origin(self) -> int:
        """Number of the grid point that steps are counted from: 0, or the smallest positive one."""
        return bisect_left(self.grid, 0)

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
        even = (below - self.origin) % 2 == 0
        return g[xp.where(even, below, above)]

    def __str__(self) -> str: return self.name


class Formats(Registry):
    """The registry of formats; members of a family are made when they are first named.

    `fxWL.FL`: fixed point, WL bits of which FL are the fraction.  `eXmY`: a small float with X bits of exponent and Y of mantissa.
    """

    def __init__(self):
        super().__init__("number format")
        self._made: dict[str, NumberFormat] = {}

    def __missing__(self, name) -> NumberFormat: return self._member(name) or super().__missing__(name)

    def __contains__(self, name) -> bool: return super().__contains__(name) or self._member(name) is not None

    def register(self, name: str) -> Callable:
        """As a registry's; the name of a member of a family is free until somebody takes it."""
        def add(thing):
            if name in self.keys():
                raise ValueError(f"{self.kind} {name!r} is defined twice: {self[name]!r} and {thing!r}")
            self[name] = thing
            return thing
        return add

    def _member(self, name) -> NumberFormat | None:
        if name not in self._made and isinstance(name, str) and (made := _family(name)) is not None:
            self._made[name] = made
        return self._made.get(name)


def _family(name: str) -> NumberFormat | None:
    """The format of a family that has this name."""
    if m := re.fullmatch(r"fx(\d{1,2})\.(\d{1,2})", name):
        word, fraction = map(int, m.groups())
        if 2 <= word <= 16 and fraction < 64 and name == f"fx{word}.{fraction}":
            return NumberFormat(name, range(-(1 << word - 1), 1 << word - 1), 2.0 ** -fraction)
    if m := re.fullmatch(r"e([1-9])m([0-9])", name):
        exponent, mantissa = map(int, m.groups())
        if 2 <= exponent + mantissa < MAX_FLOAT_BITS and exponent <= 5:
            return NumberFormat(name, tuple(sorted(set(_floats(exponent, mantissa)))))
    return None


def _floats(exponent: int, mantissa: int, top: int | None = None) -> list[int]:
    """Small floats, subnormals on, in smallest steps: all that an exponent and a mantissa of so many bits can write, up to `top`.

    Every code is a number (as in OCP MX, FP6 and FP4), unless `top` leaves some for infinities.
    """
    steps = [m << max(e - 1, 0) for e in range(1 << exponent) for m in range((e > 0) << mantissa, (1 + (e > 0)) << mantissa)]
    return [s * m for s in (-1, 1) for m in steps if top is None or m <= top]


def _add(name: str, grid) -> None:
    FORMATS.register(name)(NumberFormat(name, grid if isinstance(grid, range) else tuple(sorted(set(grid)))))


def _signed(magnitudes) -> list[int]: return [s * m for m in magnitudes for s in (-1, 1)]


FORMATS: Formats = Formats()
for _bits in range(2, 17):
    _add(f"int{_bits}", range(-(1 << _bits - 1), 1 << _bits - 1))
    _add(f"uint{_bits}", range(1 << _bits))
_add("binary", (-1, 1))                    # of weights: XNOR-Net (Rastegari et al. 2016), with a scale of mean |w|
_add("ternary", range(-1, 2))
for _bits in (3, 4, 5):
    _add(f"pot{_bits}", _signed([0, *(1 << e for e in range((1 << _bits - 1) - 1))]))          # 0 and +-2**e
_add("apot4", _signed(a + b for a in (0, 8, 4, 1) for b in (0, 2)))                            # sums of two powers of two, each term
_add("apot5", _signed(a + b for a in (0, 32, 8, 2) for b in (0, 16, 4, 1)))                    # with its own: Li et al. 2020 (APoT), section 2
_add("e2m1", _floats(2, 1))                # OCP MX FP4: up to 6, one step = 2**-1
_add("e2m3", _floats(2, 3))                # OCP MX FP6: up to 7.5, one step = 2**-3
_add("e3m2", _floats(3, 2))                # OCP MX FP6: up to 28, one step = 2**-4
_add("e4m3", _floats(4, 3, 448 << 9))      # OCP OFP8 (FP8 E4M3FN): up to 448, not the 240 of an IEEE-like one; one step = 2**-9
_add("e5m2", _floats(5, 2, 57344 << 16))   # OCP OFP8: up to 57344, without its infinities; one step = 2**-16
