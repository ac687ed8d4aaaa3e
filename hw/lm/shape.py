"""Sizes of a MatMul-free language model: all that cost, time and memory depend on."""
import re
from dataclasses import dataclass
from math import ceil

import numpy as np

from ir import Registry, UserError
from ir.lm import Program

SHAPES: Registry = Registry("language model")
WRITTEN = re.compile(r"(\d+)x(\d+)x(\d+)x(\d+)")
MOST = 1 << 20  # of any size


@dataclass(frozen=True)
class Shape:
    """Width of the residual, of the gated unit, number of layers and of tokens; bits of a word of the embeddings."""
    name: str
    dim: int
    hidden: int
    layers: int
    tokens: int
    embedding_bits: int = 16

    @classmethod
    def of(cls, p: Program, name: str = "") -> "Shape":
        """The sizes of a model."""
        return cls(name, p.dim, p.hidden, len(p.layers), p.tokens, int(np.abs(p.embeddings).max()).bit_length() + 1)

    def matrices(self) -> list[tuple[int, int]]:
        """(rows, columns) of every ternary matrix of a layer: g, f, i, o, gate, down."""
        return [(self.dim, self.dim)] * 4 + [(2 * self.hidden, self.dim), (self.dim, self.hidden)]

    @property
    def head(self) -> tuple[int, int]: return self.tokens, self.dim

    @property
    def ternary(self) -> int:
        """Ternary weights."""
        return self.layers * sum(m * k for m, k in self.matrices()) + self.tokens * self.dim

    @property
    def gains(self) -> int:
        """Gains: of g, f, i and their norm, o and its, gate and its, down and its in each layer, of the head and its norm."""
        return self.layers * (8 * self.dim + 2 * self.hidden) + 2 * self.dim

    def beats(self, engines: int, trits: int) -> int:
        """Beats of `trits` weights that each of the engines reads for a token; rows are dealt out, a row takes whole beats."""
        return sum(ceil(m / engines) * ceil(k / trits) for m, k in self.layers * self.matrices() + [self.head])


for _name, *_sizes in (("370m", 1024, 2816, 24, 32000), ("1.3b", 2048, 5632, 24, 32000), ("2.7b", 2560, 6912, 32, 32000)):
    SHAPES.register(_name)(Shape(_name, *_sizes))


def named(text: str) -> Shape | None:
    """The shape of a published model, or one written DIMxHIDDENxLAYERSxTOKENS; None for text that does not look like either.

    UserError: a size that no model has, a published size that does not exist.
    """
    if m := WRITTEN.fullmatch(text.lower()):
        sizes = [int(v) for v in m.groups()]
        if not all(1 <= v <= MOST for v in sizes):
            raise UserError(f"language model {text}: give sizes of 1 to {MOST:,}")
        return Shape(text.lower(), *sizes)
    if text.lower() in SHAPES or re.fullmatch(r"[\d.]+[mb]", text.lower()):
        return SHAPES[text.lower()]
    return None
