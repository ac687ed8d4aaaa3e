"""qs_mvu and qs_vvu with every kind of product and memory, over corner parameters, against the reference."""
from dataclasses import replace

import numpy as np
import pytest

from checks import agree, check, random_ints
from hw import Fold
from hw.dataflow.matrix import codes, form, stages
from hw.dataflow.netlist import signed_width, words
from ir import Conv, Dense, Ints
from ir.infer import infer
from sim.words import pack
from test_windows import by_block

pytestmark = pytest.mark.slow


def weights(shape, most: int, seed: int, zeros: bool = True, lowest: bool = False) -> np.ndarray:
    """Random weights of magnitude up to `most`, with both ends; the last row the extreme that makes sums largest."""
    w = np.random.default_rng(seed).integers(-most, most + 1, shape)
    if not zeros:
        w[w == 0] = 1
    w[-1] = -most
    w.flat[0], w.flat[1 % w.size] = most, -most - lowest
    return w


def matrix(rows, cols, pe, simd, x_range, w, products="auto", memory="auto", groups=1, frames=60):
    """A check of qs_mvu with the weights w, (groups * rows, cols), stored as the generator stores them."""
    t, b = Ints((cols,), *x_range), np.random.default_rng(1).integers(-99, 100, groups * rows)
    fold = Fold(pe, simd, memory, products)
    ops = [Dense(w[k * rows:(k + 1) * rows], b[k * rows:(k + 1) * rows]) for k in range(groups)]
    op = Dense(w, b)
    cycle = w.reshape(groups, rows // pe, pe, cols // simd, simd).transpose(0, 1, 3, 2, 4).reshape(-1, pe, simd)
    f, bits = form(op, t, fold, len(cycle)), signed_width(b)
    out = infer(op, t)
    mems = {"w.mem": words(codes(cycle, f), f.width), "b.mem": words(b.reshape(-1, pe), bits)}
    c = check(ops[0], [t], [random_ints(t, frames)], "qs_mvu", dict(
        Groups=groups, Rows=rows, Cols=cols, Pe=pe, Simd=simd, InWidth=t.bits, InSigned=int(t.signed), BiasWidth=bits, OutWidth=out.bits,
        Weights=("auto", "lut", "distributed", "block").index(memory), WeightFile="w.mem", BiasFile="b.mem", **f.params), mems, simd, out_lanes=pe)
    if groups == 1:
        return c, f
    x = random_ints(Ints((groups, cols), *x_range), frames)
    y = np.stack([x[:, k] @ o.weight.T + o.bias for k, o in enumerate(ops)], 1)
    return replace(c, case=replace(c.case, inputs={"s": pack(x, simd, t.bits)}, outputs={"m": y.size // pe}),
                   want={"m": pack(y, pe, out.bits)}), f


U8, I8, NARROW = (0, 255), (-128, 127), (-127, 127)
CASES = {
    "ternary": [
        (4, 12, 2, 1, U8, 1), (4, 12, 1, 3, I8, 1), (2, 16, 2, 4, NARROW, 1), (4, 15, 4, 5, (0, 1), 1), (6, 64, 3, 16, U8, 1), (2, 16, 1, 16, I8, 1),
        (3, 90, 3, 9, (-8, 7), 1), (4, 8, 2, 8, (-5, 3), 1)],
    "rows": [
        (4, 12, 2, 3, U8, 3), (2, 8, 2, 1, I8, 3), (4, 40, 2, 5, NARROW, 7), (2, 64, 2, 16, U8, 7), (4, 12, 4, 2, (0, 3), 7), (3, 14, 1, 7, (-2, 1), 2),
        (2, 12, 2, 6, (3, 11), 5)],
}


def unit(rows, cols, pe, simd, x_range, most, **options):
    return matrix(rows, cols, pe, simd, x_range, weights((rows, cols), most, rows * cols), **options)


@pytest.mark.parametrize("kind", CASES)
def test_kinds(kind, tmp_path):
    made = [unit(*c) for c in CASES[kind]]
    assert all(f.products == 1 and f.magnitude for _, f in made) and {f.width == 2 for _, f in made} == {kind == "ternary"}
    agree([c for c, _ in made], tmp_path)


def test_other_forms(tmp_path):
    """Weights of 1 and -1 only; two's complement where the lowest number occurs; wide rows; groups; each kind of memory."""
    low = [matrix(4, 12, 2, s, x, weights((4, 12), m, s, lowest=True)) for s, x, m in ((3, U8, 7), (4, I8, 3), (1, U8, 1), (2, (0, 6), 3))]
    assert all(f.products == 1 and not f.magnitude for _, f in low)
    signs = [matrix(4, 16, 2, s, x, weights((4, 16), 1, s, zeros=False)) for s, x in ((1, U8), (4, I8), (16, NARROW), (2, (0, 1)))]
    assert all(f.width == 1 for _, f in signs)
    wide = [unit(2, 8, 1, 4, x, m, products="lut") for x, m in ((U8, 15), (I8, 31), (U8, 63), (I8, 127))]
    more = [matrix(4, 6, 2, 3, U8, weights((8, 6), m, m), groups=2, memory=k) for m, k in ((1, "lut"), (7, "block"), (1, "distributed"))]
    whole = [unit(3, 4, 3, 4, I8, m) for m in (1, 7, 100)]
    agree([c for c, _ in low + signs + wide + more + whole], tmp_path)


def test_multipliers(tmp_path):
    """A block for each product, and one for two, with an odd number of outputs too; extremes on both sides of the borrow."""
    made = [unit(r, 8, pe, s, x, m, products=p) for p in ("dsp", "packed", "auto")
            for r, pe, s, x, m in ((4, 4, 2, U8, 15), (6, 3, 4, I8, 127), (2, 2, 8, (0, 1), 100), (3, 1, 1, (-3, 9), 15))]
    made += [matrix(4, 12, 4, 3, x, weights((4, 12), 127, 3, lowest=True), products="packed") for x in (U8, I8)]
    assert {f.products for _, f in made} == {0, 2, 3}
    agree([c for c, _ in made], tmp_path)


def test_exhaustive_products(tmp_path):
    """Every weight of 1 to 4 bits times every input of 4 bits, signed and unsigned, by rows and packed."""
    made = []
    for x_range in ((0, 15), (-8, 7)):
        xs = np.arange(x_range[0], x_range[1] + 1)
        for most, lowest in ((1, 0), (3, 0), (7, 0), (1, 1), (3, 1), (7, 1)):
            w = np.arange(-most - lowest, most + 1)[:, None]
            for products in ("lut", "packed"):
                both = np.concatenate([w, w[::-1]])
                c, _ = matrix(len(both), 1, len(w), 1, x_range, both, products)
                y = xs[:, None] * both[:, 0] + np.random.default_rng(1).integers(-99, 100, len(both))
                made.append(replace(c, case=replace(c.case, inputs={"s": pack(xs, 1, 4)}, outputs={"m": 2 * len(xs)}),
                                    want={"m": pack(y, len(w), c.case.params["OutWidth"])}))
    agree(made, tmp_path, (None, 1))


def test_depthwise(tmp_path):
    cases = []
    for c, kernel, lanes, x, most, products in [(4, (3, 3), 2, U8, 1, "auto"), (3, (1, 2), 1, I8, 7, "auto"), (4, (1, 1), 4, U8, 127, "dsp"),
                                                (2, (5, 5), 2, NARROW, 1, "lut"), (6, (3, 3), 3, (-8, 7), 3, "auto")]:
        w, b = weights((c, 1, *kernel), most, c), np.random.default_rng(0).integers(-100, 101, c)
        op, t = Conv(w, b, groups=c), Ints((c, *kernel), *x)
        block = w.reshape(c // lanes, lanes, -1).transpose(0, 2, 1).reshape(-1, lanes, 1)
        f = form(op, t, Fold(lanes, 1, "auto", products), len(block))
        xs = random_ints(t, 60)
        k = check(op, [t], [xs], "qs_vvu", dict(
            Lanes=lanes, Blocks=c // lanes, Taps=kernel[0] * kernel[1], InWidth=t.bits, InSigned=int(t.signed), BiasWidth=8, OutWidth=infer(op, t).bits,
            WeightFile="w.mem", BiasFile="b.mem", **f.params), {"w.mem": words(codes(block, f), f.width), "b.mem": words(b.reshape(-1, lanes), 8)}, lanes)
        cases.append(replace(k, case=replace(k.case, inputs={"s": pack(by_block(xs, lanes), lanes, t.bits)})))
    agree(cases, tmp_path)


def test_stages():
    """As qs_mvu counts them: its pipeline moves on its own only where a vector takes longer."""
    def of(most, simd, products="auto"):
        op = Dense(weights((2, 16), most, 0), np.zeros(2))
        return stages(form(op, Ints((16,), 0, 255), Fold(products=products), 9), simd)
    assert [of(1, s) for s in (1, 4, 5, 16)] == [1, 1, 2, 4]
    assert [of(7, s) for s in (1, 2, 4, 5, 16)] == [1, 2, 2, 3, 3]
    assert [of(m, 1, "lut") for m in (15, 31, 127)] == [1, 2, 2] and of(127, 16, "dsp") == 3
