"""Transformers and diffusion nets wholly in integers: one meaning in torch, numpy, ONNX and TVM, close to the float net, trainable."""
import copy

import pytest
import torch
from ir import Plan, UserError, run
from test_capture import same
from test_capture_transformer import NETS, data
from test_lowering import equal_everywhere
from torch import nn
from torch.nn import functional as F

import codegen
from quant import calibrate, capture, quantize, tune
from quant.layout import layout
from quant.scores import absorb

CLOSE = {"int8/uint8": 0.04, "int8/int8": 0.04, "int4/uint8": 0.3, "int4/uint4": 0.5}  # of the float outputs' norm


@pytest.fixture(scope="module", params=NETS)
def case(request):
    """(the captured net, its data, its calibration)."""
    torch.manual_seed(0)
    x = data(request.param)
    net = same(NETS[request.param](), x=x)
    return net, x, calibrate(net, x)


def made(case, option: str):
    net, _, calibration = case
    return quantize(net, Plan.uniform(net.layers, option), calibration)


@pytest.mark.parametrize("option", CLOSE)
def test_torch_equals_graph_and_is_close_to_float(case, option):
    net, x, _ = case
    q = made(case, option)
    equal_everywhere(q, x)
    with torch.no_grad():
        wanted = net(x)
        assert (q(x) - wanted).norm() <= CLOSE[option] * wanted.norm()


@pytest.mark.parametrize("option", ["int8/uint8", "int4/uint4"])
def test_onnx_equals_graph(case, option):
    _, x, _ = case
    q = made(case, option)
    g, codes = q.lower(), q.encode(x).detach().long().numpy()
    assert (codegen.onnx.run(codegen.onnx.build(g), codes) == run(g, codes)).all()


@pytest.mark.slow
@pytest.mark.parametrize("option", ["int8/uint8", "int4/uint4"])
def test_tvm_equals_graph(case, option):
    _, x, _ = case
    q = made(case, option)
    g, codes = q.lower(), q.encode(x).detach().long().numpy()
    assert (codegen.tvm.build(g)(codes) == run(g, codes)).all()


def test_gradients_reach_everything_that_is_trained(case):
    _, x, _ = case
    q = made(case, "int4/uint4")
    q(x).square().sum().backward()
    dead = [n for n, p in q.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)]
    assert not dead and all(p.grad.isfinite().all() for p in q.parameters() if p.requires_grad)


def float_gradients(net, x, towards) -> dict[str, torch.Tensor]:
    """'step.weight' and 'step.bias' -> gradient in the float net of the sum of its outputs times `towards`."""
    own = copy.deepcopy(net)
    leaves = {f"{s.name}.{k}": getattr(s, k).requires_grad_() for s in own.steps.values() for k in ("weight", "bias") if getattr(s, k) is not None}
    (own(x) * towards).sum().backward()
    return {k: v.grad for k, v in leaves.items()}


def test_gradients_are_those_of_the_float_net(case):
    net, x, _ = case
    y = net(x).detach()
    towards = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)) * (y.abs() < 0.95 * y.abs().max())  # no clipped output
    wanted = float_gradients(net, x, towards)
    q = made(case, "int8/uint8")
    (q(x) * towards).sum().backward()
    for s in q.sites:
        for k in ("weight", "bias"):
            if getattr(s, k, None) is not None and f"{s.name}.{k}" in wanted:
                had, want = getattr(s, k).grad.flatten(), wanted[f"{s.name}.{k}"].flatten()
                assert F.cosine_similarity(had, want, dim=0) > 0.85 and 0.8 < had.norm() / want.norm() < 1.25, f"{s.name}.{k}"


def test_training_learns(case):
    _, x, _ = case
    q = made(case, "int3/uint4")
    losses = [h["loss"] for h in tune(q, x, torch.arange(8) % 3, epochs=10, lr=1e-2, batch=4)]
    assert losses[-1] < 0.9 * losses[0]
    equal_everywhere(q, x)


def formats(net, option: str) -> tuple[dict[str, str], dict[str, tuple]]:
    """Step -> the format of its result; step -> those of its arguments that it reads in narrower ones of its own."""
    q = layout(absorb(net), Plan.uniform(net.layers, option))
    has = {n: q.formats[q.coding[n]].name for n in q.coding}
    return has, {n: tuple(f and f.name for f in fs) for n, fs in q.narrow.items() if any(fs)}


