"""`qsearch demo lm`: two builds of a small model say the same; what is told when it cannot be shown."""
import dataclasses

import pytest

from ir import lm
from lm_programs import random_lm
from qsearch import lm_demo

VOCAB = tuple("abcdefghi \n")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A small model with a vocabulary, in its folder."""
    folder = tmp_path_factory.mktemp("lm") / "lm"
    lm.save_lm(dataclasses.replace(random_lm(20, 30, 1), vocab=VOCAB), folder)
    return folder


@pytest.mark.slow
def test_both_say_the_same(spoken, tmp_path, typed, monkeypatch):
    monkeypatch.setattr(lm_demo, "TRITS", 10)      # quick to build
    code, out, err = typed("demo", "lm", "-o", tmp_path / "d", "--model", spoken, "--prompt", "a bad", "-n", 6)
    assert code == 0, err
    assert "6 tokens: the CPU, the core and the model's graph have the same, and all " in out and " values in the core are right\n" in out
    p = lm.load_lm(spoken)
    prompt = lm.Pieces(VOCAB).encode("a bad")
    text = lm.Pieces(VOCAB).decode([*prompt, *lm.generate(p, prompt, 6, lm.Sampler.at(8, 0.8, 1))])
    assert all(out.count(line) >= 2 for line in text.split("\n") if line.strip())
    assert "compiled for this CPU, one thread" in out and "core at 50 MHz" in out
    assert (tmp_path / "d" / "cpu" / "lm").exists() and (tmp_path / "d" / "core" / "qs_top.sv").exists()


def test_mistakes(spoken, tmp_path, typed, monkeypatch):
    def fails(*args) -> str:
        code, _, err = typed("demo", *args)
        assert code == 1
        return err.splitlines()[-1]
    assert fails("llm") == "error: unknown demo 'llm'; give digits or lm"
    assert fails("lm", "--model", tmp_path).startswith(f"error: {tmp_path / 'lm.json'}: no such file")
    prompt = fails("lm", "--model", spoken, "--prompt", "zoo")
    assert prompt == "error: letter 'z' at 0 is not in the vocabulary of 11 pieces; the model knows 'abcdefghi \\n'"
    monkeypatch.setattr(lm_demo, "SHIPPED", tmp_path / "none")
    said = f"error: {tmp_path / 'none'}: no trained model came with this copy; train one with: qsearch train TEXT -o DIR; then give --model DIR/lm"
    assert fails("lm") == said
