"""Compiled CPU code as a user meets it: in memory, as a folder, on threads, for other targets, and its messages."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from op_cases import CASES, twice
from strategies import samples

import codegen
import ir
from ir import Encoding, Graph, Input, Ints, Requant, UserError

ROOT = Path(__file__).parents[1]
NAME = "conv 3x3 padded with its zero point"


@pytest.fixture(scope="module")
def g() -> Graph:
    g = CASES[NAME]
    g.encodings = {"x": Encoding(1 / 255, 128)}
    return g


@pytest.fixture(scope="module")
def model(g): return codegen.tvm.build(g)


@pytest.fixture(scope="module")
def folder(g, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tvm") / "model"
    codegen.tvm.build(g, out)
    return out


def says(text: str): return pytest.raises(UserError, match=text)


def test_folder_tells_all(g, folder):
    assert sorted(p.name for p in folder.iterdir()) == ["libmodel.a", "libmodel.so", "manifest.json", "model", "model.h", "run.py"]
    m = ir.store.load_json(folder / "manifest.json", "compiled model")
    assert m["inputs"] == [{"name": "x", "shape": [3, 6, 5], "dtype": "uint8", "lo": 0, "hi": 255, "scale": 1 / 255, "zero": 128}]
    assert m["output"]["shape"] == [16, 6, 5] and m["output"]["dtype"] == "uint8"
    assert m["graph_hash"] == ir.store.graph_hash(g) and m["target"] == "llvm" and m["versions"]["tvm"]


@pytest.mark.parametrize("count", [0, 1, 2, 9])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_samples_on_any_number_of_threads(g, model, count, threads):
    x = samples(g, max(count, 1))[:count]
    y = model(x, threads)
    assert y.dtype == np.int64 and y.shape == (count, 16, 6, 5) and (y == ir.run(g, x)).all()


def test_load_and_run(g, folder):
    x = samples(g, 9)
    made = codegen.load(folder)
    assert (made(x) == ir.run(g, x)).all() and made(x).dtype == np.int64 and made(x[:0]).shape == (0, 16, 6, 5)


def test_calls_of_one_model_do_not_meet(g, model):
    """The memory that values share is filled anew by each call, halos too."""
    a, b = samples(g, 3), samples(g, 3)[::-1]
    first = model(a)
    model(b)
    assert (model(a) == first).all()


def test_calls_are_for_timing(g, model):
    call = model.calls(samples(g, 2), 1)
    assert call() is None and call(1) is None and call(5) is None


def test_a_rebuilt_folder_is_not_mistaken_for_the_old_one(tmp_path):
    graphs = [Graph(), Graph()]
    for add, h in enumerate(graphs):
        h.add("x", Input(Ints((3,), 0, 9)))
        h.add("y", Requant([1], 0, add, 0, 20), "x")
        assert (codegen.tvm.build(h, tmp_path)(np.zeros((1, 3), int)) == add).all()


@pytest.mark.slow
def test_run_py(g, folder, tmp_path):
    x = samples(g, 4)
    np.save(tmp_path / "x.npy", x)
    subprocess.run([sys.executable, folder / "run.py", tmp_path / "x.npy", tmp_path / "y.npy"], check=True,
                   env=os.environ | {"PYTHONPATH": ""})
    assert (np.load(tmp_path / "y.npy") == ir.run(g, x)).all()


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_targets_that_share_a_machine(cpu):
    """Equal integers whatever the instructions are, on those that this machine has."""
    graphs = [CASES[NAME], twice(), CASES["conv depthwise"]]
    for g in graphs:
        folder_free = codegen.tvm.build(g, target=f"llvm -mcpu={cpu}") if can_run(cpu) else None
        assert folder_free is None or (folder_free(samples(g, 5)) == ir.run(g, samples(g, 5))).all()


def can_run(cpu: str) -> bool:
    from codegen.deploy.features import needed
    from codegen.deploy.target import parse
    return set(parse(f"llvm -mcpu={cpu}").features) <= set(needed("x86_64", parse("llvm").features))


def test_no_float_in_the_code():
    """Rounding cannot depend on a float unit that is not used."""
    for g in (CASES["conv depthwise"], twice()):
        assert "float" not in codegen.tvm.lowered(g).module.script()


def test_messages_of_targets(g):
    for text in ("cuda", "llvm -O3", "", "llvm -mcpu=x86-64 -mattr=+avx"):
        with says("the TVM backend has no target '.*'; give 'llvm' for this machine's CPU or 'llvm -mcpu=NAME' for another"):
            codegen.tvm.build(g, target=text)
    with says(r"LLVM knows no CPU 'z80' here \(known: .*x86-64-v3"):
        codegen.tvm.build(g, target="llvm -mcpu=z80")
    with says("^code for aarch64 cannot be called on this x86_64; give a folder to build it into$"):
        codegen.tvm.build(g, target="aarch64")


def test_message_without_a_compiler(g, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with says(r"^no C compiler to link the library with \(looked for no-such-compiler\); install gcc"):
        codegen.tvm.build(g, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_message_of_a_folder_that_cannot_be_written(g, tmp_path):
    (tmp_path / "file").write_text("")
    with says(r"^cannot write .*file/out: Not a directory; choose a folder that can be written$"):
        codegen.tvm.build(g, tmp_path / "file" / "out")


def test_messages_of_inputs(g, model, folder):
    for made in (model, codegen.load(folder)):
        with says(r"input 'x' takes \(N, 3, 6, 5\), not \(2, 3, 5, 6\)"):
            made(np.zeros((2, 3, 5, 6), int))
        with says(r"input 'x' takes integers in \[0, 255\], got \[256, 256\]"):
            made(np.full((1, 3, 6, 5), 256))
        with says("input 'x' takes integers, not float64"):
            made(np.zeros((1, 3, 6, 5)))


def test_message_of_inputs_of_two_lengths():
    g = Graph()
    for name in "ab":
        g.add(name, Input(Ints((3,), 0, 9)))
    g.add("y", ir.Add(), "a", "b")
    with says("^inputs of 2, 3 samples; give as many of each$"):
        codegen.tvm.build(g)({"a": np.zeros((2, 3), int), "b": np.zeros((3, 3), int)})


def test_missing_packages_are_named():
    """Without TVM, importing codegen is fine and building says what to install."""
    code = ("import sys; sys.modules['tvm'] = None\nimport codegen, ir\n"
            "try: codegen.tvm\nexcept ir.UserError as e: print(e)")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out == "codegen.tvm needs the Python package 'tvm', which is not installed; pip install apache-tvm\n"


def test_loading_needs_no_tvm(g, folder):
    code = f"import sys; sys.modules['tvm'] = None\nimport codegen, numpy\nprint(codegen.load({str(folder)!r})(numpy.zeros((1, 3, 6, 5), int)).sum())"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert int(out) == ir.run(g, np.zeros((1, 3, 6, 5), int)).sum()


def test_importing_codegen_is_light():
    code = "import sys, codegen; print([m for m in ('tvm', 'onnx', 'onnxruntime', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_terminal_stays_quiet(tmp_path):
    code = ("import codegen, numpy, sys; sys.path.insert(0, 'tests'); from op_cases import CASES\n"
            f"codegen.tvm.build(CASES['dense'], {str(tmp_path / 'm')!r})(numpy.zeros((1, 7), int))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
