"""Quantized ONNX files (QDQ and QOperator) as integer graphs: the codes of the file, on everything that can be said to it."""
import itertools

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto
from quantized_files import RANGES, File, evaluate

import ir
from ir import Requant, UserError
from quant import is_quantized, load_model, load_quantized

POWERS = [2.0 ** -k for k in range(9)]


def codes(g: ir.Graph, x: np.ndarray) -> np.ndarray:
    e, t = g.encodings[g.inputs[0].name], g.inputs[0].type
    return ir.run(g, e.encode(x, t.lo, t.hi))


def reals(g: ir.Graph, x: np.ndarray) -> np.ndarray: return g.encodings[g.output.name].decode(codes(g, x))


def agree(f: File, path, x: np.ndarray, **how) -> ir.Graph:
    """The integer graph of the file, after a comparison with what the file means, code by code."""
    g = load_quantized(f.save(path), **how)
    step = g.encodings[g.output.name].scale
    wrong = np.abs(reals(g, x) - evaluate(f.model(), x)) > 1e-3 * step
    assert not wrong.any(), f"{wrong.sum()} of {wrong.size} codes differ\n{g}"
    return g


def scales(r, n=None, powers=False):
    return r.choice(POWERS, n) if powers else np.exp(r.uniform(-5, 0, n))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2 ** 31), st.sampled_from(["int8", "uint8", "int4"]), st.sampled_from(["int8", "uint8", "int16", "uint4"]),
       st.booleans(), st.booleans(), st.booleans())
def test_convolutions_of_any_scales(tmp_path_factory, seed, weight, act, channels, powers, relu):
    """Scales that are powers of two land half way between two codes again and again: ties to even are kept."""
    r = np.random.default_rng(seed)
    f, lo_hi = File((3, 6, 5)), RANGES[act]
    at = f.quantized("x", s := scales(r, powers=powers), int(r.integers(lo_hi[0], lo_hi[1] + 1)), act)
    ws = np.float32(scales(r, 4 if channels else None, powers))
    b = r.integers(-500, 500, 4)
    bias = f.add("DequantizeLinear", f.const(b, np.int32), f.const(np.float32(s) * ws), axis=0) if powers else np.float32(r.normal(0, 1, 4))
    w = f.weight(r.integers(RANGES[weight][0], RANGES[weight][1] + 1, (4, 3, 3, 2)), ws, weight)
    at = f.add("Conv", at, w, bias, pads=[1, 0, 1, 1], strides=[int(r.integers(1, 3)), 1])
    at = f.add("Relu", at) if relu else at
    f.quantized(at, scales(r, powers=powers) * 8, int(r.integers(0, 8)), r.choice(["uint8", "int8", "uint4"]))
    agree(f, tmp_path_factory.mktemp("q") / "m.onnx", r.normal(0, 30 * s, (8, 3, 6, 5)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2 ** 31), st.booleans(), st.sampled_from(["Add", "Sub", "Mul"]))
def test_sums_and_products_of_two_tensors_on_every_pair_of_codes(tmp_path_factory, seed, powers, op):
    r = np.random.default_rng(seed)
    f = File((2,))
    x = f.quantized("x", 1.0, 0, "uint4")
    a, b = (f.add("Gather", x, f.const([i], np.int64), axis=1) for i in (0, 1))
    a, b = (f.quantized(v, s, z, "int8") for v, s, z in zip((a, b), scales(r, 2, powers), r.integers(-20, 20, 2)))
    f.quantized(f.add(op, a, b), float(scales(r, powers=powers)), int(r.integers(0, 200)), "uint8")
    agree(f, tmp_path_factory.mktemp("q") / "m.onnx", np.array(list(itertools.product(range(16), repeat=2)), float))


