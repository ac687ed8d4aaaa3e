"""What the modules of the library are to compute: for each the frames of its streams, and a frame of its result.

The numbers come from the definitions themselves: ir/ops.py runs on the words of word.py, and where elements only move,
ir/interpret.py moves their places.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import z3

from ir import Ints, Op, Pad, Slice, UserError, ops
from ir.interpret import evaluate

from .word import Word

Beat = z3.BitVecRef
Beats = list[Beat]


@dataclass(frozen=True)
class Meaning:
    """beats: stream prefix -> beats of a frame; frame(beats of the inputs, in order) -> beats of the result.

    given: what is known of a beat of an input, by prefix; holds: frames that may be inside.
    """
    beats: Mapping[str, int]
    frame: Callable[[list[Beats]], Beats]
    given: Mapping[str, Callable[[Beat], z3.BoolRef]] = field(default_factory=dict)
    holds: int = 8


def meaning(module: str, p: Mapping[str, int | str], mems: Mapping[str, str]) -> Meaning:
    """Of a library module with all its parameters.  UserError: nothing is known of it."""
    if module not in MEANINGS:
        raise UserError(f"nothing is written down of what {module} means; it is one of {', '.join(MEANINGS)}")
    return MEANINGS[module](p, mems)


def split(beat: Beat, lanes: int) -> Beats:
    """Elements of a beat, lane 0 (the lowest bits) first."""
    w = beat.size() // lanes
    return [z3.Extract((k + 1) * w - 1, k * w, beat) for k in range(lanes)]


def join(elements: Beats) -> Beat: return z3.Concat(*reversed(elements)) if len(elements) > 1 else elements[0]


def grouped(elements: Beats, lanes: int) -> Beats:
    """Elements as beats."""
    return [join(elements[k:k + lanes]) for k in range(0, len(elements), lanes)]


def lines(mems: Mapping[str, str], file: str) -> list[int]: return [int(x, 16) for x in mems[file].split()]


def pick(index: Beat, entries: list[int], width: int) -> Beat:
    """entries[index]."""
    out = z3.BitVecVal(entries[-1], width)
    for k, v in enumerate(entries[:-1]):
        out = z3.If(index == k, z3.BitVecVal(v, width), out)
    return out


def signed(v: int, width: int) -> int: return v - ((v >> width - 1 & 1) << width)


def _same(p, mems): return Meaning({"s": 1, "m": 1}, lambda x: x[0])


def _fifo(p, mems): return Meaning({"s": 1, "m": 1}, lambda x: x[0], holds=p["Depth"] + 2)


def _axis_in(p, mems): return Meaning({"s_axis": 1, "m": 1}, lambda x: [z3.Extract(p["Width"] - 1, 0, x[0][0])])


def _axis_out(p, mems):
    n, pad = p["Beats"], p["DataWidth"] - p["Width"]

    def frame(x):
        return [z3.Concat(z3.BitVecVal(b == n - 1, 1), z3.ZeroExt(pad, v)) for b, v in enumerate(x[0])]
    return Meaning({"s": n, "m_axis": n}, frame)


def _dwc(p, mems):
    i, o = p["InLanes"], p["OutLanes"]
    whole = max(i, o)
    return Meaning({"s": whole // i, "m": whole // o}, lambda x: grouped([e for b in x[0] for e in split(b, i)], o))


def _concat(p, mems):
    n = [p["Beats"] >> 32 * k & 0xffffffff for k in range(p["NumIn"])]
    return Meaning({f"s[{k}]": b for k, b in enumerate(n)} | {"m": sum(n)}, lambda x: [b for beats in x for b in beats])


def _reorder(p, mems):
    order = lines(mems, p["OrderFile"])
    return Meaning({"s": p["InBeats"], "m": len(order)}, lambda x: [x[0][k] for k in order])


def _moved(op: Op, shape: tuple[int, ...], outside: int = 0):
    """An op that only moves elements, on beats; places beyond the frame are `outside`."""
    t = Ints(shape, -1, math.prod(shape))
    order = evaluate(op, (t,), np.arange(math.prod(shape)).reshape(1, *shape)).ravel().tolist()
    return order, lambda x: [x[0][k] if k >= 0 else z3.BitVecVal(outside, x[0][0].size()) for k in order]


def _axes(p, *names): return [tuple(p[n] >> 32 * k & 0xffffffff for k in range(p["Rank"])) for n in names]


def _slice(p, mems):
    size, start, stop, step = _axes(p, "Size", "Start", "Stop", "Step")
    order, frame = _moved(Slice(start, stop, step), size)
    return Meaning({"s": math.prod(size), "m": len(order)}, frame)


def _pad(p, mems):
    size, before, after = _axes(p, "Size", "Before", "After")
    order, frame = _moved(Pad(tuple(zip(before, after)), -1), size, p["Value"])
    return Meaning({"s": math.prod(size), "m": len(order)}, frame)


def _expand(p, mems):
    block, times, copies = p["Block"], p["Repeat"], p["Copies"]
    return Meaning({"s": block, "m": block * times}, lambda x: [join([b] * copies) for _ in range(times) for b in x[0]])


def _constant(p, mems):
    values = lines(mems, p["ValueFile"])
    return Meaning({"m": p["Beats"]}, lambda x: [z3.BitVecVal(v, p["Width"]) for v in values])


def _resize(p, mems): return _lanes(p, lambda x: Word.of(x, p["InSigned"]).wide(p["OutWidth"]))


def _lanes(p, element, **more):
    """One beat in, one out, lane by lane; joined streams are a and b."""
    names = ["s"] if "InWidth" in p else ["a", "b"]
    return Meaning({n: 1 for n in names} | {"m": 1},
                   lambda x: [join([element(*e) for e in zip(*(split(b[0], p["Lanes"]) for b in x))])], **more)


def _two(op):
    def made(p, mems):
        return _lanes(p, lambda a, b: op(Word.of(a, p["ASigned"]), Word.of(b, p["BSigned"])).wide(p["OutWidth"]))
    return made


def _div(p, mems):
    def divided(a, b): return ops.divide(Word.of(a, p["ASigned"]), Word.of(b, False)).wide(p["OutWidth"])
    return _lanes(p, divided, given={"b": lambda beat: z3.And([b != 0 for b in split(beat, p["Lanes"])])}, holds=20)


def _sqrt(p, mems):
    return _lanes(p, lambda x: pick(x, [ops.root(v) for v in range(1 << p["InWidth"])], p["OutWidth"]), holds=20)


def _lut(p, mems):
    entries = lines(mems, p["TableFile"])
    return _lanes(p, lambda x: pick(x, entries, p["OutWidth"]))


def _gather(p, mems):
    n, width = p["RowBeats"], p["Lanes"] * p["OutWidth"]
    rows = lines(mems, p["TableFile"])
    return Meaning({"s": 1, "m": n}, lambda x: [pick(x[0][0], rows[b::n], width) for b in range(n)],
                   {"s": lambda x: z3.ULE(x, p["NumRows"] - 1)})


def _requant(p, mems):
    lanes, w = p["Lanes"], p["MulWidth"]
    rows = [[row >> w * k & (1 << w) - 1 for k in range(lanes)] for row in lines(mems, p["MulFile"])]
    muls = [[signed(m, w) if p["MulSigned"] else m for m in row] for row in rows for _ in range(p["Repeat"])]

    def frame(x):
        return [join([ops.requant(Word.of(e, p["InSigned"]), m, p["Shift"], p["Zero"], p["Lo"], p["Hi"]).wide(p["OutWidth"])
                      for e, m in zip(split(b, lanes), row)]) for b, row in zip(x[0], muls)]
    return Meaning({"s": len(muls), "m": len(muls)}, frame)


def _pool(p, mems):
    blocks, lanes = p["Blocks"], p["Lanes"]

    def frame(x):
        words = [[Word.of(e, p["InSigned"]) for e in split(b, lanes)] for b in x[0]]
        folded = words[:blocks]
        for tap in range(1, p["Taps"]):
            new = words[tap * blocks:(tap + 1) * blocks]
            folded = [[a.max(b) if p["Largest"] else a + b for a, b in zip(*two)] for two in zip(folded, new)]
        return [join([w.wide(p["OutWidth"]) for w in beat]) for beat in folded]
    return Meaning({"s": blocks * p["Taps"], "m": blocks}, frame)


def _recur(p, mems):
    steps, beats, lanes = p["Steps"], p["Beats"], p["Lanes"]

    def frame(x):
        a, b, c = ([Word.of(e, p[k + "Signed"]) for beat in beats_ for e in split(beat, lanes)] for k, beats_ in zip("ABC", x))
        row, state, out = beats * lanes, c, []
        for t in range(steps):
            state = [ops.clamp(ops.round_shift(f * s + g, p["Shift"]), p["Lo"], p["Hi"])
                     for f, g, s in zip(a[t * row:(t + 1) * row], b[t * row:(t + 1) * row], state)]
            out += [s.wide(p["OutWidth"]) for s in state]
        return grouped(out, lanes)
    return Meaning({"a": steps * beats, "b": steps * beats, "c": beats, "m": steps * beats}, frame)


MEANINGS: dict[str, Callable[[Mapping, Mapping], Meaning]] = {
    "qs_skid": _same, "qs_fork": _same, "qs_fifo": _fifo, "qs_axis_in": _axis_in, "qs_axis_out": _axis_out,
    "qs_dwc": _dwc, "qs_concat": _concat, "qs_reorder": _reorder,
    "qs_slice": _slice, "qs_pad": _pad, "qs_expand": _expand, "qs_constant": _constant, "qs_resize": _resize,
    "qs_add": _two(lambda a, b: a + b), "qs_mul": _two(lambda a, b: a * b), "qs_div": _div, "qs_sqrt": _sqrt, "qs_lut": _lut,
    "qs_gather": _gather, "qs_requant": _requant, "qs_pool": _pool, "qs_recur": _recur}
