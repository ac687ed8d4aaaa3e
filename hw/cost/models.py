"""What a module of hw/rtl costs, as a function of its parameters.

Multipliers and block RAMs are counted; LUTs and flip-flops are sums of a few terms that follow from the structure of the
module, each times a constant that was fitted to runs of Yosys (benchmarks/fit_hw_cost.py -> hw/data/<family>.json).
"""
from collections.abc import Mapping

from . import models_arith, models_matrix  # noqa: F401  register their models
from .memory import place
from .parts import KNOWN, MODELS, Params, Parts, counter, log2, memory, model, pairs, product
from ..targets import DSP_BITS

__all__ = ["KNOWN", "MODELS", "parts", "predict"]


def parts(module: str, params: Mapping, family: str = "ecp5", dsp_bits: int = DSP_BITS) -> Parts:
    """The terms of an instance.  UserError: a module that has no model."""
    out = Parts(lut={"one": 1}, ff={"one": 1})
    MODELS[module](out, Params(params, family, dsp_bits))
    return out


def predict(module: str, params: Mapping, constants: Mapping, dsp_bits: int = DSP_BITS) -> dict[str, float]:
    """{"lut", "ff", "dsp", "bram"} of an instance, with the constants of a family (hw.cost.constants)."""
    p = parts(module, params, constants["family"], dsp_bits)
    known = constants["modules"][module]
    return {"lut": sum(known["lut"].get(t, 0) * v for t, v in p.lut.items()), "ff": sum(known["ff"].get(t, 0) * v for t, v in p.ff.items()),
            "dsp": p.dsp, "bram": p.bram}


@model("qs_requant")
def _requant(out: Parts, p: Params) -> None:
    prod = p.InWidth + (not p.InSigned) + p.MulWidth + (not p.MulSigned)
    total = p.RoundWidth + (p.Shift > 0)  # what is added to round
    if p.Constant:
        digits = (p.Mul ^ 3 * p.Mul).bit_count()
        out.add("lut", constant=p.Lanes * max(0, digits - 1) * pairs(p.InWidth + 1))
    else:
        memory(out, p, p.Rows, p.Lanes * p.MulWidth, False, "MulFile")
        counter(out, p.Rows, p.Repeat)
        digits = 1 + p.Split
        product(out, p, p.Lanes, p.InWidth, p.InSigned, p.MulWidth, p.MulSigned, p.Rows == 1)
        out.add("lut", halves=p.Lanes * p.Split * pairs(prod))
    power = p.Constant and digits == 1
    whole = power and p.Zero == 0 and (p.Mul & -p.Mul).bit_length() > p.Shift  # nothing to round
    kept = p.InWidth if power else min(prod - max(0, p.Shift - 1), total) if digits == 1 else prod * 2 - p.MulWidth // 2
    bounds, bits = 0, 0
    for bound, needed in ((p.Lo, p.Least < p.Lo <= p.Most), (p.Hi + 1, p.Least <= p.Hi < p.Most)):
        if bound & (abs(bound) - 1) == 0 or bound & -bound == abs(bound):
            bits += needed * max(0, p.RoundWidth - abs(bound).bit_length()) if bound else 0
        else:
            bounds += needed
    out.add("lut", rounding=0 if whole else p.Lanes * pairs(total), bounds=p.Lanes * bounds * pairs(p.RoundWidth), above=p.Lanes * bits / 3,
            result=p.Lanes * p.OutWidth)
    out.add("ff", x=p.Lanes * p.InWidth, product=p.Lanes * max(0, kept), result=p.Lanes * p.OutWidth)


