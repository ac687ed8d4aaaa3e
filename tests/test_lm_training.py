"""Training a language model on a text: float models beside it, folders that a training goes on from, what is refused."""
import hashlib
import os
import signal

import numpy as np
import pytest
import torch

from benchmarks.lm_training import curve, facts, table
from ir import UserError, lm
from quant import Course, FloatGRU, FloatTransformer, MatMulFreeLM, Training, gru_of, text_loss
from quant.ternary.bitlinear import BitLinear, ternary_codes, token_codes
from quant.ternary.lm_floats import rotate
from quant.ternary.matmulfree import scan
from qsearch.lm_training import Run, Setup, parameters, read

WORDS = "to be, or not to be: that is the question. whether it is nobler in the mind to suffer, or to take arms against a sea of troubles.\n"
SMALL = ("--dim", 16, "--layers", 2, "--hidden", 24, "--steps", 20, "--length", 16, "--batch", 2)


@pytest.fixture(autouse=True)
def one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(WORDS * 12)
    return path


def test_gradients_of_a_bitlinear_are_those_of_its_norm_and_product():
    layer, x, grad = BitLinear(24, 10).double(), torch.randn(3, 5, 24).double().requires_grad_(), torch.randn(3, 5, 10).double()
    torch.nn.init.normal_(layer.norm.weight)
    q, step = token_codes(layer.norm(x).detach())
    t, mean = ternary_codes(layer.weight)
    to_y = grad @ (t * mean)
    want = torch.autograd.grad(layer.norm(x), (x, layer.norm.weight), to_y)
    got = torch.autograd.grad(layer(x), (x, layer.norm.weight, layer.weight), grad)
    for a, b in zip(got, (*want, torch.einsum("nto,nti->oi", grad, q * step))):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_gradients_of_the_recurrence():
    f, c, state = (torch.rand(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 6, 3), (2, 6, 3), (2, 3)))
    assert torch.autograd.gradcheck(scan, (f, c)) and torch.autograd.gradcheck(scan, (f, c, state))


@pytest.mark.parametrize("kind", ["transformer", "gru"])
def test_float_models_have_as_many_parameters(kind):
    course = Course(10)
    ternary, other = (Setup(k, 160, 4, 400, 0.1, course).model(65) for k in ("ternary", kind))
    assert parameters(other) == pytest.approx(parameters(ternary), rel=0.03) and type(other) in (FloatTransformer, FloatGRU)


@pytest.mark.parametrize("model", [FloatTransformer(9, 12, 2, 20), gru_of(3000, 9), MatMulFreeLM(9, 12, 2, 20)], ids=lambda m: type(m).__name__)
def test_no_model_sees_what_comes_later(model):
    tokens = torch.randint(0, 9, (2, 10))
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 9
    a, b = model(tokens), model(changed)
    assert torch.allclose(a[:, :6], b[:, :6], atol=1e-6) and not torch.allclose(a[:, 6:], b[:, 6:], atol=1e-3)


def test_rotary_products_depend_on_distances_alone():
    q, k = torch.randn(2, 8).double()
    a = rotate(q.expand(1, 20, 8)) @ rotate(k.expand(1, 20, 8)).mT
    assert torch.allclose(a[0, 3, 1], a[0, 19, 17]) and not torch.allclose(a[0, 3, 1], a[0, 3, 2])


def test_loss_of_a_text_is_the_mean_over_its_stretches():
    model, tokens = MatMulFreeLM(9, 12, 1, 20), np.random.default_rng(0).integers(0, 9, 5 * 70 + 3)
    with torch.no_grad():
        each = [torch.nn.functional.cross_entropy(model(torch.from_numpy(tokens[None, i:i + 5]))[0], torch.from_numpy(tokens[i + 1:i + 6])).item()
                for i in range(0, 350, 5)]
    assert text_loss(model, tokens, 5) == pytest.approx(np.mean(each), rel=1e-5)
    assert text_loss(model, tokens, 5, 3) == pytest.approx(np.mean(each[:3]), rel=1e-5)


@pytest.mark.parametrize("kind", ["ternary", "transformer", "gru"])
def test_stopped_and_resumed_is_never_stopped(kind, text, tmp_path):
    setup = Setup(kind, 16, 2, 24, 0.2, Course(12, 16, 2, 1e-2, 2))
    data, runs = read(text, 0.2, 16), []
    for folder, stops in (("whole", [12]), ("parts", [5, 6, 12])):
        for until in stops:
            run = Run(data, setup, tmp_path / folder)
            run.go(lambda _: None, lambda *_: None, lambda: run.training.done >= until)  # noqa: B023
        runs.append(run)
    a, b = runs
    assert [r[:4] for r in a.rows] == [r[:4] for r in b.rows] and len(a.rows) == 12
    assert all(torch.equal(p, q) for p, q in zip(a.training.model.parameters(), b.training.model.parameters()))
    assert a.finish("typed") == b.finish("typed") | {k: a.finish("")[k] for k in ("seconds", "file")}


