"""A pass as passes over one index of an axis each: multipliers that belong to positions, not to channels."""
import math
from dataclasses import replace

import numpy as np

from ir import UserError

from .isa import Pass, Walk
from .tensors import Layout


def by_position(p: Pass, mul: np.ndarray, shape, lay: Layout, axis: int):
    """A pass for each index of an axis that is not innermost, with its multiplier."""
    outer = [n for k, n in enumerate(shape) if k != lay.inner]
    k = axis - (axis > lay.inner)
    before, after = math.prod(outer[:k]), math.prod(outer[k + 1:])
    if p.counts[5] > 1 or p.counts[4] != lay.positions:
        raise UserError(f"node {p.node!r}: a multiplier for each index of axis {axis} is not fused with sums along others")
    for i, factor in enumerate(mul.tolist()):
        x, y = (Walk(w.start + i * after * w.strides[4], (*w.strides[:5], w.strides[4] * after * len(mul))) for w in (p.x, p.y))
        yield replace(p, counts=(*p.counts[:4], after, before), x=x, y=y), factor
