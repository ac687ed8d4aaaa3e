"""Optimizers, schedules, averages, checkpoints within an epoch, hooks, augmentation, teachers, and trainings that go wrong."""
import copy
import re

import pytest
import torch

from ir import Plan, UserError
from quant import calibrate, quantize, tune
from quant.train.augment import flip_and_crop
from quant.train.distill import Student, Teacher, feature_loss, loss_of
from quant.train.qat import rate
from quant.train.recipe import Recipe
from quant_nets import NETS, images
from test_lowering import equal_everywhere


@pytest.fixture(scope="module")
def start():
    """A net under an uneven plan, images and labels."""
    net = NETS["residual"]()
    x = images(net, 96)
    plan = Plan(dict(zip(net.layers, ["int4/uint4", "ternary/uint3", "int8/int8", "int2t/uint4", "e2m1/uint8"])))
    y = net(x)
    return net, quantize(net, plan, calibrate(net, x)), x, (y - y.mean(0)).argmax(1)


def values(q) -> torch.Tensor: return torch.cat([v.double().flatten() for v in q.state_dict().values()])


@pytest.mark.parametrize("recipe", [dict(optimizer="sgd", lr=0.05, clip=1.0), dict(optimizer="adamw", lr=4e-3, weight_decay=0.05, warmup=0.2),
                                    dict(lr=8e-3, schedule="linear", ema=0.5, features=("relu2", "mean"), distill_loss="mse")])
def test_every_optimizer_learns_under_an_uneven_plan(start, recipe):
    net, q, x, y = start
    t = copy.deepcopy(q)
    history = tune(t, x, y, epochs=5, distill=net, **recipe)
    assert history[-1]["loss"] < 0.97 * history[0]["loss"]
    equal_everywhere(t, x[:16])


@pytest.mark.parametrize("more", [dict(norms="virtual", ema=0.9, mode="lsq+", accumulator_bits=14, reestimate=32),
                                  dict(optimizer="sgd", mode="pact")])
def test_a_training_killed_within_an_epoch_resumes_bit_for_bit(start, tmp_path, more):
    net, q, x, y = start
    recipe = dict(epochs=3, lr=1e-3, batch=16, every=2, distill=net, augment=flip_and_crop(1)) | more
    straight, halted, resumed = (copy.deepcopy(q) for _ in range(3))
    history = tune(straight, x, y, **recipe)

    def stop(done, total, value):
        if done == 9:  # three steps into the second epoch, one after a checkpoint
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        tune(halted, x, y, progress=stop, checkpoint=tmp_path / "t.pt", **recipe)
    seen = []
    assert tune(resumed, x, y, progress=lambda done, total, value: seen.append(done), checkpoint=tmp_path / "t.pt", **recipe) == history
    assert seen == list(range(9, 19)) and torch.equal(values(straight), values(resumed))
    finished = copy.deepcopy(q)
    assert tune(finished, x, y, checkpoint=tmp_path / "t.pt", **recipe) == history
    assert torch.equal(values(straight), values(finished))


def test_averages_are_what_the_net_ends_with(start):
    """decay 0.5 of a net that is followed from outside."""
    _, q, x, _ = start
    t, seen = copy.deepcopy(q), []
    weight = next(iter(t.layers.values())).weight
    tune(t, x, epochs=2, lr=1e-2, ema=0.5, after_step=[lambda step: seen.append((step, weight.detach().clone()))])
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    want = next(iter(q.layers.values())).weight.detach().clone()
    for step, w in seen:
        want.lerp_(w, 1 - min(0.5, (1 + step) / (10 + step)))
    assert torch.equal(weight.detach(), want) and not torch.equal(want, seen[-1][1])


class Mask:
    """The smaller half of a weight is 0 from the third step on."""

    def __init__(self, weight): self.weight, self.keep, self.steps = weight, None, []

    def step(self, i):
        self.steps.append(i)
        if i == 3:
            self.keep = self.weight.detach().abs() > self.weight.detach().abs().median()

    @torch.no_grad()
    def apply(self):
        if self.keep is not None:
            self.weight.mul_(self.keep)


