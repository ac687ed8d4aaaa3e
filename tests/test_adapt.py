"""AdaPT: its quantizers, the two switches, the training that they steer, what is handed back, and its cost model."""
import copy
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from ir import Plan, UserError
from quant import AdaptCourse, AdaptRules, FixedPoint, adapt, adapt_performance, calibrate, capture, in_fixed_point, quantize, tune
from quant.fixed.adapt_cost import work
from quant.fixed.adapt_numbers import fixed, initialize, tnvs_, tnvs_deviation
from quant.fixed.adapt_switch import LayerState, Strategy, divergence, gradient_diversity, pseudo_divergence, push_down, push_up
from test_lowering import equal_everywhere

SAMPLES = 20000


def normal(*shape, seed=0, std=1.0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * std


# ---- numbers

@pytest.mark.parametrize("word,x,want", [
    ((8, 4), [0.03, 0.04, 0.09375, -0.03125, 100.0, -100.0], [0.0, 0.0625, 0.125, 0.0, 7.9375, -8.0]),
    ((4, 0), [2.5, -7.6, 7.6], [2.0, -8.0, 7.0]),
    ((4, 6), [1.0, -1.0], [7 / 64, -8 / 64]),
])
def test_fixed_point_rounds_to_the_nearest_and_clips(word, x, want):
    assert fixed(torch.tensor(x), FixedPoint(*word)).tolist() == want


@given(st.integers(2, 32), st.data())
@settings(max_examples=60, deadline=None)
def test_every_value_is_on_the_grid_and_rounding_again_changes_nothing(bits, data):
    word = FixedPoint(bits, data.draw(st.integers(0, bits - 1)))
    x = normal(200, seed=bits, std=4.0)
    for rng in (None, torch.Generator().manual_seed(1)):
        q = fixed(x, word, rng)
        codes = q.double() * 2.0 ** word.fraction
        assert (codes == codes.round()).all() and codes.min() >= -2.0 ** (bits - 1) and codes.max() <= 2.0 ** (bits - 1) - 1
        assert torch.equal(fixed(q, word, rng), q)
        assert ((q - x.clip(word.lo, word.hi)).abs() <= word.step * (0.5 if rng is None else 1.0)).all()


@pytest.mark.parametrize("value", [0.3, -0.3, 1.01, -2.9])
@pytest.mark.parametrize("fraction", [2, 4, 7])
def test_stochastic_rounding_is_unbiased(value, fraction):
    """The error of the mean is below four standard errors of a uniform rounding error's."""
    x = torch.full((SAMPLES,), value)
    q = fixed(x, FixedPoint(12, fraction), torch.Generator().manual_seed(3))
    up = value * 2 ** fraction - math.floor(value * 2 ** fraction)  # probability of the upper neighbour
    assert abs(float(q.double().mean()) - value) < 4 * 2.0 ** -fraction * math.sqrt(up * (1 - up) / SAMPLES) + 1e-7
    assert len(q.unique()) == 2


def test_stochastic_rounding_follows_its_generator():
    x = normal(1000)
    draws = [fixed(x, FixedPoint(8, 4), torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert fixed(torch.tensor([math.nan]), FixedPoint(8, 4)).isnan().all()


@pytest.mark.parametrize("shape", [(64, 27), (32, 16, 3, 3)])
def test_tnvs_has_the_deviation_of_the_cut_distribution(shape):
    w = torch.cat([tnvs_(torch.empty(shape), 0.5, torch.Generator().manual_seed(s)).flatten() for s in range(12)])
    fan_in = math.prod(shape[1:])
    assert float(w.std()) == pytest.approx(tnvs_deviation(fan_in), rel=0.02)
    assert float(w.abs().max()) <= math.sqrt(1.5 / fan_in) * (1 + 1e-6)


@pytest.mark.parametrize("word,most,largest,want", [
    ((12, 6), 16, 9.9, (12, 6)),        # narrow enough
    ((20, 14), 16, 0.9, (16, 14)),      # four whole bits hold nothing
    ((20, 14), 16, 20.0, (16, 10)),     # all six whole bits are needed: fractions go
    ((32, 24), 16, 3.0, (16, 13)),
    ((32, 2), 16, 1e9, (16, 0)),        # nothing can hold it: the whole bits that there are
])
def test_a_wide_word_is_narrowed_by_what_values_need(word, most, largest, want):
    assert FixedPoint(*word).narrowed(most, largest) == FixedPoint(*want)


# ---- PushDown

@pytest.mark.parametrize("std,want", [(0.05, 12), (0.5, 9)])
def test_push_down_finds_the_fraction_that_the_tensor_needs(std, want):
    word = push_down(normal(SAMPLES, std=std), FixedPoint(32, 28), 100, AdaptRules(eps=1e-3))
    assert abs(word.fraction - want) <= 1
    whole = math.ceil(math.log2(float(normal(SAMPLES, std=std).abs().max())))
    assert word.bits == word.fraction + max(whole, 0) + 1


def test_divergence_falls_with_the_fraction_and_is_small_where_push_down_stops():
    tensors = [normal(SAMPLES, seed=s, std=0.05) for s in range(5)]
    losses = [sum(divergence(w, fixed(w, FixedPoint(32, f)), 100, 2.0 ** -f) for w in tensors) / 5 for f in range(4, 20)]
    assert all(a >= b for a, b in zip(losses, losses[1:]))
    assert losses[2] > 0.1 and losses[9] < 1e-3


@pytest.mark.parametrize("mode", ["paper", "code"])
@given(st.integers(4, 28), st.integers(1, 4), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_push_down_never_widens(mode, fraction, whole, seed):
    word = FixedPoint(fraction + whole, fraction)
    new = push_down(normal(6, 50, seed=seed, std=0.3), word, 50, AdaptRules(mode=mode), torch.Generator().manual_seed(seed))
    assert 4 <= new.fraction <= word.fraction and new.bits <= word.bits
    assert mode == "code" or new.bits > new.fraction


def test_the_divergence_of_the_code_may_be_negative_where_something_is_lost():
    """It is what torch's KL with a log target gives for probabilities, and below 0 where rounding makes a histogram flatter."""
    w = torch.cat([torch.full((900,), 0.27), torch.linspace(-1, 1, 100)])[None]
    q = fixed(w, FixedPoint(8, 2), torch.Generator().manual_seed(0))
    p, r = (torch.histc(v, 50, -1, 1) for v in (w, q))
    p, r = p / p.sum(), r / r.sum()
    says = float(torch.nn.KLDivLoss(reduction="batchmean", log_target=True)(p, r))
    assert pseudo_divergence(w, q, 50) == pytest.approx(says, abs=1e-7) and says < -1e-3 < 0.1 < divergence(w, q, 50, 0.25)
    rounded = push_down(w, FixedPoint(12, 8), 50, AdaptRules(mode="code"), torch.Generator().manual_seed(0))
    assert rounded.fraction == 4 < push_down(w, FixedPoint(12, 8), 50, AdaptRules(eps=1e-3)).fraction


# ---- PushUp and what steers it

def test_gradient_diversity_of_agreeing_orthogonal_and_cancelling_gradients():
    g = normal(40)
    g = g / g.norm()
    assert gradient_diversity(5.0, 5 * g) == pytest.approx(1.0, abs=1e-6)
    assert gradient_diversity(9.0, torch.eye(9).sum(0)) == pytest.approx(3.0, abs=1e-6)
    assert gradient_diversity(2.0, g - g) == math.inf
    for seed in range(20):
        gs = [v / v.norm() for v in normal(7, 11, seed=seed)]
        assert gradient_diversity(7.0, sum(gs)) >= 1


@given(st.integers(4, 32), st.integers(1, 16), st.floats(1.0, 1e6), st.sampled_from(["min", "mean", "max"]), st.integers(0, 12))
@settings(max_examples=300, deadline=None)
def test_push_up_never_lowers_and_keeps_its_bounds(bits, fraction, diversity, strategy, buffer):
    fraction = min(fraction, bits, 32 - buffer)
    new = push_up(FixedPoint(bits, fraction), diversity, strategy, buffer)
    assert new.bits >= bits and new.fraction >= fraction
    assert new.bits <= 32 and new.fraction <= 32 - buffer
    assert new.bits >= new.fraction + min(buffer, 32 - new.fraction)


@pytest.mark.parametrize("diversity,strategy,fraction", [
    (1.0, "max", 9),                         # L < 0: one bit
    (math.exp(1.5), "min", 8 + 0),           # L = 1/2: s1 = 4, s2 = 8 - 8
    (math.exp(1.5), "mean", 8 + 2), (math.exp(1.5), "max", 8 + 4),
    (math.exp(2.0), "min", 8 + 1), (math.exp(2.0), "max", 28),  # L = 1: s1 = 1, s2 = 32 - 8
    (math.inf, "max", 9),
])
def test_push_up_by_strategy(diversity, strategy, fraction):
    assert push_up(FixedPoint(12, 8), diversity, strategy, 4).fraction == fraction


def test_lookback_and_resolution_follow_diversity():
    rules = AdaptRules(lookback=(5, 40), resolution=(50, 60), inertia=1.0)
    same, apart = (LayerState(FixedPoint(8, 4), 5, 55) for _ in range(2))
    g = torch.zeros(64)
    g[0] = 1.0
    for i in range(4):
        assert not same.observe(g, rules)
        apart.observe(torch.eye(64)[i], rules)
    assert same.lookback == 40 and same.resolution == 59  # gradients that agree: look back far, +1 a step
    assert apart.lookback == 20 and apart.diversity == pytest.approx(2.0)
    down = LayerState(FixedPoint(8, 4), 5, 52)
    for i in range(64):
        if down.observe(torch.eye(64)[i], rules):
            break
    assert down.count == 12 and down.lookback == 12  # 40 / sqrt(12) = 11.5
    zero = LayerState(FixedPoint(8, 4), 5, 50)
    assert not zero.observe(torch.zeros(64), rules) and zero.norms == 0 and zero.diversity == math.inf


def test_the_strategy_goes_further_while_the_loss_does_not_fall():
    s = Strategy("min")
    for loss in (1.0, 1.0, 1.0):
        s.see(loss, 3, "paper")
    assert s.name == "min"
    s.see(1.1, 3, "paper")
    assert s.name == "mean"
    s.see(1.2, 3, "paper")
    s.see(1.3, 3, "paper")
    assert s.name == "max"
    s.see(0.5, 3, "paper")
    assert s.name == "min" and len(s.losses) == 4


# ---- training

def small(bn: bool = False) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 6, 3, 1, 1), nn.BatchNorm2d(6) if bn else nn.Identity(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(96, 4))


def task(count: int = 192):
    """Which quarter of an 8x8 image is bright."""
    rng = torch.Generator().manual_seed(5)
    x, y = torch.rand(count, 1, 8, 8, generator=rng) * 0.6, torch.randint(0, 4, (count,), generator=rng)
    for i, k in enumerate(y.tolist()):
        x[i, 0, 4 * (k // 2):4 * (k // 2) + 4, 4 * (k % 2):4 * (k % 2) + 4] += 0.35
    return x, y


RULES = dict(lookback=(3, 6), buffer=6)
COURSE = dict(batch=16, accumulate=2, lr=0.05, schedule="cosine", l1=1e-5)


def train(mode="paper", epochs=6, model=None, rules=None, course=None, **options):
    torch.manual_seed(0)
    model = model or small()
    x, y = task()
    return model, adapt(model, x, y, AdaptRules(mode=mode, **RULES | (rules or {})), AdaptCourse(epochs=epochs, **COURSE | (course or {})), **options)


@pytest.mark.parametrize("mode", ["paper", "code"])
def test_it_learns_and_hands_back_weights_on_their_grids(mode):
    model, a = train(mode, epochs=10)
    x, y = task()
    assert not model.training and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with torch.no_grad(), in_fixed_point(model, {n: w for n, (w, _) in a.words.items()} if mode == "code" else a.trained):
        assert float((model(x).argmax(1) == y).float().mean()) > 0.9
    assert a.history[-1]["loss"] < a.history[0]["loss"] and len(a.history) == 10
    for name, (word, acts) in a.words.items():
        codes = model.get_submodule(name).weight.detach().double() / word.step
        assert (codes == codes.round()).all() and codes.min() >= -2 ** (word.bits - 1) and codes.max() < 2 ** (word.bits - 1)
        assert word.bits <= 16 and acts.bits <= 16
    assert {h["words"]["0"] for h in a.history} != {"fx8.4"}  # words were switched
    assert all(n.startswith("layer ") for n in a.notes) and len(a.notes) == sum(w.bits > 16 for w in a.trained.values())


def test_one_dimensional_convolutions_train_too():
    model, a = train(epochs=10, model=nn.Sequential(nn.Flatten(1, 2), nn.Conv1d(8, 12, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)))
    x, y = task()
    net = capture(model, x[:2])
    q = quantize(net, a.plan(net), calibrate(net, x))
    assert set(a.words) == {"1", "4"} and float((q(x).argmax(1) == y).float().mean()) > 0.9


def test_the_plan_names_the_formats_of_the_captured_layers():
    model, a = train()
    net = capture(model, task()[0][:2])
    plan = a.plan(net)
    assert plan.model == net.hash and set(plan.options) == set(net.layers)
    for n, o in plan.options.items():
        assert str(o) == "/".join(map(str, a.words[n]))
    with pytest.raises(UserError, match=r"^layer '9' was not trained in fixed point \(these were: 0, 5\); capture the module that was$"):
        other = capture(nn.Sequential(*[nn.Identity()] * 9, nn.Linear(4, 2)), torch.zeros(2, 4))
        a.plan(other)
    a.words["5"] = (FixedPoint(20, 8), FixedPoint(16, 8))
    with pytest.raises(UserError, match=r"^layer '5' ended at fx20.8, and formats have 2 to 16 bits; train with most=16$"):
        a.plan(net)


def test_a_word_above_the_most_bits_is_narrowed_and_said():
    model, a = train(course=dict(most=9))
    assert max(w.bits for pair in a.words.values() for w in pair) <= 9 < min(w.bits for w in a.trained.values())
    word = a.trained["0"]
    assert a.notes[0] == f"layer '0' ended at {word}, above 9 bits: its weights became {a.words['0'][0]} and its input {a.words['0'][1]}"
    for name, (word, _) in a.words.items():
        w = model.get_submodule(name).weight
        assert torch.equal(fixed(w, word), w)


def state(model, a): return [v.clone() for v in model.state_dict().values()], a.trained, a.history, a.log


def same(a, b) -> bool: return all(torch.equal(u, v) for u, v in zip(a[0], b[0])) and a[1:] == b[1:]


def test_the_seed_governs_chance():
    one, again, other = (state(*train(epochs=2, seed=s)) for s in (1, 1, 2))
    assert same(one, again) and not same(one, other)


@pytest.mark.parametrize("mode", ["paper", "code"])
def test_a_stopped_training_resumes_bit_for_bit(mode, tmp_path):
    model = nn.Sequential(*small(bn=True)[:5], nn.Dropout(0.2), nn.Linear(96, 4))
    straight = state(*train(mode, 4, copy.deepcopy(model)))

    def stop(done, total, loss):
        assert total == 4 * 6 and math.isfinite(loss)
        if done == 2 * 6 + 3:  # within the third epoch
            raise KeyboardInterrupt
    halted = copy.deepcopy(model)
    with pytest.raises(KeyboardInterrupt):
        train(mode, 4, halted, progress=stop, checkpoint=tmp_path / "a.pt")
    assert not halted.training and not any(m._forward_hooks for m in halted.modules())
    resumed = state(*train(mode, 4, copy.deepcopy(model), checkpoint=tmp_path / "a.pt"))
    assert same(straight, resumed)


def test_a_training_that_diverges_says_where_and_keeps_the_last_good_checkpoint(tmp_path):
    class Root(nn.Module):
        def forward(self, x): return x.sqrt()  # of a negative number: none
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), Root(), nn.Linear(4, 4))
    with pytest.raises(UserError, match=r"^training stopped in step 1: layer '3' has NaN or infinity; no checkpoint is kept: give a file for one; "
                                        r"lower the learning rate \(now 0.05\)$"):
        train(model=model)
    path = tmp_path / "a.pt"
    kept = {}

    def poison(done, total, loss):
        if done == 6:
            return
        if done == 8:  # in the second epoch
            kept["file"] = path.read_bytes()
            model2[5].weight.data[0, 0] = math.nan
    model2 = small()
    with pytest.raises(UserError, match=rf"^training stopped in step 9: layer '5' has NaN or infinity; the last good checkpoint is kept at {path};"):
        train(model=model2, progress=poison, checkpoint=path)
    assert path.read_bytes() == kept["file"]
    train(model=small(), checkpoint=path)  # goes on from there


def test_checkpoints_of_others_and_damaged_ones(tmp_path):
    path = tmp_path / "a.pt"
    train(epochs=1, checkpoint=path)
    with pytest.raises(UserError, match=r"a\.pt: a checkpoint of another model, plan or training; delete it or give another file$"):
        train(epochs=2, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"a\.pt: not a checkpoint of this program, or damaged \(\w+\); delete it to start anew$"):
        train(epochs=1, checkpoint=path)


def test_tied_weights_share_a_word_and_batch_norm_takes_that_of_its_layer():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.bn, self.a, self.b = nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Linear(16, 16), nn.Linear(16, 16)
            self.b.weight = self.a.weight

        def forward(self, x): return self.b(self.a(self.bn(self.first(x.flatten(1)))).relu())
    model, a = train(epochs=2, model=Tied(), course=dict(most=32))
    assert a.trained["a"] == a.trained["b"] and torch.equal(model.a.weight, model.b.weight)
    assert torch.equal(fixed(model.bn.weight, a.trained["first"]), model.bn.weight)


def test_in_place_rounding_reaches_the_residual_branch_in_code_mode_only():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            y = x * 1.0
            return self.fc(y) * 0 + y
    model, x = Skip(), torch.full((1, 3), 0.3)
    for in_place, want in ((False, 0.3), (True, 0.25)):
        with torch.no_grad(), in_fixed_point(model, {"fc": FixedPoint(6, 2)}, in_place=in_place):
            assert model(x)[0, 0] == pytest.approx(want)


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.fc = nn.Embedding(4, 4), nn.Linear(4, 4)


@pytest.mark.parametrize("call,says", [
    (lambda: AdaptRules(mode="best"), r"^unknown AdaPT mode 'best' \(known: paper, code\)$"),
    (lambda: AdaptRules(strategy="most"), r"^unknown strategy 'most' \(known: min, mean, max\)$"),
    (lambda: AdaptRules(lookback=(9, 3)), r"^lookback from 9 to 3: give whole numbers from 1 upwards, the smaller one first$"),
    (lambda: AdaptRules(start=(8, 8)), r"^start <8,8> with 4 buffer bits: FL must be below WL and at most 32 - buffer$"),
    (lambda: AdaptRules(eps=-1), r"^eps -1, inertia 0.33: give an eps of 0 or more and an inertia in \(0, 1\]$"),
    (lambda: FixedPoint(33, 4), r"^fixed point <33,4>: WL is 1 to 32 bits, FL is 0 to 32$"),
    (lambda: AdaptCourse(epochs=0), r"^0 epochs, batch 512, 4 batches a step, patience 10, learning rate 0.1: each must be above 0$"),
    (lambda: AdaptCourse(schedule="step"), r"^unknown schedule 'step' \(known: plateau, cosine\)$"),
    (lambda: AdaptCourse(most=1), r"^words of at most 1 bits; give 2 to 32$"),
    (lambda: adapt(nn.ReLU(), *task()), r"^ReLU has no Conv1d, Conv2d or Linear layer to train in fixed point$"),
    (lambda: adapt(Odd(), *task()), r"^parameter 'emb.weight' of a layer Embedding has no fixed point form; weights of Conv1d, Conv2d"),
    (lambda: adapt(small(), task()[0], task()[1][:3]), r"^192 samples need as many labels, class indices from 0; got an array of shape \(3,\)"),
    (lambda: adapt(small(), task()[0] * math.nan, task()[1]), r"^12288 of 12288 values of the data are NaN or infinite; clean the data first$"),
    (lambda: adapt(small(), task()[0], task()[1] + 4), r"^labels up to 7 for outputs of shape \(N, 4\); give class indices$"),
    (lambda: work(small(), task()[0], "best"), r"^unknown AdaPT mode 'best'"),
])
def test_mistakes(call, says):
    with pytest.raises(UserError, match=says):
        call()


def test_a_plateau_lowers_the_learning_rate():
    _, a = train(epochs=7, course=dict(schedule="plateau", patience=1, threshold=0.99))
    assert [h["lr"] for h in a.history] == pytest.approx([0.05, 0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005])


# ---- the cost model

def test_the_cost_model_by_hand():
    model, x = small(), task()[0]
    each = work(model, x, "paper")
    assert each["0"].madds == 2 * 6 * 64 * 9 and each["5"].madds == 2 * 96 * 4 and each["5"].walked == 384
    coded = work(model, x, "code")
    assert coded["0"].madds == 2 * 64 * (1 * 3 + 1) * 6 * 1 + 2 * 64 * (1 * 3 + 1) * 6 * 6
    assert coded["5"].madds == 2 * 96 * 4 - 96


@pytest.mark.parametrize("mode", ["paper", "code"])
def test_training_is_modelled_at_most_twice_as_fast(mode):
    model, a = train(epochs=3)
    course = AdaptCourse(epochs=3, **COURSE)
    p = adapt_performance(model, task()[0], a, course, mode)
    assert 0 < p.training_speedup <= 2 and p.memory_ratio > 1 and 0 < p.overhead < 1 and 0 < p.density <= 1
    free = copy.deepcopy(a)
    free.log = {n: [[32, 1.0, 10 ** 12, 0] for _ in rows] for n, rows in a.log.items()}
    even = adapt_performance(model, task()[0], free, course, mode)
    assert even.training_speedup == pytest.approx(2 / (2 + even.overhead / (1 - even.overhead))) and even.memory_ratio == pytest.approx(3)
    free.log = {n: [[1, 0.0, 10 ** 12, 0] for _ in rows] for n, rows in a.log.items()}
    assert 1.9 < adapt_performance(model, task()[0], free, course, mode).training_speedup <= 2


def test_size_and_inference_by_hand():
    model, a = train(epochs=1)
    with torch.no_grad():
        for m in (model[0], model[5]):
            m.weight.fill_(1.0)
        model[5].weight[:, :48] = 0
    a.words = {"0": (FixedPoint(8, 4),) * 2, "5": (FixedPoint(16, 8),) * 2}
    p = adapt_performance(model, task()[0], a, AdaptCourse(**COURSE))
    conv, dense = 2 * 6 * 64 * 9, 2 * 96 * 4
    assert p.inference_speedup == pytest.approx(32 * (conv + dense) / (8 * conv + 16 * dense / 2))
    assert p.size_ratio == pytest.approx((8 * 54 + 16 * 192) / (32 * (54 + 384)))
    assert p.density == pytest.approx((54 + 192) / (54 + 384))


def test_initialize_is_seeded_and_bounded():
    one, two = small(), small()
    initialize(one, 0.5, 3)
    initialize(two, 0.5, 3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
    assert float(one[5].bias.detach().abs().max()) <= 96 ** -0.5


@pytest.mark.parametrize("most", [16, 9])
def test_quantize_carries_out_the_trained_weights_exactly(most):
    """Codes are the trained weights over the step of their word, the input's scale is its word's; and the graph says the same."""
    model, a = train(epochs=6, course=dict(most=most))
    x = task()[0]
    net = capture(model, x[:2])
    q = quantize(net, a.plan(net), calibrate(net, x), bias_correction=False)
    g = q.lower()
    for name, (word, acts) in a.words.items():
        assert (g.nodes[name].op.weight == (model.get_submodule(name).weight.detach().double() / word.step).numpy()).all()
        assert q.layers[name].coding.encoding.scale == acts.step and q.layers[name].coding.fmt.name == str(acts)
    equal_everywhere(q, x[:16])
    with torch.no_grad(), in_fixed_point(model, a.trained):
        assert float((model(x).argmax(1) == q(x).argmax(1)).float().mean()) > 0.9


def test_fixed_point_formats_keep_their_scale_whatever_the_range():
    model = small()
    x = task()[0]
    net = capture(model, x[:2])
    with torch.no_grad():
        net.steps["0"].weight.zero_()
    q = quantize(net, Plan.uniform(net.layers, "fx8.5/fx9.3"), calibrate(net, x * 100))
    assert all(torch.equal(s.realised(s.coding)[0], torch.full_like(s.scale, 2.0 ** -5)) for s in q.layers.values())
    assert all(s.coding.encoding.scale == 0.125 for s in q.layers.values())
    tune(q, x * 100, task()[1], epochs=1, lr=1e-3, mode="lsq")  # weights are trained, scales are not
    assert all(s.coding.encoding.scale == 0.125 and (s.scale == 2.0 ** -5).all() for s in q.layers.values())
    equal_everywhere(q, x * 100)
