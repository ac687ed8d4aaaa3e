"""Relevance is conserved at every cut; each rule is its formula, worked out by hand or by a gradient."""
import pytest
import torch

from lrp_nets import NETS, decoder, samples
from quant import Net, Step
from quant.sensing.lrp import relevance
from quant.sensing.lrp_rules import LRP, At, parse
from quant_nets import Maker

RULES = ("attention", "attnlrp", "epsilon", "epsilon:0.1", "alpha-beta", "alpha-beta:1.5", "z-plus", "attention+zb")


def leak(r) -> float:
    """Largest distance of a cut's relevance from the start, over cuts and samples."""
    return max(float((v - r.total).abs().max()) for v in r.cuts().values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETS)
def test_every_cut_holds_all_relevance(name, rule):
    """Biases on, float64: what crosses a cut and what was absorbed behind it add up to 1, one image or four."""
    net = NETS[name]()
    for count in (1, 4):
        r = relevance(net, samples(net, count), rule=rule)
        assert torch.equal(r.total, torch.ones(count, dtype=torch.float64)) and leak(r) < 1e-10


@pytest.mark.parametrize("rule", ("attention", "z-plus", "alpha-beta"))
@pytest.mark.parametrize("name", ("residual_concat", "vit_cls", "vit_mean"))
def test_only_constants_absorb(name, rule):
    """Where biases take no part, only the positions and the class token keep relevance back."""
    r = relevance(NETS[name](), samples(NETS[name]()), rule=rule)
    assert {n for n, v in r.absorbed.items() if v.abs().max() > 1e-12} <= {"positions", "cls"}


@pytest.mark.parametrize("name", ("vit_cls", "decoder", "mobile"))
def test_attnlrp_without_biases_and_softmax_terms(name):
    """AttnLRP absorbs in biases, in softmax and in constants, and nowhere else beyond its epsilon."""
    net = NETS[name]()
    r = relevance(net, samples(net), rule="attnlrp")
    for n, v in r.absorbed.items():
        step = net.steps[n]
        if step.bias is None and step.kind not in ("softmax", "constant", "embedding"):
            assert v.abs().max() < 1e-3, n


def test_float32_holds_to_1e_5():
    for name in ("residual_concat", "mobile", "vit_cls", "decoder"):
        net = NETS[name]()
        for rule in ("attention", "z-plus"):
            assert leak(relevance(net, samples(net), rule=rule, dtype=torch.float32)) < 1e-5


@pytest.mark.parametrize("rule", ("attention", "attnlrp", "alpha-beta"))
@pytest.mark.parametrize("name", ("residual_concat", "vit_mean", "decoder"))
def test_samples_do_not_mix(name, rule):
    net = NETS[name]()
    x = samples(net)
    together, alone = relevance(net, x, rule=rule), [relevance(net, v[None], rule=rule) for v in x]
    for n in net.steps:
        assert torch.allclose(together.values[n], torch.cat([a.values[n] for a in alone]), rtol=1e-9, atol=1e-12)


def one_layer(kind: str) -> Net:
    m = Maker(*{"linear": (7,), "conv1": (4, 9), "conv2": (4, 8, 8)}[kind], seed=1)
    y = {"linear": lambda: m.linear("layer", "x", 6), "conv1": lambda: m.conv("layer", "x", 6, k=5, stride=2),
         "conv2": lambda: m.conv("layer", "x", 6, stride=2, groups=2, dilation=2)}[kind]()
    return m.net() if len(m.shape(y)) == 1 else _flat(m, y)


def _flat(m: Maker, y: str) -> Net:
    size = torch.Size(m.shape(y)).numel()
    m.reshape("flat", y, size)
    return m.net()


@pytest.mark.parametrize("kind", ("linear", "conv1", "conv2"))
@pytest.mark.parametrize("rule", ("attention", "z-plus", "alpha-beta", "alpha-beta:1.5", "attention+zb", "z-plus+zb"))
def test_a_layer_hands_on_as_much_as_it_gets(kind, rule):
    """The unit ratio is 1; code in use doubles it in convolutions (a known defect of Transformer-Explainability)."""
    net = one_layer(kind)
    r = relevance(net, samples(net), rule=rule)
    assert r.values["x"].flatten(1).sum(1) == pytest.approx(1.0, abs=1e-6)