def test_masks_are_applied_after_every_step_and_to_averages(start):
    _, q, x, _ = start
    t = copy.deepcopy(q)
    weight = t.layers["conv1"].weight
    mask = Mask(weight)
    tune(t, x, epochs=2, lr=1e-2, ema=0.9, after_step=[mask])
    assert mask.steps == [1, 2, 3, 4, 5, 6] and float((weight == 0).float().mean()) >= 0.5
    conv = t.lower().nodes["conv1"].op.weight
    assert (conv[~mask.keep.numpy()] == 0).all() and (conv != 0).any()


def test_rates():
    def course(**r): return [round(rate(i, 10, Recipe(**r)), 4) for i in range(11)]
    assert course(schedule="constant", warmup=0.3) == [0.25, 0.5, 0.75] + [1.0] * 8
    assert course(schedule="linear") == [round(1 - i / 10, 4) for i in range(11)]
    cosine = course()
    assert cosine[0] == 1 and cosine[5] == 0.5 and cosine[10] == 0
    peer = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0), 10)
    for value in cosine[:10]:
        assert peer.get_last_lr()[0] == pytest.approx(value, abs=1e-4)
        peer.optimizer.step()
        peer.step()


def test_weight_decay_spares_biases_and_scales(start):
    """With a loss that has no gradient, only weights shrink."""
    _, q, x, _ = start
    t = copy.deepcopy(q)
    tune(t, x, epochs=1, lr=1e-3, optimizer="adamw", weight_decay=100.0, mode="ste", distill=lambda v: q(v).detach(), batch=96)
    a, b = q.layers["conv1"], t.layers["conv1"]
    assert torch.allclose(b.weight, a.weight * 0.9, atol=2.1e-3) and (b.bias - a.bias).abs().max() <= 1.1e-3


def test_gradients_are_cut(start):
    _, q, x, _ = start
    t, u = copy.deepcopy(q), copy.deepcopy(q)
    tune(t, x, epochs=1, lr=1.0, optimizer="sgd", momentum=0.0, clip=1e-3, batch=96, schedule="constant", mode="ste")
    moved = torch.cat([(a - b).detach().double().flatten() for a, b in zip(t.parameters(), q.parameters())]).norm()
    assert float(moved) == pytest.approx(1e-3, rel=1e-3)
    tune(u, x, epochs=1, lr=1.0, optimizer="sgd", momentum=0.0, clip=0.0, batch=96, schedule="constant", mode="ste")
    assert torch.cat([(a - b).detach().double().flatten() for a, b in zip(u.parameters(), q.parameters())]).norm() > 5e-3


def test_flipped_and_shifted_images():
    x = torch.arange(2 * 3 * 4 * 5).float().view(2, 3, 4, 5) + 1
    seen = set()
    for seed in range(40):
        y = flip_and_crop(1)(x, torch.Generator().manual_seed(seed))
        assert y.shape == x.shape and torch.equal(y, flip_and_crop(1)(x, torch.Generator().manual_seed(seed)))
        for image, source in zip(y, x):
            places = [(f, i, j) for f in (0, 1) for i in range(3) for j in range(3)
                      if torch.equal(image, torch.nn.functional.pad(source.flip(-1) if f else source, [1] * 4)[:, i:i + 4, j:j + 5])]
            assert len(places) == 1
            seen |= set(places)
    assert len(seen) == 18


def test_losses_against_their_formulas(start):
    net, q, x, y = start
    out, taught = q(x).detach(), net(x)
    p, s = (taught / 2).softmax(1), (out / 2).log_softmax(1)
    kl = float((p * (p.log() - s)).sum(1).mean() * 4)
    hard = float(torch.nn.functional.cross_entropy(out, y))
    got = float(loss_of(out, y, taught, Recipe(distill_weight=0.25, temperature=2.0)))
    assert got == pytest.approx(0.75 * hard + 0.25 * kl, rel=1e-5)
    mse = float((out - taught).square().mean() / taught.var(correction=0))
    assert float(loss_of(out, None, taught, Recipe())) == pytest.approx(mse, rel=1e-5)
    assert float(loss_of(out, y, taught, Recipe(distill_loss="mse", distill_weight=1.0))) == pytest.approx(mse, rel=1e-5)


