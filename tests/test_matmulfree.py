"""Ternary and MatMul-free layers: the numbers of BitLinear, the recurrence, the schedule, a tiny training."""
import math

import numpy as np
import pytest
import torch

from ir import UserError
from quant import BitLinear, GLU, HalvedCosine, MatMulFreeLM, capture, train_lm
from quant.ternary.bitlinear import ternary_codes, token_codes
from quant.ternary.matmulfree import MLGRU, scan

TEXT = ("the scale of a token is the largest of its values, the codes of a token are what is left of them. a weight is minus one, nothing "
        "or one; the sum of codes is an integer, and the integer is the same wherever it is summed. the state of a channel is kept, a part "
        "of it is forgotten, and what came in takes the place of what was forgotten. so the text goes on, however long it was. ") * 3


@pytest.fixture(autouse=True)
def one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def letters() -> tuple[np.ndarray, int]:
    chars = sorted(set(TEXT))
    return np.array([chars.index(c) for c in TEXT]), len(chars)


@pytest.mark.parametrize("rounding", ["away", "even", "up"])
def test_integers_are_the_fake_quantization(rounding):
    layer = BitLinear(96, 40, rounding).double()
    torch.nn.init.normal_(layer.norm.weight)
    x = torch.randn(3, 7, 96, dtype=torch.float64) * torch.logspace(-6, 4, 7, dtype=torch.float64)[:, None]
    q, acc, scale = layer.integers(x)
    assert q.abs().amax(-1).eq(127).all() and q.dtype == acc.dtype == torch.int64
    assert torch.allclose(acc * scale, layer(x), rtol=1e-10, atol=1e-10)


def test_share_of_zeros():
    """A Gaussian matrix has erf(mean|W| / 2 / sqrt 2 / std) = 31 % zeros: |W| below half its mean, which is sqrt(2 / pi) std."""
    t, mean = ternary_codes(torch.randn(600, 500) * 0.02)
    assert float((t == 0).double().mean()) == pytest.approx(math.erf(math.sqrt(2 / math.pi) / 2 / math.sqrt(2)), abs=0.004)
    assert float(mean) == pytest.approx(0.02 * math.sqrt(2 / math.pi), rel=0.01)
    assert set(t.unique().tolist()) == {-1, 0, 1}


def test_ternary_codes_do_not_depend_on_the_dtype_of_the_module():
    w = torch.randn(64, 64).half()
    codes = [ternary_codes(v)[0].double() for v in (w, w.float(), w.double())]
    assert torch.equal(codes[0], codes[1]) and torch.equal(codes[1], codes[2])


def test_captured_it_is_a_norm_and_a_ternary_layer():
    model = torch.nn.Sequential(BitLinear(12, 10), GLU(10, 16), torch.nn.Linear(10, 3)).eval()
    torch.nn.init.normal_(model[0].norm.weight)
    net = capture(model, torch.randn(2, 5, 12))
    assert list(net.layers) == ["0.linear", "1.gate_proj.linear", "1.down_proj.linear", "2"]
    assert [s.attrs["eps"] for s in net.steps.values() if s.kind == "rmsnorm"] == pytest.approx([1e-6] * 3)
    t, mean = ternary_codes(model[0].weight)
    assert torch.equal(net.layers["0.linear"].weight, t * mean)
    x = torch.randn(64, 5, 12)
    with torch.no_grad():  # what is missing are the codes of a token
        assert 0 < (net(x) - model(x)).square().mean() < 1e-3 * model(x).var()


def test_ties():
    y = torch.tensor([[127.0, 2.5, -2.5, 3.5, -3.5]])
    assert token_codes(y, "away")[0].tolist() == [[127, 3, -3, 4, -4]]
    assert token_codes(y, "even")[0].tolist() == [[127, 2, -2, 4, -4]]
    assert token_codes(y, "up")[0].tolist() == [[127, 3, -2, 4, -3]]
    assert token_codes(torch.zeros(1, 4))[0].tolist() == [[0, 0, 0, 0]]


def test_gradients_pass_straight_through():
    layer = BitLinear(16, 8)
    x = torch.randn(5, 16, requires_grad=True)
    y, (t, mean) = layer.norm(x), ternary_codes(layer.weight)
    grad = torch.randn(5, 8)
    want, = torch.autograd.grad(y, x, grad @ (t * mean), retain_graph=True)
    layer(x).backward(grad)
    assert torch.allclose(x.grad, want, atol=1e-6) and layer.weight.grad.abs().sum() > 0 and layer.norm.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("length", [1, 2, 7, 16, 33])
