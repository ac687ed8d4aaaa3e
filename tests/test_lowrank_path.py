"""Low-rank paths of integer layers: nearer to the float net, and torch, numpy and the graph agree on every integer."""
import pytest
import torch
from quant_nets import NETS, Maker, images

from ir import Conv, Dense, Plan, UserError, run
from quant import calibrate, quantize
from quant.sites.lowrank_path import compensate_rank


def pointwise():
    m = Maker(6, 5, 5, seed=4)
    a = m.same("relu", "relu", m.conv("one", "x", 16, k=1))
    m.conv("two", m.conv("three", a, 12, k=3), 8, k=1, stride=2)
    return m.net()


def quantized(net, option="int3/uint8"):
    x = images(net)
    return quantize(net, Plan.uniform(net.layers, option), calibrate(net, x), bias_correction=False), x


def agree(q, x):
    g, codes = q.lower(), q.encode(x)
    values = run(g, codes.long().numpy(), keep=True)
    mine = q.forward_integers(codes, keep=True)
    same = [n for n in g.nodes if n in mine]
    assert g.output.name in same or torch.equal(q.forward_integers(codes).long(), torch.as_tensor(values[g.output.name]))
    assert all(torch.equal(mine[n].long(), torch.as_tensor(values[n])) for n in same)
    return g


@pytest.mark.parametrize("make", [NETS["attention"], pointwise])
def test_integers_agree_and_errors_shrink(make):
    net = make()
    q, x = quantized(net)
    before = float((q(x) - net(x)).square().mean().detach())
    found = compensate_rank(q, calibrate(net, x), 4)
    assert found and all(b < a for a, b in found.values())
    assert float((q(x) - net(x)).square().mean().detach()) < before
    g = agree(q, x)
    thin = [n.op for name, n in g.nodes.items() if name.endswith((".right", ".left"))]
    assert len(thin) == 2 * len(found) and all(isinstance(op, (Dense, Conv)) and abs(op.weight).max() <= 127 for op in thin)


def test_full_rank_leaves_next_to_nothing():
    net = NETS["attention"]()
    q, x = quantized(net)
    found = compensate_rank(q, calibrate(net, x), 16, ["up", "down"])
    assert set(found) == {"up", "down"} and all(b < 0.02 * a for a, b in found.values())
    assert [n for n, s in q.layers.items() if s.path is not None] == ["up", "down"]


def test_refusals():
    q, x = quantized(pointwise())
    c = calibrate(q.net, x)
    with pytest.raises(UserError, match=r"^layer 'three' can have no low-rank path; linear layers and convolutions with a kernel of 1 can "):
        compensate_rank(q, c, 2, ["three"])
    with pytest.raises(UserError, match="^a low-rank path has a rank of at least 1, not 0$"):
        compensate_rank(q, c, 0)
