"""The TVM library as a user meets it: folders, reload, C++, targets, messages."""
import json
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
def folder(g, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tvm") / "model"
    codegen.tvm.build(g, out)
    return out


def says(text: str): return pytest.raises(UserError, match=text)


def test_folder_tells_all(g, folder):
    assert sorted(p.name for p in folder.iterdir()) == ["main.cc", "manifest.json", "model.so", "run.py"]
    m = ir.store.load_json(folder / "manifest.json", "tvm library")
    assert m["inputs"] == [{"name": "x", "shape": [3, 6, 5], "dtype": "uint8", "lo": 0, "hi": 255, "scale": 1 / 255, "zero": 128}]
    assert m["output"]["shape"] == [16, 6, 5] and m["output"]["dtype"] == "uint8"
    assert m["graph_hash"] == ir.store.graph_hash(g) and m["target"] == "llvm" and m["versions"]["tvm"]


def test_load_and_run(g, folder):
    x = samples(g, 9)
    model = codegen.load(folder)
    assert (model(x) == ir.run(g, x)).all() and model(x).dtype == np.int64
    assert model(x[:0]).shape == (0, 16, 6, 5)


def test_groups_of_samples_make_no_difference(g, folder):
    model, x = codegen.load(folder), samples(g, 7)
    model.group = 3
    assert (model(x) == ir.run(g, x)).all()


def test_fixed_batch_takes_any_number(g):
    x, model = samples(g, 7), codegen.tvm.build(g, batch=3)
    assert model.fixed and (model(x) == ir.run(g, x)).all()


def test_a_rebuilt_folder_is_not_mistaken_for_the_old_one(tmp_path):
    graphs = [Graph(), Graph()]
    for add, h in enumerate(graphs):
        h.add("x", Input(Ints((3,), 0, 9)))
        h.add("y", Requant([1], 0, add, 0, 20), "x")
        model = codegen.tvm.build(h, tmp_path)
        assert (model(np.zeros((1, 3), int)) == add).all()


@pytest.mark.slow
def test_run_py(g, folder, tmp_path):
    x = samples(g, 4)
    np.save(tmp_path / "x.npy", x)
    subprocess.run([sys.executable, folder / "run.py", tmp_path / "x.npy", tmp_path / "y.npy"], check=True,
                   env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (np.load(tmp_path / "y.npy") == ir.run(g, x)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name, batch", [(NAME, None), ("add of two signs", 4)])
def test_cpp(name, batch, tmp_path):
    """main.cc, compiled by the very command of the manifest, on files of raw integers."""
    g = CASES[name]
    codegen.tvm.build(g, tmp_path, batch=batch)
    m = json.loads((tmp_path / "manifest.json").read_text())
    subprocess.run(m["compile"].split(), cwd=tmp_path, check=True)
    x = samples(g, 10)
    feeds = x if isinstance(x, dict) else {"x": x}
    for i in m["inputs"]:
        feeds[i["name"]].astype(i["dtype"]).tofile(tmp_path / f"{i['name']}.bin")
    files = [f"{i['name']}.bin" for i in m["inputs"]]
    run = lambda *args: subprocess.run(["./main", "model.so", *args], cwd=tmp_path, capture_output=True, text=True)  # noqa: E731
    assert run(*files, "y.bin").returncode == 0
    y = np.fromfile(tmp_path / "y.bin", m["output"]["dtype"]).reshape(10, *m["output"]["shape"])
    assert (y == ir.run(g, x)).all()
    (tmp_path / "short.bin").write_bytes(b"12345")
    bad = run(*["short.bin"] * len(files), "z.bin")
    assert bad.returncode == 1 and "short.bin: 5 bytes; one sample takes" in bad.stderr
    usage = run("y.bin")
    assert usage.returncode == 2 and usage.stderr == f"usage: ./main MODEL.so{' INPUT' * len(files)} OUTPUT\n"


def test_portable_target(g):
    x = samples(g, 5)
    assert (codegen.tvm.build(g, target="llvm -mcpu=x86-64-v2")(x) == ir.run(g, x)).all()


def test_no_float_in_the_code():
    """Rounding cannot depend on a float unit that is not used."""
    assert "float" not in codegen.tvm.module(CASES["conv depthwise"]).script() + codegen.tvm.module(twice()).script()


def test_messages_of_targets(g):
    for text in ("cuda", "llvm -O3", "", "llvm -mcpu=x86-64 -mattr=+avx"):
        with says("the TVM backend has no target '.*'; give 'llvm' for this machine's CPU or 'llvm -mcpu=NAME' for another"):
            codegen.tvm.build(g, target=text)
    with says(r"LLVM knows no CPU 'z80' here \(known: .*x86-64-v3"):
        codegen.tvm.build(g, target="llvm -mcpu=z80")
    with says("batch 0: give the number of samples, at least 1, or None for any"):
        codegen.tvm.build(g, batch=0)


def test_message_without_a_compiler(g, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with says(r"^no C\+\+ compiler to link the library with \(looked for no-such-compiler\); install g\+\+"):
        codegen.tvm.build(g, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_message_of_a_folder_that_cannot_be_written(g, tmp_path):
    (tmp_path / "file").write_text("")
    with says(r"^cannot write .*file/out: Not a directory; choose a folder that can be written$"):
        codegen.tvm.build(g, tmp_path / "file" / "out")


def test_messages_of_a_damaged_folder(folder, tmp_path):
    with says("manifest.json: no such file; expected a qsearch tvm library"):
        codegen.load(tmp_path)
    for name in ("manifest.json", "model.so"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with open(tmp_path / "model.so", "ab") as f:
        f.write(b"x")
    with says("model.so: missing, or not the library that manifest.json was written with; build it again"):
        codegen.load(tmp_path)


def test_messages_of_inputs(g, folder):
    model = codegen.load(folder)
    with says(r"input 'x' takes \(N, 3, 6, 5\), not \(2, 3, 5, 6\)"):
        model(np.zeros((2, 3, 5, 6), int))
    with says(r"input 'x' takes integers in \[0, 255\], got \[256, 256\]"):
        model(np.full((1, 3, 6, 5), 256))
    with says("input 'x' takes integers, not float64"):
        model(np.zeros((1, 3, 6, 5)))


def test_missing_packages_are_named():
    """Without TVM, importing codegen is fine and using it says what to install."""
    code = ("import sys; sys.modules['tvm'] = None\nimport codegen, ir\n"
            "try: codegen.load('x')\nexcept ir.UserError as e: print(e)")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out == "codegen.tvm needs the Python package 'tvm', which is not installed; pip install apache-tvm\n"


def test_importing_codegen_is_light():
    code = "import sys, codegen; print([m for m in ('tvm', 'onnx', 'onnxruntime', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_terminal_stays_quiet(tmp_path):
    code = ("import codegen, numpy, sys; sys.path.insert(0, 'tests'); from op_cases import CASES\n"
            f"codegen.tvm.build(CASES['dense'], {str(tmp_path / 'm')!r})(numpy.zeros((1, 7), int))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