def test_features_are_the_real_values_of_sites(start):
    net, q, x, _ = start
    student = Student(q, ("relu2", "mean", "head.fc"))
    out, had = student(x)
    assert torch.equal(out, q(x)) and torch.equal(had[2], out) and had[0].shape == (96, 8, 8, 8)
    taught, wanted = Teacher(net, student)(x)
    values = net(x, keep=True)
    assert torch.equal(wanted[0], values["relu2"]) and torch.equal(taught, values["head.fc"])
    want = (had[0] - wanted[0]).detach().square().mean() / wanted[0].var(correction=0)
    assert float(feature_loss(had[:1], wanted[:1]).detach()) == pytest.approx(float(want), rel=1e-5)


def test_features_beside_labels_bring_no_outputs_of_a_teacher(start):
    net, q, x, y = start
    t, seen = copy.deepcopy(q), []
    tune(t, x, y, epochs=1, batch=96, features=("mean",), progress=lambda done, total, loss: seen.append(loss))
    out, had = Student(q, ("mean",))(x)
    want = torch.nn.functional.cross_entropy(out, y) + feature_loss(had, [net(x, keep=True)["mean"]])
    assert seen[0] == pytest.approx(float(want.detach()), rel=1e-5)


def test_features_that_cannot_be(start):
    _, q, x, y = start
    with pytest.raises(UserError, match=r"^features: the model has no step 'layer9' \(it has x, conv1, .*\)$"):
        tune(copy.deepcopy(q), x, y, features=("layer9",))
    with pytest.raises(UserError, match="^features are compared by the names of steps; distill from the captured float net that was quantized$"):
        tune(copy.deepcopy(q), x, y, features=("mean",), distill=torch.nn.Flatten())


def test_numbers_that_are_none(start, tmp_path):
    """A gradient that explodes, an image that augment spoilt: the line names the step and the layer, and the last checkpoint stays."""
    _, q, x, y = start
    path = tmp_path / "t.pt"

    def explode(layer, at):
        t, count = copy.deepcopy(q), []
        def hook(grad):
            count.append(1)
            return grad * float("nan") if len(count) == at else grad
        t.layers[layer].weight.register_hook(hook)
        return t
    says = (f"training diverged at step 5 of 6 (epoch 2): the gradient of 'conv2' is not finite (loss NUM); lower the learning rate (now 0.001) "
            f"or clip the gradient; the last good checkpoint is kept at {path}")
    with pytest.raises(UserError, match=f"^{re.escape(says).replace('NUM', '[0-9.e-]+')}$"):
        tune(explode("conv2", 5), x, y, epochs=2, lr=1e-3, checkpoint=path)
    kept = torch.load(path, weights_only=True)
    assert len(kept["progress"]["history"]) == 1 and all(v.isfinite().all() for v in kept["parts"]["net"].values())
    with pytest.raises(UserError, match=r"^training diverged at step 1 of 3 \(epoch 1\): an image is not finite after augment \(loss nan\); lower"):
        tune(copy.deepcopy(q), x, y, epochs=1, augment=lambda v, rng: v / 0 * 0)
    with pytest.raises(UserError, match=r"^training diverged at step 2 of 3 .*: a parameter of 'conv2' is out of range .*; no checkpoint was"):
        t = copy.deepcopy(q)

        def spoil(step):
            if step == 2:
                t.layers["conv2"].bias.data[0] = float("inf")
        tune(t, x, y, epochs=1, lr=1e-3, after_step=[spoil], checkpoint=tmp_path / "other.pt")


@pytest.mark.parametrize("change,says", [
    (dict(optimizer="lion"), "optimizer 'lion' is unknown (known: adam, adamw, sgd)"),
    (dict(norms="batch"), "norms 'batch' is unknown (known: none, virtual)"),
    (dict(ema=1.0), "ema is a share from 0 to 1, not 1.0"),
    (dict(clip=-1), "clip is at least 0, not -1"),
    (dict(temperature=0), "a temperature of 0: give one above 0"),
    (dict(batch=0), "a batch of 0 images: give at least 1")])
def test_options_that_cannot_be(start, change, says):
    _, q, x, y = start
    with pytest.raises(UserError, match=f"^{re.escape(says)}$"):
        tune(copy.deepcopy(q), x, y, **change)
    with pytest.raises(UserError, match=r"^training has no option 'epoch' \(known: epochs, lr, mode, "):
        tune(copy.deepcopy(q), x, y, epoch=3)
