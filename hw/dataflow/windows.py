"""The rule of windows: what stands between a feature map and what computes on its windows."""
import math

from ir import Conv, Ints, Node, UserError

from .netlist import Bits, Stream
from .rule import Rule
from .taps import taps_legal, two_axes


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


def kept_rows(n: Node, x: Ints) -> int:
    """Rows of its argument x, counted from the map's first, that the qs_window of node n has taken while its first row of windows leaves."""
    op = n.op
    kernel = op.weight.shape[2:] if isinstance(op, Conv) else op.kernel
    if math.prod(kernel) == math.prod(op.stride) == 1 and not any(map(any, op.padding)) or not isinstance(op, Conv) and tuple(kernel) == x.shape[1:]:
        return 0
    dilation = two_axes(op.dilation)[0] if isinstance(op, Conv) else 1
    return ring_rows(x.shape[1], n.type.shape[1], kernel[0], op.stride[0], dilation) - op.padding[0][0]
