"""Curvature against exact Hessians, and the metrics made of it against true losses."""
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import quant
from ir import UserError
from quant import Simulation, calibrate, fisher_diagonals, hessian_traces
from quant.sensing.curvature import run
from lrp_nets import decoder, vit
from quant.net import FUNCTIONS
from quant_nets import NETS, Maker, images
from search import METRICS, measure


def small(smooth: bool = False):
    """conv, pool, residual sum, two dense layers: small enough for whole Hessians."""
    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.a, self.b = torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Linear(12, 12), torch.nn.Linear(12, 4)

        def forward(self, x):
            x = F.max_pool2d(F.gelu(self.conv(x)) if smooth else F.relu(self.conv(x)), 2).flatten(1)
            return self.b(F.relu(x + self.a(x)))

    torch.manual_seed(1)
    x = torch.randn(8, 1, 4, 4)
    return quant.capture(Small().eval(), x[:2]), x


def hessian(f): return torch.func.jacrev(torch.func.jacrev(f))  # torch.func.hessian, without its slow start


def exact(net, x, layer, labels=None):
    """(Hessian in a layer's weights of the mean loss, Hessians in each sample's input) by torch.func."""
    target, step = net(x).softmax(1), net.layers[layer]

    def loss(w, shift, at):
        z = run(net, x[at], {layer: w}, {k: shift if k == layer else torch.zeros(()) for k in net.layers})[0]
        return F.cross_entropy(z, target[at] if labels is None else labels[at])

    none, every = torch.zeros(net.steps[step.args[0]].shape), slice(None)
    weights = hessian(lambda w: loss(w, none, every))(step.weight).reshape(step.weight.numel(), -1)
    inputs = [hessian(lambda d: loss(step.weight, d[0], slice(n, n + 1)))(none[None]).reshape(none.numel(), -1) for n in range(len(x))]
    return weights, torch.stack(inputs)


@pytest.mark.parametrize("layer", ["conv", "a", "b"])
def test_fisher_is_the_diagonal_of_the_hessian(layer):
    """At the float net's own outputs they are one, smooth steps or not."""
    for smooth in (False, True):
        net, x = small(smooth)
        weights, inputs = exact(net, x, layer)
        f = fisher_diagonals(net, x, batch=5)[layer]
        assert torch.allclose(f.weights.flatten(), weights.diag(), rtol=1e-3, atol=1e-7)
        assert torch.allclose(f.input.flatten(1), inputs.diagonal(dim1=1, dim2=2), rtol=1e-3, atol=1e-7)
        assert f.traces.weights == pytest.approx(float(weights.trace()), rel=1e-4)


def test_hutchinson_finds_the_trace():
    """Within 4 standard errors of the exact trace, with labels (where it may differ from the soft one) and without."""
    net, x = small(smooth=True)
    for labels in (None, torch.arange(8) % 4):
        found = hessian_traces(net, x, labels, probes=120, tol=0, batch=len(x))
        for layer in ("conv", "b"):
            weights, inputs = exact(net, x, layer, labels)
            for got, h, share in ((found[layer].weights, weights, 1), (found[layer].input, torch.block_diag(*inputs), 1 / len(x))):
                error = share * float((2 * (h.square().sum() - h.diag().square().sum()) / 120).sqrt())
                assert abs(got - share * float(h.trace())) < 4 * error < 0.5 * abs(got)


def test_hutchinson_within_three_percent_at_100_probes():
    """A dense layer of 300 weights that many samples bend in many directions: one draw is off by a few percent only."""
    torch.manual_seed(0)
    net, x = quant.capture(torch.nn.Linear(30, 10).eval(), torch.randn(2, 30)), torch.randn(256, 30)
    p = net(x).softmax(1)
    true = float(((p - p * p).sum(1) * x.square().sum(1)).mean())
    assert hessian_traces(net, x, probes=100, tol=0, batch=256)[net.output].weights == pytest.approx(true, rel=0.03)


def test_labels_do_not_bend_piecewise_linear_nets():
    """Equal signs, equal traces: the second derivative of scores in one layer is 0, that of the loss in scores knows no labels."""
    net, x = small()
    a, b = (hessian_traces(net, x, y, probes=3) for y in (None, torch.arange(8) % 4))
    assert all(a[k].weights == pytest.approx(b[k].weights, rel=1e-4) and a[k].input == pytest.approx(b[k].input, rel=1e-4) for k in a)


