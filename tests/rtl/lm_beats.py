"""Ternary matrices as the beats of weights that the engines of a language-model core read."""
import numpy as np

from hw.lm.layout import ENCODINGS, Machine, pack


def beats(trits: np.ndarray, encoding: int) -> list[int]:
    """(n, trits of a beat) -> n packed beats."""
    m = Machine(trits=trits.shape[1], lanes=1, encoding=ENCODINGS[encoding])
    return [int.from_bytes(row.tobytes(), "little") for row in pack(trits, m)]


def streams(w: np.ndarray, trits: int, engines: int, encoding: int) -> list[list[int]]:
    """For each engine the beats of its rows (m mod engines), one after the other; zeros where the matrix ends."""
    m, k = -(-w.shape[0] // engines) * engines, -(-w.shape[1] // trits) * trits
    full = np.zeros((m, k), np.int64)
    full[:w.shape[0], :w.shape[1]] = w
    return [beats(full[e::engines].reshape(-1, trits), encoding) for e in range(engines)]
