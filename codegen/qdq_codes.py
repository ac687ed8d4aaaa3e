"""Values of a QDQ model: unsigned codes of 8 or 16 bits, their constants, and the nodes that an output needs."""
from dataclasses import dataclass

import numpy as np

from ir import Ints

from .onnx_ops import Expr

ROOM = {"uint8": 256, "uint16": 65536}  # what a tensor between quantizers is held in, and how many codes that has


@dataclass(frozen=True)
class Code:
    """A value as unsigned codes: integer = code - offset."""
    expr: Expr
    offset: int


def alive(nodes: list, output: str) -> list:
    """The nodes that the output needs: sums that a cluster has taken over are gone."""
    needed, kept = {output}, []
    for n in reversed(nodes):
        if needed & set(n.output):
            needed |= set(n.input)
            kept.append(n)
    return kept[::-1]


def nibbles(codes: np.ndarray) -> bytes:
    """Integers of 4 bits, two a byte, the first in the low half."""
    v = np.append(codes.ravel(), [0] * (codes.size % 2)).astype(np.uint8) & 15
    return (v[::2] | v[1::2] << 4).tobytes()


def fits(t: Ints) -> str | None:
    """The unsigned word for the codes of t, or None."""
    return next((w for w, n in ROOM.items() if -(n // 2) <= t.lo and t.hi < (n if t.lo >= 0 else n // 2)), None)


def away(t: Ints, room: str) -> int:
    """The offset of the codes of t: half the word if there are negative ones."""
    return ROOM[room] // 2 if t.lo < 0 else 0
