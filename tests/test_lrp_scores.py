"""Scores of layers, the metrics made of them, and what users are told."""
import numpy as np
import pytest
import torch

import quant
from ir import UserError
from lrp_nets import NETS, residual_concat, samples, vit
from quant import Simulation, calibrate
from quant.sensing.lrp import layer_scores, relevance
from quant.sensing.lrp_rules import LRP, parse
from quant_nets import Maker
from search import METRICS, measure
from search.metrics_lrp import RULE

LRP_METRICS = sorted(m for m in METRICS if m.startswith("lrp"))


@pytest.fixture(scope="module")
def probe() -> Simulation:
    net = vit()
    return Simulation(net, calibrate(net, samples(net, 32)), samples(net, 24, seed=8))


@pytest.mark.parametrize("rule", [*LRP, "attention+abs", "attention+zb+abs"])
@pytest.mark.parametrize("name", NETS)
def test_scores_are_shares(name, rule):
    net = NETS[name]()
    c = layer_scores(net, samples(net, 6), rule, batch=4, dtype=torch.float64)
    assert tuple(c) == tuple(net.layers) and min(c.values()) > 0 and sum(c.values()) == pytest.approx(1)


def test_scores_are_what_the_walk_leaves_at_the_inputs_of_layers():
    """Also for layers that share an input (q, k and v): each counts what it sends itself."""
    net, x = vit(), samples(vit(), 6)
    r = relevance(net, x, rule="attention")
    for rule, count in (("attention", lambda v: v.clamp(min=0)), ("attention+abs", torch.abs)):
        sums = {n: float(count(r.sent[n][0]).sum()) for n in net.layers}
        assert layer_scores(net, x, rule, batch=4, dtype=torch.float64) == pytest.approx({n: v / sum(sums.values()) for n, v in sums.items()})


def test_float32_is_enough_for_scores():
    net = residual_concat()
    one, two = (layer_scores(net, samples(net, 8), "attention", dtype=d) for d in (torch.float32, torch.float64))
    assert one == pytest.approx(two, rel=1e-4)


def test_a_layer_that_nothing_comes_from_has_no_share():
    """The branch is multiplied by zero weights later, so that no score comes from it."""
    net = residual_concat()
    net.steps["head"].weight[:, 32:] = 0  # channels 8 to 11 of (12, 2, 2): the branch
    for rule in ("attention", "epsilon", "z-plus"):
        c = layer_scores(net, samples(net), rule)
        assert c["branch"] == 0 and c["conv2"] > 0


def test_a_probe_answers_once_per_rule(probe, monkeypatch):
    first = probe.relevance("z-plus")
    monkeypatch.setattr("quant.sensing.simulate.layer_scores", None)
    assert probe.relevance("z-plus") is first and first == pytest.approx(layer_scores(probe.net, probe.x, "z-plus"))


@pytest.mark.parametrize("metric", LRP_METRICS)
def test_metrics_fall_with_bits(probe, metric):
    menu = ("int2/uint8", "int4/uint8", "int8/uint8")
    for row in measure(probe, [metric], dict.fromkeys(probe.layers, menu))[metric].rows.values():
        assert row["int2/uint8"] > row["int4/uint8"] > row["int8/uint8"] > 0


def test_metrics_are_share_times_noise(probe):
    layer, c = probe.layers[3], probe.relevance(RULE)[probe.layers[3]]
    exact, rounded = (v.astype(np.float64) for v in probe.local(layer, "int4/uint8"))
    noise = np.square(rounded - exact).mean() / exact.var(axis=0).mean()
    assert METRICS["lrp"](probe, layer, "int4/uint8") == pytest.approx(c * noise)
    assert METRICS["lrp_abs"](probe, layer, "int4/uint8") == pytest.approx(probe.relevance(f"{RULE}+abs")[layer] * noise)
    assert METRICS["lrp_attention"](probe, layer, "int4/uint8") == pytest.approx(probe.relevance("attention")[layer] * noise)
    assert METRICS["lrp_bits"](probe, layer, "int4/uint8") == pytest.approx(c * (4 ** -4 + 4 ** -8))
    assert METRICS["lrp_bits"](probe, layer, "int4/-") == pytest.approx(c * 4 ** -4)


