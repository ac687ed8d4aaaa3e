"""Pruning: the cubic schedule, masks that hold, and zeros that stay zeros through training, quantization and lowering."""
import copy
import math

import pytest
import torch
from torch import nn

from ir import Plan, UserError
from quant import Pruner, calibrate, capture, cubic, prune, quantize, sparsity, tune
from quant.train.weights import fit
from test_lowering import equal_everywhere


def module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 20), nn.ReLU(),
                         nn.Linear(20, 4))


def task(count: int = 128):
    """Which quarter of an 8x8 image is bright."""
    rng = torch.Generator().manual_seed(5)
    x, y = torch.rand(count, 1, 8, 8, generator=rng) * 0.6, torch.randint(0, 4, (count,), generator=rng)
    for i, k in enumerate(y.tolist()):
        x[i, 0, 4 * (k // 2):4 * (k // 2) + 4, 4 * (k % 2):4 * (k % 2) + 4] += 0.35
    return x, y


def accuracy(model, x, y) -> float:
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


@pytest.fixture(scope="module")
def pruned():
    model, (x, y) = module(), task()
    p = prune(model, x, y, final=0.8, epochs=15, lr=5e-3, batch=16)
    return model, p, x, y


def test_the_schedule_begins_at_nothing_and_ends_at_the_final_sparsity():
    assert cubic(10, 10, 110, 0.9) == 0 and cubic(0, 10, 110, 0.9) == 0
    assert cubic(60, 10, 110, 0.9) == pytest.approx(0.875 * 0.9) == pytest.approx(0.7875)
    assert cubic(110, 10, 110, 0.9) == cubic(999, 10, 110, 0.9) == 0.9
    assert cubic(60, 10, 110, 0.9, initial=0.5) == pytest.approx(0.9 - 0.4 / 8)
    assert cubic(4, 5, 5, 0.5) == 0 and cubic(5, 5, 5, 0.5) == 0.5


@pytest.mark.parametrize("regrow", [False, True])
def test_sparsity_follows_the_schedule_and_never_falls(regrow):
    """Within one weight of s(t) at every update, constant between updates, frozen after the end."""
    model = module()
    p = Pruner(model, 0.7, end=40, begin=10, every=10, regrow=regrow)
    seen, masks = [], []
    rng = torch.Generator().manual_seed(0)
    for i in range(1, 61):
        with torch.no_grad():
            for m in p.layers.values():
                m.weight += 0.05 * torch.randn(m.weight.shape, generator=rng)
        p.step(i)
        seen.append(p.sparsity)
        masks.append({n: v.clone() for n, v in p.masks.items()})
        for n, m in p.layers.items():
            assert torch.equal(m.weight == 0, ~p.masks[n])
            at = i if i < 10 else min(i - i % 10, 40)
            assert abs(p.sparsity[n] - cubic(at, 10, 40, 0.7)) <= 1 / m.weight.numel()
    for n in p.layers:
        assert all(a[n] <= b[n] for a, b in zip(seen, seen[1:]))
        assert all(torch.equal(m[n], masks[-1][n]) for m in masks[39:])
        back = any((~a[n] & b[n]).any() for a, b in zip(masks, masks[1:]))
        assert back == regrow  # a masked weight comes back only where its dense value lives on


def test_the_smallest_magnitudes_of_each_tensor_go():
    model = module()
    before = {n: m.weight.detach().clone() for n, m in Pruner(model, 0.5, 1).layers.items()}
    p = Pruner(model, 0.5, end=1)
    p.step(1)
    for n, w in before.items():
        kept, gone = w[p.masks[n]].abs(), w[~p.masks[n]].abs()
        assert kept.min() >= gone.max() and abs(len(gone) - 0.5 * w.numel()) <= 0.5


def test_a_loop_that_skips_steps_still_ends_pruned():
    p = Pruner(module(), 0.6, end=50, every=7)
    p.step(3)
    assert p.at == 0
    p.step(30)
    assert p.at == 28
    p.step(90)
    assert p.at == 50 and all(abs(s - 0.6) < 0.02 for s in p.sparsity.values())


def test_only_the_layers_that_are_named():
    model = module()
    p = Pruner(model, 0.5, end=1, layers=["5"])
    p.step(1)
    assert sparsity(model) == {"0": 0.0, "5": 0.5, "7": 0.0} and list(p.masks) == ["5"]


def test_a_pruned_module_learns(pruned):
    model, p, x, y = pruned
    assert accuracy(model, x, y) > 0.9 and not model.training
    assert all(abs(s - 0.8) < 0.01 for s in sparsity(model).values())


def test_zeros_stay_zeros_through_quantization_training_and_lowering(pruned):
    """prune -> quantize -> train with the integers in the loop: batch norm is folded in, and every masked code is 0."""
    model, p, x, y = pruned
    net = capture(model, x[:2])
    q = quantize(net, Plan.uniform(net.layers, "int4/uint8"), calibrate(net, x))
    keep = Pruner.keeping(q)
    assert {n: v for n, v in keep.masks.items()}.keys() == p.masks.keys()
    assert all(torch.equal(keep.masks[n], p.masks[n]) for n in p.masks)
    tune(q, x, y, epochs=2, lr=2e-3, batch=16, after_step=[keep])
    g = q.lower()
    for n, mask in p.masks.items():
        assert (g.nodes[n].op.weight[~mask.numpy()] == 0).all() and q.layers[n].weight[mask].any()
    equal_everywhere(q, x[:16])
    assert accuracy(q, x, y) > 0.85


def test_training_without_masks_loses_the_zeros(pruned):
    """What the masks are for."""
    model, _, x, y = pruned
    other = copy.deepcopy(model)
    fit(other, x, y, 1, 1e-3)
    assert max(sparsity(other).values()) < 0.5  # those of inputs that are never there


def test_gptq_moves_zeros_and_apply_brings_them_back(pruned):
    model, p, x, _ = pruned
    net = capture(model, x[:2])
    plan, cal = Plan.uniform(net.layers, "int4/uint8"), calibrate(net, x)
    keep = Pruner.keeping(quantize(net, plan, cal))
    q = quantize(net, plan, cal, rounding="gptq")
    assert any((q.layers[n].weight[~m] != 0).any() for n, m in keep.masks.items())
    other = Pruner.keeping(q)
    other.masks = keep.masks
    other.apply()
    assert all((q.layers[n].weight[~m] == 0).all() for n, m in keep.masks.items())
    equal_everywhere(q, x[:8])


def test_a_quantized_net_is_pruned_while_it_is_tuned():
    model, (x, y) = module(), task()
    fit(model, x, y, 6, 5e-3, 16)
    net = capture(model, x[:2])
    q = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, x))
    p = Pruner(q, 0.6, end=18, every=3)
    tune(q, x, y, epochs=3, lr=2e-3, batch=16, after_step=[p])
    assert p.at == 18
    for n, s in sparsity(q).items():
        assert abs(s - 0.6) <= 0.5 / q.layers[n].weight.numel() + 1e-9
    assert accuracy(q, x, y) > 0.8


