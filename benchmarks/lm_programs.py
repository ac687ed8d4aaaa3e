"""Language models of a given shape with made-up numbers: the work is that of a real one, only the text is nonsense."""
from dataclasses import dataclass

import numpy as np

from codegen.lm.layout import Sections
from ir.lm import Curve, Gain, Glu, Layer, Mixer, Program, Projection, Words

SHAPES = {"370M": (1024, 2816, 24, 32000), "1.3B": (2048, 5632, 24, 32000), "2.7B": (2560, 6912, 32, 32000)}  # width, hidden, layers, tokens
POOL = 16 << 20   # random bytes that weights are cut from
FACTOR = 14       # bits that factors have, about


@dataclass
class Maker:
    """A program of a shape whose ternary codes are all 0 and take no memory, and `packed`: random bytes in their place."""
    dim: int
    hidden: int
    layers: int
    tokens: int
    seed: int = 0

    def __post_init__(self):
        self.words, self.random = Words(), np.random.default_rng(self.seed)

    def program(self) -> Program:
        h, i, w = self.dim, self.hidden, self.words
        lower = self.random.integers(0, 1 << w.sigmoid - 1, h)
        attn = Mixer(self.gain(h), *(self.projection(h, h, 12) for _ in "ifg"), self.projection(h, h, 13), lower, 8, self.gain(h), 0, 1 << 8, 20)
        mlp = Glu(self.gain(h), self.projection(2 * i, h, 12), self.projection(h, i, 13), 8, Gain(np.array([1]), 0), 1 << 20)
        table = np.broadcast_to(self.random.integers(-1 << w.residual, 1 << w.residual, h), (self.tokens, h))
        sigmoid, silu = (self.curve(f, bits) for f, bits in ((_sigmoid, w.sigmoid), (lambda x: x * _sigmoid(x), w.gate)))
        return Program(w, table, (Layer(attn, mlp),) * self.layers, self.gain(h), self.projection(self.tokens, h, 12), sigmoid, silu)

    def gain(self, count: int) -> Gain: return Gain(self.random.integers(1 << 15, 1 << 16, count), 15)

    def projection(self, rows: int, columns: int, shift: int) -> Projection:
        root = 2.0 ** 16 * columns ** 0.5 / 3
        return Projection(self.gain(columns), np.broadcast_to(np.int8(0), (rows, columns)), int(root * 2 ** FACTOR), shift)

    def curve(self, f, bits: int) -> Curve:
        """Straight pieces of f between their ends."""
        w, shift = self.words, 12
        x = (np.arange(-1 << w.whole + w.pieces, 1 << w.whole + w.pieces) << w.piece_bits) / 2.0 ** w.gate
        value = np.rint(f(x) * 2.0 ** (bits + shift)).astype(np.int64)
        slope = np.rint((f(x + 1e-3) - f(x - 1e-3)) / 2e-3 * 2.0 ** (bits + shift - w.gate)).astype(np.int64)
        return Curve(value, slope, shift, *((0, (1 << bits) - 1) if f is _sigmoid else (-1 << bits + w.whole, (1 << bits + w.whole) - 1)))

    def packed(self, s: Sections):
        """Legal bytes for any rows of any projection."""
        f = s.layout.format
        pool = self.random.integers(0, f.radix ** f.fields, POOL, dtype=np.uint8)
        return lambda layer, name, begin, end: np.resize(pool, f.bytes(end - begin, s.layout.columns(name)))


def _sigmoid(x): return 1 / (1 + np.exp(-x))
