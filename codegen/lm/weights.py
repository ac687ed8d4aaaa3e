"""The file of a language model's weights, written from front to back."""
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ir import UserError
from ir.lm import Program
from ir.store import whole

from .. import lowbit
from .layout import LINE, PROJECTIONS, Sections, embedding_word, rounded

MAGIC = b"qslm-w1\0"
STAMP = 16  # letters of the hash that names a model and its layout
Packed = Callable[[int, str, int, int], np.ndarray]  # (layer, projection, first row, end) -> bytes


class Writer:
    """Writes sections at multiples of LINE and sums up their words; the first line comes last."""

    def __init__(self, file):
        self.file, self.at, self.sum = file, LINE, 0
        file.seek(LINE)

    def add(self, data: np.ndarray) -> None:
        """Bytes of an array, filled up to a whole line."""
        raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        raw = np.concatenate([raw, np.zeros(rounded(len(raw)) - len(raw), np.uint8)]) if len(raw) % LINE else raw
        words = raw.view("<u8")
        first = (self.at - LINE) // 8
        with np.errstate(over="ignore"):
            self.sum += int((words * (2 * np.arange(first, first + len(words), dtype=np.uint64) + np.uint64(1))).sum(dtype=np.uint64))
        self.file.write(raw.data)
        self.at += len(raw)

    def finish(self, stamp: str) -> None:
        self.file.seek(0)
        self.file.write(MAGIC + stamp.encode() + np.array([self.at, self.sum % 2**64], "<u8").tobytes() + bytes(LINE - 8 - STAMP - 16))


def write(p: Program, s: Sections, stamp: str, path: Path, packed: Packed | None = None) -> None:
    """The file, whole or not at all.  packed: another source of the ternary weights than the program's codes."""
    n, source = s.layout, packed or codes_of(p, s)
    with whole(path) as part, open(part, "wb") as f:
        w = Writer(f)
        for section in (_curves(p), _text(p), _floats(p.unit, n.dim), _floats(p.head.gain, n.dim)):
            w.add(section)
        for layer in p.layers:
            for gain in _gains(p, layer, s):
                w.add(gain)
        w.add(p.embeddings.astype(embedding_word(p)))
        for part_number in range(n.parts):
            for layer, name in [(number, name) for number in range(n.layers) for name in PROJECTIONS[:-1]] + [(0, "head")]:
                w.add(source(layer, name, *n.rows(part_number, name)))
        if w.at != s.at["end"]:
            raise ValueError(f"{w.at} bytes written where the layout has {s.at['end']}")
        w.finish(stamp)


def codes_of(p: Program, s: Sections) -> Packed:
    """A program's codes, packed."""
    def packed(layer: int, name: str, begin: int, end: int) -> np.ndarray:
        attn, mlp = p.layers[layer].attn, p.layers[layer].mlp
        codes = {"u": mlp.gate.codes[:p.hidden], "v": mlp.gate.codes[p.hidden:], "down": mlp.down.codes, "head": p.head.codes}.get(name)
        codes = getattr(attn, name).codes if codes is None else codes
        return lowbit.pack(codes[begin:end], s.layout.format.name)[0] if end > begin else np.zeros(0, np.uint8)
    return packed


def _curves(p: Program) -> np.ndarray:
    """Value and slope of each piece, side by side."""
    return np.concatenate([np.stack([c.value, c.slope], 1) for c in (p.sigmoid, p.silu)]).astype("<i4")


def _text(p: Program) -> np.ndarray:
    """Where each piece ends, then all pieces."""
    if not p.vocab:
        return np.zeros(0, np.uint8)
    raw = [piece.encode() for piece in p.vocab]
    return np.concatenate([np.cumsum([len(r) for r in raw]).astype("<u4").view(np.uint8), np.frombuffer(b"".join(raw), np.uint8)])


def _gains(p: Program, layer, s: Sections):
    a, m, h = layer.attn, layer.mlp, p.dim
    yield from (_floats(g, h) for g in (a.unit, a.g.gain, a.f.gain, a.i.gain))
    yield np.broadcast_to(a.lower, h).astype("<f4")
    yield from (_floats(g, h) for g in (a.gated_unit, a.o.gain, m.unit, m.gate.gain))
    yield _floats(m.gated_unit, s.down_units)
    yield _floats(m.down.gain, p.hidden)


def _floats(gain, count: int) -> np.ndarray:
    """mul / 2**shift: exact in a float32, whose 24 bits hold any gain."""
    if len(gain.mul) not in (1, count):
        raise UserError(f"{len(gain.mul)} gains where {count} or 1 are needed")
    return np.broadcast_to(np.ldexp(gain.mul.astype(np.float64), -gain.shift), count).astype("<f4")
