"""Shape ops as copies: a list of (from, to) as few nested loops, word by word where whole words move."""
from dataclasses import dataclass

import numpy as np

DEPTH = 3  # loops of a pass that go from group to group


@dataclass(frozen=True)
class Copy:
    """Elements (or words, in elements) to copy along up to DEPTH loops, innermost first; `count` elements a step."""
    counts: tuple[int, ...]
    x: tuple[int, ...]   # strides
    y: tuple[int, ...]
    x0: int
    y0: int
    count: int


def copies(source: np.ndarray, target: np.ndarray, lanes: int, filled: bool) -> list[Copy]:
    """Element source[i] goes to target[i], both in order of the target.

    filled: what is written beyond the last element of a word does no harm there.
    """
    pairs = np.stack([source, target], 1)
    words = pairs[target % lanes == 0]
    of_word = np.searchsorted(words[:, 1], target, side="right") - 1
    whole = len(words) and (of_word >= 0).all() and (words[:, 0] % lanes == 0).all() and (pairs - words[of_word] == (target % lanes)[:, None]).all() \
        and (filled or len(target) == len(words) * lanes)
    return [Copy(*loop, lanes if whole else 1) for loop in _loops(words if whole else pairs)]


def _loops(pairs: np.ndarray) -> list[tuple]:
    """Sequences of pairs as nested loops (counts, x strides, y strides, x0, y0)."""
    out = []
    while len(pairs):
        counts, strides, rest = [], [], pairs
        while len(rest) > 1 and len(counts) < DEPTH:
            n = _run(rest)
            if len(rest) % n or not (rest.reshape(-1, n, 2) - rest[::n, None] == rest[:n] - rest[0]).all():
                break
            counts.append(n)
            strides.append(rest[1] - rest[0])
            rest = rest[::n]
        if len(rest) > 1 and not counts:  # irregular: what is regular at its beginning, then the others
            n = _run(rest)
            out.append(((n,), (int(rest[1, 0] - rest[0, 0]),), (int(rest[1, 1] - rest[0, 1]),), *map(int, rest[0])))
            pairs = pairs[n:]
            continue
        for x0, y0 in rest.tolist():
            out.append((tuple(counts), tuple(int(s[0]) for s in strides), tuple(int(s[1]) for s in strides), x0, y0))
        break
    return out


def _run(pairs: np.ndarray) -> int:
    """Pairs at the beginning that stand at equal distances."""
    steps = np.diff(pairs, axis=0)
    other = np.flatnonzero((steps != steps[0]).any(1))
    return int(other[0]) + 1 if len(other) else len(pairs)
