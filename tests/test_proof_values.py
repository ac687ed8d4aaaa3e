"""Values: arithmetic modules and unrolled graphs against the definition, for every input; widths with no bit too few or too many."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw import unroll
from hw.proof import prove_module, prove_pipeline
from hw.unroll import emit
from ir import Add, Conv, Dense, Graph, Input, Ints, Lut, Requant, UserError, run


def mem(values): return "".join(f"{v:x}\n" for v in values)


def requant(lanes=1, rows=(1,), in_width=5, in_signed=1, out_width=4, mul_width=3, mul_signed=1, shift=2, zero=0, lo=-8, hi=7):
    return ({"Lanes": lanes, "Rows": len(rows), "Repeat": 1, "InWidth": in_width, "InSigned": in_signed, "OutWidth": out_width, "MulWidth": mul_width,
             "MulSigned": mul_signed, "Shift": shift, "Zero": zero, "Lo": lo, "Hi": hi, "MulFile": "m.mem"}, {"m.mem": mem(rows)})


REQUANTS = [
    requant(rows=range(4), mul_width=2, in_width=4),                          # every multiplier of two bits, both signs
    requant(rows=[3, 7], mul_signed=0, shift=3, zero=-5, lo=-8, hi=7),
    requant(rows=[5], zero=40, lo=0, hi=15, in_signed=0),                     # the bounds cut off everything on one side
    requant(rows=[4], shift=9, zero=3),                                       # a shift beyond the product
    requant(rows=[2], shift=0, lo=-100, hi=100, out_width=8),                 # nothing cut off
]


@pytest.mark.slow
@pytest.mark.parametrize("params, mems", REQUANTS, ids=range(len(REQUANTS)))
def test_requant_is_the_definition(params, mems):
    """Every input and every multiplier, through the whole pipeline with all stalls."""
    assert [p.method for p in prove_module("qs_requant", params, mems, seconds=300).proofs] == ["induction"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("module, params", [
    ("qs_mul", {"Lanes": 1, "AWidth": 4, "ASigned": 1, "BWidth": 3, "BSigned": 0, "OutWidth": 7}),
    ("qs_div", {"Lanes": 1, "AWidth": 3, "ASigned": 1, "BWidth": 2, "OutWidth": 3, "OutSigned": 1, "Turns": 1}),
    ("qs_sqrt", {"Lanes": 1, "InWidth": 4, "OutWidth": 2, "Turns": 1}),
    ("qs_pool", {"Lanes": 1, "Blocks": 1, "Taps": 3, "InWidth": 3, "InSigned": 1, "OutWidth": 5, "Largest": 0}),
    ("qs_pool", {"Lanes": 1, "Blocks": 2, "Taps": 2, "InWidth": 3, "InSigned": 0, "OutWidth": 3, "Largest": 1})])
def test_arithmetic_is_the_definition(module, params):
    assert [p.method for p in prove_module(module, params, seconds=300).proofs] == ["induction"] * 4


def small(seed: int) -> Graph:
    """Two linear maps with a requant of both signs between them, over 12 bits of input."""
    rng, g = np.random.default_rng(seed), Graph()
    g.add("x", Input(Ints((3,), -8, 7)))
    g.add("first", Dense(rng.integers(-7, 8, (4, 3)), rng.integers(-9, 9, 4)), "x")
    g.add("narrow", Requant([3, 5, 1, -2], 3, 1, 0, 15), "first")
    g.add("second", Dense(rng.integers(-3, 4, (2, 4)), [0, 7]), "narrow")
    return g


@pytest.mark.parametrize("family, stages", [("portable", 1), ("portable", 3)])
def test_adders_are_the_graph(family, stages):
    """Emitted shift-add trees equal the matrices and the requant for every input, from any state of the registers."""
    equal, holds = prove_pipeline(unroll(small(0), family, stages))
    assert equal.method == holds.method == "induction" and equal.depth == stages


@pytest.mark.slow
def test_other_ops_are_the_graph():
    g = Graph()
    g.add("x", Input(Ints((1, 4), -4, 3)))
    g.add("conv", Conv([[[2, -3]], [[1, 5]]], [1, -4], (1,), ((1, 0),), (1,), 1, pad=-1), "x")
    g.add("q", Requant([3, -2], 3, 0, -4, 3, 0), "conv")
    g.add("t", Lut([3, -1, 4, 1, -5, 9, 2, -6], -4), "q")
    g.add("sum", Add(), "t", "q")
    assert prove_pipeline(unroll(g, "portable", 2))[0].method == "induction"


def test_a_wrong_adder_is_found(monkeypatch):
    u = unroll(small(0))
    text = u.text()
    at = text.index(" + ", text.index("assign first_t"))
    monkeypatch.setattr(type(u), "text", lambda self, name=emit.PIPELINE: text[:at] + " - " + text[at + 3:])
    with pytest.raises(UserError, match=r"^qs_pipeline: element \d of the result is wrong$"):
        prove_pipeline(u)


# What Ints promises: both ends are reached, so a word with a bit less would break, and no value leaves the word that is given.

def fits(v: int, bits: int, signed: bool) -> bool: return -(signed << bits - 1) <= v < 1 << bits - signed


def ends(g: Graph, x: np.ndarray) -> tuple[int, int]:
    y = run(g, x)
    return int(y.min()), int(y.max())


def extremes(w: np.ndarray, t: Ints) -> np.ndarray:
    """(2 * rows, columns): for each row the inputs at which it is least and greatest."""
    return np.concatenate([np.where(w > 0, t.lo, t.hi), np.where(w > 0, t.hi, t.lo)])


intervals = st.tuples(st.integers(-300, 300), st.integers(0, 400)).map(lambda p: (p[0], p[0] + p[1]))


def none_to_spare(t: Ints, lo: int, hi: int) -> None:
    """The interval is reached at both ends, its word holds both, and no word of a bit less does."""
    assert (lo, hi) == (t.lo, t.hi)
    assert fits(lo, t.bits, t.signed) and fits(hi, t.bits, t.signed)
    assert t.bits == 1 or not (fits(lo, t.bits - 1, t.signed) and fits(hi, t.bits - 1, t.signed))


@given(intervals, st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_widths_of_linear_maps_are_exact(interval, rows, cols, seed):
    """Dense and Conv: inputs that reach both ends are constructed; the requant behind them is monotone, so its ends are reached too."""
    rng, x = np.random.default_rng(seed), Ints((cols,), *interval)
    w, b = rng.integers(-9, 10, (rows, cols)), rng.integers(-99, 99, rows)
    g = Graph()
    g.add("x", Input(x))
    t = g.nodes[g.add("y", Dense(w, b), "x")].type
    corner = extremes(w, x)
    none_to_spare(t, *ends(g, corner))
    shift, mul = int(rng.integers(0, 6)), int(rng.integers(-9, 10))
    g.add("q", Requant([mul], shift, int(rng.integers(-9, 9)), -100, 100), "y")
    none_to_spare(g.output.type, *ends(g, corner))
    c = Graph()
    c.add("x", Input(Ints((cols, 1), *interval)))
    t = c.nodes[c.add("y", Conv(w[:, :, None], b, (1,), ((0, 0),), (1,)), "x")].type
    none_to_spare(t, *ends(c, corner[:, :, None]))


@given(intervals, intervals)
@settings(max_examples=60, deadline=None)
def test_widths_of_sums_are_exact(a, b):
    """Of two values that do not depend on each other."""
    g = Graph()
    g.add("a", Input(Ints((1,), *a)))
    g.add("b", Input(Ints((1,), *b)))
    g.add("y", Add(), "a", "b")
    none_to_spare(g.output.type, *ends(g, {"a": np.array([[a[0]], [a[1]]]), "b": np.array([[b[0]], [b[1]]])}))


def test_intervals_know_nothing_of_dependence():
    """x - x is 0, but the interval of the graph holds what two values that differ could make; the unrolled form knows."""
    g = Graph()
    g.add("x", Input(Ints((1,), 0, 15)))
    g.add("minus", Dense([[-1]], [0]), "x")
    g.add("y", Add(), "x", "minus")
    assert (g.output.type.lo, g.output.type.hi) == (-15, 15) and ends(g, np.arange(16)[:, None]) == (0, 0)
    s = unroll(g).scalars
    assert [s.interval(r) for r in s.outputs] == [(0, 0)]


@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_every_adder_has_the_width_it_needs(seed):
    """Each value of an unrolled linear map is reached at both ends of its interval: its wire has no bit to spare."""
    rng, x = np.random.default_rng(seed), Ints((4,), -8, 7)
    g = Graph()
    g.add("x", Input(x))
    g.add("y", Dense(rng.integers(-15, 16, (5, 4)), rng.integers(-9, 9, 5)), "x")
    s = unroll(g).scalars
    atoms = {op.index: k for k, op in enumerate(s.ops) if type(op).__name__ == "Input"}
    for k, form in enumerate(s.forms):
        row = np.array([[form.get(atoms[i], 0) if i in atoms else 0 for i in range(4)]])
        low, high = (extremes(row, x) @ row.T).ravel() + s.consts[k]
        if type(s.ops[k]).__name__ in ("Sum", "Input"):
            none_to_spare(s.ints(k), int(low), int(high))