def test_it_stops_when_calm(monkeypatch):
    """With one class of errors everywhere the estimate is exact at once: a diagonal Hessian has no noise."""
    import quant.sensing.curvature as curvature
    rounds, signs = [], curvature._signs
    monkeypatch.setattr(curvature, "_signs", lambda *a: rounds.append(1) or signs(*a))
    net = quant.capture(torch.nn.Linear(1, 1, bias=False).eval(), torch.ones(2, 1))
    traces = hessian_traces(net, torch.tensor([[1.0], [-1.0]]), batch=2)
    assert len(rounds) == 1 + curvature.PATIENCE
    assert traces[net.output].weights == pytest.approx(2 / float(net.steps[net.output].weight) ** 2, rel=1e-5)


def test_many_outputs_are_sampled():
    torch.manual_seed(0)
    net = quant.capture(torch.nn.Linear(8, 40).eval(), torch.randn(2, 8))
    x = torch.randn(64, 8)
    p = net(x).softmax(1)
    f = fisher_diagonals(net, x, draws=64)[net.output]
    assert torch.allclose(f.weights, ((p * (1 - p)).T @ x.square()) / 64, rtol=0.5)
    assert f.traces.weights == pytest.approx(float(((p - p * p).sum(1) * x.square().sum(1)).mean()), rel=0.03)


def test_empirical_fisher_is_the_square_of_gradients():
    net, x = small()
    y = torch.arange(8) % 4
    w = net.layers["a"].weight.clone().requires_grad_()
    z = run(net, x, {"a": w}, {k: torch.zeros(()) for k in net.layers})[0]
    squares = [torch.autograd.grad(F.cross_entropy(z[n], y[n]), w, retain_graph=True)[0].square() for n in range(8)]
    assert torch.allclose(fisher_diagonals(net, x, y)["a"].weights, torch.stack(squares).mean(0), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("make", [*NETS.values(), vit, decoder])
def test_every_kind_of_step(make):
    net = make()
    x = images(net, 6)
    fisher, hutchinson = fisher_diagonals(net, x), hessian_traces(net, x, probes=2)
    for k in net.layers:
        t = fisher[k].traces
        assert 0 < t.weights < np.inf and 0 < t.input < np.inf and np.isfinite([hutchinson[k].weights, hutchinson[k].input]).all()


@pytest.mark.parametrize("fn", [f for f in FUNCTIONS if f != "ie_lif"])  # steps: beyond the last one nothing bends
def test_every_function_bends(fn):
    """Twice differentiable, or flat almost everywhere: the estimate is near the exact trace of one weight."""
    m = Maker(3)
    m.linear("b", m.same("f", "function", m.linear("a", "x", 4), fn=fn), 3)
    for s in m.steps.values():
        s.weight, s.bias = (None if v is None else v.abs() for v in (s.weight, s.bias))
    net, x = m.net(), images(m.net(), 16).abs()  # positive: the roots need it
    found, true = hessian_traces(net, x, probes=40, tol=0, batch=16)["a"].weights, fisher_diagonals(net, x)["a"].traces.weights
    assert 0.5 < found / true < 2


def white(outputs: int = 4):
    """A dense layer without activation on inputs of mean 0 and covariance 1: its mean squared error is a round bowl in its weights."""
    torch.manual_seed(2)
    h = torch.tensor([[1.0]])
    for _ in range(3):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    x = torch.cat([h, -h])
    class Bowl(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(8, outputs)

        def forward(self, x): return self.fc(x)[:, None, :].expand(-1, 2, -1)  # (N, 2, K): no row of class scores

    net = quant.capture(Bowl().eval(), x[:2])
    return Simulation(net, calibrate(net, x), x, fit=x)


def test_hessian_is_the_loss_of_a_round_bowl():
    s = white()
    for o in ("int2/-", "int4/-", "int4t/-"):
        assert METRICS["hessian"](s, "fc", o) == pytest.approx(METRICS["output_mse"](s, "fc", o), rel=1e-4)
        assert METRICS["hawq"](s, "fc", o) == pytest.approx(2 * METRICS["hessian"](s, "fc", o), rel=1e-9)
        assert METRICS["fisher"](s, "fc", o) == pytest.approx(METRICS["output_mse"](s, "fc", o), rel=1e-4)


def test_metrics_of_both_sides_add_up_and_fall_with_bits():
    net, x = small()
    s = Simulation(net, calibrate(net, x), x)
    options = ("int2/uint2", "int4/uint4", "int8/uint8", "int4/-", "-/uint4")
    tables = measure(s, ["hessian", "fisher", "hawq"], dict.fromkeys(s.layers, options))
    for name in ("hessian", "fisher"):
        for row in tables[name].rows.values():
            assert row["int2/uint2"] > row["int4/uint4"] > row["int8/uint8"] > 0
            assert row["int4/uint4"] == pytest.approx(row["int4/-"] + row["-/uint4"], rel=1e-9)
    assert all(row["-/uint4"] == 0 for row in tables["hawq"].rows.values())


def test_second_order_foretells_small_damage():
    """The last layer, where the loss sees no other: with fine formats KL is near its quadratic form, up to correlated errors."""
    net, x = small()
    s = Simulation(net, calibrate(net, x), x)
    assert 0.3 < METRICS["fisher"](s, "b", "int8/-") / METRICS["kl"](s, "b", "int8/-") < 3


class Told:
    """A probe that answers what it is told."""
    layers, key = ("a",), "k"

    def __init__(self, **answers): self.answers = answers
    def __getattr__(self, name): return lambda *_: self.answers[name]


def test_negative_traces_count_as_zero_and_undefined_ones_are_refused():
    pair = np.zeros((2, 3)), np.ones((2, 3))
    assert METRICS["hessian"](Told(tensors=(pair, pair), trace=(-1.0, 6.0)), "a", "int8/int8") == 0.5 * 6 / 3 * 6 / 2
    with pytest.raises(UserError, match="^layer 'a': the Hessian traces of weights and input are nan and 1.0; mend the model or the data"):
        METRICS["hessian"](Told(tensors=(pair, pair), trace=(np.nan, 1.0)), "a", "int8/int8")


def test_task_and_flips():
    z, q = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [0.0, 3.0]])
    ce = lambda v, y: float(np.mean([np.log(np.exp(r).sum()) - r[k] for r, k in zip(v, y)]))
    for y in ([0, 1], [1, 1]):
        probe = Told(reference=z, outputs=q, labels=np.array(y))
        assert METRICS["task"](probe, "a", "int8/int8") == pytest.approx(max(0.0, ce(q, y) - ce(z, y)), abs=1e-12)
        changes = [abs(ce(q[i:i + 1], [y[i]]) - ce(z[i:i + 1], [y[i]])) for i in (0, 1)]
        assert METRICS["task_abs"](probe, "a", "int8/int8") == pytest.approx(np.mean(changes), abs=1e-12)
    assert METRICS["top1_flips"](probe, "a", "int8/int8") == 0.5
    assert METRICS["output_sqnr"](probe, "a", "int8/int8") == pytest.approx((4 + 1 + 4) / 5)
    for name in ("task", "task_abs", "top1_flips", "output_sqnr"):
        with pytest.raises(UserError, match=f"^metric {name!r}: layer 'a' with 'int8/int8' gives nan; leave this option out"):
            measure(Told(reference=z, outputs=q * np.nan, labels=np.array(y)), [name], {"a": ["int8/int8"]})


