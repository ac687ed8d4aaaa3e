"""One meaning, many machines: torch, ONNX Runtime, ONNX's own evaluator and TVM give what the interpreter says, on every value."""
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from onnx.reference import ReferenceEvaluator
from op_cases import CASES
from strategies import graphs, random_graph, samples

import codegen
import ir
from codegen.words import check_feeds, interface
from ir import Graph, Input, store
from ir.opset import OPS
from ir.rewrite import simplify
from quant import execute

WITH_TVM = 30  # random graphs through TVM: compiling takes a while


def repeatable(examples: int): return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


def same(got, want, g: Graph) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{got.shape} is not {want.shape} in\n{g}"
    assert (got == want).all(), f"{got[got != want][:5]} is not {want[got != want][:5]} in\n{g}"


def check_torch(g: Graph, x) -> None:
    feeds = {n: torch.from_numpy(v) for n, v in x.items()} if isinstance(x, dict) else torch.from_numpy(x)
    want = ir.run(g, x, keep=True)
    for name, got in execute.run(g, feeds, keep=True).items():
        same(got.numpy(), want[name], g)


def check_onnx(g: Graph, x, engine=codegen.onnx.session) -> None:
    want, s = ir.run(g, x, keep=True), engine(codegen.onnx.build(g, keep=True))
    names = s.output_names if isinstance(s, ReferenceEvaluator) else [o.name for o in s.get_outputs()]
    for name, got in zip(names, s.run(None, check_feeds(interface(g)["inputs"], x))):
        node = name if name in want else name.removesuffix("_out")  # an input that is the output
        same(got, want[node], g)
    same(codegen.onnx.run(codegen.onnx.build(g), x), want[g.output.name], g)


def check_tvm(g: Graph, x) -> None: same(codegen.tvm.build(g)(x), ir.run(g, x), g)


def check_types(g: Graph, x) -> None:
    for name, v in ir.run(g, x, keep=True).items():
        t = g.nodes[name].type
        assert t.lo <= v.min() and v.max() <= t.hi and v.shape[1:] == t.shape, f"%{name} leaves its type in\n{g}"


@pytest.mark.parametrize("name", CASES)
def test_one_op(name):
    g = CASES[name]
    x = samples(g, 6)
    check_types(g, x)
    check_onnx(g, x)
    check_onnx(g, x, ReferenceEvaluator)


@pytest.mark.parametrize("name", CASES)
def test_one_op_torch(name): check_torch(CASES[name], samples(CASES[name], 6))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_one_op_tvm(name): check_tvm(CASES[name], samples(CASES[name], 6))


def test_the_cases_and_the_strategy_cover_the_op_set():
    random_kinds = {type(n.op) for s in range(200) for n in random_graph(random.Random(s)).nodes.values()}
    case_kinds = {type(n.op) for g in CASES.values() for n in g.nodes.values()}
    assert random_kinds == case_kinds == set(OPS)


@repeatable(100)
@given(graphs())
def test_types_hold(g): check_types(g, samples(g, 8))


@repeatable(100)
@given(graphs(max_ops=14))
def test_torch(g): check_torch(g, samples(g, 5))


@repeatable(100)
@given(graphs(max_ops=14))
def test_onnx(g): check_onnx(g, samples(g, 5))


def test_onnx_reference():
    for seed in range(50):
        g = random_graph(random.Random(seed))
        check_onnx(g, samples(g, 3), ReferenceEvaluator)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(WITH_TVM))
def test_tvm(seed):
    """One graph of many ops each: fewer, longer programs spare compilation."""
    g = random_graph(random.Random(seed), max_ops=16)
    check_tvm(g, samples(g, 5))


@repeatable(100)
@given(graphs())
def test_simplify_changes_no_value(g):
    x, s = samples(g, 5), simplify(g)
    same(ir.run(s, x), ir.run(g, x), g)
    assert len(s.nodes) <= len(g.nodes) and {n.name for n in s.inputs} == {n.name for n in g.inputs}


def test_the_store_changes_no_value(tmp_path):
    for seed in range(60):
        g = random_graph(random.Random(seed), max_ops=12)
        store.save_graph(g, tmp_path)
        again = store.load_graph(tmp_path)
        assert store.graph_hash(again) == store.graph_hash(g) and str(again) == str(g)
        want = ir.run(g, samples(g, 4), keep=True)
        for name, got in ir.run(again, samples(g, 4), keep=True).items():
            same(got, want[name], g)


def test_no_samples_give_no_results():
    g = CASES["dense"]
    assert codegen.onnx.run(codegen.onnx.build(g), samples(g, 0)).shape == ir.run(g, samples(g, 0)).shape == (0, 9)


def test_every_graph_here_computes():
    assert sum(any(not isinstance(n.op, Input) for n in random_graph(random.Random(s)).nodes.values()) for s in range(100)) > 90
