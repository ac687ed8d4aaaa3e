"""Canonical signed digits: a number with the fewest non-zero digits of -1, 0 and 1, no two of them beside each other."""
import numpy as np


def signed_digits(n: int) -> list[tuple[int, int]]:
    """n -> [(shift, sign)], lowest first; n == sum(sign << shift)."""
    digits, at = [], 0
    while n:
        if n & 1:
            sign = 2 - (n & 3)
            digits.append((at, sign))
            n -= sign
        n, at = n >> 1, at + 1
    return digits


def weight(matrix: np.ndarray) -> np.ndarray:
    """Non-zero digits of each element: n has as many as n ^ 3n has bits (Reitwieser 1960)."""
    n = np.abs(np.asarray(matrix, np.int64))
    return np.bitwise_count(n ^ (3 * n))
