"""Language models compiled for this machine: equal to the integer model in every value of every layer, on one thread and on several."""
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

import codegen.lm
from codegen.lm import values
from ir import UserError, lm
from quant import MatMulFreeLM
from quant.ternary.matmulfree_lower import program

VOCAB = (*"abcdefghijklmnopqrstuvwxyz ,.", "é", "the")


@pytest.fixture(scope="module")
def model() -> lm.Program:
    """168 wide: whole panels of base 3 and a rest, columns that no vector divides; its epsilons and bounds count."""
    torch.manual_seed(0)
    net = MatMulFreeLM(len(VOCAB), 170, 2, hidden=230)
    for name, p in net.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.normal_(p, 1, 0.2)
    torch.nn.init.normal_(net.lower_bounds)
    return program(net, vocab=VOCAB)


@pytest.fixture(scope="module")
def built(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm") / "build"
    codegen.lm.build(model, folder, threads=2)
    return folder


def compare(model: lm.Program, compiled, tokens) -> None:
    """Every named value of a text's tokens."""
    reference = lm.Stepper(model)
    for token in tokens:
        wanted = reference.step(token)
        compiled.trace(token)
        for name in values.names(len(model.layers)):
            np.testing.assert_array_equal(compiled.value(name), np.asarray(wanted[name]).reshape(-1), f"token {token}: {name}")


@pytest.mark.parametrize("threads", (1, 2))
def test_every_value(model, built, threads):
    compare(model, codegen.lm.load(built, threads), (3, 1, 4, 1, 5, 28, 2, 6))


def test_form_of_two_bits(model, tmp_path):
    codegen.lm.build(model, tmp_path, form="two_bit", target="llvm -mcpu=x86-64-v3", threads=3)
    compare(model, codegen.lm.load(tmp_path, 2), (30, 0, 7))


@pytest.mark.slow
@pytest.mark.parametrize("words", ("q16", "q18"))
def test_wider_words(words, tmp_path):
    torch.manual_seed(1)
    model = program(MatMulFreeLM(9, 20, 2, hidden=30), words)
    codegen.lm.build(model, tmp_path)
    compare(model, codegen.lm.load(tmp_path), (3, 8, 0, 1, 4))


@pytest.mark.parametrize("sampler", (lm.Sampler(), lm.Sampler(5, 320, 7), lm.Sampler(31, 100, 1 << 31), lm.Sampler(2, 0, 99),
                                     lm.Sampler(8, 65535, 3)))
@pytest.mark.parametrize("threads", (1, 2))
def test_tokens(model, built, sampler, threads):
    compiled = codegen.lm.load(built, threads)
    compiled.sampler_of(sampler.k, sampler.inverse, sampler.seed)
    assert list(compiled.generate([7, 4, 11], 25)) == list(lm.generate(model, [7, 4, 11], 25, sampler))


def test_the_program(model, built):
    wanted = "".join(VOCAB[t] for t in lm.generate(model, lm.Pieces(VOCAB).encode("thé cat"), 20, lm.Sampler.at(8, 0.8, 5)))
    done = subprocess.run([built / "lm", "thé cat", "-n", "20", "--top-k", "8", "--temperature", ".8", "--seed", "5", "--threads", "2"],
                          capture_output=True, text=True)
    assert done.stdout == f"thé cat{wanted}\n" and done.stderr.startswith("prompt: 7 tokens, ") and done.stderr.endswith("tokens/s on 2 threads\n")
    done = subprocess.run([built / "lm", "30 0", "--numbers", "-n", "4"], capture_output=True, text=True)
    assert done.stdout.split() == ["30", "0", *map(str, lm.generate(model, [30, 0], 4))]
    done = subprocess.run([sys.executable, built / "run.py", "the ", "6"], capture_output=True, text=True)
    assert done.stdout == "the " + "".join(VOCAB[t] for t in lm.generate(model, [30, 26], 6)) + "\n"


def test_texts_go_on_where_they_were(built):
    compiled = codegen.lm.load(built)
    compiled.sampler(4, 0.9, 11)
    first = list(compiled.generate([1, 2], 4))
    state = compiled.save()
    more = list(compiled.generate([first[-1]], 6))
    compiled.reset()
    compiled.sampler(3, 2.0, 5)
    compiled.restore(state)
    assert list(compiled.generate([first[-1]], 6)) == more
    with pytest.raises(ValueError, match="^a state of model 0{16}, this is .{16}; restore one that this model saved$"):
        compiled.restore(b"0" * len(state))


@pytest.mark.parametrize("arguments, message", [
    (["caTs"], "letter 'T' at byte 2 is not in the vocabulary of 31 pieces"), (["c→"], "letter '→' at byte 1 is not in the vocabulary of 31 pieces"),
    ([""], "an empty prompt; give at least one token to begin with"), (["a", "-n", "0"], "-n 0: give a whole number from 1 to 1099511627776"),
    (["a", "--top-k", "65"], "--top-k 65: give a whole number from 1 to 64"),
    (["a", "--top-k", "40"], "top-k of 40 from a vocabulary of 31; take at most that"),
    (["a", "--temperature", "0"], "temperature 0: give a positive one, or top-k 1 for the likeliest token"),
    (["a", "--temperature", ".001"], "temperature 0.001: take one above 0.00390631, or top-k 1 for the likeliest token"),
    (["a", "--seed", "0"], "--seed 0: give a whole number from 1 to 4294967295"),
    (["a", "--threads", "3"], "--threads 3: give a whole number from 1 to 2"),
    (["3 31", "--numbers"], "prompt '3 31': give tokens from 0 to 30 with spaces between"),
    (["a", "--weights", "/nowhere"], "cannot read weights /nowhere: No such file or directory")])
def test_mistakes(built, arguments, message):
    done = subprocess.run([built / "lm", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, message + "\n")


def test_foreign_weights(model, built, tmp_path):
    whole = (built / "lm.weights").read_bytes()
    cut, other, bent, text = whole[:-64], bytearray(whole), bytearray(whole), b"x" * len(whole)
    other[8:12] = b"beef"
    bent[-100] ^= 1
    stamp = whole[8:24].decode()
    for data, message in ((cut, f"{len(cut)} bytes, where this model's weights have {len(whole)}; it is cut off or of another model"),
                          (text, "not a file of weights; give the one that was built with this program"),
                          (other, f"weights of model beef{stamp[4:]}, this is {stamp}; give the file that was built with this program"),
                          (bent, "damaged: its sum is not the one that it was written with; build it again")):
        (path := tmp_path / "w").write_bytes(data)
        done = subprocess.run([built / "lm", "a", "--weights", path], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, f"{path}: {message}\n")


def test_what_python_is_told(built, tmp_path):
    compiled = codegen.lm.load(built)
    for call, message in ((lambda: compiled.step(31), "token 31 is out of the vocabulary of 31"),
                          (lambda: list(compiled.generate([], 3)), "3 tokens after a prompt of 0"),
                          (lambda: list(compiled.generate([1], 0)), "0 tokens after a prompt of 1"),
                          (compiled.next, "no sums to draw from; step with"),
                          (lambda: compiled.value("norm.u"), "no values were kept; trace a token first"),
                          (lambda: compiled.sampler(3, -1.0), "temperature -1.0: give"),
                          (lambda: compiled.sampler(3, 1.0, 0), "seed 0: take 1 to 4294967295"),
                          (lambda: compiled.sampler(99), "top-k of 99: take 1 (greedy) to 64"),
                          (lambda: compiled.encode("A"), "letter 'A' at byte 0"),
                          (lambda: compiled.restore(b""), "a state of 0 bytes, where this model's have"),
                          (lambda: codegen.lm.load(built, 3), "3 threads; this build has 2 parts, so give 1 to 2, or compile it for more"),
                          (lambda: codegen.lm.load(tmp_path), f"{tmp_path}/manifest.json: no such file; expected a qsearch compiled language model")):
        with pytest.raises(ValueError) as e:
            call()
        assert str(e.value).startswith(message) and "\n" not in str(e.value)
    compiled.trace(0)
    with pytest.raises(ValueError, match="^no value is called 'layers.2.attn.state'$"):
        compiled.value("layers.2.attn.state")


def test_what_is_not_built(model, tmp_path):

    wide = dataclasses.replace(model, words=dataclasses.replace(model.words, code_bits=12))
    for p, more, message in ((wide, {}, "codes of 12 bits: the CPU's engine multiplies up to 8; lower the model with code_bits=8"),
                             (model, {"form": "int4"}, "unknown form of ternary weights 'int4'; give base3 or two_bit"),
                             (model, {"threads": 0}, "0 threads; give 1 to 64"), (model, {"name": "No"}, "'No' cannot name a library")):
        with pytest.raises(UserError) as e:
            codegen.lm.build(p, tmp_path / "out", **more)
        assert str(e.value).startswith(message) and not (tmp_path / "out").exists()


def test_the_command(model, tmp_path, capsys, monkeypatch):
    from qsearch.cli import main
    lm.save_lm(model, tmp_path / "lm")
    options = ["-t", "cpu", "-o", str(tmp_path / "out"), "--form", "two_bit", "--name", "tiny"]
    monkeypatch.setattr(sys, "argv", ["qsearch", "compile", str(tmp_path / "lm"), *options])
    with pytest.raises(SystemExit, match="^0$"):
        main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(tmp_path / "out") and " packed as two_bit, " in lines[1] and lines[1].endswith("; 1 thread at most")
    done = subprocess.run([tmp_path / "out" / "tiny", "the cat", "-n", "3"], capture_output=True, text=True, check=True)
    assert done.stdout == "the cat" + "".join(VOCAB[t] for t in lm.generate(model, lm.Pieces(VOCAB).encode("the cat"), 3)) + "\n"
