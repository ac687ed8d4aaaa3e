"""QONNX files as integer graphs: the codes of their quantizers, whatever their scales, widths and roundings."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from quantized_files import QONNX, File, evaluate
from test_onnx_quantized import agree, codes, reals, says, scales

import ir
from ir import Lut, Requant
from quant import load_quantized

MODES = ["ROUND", "FLOOR", "CEIL", "ROUND_TO_ZERO", "DOWN", "UP", "HALF_UP", "HALF_DOWN"]


def mlp(r, mode: str, bits: int, powers: bool, signed: int, narrow: int) -> File:
    """Input quantizer, two layers with batch norm of gains of either sign, a bias in float, scales of each output."""
    f = File((6,))
    at, wide = f.quant("x", s := scales(r, powers=powers), bits=8.0, narrow=1), 6
    for width in (5, 4):
        ws = np.float32(scales(r, (1, width), powers=powers))
        w = f.quant(np.float32(r.normal(0, 3 * float(ws.max()), (wide, width))), ws, bits=3.0, narrow=1)
        at = f.add("Add", f.add("MatMul", at, w), np.float32(r.choice(POWERS_OF_TWO, width) if powers else r.normal(0, s, width)))
        if not powers:
            gain = np.float32(r.normal(0, 1, width))
            gain[0] = 1e-30  # a channel that is as good as dead
            at = f.add("BatchNormalization", at, gain, np.float32(r.normal(0, 1, width)), np.float32(r.normal(0, 1, width)),
                       np.float32(r.uniform(.1, 9, width)))
        at = f.quant(at, s := scales(r, powers=powers) * 2, float(r.integers(0, 3)) if not signed else 0.0, float(bits), signed=signed,
                     narrow=narrow, rounding_mode=mode)
        wide = width
    return f


POWERS_OF_TWO = [2.0 ** -k for k in range(9)]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2 ** 31), st.sampled_from(MODES), st.integers(1, 8), st.booleans(), st.integers(0, 1), st.integers(0, 1))
def test_every_width_and_rounding(tmp_path_factory, seed, mode, bits, powers, signed, narrow):
    if narrow and not signed and bits == 1:
        return
    r = np.random.default_rng(seed)
    f = mlp(r, mode, bits, powers, signed, narrow)
    agree(f, tmp_path_factory.mktemp("q") / "m.onnx", r.normal(0, 60 * 0.1, (200, 6)))


def test_sixteen_bits(tmp_path):
    r = np.random.default_rng(0)
    f = File((4,))
    w = f.quant(np.float32(r.normal(0, 1, (4, 3))), 0.1, bits=6.0)
    f.quant(f.add("MatMul", f.quant("x", 2.0 ** -12, bits=16.0), w), 0.001, bits=16.0)
    x = r.normal(0, 4, (500, 4))
    g = agree(f, tmp_path / "m.onnx", x)
    assert np.unique(codes(g, x)).size > 1000


@pytest.mark.parametrize("mode", ["ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN"])
def test_every_accumulator_of_an_interval(tmp_path, mode):
    """Eight to one: all codes of the input, each place between two codes is met."""
    f = File((1,))
    f.quant(f.quant("x", 1.0, bits=8.0), 8.0, bits=6.0, rounding_mode=mode)
    agree(f, tmp_path / "m.onnx", np.arange(-128, 128.0)[:, None])


def test_a_binary_convolution_net(tmp_path):
    """Weights and activations of one bit, with padding, whose zero is neither +1 nor -1."""
    r = np.random.default_rng(4)
    f = File((2, 6, 6))
    one = np.float32(0.5)
    at = f.add("BipolarQuant", f.add("Sub", f.add("Mul", "x", np.float32(2)), np.float32(1)), one, domain=QONNX)
    w = f.add("BipolarQuant", np.float32(r.normal(0, 1, (4, 2, 3, 3))), np.float32(1), domain=QONNX)
    at = f.add("Conv", at, w, pads=[1, 1, 1, 1])
    at = f.add("BatchNormalization", at, *(np.float32(v) for v in (r.normal(0, 1, 4), r.normal(0, 1, 4), r.normal(0, 1, 4), r.uniform(1, 4, 4))))
    at = f.add("BipolarQuant", at, one, domain=QONNX)
    f.add("Gemm", f.add("Flatten", at), f.quant(np.float32(r.normal(0, 1, (3, 144))), 1.0, bits=2.0), transB=1)
    g = agree(f, tmp_path / "m.onnx", r.integers(0, 256, (60, 2, 6, 6)) / 255, input_format="uint8", input_scale=1 / 255)
    assert {(n.type.lo, n.type.hi) for n in g.nodes.values() if isinstance(n.op, Requant)} >= {(0, 1), (-1, 1)}


@pytest.mark.parametrize("mode", ["ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP"])
def test_few_multiplier_bits_keep_the_rounding(tmp_path, mode):
    """Nearest multipliers: off by one code now and then, never leaning to one side."""
    r = np.random.default_rng(10)
    f = File((6,))
    w = f.quant(np.float32(r.normal(0, 1, (6, 4))), np.float32([[.1, .13, .17, .2]]), bits=5.0)
    f.quant(f.add("MatMul", f.quant("x", 0.1, bits=8.0), w), 0.37, bits=8.0, rounding_mode=mode)
    x = r.normal(0, 4, (500, 6))
    g = load_quantized(f.save(tmp_path / "m.onnx"), multiplier_bits=12)
    wrong = (reals(g, x) - evaluate(f.model(), x)) / float(np.float32(0.37))
    assert np.abs(wrong).max() < 1.001 and (np.abs(wrong) > 0.5).mean() < 0.02
    f.add("BipolarQuant", f.last, np.float32(1), domain=QONNX)
    g = load_quantized(f.save(tmp_path / "m.onnx"), multiplier_bits=12)
    assert (reals(g, x) == evaluate(f.model(), x)).mean() > 0.98


def test_a_reshaped_input_keeps_its_shape(tmp_path):
    f = File((1, 2, 3))
    f.quant(f.add("Gemm", f.quant(f.add("Flatten", "x"), 0.5), f.quant(np.float32(np.ones((2, 6))), 1.0), transB=1), 1.0, bits=8.0)
    g = agree(f, tmp_path / "m.onnx", np.random.default_rng(11).normal(0, 3, (20, 1, 2, 3)))
    assert g.inputs[0].type.shape == (1, 2, 3)


def test_trunc_keeps_the_upper_bits(tmp_path):
    f = File((1, 4, 4))
    at = f.add("AveragePool", f.quant("x", 0.5, bits=4.0, signed=0), kernel_shape=[2, 2], strides=[2, 2])
    f.add("Trunc", at, *(np.float32(v) for v in (0.125, 0, 6, 4)), domain=QONNX, rounding_mode="FLOOR")
    agree(f, tmp_path / "m.onnx", np.random.default_rng(5).uniform(-1, 8, (50, 1, 4, 4)))


def test_a_nonlinearity_between_quantizers_is_a_table(tmp_path):
    f = File((5,))
    f.quant(f.add("Sigmoid", f.quant("x", 0.1, bits=8.0)), 1 / 64, bits=6.0, signed=0)
    g = agree(f, tmp_path / "m.onnx", np.random.default_rng(6).normal(0, 5, (90, 5)))
    assert any(isinstance(n.op, Lut) for n in g.nodes.values())


def test_outputs_without_a_quantizer(tmp_path):
    """One scale: exact integers; a scale for each channel or an offset: close, and the order is kept."""
    r = np.random.default_rng(7)
    w = np.float32(r.integers(-3, 4, (6, 4)))
    f = File((6,))
    f.add("MatMul", f.quant("x", 0.5), f.quant(w, 1.0))
    x = r.normal(0, 2, (50, 6))
    assert (reals(load_quantized(f.save(tmp_path / "m.onnx")), x) == evaluate(f.model(), x)).all()
    f.add("BatchNormalization", f.last, *(np.float32(v) for v in (r.normal(0, 1, 4), r.normal(0, 1, 4), r.normal(0, 1, 4), r.uniform(1, 4, 4))))
    got, want = reals(load_quantized(f.save(tmp_path / "m.onnx")), x), evaluate(f.model(), x)
    assert np.abs(got - want).max() < 1e-5 * np.abs(want).max() and want.std() > 0.1


def test_messages(tmp_path):
    def refused(f: File, text: str):
        with says(text) as e:
            load_quantized(f.save(tmp_path / "m.onnx"))
        assert "\n" not in str(e.value)

    def one(**attrs) -> File:
        f = File((4,))
        args = {k: attrs.pop(k) for k in ("scale", "zero", "bits") if k in attrs}
        f.quant("x", args.get("scale", 0.1), args.get("zero", 0.0), args.get("bits", 4.0), **attrs)
        return f

    refused(one(rounding_mode="NEAREST_PRIME"), r"^ONNX Quant 'n0': rounding mode 'NEAREST_PRIME'; only ROUND, HALF_EVEN, CEIL, ")
    refused(one(bits=17.0), r"^ONNX Quant 'n0': 17 bits; only 1 to 16$")
    refused(one(bits=3.5), r"^ONNX Quant 'n0': its bit width is 3.5; only an integer$")
    refused(one(zero=0.5), r"^ONNX Quant 'n0': its zero point is 0.5; only an integer$")
    refused(one(scale=float("nan")), r"^ONNX Quant 'n0': its scale is nan; only numbers above 0$")
    refused(one(scale=np.float32([[.1, .2]])), r"^ONNX Quant 'n0': a constant of shape \(2,\) beside a value of shape \(N, 4\)$")
    refused(one(rounding_mode="FLOOR"), r"^ONNX node 'n0' quantizes the input in a way that no scale and zero point say: give the input's integers")
    f = File((4,))
    f.add("Quant", "x", f.add("Relu", "x"), np.float32(0), np.float32(4), domain=QONNX)
    refused(f, r"^ONNX Quant 'n1': its scale is computed from the input \(dynamic\); only a constant one$")
    f = File((4,))
    f.add("FloatQuant", "x", domain=QONNX)
    refused(f, r"^unsupported ONNX op qonnx.custom_op.general.FloatQuant at node 'n0': in a quantized file Abs, Add,")
    f = File((4,))
    f.add("Quant", "x", domain="my.domain")
    refused(f, r"^unsupported ONNX op my.domain.Quant at node 'n0'")
    f = one()
    f.add("Softmax", f.last)
    f.add("Relu", f.last)
    refused(f, r"^ONNX Softmax 'n1': only as the last node, where it is left off \(the graph gives the scores\)$")


@pytest.mark.parametrize("net, figure", [("TFC_1W1A", 90.5), ("TFC_2W2A", 95.4)])
def test_the_accuracy_that_a_model_zoo_states(real_data, net, figure):
    """On the MNIST test images that are there: within one standard error of the README's figure."""
    data = np.load(real_data / "mnist" / "mnist.npz")
    x, y = data["test_x"][:, None] / 255, data["test_y"]
    g = load_quantized(real_data / "mnist" / "qonnx" / f"{net}.onnx", input_format="uint8", input_scale=1 / 255)
    assert abs(100 * (codes(g, x).argmax(1) == y).mean() - figure) < 100 * (figure / 100 * (1 - figure / 100) / len(x)) ** 0.5


