"""Integer graphs as QDQ and QONNX files: what runtimes fuse, what they compute, and the graph that comes back from the file."""
import collections
import random

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from op_cases import CASES
from quantized_files import quant
from strategies import random_graph, samples

import codegen
import ir
from codegen import onnx_qdq, qonnx
from codegen.words import check_feeds, interface
from ir import Add, Concat, Conv, Dense, Encoding, Graph, Input, Ints, Lut, MaxPool, Requant, Reshape, SumPool
from quant import load_quantized


def session(model, path=None):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads, o.log_severity_level = 1, 3
    if path:
        o.optimized_model_filepath = str(path)
    return onnxruntime.InferenceSession(model.SerializeToString(), o, providers=["CPUExecutionProvider"])


def on_integers(g: Graph, **how) -> tuple[np.ndarray, np.ndarray]:
    """(what ONNX Runtime makes of the QDQ form, what the graph says)."""
    x = samples(g, 6)
    model = onnx_qdq.build(g, floats=False, **how)
    onnx.checker.check_model(model, full_check=True)
    return session(model).run(None, check_feeds(interface(g)["inputs"], x))[0].astype(np.int64), ir.run(g, x)


def small_net(seed: int = 0) -> Graph:
    """A residual net of 8 bits with everything that has a quantized kernel; its multipliers are odd, ties are rare."""
    r = np.random.default_rng(seed)
    g = Graph()
    g.add("x", Input(Ints((3, 8, 8), 0, 255)))
    pads = ((1, 1), (1, 1))
    g.add("c1", Conv(r.integers(-99, 99, (8, 3, 3, 3)), r.integers(-999, 999, 8), padding=pads, pad=100), "x")
    g.add("q1", Requant(r.integers(100, 200, 8) * 2 + 1, 17, 0, 0, 255), "c1")
    g.add("c2", Conv(r.integers(-8, 8, (8, 1, 3, 3)), r.integers(-999, 999, 8), padding=pads, groups=8), "q1")
    g.add("q2", Requant(r.integers(500, 900, 8) * 2 + 1, 16, 3, -128, 127), "c2")
    g.add("a", Requant([1013], 0, 0, 0, 255 * 1013), "q1")
    g.add("b", Requant([777], 0, -3 * 777, -131 * 777, 124 * 777), "q2")
    g.add("sum", Add(), "a", "b")
    g.add("q3", Requant([901], 20, 0, 0, 255), "sum")
    g.add("m", MaxPool((2, 2), (2, 2)), "q3")
    g.add("l", Lut(r.permutation(256), 0), "m")
    g.add("cat", Concat(), "l", "m")
    g.add("s", SumPool((4, 4), (1, 1)), "cat")
    g.add("q4", Requant([5243], 16, 0, 0, 255), "s")
    g.add("flat", Reshape((16,)), "q4")
    g.add("fc", Dense(r.integers(-99, 99, (5, 16)), r.integers(-999, 999, 5)), "flat")
    g.add("y", Requant([4099], 18, 128, 0, 255), "fc")
    g.encodings = {"x": Encoding(1 / 64, 100), "y": Encoding(0.25, 128)}
    return g


@pytest.mark.parametrize("name", CASES)
def test_every_op_runs_and_is_off_by_one_code_at_most(name):
    got, want = on_integers(CASES[name])
    wrong = np.abs(got - want)
    assert wrong.max() <= 1 and (wrong > 0).mean() < 0.04
    if not any(isinstance(n.op, Requant) for n in CASES[name].nodes.values()):
        assert not wrong.any()


def test_random_graphs():
    for seed in range(40):
        got, want = on_integers(random_graph(random.Random(seed)))
        assert np.abs(got - want).max() <= 1, seed


def test_onnx_runtime_fuses_all_of_it(tmp_path):
    g = small_net()
    session(onnx_qdq.build(g), tmp_path / "fused.onnx")
    kinds = collections.Counter(n.op_type for n in onnx.load(tmp_path / "fused.onnx").graph.node)
    assert kinds["QLinearConv"] == 2 and kinds["QLinearAdd"] == 1 and kinds["QLinearGlobalAveragePool"] == 1 and kinds["QGemm"] == 1
    assert not kinds["Conv"] and not kinds["Floor"] and not kinds["Gemm"]


def test_means_that_lie_half_way_go_up_as_in_the_graph():
    g = Graph()
    g.add("x", Input(Ints((64, 4, 4), 0, 255)))
    g.add("s", SumPool((4, 4), (1, 1)), "x")
    g.add("y", Requant([1], 4, 0, 0, 255), "s")
    x = np.random.default_rng(4).integers(0, 256, (50, 64, 4, 4))
    got = session(onnx_qdq.build(g)).run(None, {"x": x.astype(np.uint8)})[0]
    assert (ir.run(g, x)[..., 0, 0] * 16 - x.sum((2, 3)) == 8).mean() > 0.05 and (got == ir.run(g, x)).all()


def test_reals_in_and_out():
    g = small_net()
    x = np.random.default_rng(1).normal(0, 1, (300, 3, 8, 8)).astype(np.float32)
    got = session(onnx_qdq.build(g)).run(None, {"x": x})[0]
    want = g.encodings["y"].decode(ir.run(g, g.encodings["x"].encode(x, 0, 255)))
    wrong = np.abs(got - want) / 0.25
    assert (wrong > 0).mean() < 0.02 and wrong.max() <= 3 and want.std() > 1