def test_labels_are_asked_for_and_checked():
    net, x = small()
    cal = calibrate(net, x)
    with pytest.raises(UserError, match="^metric 'task' needs the true class of each calibration sample; give labels with the data"):
        measure(Simulation(net, cal), ["task"], {"a": ["int4/uint8"]})
    y = np.arange(8) % 4
    s = Simulation(net, cal, x, labels=y)
    assert (s.labels() == y).all() and s.key != Simulation(net, cal, x).key and Simulation(net, cal, x).labels() is None
    for bad, text in ((y[:5], "labels are one integer for each of 8 samples, not torch.int64 of shape (5,)"),
                      (y + 1, "labels run from 1 to 4, but the model has 4 classes; number them from 0"),
                      (y / 2, "labels are one integer for each of 8 samples, not torch.float64 of shape (8,)")):
        with pytest.raises(UserError) as e:
            Simulation(net, cal, x, labels=bad)
        assert str(e.value) == text
    with pytest.raises(UserError, match=r"^labels are given, but the model's output is \(2, 4\) a sample, not a row of class scores"):
        fisher_diagonals(white().net, white().x, y)
    with pytest.raises(UserError, match=r"^the model has no layer 'c' \(it has conv, a, b\)$"):
        s.trace("c")


def test_curvature_is_taken_on_the_first_images():
    net = NETS["sequence"]()
    cal, x = calibrate(net, images(net, 16)), images(net, 80)
    many, few = Simulation(net, cal, x, fit=x), Simulation(net, cal, x[:64], fit=x)
    for k in net.layers:
        assert many.trace(k) == few.trace(k) and many.fisher(k, "int4/uint4") == few.fisher(k, "int4/uint4") > 0