@pytest.mark.parametrize("net, how", [
    ("kwsmlp_w3a3", {}), ("qkeras_jettagging", {"input_format": "int16", "input_scale": 2.0 ** -10}),
    ("unsw_nb15-mlp-w2a2", {"input_format": "int2"})])
def test_the_nets_of_a_model_zoo(real_data, net, how):
    """Every output equals that of the file's operators in float64, a final softmax aside."""
    import onnx
    path = real_data / "fpga_nets" / "qonnx" / f"{net}.onnx"
    g = load_quantized(path, **how)
    model = onnx.load(path)
    r, t = np.random.default_rng(0), g.inputs[0].type
    q = r.choice([-1, 1], (50, *t.shape)) if t.hi == 1 else np.clip(r.normal(0, t.hi / 8, (50, *t.shape)), t.lo, t.hi).astype(int)
    x = g.encodings["input"].decode(q)
    want = evaluate(model, x)
    got = reals(g, x)
    if net == "qkeras_jettagging":
        want = np.log(want)
        got, want = (v - v.mean(1, keepdims=True) for v in (got, want))
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()
    assert isinstance(g, ir.Graph) and want.std() > 0


@pytest.mark.slow
@pytest.mark.parametrize("net, how", [("nn_resize", {}), ("subpixel", {"input_format": "uint8", "input_scale": 1 / 255})])
def test_nets_that_enlarge_images(real_data, net, how):
    """ESPCN with weights and activations of 4 and 8 bits: every code of the enlarged image is that of the file in float64."""
    import onnx
    path = real_data / "superres_espcn" / f"{net}_quant_model.onnx"
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 128, 128)) / 255
    got, want = reals(load_quantized(path, **how), x), evaluate(onnx.load(path), x)
    assert got.shape == (1, 3, 256, 256) and np.abs(got - want).max() < 1e-6 and want.std() > 0.01