def residual(r) -> File:
    """A small ResNet as quantizers write it: a shared input, a sum, pools, a linear layer with a bias of 32 bits."""
    f = File((3, 8, 8))
    x = f.quantized("x", 1 / 64, 128)
    a = f.add("Relu", f.add("Conv", x, f.weight(r.integers(-127, 128, (4, 3, 3, 3)), scales(r, 4) / 99), pads=[1, 1, 1, 1]))
    a = f.quantized(a, 0.03, 0)
    b = f.quantized(f.add("Conv", a, f.weight(r.integers(-127, 128, (4, 4, 1, 1)), 0.003)), 0.05, 3, "int8")
    y = f.quantized(f.add("Relu", f.add("Add", a, b)), 0.04, 0)
    y = f.add("Concat", f.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]),
              f.quantized(f.add("AveragePool", a, kernel_shape=[2, 2], strides=[2, 2]), 0.02, 7), axis=1)
    y = f.quantized(y, 0.037, 1)
    y = f.quantized(f.add("Sigmoid", y), 1 / 255, 0)
    y = f.quantized(f.add("GlobalAveragePool", y), 1 / 255, 0)
    f.add("Gemm", f.add("Flatten", y), f.weight(r.integers(-127, 128, (5, 8)), 0.01),
          f.add("DequantizeLinear", f.const(r.integers(-999, 999, 5), np.int32), f.const(np.float32(0.01) * np.float32(1 / 255))), transB=1)
    f.quantized(f.last, 0.02, 128)
    return f


def test_a_whole_net(tmp_path):
    r = np.random.default_rng(0)
    f = residual(r)
    g = agree(f, tmp_path / "m.onnx", r.normal(0, 1, (20, 3, 8, 8)))
    assert len(np.unique(codes(g, r.normal(0, 1, (20, 3, 8, 8))))) > 20
    assert g.encodings == {"input": ir.Encoding(1 / 64, 128), g.output.name: ir.Encoding(float(np.float32(0.02)), 128)}
    assert is_quantized(tmp_path / "m.onnx")


def test_quantizers_of_other_writers(tmp_path):
    """Codes that are clipped to fewer bits, weights that are quantized in the file, weights with a zero point, scales along axis 1."""
    r = np.random.default_rng(9)
    f = File((6,))
    s, z = f.const(np.float32(0.1)), f.const(0, np.int8)
    q = f.add("Clip", f.add("QuantizeLinear", "x", s, z), f.const(-7, np.int8), f.const(7, np.int8))
    w = f.add("QuantizeLinear", f.const(r.normal(0, 1, (6, 4))), f.const(np.float32(r.uniform(.01, .03, 4))), f.const(np.zeros(4), np.int8), axis=1)
    w = f.add("DequantizeLinear", w, f.init[-2].name, f.init[-1].name, axis=1)
    y = f.quantized(f.add("MatMul", f.add("DequantizeLinear", q, s, z), w), 0.05, 128)
    t = f.const(np.float32(0.02)), f.const(99, np.uint8)
    w = f.add("DequantizeLinear", f.const(r.integers(0, 256, (4, 3)), np.uint8), *t)
    f.quantized(f.add("Add", f.add("MatMul", y, w), np.float32([.3, -.2, 7])), 0.1, 100)
    g = agree(f, tmp_path / "m.onnx", r.normal(0, 1, (200, 6)))
    assert any((n.type.lo, n.type.hi) == (-7, 7) for n in g.nodes.values())


def test_a_gate_for_each_channel(tmp_path):
    """Squeeze and excitation: a product with one number a channel, and a sum that nothing quantizes before the pool."""
    r = np.random.default_rng(8)
    f = File((3, 4, 4))
    x = f.quantized("x", 0.05, 128)
    gate = f.quantized(f.add("Sigmoid", f.quantized(f.add("GlobalAveragePool", x), 0.02, 128)), 1 / 255, 0)
    y = f.quantized(f.add("Mul", x, gate), 0.04, 120)
    f.quantized(f.add("GlobalAveragePool", f.add("Add", y, gate)), 0.03, 100)
    agree(f, tmp_path / "m.onnx", r.normal(0, 3, (60, 3, 4, 4)))


def test_fewer_multiplier_bits_differ_by_one_code_at_most(tmp_path):
    r = np.random.default_rng(1)
    f = File((3, 6, 6))
    w = f.weight(r.integers(-127, 128, (8, 3, 3, 3)), scales(r, 8))
    f.quantized(f.add("Conv", f.quantized("x", 0.02, 128), w), 2.0, 100)
    x = r.normal(0, 1, (40, 3, 6, 6))
    exact, near = (load_quantized(f.save(tmp_path / "m.onnx"), multiplier_bits=b) for b in (None, 10))
    bits = [max(int(n.op.mul.max()).bit_length() for n in g.nodes.values() if isinstance(n.op, Requant)) for g in (exact, near)]
    wrong = np.abs(codes(exact, x) - codes(near, x))
    assert bits[0] > 16 and bits[1] == 10 and wrong.max() == 1 and 0 < wrong.mean() < 0.1