@model("qs_window")
def _window(out: Parts, p: Params) -> None:
    line, ring = p.InCols * p.Blocks, p.RingRows * p.InCols * p.Blocks
    memory(out, p, ring, p.Lanes * p.Width, True)
    terms = {"rows": log2(p.InRows), "line": log2(line), "slots": log2(p.RingRows), "ring": log2(ring)}
    out.add("lut", **terms)
    out.add("ff", **terms)
    counter(out, p.Blocks // p.Groups, p.Groups, p.KernelRows, p.KernelCols)


@model("qs_taps")
def _taps(out: Parts, p: Params) -> None:
    """Two delays, a column and the beat that leaves; padding is the reset of its flip-flops."""
    beat, kernel, line = p.Lanes * p.Width, p.KernelRows * p.KernelCols, p.InCols * p.Blocks
    for taps, wide, depth in ((p.KernelRows, 1, p.DilateRows * line), (p.KernelCols, p.KernelRows, p.DilateCols * p.Blocks)):
        bits = (taps - 1) * wide * beat
        if depth == 1:
            out.add("ff", delayed=bits)
        elif bits:
            memory(out, p, depth - 1, bits, True)
            counter(out, depth - 1)
    parts = kernel // p.Taps
    out.add("lut", choice=p.Taps * beat * (parts - 1), outside=kernel, places=log2(p.InRows * p.InCols), rows=log2(p.OutRows * p.OutCols))
    out.add("ff", column=p.KernelRows * beat, beat=p.Taps * beat, places=log2(p.InRows * p.InCols) + log2(p.OutRows) + log2(p.OutCols))
    counter(out, p.Blocks, p.Blocks, parts, p.StrideRows * p.InCols)


@model("qs_fifo")
def _fifo(out: Parts, p: Params) -> None:
    memory(out, p, p.Depth, p.DataWidth, True)
    counter(out, p.Depth, p.Depth, p.Depth + 1)


@model("qs_skid")
def _skid(out: Parts, p: Params) -> None:
    out.add("lut", width=p.DataWidth)
    out.add("ff", width=p.DataWidth)


@model("qs_dwc")
def _dwc(out: Parts, p: Params) -> None:
    up = p.OutLanes > p.InLanes
    bits = max(p.InLanes, p.OutLanes) * p.Width
    out.add("lut", shift=0 if up else bits)
    out.add("ff", width=bits)
    counter(out, max(p.InLanes, p.OutLanes) // min(p.InLanes, p.OutLanes))


@model("qs_pool")
def _pool(out: Parts, p: Params) -> None:
    out.add("lut", **{"largest" if p.Largest else "sum": p.Lanes * pairs(max(p.OutWidth, p.InWidth) + 1)})
    out.add("ff", width=p.Lanes * p.OutWidth * (1 + (p.Blocks == 1)))
    if p.Blocks > 1:
        m = place(p.Blocks, p.Lanes * (max(p.OutWidth, p.InWidth) + 1), True, p.family, clocked=False)
        out.add("lut", lutram=m.lutram, memory_mux=m.mux)
    counter(out, p.Taps, p.Blocks)


@model("qs_add")
def _add(out: Parts, p: Params) -> None:
    out.add("lut", carry=p.Lanes * pairs(p.OutWidth))
    out.add("ff", width=p.Lanes * p.OutWidth)


@model("qs_mul")
def _mul(out: Parts, p: Params) -> None:
    product(out, p, p.Lanes, p.AWidth, p.ASigned, p.BWidth, p.BSigned)
    out.add("ff", width=p.Lanes * (p.OutWidth + p.AWidth + p.BWidth))


@model("qs_lut")
def _lut(out: Parts, p: Params) -> None:
    for _ in range(p.Lanes):
        memory(out, p, 1 << p.InWidth, p.OutWidth, False, "TableFile")


@model("qs_gather")
def _gather(out: Parts, p: Params) -> None:
    memory(out, p, p.NumRows * p.RowBeats, p.Lanes * p.OutWidth, False, "TableFile")
    counter(out, p.RowBeats)


@model("qs_fork")
def _fork(out: Parts, p: Params) -> None:
    out.add("lut", branches=p.NumOut)
    out.add("ff", branches=p.NumOut)


@model("qs_concat")
def _concat(out: Parts, p: Params) -> None:
    out.add("lut", select=p.Width * (p.NumIn - 1))
    out.add("ff", width=p.Width)
    counter(out, max(_vector(p.Beats, p.NumIn)))


@model("qs_slice")
def _slice(out: Parts, p: Params) -> None:
    axes = _vector(p.Size, p.Rank)
    out.add("lut", bounds=sum(map(log2, axes)))
    out.add("ff", width=p.Width)
    counter(out, *axes, *_vector(p.Step, p.Rank))


@model("qs_pad")
def _pad(out: Parts, p: Params) -> None:
    axes = [sum(v) for v in zip(*(_vector(v, p.Rank) for v in (p.Before, p.Size, p.After)))]
    out.add("lut", bounds=sum(map(log2, axes)), width=p.Width)
    out.add("ff", width=p.Width)
    counter(out, *axes)


def _vector(value: int, rank: int) -> list[int]: return [value >> 32 * k & 0xffffffff for k in range(rank)]


@model("qs_reorder")
def _reorder(out: Parts, p: Params) -> None:
    memory(out, p, p.OutBeats, log2(p.InBeats), False, "OrderFile")
    memory(out, p, 2 << log2(p.InBeats), p.Width, True)
    counter(out, p.InBeats, p.OutBeats)


@model("qs_matmul")
def _matmul(out: Parts, p: Params) -> None:
    beats, blocks = p.K // p.KLanes, p.N // p.Lanes
    memory(out, p, 2 << log2(beats), p.KLanes * p.AWidth, True)
    for _ in range(p.KLanes):
        memory(out, p, 2 << log2(beats * blocks), p.Lanes * p.BWidth, True)
    wide = product(out, p, p.Lanes * p.KLanes, p.AWidth, p.ASigned, p.BWidth, p.BSigned)
    out.add("lut", carry=p.Lanes * (sum(pairs(min(p.OutWidth, wide + k)) for k in range(1, p.KLanes)) + pairs(p.OutWidth)),
            first=p.Lanes * p.OutWidth)
    out.add("ff", accumulators=3 * p.Lanes * p.OutWidth)
    counter(out, p.M, blocks, beats, beats * blocks, *[beats * blocks] * p.KLanes)


@model("qs_resize")
@model("qs_drain")
def _free(out: Parts, p: Params) -> None:
    """Wires only."""
