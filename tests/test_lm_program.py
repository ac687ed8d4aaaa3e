"""Language models in integers: files, text, sampling, generation; every backend's common ground."""
import dataclasses

import numpy as np
import pytest
import torch

from ir import UserError, lm, run
from ir.lm.program import gains
from ir.lm.sample import COARSE, FINE, weights
from qsearch.tables import describe
from quant import MatMulFreeLM
from quant.ternary.matmulfree_lower import program

VOCAB = tuple("abcdefghijk")


@pytest.fixture(scope="module")
def model() -> lm.Program:
    torch.manual_seed(0)
    net = MatMulFreeLM(len(VOCAB), 20, 2, hidden=30)
    for name, p in net.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.normal_(p, 1, 0.2)
    torch.nn.init.normal_(net.lower_bounds)
    return program(net, vocab=VOCAB, about={"text": "none"})


def test_a_stored_model_is_the_model(model, tmp_path):
    h = lm.save_lm(model, tmp_path / "a")
    again = lm.load_lm(tmp_path / "a")
    assert lm.save_lm(again, tmp_path / "b") == h and lm.lm_hash(again) == lm.lm_hash(model) and lm.is_lm(tmp_path / "a") and not lm.is_lm(tmp_path)
    assert again.vocab == VOCAB and again.about == {"text": "none"} and set(again.reals) == set(model.reals) and again.words == model.words
    tokens = np.array([[3, 1, 4, 1, 5]])
    assert np.array_equal(run(lm.graph(again, 5), tokens), run(lm.graph(model, 5), tokens))
    assert (tmp_path / "a" / "lm.npz").read_bytes()[:2] == b"PK"


@pytest.mark.parametrize("damage, message", [
    (lambda d: (d / "lm.npz").write_bytes((d / "lm.npz").read_bytes()[:-300]), "damaged or cut off"),
    (lambda d: (d / "lm.npz").unlink(), "no such file; it belongs to"),
    (lambda d: (d / "lm.json").write_text((d / "lm.json").read_text().replace('"is": "Gain"', '"is": "Gang"', 1)), "the file was damaged or edited")])
def test_damaged_files(model, tmp_path, damage, message):
    lm.save_lm(model, tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError) as e:
        lm.load_lm(tmp_path)
    assert message in str(e.value) and "\n" not in str(e.value)


def test_arrays_of_another_model(model, tmp_path):
    lm.save_lm(model, tmp_path / "a")
    lm.save_lm(dataclasses.replace(model, embeddings=model.embeddings + 1), tmp_path / "b")
    (tmp_path / "b" / "lm.npz").rename(tmp_path / "a" / "lm.npz")
    with pytest.raises(UserError, match="the numbers do not belong to lm.json|not the numbers that lm.json was written with"):
        lm.load_lm(tmp_path / "a")


def test_what_does_not_belong_together(model):
    head = model.head
    for change, message in (({"head": dataclasses.replace(head, codes=head.codes[:, 1:])}, "lm_head: weights (11, 19) with 20 gains"),
                            ({"head": dataclasses.replace(head, codes=head.codes * 2)}, "lm_head: weights from -2 to 2 are not ternary"),
                            ({"vocab": VOCAB[1:]}, "a vocabulary of 10 texts for 11 tokens"),
                            ({"unit": lm.Gain(np.full(20, 1 << 17), 3)}, "a gain of 131072 needs more than 18 bits"),
                            ({"embeddings": np.full((11, 20), 1 << 23)}, "embeddings from 8388608 to 8388608 exceed 24 bits")):
        with pytest.raises(UserError) as e:
            lm.check(dataclasses.replace(model, **change))
        assert str(e.value).startswith(message)


def test_gains_are_found_everywhere(model):
    assert len(gains(model)) == 2 + 2 * 10


