"""Integers to stream beats and back: element 0 in the lowest bits."""
import numpy as np


def pack(ints, lanes: int, width: int) -> list[int]:
    """Integers in stream order (any shape, taken in C order) -> beats of `lanes` two's-complement elements of `width` bits."""
    mask = (1 << width) - 1
    flat = [int(v) & mask for v in np.ravel(np.asarray(ints, dtype=object))]
    if len(flat) % lanes:
        raise ValueError(f"{len(flat)} elements do not fill beats of {lanes}")
    return [sum(v << (width * k) for k, v in enumerate(flat[i:i + lanes])) for i in range(0, len(flat), lanes)]


def unpack(beats, lanes: int, width: int, signed: bool) -> np.ndarray:
    """Beats -> (len(beats) * lanes,) int64 in stream order."""
    mask, top = (1 << width) - 1, (1 << width - 1) if signed else 0
    return np.array([(((int(b) >> (width * k)) & mask) ^ top) - top for b in beats for k in range(lanes)], np.int64)


def stream(x: np.ndarray) -> np.ndarray:
    """(N, *shape) -> (N, elements) in the order in which a tensor flows: (C, H, W) pixel by pixel, all else in C order."""
    x = np.asarray(x)
    return (np.moveaxis(x, 1, -1) if x.ndim == 4 else x).reshape(len(x), -1)


def unstream(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `stream`: elements in stream order -> (N, *shape)."""
    if len(shape) != 3:
        return np.reshape(flat, (-1, *shape))
    c, h, w = shape
    return np.ascontiguousarray(np.moveaxis(np.reshape(flat, (-1, h, w, c)), -1, 1))


def mem(values, width: int) -> str:
    """Text for $readmemh: one two's-complement hex word of `width` bits a line."""
    mask, digits = (1 << width) - 1, -(-width // 4)
    return "".join(f"{int(v) & mask:0{digits}x}\n" for v in np.ravel(np.asarray(values, dtype=object)))
