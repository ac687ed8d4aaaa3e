"""One rule an op: the library modules that carry it out.  Every op of the closed set has one."""
import math
from typing import assert_never

import numpy as np

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Input, Lut, MatMul, MaxPool, Mul, Pad, Recur, Requant,
                Reshape, Slice, Sqrt, SumPool, Transpose)

from .flow import by_rows, concat_chunk, inner_of
from .fold import depthwise, taps
from .matrix import codes, form, kind_of_memory
from .netlist import Bits, Stream, signed_width
from .orders import flow_shape, inner_axis
from .requants import requant
from .rule import Rule, vector
from .rules_arith import div, expand, recur, sqrt
from .windows import window


def lower(r: Rule) -> Stream:
    """Add the modules of the rule's node; returns the stream of its value."""
    match r.node.op:
        case Dense(w, b):
            if len(r.types[0].shape) == 1:
                w = w[:, r.sources[0].order]
            return _mvu(r, r.args[0], w[None], b[None])
        case Conv():
            return _conv(r)
        case MaxPool() | SumPool():
            return _pool(r)
        case Requant():
            return requant(r)
        case Add():
            return r.add("qs_add", _two(r), *r.args)
        case Mul():
            return r.add("qs_mul", _two(r), *r.args)
        case Div():
            return div(r)
        case Sqrt():
            return sqrt(r)
        case MatMul():
            return _matmul(r)
        case Lut(table, base):
            return _lut(r, table, base)
        case Gather(table):
            return _gather(r, table)
        case Concat(axis):
            return _concat(r, axis)
        case Slice():
            return _slice(r)
        case Pad():
            return _pad(r)
        case Expand():
            return expand(r)
        case Recur():
            return recur(r)
        case Reshape() | Transpose():
            return r.args[0]
        case Input() | Constant():
            raise TypeError("an input or a constant has no arguments; hw/dataflow/build.py makes its streams")
        case op:
            assert_never(op)