@pytest.mark.parametrize("seed", range(4))
def test_the_graph_that_comes_back(tmp_path, seed):
    """Written as QDQ and read again: the same codes, but where ties to even and a factor in float32 say otherwise."""
    g = small_net(seed)
    onnx_qdq.save(g, tmp_path / "m.onnx")
    back = load_quantized(tmp_path / "m.onnx")
    x = samples(g, 100)
    wrong = np.abs(back.encodings[back.output.name].decode(ir.run(back, x)) / 0.25 + 128 - ir.run(g, x))
    assert back.inputs[0].type == g.inputs[0].type and back.encodings["input"] == g.encodings["x"]
    assert wrong.max() <= 2 and (wrong > 1e-3).mean() < 0.05


def test_four_bits_take_half_the_space(tmp_path):
    r = np.random.default_rng(2)
    g = Graph()
    g.add("x", Input(Ints((64,), 0, 255)))
    g.add("fc", Dense(r.integers(-8, 8, (63, 64)), r.integers(-99, 99, 63)), "x")
    g.add("y", Requant([1001], 17, 0, 0, 255), "fc")
    sizes = [onnx_qdq.build(g, int4=four).ByteSize() for four in (False, True)]
    assert 63 * 32 * 0.9 < sizes[0] - sizes[1] < 63 * 32 * 1.1
    (a, want), (b, _) = (on_integers(g, int4=four) for four in (False, True))
    assert (a == b).all() and (a == want).all() and np.unique(want).size > 40
    onnx_qdq.save(g, tmp_path / "m.onnx", floats=False, int4=True)
    assert (ir.run(load_quantized(tmp_path / "m.onnx"), samples(g, 50)) == ir.run(g, samples(g, 50))).all()


class Quant(OpRun):
    """QONNX's quantizer for ONNX's own reference."""
    op_domain = qonnx.DOMAIN

    def _run(self, x, scale, zero, bits, narrow=None, rounding_mode=None, signed=None):
        return (np.asarray(quant(x, scale, zero, float(bits), signed, narrow, rounding_mode), np.float32),)


def by_reference(g: Graph) -> tuple[np.ndarray, np.ndarray]:
    x = samples(g, 6)
    model = qonnx.build(g, batch=None)
    feeds = {n.name: x[n.name] if isinstance(x, dict) else x for n in g.inputs}
    got = ReferenceEvaluator(model, new_ops=[Quant]).run(None, {k: v.astype(np.float32) for k, v in feeds.items()})[0]
    return got.astype(np.float64), ir.run(g, x)


def held(g: Graph) -> bool:
    """Whether float32 holds what goes in and out."""
    return all(max(abs(n.type.lo), n.type.hi) <= 1 << 24 for n in (*g.inputs, g.output))


@pytest.mark.parametrize("name", [n for n, g in CASES.items() if held(g)])
def test_qonnx_is_equal_on_every_op(name):
    got, want = by_reference(CASES[name])
    assert (got == want).all()


def test_qonnx_of_random_graphs():
    graphs = [g for g in (random_graph(random.Random(seed)) for seed in range(60)) if held(g)]
    assert len(graphs) > 30
    for g in graphs:
        got, want = by_reference(g)
        assert (got == want).all(), str(g)


def test_qonnx_says_every_width_and_comes_back(tmp_path):
    r = np.random.default_rng(3)
    g = Graph()
    g.add("x", Input(Ints((2, 6, 6), 0, 15)))
    g.add("c", Conv(r.integers(-1, 2, (4, 2, 3, 3)), r.integers(-9, 9, 4), padding=((1, 1), (1, 1)), pad=5), "x")
    g.add("q", Requant([3, 5, 7, 9], 5, 1, 0, 7), "c")
    g.add("flat", Reshape((144,)), "q")
    g.add("y", Dense(r.integers(-4, 4, (3, 144)), r.integers(-9, 9, 3)), "flat")
    g.encodings = {"x": Encoding(0.5, 5), "y": Encoding(0.125)}
    qonnx.save(g, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    constants = {n.output[0]: onnx.numpy_helper.to_array(n.attribute[0].t) for n in model.graph.node if n.op_type == "Constant"}
    widths = [int(constants[n.input[3]]) for n in model.graph.node if n.op_type == "Quant"]
    assert widths == [5, 2, 3, 3]  # the input less its zero, two weights, a requant
    back, x = load_quantized(tmp_path / "m.onnx"), samples(g, 60)
    real = g.encodings["x"].decode(x)
    i = back.inputs[0]
    again = ir.run(back, back.encodings[i.name].encode(real, i.type.lo, i.type.hi))
    assert (back.encodings[back.output.name].decode(again) == g.encodings["y"].decode(ir.run(g, x))).all()


def test_files_are_whole_or_not_there(tmp_path):
    (tmp_path / "file").write_text("")
    for save in (onnx_qdq.save, qonnx.save, codegen.onnx.save):
        with pytest.raises(ir.UserError, match="^cannot write .*choose a folder that can be written$"):
            save(small_net(), tmp_path / "file" / "m.onnx")