def test_what_is_wide_and_what_is_narrow():
    torch.manual_seed(0)
    net = same(NETS["vit"](), x=data("vit"))
    has, own = formats(net, "int4/uint4")
    products = [n for n, s in net.steps.items() if s.kind == "matmul"]
    softmax = next(n for n, s in net.steps.items() if s.kind == "softmax")
    assert has["qkv"] == has["pos"] == has["proj"] == has["patch"] == "int16" and has["up"] == "uint8"
    assert has[products[0]] == "uint8" and has[softmax] == has["norm1"] == has["norm2"] == "uint4" and has["head"] == "int16"
    assert own[products[0]] == ("uint4", "uint4") and own[products[1]] == (None, "uint4")


class Masked(nn.Module):
    def __init__(self, mask, bias=None):
        super().__init__()
        self.q, self.k, self.mask, self.bias = nn.Linear(4, 4), nn.Linear(4, 4), mask, bias

    def forward(self, x):
        scores = self.q(x) @ self.k(x).mT * 0.7
        scores = scores if self.bias is None else scores + self.bias
        return (scores + self.mask).softmax(-1) @ x


CAUSAL = torch.full((6, 6), -1e9).triu(1)
PADDED = torch.where(torch.arange(6) < 4, 0.0, -1e9)


@pytest.fixture(scope="module")
def attention():
    """Attention over many keys, in which few are looked at: most of its probabilities are small."""
    torch.manual_seed(0)
    x = 1.5 * torch.randn(8, 48, 4)
    net = same(Masked(torch.where(torch.arange(48) < 47, 0.0, -1e9)), x=x)
    return net, x, calibrate(net, x)


def test_queries_keys_and_values_have_encodings_of_their_own(case):
    net, _, _ = case
    if "qkv" in net.layers:
        scores, mixed = (s for s in made(case, "int4/uint4").sites if net.steps[s.name].kind == "matmul")
        assert len({c.encoding.scale for c in (*scores.arms, mixed.arms[1])}) == 3


@pytest.mark.parametrize("bits, powers", [(3, True), (4, True), (5, False), (8, False)])
def test_few_bits_of_probabilities_are_powers(attention, bits, powers):
    net, x, _ = attention
    q = made(attention, f"int8/uint{bits}")
    fmt = next(s.out.fmt for s in q.sites if net.steps[s.name].kind == "softmax")
    assert fmt.bits == bits and fmt.name == (f"logsqrt2_{bits}" if powers else f"uint{bits}")
    equal_everywhere(q, x)


@pytest.mark.parametrize("mask", [CAUSAL, PADDED, CAUSAL.clip(-1e4)], ids=["causal", "padded", "finite"])
@pytest.mark.parametrize("bias", [None, torch.linspace(-1, 1, 36).view(6, 6)], ids=["bare", "biased"])
def test_a_mask_costs_the_scores_no_range(mask, bias):
    torch.manual_seed(0)
    x = torch.randn(16, 6, 4)
    net = same(Masked(mask, bias), x=x)
    inside = absorb(net)
    assert (inside(x) - net(x)).abs().max() < 1e-6
    q = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, x))
    equal_everywhere(q, x)
    assert (q(x) - net(x)).norm() < 0.03 * net(x).norm()
    hidden = torch.where(mask.expand(6, 6) < 0, 1.0, 0.0)  # what is hidden changes nothing, to the last bit
    codes = q.encode(x).long().numpy()
    shares = run(q.lower(), codes, keep=True)[next(s.name for s in q.sites if net.steps[s.name].kind == "softmax") + ".q"]
    assert (shares[:, hidden.numpy() > 0] == 0).all() and (shares.sum(-1) > 0).all()


def test_a_constant_that_hides_and_changes_is_refused():
    x = torch.randn(4, 6, 4)
    net = capture(Masked(CAUSAL + torch.linspace(-1, 1, 36).view(6, 6)), x)
    with pytest.raises(UserError, match=r"^step '.*': one constant hides some scores \(below -1000\) and changes others, which no narrow "
                                        r"encoding can hold; add the mask and the bias one after the other$"):
        quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, x))


def test_attention_without_layers_before_it():
    torch.manual_seed(0)
    x = torch.randn(16, 6, 4)

    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, x): return self.head(F.scaled_dot_product_attention(x, x, x, is_causal=True))
    net = same(Bare(), x=x)
    q = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, x))
    equal_everywhere(q, x)
    assert (q(x) - net(x)).norm() < 0.03 * net(x).norm()
