"""Frames of integers to the beats of a design's ports and back."""
import numpy as np

from hw import Port


def pack(p: Port, x: np.ndarray) -> list[str]:
    """(N, *shape) integers -> one hexadecimal word a beat."""
    flat = np.moveaxis(np.asarray(x, np.int64), p.inner + 1, -1).reshape(-1, p.lanes)
    mask = (1 << p.type.bits) - 1
    digits = p.data_bits // 4
    if p.data_bits <= 60:
        shifts = np.arange(p.lanes, dtype=np.int64) * p.type.bits
        return [f"{v:0{digits}x}" for v in ((flat & mask) << shifts).sum(1).tolist()]
    lines = []
    for row in flat.tolist():
        word = 0
        for v in reversed(row):
            word = word << p.type.bits | (v & mask)
        lines.append(f"{word:0{digits}x}")
    return lines


def unpack(p: Port, beats: list[int]) -> np.ndarray:
    """Beats -> (N, *shape) int64; a last frame that is not whole is left out."""
    bits, shape = p.type.bits, p.type.shape
    mask = (1 << bits) - 1
    codes = np.array([[b >> bits * k & mask for k in range(p.lanes)] for b in beats[:len(beats) // p.beats * p.beats]], np.int64)
    values = codes - ((codes >> (bits - 1)) << bits) if p.type.signed else codes
    flow = (*shape[:p.inner], *shape[p.inner + 1:], shape[p.inner])
    return np.ascontiguousarray(np.moveaxis(values.reshape(-1, *flow), -1, p.inner + 1))