def test_an_input_that_is_given_in_integers(tmp_path):
    r = np.random.default_rng(2)
    f = File((6,))
    f.quantized(f.add("Gemm", f.quantized(f.add("Mul", "x", np.float32(3.3)), 0.05, 7), f.weight(r.integers(-9, 9, (4, 6)), 0.1), transB=1), 0.1, 99)
    x = r.integers(0, 256, (50, 6)) / 255
    agree(f, tmp_path / "m.onnx", x, input_format="uint8", input_scale=1 / 255)
    assert load_quantized(tmp_path / "m.onnx").encodings["input"] == ir.Encoding(float(np.float32(0.05)) / float(np.float32(3.3)), 7)


def test_operators_on_codes_are_the_quantizers_around_plain_ones(tmp_path):
    """QLinearConv, QLinearMatMul, ConvInteger and MatMulInteger, against ONNX Runtime: scales are powers of two, so its float32 is exact."""
    import onnxruntime
    r = np.random.default_rng(3)
    one, u8 = np.float32(1), np.uint8
    f = File((2, 5, 5), TensorProto.UINT8)
    y = f.add("QLinearConv", "x", np.float32(.5), f.const(7, u8), f.const(r.integers(-128, 128, (3, 2, 3, 3)), np.int8), f.const([.25, .5, .125]),
              f.const([0, 0, 0], np.int8), np.float32(32), f.const(100, u8), f.const(r.integers(-900, 900, 3), np.int32), pads=[1, 1, 1, 1])
    y = f.add("QLinearMatMul", y, np.float32(.25), f.const(99, u8), f.const(r.integers(0, 255, (5, 4)), u8), np.float32(.125), f.const(128, u8),
              np.float32(16), f.const(120, u8))
    plain = f.save(tmp_path / "a.onnx")
    h = File((2, 5, 5), TensorProto.UINT8)
    y = h.add("ConvInteger", "x", h.const(r.integers(-128, 128, (3, 2, 3, 3)), np.int8), h.const(7, u8), h.const(3, np.int8), pads=[1, 1, 1, 1])
    h.add("Mul", h.add("Cast", y, to=TensorProto.FLOAT), one)
    sums = h.save(tmp_path / "b.onnx")
    x = r.integers(0, 256, (1, 2, 5, 5))
    for path in (plain, sums):
        g = load_quantized(path)
        m = onnx.load(path)
        if path == plain:
            m.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
        want = onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x.astype(u8)})[0]
        assert (g.encodings[g.output.name].decode(ir.run(g, x)) == want).all() and want.std() > 1
    h = File((6,), TensorProto.INT8)
    h.add("MatMulInteger", "x", h.const(r.integers(-128, 128, (6, 3)), np.int8))
    x = r.integers(-128, 128, (9, 6))
    w = onnx.numpy_helper.to_array(h.init[0]).astype(int)
    assert (ir.run(load_quantized(h.save(tmp_path / "c.onnx")), x) == x @ w).all()


def says(text: str): return pytest.raises(UserError, match=text)


def layer(scale=0.1, zero=0, weight_scale=0.1, act="uint8") -> File:
    f = File((4,))
    x = f.quantized("x", scale, zero, act)
    f.quantized(f.add("Gemm", x, f.weight(np.ones((2, 4), int), weight_scale), transB=1), 0.1, 0)
    return f


@pytest.mark.parametrize("scale, said", [
    (np.nan, "nan"), (0.0, "0.0"), (-1.0, "-1.0"), (np.inf, "inf")])
def test_scales_that_are_none(tmp_path, scale, said):
    with says(rf"^ONNX QuantizeLinear 'n0': its scale is {said}; only numbers above 0$"):
        load_quantized(layer(scale).save(tmp_path / "m.onnx"))
    with says(rf"^ONNX DequantizeLinear 'n2': its scale is {said}; only numbers above 0$"):
        load_quantized(layer(weight_scale=scale).save(tmp_path / "m.onnx"))


def test_a_quantized_file_is_no_float_model(tmp_path):
    with says(r"^ONNX op QuantizeLinear at node 'n0': the file is quantized already and no float model; make its integer graph with "
              r"quant.load_quantized$"):
        load_model(layer().save(tmp_path / "m.onnx"))