@pytest.mark.parametrize("regrow", [False, True])
def test_a_stopped_training_goes_on_with_its_masks(regrow, tmp_path):
    model, (x, y) = module(), task(64)
    net = capture(model, x[:2])
    start = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, x), bias_correction=False)

    def run(q, **options):
        tune(q, x, y, epochs=3, lr=2e-3, batch=16, after_step=[Pruner(q, 0.7, end=9, every=2, regrow=regrow)], **options)
        return torch.cat([p.detach().double().flatten() for p in q.parameters()])

    def stop(done, total, loss):
        if done == 7:
            raise KeyboardInterrupt
    straight = run(copy.deepcopy(start))
    with pytest.raises(KeyboardInterrupt):
        run(copy.deepcopy(start), progress=stop, checkpoint=tmp_path / "t.pt")
    assert torch.equal(run(copy.deepcopy(start), checkpoint=tmp_path / "t.pt"), straight)


def test_masks_are_taken_up_again():
    model = module()
    p = Pruner(model, 0.5, end=20, every=5, regrow=True)
    for i in range(1, 11):
        p.step(i)
    other = Pruner(copy.deepcopy(model), 0.5, end=20, every=5, regrow=True)
    other.load_state_dict(p.state_dict())
    for i in range(11, 25):
        p.step(i)
        other.step(i)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(p.layers.values(), other.layers.values()))


def test_the_seed_governs_chance():
    runs = []
    for seed in (1, 1, 2):
        model = module()
        prune(model, *task(64), final=0.5, epochs=2, seed=seed)
        runs.append(torch.cat([v.detach().flatten() for v in model.parameters()]))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("call,says", [
    (lambda: Pruner(module(), 1.0, 10), r"^sparsity from 0.0 to 1.0; give fractions of at least 0 and below 1, the smaller one first$"),
    (lambda: Pruner(module(), 0.2, 10, initial=0.5), r"^sparsity from 0.5 to 0.2"),
    (lambda: Pruner(module(), 0.5, 10, begin=20), r"^pruning from step 20 to 10 every 100: give steps that ascend from 0, and at least 1 between"),
    (lambda: Pruner(module(), 0.5, 10, layers=["9"]), r"^no layer '9' with weights; the model has 0, 5, 7$"),
    (lambda: Pruner(nn.ReLU(), 0.5, 10), r"^ReLU has no layer with weights to work on, or none was named$"),
    (lambda: prune(module(), task()[0], task()[1][:2], 0.5), r"^128 samples need as many labels, class indices; got an array of shape \(2,\)"),
    (lambda: fit(module(), *task(), epochs=0), r"^0 epochs of batches of 32 at a learning rate of 0.001: each must be above 0$"),
    (lambda: fit(module(), task()[0] * math.nan, task()[1]), r"^training diverged in step 1 \(loss nan\); lower the learning rate \(now 0.001\)$"),
])
def test_mistakes(call, says):
    with pytest.raises(UserError, match=says):
        call()
