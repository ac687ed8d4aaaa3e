"""The MatMul-free model in integers: every backend the same, close to float64 with the same int8 rules, no loss of quality."""
from fractions import Fraction
import math

import numpy as np
import pytest
import torch

import codegen
from benchmarks.matmulfree import compare_block, letters, losses, synthetic, tokens_of
from ir import Graph, Input, Ints, Plan, UserError, infer, run
from ir.lm import WORDS, Words
from ir.lm.expand import Builder
from ir.store import load_graph, save_graph
from quant import BitLinear, MatMulFreeLM, calibrate, capture, execute, lower_lm, quantize, train_lm
from quant.ternary.bitlinear import ternary_codes
from quant.ternary.matmulfree_lower import about, lower_block, multiplier, sigmoid, silu
from test_matmulfree import TEXT

BOUNDS = {"q14": (2.5e-2, 0.1, 3.5, 6, 18), "q16": (2.1e-2, 0.05, 1.2, 3, 14), "q18": (1.3e-2, 0.05, 0.8, 2.2, 9)}  # error, flips in % as below


@pytest.fixture(autouse=True)
def one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def model(layers: int = 2) -> MatMulFreeLM:
    m = MatMulFreeLM(17, 24, layers, hidden=40)
    for name, p in m.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.normal_(p, 1, 0.2)
    torch.nn.init.normal_(m.lower_bounds)
    return m


def rows(x: np.ndarray, words: Words = WORDS["q14"]) -> tuple[Graph, Builder]:
    g = Graph()
    g.add("x", Input(Ints(x.shape, int(x.min()), int(x.max()))))
    return g, Builder(g, len(x), words, sigmoid(words), silu(words))


@pytest.mark.parametrize("precision", WORDS)
def test_numpy_and_torch_agree_on_every_value(precision):
    g, x = lower_lm(model(), 5, precision, "logits"), np.random.default_rng(0).integers(0, 17, (3, 5))
    got, want = execute.run(g, torch.from_numpy(x), keep=True), run(g, x, keep=True)
    assert all(np.array_equal(got[n].numpy(), want[n]) for n in g.nodes)
    assert max(n.type.bits for n in g.nodes.values()) < 63


def test_sums_are_the_logits_without_their_scale():
    m, x = model(), np.random.default_rng(1).integers(0, 17, (4, 6))
    sums, logits = lower_lm(m, 6), lower_lm(m, 6, head="logits")
    assert sums.output.name == "lm_head" and infer.kind(sums.output.op) == "dense"
    acc, values = run(sums, x), run(logits, x, keep=True)
    scale = values["lm_head.factor"]
    real = np.ldexp(values["lm_head.value"], -12)
    ratio = (real * acc).sum(2) / np.square(acc).sum(2)  # one factor a token
    assert np.abs(real - ratio[..., None] * acc).max() <= 2 ** -12 and (ratio > 0).all()
    assert np.allclose(ratio / scale[..., 0], (ratio / scale[..., 0]).mean(), rtol=1e-2)
    with torch.no_grad():
        want = m(torch.from_numpy(x)).numpy()
    assert np.abs(real - want).max() < 0.1 * want.std()


def test_states_are_carried_without_loss():
    """A text in parts, its states handed on, has the integers of the whole; as the published half floats have not."""
    m, x = model(3), np.random.default_rng(2).integers(0, 17, (2, 9))
    whole = run(lower_lm(m, 9), x)
    part, states, got = lower_lm(m, 3, states=True), {f"layers.{i}.attn.before": np.zeros((2, 1, 24), np.int64) for i in range(3)}, []
    for k in range(0, 9, 3):
        values = run(part, {"tokens": x[:, k:k + 3]} | states, keep=True)
        got.append(values["lm_head"])
        states = {n: values[n.replace("before", "state")][:, -1:] for n in states}
    assert np.array_equal(np.concatenate(got, 1), whole)