def test_epsilon_is_gradient_times_input_in_relu_nets():
    """Shrikumar et al., 2016; Ancona et al., 2018: with a small epsilon, biases counted, from the score."""
    net = NETS["residual_concat"]()
    x = samples(net).double().requires_grad_()
    r = relevance(net, x, target=[0, 1, 2, 3], rule="epsilon:1e-13", start="logit")
    y = r.net(x)[range(4), range(4)]
    g, = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(r.values["x"], x.detach() * g, rtol=1e-6, atol=1e-9) and torch.allclose(r.total, y.detach())


def test_z_plus_and_alpha_beta_by_hand():
    m = Maker(3)
    m.linear("fc", "x", 2)
    net, x = m.net(), torch.tensor([[1.0, -2.0, 3.0]])
    net.steps["fc"].weight = torch.tensor([[1.0, -1.0, -1.0], [0.0, 0.0, 0.0]])  # contributions 1, 2, -3
    assert relevance(net, x, 0, "z-plus").values["x"].tolist() == [[pytest.approx(1 / 3), pytest.approx(2 / 3), 0]]
    assert relevance(net, x, 0, "alpha-beta:2").values["x"].tolist() == [[pytest.approx(2 / 3), pytest.approx(4 / 3), -1]]
    assert relevance(net, x, 1, "z-plus").absorbed["fc"].tolist() == [1]  # nothing contributes to class 1


def at(kind: str, xs, y, r, **attrs) -> At:
    m = Maker(*xs[0].shape[1:])
    m.add("s", kind, tuple("x" for _ in xs), y.shape[1:], **attrs)
    return At(m.steps["s"], tuple(xs), y, (False,) * len(xs), r)


def randoms(*shapes, seed=2):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(2, *s, generator=rng, dtype=torch.float64) for s in shapes]


def test_softmax_of_attnlrp_is_its_first_order_expansion():
    """R_i = sum_j x_i (dp_j / dx_i) R_j / p_j, with the Jacobian from autograd."""
    x, r = randoms((5,), (5,))
    (got,), absorbed = parse("attnlrp")[0]["softmax"](at("softmax", [x], x.softmax(1), r, axis=0))
    for k in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: v.softmax(0), x[k])
        assert torch.allclose(got[k], x[k] * (jacobian.T @ (r[k] / x[k].softmax(0))))
    assert torch.allclose(absorbed + got.sum(1), r.sum(1))


