"""Ternary weights as bytes: five to a byte, which is 1.6 bits a weight where log2(3) = 1.585 is the least."""
import numpy as np

from ..errors import UserError

PER_BYTE = 5
LIMIT = 3 ** PER_BYTE  # a byte from here on is illegal
PLACES = 3 ** np.arange(PER_BYTE)


def pack(codes: np.ndarray) -> np.ndarray:
    """(..., K) of -1, 0, 1 -> (..., ceil(K / 5)) bytes: sum of (code + 1) * 3**j, the first code lowest; zeros fill the last byte.

    UserError: other codes.
    """
    codes = np.asarray(codes)
    if codes.size and (codes.min() < -1 or codes.max() > 1):
        raise UserError(f"codes from {codes.min()} to {codes.max()} are not ternary; give -1, 0 and 1")
    fill = -codes.shape[-1] % PER_BYTE
    digits = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, fill)]).astype(np.uint8) + np.uint8(1)
    return (digits.reshape(*codes.shape[:-1], -1, PER_BYTE) * PLACES.astype(np.uint8)).sum(-1, dtype=np.uint8)


def unpack(data: np.ndarray, count: int) -> np.ndarray:
    """The first `count` codes (..., count) int8 of each row of bytes.  UserError: a byte that stands for no five codes."""
    data = np.asarray(data, np.uint8)
    if data.size and data.max() >= LIMIT:
        raise UserError(f"byte {int(data.max())} stands for no five ternary codes; legal ones are below {LIMIT}")
    table = (np.arange(LIMIT)[:, None] // PLACES % 3 - 1).astype(np.int8)
    return table[data].reshape(*data.shape[:-1], -1)[..., :count]
