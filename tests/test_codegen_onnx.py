"""The ONNX file as a user meets it: types, metadata, files, messages, a real network's size."""
import json

import numpy as np
import onnx
import pytest
from op_cases import CASES, conv, requant, weights
from strategies import samples

import codegen
import ir
from codegen.onnx_ops import HOLDERS, holder
from codegen.words import interface, word
from ir import Conv, Encoding, Graph, Input, Ints, UserError

NAME = "conv 3x3 padded with its zero point"


def says(text: str): return pytest.raises(UserError, match=text)


def ops(model) -> list[str]: return [n.op_type for n in model.graph.node]


def test_file_is_valid_and_self_contained(tmp_path):
    g = CASES[NAME]
    g.encodings = {"x": Encoding(1 / 255, 128)}
    codegen.onnx.save(g, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    meta = {p.key: p.value for p in model.metadata_props}
    assert json.loads(meta["qsearch"]) == interface(g) and meta["graph_hash"] == ir.store.graph_hash(g)
    assert interface(g)["inputs"][0]["scale"] == 1 / 255
    x = samples(g, 5)
    assert (codegen.onnx.run(tmp_path / "m.onnx", x) == ir.run(g, x)).all()


@pytest.mark.parametrize("name", CASES)
def test_every_model_passes_the_checker(name): onnx.checker.check_model(codegen.onnx.build(CASES[name]), full_check=True)


@pytest.mark.parametrize("lo, hi, want", [
    (0, 1, "int8"), (-128, 127, "int8"), (0, 128, "uint8"), (-1, 128, "int16"), (0, 65535, "uint16"), (-1, 65535, "int32"),
    (0, 2**31 - 1, "int32"), (0, 2**31, "int64"), (-2**62, 2**62 - 1, "int64")])
def test_inputs_and_outputs_have_the_narrowest_type(lo, hi, want):
    g = Graph()
    g.add("x", Input(Ints((2,), lo, hi)))
    assert word(g.output.type) == want
    x = np.array([[lo, hi]])
    assert (codegen.onnx.run(codegen.onnx.build(g), x) == x).all()


def test_batch_is_dynamic():
    g = CASES[NAME]
    s = codegen.onnx.session(codegen.onnx.build(g))
    for n in (1, 2, 7):
        assert (codegen.onnx.run(s, samples(g, n)) == ir.run(g, samples(g, n))).all()


@pytest.mark.parametrize("bound, want", [
    (2**24, "float32"), (2**24 + 1, "float64"), (2**53, "float64"), (2**53 + 1, "int64"), (2**70, "int64")])
def test_holders_end_where_the_next_integer_is_lost(bound, want):
    assert holder(bound) == want
    if want != "int64":
        assert int(np.asarray(HOLDERS[want], want)) == HOLDERS[want] and int(np.asarray(HOLDERS[want] + 1, want)) == HOLDERS[want]


def test_wide_convolutions_are_split_just_enough():
    """A layer of 8 bits by 8 bits whose sums pass 2**24 stays in float32 convolutions; wider products become matrix products."""
    assert ops(codegen.onnx.build(CASES[NAME])).count("Conv") == 1
    assert ops(codegen.onnx.build(CASES["conv of 2**24 and more"])).count("Conv") == 2
    far = ops(codegen.onnx.build(CASES["conv beyond float32 by far"]))
    assert far.count("Conv") == 0 and far.count("MatMul") == 4


def test_sums_at_the_very_edge_of_float32():
    """All partial sums odd and next to 2**24: the first one not held would show."""
    for extra, convs in ((0, 1), (2, 2)):
        g = Graph()
        g.add("x", Input(Ints((2, 1, 1), 0, 1)))
        g.add("y", Conv([[[[2**23 - 1 + extra]], [[2**23]]]], [1]), "x")
        assert ops(codegen.onnx.build(g)).count("Conv") == convs
        x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]).reshape(4, 2, 1, 1)
        assert (codegen.onnx.run(codegen.onnx.build(g), x) == ir.run(g, x)).all()


def test_weights_are_stored_narrow():
    g = Graph()
    g.add("x", Input(Ints((64, 4, 4), 0, 255)))
    g.add("y", conv((64, 64, 3, 3)), "x")
    assert 64 * 64 * 9 < codegen.onnx.build(g).ByteSize() < 64 * 64 * 9 * 1.1


def test_a_deep_stack_of_layers():
    g = Graph()
    at = g.add("x", Input(Ints((3, 16, 16), 0, 255)))
    for i in range(8):
        at = g.add(f"c{i}", Conv(weights(16, 3 if i == 0 else 16, 3, 3), weights(16), padding=((1, 1), (1, 1))), at)
        at = g.add(f"q{i}", requant(16, shift=14, lo=0, hi=255), at)
    x = samples(g, 4)
    assert ir.run(g, x).std() > 1 and (codegen.onnx.run(codegen.onnx.build(g), x) == ir.run(g, x)).all()


def test_messages(tmp_path):
    g = CASES[NAME]
    with says(r"no-such.onnx: no such file; expected an ONNX model$"):
        codegen.onnx.run(tmp_path / "no-such.onnx", samples(g, 1))
    with says(r"input 'x' takes integers in \[0, 255\], got \[-1, -1\]"):
        codegen.onnx.run(codegen.onnx.build(g), np.full((1, 3, 6, 5), -1))
    with says(r"the graph has the inputs a, b; give a dict of arrays"):
        codegen.onnx.run(codegen.onnx.build(CASES["mul"]), samples(g, 1))
    with says(r"no values for input 'b' \(given: a\)"):
        codegen.onnx.run(codegen.onnx.build(CASES["mul"]), {"a": np.zeros((1, 2, 3, 4), int)})
    foreign = codegen.onnx.build(g)
    del foreign.metadata_props[:]
    with says(r"not an ONNX model written by qsearch"):
        codegen.onnx.run(foreign, samples(g, 1))
    (tmp_path / "file").write_text("")
    with says(r"^cannot write .*choose a folder that can be written$"):
        codegen.onnx.save(g, tmp_path / "file" / "m.onnx")