def test_layernorm_of_attnlrp_holds_the_deviation_fixed():
    """Gradient times input of the normalised value with a deviation that is a number."""
    x, g = randoms((4, 6), (4, 6))
    w, b = randoms((6,))[0]
    here = at("layernorm", [x], torch.nn.functional.layer_norm(x, (6,), w, b), g, weight=w, bias=b, dims=1, eps=1e-5)
    (got,), _ = parse("attnlrp:1e-15")[0]["layernorm"](At(here.step, here.xs, here.y, here.fixed, g * here.y))
    v = x.clone().requires_grad_()
    ((v - v.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt() * w * g).sum().backward()
    assert torch.allclose(got, x * v.grad)


def test_products():
    a, b, r = randoms((3, 4), (4, 5), (3, 5))
    for rule in ("attention", "attnlrp:0", "epsilon:0"):
        (ra, rb), _ = parse(rule)[0]["matmul"](at("matmul", [a, b], a @ b, r))
        s = r / (a @ b)
        assert torch.allclose(ra, a * (s @ b.mT) / 2) and torch.allclose(rb, b * (a.mT @ s) / 2)
    (ra, rb), absorbed = parse("z-plus")[0]["matmul"](at("matmul", [a, b], a @ b, r.abs()))
    assert ra.min() >= 0 and rb.min() >= 0 and torch.allclose(ra.sum((1, 2)) + rb.sum((1, 2)) + absorbed, r.abs().sum((1, 2)))
    assert torch.allclose(ra.sum((1, 2)), rb.sum((1, 2)))
    (ra, rb), _ = parse("epsilon")[0]["mul"](at("mul", [a, a], a * a, a))
    assert torch.equal(ra, a / 2) and torch.equal(rb, a / 2)


def test_a_fixed_factor_takes_nothing():
    a, b, r = randoms((3, 4), (4, 5), (3, 5))
    for fixed in ((True, False), (False, True)):
        here = at("matmul", [a, b], a @ b, r)
        parts, _ = parse("attention")[0]["matmul"](At(here.step, here.xs, here.y, fixed, r))
        assert torch.allclose(sum(p.sum((1, 2)) for p in parts), r.sum((1, 2))) and not parts[fixed.index(True)].any()


def test_sums_are_rescaled_sample_by_sample():
    """The totals of both arguments stand as |S_a| to |S_b|, also where their shares have opposite signs."""
    a, b, r = randoms((40,), (40,), (40,), seed=5)
    parts, _ = parse("attention")[0]["add"](at("add", [a, b], a + b, r))
    plain = torch.stack([(v * r / (a + b)).sum(1) for v in (a, b)])
    assert torch.allclose(torch.stack([p.sum(1) for p in parts]), r.sum(1) * plain.abs() / plain.abs().sum(0))


def test_winner_takes_all_in_a_pool():
    m = Maker(1, 4, 4)
    m.reshape("flat", m.pool("max", "maxpool", "x", 2, 2), 4)
    r = relevance(m.net(), torch.arange(16.0).reshape(1, 1, 4, 4), target=2).values["x"]
    assert r.sum() == 1 and r[0, 0, 3, 1] == 1


def test_pixels_in_a_box():
    """z^B by its formula: x, least and greatest of the image; no pixel has negative relevance."""
    net = one_layer("conv2")
    x, w = samples(net, 3).double(), net.steps["layer"].weight.double()
    r = relevance(net, x, rule="z-plus+zb").values
    lo, hi = x.flatten(1).amin(1).view(-1, 1, 1, 1), x.flatten(1).amax(1).view(-1, 1, 1, 1)
    assert r["x"].min() >= 0
    conv = lambda v, u: torch.nn.functional.conv2d(v.expand(3, 4, 8, 8), u, None, 2, 2, 2, 2)
    s = r["layer"] / (conv(x, w) - conv(lo, w.clamp(min=0)) - conv(hi, w.clamp(max=0)))
    back = lambda u: torch.nn.grad.conv2d_input((3, 4, 8, 8), u, s, 2, 2, 2, 2)
    assert torch.allclose(r["x"], x * back(w) - lo * back(w.clamp(min=0)) - hi * back(w.clamp(max=0)))


@pytest.mark.parametrize("infinite", (False, True), ids=("-1e9", "-inf"))
@pytest.mark.parametrize("rule", sorted(LRP))
def test_a_causal_mask_lets_no_relevance_back(rule, infinite):
    """Of the first position's scores nothing comes from later tokens, nor from the mask."""
    net = decoder(infinite=infinite)
    net.steps["first"] = Step("first", "slice", ("head",), (1, 11), {"start": (0, 0), "stop": (1, 11), "step": (1, 1)})
    net.output = "first"
    r = relevance(net, samples(net), rule=rule)
    assert leak(r) < 1e-10 and not r.absorbed["mask"].any()
    assert r.values["embed"][:, 0].any() and not r.values["embed"][:, 1:].any()


def test_a_leak_shows(monkeypatch):
    """Convolutions that hand on twice what they have break the cuts before them, and only those."""
    sound = parse("attention")[0]
    def twice(at): return tuple(2 * p for p in sound["conv"](at)[0]), sound["conv"](at)[1]
    monkeypatch.setitem(LRP, "attention", lambda number: sound | {"conv": twice})
    net = NETS["mobile"]()
    cuts = relevance(net, samples(net), rule="attention").cuts()
    assert cuts["x"].min() > 1.5 and cuts["wide"] == pytest.approx(1.0)
