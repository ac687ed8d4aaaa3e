"""Where the values of a graph lie in the memory of a GPU, and which of them are only views of others."""
import math
from dataclasses import dataclass, replace

import numpy as np

ALIGN = 256  # bytes: what cudaMalloc promises, and more than any vector load asks for


@dataclass(eq=False)
class Root:
    """Memory of one tensor: `size` elements a sample (of the weights: at all) from byte `base` (workspace: base * n) of a parameter."""
    where: str
    dtype: str
    size: int
    base: int = 0

    @property
    def bytes(self) -> int: return -(-self.size * np.dtype(self.dtype).itemsize // ALIGN) * ALIGN


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor: (b, *index) is element offset + b * batch + sum(index * strides) of its root, plus `zero`.  A constant has batch 0."""
    root: Root
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    batch: int
    offset: int = 0
    zero: int = 0

    @property
    def dtype(self) -> str: return self.root.dtype

    @property
    def size(self) -> int: return math.prod(self.shape)

    def flat(self, b, *index):
        """Element number within the root, of numbers or expressions."""
        return sum((i * s for i, s in zip(index, self.strides) if s), b * self.batch + self.offset if self.batch else self.offset)

    def order(self) -> tuple[int, ...]:
        """Its axes from the outermost in memory to the innermost; C order where an axis is repeated."""
        if any(s == 0 and n > 1 for s, n in zip(self.strides, self.shape)):
            return tuple(range(len(self.shape)))
        return tuple(sorted(range(len(self.shape)), key=lambda a: -self.strides[a] if self.shape[a] > 1 else -math.inf))


def stored(where: str, dtype: str, shape, order=None) -> Value:
    """A new tensor whose axes lie in memory in this order (outermost first; None: C order)."""
    shape = tuple(shape)
    strides, step = [0] * len(shape), 1
    for a in reversed(order or range(len(shape))):
        strides[a], step = step, step * shape[a]
    return Value(Root(where, dtype, step), shape, tuple(strides), step)


def transposed(v: Value, perm) -> Value:
    return replace(v, shape=tuple(v.shape[p] for p in perm), strides=tuple(v.strides[p] for p in perm))


def sliced(v: Value, start, shape, step) -> Value:
    """Every step-th element from `start` on, `shape` of them."""
    return replace(v, shape=tuple(shape), strides=tuple(s * k for s, k in zip(v.strides, step)), offset=v.flat(0, *start))


def expanded(v: Value, shape) -> Value:
    return replace(v, shape=tuple(shape), strides=tuple(0 if m == 1 else s for s, m in zip(v.strides, v.shape)))


def reshaped(v: Value, shape) -> Value | None:
    """The elements in C order under another shape, or None where that is no view: runs of axes that lie evenly are cut anew."""
    old = [(n, s) for n, s in zip(v.shape, v.strides) if n > 1]
    strides, at = [], 0
    new = [n for n in shape if n > 1]
    while at < len(old):
        taken, end, cut = old[at][0], at + 1, []
        while not cut or math.prod(cut) != taken:
            if not cut or math.prod(cut) < taken:
                cut.append(new[len(strides) + len(cut)])
            else:
                if old[end - 1][1] != old[end][1] * old[end][0]:
                    return None
                taken, end = taken * old[end][0], end + 1
        step, run = old[end - 1][1], []
        for n in reversed(cut):
            run.append(step)
            step *= n
        strides += reversed(run)
        at = end
    rest = iter(strides)
    return replace(v, shape=tuple(shape), strides=tuple(next(rest) if n > 1 else 0 for n in shape))


def place(roots: list[tuple[Root, int, int]]) -> int:
    """Gives every (root, first step, last step) its base so that those alive together are apart; returns the bytes that all take.

    Largest first, each at the lowest place that is free all its life (Pisarchyk & Lee 2020, greedy by size).
    """
    done: list[tuple[Root, int, int]] = []
    for root, first, last in sorted(roots, key=lambda r: -r[0].bytes):
        root.base = 0
        for other in sorted((o for o, f, t in done if f <= last and first <= t), key=lambda o: o.base):
            if root.base + root.bytes <= other.base:
                break
            root.base = max(root.base, other.base + other.bytes)
        done.append((root, first, last))
    return max((r.base + r.bytes for r, _, _ in roots), default=0)