@pytest.mark.parametrize("precision", WORDS)
def test_a_block_is_as_close_to_float64_as_its_precision_allows(precision):
    block, lower = synthetic(256, 704)
    error, flips = compare_block(block, lower, tokens_of(256, 24), precision)
    most, i, o, gate, down = BOUNDS[precision]
    assert error.mean() < most
    assert all(100 * flips[n] < bound for n, bound in (("attn.i_proj", i), ("attn.f_proj", i), ("attn.g_proj", i), ("attn.o_proj", o),
                                                       ("mlp.gate_proj", gate), ("mlp.down_proj", down))), flips


def test_more_bits_come_closer():
    block, lower = synthetic(128, 352)
    errors = [compare_block(block, lower, tokens_of(128, 24), p)[0].mean() for p in WORDS]
    assert errors[0] > 1.2 * errors[2]


def test_integers_lose_no_quality():
    """Of a model that has learnt something: loss on text it was not trained on, in nats a letter."""
    text, vocab = letters(TEXT)
    m = MatMulFreeLM(vocab, 48, 2, hidden=96)
    train_lm(m, text[:-200], steps=60, length=32, batch=8, lr=2e-2)
    real, integer = losses(m, text[-200:], 32, "q14")
    assert real.mean() < math.log(vocab) - 0.7
    assert abs((integer - real).mean()) < 0.02


def codes(b: Builder) -> str: return b.share("q", "x", b.largest("top", "x"), 127)


@pytest.mark.parametrize("seed", range(3))
def test_codes_are_exact(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-(1 << 25), 1 << 25, (6, 40)) >> rng.integers(0, 24, (6, 1))
    x[0], x[1] = 0, np.arange(40) * 2 - 127 + 88  # a token of nothing; one with ties: 127 * x / 127
    g, r = rows(x)
    g.result = codes(r)
    want = [[math.floor(Fraction(127 * int(v), max(1, int(np.abs(row).max()))) + Fraction(1, 2)) for v in row] for row in x]
    assert np.array_equal(run(g, x[None])[0], want) and g.output.type.lo == -127 and g.output.type.hi == 127


def test_ties_of_codes_go_up():
    x = np.array([[254, 1, -1, 3, -3]])
    g, r = rows(x)
    g.result = codes(r)
    assert run(g, x[None])[0].tolist() == [[127, 1, 0, 2, -1]]


@pytest.mark.parametrize("gate, bits, sigma, slu", [(12, 16, 5e-5, 2.7e-4), (14, 16, 2.5e-5, 7e-5), (16, 18, 7e-6, 1.8e-5)])
def test_curves(gate, bits, sigma, slu):
    """Errors at every input: half a step of a gate, and the bend of a piece."""
    w = Words(gate=gate, sigmoid=bits)
    x = np.arange(w.gates[0], w.gates[1] + 1)[None]
    real = np.ldexp(x[0].astype(np.float64), -gate)
    for c, fn, frac, bound in ((sigmoid(w), lambda v: 1 / (1 + np.exp(-v)), bits, sigma), (silu(w), lambda v: v / (1 + np.exp(-v)), gate, slu)):
        g, b = rows(x, w)
        g.result = b.curve("y", c, "x")
        error = np.abs(np.ldexp(run(g, x[None])[0, 0], -frac) - fn(real)).max()
        assert error <= bound, error
        assert len(c.value) == 1 << w.whole + 1 + w.pieces


@pytest.mark.parametrize("size", [1, 1e-3])
def test_scales_count_the_epsilon_between_norms(size):
    """Sums times scale against float64 of both norms, the first of which leaves `size`."""
    p, dim = WORDS["q18"], 64
    x = np.random.default_rng(0).integers(-3, 4, (6, dim)) * (4 ** np.arange(6, 12))[:, None]
    block, lower = synthetic(dim, 32)
    block.attn_norm.weight.data *= size
    values = run(lower_block(block, lower, 6, p), x[None], keep=True)
    with torch.no_grad():
        a = block.attn_norm(torch.from_numpy(np.ldexp(x.astype(np.float64), -p.residual)))
        want, got = block.attn.i_proj(a).numpy(), np.ldexp(values["attn.i_proj.value"][0], -p.gate)
    assert np.linalg.norm(want) / np.linalg.norm(got) == pytest.approx(1, rel=1e-3)
    assert (np.linalg.norm(got - want, axis=1) < 4e-3 * np.linalg.norm(want, axis=1)).all()
    assert (np.linalg.norm(want[-1]) < 3.5) == (size < 1)  # here the epsilon tells


