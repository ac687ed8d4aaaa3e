"""The rule of windows: what stands between a feature map and what computes on its windows."""
import math
from dataclasses import dataclass
from functools import cache

from ir import Ints, UserError

from .netlist import Bits, Stream
from .rule import Rule


def window(r: Rule, s: Stream, kernel, stride, padding, dilation, pad: int, groups: int, taps: int = 1) -> Stream:
    """The windows of argument 0, group by group (0: every block of lanes by itself); nothing where they are single pixels in order.

    With several `taps` a beat: block by block, in a beat tap by tap, the lanes of a tap together.
    """
    x = r.types[0]
    if math.prod(kernel) == math.prod(stride) == 1 and not any(map(any, padding)):
        return s
    if any(map(any, padding)):
        s = r.resized(s, Ints(x.shape, min(x.lo, pad), max(x.hi, pad)), "_pad")
    space, out = two_axes(x.shape[1:]), two_axes(r.node.type.shape[1:])
    k, st, d = two_axes(kernel), two_axes(stride), two_axes(dilation)
    before = two_axes([p[0] for p in padding], 0)
    blocks = x.shape[0] // s.lanes
    made = r.net.like(f"{r.name}_windows", s, lanes=s.lanes * taps, count=math.prod(out) * math.prod(kernel) * x.shape[0])
    params = {"Lanes": s.lanes, "Blocks": blocks, "Width": s.width, "PadValue": Bits(s.width, pad), "InRows": space[0], "InCols": space[1],
              "OutRows": out[0], "OutCols": out[1], "KernelRows": k[0], "KernelCols": k[1], "StrideRows": st[0], "StrideCols": st[1],
              "DilateRows": d[0], "DilateCols": d[1], "PadTop": before[0], "PadLeft": before[1]}
    if taps == 1:
        return r.add("qs_window", params | {"Groups": groups or blocks, "RingRows": ring_rows(space[0], out[0], k[0], st[0], d[0])},
                     s, out=made, part="_window")
    if not taps_legal(space, out, k, st, d, before):
        raise UserError(f"node {r.name!r} cannot have {taps} taps a beat: its padding goes beyond its kernel, or it has more positions in a row "
                        "than the map has pixels; give it 1")
    cut = r.net.like(f"{r.name}_cut", s)  # nothing in qs_taps breaks the path from its reader's readiness to its writer
    r.net.add("qs_skid", f"{r.name}_skid", {"DataWidth": s.bits}, {"s": s}, {"m": cut})
    return r.add("qs_taps", params | {"Taps": taps}, cut, out=made, part="_window")


def ring_rows(rows: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """Rows that qs_window keeps: what a window spans, and what comes while the next row of windows, or the next frame, is waited for."""
    return (kernel - 1) * dilation + 1 + max(stride, rows - (out - 1) * stride)


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