def test_the_command_writes_a_curve_and_a_model_and_goes_on(typed, text, tmp_path):
    code, out, err = typed("train", text, "-o", tmp_path / "r", *SMALL)
    assert code == 0 and "held-out loss" in out and "step 20: loss" in err
    told = (tmp_path / "r" / "loss.csv").read_text().splitlines()
    assert told[0] == "step,learning_rate,train_loss,held_out_loss,seconds" and len(told) == 21 and told[-1].startswith("20,")
    saved = torch.load(tmp_path / "r" / "model.pt", weights_only=True)
    model = MatMulFreeLM(len(saved["settings"]["characters"]), 16, 2, 24)
    model.load_state_dict(saved["model"])
    assert text_loss(model, read(text, 0.1, 16).held, 16) == pytest.approx(saved["held_out_loss"], rel=1e-6)
    p = lm.load_lm(tmp_path / "r" / "lm")
    assert p.about["trained by"].startswith("qsearch train text.txt --dim 16 --layers 2 --hidden 24 --steps 20 ") and set(p.vocab) == set(WORDS)
    assert p.about["text, SHA-256"] == hashlib.sha256(text.read_bytes()).hexdigest()
    assert all(np.array_equal(q.codes, ternary_codes(model.get_submodule(n).weight)[0].numpy()) for n, q in p.projections().items())
    row, rows = facts(tmp_path / "r")
    assert row["model"] == "ternary" and row["parameters"] == parameters(model) and row["tokens"] == 20 * 2 * 16 and len(rows) == 20
    assert "| 20 | " in table(curve([(row, rows)], 3))
    code, again, err = typed("train", text, "-o", tmp_path / "r", *SMALL)
    assert code == 0 and "going on from step 20 of 20" in err and again.splitlines()[-1].split()[:6] == out.splitlines()[-1].split()[:6]


def test_ctrl_c_saves(typed, text, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(Training, "advance", lambda t, real=Training.advance: (steps.append(1), os.kill(os.getpid(), signal.SIGINT) if len(steps) == 3
                                                                               else None, real(t))[2])
    code, _, err = typed("train", text, "-o", tmp_path / "r", *SMALL)
    assert code == 1 and err.endswith("error: stopped; give the same command again to go on from what is done\n") and len(steps) == 3
    assert torch.load(tmp_path / "r" / "checkpoint.pt", weights_only=True)["training"]["done"] == 3
    code, _, err = typed("train", text, "-o", tmp_path / "r", *SMALL)
    assert code == 0 and "going on from step 3 of 20" in err and len(steps) == 20


def test_characters_that_training_never_sees_are_told(typed, tmp_path):
    (tmp_path / "t").write_text(WORDS * 12 + "&" * 5)
    assert "characters of the held-out part that training never sees: '&'" in typed("train", tmp_path / "t", "-o", tmp_path / "r", *SMALL)[2]


@pytest.mark.parametrize("args,line", [
    (["none.txt"], "cannot read none.txt: No such file or directory"),
    (["{empty}"], "{empty}: 0 characters to train on and 0 held out are too few for stretches of 128; "
                  "give a longer text, a smaller length or another share to hold out"),
    (["{binary}"], "{binary}: not a text in UTF-8 (byte 2)"),
    (["{text}", "--valid", 0.001], "{text}: 1559 characters to train on and 1 held out are too few for stretches of 128; "
                                   "give a longer text, a smaller length or another share to hold out"),
    (["{text}", "--valid", 1.5], "a share of 1.5 held out: give one between 0 and 1"),
    (["{text}", "--dim", 0], "vocabulary 24, width 0, 4 layers, hidden width 400: give sizes of at least 1"),
    (["{text}", "--float", "transformer", "--dim", 9], "a transformer of width 9: rotary positions take an even width"),
    (["{text}", "--float", "lstm"], "unknown kind of model 'lstm' (known: ternary, transformer, gru)"),
    (["{text}", "--steps", 0], "0 steps of 16 stretches of 128 tokens: give numbers of at least 1"),
    (["{text}", "--lr", "-1"], "learning rate -1.0, weight decay 0.01, seed 0: give a positive rate, the others not below 0"),
    (["{text}", "--steps", 3, "--warmup", 3], "a schedule of 3 steps with 3 of warm-up; give more steps than warm-up"),
])
def test_refusals(typed, text, tmp_path, args, line):
    files = {"text": text, "empty": tmp_path / "empty", "binary": tmp_path / "binary"}
    files["empty"].touch()
    files["binary"].write_bytes(b"ab\xff")
    code, _, err = typed("train", *(str(a).format(**files) for a in args), "-o", tmp_path / "r")
    assert code == 1 and err == f"error: {line.format(**files)}\n" and not (tmp_path / "r").exists()


def test_a_checkpoint_of_another_training_is_refused(typed, text, tmp_path):
    folder = tmp_path / "r"
    assert typed("train", text, "-o", folder, *SMALL)[0] == 0
    code, _, err = typed("train", text, "-o", folder, "--dim", 18, *SMALL[2:])
    assert code == 1 and err == f"error: {folder}/checkpoint.pt: a training with dim 16, now 18 is asked for; delete it or give another folder\n"
    (folder / "checkpoint.pt").write_bytes(b"PK")
    code, _, err = typed("train", text, "-o", folder, *SMALL)
    assert code == 1 and err.startswith(f"error: {folder}/checkpoint.pt: not a checkpoint of this program, or damaged (") and err.count("\n") == 1


def test_a_training_that_diverges_says_so(text, tmp_path):
    run = Run(read(text, 0.2, 16), Setup("gru", 16, 2, 24, 0.2, Course(12, 16, 2, 1e30)), tmp_path)
    with pytest.raises(UserError, match=r"^training diverged at step \d+; lower the learning rate \(now 1e\+30\)$"):
        run.go(lambda _: None, lambda *_: None, lambda: False)