def test_files_that_are_cut_off_or_old(tmp_path):
    data = layer().model().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data[:len(data) // 2])
    with says(r"m.onnx: cannot be read as ONNX \(.*\); cut off or of another format, export it again$"):
        load_quantized(tmp_path / "m.onnx")
    with says(r"no such file; expected an ONNX model$"):
        load_quantized(tmp_path / "none.onnx")
    f = layer()
    f.opset = 6
    with says(r"m.onnx: opset 6; 7 or newer is supported, convert it with onnx.version_converter$"):
        load_quantized(f.save(tmp_path / "m.onnx"))


def test_what_has_no_integer_form_is_refused_in_one_line(tmp_path):
    def refused(f: File, text: str):
        with says(text) as e:
            load_quantized(f.save(tmp_path / "m.onnx"))
        assert "\n" not in str(e.value)

    f = layer()
    f.add("Mystery", f.last, domain="acme")
    refused(f, r"^unsupported ONNX op acme.Mystery at node 'n6': in a quantized file Abs, Add, ")
    f = File((4,))
    f.add("DequantizeLinear", f.add("DynamicQuantizeLinear", "x", outputs=3), "DynamicQuantizeLinear_0_1", "DynamicQuantizeLinear_0_2")
    refused(f, r"^ONNX DynamicQuantizeLinear 'n0': its scale is computed from each input \(dynamic\); quantize statically")
    f = File((4,))
    f.add("QuantizeLinear", "x", f.add("Relu", "x"))
    refused(f, r"^ONNX QuantizeLinear 'n1': its scale is computed from the input \(dynamic\); only a constant one$")
    f = layer()
    del f.init[0]
    refused(f, r"^ONNX QuantizeLinear 'n0' reads 'c0', which no node makes and no initializer holds; export the file again$")
    f = File((4,))
    f.add("MatMul", f.quantized("x", 0.1, 0), np.float32(np.full((4, 2), .3)))
    refused(f, r"^ONNX MatMul 'n2': its weight is not quantized \(floats without DequantizeLinear or Quant\)$")
    f = File((4,))
    f.add("Gemm", "x", f.weight(np.ones((2, 4), int), 0.1), transB=1)
    refused(f, r"^ONNX node 'n1' takes the model's input as it is, in float: give the input's integers, for example input_format='uint8'")
    f = File((4,))
    w = f.weight(np.ones((2, 4), int), [.1, .2])
    f.add("Gemm", f.add("Gemm", f.quantized("x", 0.1, 0), w, transB=1), f.weight(np.ones((2, 2), int), 0.1), transB=1)
    refused(f, r"^ONNX node 'n5' takes a value that is not quantized; a quantizer has to stand before it$")
    f = File((4, 6))
    f.add("Conv", f.quantized("x", 0.1, 0), f.weight(np.ones((2, 4, 3), int), .1), auto_pad="SAME_UPPER", strides=[1], dilations=[1], group=1)
    f.add("MaxPool", f.last, kernel_shape=[2], ceil_mode=1)
    refused(f, r"^ONNX MaxPool 'n4': ceil_mode=1$")
    f = layer()
    f.quantized("x", 0.3, 0)
    f.add("Add", f.nodes[-3].output[0], f.last)
    refused(f, r"^ONNX node 'n6' quantizes the input in a second way; give the input's integers, for example")
    with says(r"^an input of format uint8, scale -1 and zero 0; give a plain integer format such as uint8, a scale above 0 and"):
        load_quantized(layer().save(tmp_path / "m.onnx"), input_format="uint8", input_scale=-1)
    with says("^unknown number format 'u8'"):
        load_quantized(tmp_path / "m.onnx", input_format="u8")


@pytest.mark.slow
def test_a_real_net_that_onnx_runtime_quantized(tmp_path, real_data):
    """ResNet-8 as a static QDQ file: the same classes as ONNX Runtime, nearly all codes equal, none off by more than one."""
    import onnxruntime
    from benchmarks.onnx_import import quantized_by_onnx_runtime
    path, x, y = quantized_by_onnx_runtime(real_data, "resnet8_cifar10_mlperf_tiny", tmp_path)
    g = load_quantized(path)
    ours, e = codes(g, x[:200]), g.encodings[g.output.name]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    peer = np.rint(onnxruntime.InferenceSession(str(path), options).run(None, {"x": x[:200]})[0] / e.scale) + e.zero
    assert (ours.argmax(1) == peer.argmax(1)).mean() > 0.99 and np.abs(ours - peer).max() <= 1 and (ours != peer).mean() < 0.05
    assert (ours.argmax(1) == y[:200]).mean() > 0.8