def test_exact_is_zero():
    """Weights and inputs that lie on their grids: no noise, no damage."""
    class Exact:
        layers, key = ("a",), "k"
        def relevance(self, rule): return {"a": 1.0}
        def local(self, layer, option): return np.ones((3, 2)), np.ones((3, 2))
    for metric in set(LRP_METRICS) - {"lrp_bits"}:
        assert METRICS[metric](Exact(), "a", "int4/uint8") == 0


def test_a_share_that_is_no_number_is_named():
    class Odd:
        layers, key = ("a",), "k"
        def relevance(self, rule): return {"a": float("nan")}
    with pytest.raises(UserError, match="^relevance rule 'attnlrp': layer 'a' has a share of nan; a number of 0 or more is needed$"):
        METRICS["lrp_bits"](Odd(), "a", "int4/uint8")


def test_one_sample_has_its_power_for_a_signal():
    """One sample varies in nothing."""
    class Single:
        layers, key = ("a",), "k"
        def relevance(self, rule): return {"a": 1.0}
        def local(self, layer, option): return np.full((1, 4), 2.0), np.full((1, 4), 2.2)
    assert METRICS["lrp"](Single(), "a", "int4/uint8") == pytest.approx(0.01)


def test_a_captured_net_is_conserved_too():
    """Batch norm folded, a depthwise layer, a residual sum, biases on."""
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.na = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8)
            self.b, self.nb = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8), torch.nn.BatchNorm2d(8)
            self.fc = torch.nn.Linear(8, 4)

        def forward(self, x):
            x = self.na(self.a(x)).relu()
            return self.fc((x + self.nb(self.b(x))).relu().mean((2, 3)))

    torch.manual_seed(0)
    model = Block()
    for _ in range(3):
        model(torch.randn(8, 3, 6, 6))
    net = quant.capture(model.eval(), torch.randn(2, 3, 6, 6))
    for rule in LRP:
        assert all((v - 1).abs().max() < 1e-9 for v in relevance(net, torch.randn(3, 3, 6, 6), rule=rule).cuts().values())


def test_a_captured_decoder_is_conserved_too():
    """Fused causal attention, LayerNorm, RMSNorm and a gated MLP, as capture takes them apart."""
    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm1, self.norm2 = torch.nn.Embedding(11, 12), torch.nn.LayerNorm(12), torch.nn.RMSNorm(12)
            self.qkv, self.proj, self.head = torch.nn.Linear(12, 36), torch.nn.Linear(12, 12), torch.nn.Linear(12, 11)
            self.gate, self.up, self.down = torch.nn.Linear(12, 20), torch.nn.Linear(12, 20), torch.nn.Linear(20, 12)

        def forward(self, x):
            x = self.embed(x)
            q, k, v = self.qkv(self.norm1(x)).reshape(-1, 5, 3, 2, 6).permute(2, 0, 3, 1, 4).unbind(0)
            y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(y.transpose(1, 2).reshape(-1, 5, 12))
            n = self.norm2(x)
            return self.head(x + self.down(torch.nn.functional.silu(self.gate(n)) * self.up(n)))

    torch.manual_seed(0)
    tokens = torch.randint(0, 11, (3, 5))
    net = quant.capture(Decoder().eval(), tokens)
    for rule in LRP:
        assert all((v - 1).abs().max() < 1e-9 for v in relevance(net, tokens, rule=rule).cuts().values())


@pytest.mark.parametrize("model, rule", [("resnet20_cifar10", "attention"), ("vit_cifar10", "attention"), ("vit_cifar10", "attnlrp")])
def test_real_nets_are_conserved(real_data, model, rule):
    net = quant.load_model(real_data / "onnx" / f"{model}.onnx")
    with np.load(real_data / "cifar10" / "exact.npz") as z:
        x = torch.from_numpy(z["test_x"][:2]).permute(0, 3, 1, 2) / 127.5 - 1
    cuts = relevance(net, x, rule=rule).cuts()
    assert max(float((v - 1).abs().max()) for v in cuts.values()) < 1e-5
    assert all(v > 0 for v in layer_scores(net, x, rule).values())


