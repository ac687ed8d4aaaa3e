"""Loops of the ops that look at windows: convolutions, dense layers as convolutions of one point, pools."""
import math
from dataclasses import replace

import numpy as np

from ir import Conv, Ints, MaxPool, SumPool

from .images import Images, Machine
from .isa import Mode, Pass, Walk
from .tensors import Layout


def convolution(images: Images, node: str, op: Conv, lay: Layout, base: int, shape, out) -> Pass:
    """The sums of a convolution of x, seen as (C, *spatial): rows of a matrix, or lane by lane where each channel has its own kernel."""
    m = images.machine
    w = op.weight.reshape(*op.weight.shape[:2], -1, op.weight.shape[-1])
    blank = Pass(node, Mode.MATRIX, (1,) * 6, outside=op.pad)
    if op.groups > 1 and w.shape[1] == 1 and len(w) == op.groups:
        p = window(replace(blank, mode=Mode.LANES), op, lay, base, shape, out)
        words = p.counts[3]
        full = np.zeros((words * m.lanes, *w.shape[2:]), np.int64)
        full[:len(w)] = w[:, 0]
        steps = full.reshape(words, m.lanes, -1).transpose(0, 2, 1).reshape(-1, 1, m.lanes)
        form, inner = m.form(steps), (1, p.counts[1], p.counts[2])
        u = m.step_units(1, form)
    else:
        p = window(blank, op, lay, base, shape, out)
        words, blocks = -(-shape[0] // m.lanes), -(-len(w) // m.pe)
        steps = np.zeros((blocks * m.pe, words * m.lanes, *w.shape[2:]), np.int64)
        per, size = len(w) // op.groups, w.shape[1]
        for k in range(op.groups):
            steps[k * per:(k + 1) * per, k * size:(k + 1) * size] = w[k * per:(k + 1) * per]
        steps = steps.reshape(blocks, m.pe, words, m.lanes, -1).transpose(0, 4, 2, 1, 3).reshape(-1, m.pe, m.lanes)
        form, inner = m.form(steps), (words, p.counts[1], p.counts[2])
        u = m.step_units(m.pe, form)
        p = replace(p, counts=(*inner, blocks, *p.counts[4:]), x=replace(p.x, strides=(m.lanes, *p.x.strides[1:3], 0, *p.x.strides[4:])))
    strides = (u, u * inner[0], u * inner[0] * inner[1], u * math.prod(inner), 0, 0)
    return replace(p, format=form, w=Walk(images.add_weights(steps, form), strides))


def window(p: Pass, op: Conv | MaxPool | SumPool, lay: Layout, base: int, shape, out) -> Pass:
    """The loops of a window over x (C, *spatial) at element `base`: kernel inside, channels, columns and rows outside."""
    kernel = op.weight.shape[2:] if isinstance(op, Conv) else op.kernel
    dilation = op.dilation if isinstance(op, Conv) else (1,) * len(kernel)
    lift = (1,) * (2 - len(kernel))   # one axis: an image of one row
    (kh, kw), (dh, dw), (sh, sw), (h, wd), (oh, ow) = ((*lift, *t) for t in (kernel, dilation, op.stride, shape[1:], out))
    (top, _), (left, _) = (*(((0, 0),) * len(lift)), *op.padding)
    line, signed = wd * lay.row, read(op, lay.type, p.outside).signed
    return replace(
        p, counts=(1, kw, kh, lay.row // lay.lanes, ow, oh), signed=signed, second_signed=signed,
        x=Walk(base - top * line - left * lay.row, (0, dw * lay.row, dh * line, lay.lanes, sw * lay.row, sh * line)),
        row=Walk(-top, (0, 0, dh, 0, 0, sh)), col=Walk(-left, (0, dw, 0, 0, sw, 0)), rows=h, cols=wd)


def read(op: Conv | MaxPool | SumPool, x: Ints, outside: int) -> Ints:
    """Type of what a window reads: x, and what stands outside where there is padding."""
    return Ints(x.shape, min(x.lo, outside), max(x.hi, outside)) if any(map(any, op.padding)) else x


def columns_pay(op: Conv, shape, out, m: Machine) -> bool:
    """Whether a convolution gets faster by all that writing the columns of its windows side by side costs: an element a cycle."""
    if op.groups > 1 or op.weight.ndim < 4 or op.weight.shape[3] == 1:
        return False
    (c, h, _), (o, _, kh, kw) = shape, op.weight.shape
    now, then = (max(kh * n, m.pe // m.out) for n in (kw * -(-c // m.lanes), -(-c * kw // m.lanes)))
    return (now - then) * math.prod(out) * -(-o // m.pe) > h * out[1] * (kw * c + -(-kw * c // m.lanes)) + 40 * (kw + 1)