@pytest.mark.parametrize("count", [1, 4, 5, 6, 83])
def test_trits(count):
    codes = np.random.default_rng(count).integers(-1, 2, (3, count))
    data = lm.pack(codes)
    assert data.shape == (3, -(-count // 5)) and np.array_equal(lm.unpack(data, count), codes)
    assert lm.pack(np.zeros((1, 5)))[0, 0] == 121
    with pytest.raises(UserError, match="byte 243 stands for no five ternary codes"):
        lm.unpack(np.array([[243]]), 5)


def test_text():
    t = lm.Pieces(("a", "b", "ab", " "))
    assert t.encode("aab b") == [0, 2, 3, 1] and t.decode([0, 2, 3, 1]) == "aab b"
    for call, message in ((lambda: t.encode("abc"), "letter 'c' at 2 is not in the vocabulary of 4 pieces; the model knows 'abab '"),
                          (lambda: t.decode([4]), "token 4 is out of the vocabulary of 4"),
                          (lambda: lm.Pieces(("a", "a")), "a vocabulary of 2 pieces, 1 of them different")):
        with pytest.raises(UserError) as e:
            call()
        assert str(e.value).startswith(message)


def test_the_generator_runs_through_all_states():
    """Known numbers of xorshift32 from 1, and no return to the start for a while."""
    state, seen = 1, []
    for _ in range(1000):
        state = lm.xorshift32(state)
        seen.append(state)
    assert seen[:3] == [270369, 67634689, 2647435461] and len(set(seen)) == 1000 and 0 not in seen


def test_draws_follow_the_softmax():
    rng = np.random.default_rng(0)
    sums, factor, shift, sampler = rng.integers(-900, 900, 40), 3000, 10, lm.Sampler.at(8, 0.7, 99)
    best = np.argsort(-sums, kind="stable")[:8]
    want = np.exp((sums[best] - sums.max()) * factor / 2.0 ** shift / 4096 / (256 / sampler.inverse) * 1.0)
    got = weights(sums[best], factor, shift, sampler.inverse)
    assert np.abs(got / got.sum() - want / want.sum()).max() < 1e-3
    counts, state = np.zeros(40), sampler.seed
    for _ in range(20000):
        token, state = lm.draw(sums, factor, shift, sampler, state)
        counts[token] += 1
    assert np.abs(counts[best] / 20000 - want / want.sum()).max() < 0.015 and counts.sum() == counts[best].sum()


def test_the_first_of_equals_is_taken():
    assert lm.draw(np.array([1, 7, 7, 2]), 1, 0, lm.Sampler(), 5) == (1, 5)
    assert COARSE[0] == FINE[0] == 1 << 16 and COARSE[-1] == 0


def test_generation_goes_on_where_the_prompt_ends(model):
    seen = []
    text = list(lm.generate(model, [1, 2, 3], 6, watch=lambda token, values: seen.append(token)))
    assert seen == [1, 2, 3, *text[:-1]]
    whole = run(lm.graph(model, 8), np.array([seen]))[0]
    assert whole[2:].argmax(1).tolist() == text
    drawn = [list(lm.generate(model, [1], 12, lm.Sampler.at(5, 1.5, seed))) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_refusals(model):
    for call, message in ((lambda: list(lm.generate(model, [], 3)), "3 tokens after a prompt of 0; give at least one of each"),
                          (lambda: list(lm.generate(model, [11], 3)), "token 11 is out of the vocabulary of 11"),
                          (lambda: list(lm.generate(model, [1], 3, lm.Sampler(12))), "top-k of 12 from a vocabulary of 11; take at most that"),
                          (lambda: lm.Sampler(65), "top-k of 65: take 1 (greedy) to 64"),
                          (lambda: lm.Sampler(2, seed=0), "seed 0: take 1 to 4294967295; xorshift stays at 0"),
                          (lambda: lm.Sampler.at(3, 0), "temperature 0: give a positive one, or top-k 1 for the likeliest token"),
                          (lambda: lm.Sampler.at(3, 1e-9), "1 / temperature of 256000000000 / 256: take 0 to 65535 of 1 / 256")):
        with pytest.raises(UserError) as e:
            call()
        assert str(e.value) == message


def test_it_is_shown_to_people(model, tmp_path):
    lm.save_lm(model, tmp_path)
    for path in (tmp_path, tmp_path / "lm.json"):
        text = describe(path)
        assert "2 layers of width 20, 30 inside the GLU" in text and "11: 'abcdefghijk'" in text and lm.lm_hash(model) in text and "text" in text