def net_of(*shape: int):
    m = Maker(3)
    m.reshape("out", m.linear("fc", "x", torch.Size(shape).numel()), *shape)
    return m.net()


def broken(step: str, value: float):
    net = residual_concat()
    net.steps[step].weight[0] = value
    return net


X = torch.ones(2, 3)


@pytest.mark.parametrize("do, text", [
    (lambda: relevance(net_of(4), X, rule="z-pluss"), "unknown relevance rule 'z-pluss'; did you mean 'z-plus'? "
     "(known: attention, attnlrp, epsilon, alpha-beta, z-plus)"),
    (lambda: relevance(net_of(4), X, rule="alpha-beta:half"),
     "relevance rule 'alpha-beta:half': 'half' is no number; write for example alpha-beta:1.5"),
    (lambda: relevance(net_of(4), X, rule="alpha-beta:0.5"), "relevance rule 'alpha-beta' with alpha 0.5; give 1 or more, for example alpha-beta:2"),
    (lambda: relevance(net_of(4), X, rule="epsilon:-1"), "relevance rule 'epsilon' with epsilon -1; give 0 or more, for example epsilon:1e-6"),
    (lambda: relevance(net_of(4), X, rule="z-plus:2"), "relevance rule 'z-plus' takes no number, not 2; write 'z-plus'"),
    (lambda: relevance(net_of(4), X, rule="z-plus+abs"), "relevance rule 'z-plus+abs': unknown flag 'abs' (known here: zb)"),
    (lambda: relevance(net_of(4), X, start="one"), "unknown start 'one' of relevance (known: one-hot, logit)"),
    (lambda: relevance(net_of(4), X, target=4), "target 4 is out of range: the model has 4 classes, 0 to 3"),
    (lambda: relevance(net_of(4), X, target=[0, -1]), "target -1 is out of range: the model has 4 classes, 0 to 3"),
    (lambda: relevance(net_of(4), X, target=[0, 1, 2]), "targets are class numbers (2,), not (3,) of int64"),
    (lambda: relevance(net_of(4), X, target=0.5), "targets are class numbers (2,), not () of float64"),
    (lambda: relevance(net_of(1), X), "relevance needs scores of two or more classes, (K) or (positions, K) a sample; this model gives (1,)"),
    (lambda: layer_scores(net_of(2, 2, 3), X), "relevance needs scores of two or more classes, (K) or (positions, K) a sample; "
     "this model gives (2, 2, 3)"),
    (lambda: relevance(broken("conv1a", np.nan), samples(residual_concat())),
     "step 'conv1a': the float model gives infinite or undefined values on these samples; mend the model or the data"),
    (lambda: layer_scores(net_of(4), 0 * X, "z-plus"), "relevance rule 'z-plus': no relevance reaches any layer; take another rule"),
])
def test_messages(do, text):
    with pytest.raises(UserError) as e:
        do()
    assert str(e.value) == text


def test_a_kind_of_step_without_a_rule_is_named(monkeypatch):
    full = parse("z-plus")[0]
    monkeypatch.setitem(LRP, "z-plus", lambda number: {k: f for k, f in full.items() if k != "reshape"})
    with pytest.raises(UserError) as e:
        relevance(net_of(4), X, rule="z-plus")
    assert str(e.value) == "relevance rule 'z-plus' has nothing for 'reshape', which step 'out' is; add it to COMMON in quant/sensing/lrp_rules.py"


def test_relevance_that_overflows_names_its_layer():
    """Two contributions that all but cancel, with no stabiliser, in float32."""
    m = Maker(2)
    m.linear("up", m.linear("fc", "x", 2), 2)
    net = m.net()
    net.steps["fc"].weight, net.steps["fc"].bias = torch.tensor([[1e30, -1e30], [1.0, 0.0]]), torch.tensor([1e-25, 0.0])
    net.steps["up"].weight, net.steps["up"].bias = torch.tensor([[1e25, 1.0], [0.0, 0.0]]), torch.zeros(2)
    with pytest.raises(UserError, match="^relevance rule 'epsilon:0': layer 'fc' gives relevance that is not finite; use z-plus"):
        relevance(net, torch.ones(1, 2), 0, "epsilon:0", dtype=torch.float32)
