"""What the matrix units of hw/rtl cost: their adders are counted, as hw/rtl/qs_dot.sv and what it is made of builds them."""
from .parts import Params, Parts, counter, memory, model, pairs, product, tiles

ROWS, BLOCK, PACKED = 1, 2, 3   # Products, see hw/rtl/qs_products.sv


@model("qs_mvu")
def _mvu(out: Parts, p: Params) -> None:
    turns, beats = p.Rows // p.Pe, p.Cols // p.Simd
    words, width = p.Groups * turns * beats, p.Pe * p.Simd * p.WeightWidth
    extra = turns > 1 or slow(p, words, width)
    memory(out, p, words, width, False, "WeightFile", 1 + (extra and words > 1), p.Weights)
    memory(out, p, p.Groups * turns, p.Pe * p.BiasWidth, False, "BiasFile")
    dots(out, p, 1, p.Pe, p.Simd, words == 1)
    accumulators(out, p, p.Pe, beats)
    counter(out, turns, beats, words, p.Groups * turns if p.Groups > 1 else 1)
    if turns > 1 and beats > 1:
        memory(out, p, beats, p.Simd * p.InWidth, True)
    else:
        out.add("ff", x=p.Simd * p.InWidth * (1 + extra))


@model("qs_vvu")
def _vvu(out: Parts, p: Params) -> None:
    beats = p.Taps // p.Simd
    words, width = p.Blocks * beats, p.Lanes * p.Simd * p.WeightWidth
    extra = slow(p, words, width)
    memory(out, p, words, width, False, "WeightFile", 1 + extra, p.Weights)
    memory(out, p, p.Blocks, p.Lanes * p.BiasWidth, False, "BiasFile")
    dots(out, p, p.Lanes, 1, p.Simd, words == 1)
    accumulators(out, p, p.Lanes, beats)
    counter(out, beats, p.Blocks, words)
    out.add("ff", x=p.Lanes * p.Simd * p.InWidth * (1 + extra))


def slow(p: Params, words: int, width: int) -> bool:
    """Whether weights get a second register, as a block RAM's need it."""
    return words > 1 and (p.Weights == 3 or words * width > 2048)


def chain(width: int) -> int:
    """LUTs of a sum with a carry input."""
    return pairs(width + 1)


def dots(out: Parts, p: Params, times: int, pe: int, simd: int, constant: bool) -> None:
    """`times` instances of qs_dot."""
    n = times * pe
    if p.Products == ROWS and p.Magnitude and p.WeightWidth == 2:
        _ternary(out, p, times, pe, simd)
        return
    rows = p.WeightWidth - p.Magnitude
    if p.Products == ROWS:
        out.add("lut", carry=n * simd * max(0, rows - 1) * chain(p.InWidth + 1))
        cuts = max(0, (rows - 2) // 3) if rows > 1 else 0
        out.add("ff", dot=n * simd * (p.InWidth + rows) * (1 + cuts) * (rows > 0), flips=n * simd * p.Magnitude * (rows > 0))
    else:
        if p.Products == BLOCK:
            out.dsp += n * simd * tiles(p.InWidth + (not p.InSigned)) * tiles(p.WeightWidth)
        elif p.Products == PACKED:
            wide = tiles(p.InWidth + (not p.InSigned))
            out.dsp += simd * wide * (pe // 2 * tiles(p.ProdWidth + p.WeightWidth) + pe % 2 * tiles(p.WeightWidth))
        else:
            product(out, p, n * simd, p.InWidth, p.InSigned, p.WeightWidth, 1, constant)
        out.add("ff", dot=n * simd * p.ProdWidth)
    level, count = 0, simd
    while count > 1:
        level, adders, count = level + 1, count // 2, -(-count // 2)
        width = min(p.OutWidth, p.ProdWidth + level)
        out.add("lut", **{"constant_sums" if constant else "carry": n * adders * chain(width)})
        if level % 2 == 0 or count == 1:
            out.add("ff", dot=n * count * (width + 1))


def _ternary(out: Parts, p: Params, times: int, pe: int, simd: int) -> None:
    least = p.InMax if p.InSigned and p.InMax >= 1 << p.InWidth - 1 else p.InMax + 1
    widths = [min(p.OutWidth, 1 + (least + k * p.InMax - 1).bit_length()) for k in range(simd)]
    out.add("lut", carry=times * pe * sum(map(chain, widths[1:])), row0=times * pe * widths[0])
    for done in range(4, simd + 4, 4):
        left = max(0, simd - done)
        out.add("ff", dot=times * (pe * (widths[min(done, simd) - 1] + 1)), waiting=times * left * (p.InWidth + 2 * pe))


def accumulators(out: Parts, p: Params, pe: int, beats: int) -> None:
    out.add("lut", carry=pe * chain(p.OutWidth))
    out.add("ff", accumulators=(1 + (beats > 1)) * pe * p.OutWidth)

