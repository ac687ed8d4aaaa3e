"""Spike-driven layers: the neuron, its spikes, nets of them in integers."""
import numpy as np
import pytest
import torch
from torch import nn

from ir import Conv, Dense, Encoding, Lut, Plan, Requant, run
from ir.interpret import evaluate
from quant import IELIF, calibrate, capture, execute, quantize, tune
from quant.ternary.spikes import ie_lif, unroll


@pytest.fixture(autouse=True)
def one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


class Attention(nn.Module):
    """Spike-driven self-attention without softmax, q (k^T v) / 4, between neurons; residuals add membrane potentials."""

    def __init__(self, dim: int):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.s1, self.s2, self.s3, self.s4, self.s5 = (IELIF() for _ in range(5))

    def forward(self, u):
        x = self.s1(u)
        q, k, v = self.s2(self.q(x)), self.s3(self.k(x)), self.s4(self.v(x))
        return u + self.out(self.s5(q @ (k.transpose(1, 2) @ v) * 0.25))


class SpikeNet(nn.Module):
    """Convolution, batch norm and neuron twice, attention over the pixels, classifier."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.s1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), IELIF()
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(12)
        self.mix, self.s2 = Attention(12), IELIF()
        self.head = nn.Linear(12 * 16, 4)

    def forward(self, x):
        u = self.bn2(self.conv2(self.s1(self.bn1(self.conv1(x)))))
        return self.head(self.s2(self.mix(u.flatten(2).transpose(1, 2))).flatten(1))


def data(n: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """8x8 images with one bright quarter, which is the class."""
    y = torch.arange(n) % 4
    x = torch.randn(n, 1, 8, 8) * 0.3
    for i, k in enumerate(y.tolist()):
        x[i, 0, k // 2 * 4:k // 2 * 4 + 4, k % 2 * 4:k % 2 * 4 + 4] += 1
    return x, y


@pytest.fixture(scope="module")
def trained() -> tuple[SpikeNet, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    net, (x, y) = SpikeNet(), data()
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval(), x, y


def test_neuron():
    x = torch.tensor([-1.0, 0.0, 0.1249, 0.125, 0.3, 0.374, 0.375, 0.9, 1.0, 7.0])
    assert ie_lif(x).tolist() == [0, 0, 0, 0.25, 0.25, 0.25, 0.5, 1.0, 1.0, 1.0]
    v = torch.randn(1000, dtype=torch.float64)
    assert set((4 * ie_lif(v)).unique().tolist()) == {0, 1, 2, 3, 4}


def test_surrogate_gradient():
    x = torch.tensor([-0.1, 0.0, 1e-6, 0.4, 0.99, 1.0, 1.5], requires_grad=True)
    IELIF()(x).backward(torch.full((7,), 3.0))
    assert x.grad.tolist() == [0, 0, 3, 3, 3, 0, 0]


def test_unrolled_steps_sum_to_the_integer():
    n = 4 * ie_lif(torch.randn(50, 7))
    steps = unroll(n)
    assert len(steps) == 4 and all(set(s.unique().tolist()) <= {0, 1} for s in steps)
    assert torch.equal(sum(steps).to(n.dtype), n) and all((a >= b).all() for a, b in zip(steps, steps[1:]))


def test_a_net_of_spikes_has_integers_of_spikes(trained):
    net, x, y = trained
    captured = capture(net, x[:2])
    assert [s.attrs["fn"] for s in captured.steps.values() if s.kind == "function"] == ["ie_lif"] * 7
    with torch.no_grad():
        assert torch.allclose(captured(x), net(x), atol=1e-4)
    q = quantize(captured, Plan.uniform(captured.layers, "int4/uint8"), calibrate(captured, x))
    g = q.lower()
    fused = [n for n in g.nodes.values() if isinstance(n.op, Requant) and (n.type.lo, n.type.hi) == (0, 4)]
    tables = [n for n in g.nodes.values() if isinstance(n.op, Lut)]
    assert len(fused) == 6 and [n.name for n in tables] == ["mix.s1"]  # a requant, but for potentials that a residual reads too
    codes = q.encode(x)
    values = q.forward_integers(codes, keep=True)
    got = run(g, codes.long().numpy(), keep=True)
    torch_got = execute.run(g, codes.long(), keep=True)
    for n in g.nodes:
        assert np.array_equal(got[n], torch_got[n].numpy()) and np.array_equal(got[n], values[n].detach().long().numpy()), n
    assert all(q.codings[n.name.removesuffix(".q")].encoding == Encoding(0.25, 0) for n in fused + tables)


def test_only_additions_remain(trained):
    """What every layer behind a neuron sums is the sum over four steps of weights times spikes, 0 or 1."""
    net, x, _ = trained
    captured = capture(net, x[:2])
    q = quantize(captured, Plan.uniform(captured.layers, "int4/uint8"), calibrate(captured, x))
    g = q.lower()
    values = run(g, q.encode(x).long().numpy(), keep=True)
    seen = []
    for n in g.nodes.values():
        if isinstance(n.op, (Dense, Conv)) and (g.nodes[n.args[0]].type.lo, g.nodes[n.args[0]].type.hi) == (0, 4):
            t = g.nodes[n.args[0]].type
            bias = n.op.bias.reshape(-1, *[1] * (n.op.weight.ndim - 2))
            parts = [evaluate(n.op, (t,), s) - bias for s in unroll(values[n.args[0]])]
            assert np.array_equal(sum(parts) + bias, values[n.name]) and n.op.weight.min() >= -8 and n.op.weight.max() <= 7
            seen.append(n.name)
    assert sorted(seen) == ["conv2", "head", "mix.k", "mix.out", "mix.q", "mix.v"]


def test_training_with_four_bit_weights(trained):
    net, x, y = trained
    captured = capture(net, x[:2])
    q = quantize(captured, Plan.uniform(captured.layers, "int4/uint8"), calibrate(captured, x))
    before = float((q(x).argmax(1) == y).double().mean())
    tune(q, x, y, epochs=4, lr=2e-3)
    after = float((q(x).argmax(1) == y).double().mean())
    assert after >= before and after > 0.9
    assert all(q.codings[n].encoding == Encoding(0.25, 0) for n in q.layout.fixed)
