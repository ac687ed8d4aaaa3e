"""Training with the integers in the loop: it learns, it is repeatable, it resumes, and says what is wrong."""
import copy

import pytest
import torch

from ir import FORMATS, Plan, UserError
from quant import calibrate, quantize, tune
from quant.fake import Damped, Exactly, to_codes
from quant_nets import NETS, images
from test_lowering import equal_everywhere


@pytest.fixture(scope="module")
def start():
    """A low-bit net with poor ranges, its images and labels (the output that is most above its mean in the float net)."""
    net = NETS["residual"]()
    x = images(net, 96)
    q = quantize(net, Plan.uniform(net.layers, "int3/uint3"), calibrate(net, x, "minmax"), weight_range="minmax", bias_correction=False)
    y = net(x)
    return net, q, x, (y - y.mean(0)).argmax(1)


def loss(net, q, x) -> float:
    with torch.no_grad():
        return float((q(x) - net(x)).square().mean() / net(x).var())


@pytest.mark.parametrize("mode", ["ste", "lsq"])
def test_it_learns_the_float_net_without_labels(start, mode):
    net, q, x, _ = start
    t = copy.deepcopy(q)
    history = tune(t, x, epochs=6, lr=2e-3, mode=mode)
    assert len(history) == 6 and history[-1]["loss"] < history[0]["loss"]
    assert loss(net, t, x) < 0.8 * loss(net, q, x)
    equal_everywhere(t, x)


@pytest.mark.parametrize("distill", [False, True])
def test_it_learns_labels(start, distill):
    net, q, x, y = start
    t = copy.deepcopy(q)
    before = float((q(x).argmax(1) == y).float().mean())
    tune(t, x, y, epochs=4, lr=2e-3, distill=net if distill else None)
    assert float((t(x).argmax(1) == y).float().mean()) > before
    equal_everywhere(t, x)


def test_ste_leaves_every_scale_alone(start):
    _, q, x, y = start
    t = copy.deepcopy(q)
    tune(t, x, y, epochs=1, lr=1e-3, mode="ste")
    for (name, a), (_, b) in zip(q.named_parameters(), t.named_parameters()):
        assert torch.equal(a, b) == name.endswith("log_scale"), name


def test_the_seed_governs_chance(start):
    _, q, x, _ = start
    runs = [copy.deepcopy(q) for _ in range(3)]
    for t, seed in zip(runs, (1, 1, 2)):
        tune(t, x, epochs=1, lr=1e-3, seed=seed)
    same, again, other = (torch.cat([p.detach().double().flatten() for p in t.parameters()]) for t in runs)
    assert torch.equal(same, again) and not torch.equal(same, other)


def test_a_stopped_training_resumes_to_the_same_net(start, tmp_path):
    _, q, x, _ = start
    straight, halted = copy.deepcopy(q), copy.deepcopy(q)
    tune(straight, x, epochs=3, lr=1e-3)

    def stop(done, total, value):
        if done == total - 1:  # within the last epoch
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        tune(halted, x, epochs=3, lr=1e-3, progress=stop, checkpoint=tmp_path / "t.pt")
    resumed = copy.deepcopy(q)
    history = tune(resumed, x, epochs=3, lr=1e-3, checkpoint=tmp_path / "t.pt")
    assert len(history) == 3
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters()))


def test_checkpoints_of_others_and_damaged_ones(start, tmp_path):
    net, q, x, _ = start
    path = tmp_path / "t.pt"
    tune(copy.deepcopy(q), x[:32], epochs=1, lr=1e-3, checkpoint=path)
    with pytest.raises(UserError, match=r"t\.pt: a checkpoint of another model, plan or training; delete it or give another file$"):
        tune(copy.deepcopy(q), x[:32], epochs=2, lr=1e-3, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"t\.pt: not a checkpoint of this program, or damaged \(\w+\); delete it to start anew$"):
        tune(copy.deepcopy(q), x[:32], epochs=1, lr=1e-3, checkpoint=path)


@pytest.mark.parametrize("change,says", [
    (dict(mode="sgd"), r"^unknown training mode 'sgd' \(known: ste, lsq, lsq\+, pact\)$"),
    (dict(epochs=0), r"^0 epochs at a learning rate of 0.001: give at least one epoch and a rate above 0$"),
    (dict(lr=0.0), r"^1 epochs at a learning rate of 0.0"),
    (dict(y=torch.zeros(3)), r"^96 images need labels of shape \(96,\), not \(3,\)"),
    (dict(y=torch.full((96,), 7)), r"^labels from 7 to 7 for a model of 5 outputs; give class indices from 0 to 4$"),
    (dict(lr=1e30), r"^training diverged at step 1 of 3 \(epoch 1\): a parameter of 'x' is out of range \(loss \S+\); "
                      r"lower the learning rate \(now 1e\+30\) or clip the gradient$"),
])
def test_mistakes(start, change, says):
    _, q, x, y = start
    with pytest.raises(UserError, match=says):
        tune(copy.deepcopy(q), x, **(dict(y=y, epochs=1, lr=1e-3) | change))


def test_the_gradient_of_a_weight_is_that_of_lsq():
    """d(scale * code)/d(scale) = round(v) - v inside the grid, its end outside (Esser et al. 2020, equation 3)."""
    w, s = torch.tensor([0.33, -0.1, 5.0, -5.0]), torch.tensor(0.25, requires_grad=True)
    fmt = FORMATS["int4"]
    for i, want in enumerate([1 - 0.33 / 0.25, 0 + 0.1 / 0.25, 7.0, -8.0]):
        (grad,) = torch.autograd.grad((to_codes(w / s, fmt) * s)[i], s)
        assert float(grad) == pytest.approx(want, abs=1e-5)


def test_exactly_and_damped():
    x = torch.tensor([0.1], requires_grad=True)
    y = Exactly.apply(torch.tensor([3.0]), x * 2)
    assert y.item() == 3.0 and torch.autograd.grad(y, x)[0].item() == 2.0
    z = Damped.apply(x, 0.25)
    assert z.item() == x.item() and torch.autograd.grad(z, x)[0].item() == 0.25
