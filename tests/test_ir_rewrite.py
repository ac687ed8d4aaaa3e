"""A rewrite keeps every value that can be seen, and does what its name says."""
import random

import numpy as np
from hypothesis import given, settings, strategies as st
from strategies import graphs, random_graph, samples

from ir import (Add, Dense, Encoding, Graph, Input, Ints, MaxPool, Pad, Requant, Reshape, Slice, SumPool, Transpose,
                run)
from ir.opset import OPS
from ir.rewrite import drop_dead, drop_identity, fuse_clamp, rebuild, simplify

REWRITES = (drop_dead, drop_identity, fuse_clamp, simplify, lambda g: rebuild(g, lambda n: n.op))
SMALL = st.integers(-6, 6)


def clamp(lo: int, hi: int) -> Requant: return Requant([1], 0, 0, lo, hi)


def line(*ops, lo: int = -128, hi: int = 127, shape=(4,)) -> Graph:
    """x -> ops[0] -> ops[1] ..., named a, b, c ..."""
    g = Graph()
    x = g.add("x", Input(Ints(shape, lo, hi)))
    for name, op in zip("abcdefgh", ops):
        x = g.add(name, op, x)
    return g


def check(g: Graph, seed: int = 0) -> None:
    x = samples(g, 8, seed)
    want = run(g, x)
    for rewrite in REWRITES:
        r = rewrite(g)
        assert np.array_equal(run(r, x), want), rewrite
        assert r.output.name == g.output.name and [n.name for n in r.inputs] == [n.name for n in g.inputs]
        assert g.output.type.lo <= r.output.type.lo and r.output.type.hi <= g.output.type.hi


@given(graphs(max_ops=10), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_rewrites_keep_the_output(g, seed):
    check(g, seed)


@st.composite
def clamps(draw):
    """Requants on requants, some read twice, some dead, the result anywhere: what fuse_clamp can trip over."""
    g = Graph()
    g.add("x", Input(Ints((3,), -9, 9)))
    for i in range(draw(st.integers(1, 7))):
        src = draw(st.sampled_from(list(g.nodes)[-3:]))
        lo, hi = sorted((draw(SMALL), draw(SMALL)))
        kind = draw(st.sampled_from(("clamp", "clamp", "requant", "add")))
        op = clamp(lo, hi) if kind == "clamp" else Requant([draw(st.integers(1, 5))], draw(st.integers(0, 2)), draw(SMALL), lo, hi)
        g.add(f"n{i}", *((Add(), src, draw(st.sampled_from(list(g.nodes)))) if kind == "add" else (op, src)))
    g.result = draw(st.sampled_from(list(g.nodes)))
    return g


@given(clamps(), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_clamps_on_clamps(g, seed):
    check(g, seed)


@given(*[st.tuples(SMALL, SMALL).map(sorted)] * 2)
def test_a_clamp_of_a_clamp_is_one(inner, outer):
    g = line(Requant([3], 1, 1, *inner), clamp(*outer), Dense(np.eye(4), np.zeros(4)))
    fused = fuse_clamp(g)
    assert list(fused.nodes) == ["x", "a", "c"] and fused.nodes["c"].args == ("a",)
    x = np.arange(-128, 128).reshape(-1, 4)
    assert np.array_equal(run(fused, x), run(g, x))


def test_no_clamp_is_fused_where_someone_else_looks():
    """The first clamp is read by another, is the output itself, or the second is the output (whose name must stay)."""
    g = line(clamp(0, 9), clamp(2, 5))
    g.add("y", Add(), "a", "b")
    assert fuse_clamp(g).nodes["a"].op.hi == 9
    g = line(clamp(0, 9), clamp(2, 5), Reshape((2, 2)))
    g.result = "a"
    assert fuse_clamp(g).output.op.hi == 9
    assert list(fuse_clamp(line(clamp(0, 9), clamp(2, 5))).nodes) == ["x", "a", "b"]


def test_a_scaling_requant_is_no_clamp():
    for second in (Requant([2], 0, 0, -9, 9), Requant([1], 1, 0, -9, 9), Requant([1], 0, 1, -9, 9), Requant([1, 1, 1, 2], 0, 0, -9, 9)):
        assert len(fuse_clamp(line(clamp(0, 9), second, Reshape((2, 2)))).nodes) == 4


def test_identities_go():
    g = line(clamp(-128, 127), Reshape((2, 3, 4)), Slice((0, 0, 0), (2, 3, 4), (1, 1, 1)), Transpose((0, 1, 2)),
             Pad(((0, 0),) * 3), MaxPool((1, 1), (1, 1)), SumPool((1, 1), (1, 1)), Transpose((1, 2, 0)), shape=(2, 3, 4))
    assert list(drop_identity(g).nodes) == ["x", "h"]


def test_what_only_looks_like_an_identity_stays():
    g = line(clamp(-127, 127), Reshape((4, 6)), Slice((0, 1), (4, 6), (1, 1)), Transpose((1, 0)), Pad(((0, 0), (1, 0))), shape=(2, 3, 4))
    assert list(drop_identity(g).nodes) == list(g.nodes)
    g = line(MaxPool((1, 1), (2, 1)), SumPool((1, 1), (1, 1), ((1, 0), (0, 0))), Reshape((9,)), shape=(1, 4, 3))
    assert list(drop_identity(g).nodes) == list(g.nodes)


def test_the_output_keeps_its_name_and_encoding():
    g = line(clamp(0, 9), Reshape((4,)))
    g.encodings = {"x": Encoding(.5), "b": Encoding(.25, 3)}
    s = simplify(g)
    assert s.output.name == "b" and s.encodings == g.encodings


def test_dead_code_goes_and_inputs_stay():
    g = line(clamp(0, 9), clamp(2, 5), Reshape((2, 2)))
    g.add("z", Input(Ints((1,), 0, 1)))
    g.result = "a"
    assert list(drop_dead(g).nodes) == ["x", "a", "z"]


def test_simplify_leaves_nothing_to_do():
    g = line(clamp(-100, 100), Reshape((4,)), Requant([3], 2, 0, -50, 50), clamp(0, 99), clamp(0, 20), Reshape((2, 2)))
    once = simplify(g)
    assert list(once.nodes) == ["x", "a", "c", "f"] and str(simplify(once)) == str(once)
    assert (once.nodes["c"].op.lo, once.nodes["c"].op.hi) == (0, 20)


def test_the_given_graph_is_left_alone():
    g = line(clamp(0, 9), clamp(2, 5), Reshape((2, 2)))
    before = str(g)
    simplify(g)
    assert str(g) == before


def test_every_kind_of_op_can_be_rebuilt():
    seen: set[type] = set()
    for seed in range(300):
        g = random_graph(random.Random(seed))
        assert str(rebuild(g, lambda n: n.op)) == str(g)
        seen |= {type(n.op) for n in g.nodes.values()}
    assert seen == set(OPS)
