"""Where a value lies in memory."""
import math
from dataclasses import dataclass, field, replace

import numpy as np

from ir import Ints


@dataclass(eq=False)
class Storage:
    """A piece of memory: `size` elements of `dtype`.

    kind: "input" and "output" are the caller's (one sample; `offset` is which one), "weights" and "workspace" lie `offset` bytes into the
    program's constants and into its working memory.
    """
    kind: str
    dtype: str
    size: int
    offset: int = 0
    data: np.ndarray | None = None  # of constants

    @property
    def bytes(self) -> int: return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Place:
    """A value of type `type`: element [i, j, ...] is storage[offset + sum of index * stride], and the integer is that plus `base`.

    halo: (before, after) of each logical axis that may be read around the value, filled with the integer `fill`.
    """
    type: Ints
    storage: Storage
    base: int
    offset: int
    strides: tuple[int, ...]
    halo: tuple[tuple[int, int], ...] = field(default=())
    fill: int = 0

    @property
    def shape(self) -> tuple[int, ...]: return self.type.shape

    @property
    def dtype(self) -> str: return self.storage.dtype

    @property
    def order(self) -> tuple[int, ...]:
        """Logical axes, outermost in memory first; axes of one element keep their logical place."""
        steps = [self.strides[i] if s > 1 else math.inf for i, s in enumerate(self.shape)]
        return tuple(sorted(range(len(self.shape)), key=lambda i: -steps[i]))

    def transposed(self, perm: tuple[int, ...], t: Ints) -> "Place":
        return replace(self, type=t, strides=tuple(self.strides[p] for p in perm), halo=())

    def sliced(self, start, step, t: Ints) -> "Place":
        at = self.offset + sum(s * k for s, k in zip(start, self.strides))
        return replace(self, type=t, offset=at, strides=tuple(s * k for s, k in zip(step, self.strides)), halo=())

    def part(self, start: dict[int, int], t: Ints) -> "Place":
        """Where values of type t lie that stand in this value from `start` on (0 on other axes)."""
        return self.sliced([start.get(i, 0) for i in range(len(self.shape))], (1,) * len(self.shape), t)

    def expanded(self, t: Ints) -> "Place":
        strides = tuple(0 if was == 1 else k for was, k in zip(self.shape, self.strides))
        return replace(self, type=t, strides=strides, halo=())

    def reshaped(self, t: Ints) -> "Place | None":
        """The same memory under another shape; None if that needs a copy."""
        where = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), self.shape, self.strides)
        try:
            return replace(self, type=t, strides=where.reshape(t.shape, copy=False).strides, halo=())
        except ValueError:
            return None


def dense_strides(shape: tuple[int, ...], order: tuple[int, ...], halo: tuple[tuple[int, int], ...] = ()) -> tuple[tuple[int, ...], int, int]:
    """(strides by logical axis, offset of the first element, elements in all) of `shape` with axes in `order` and a halo around."""
    halo = halo or ((0, 0),) * len(shape)
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis] + sum(halo[axis])
    return tuple(strides), sum(h[0] * s for h, s in zip(halo, strides)), step