def test_parallel_scan_is_the_step_loop(length):
    f, c, s0 = torch.rand(2, length, 5).double(), torch.randn(2, length, 5).double(), torch.randn(2, 5).double()
    for first in (None, s0):
        s, want = torch.zeros(2, 5).double() if first is None else first, []
        for t in range(length):
            s = f[:, t] * s + c[:, t]
            want.append(s)
        assert torch.allclose(scan(f, c, first), torch.stack(want, 1), rtol=1e-12, atol=1e-12)


def test_the_forget_gate_keeps_its_lower_bound():
    layer, lower = MLGRU(24), torch.rand(24)
    f = layer.forget(torch.randn(2, 9, 24) * 100, lower)
    assert (f >= lower).all() and (f <= 1).all() and f.min() < 0.9


def test_bounds_rise_with_depth():
    model = MatMulFreeLM(11, 16, 4, hidden=32)
    torch.nn.init.normal_(model.lower_bounds)
    first, *rest = model.bounds()
    assert first is None and all((a < b).all() for a, b in zip(rest, rest[1:])) and (rest[0] > 0).all() and (rest[-1] < 1).all()


def test_token_by_token_is_the_whole_text():
    model = MatMulFreeLM(11, 16, 3, hidden=32).double()
    torch.nn.init.normal_(model.lower_bounds)
    tokens = torch.randint(0, 11, (2, 12))
    with torch.no_grad():
        whole, (parts, states) = model(tokens), model.advance(tokens[:, :5])
        parts = [parts]
        for t in range(5, 12):
            y, states = model.advance(tokens[:, t:t + 1], states)
            parts.append(y)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-9)


def test_initial_weights():
    model = MatMulFreeLM(50, 64, 8)
    assert model.layers[0].mlp.down_proj.weight.shape == (64, 256)  # 8/3 of 64, rounded up to a multiple of 256
    std = {n: float(p.detach().std()) for n, p in model.named_parameters() if n.endswith("weight") and p.dim() == 2}
    assert std["embeddings.weight"] == pytest.approx(0.02, rel=0.05) and std["lm_head.weight"] == pytest.approx(0.02, rel=0.05)
    assert std["layers.3.mlp.gate_proj.weight"] == pytest.approx(0.02, rel=0.05)
    assert std["layers.3.mlp.down_proj.weight"] == pytest.approx(0.02 / 4, rel=0.05)
    assert std["layers.3.attn.o_proj.weight"] == pytest.approx(2 ** -2.5 * math.sqrt(2 / 128), rel=0.05)


def test_the_schedule_halves_in_the_middle():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule, rates = HalvedCosine(optimizer, 110, warmup=10), []
    for _ in range(111):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)]) and rates[10] == 2.0
    assert rates[59] == pytest.approx(1 + math.cos(math.pi * 49 / 100)) and rates[60] == pytest.approx(0.5) and rates[110] == pytest.approx(0)
    with pytest.raises(UserError, match="^a schedule of 5 steps with 5 of warm-up; give more steps than warm-up$"):
        HalvedCosine(optimizer, 5, 5)


def test_a_tiny_model_learns():
    text, vocab = letters()
    model = MatMulFreeLM(vocab, 48, 2, hidden=96)
    losses = train_lm(model, text, steps=60, length=32, batch=8, lr=2e-2)
    assert losses[0] == pytest.approx(math.log(vocab), abs=0.3) and np.mean(losses[-5:]) < losses[0] - 1.0
    assert np.mean(losses[-5:]) < -sum(p * math.log(p) for p in np.bincount(text) / len(text))  # better than letter frequencies


def test_refusals():
    with pytest.raises(UserError, match=r"^unknown rounding 'half' of a token's codes \(known: away, even, up\)$"):
        BitLinear(4, 4, "half")
    with pytest.raises(UserError, match="^vocabulary 0, width 4, 1 layers, hidden width 0: give sizes of at least 1$"):
        MatMulFreeLM(0, 4, 1)
    with pytest.raises(UserError, match="^a text of 9 tokens is too short for stretches of 64; give a longer one or a smaller length$"):
        train_lm(MatMulFreeLM(4, 4, 1), np.zeros(9), 1)
