"""Operands of a product of matrices as rows of bytes along k, however they lie in memory."""
import math
from dataclasses import dataclass

import numpy as np

from . import intrinsics
from .kernel import unflattened
from .values import Value


@dataclass(frozen=True, eq=False)
class Rows:
    """Row r of matrix z of sample b of a value (*z axes, *row axes, k): k is the last axis and its bytes are neighbours."""
    value: Value
    stacked: int = 0  # how many leading axes count matrices

    @property
    def depth(self) -> int: return self.value.shape[-1]

    @property
    def dtype(self) -> str: return self.value.dtype

    @property
    def rows(self) -> tuple[int, ...]: return self.value.shape[self.stacked:-1]

    @property
    def vector(self) -> int: return _vector(self.value, (len(self.value.shape) - 1,), self.depth)

    @property
    def pad(self) -> int: return 0

    @property
    def direct(self) -> bool:
        """Whether the bytes can be copied as they are, with 0 for padding."""
        return True

    def row(self, b, z, r):
        """What chunk() must know of a row."""
        v = self.value
        return v.flat(b, *unflattened(z, v.shape[:self.stacked]), *unflattened(r, self.rows), 0)

    def chunk(self, row, at):
        """(byte of the memory, conditions that it is one of the matrix) of byte `at` < depth of the row."""
        return row + at, []

    def load(self, k, target, first: int, at, inside) -> None:
        """target[first:] = the words of one vector at what chunk() has said, or padding where not `inside`."""
        intrinsics.load(k, self.value, self.vector, target, first, at, inside, self.pad)


@dataclass(frozen=True, eq=False)
class Packed(Rows):
    """Rows of weights of 2 or 4 bits, 16 in 4 or 8 bytes; rows and places are counted in weights."""
    bits: int = 4

    @property
    def depth(self) -> int: return self.value.shape[-1] * 8 // self.bits

    @property
    def vector(self) -> int: return 16

    @property
    def direct(self) -> bool: return False

    @property
    def dtype(self) -> str: return "int8"

    def row(self, b, z, r): return super().row(b, z, r) * (8 // self.bits)

    def load(self, k, target, first: int, at, inside) -> None:
        intrinsics.unpack(k, self.value, self.bits, target, first, at // (8 // self.bits), inside)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of a convolution over x (C, *space), stored channel-last, in `groups` matrices: k is (*kernel, channel of the group)."""
    value: Value
    kernel: tuple[int, ...]
    space: tuple[int, ...]  # of the result
    stride: tuple[int, ...]
    padding: tuple
    dilation: tuple[int, ...]
    groups: int
    pad: int

    @property
    def direct(self) -> bool: return self.pad == 0 or not any(map(any, self.padding))

    @property
    def channels(self) -> int: return self.value.shape[0] // self.groups

    @property
    def dtype(self) -> str: return self.value.dtype

    @property
    def depth(self) -> int: return self.channels * math.prod(self.kernel)

    @property
    def rows(self) -> tuple[int, ...]: return self.space

    @property
    def vector(self) -> int: return _vector(self.value, (0,), self.channels)

    def row(self, b, z, r):
        corner = [p * s - before for p, s, (before, _) in zip(unflattened(r, self.space), self.stride, self.padding)]
        return self.value.flat(b, z * self.channels, *(0 for _ in corner)), corner

    def chunk(self, row, at):
        start, corner = row
        *tap, channel = unflattened(at, (*self.kernel, self.channels))
        position = [c + t * d for c, t, d in zip(corner, tap, self.dilation)]
        inside = [p for i, n, (before, after) in zip(position, self.value.shape[1:], self.padding)
                  for p in ([i >= 0] if before else []) + ([i < n] if after else [])]
        return start + self.value.flat(0, channel, *position) - self.value.offset, inside

    def load(self, k, target, first: int, at, inside) -> None: intrinsics.load(k, self.value, self.vector, target, first, at, inside, self.pad)




def _vector(v: Value, along: tuple[int, ...], run: int) -> int:
    """Bytes that can be loaded at once: 16 or 4, or 0 if the bytes along these axes are no neighbours or nothing is aligned."""
    if v.dtype not in ("int8", "uint8") or any(v.strides[a] != 1 and v.shape[a] > 1 for a in along):
        return 0
    steps = [s for a, (s, n) in enumerate(zip(v.strides, v.shape)) if a not in along and n > 1]
    return next((w for w in (16, 4) if all(s % w == 0 for s in (*steps, v.batch, v.offset, run))), 0)


def packed(w: np.ndarray, bits: int) -> np.ndarray:
    """Weights (..., K), K a multiple of 16, within `bits` bits as bytes (..., K * bits / 8): weight 4 i + j of 16 in byte j of a word.

    The words of a byte's parts are those that a shift and a mask take out: of 4 bits two in a word, of 2 bits four.
    """
    per = 8 // bits
    parts = (w + (1 << bits - 1)).astype(np.uint8).reshape(*w.shape[:-1], w.shape[-1] // (4 * per), per, 4)
    return sum(parts[..., i, :] << np.uint8(bits * i) for i in range(per)).astype(np.uint8).reshape(*w.shape[:-1], -1)
