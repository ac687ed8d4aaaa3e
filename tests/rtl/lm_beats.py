"""Ternary matrices as the beats of weights that the engines of a language-model core read."""
import numpy as np


def padded(w: np.ndarray, trits: int, engines: int) -> np.ndarray:
    """(M, K) -> (groups, engines, beats, trits), zeros where the matrix ends; row m stands at (m // engines, m % engines)."""
    m, k = -(-w.shape[0] // engines) * engines, -(-w.shape[1] // trits) * trits
    full = np.zeros((m, k), np.int64)
    full[:w.shape[0], :w.shape[1]] = w
    return full.reshape(-1, engines, k // trits, trits)


def beat(t: np.ndarray, encoding: int) -> int:
    """(trits,) -> the packed beat: five trits a byte in base 3, or two bits a trit."""
    if encoding == 1:
        return sum((int(v) & 3) << 2 * i for i, v in enumerate(t))
    return sum(sum((int(v) + 1) * 3 ** i for i, v in enumerate(t[j:j + 5])) << 8 * (j // 5) for j in range(0, len(t), 5))


def streams(w: np.ndarray, trits: int, engines: int, encoding: int) -> list[list[int]]:
    """For each engine the beats of its rows, one after the other."""
    p = padded(w, trits, engines)
    return [[beat(t, encoding) for row in p[:, e] for t in row] for e in range(engines)]
