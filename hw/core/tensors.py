"""Where tensors stand in the scratchpad: channels innermost, filled up to whole words; places are used again when a tensor is dead."""
import math
from dataclasses import dataclass

import numpy as np

from ir import Ints


@dataclass(frozen=True)
class Layout:
    """A tensor of `type` with axis `inner` innermost, each row of it filled up to words of `lanes` elements."""
    type: Ints
    inner: int
    lanes: int

    @property
    def channels(self) -> int: return self.type.shape[self.inner] if self.type.shape else 1

    @property
    def row(self) -> int:
        """Elements from one position to the next."""
        return -(-self.channels // self.lanes) * self.lanes

    @property
    def positions(self) -> int: return math.prod(self.type.shape) // self.channels

    @property
    def size(self) -> int:
        """Elements, filling included."""
        return self.positions * self.row

    @property
    def words(self) -> int: return self.size // self.lanes

    def offsets(self) -> np.ndarray:
        """(*shape) element -> where it stands, counted from the tensor's first element."""
        shape = self.type.shape
        outer = np.arange(self.positions).reshape(shape[:self.inner] + shape[self.inner + 1:])
        return np.moveaxis(outer[..., None] * self.row + np.arange(self.channels), -1, self.inner)


@dataclass
class Life:
    """A tensor's words and the first and last step that touch it."""
    words: int
    first: int
    last: int


def allocate(lives: dict[str, Life]) -> tuple[dict[str, int], int]:
    """Name -> first word, and the words in all: the best of first fits by size, birth, death, size times life."""
    orders = (lambda v: (-v.words, v.first), lambda v: (v.first, -v.words), lambda v: (-v.last, -v.words),
              lambda v: -v.words * (v.last - v.first + 1))
    tried = [_first_fit(lives, sorted(lives, key=lambda n, order=order: order(lives[n]))) for order in orders]
    return min(tried, key=lambda made: made[1])


def _first_fit(lives: dict[str, Life], order: list[str]) -> tuple[dict[str, int], int]:
    """Each tensor at the lowest place that is free all its life."""
    placed: dict[str, int] = {}
    for name in order:
        mine, at = lives[name], 0
        for start, end in sorted((placed[o], placed[o] + lives[o].words) for o in placed
                                 if lives[o].first <= mine.last and mine.first <= lives[o].last):
            if at + mine.words <= start:
                break
            at = max(at, end)
        placed[name] = at
    return placed, max((placed[n] + lives[n].words for n in placed), default=0)


def input_lanes(channels: int, lanes: int) -> int:
    """Elements of an input beat: a whole row where it fits into a word, else what divides both."""
    return channels if channels <= lanes else math.gcd(channels, lanes)
