"""Where everything of a language model lies in its file of weights: small tables, embeddings, and one linear stream of packed weights a part.

A part is what one thread computes: rows of every projection, whole panels of codegen.lowbit.  Its stream holds, layer after layer, its
rows of g, f, i, o, of the u and the v of the GLU, of down, and at the end of the head: in the order in which they are read.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ir import UserError
from ir.lm import Program

from ..lowbit import FORMATS

LINE = 64                       # bytes; everything starts at a multiple
FORMS = {"base3": "base3", "two_bit": "int2"}
PROJECTIONS = ("g", "f", "i", "o", "u", "v", "down", "head")
MOST_PARTS = 64


@dataclass(frozen=True)
class Layout:
    """Sizes of a model, and how it is split.  UserError: an unknown form, a number of parts out of range."""
    dim: int
    hidden: int
    layers: int
    tokens: int
    form: str = "base3"
    parts: int = 1

    def __post_init__(self):
        if self.form not in FORMS:
            raise UserError(f"unknown form of ternary weights {self.form!r}; give {' or '.join(FORMS)}")
        if not 1 <= self.parts <= MOST_PARTS:
            raise UserError(f"{self.parts} threads; give 1 to {MOST_PARTS}")

    @classmethod
    def of(cls, p: Program, form: str = "base3", parts: int = 1) -> "Layout":
        return cls(p.dim, p.hidden, len(p.layers), p.tokens, form, parts)

    @property
    def format(self): return FORMATS[FORMS[self.form]]

    def total(self, projection: str) -> int:
        """Rows of a projection."""
        return {"u": self.hidden, "v": self.hidden, "head": self.tokens}.get(projection, self.dim)

    def columns(self, projection: str) -> int: return self.hidden if projection == "down" else self.dim

    def rows(self, part: int, projection: str) -> tuple[int, int]:
        """The rows of a projection that a part owns: whole panels but for the last."""
        total = self.total(projection)
        panels = -(-total // self.format.rows)
        begin, end = (min(total, panels * (part + n) // self.parts * self.format.rows) for n in (0, 1))
        return begin, end

    def bytes(self, part: int, projection: str) -> int:
        """Of a part's packed rows of a projection."""
        begin, end = self.rows(part, projection)
        return self.format.bytes(end - begin, self.columns(projection))

    def places(self, part: int) -> list[int]:
        """Where each projection starts: bytes from the start of a layer in the stream; the head from the start of the stream."""
        sizes = [self.bytes(part, name) for name in PROJECTIONS[:-1]]
        return [sum(sizes[:n]) for n in range(len(sizes))] + [self.layers * sum(sizes)]

    def layer_bytes(self, part: int) -> int: return sum(self.bytes(part, name) for name in PROJECTIONS[:-1])

    def stream_bytes(self, part: int) -> int: return self.layers * self.layer_bytes(part) + self.bytes(part, "head")

    @property
    def weight_bytes(self) -> int:
        """Of all packed weights: what is read for each token."""
        return sum(map(self.stream_bytes, range(self.parts)))


@dataclass(frozen=True)
class Sections:
    """Where each section of a file of weights starts, in bytes.  `down_units`: gains of a layer's last norm, 1 or as many as hidden values."""
    layout: Layout
    pieces: int            # of a curve
    down_units: int
    text_bytes: int
    embedding_bytes: int   # of one word of an embedding

    @cached_property
    def gains(self) -> dict[str, int]:
        """Where the gains of a layer start, in float32 words from its first."""
        h, out, at = self.layout.dim, {}, 0
        sizes = dict.fromkeys(("attn_unit", "g", "f", "i", "lower", "o_unit", "o", "mlp_unit", "gate"), h)
        for name, size in {**sizes, "down_unit": self.down_units, "down": self.layout.hidden}.items():
            out[name], at = at, at + rounded(4 * size) // 4
        return out | {"end": at}

    @cached_property
    def at(self) -> dict[str, int]:
        """Where sections start; "end" is the size of the file."""
        n, h = self.layout, self.layout.dim
        sizes = {"head_line": LINE, "curves": 4 * 4 * self.pieces, "text": 4 * n.tokens + self.text_bytes if self.text_bytes else 0,
                 "head_unit": 4 * h, "head_gain": 4 * h, "gains": 4 * self.gains["end"] * n.layers,
                 "embeddings": n.tokens * h * self.embedding_bytes,
                 **{f"stream{p}": n.stream_bytes(p) for p in range(n.parts)}}
        out, at = {}, 0
        for name, size in sizes.items():
            out[name], at = at, at + rounded(size)
        return out | {"end": at}


def rounded(size: int) -> int:
    """Bytes up to the next line."""
    return -(-size // LINE) * LINE


def sections(p: Program, n: Layout) -> Sections:
    """The sections of a program's file."""
    units = {len(layer.mlp.gated_unit.mul) for layer in p.layers}
    text = sum(len(piece.encode()) for piece in p.vocab) if p.vocab else 0
    return Sections(n, len(p.silu.value), 1 if units == {1} else n.hidden, text, np.dtype(embedding_word(p)).itemsize)


def embedding_word(p: Program) -> str:
    """The narrowest signed word that holds every embedding."""
    size = max(int(p.embeddings.max()), -int(p.embeddings.min()) - 1)
    return next(w for w in ("int8", "int16", "int32") if size <= np.iinfo(w).max)
