"""Dense layers and convolutions as one thing: sums of products over rows and columns."""
import math
from dataclasses import dataclass, replace

import numpy as np

from ir import Conv, Dense, Node

from .kernel import Tensor


@dataclass(frozen=True)
class Field:
    """y[r, c, o] = bias[o] + sum over taps and channels of w[o, i, kr, kc] * x at the place of (r, c), the tap and the channel."""
    weight: np.ndarray        # (O, I of a group, kernel rows, kernel columns)
    bias: np.ndarray          # (O,)
    groups: int
    rows: int
    columns: int
    step: tuple[int, int]     # elements of memory from an output row (column) to the next
    tap: tuple[int, int]      # the same from a kernel row (column) to the next
    channel: int              # the same from an input channel to the next
    origin: int               # where the first tap of row 0, column 0 reads
    space: tuple[int, ...]    # the output's logical shape without its channels: its last axis is the columns, those before it the rows
    first: bool               # whether the output's channels are its first logical axis; else its last

    def index(self, o, r, c) -> list:
        """Logical index of the output."""
        at = [c] if self.space else []
        for size in reversed(self.space[:-1]):
            at.insert(0, r if len(at) == len(self.space) - 1 else r % size)
            r = r // size
        return [o, *at] if self.first else [*at, o]

    @property
    def depth(self) -> int:
        """Input channels of a group."""
        return self.weight.shape[1]


def field_of(n: Node, x: Tensor) -> Field:
    """The node as a Field over the tensor that it reads."""
    op, place = n.op, x.place
    if isinstance(op, Dense):
        *space, _ = place.shape
        *steps, channel = place.strides
        return _field(op.weight[:, :, None, None], op.bias, 1, space, (steps[-2] if len(steps) > 1 else 0, steps[-1] if steps else 0), (0, 0),
                      channel, place.offset, False)
    assert isinstance(op, Conv)
    one = len(op.stride) == 1
    weight = op.weight[:, :, None] if one else op.weight
    channel, *moves = place.strides
    before = sum(p[0] * m for p, m in zip(op.padding, moves))
    (sr, sc), (dr, dc), (mr, mc) = ((0, a[0]) if one else a for a in (op.stride, op.dilation, moves))
    return _field(weight, op.bias, op.groups, n.type.shape[1:], (sr * mr, sc * mc), (dr * mr, dc * mc), channel, place.offset - before, True)


def _field(weight, bias, groups, space, step, tap, channel, origin, first: bool) -> Field:
    *lead, columns = space or [1]
    return Field(weight, bias, groups, math.prod(lead), columns, step, tap, channel, origin, tuple(space), first)


def joined(f: Field, lanes: int) -> Field:
    """Neighbouring groups as one with zeros between them, until a vector of channels is full."""
    each, per = len(f.weight) // f.groups, f.depth
    count = next((m for m in range(1, f.groups + 1) if f.groups % m == 0 and m * each >= lanes), f.groups)
    weight = np.zeros((len(f.weight), count * per, *f.weight.shape[2:]), f.weight.dtype)
    for o in range(len(weight)):
        at = o // each % count * per
        weight[o, at:at + per] = f.weight[o]
    return replace(f, weight=weight, groups=f.groups // count)


def flattened(f: Field, tensors: list[Tensor]) -> Field:
    """Rows and columns as one axis if the input and all of `tensors`, which have the output's shape, lie like that."""
    if f.rows == 1 or f.step[0] != f.columns * f.step[1]:
        return f
    for t in tensors:
        steps = t.place.strides[1:] if f.first else t.place.strides[:-1]
        expected = steps[-1]
        for i in reversed(range(len(f.space) - 1)):
            expected *= f.space[i + 1]
            if f.space[i] > 1 and steps[i] != expected:
                return f
    return replace(f, rows=1, columns=f.rows * f.columns)