def test_a_token_of_nothing_stays_nothing():
    block, lower = synthetic(32, 32)
    g = lower_block(block, lower, 3)
    assert not run(g, np.zeros((1, 3, 32), np.int64)).any()


def test_extremes_of_the_residual_are_held():
    block, lower = synthetic(32, 32)
    g, rng = lower_block(block, lower, 3, "q18"), np.random.default_rng(0)
    x = rng.choice(WORDS["q18"].residuals, (2, 3, 32))
    got, want = execute.run(g, torch.from_numpy(x), keep=True), run(g, x, keep=True)
    assert all(np.array_equal(got[n].numpy(), want[n]) for n in g.nodes)
    assert all(n.type.lo <= want[n.name].min() and want[n.name].max() <= n.type.hi for n in g.nodes.values())


@pytest.mark.parametrize("ratio", [1e-12, 3e-5, 0.99999999, 1.0, 17.3])
@pytest.mark.parametrize("bits", [3, 17, 40])
def test_multipliers(ratio, bits):
    mul, shift = multiplier(ratio, bits)
    assert mul.bit_length() <= bits or shift == 0
    assert shift == 60 or math.ldexp(mul, -shift) == pytest.approx(ratio, rel=2.0 ** -bits)


def test_a_stored_graph_is_the_graph(tmp_path):
    g, x = lower_lm(model(), 4), np.array([[1, 2, 3, 4]])
    save_graph(g, tmp_path)
    assert np.array_equal(run(load_graph(tmp_path), x), run(g, x))
    assert about(WORDS["q14"])["ternary codes"] == "weights read as float32, mean |W| summed in float64 and rounded to float32, ties to even"


def test_refusals():
    m = model()
    for call, message in ((lambda: lower_lm(m, 4, "q20"), "unknown precision 'q20' (known: q14, q16, q18)"),
                          (lambda: lower_lm(m, 0), "head 'sums' for 0 tokens: give sums or logits and at least one token"),
                          (lambda: lower_lm(m, 4, head="argmax"), "head 'argmax' for 4 tokens: give sums or logits and at least one token"),
                          (lambda: Words(gate=30), "30 bits of gate: take 6 to 20")):
        with pytest.raises(UserError) as e:
            call()
        assert str(e.value).startswith(message) and "\n" not in str(e.value)


def test_onnx_agrees():
    g, x = lower_lm(model(1), 3), np.random.default_rng(0).integers(0, 17, (3, 3))
    assert np.array_equal(codegen.onnx.run(codegen.onnx.build(g), x), run(g, x))


@pytest.mark.slow
def test_compiled_code_agrees():
    g, x = lower_lm(model(1), 3), np.random.default_rng(0).integers(0, 17, (3, 3))
    assert np.array_equal(codegen.tvm.build(g)(x), run(g, x))


def test_a_captured_bitlinear_keeps_its_integers():
    """As a layer of an ordinary net with ternaryt/int8d: the same weights, and codes that differ where the 16-bit input was rounded."""
    m = torch.nn.Sequential(BitLinear(24, 20, "up"), BitLinear(20, 16, "up"), torch.nn.Linear(16, 3)).eval()
    torch.nn.init.normal_(m[0].norm.weight, 1, 0.3)
    x = torch.randn(64, 5, 24)
    net = capture(m, x)
    q = quantize(net, Plan({n: "ternaryt/int8d" if "linear" in n else "int8/int8" for n in net.layers}), calibrate(net, x), bias_correction=False)
    g = q.lower()
    values, codes = run(g, q.encode(x).long().numpy(), keep=True), m[0].integers(x)[0].numpy()
    assert np.array_equal(g.nodes["0.linear"].op.weight, ternary_codes(m[0].weight)[0].numpy())
    differs = np.abs(values["0.linear.codes"].reshape(codes.shape) - codes)
    assert differs.max() <= 1 and differs.mean() < 0.01
    with torch.no_grad():
        assert (q(x) - m(x)).square().mean() < 2e-4 * m(x).var()
