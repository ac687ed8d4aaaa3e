"""Frames of integers to lines of hexadecimal beats and back."""
import numpy as np

from hw import Port
from ir import Ints

CHUNK = 1 << 23  # bits that are handled at once
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def pack(p: Port, x: np.ndarray, last=None) -> bytes:
    """(N, *shape) integers -> one line a beat: a digit with TLAST, then TDATA.

    last: (beats,) truth of TLAST, and with it x may be no whole frames but (beats, lanes); by default the last beat of every frame.
    """
    flat = np.moveaxis(np.asarray(x, np.int64), p.inner + 1, -1).reshape(-1, p.lanes) if last is None else np.asarray(x, np.int64)
    last = np.arange(len(flat)) % p.beats == p.beats - 1 if last is None else np.asarray(last)
    digits = _digits(flat, p.type.bits, p.data_bits // 4)
    end = np.full((len(flat), 1), ord("\n"), np.uint8)
    return np.concatenate([HEX[last.astype(np.uint8)][:, None], HEX[digits], end], 1).tobytes()


def unpack(p: Port, digits: np.ndarray) -> np.ndarray:
    """(beats, digits of TDATA) -> (N, *shape) int64; a last frame that is not whole is left out."""
    values = elements(digits[:len(digits) // p.beats * p.beats], p.lanes, p.type.bits, p.type.signed)
    shape = p.type.shape
    flow = (*shape[:p.inner], *shape[p.inner + 1:], shape[p.inner])
    return np.ascontiguousarray(np.moveaxis(values.reshape(-1, *flow), -1, p.inner + 1))


def placed(t: Ints, positions: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """(N, elements in stream order) -> (N, *shape)."""
    out = np.empty_like(flat)
    out[:, positions] = flat
    return out.reshape(-1, *t.shape)


def parse(text: bytes, columns: int) -> np.ndarray:
    """Lines of equal length -> (lines, columns) values of their hexadecimal digits, spaces as 0; a cut last line is left out."""
    chars = np.frombuffer(text, np.uint8)
    rows = chars[:len(chars) // (columns + 1) * (columns + 1)].reshape(-1, columns + 1)[:, :columns]
    return (rows & 15) * (rows != ord(" ")) + 9 * (rows >> 6)


def number(digits: np.ndarray) -> np.ndarray:
    """(n, up to 15 digits) -> (n,) int64."""
    return digits.astype(np.int64) @ (16 ** np.arange(digits.shape[1] - 1, -1, -1, dtype=np.int64))


def elements(digits: np.ndarray, lanes: int, bits: int, signed: bool) -> np.ndarray:
    """(beats, digits) -> (beats, lanes) int64, element 0 in the lowest bits."""
    weight = np.int64(1) << np.arange(bits, dtype=np.int64)
    weight[-1] *= -1 if signed else 1
    out, step = np.empty((len(digits), lanes), np.int64), max(1, CHUNK // max(1, 4 * digits.shape[1]))
    for at in range(0, len(digits), step):
        nibbles = digits[at:at + step, ::-1].astype(np.uint8)
        flags = (nibbles[:, :, None] >> np.arange(4, dtype=np.uint8) & 1).reshape(len(nibbles), -1)[:, :lanes * bits]
        out[at:at + step] = flags.reshape(len(nibbles), lanes, bits) @ weight
    return out


def _digits(flat: np.ndarray, bits: int, columns: int) -> np.ndarray:
    """(beats, lanes) -> (beats, columns) values of hexadecimal digits, highest first."""
    out, step = np.zeros((len(flat), columns), np.uint8), max(1, CHUNK // (4 * columns))
    for at in range(0, len(flat), step):
        part = flat[at:at + step]
        flags = np.zeros((len(part), 4 * columns), np.uint8)
        flags[:, :part.shape[1] * bits] = (part[:, :, None] >> np.arange(bits, dtype=np.int64) & 1).reshape(len(part), -1)
        out[at:at + step] = (flags.reshape(len(part), columns, 4) @ np.array([1, 2, 4, 8], np.uint8))[:, ::-1]
    return out
