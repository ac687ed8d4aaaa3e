"""Windows of which several taps come in a beat (hw/rtl/qs_taps.sv): what is legal, how long they take, what they wait for."""
from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class Line:
    """Where the positions of qs_taps leave, the map as one long line of pixels.

    first: the place of the last tap of the first position; step: from one position to the next; wrap: from the last one of a
    row to the first of the next row; frame: pixels of a frame.
    """
    first: int
    step: int
    wrap: int
    rows: int
    cols: int
    frame: int

    @property
    def last(self) -> int: return self.first + (self.rows - 1) * (self.wrap + (self.cols - 1) * self.step) + (self.cols - 1) * self.step


def line(space, out, kernel, stride, dilation, before) -> Line:
    """All of one or two axes: sizes of the map and of the result, kernel, stride, dilation, padding before."""
    (rows, cols), (down, right) = two_axes(space), [(k - 1) * d for k, d in zip(two_axes(kernel), two_axes(dilation))]
    (top, left), (sr, sc), (high, wide) = two_axes(before, 0), two_axes(stride), two_axes(out)
    return Line((down - top) * cols + right - left, sc, sr * cols - (wide - 1) * sc, high, wide, rows * cols)


def taps_legal(space, out, kernel, stride, dilation, before) -> bool:
    """Whether qs_taps can make these windows: no padding beyond the kernel, rows of positions and frames apart; see line()."""
    at = line(space, out, kernel, stride, dilation, before)
    within = all(p <= (k - 1) * d for p, k, d in zip(two_axes(before, 0), two_axes(kernel), two_axes(dilation)))
    return within and at.wrap >= 1 and at.first < at.frame and at.last - at.frame < at.first


@cache
def taps_cycles(at: Line, blocks: int, parts: int, turns: int = 1) -> int:
    """Cycles a frame of qs_taps: a position is `blocks` * `parts` beats, which a matrix unit behind it uses `turns` times.

    As the modules do it: a beat of a pixel moves the line on a cycle, or as many as the position has beats there; the output
    register holds a beat until it is taken, while the unit is at its later turns.
    """
    few = min(at.rows, 4)  # rows are alike: the rest goes on as the last of these
    gaps = [at.step] * (at.cols - 1)
    clock, free, busy, marks = 0, 0, 0, []
    opening = at.first + at.frame - at.last
    for _ in range(3):
        for row in range(few):
            for gap in ([at.wrap] if row else [opening]) + gaps:
                clock += (gap - 1) * blocks
                for beat in range(blocks * parts):
                    clock = max(clock, free) + 1          # loaded into the output register
                    free = max(clock, busy)               # and taken from there
                    busy = free + 1 + (0 if beat < blocks * parts - 1 else (turns - 1) * blocks * parts)
            marks.append(clock)
    row = marks[-1] - marks[-2] if few > 2 else 0
    return marks[-1] - marks[-1 - few] + (at.rows - few) * row


def two_axes(v, fill: int = 1) -> tuple[int, int]:
    """One axis as rows of a single pixel."""
    return (*v, fill) if len(v) == 1 else tuple(v)


def taps_wanted(at: Line) -> np.ndarray:
    """Pixels of the map that have come when each position leaves, row by row: all up to the place of its last tap in the line."""
    row, col = np.arange(at.rows)[:, None], np.arange(at.cols)
    places = at.first + row * (at.wrap + (at.cols - 1) * at.step) + col * at.step
    return np.clip(places + 1, 0, at.frame).ravel()
