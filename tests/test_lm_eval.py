"""The real model behind integers, losses beside one another, and the language model that ships."""
import csv
import hashlib

import numpy as np
import pytest
import torch

from ir import UserError, lm
from quant import MatMulFreeLM, lm_program, real_lm
from qsearch.lm_demo import SHIPPED
from qsearch.lm_eval import compare, stretches, tokens


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = MatMulFreeLM(5, 20, 2, 30)
    for name, p in model.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.normal_(p, 1, 0.2)
    torch.nn.init.normal_(model.lower_bounds)
    return model


def test_integers_hold_their_real_model(net):
    p = lm_program(net, vocab="abcde")
    again = real_lm(p)
    other = lm_program(again)
    assert all(np.array_equal(q.codes, other.projections()[n].codes) for n, q in p.projections().items())
    assert p.reals.keys() == other.reals.keys() and all(np.allclose(p.reals[k], other.reals[k], rtol=2e-7, atol=0) for k in p.reals)
    x = torch.randint(0, 5, (3, 11))
    with torch.no_grad():
        assert torch.allclose(again(x), net(x), atol=1e-4)


def test_losses_of_both(net, typed, tmp_path):
    p = lm_program(net, vocab="abcde")
    rows = np.random.default_rng(0).integers(0, 5, (9, 17))
    got = compare(p, rows)
    with torch.no_grad():
        want = torch.nn.functional.cross_entropy(net(torch.from_numpy(rows[:, :-1])).flatten(0, 1), torch.from_numpy(rows[:, 1:].flatten()))
    assert got.real == pytest.approx(float(want), abs=1e-4) and abs(got.integer - got.real) < 0.02 and got.tokens == 144 and got.same > 0.9
    lm.save_lm(p, tmp_path / "lm")
    (tmp_path / "t").write_text("abcdeedcba" * 9)
    np.save(tmp_path / "t.npy", np.array([0, 1, 2, 3, 4, 4, 3, 2, 1, 0] * 9))
    outs = [typed("-q", "eval", tmp_path / "lm", "-d", tmp_path / t, "--length", 8, "--valid", 0.5, "--stretches", 3) for t in ("t", "t.npy")]
    assert outs[0] == outs[1] and outs[0][0] == 0 and outs[0][1].startswith("float ") and "of 24 tokens" in outs[0][1]


def test_stretches_are_spread_over_the_end():
    assert stretches(np.arange(41), 0.5, 4, 2).tolist() == [[21, 22, 23, 24, 25], [33, 34, 35, 36, 37]]
    assert len(stretches(np.arange(41), 1.0, 4, 0)) == 10


@pytest.mark.parametrize("make, args, line", [
    (lambda p: (p / "t").write_text("abx"), (), "letter 'x' at 2 is not in the vocabulary of 5 pieces; the model knows 'abcde'"),
    (lambda p: (p / "t").write_text("abc"), (), "a text of 3 tokens is too short for stretches of 128; give a longer one or a smaller length"),
    (lambda p: (p / "t").write_bytes(b"ab\xff"), (), "{p}/t: not a text in UTF-8 (byte 2)"),
    (lambda p: None, (), "cannot read {p}/t: No such file or directory"),
    (lambda p: (p / "t").write_text("abc"), ("--valid", 2), "the last 2.0 of a text in 0 stretches of 128: give a share up to 1, a positive length, "
     "no negative number")])
def test_refusals(net, typed, tmp_path, make, args, line):
    lm.save_lm(lm_program(net, vocab="abcde"), tmp_path / "lm")
    make(tmp_path)
    code, _, err = typed("-q", "eval", tmp_path / "lm", "-d", tmp_path / "t", *args)
    assert code == 1 and err == f"error: {line.format(p=tmp_path)}\n"


def test_tokens_by_number(net, tmp_path):
    p = lm_program(net)
    with pytest.raises(UserError, match="^the language model has no texts of its tokens; give text as token ids in an .npy file$"):
        tokens(p, tmp_path.relative_to(tmp_path) / "text")
    np.save(tmp_path / "t.npy", np.array([0, 5]))
    with pytest.raises(UserError, match=r"t.npy: int64\[2\]; give one row of integers from 0 to 4$"):
        tokens(p, tmp_path / "t.npy")


def test_a_model_without_reals():
    p = lm.load_lm(SHIPPED)
    p.reals.pop("lm_head.mean")
    with pytest.raises(UserError, match=r"^this language model holds no real numbers \(lm_head.mean is missing\), so it runs in integers alone$"):
        real_lm(p)


def test_the_shipped_model_says_where_it_is_from_and_is_small():
    p = lm.load_lm(SHIPPED)
    assert (p.dim, p.hidden, len(p.layers), p.tokens) == (160, 400, 4, 65) and sum(f.stat().st_size for f in SHIPPED.iterdir()) < 500_000
    assert p.about["trained by"].startswith("qsearch train input.txt --dim 160 --layers 4 --hidden 400 --steps 6000")
    rows = list(csv.DictReader((SHIPPED / "loss.csv").open()))
    assert int(rows[-1]["step"]) == 6000 and float(rows[-1]["train_loss"]) == float(p.about["train loss, nats a token"])


def test_the_shipped_model_writes_words():
    """Greedily, from a name; most of its words are those of anybody who writes English."""
    p = lm.load_lm(SHIPPED)
    t = lm.Pieces(p.vocab)
    text = t.decode(list(lm.generate(p, t.encode("First Citizen:\n"), 60)))
    common = "the and to of i you my a is that in not me it for with be your his we have will this"
    assert len(set(text.lower().split()) & set(common.split())) >= 3, text


@pytest.mark.slow
def test_loss_of_the_shipped_model(real_data):
    p = lm.load_lm(SHIPPED)
    path = real_data / "lm" / "text" / "input.txt"
    assert p.about["text, SHA-256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    got = compare(p, stretches(tokens(p, path), 0.1, 128, 24))
    assert abs(got.integer - got.real) < 0.02 and got.same > 0.98
    assert got.integer == pytest.approx(float(p.about["held-out loss, nats a token"]), abs=0.2)  # 24 of 871 stretches: 0.06 standard error
