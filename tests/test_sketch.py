"""The sketch of the Gauss-Newton matrix: what it foretells is what happens, to second order."""
import numpy as np
import pytest
import torch
from torch import nn

import quant
from quant.sensing.sketch import rows, samples_that_fit
from search import METRICS, measure


def net_of(*layers) -> quant.Net:
    torch.manual_seed(1)
    model = nn.Sequential(*layers).eval()
    return quant.capture(model, torch.randn(2, 6))


def test_rows_square_to_the_quadratic_form():
    """Many draws: mean of (row . dy)**2 is dy' J' (diag p - p p') J dy, sample by sample."""
    net, x = net_of(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)), torch.randn(3, 6)
    dy = torch.randn(3, 5)
    found = torch.einsum("nmd,nd->nm", rows(net, x, draws=20000)["0"], dy).square().mean(1)
    for i in range(3):
        y = net.steps["0"].weight @ x[i] + net.steps["0"].bias
        head = lambda y: net.steps["2"].weight @ y.tanh() + net.steps["2"].bias
        j, p = torch.autograd.functional.jacobian(head, y), head(y).softmax(0)
        dz = j @ dy[i]
        assert float(found[i]) == pytest.approx(float(dz @ (p.diag() - p.outer(p)) @ dz), rel=0.05)


def test_small_changes_do_what_is_foretold():
    """With fine formats the divergence of the output is the foretold one, layer by layer."""
    net, x = net_of(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)), torch.randn(128, 6)
    probe = quant.Simulation(net, quant.calibrate(net, x), x)
    t = measure(probe, ["kl", "gauss_newton"], {k: ("int6/uint6", "int8/uint8") for k in net.layers})
    for layer, row in t["kl"].rows.items():
        for option, v in row.items():
            assert t["gauss_newton"].rows[layer][option] == pytest.approx(v, rel=0.4), (layer, option)


def test_outputs_that_are_no_scores():
    """For the last layer of a regression the metric is output_mse itself, but for the draws."""
    net, x = net_of(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 12), nn.Unflatten(1, (3, 4))), torch.randn(128, 6)
    probe = quant.Simulation(net, quant.calibrate(net, x), x)
    exact, sketched = (METRICS[m](probe, "2", "int3/uint4") for m in ("output_mse", "gauss_newton"))
    assert sketched == pytest.approx(exact, rel=0.25) and exact > 0


def test_memory_bounds_the_samples():
    net = net_of(nn.Linear(6, 100), nn.Linear(100, 4))
    assert samples_that_fit(net, 50, draws=4, memory=4 * 4 * 104 * 10) == 10
    assert samples_that_fit(net, 50, draws=4, memory=1) == 1 and samples_that_fit(net, 50) == 50


def test_nothing_changes_nothing():
    net, x = net_of(nn.Linear(6, 4)), torch.randn(16, 6)
    probe = quant.Simulation(net, quant.calibrate(net, x), x)
    probe._rounded_layer, probe._rounded_input = lambda step, o: step, lambda step, o, v: v
    assert METRICS["gauss_newton"](probe, net.output, "int4/uint8") == 0 and np.isfinite(probe.reference()).all()