def _mvu(r: Rule, s: Stream, w: np.ndarray, b: np.ndarray) -> Stream:
    """w (groups, rows, columns in stream order), b (groups, rows)."""
    groups, rows, cols = w.shape
    pe, simd = r.flow.lanes, s.lanes
    # one word for each cycle: group, turn, beat; in it pe, simd
    words = w.reshape(groups, rows // pe, pe, cols // simd, simd).transpose(0, 1, 3, 2, 4).reshape(-1, pe, simd)
    f = form(r.node.op, r.types[0], r.flow.fold, len(words))
    return r.add("qs_mvu", {
        "Groups": groups, "Rows": rows, "Cols": cols, "Pe": pe, "Simd": simd, "InWidth": s.width, "InSigned": int(s.signed),
        **f.params, **_memories(r, codes(words, f), f.width, b.reshape(-1, pe)), "OutWidth": r.node.type.bits}, s)


def _memories(r: Rule, words: np.ndarray, width: int, biases: np.ndarray) -> dict:
    """Weights as stored, a word a row, and biases."""
    bias_width = signed_width(biases)
    return {"BiasWidth": bias_width, "Weights": kind_of_memory(r.flow.fold), "WeightFile": r.net.mem(f"{r.name}_weight", words, width),
            "BiasFile": r.net.mem(f"{r.name}_bias", biases, bias_width)}


def _conv(r: Rule) -> Stream:
    op, x, s = r.node.op, r.types[0], r.args[0]
    w, groups, kernel = op.weight, op.groups, op.weight.shape[2:]
    several = taps(op, r.flow.fold.simd)
    s = window(r, s, kernel, op.stride, op.padding, op.dilation, op.pad, 0 if depthwise(op) else groups, several)
    if not depthwise(op):  # (group, row, tap, channel)
        cols = np.moveaxis(w.reshape(groups, len(w) // groups, w.shape[1], -1), 2, 3)
        return _mvu(r, s, cols.reshape(groups, len(w) // groups, -1), op.bias.reshape(groups, -1))
    lanes = s.lanes // several
    blocks, beats = x.shape[0] // lanes, math.prod(kernel) // several
    words = w.reshape(blocks, lanes, beats, several).transpose(0, 2, 1, 3).reshape(-1, lanes, several)
    f = form(op, x, r.flow.fold, len(words))
    return r.add("qs_vvu", {
        "Lanes": lanes, "Blocks": blocks, "Taps": math.prod(kernel), "Simd": several, "InWidth": s.width, "InSigned": int(s.signed),
        **f.params, **_memories(r, codes(words, f), f.width, op.bias.reshape(-1, lanes)), "OutWidth": r.node.type.bits}, s)


def _pool(r: Rule) -> Stream:
    op, x, s = r.node.op, r.types[0], r.args[0]
    whole = tuple(op.kernel) == x.shape[1:] and not any(map(any, op.padding))  # the map as it comes: one sum a channel
    rows = by_rows(op, x.shape, r.sources[0].order, s.lanes)
    if not whole:
        pad = x.lo if isinstance(op, MaxPool) else op.pad
        s = window(r, s, op.kernel, op.stride, op.padding, (1,) * len(op.kernel), pad, 0)
    return r.add("qs_pool", {
        "Lanes": s.lanes, "Blocks": x.shape[0] // s.lanes if whole and not rows else 1, "Taps": math.prod(op.kernel), "InWidth": s.width,
        "InSigned": int(s.signed), "OutWidth": r.node.type.bits, "Largest": int(isinstance(op, MaxPool))}, s)


def _two(r: Rule) -> dict:
    a, b = r.args
    return {"Lanes": a.lanes, "AWidth": a.width, "ASigned": int(a.signed), "BWidth": b.width, "BSigned": int(b.signed),
            "OutWidth": r.node.type.bits}


def _matmul(r: Rule) -> Stream:
    a, b = r.args
    m, k = r.types[0].shape[-2:]
    return r.add("qs_matmul", {"M": m, "K": k, "N": r.types[1].shape[-1], "KLanes": a.lanes, "Lanes": b.lanes, "AWidth": a.width,
                               "ASigned": int(a.signed), "BWidth": b.width, "BSigned": int(b.signed), "OutWidth": r.node.type.bits}, a, b)


def _lut(r: Rule, table: np.ndarray, base: int) -> Stream:
    s, t = r.args[0], r.types[0]
    codes = np.arange(1 << s.width)
    values = codes - ((codes >> (s.width - 1)) << s.width) if s.signed else codes
    full = table[np.clip(values, t.lo, t.hi) - base]  # beyond lo and hi no code ever occurs
    return r.add("qs_lut", {"Lanes": s.lanes, "InWidth": s.width, "OutWidth": r.node.type.bits,
                            "TableFile": r.net.mem(f"{r.name}_table", full, r.node.type.bits)}, s)


def _gather(r: Rule, table: np.ndarray) -> Stream:
    lanes, width = r.flow.lanes, r.node.type.bits
    table = table[:r.types[0].hi + 1]  # the rows beyond are never read
    return r.add("qs_gather", {"InWidth": r.args[0].width, "NumRows": len(table), "RowBeats": table.shape[1] // lanes, "Lanes": lanes,
                               "OutWidth": width, "TableFile": r.net.mem(f"{r.name}_table", table.reshape(-1, lanes), width)}, r.args[0])


def _concat(r: Rule, axis: int) -> Stream:
    t, out = r.node.type, r.result()
    inner = inner_axis(r.flow.order, t.shape)
    ins = [r.resized(s, t, f"_{k}") for k, s in enumerate(r.args)]
    beats = [concat_chunk(x.shape, inner, axis) // out.lanes for x in r.types]
    r.net.add("qs_concat", r.name, {"NumIn": len(ins), "Width": out.bits, "Beats": vector(beats)}, {"s": ins}, {"m": out})
    return out


def _slice(r: Rule) -> Stream:
    op, s = r.node.op, r.args[0]
    axes = _in_beats(r, s.lanes, Size=r.types[0].shape, Start=op.start, Stop=op.stop)
    inner = inner_of(r.sources[0], r.types[0].shape)
    step = [*flow_shape(op.step, inner)]
    step[-1] = step[-1] if s.lanes == 1 else 1
    return r.add("qs_slice", {"Rank": len(step), "Width": s.bits, **axes, "Step": vector(step)}, s)


def _pad(r: Rule) -> Stream:
    op, t = r.node.op, r.node.type
    s = r.resized(r.args[0], t, "")
    before, after = zip(*op.padding)
    axes = _in_beats(r, s.lanes, Size=r.types[0].shape, Before=before, After=after)
    value = sum((op.value & (1 << t.bits) - 1) << t.bits * k for k in range(s.lanes))
    return r.add("qs_pad", {"Rank": len(t.shape), "Width": s.bits, **axes, "Value": Bits(s.bits, value)}, s)


def _in_beats(r: Rule, lanes: int, **fields) -> dict[str, Bits]:
    """Numbers of each axis as vectors in stream order, those of the innermost axis in beats."""
    inner = inner_of(r.sources[0], r.types[0].shape)
    out = {}
    for k, v in fields.items():
        v = list(flow_shape(tuple(v), inner))
        out[k] = vector([*v[:-1], v[-1] // lanes])
    return out
