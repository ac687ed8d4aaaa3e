"""Deployables as their users meet them: from Python, from C, from a shell."""
import dataclasses
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from deploy_programs import INS, MANIFEST, OUTS, expected, object_code, weights

from codegen import deploy
from codegen.deploy import loader, source
from codegen.deploy.target import parse
from ir import UserError
from ir.store import load_json, save_json

FILES = ["dense", "dense.h", "libdense.a", "libdense.so", "manifest.json", "run.py"]
HOST = parse("llvm")


def says(text: str): return pytest.raises(UserError, match=text)
def samples(n: int, seed: int = 1) -> np.ndarray: return np.random.default_rng(seed).integers(0, 201, (n, 4, 12))
def copied(folder, to): return shutil.copytree(folder, to / "copy")


def ran(*command, **kw) -> tuple[int, str]:
    """Exit code, and what was printed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **kw)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def code() -> bytes: return object_code(HOST)


@pytest.fixture(scope="module")
def folder(code, tmp_path_factory):
    out = tmp_path_factory.mktemp("deploy") / "dense"
    deploy.link(code, weights().tobytes(), MANIFEST, out, HOST, "dense")
    return out


@pytest.fixture(scope="module")
def model(folder): return deploy.load(folder, 2)


def test_folder_tells_all(folder):
    m = load_json(folder / "manifest.json", "compiled model")
    assert sorted(p.name for p in folder.iterdir()) == FILES
    assert m["sizes"]["weights"] == OUTS * INS and m["sizes"]["workspace"] == 2 * INS and 0 < m["sizes"]["code"] < 20_000
    assert m["sizes"]["files"] == {f: (folder / f).stat().st_size for f in FILES if f != "manifest.json"}
    assert m["machine"] == HOST.machine and m["target"] == "llvm" and m["name"] == "dense" and set(m["files"]) == set(m["sizes"]["files"])


def test_equal_builds_give_equal_bytes(code, folder, tmp_path):
    deploy.link(code, weights().tobytes(), MANIFEST, tmp_path, HOST, "dense")
    assert {f: (tmp_path / f).read_bytes() for f in FILES} == {f: (folder / f).read_bytes() for f in FILES}


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_number_of_threads_and_samples(folder, threads):
    model, x = deploy.load(folder, threads), samples(70)
    for n in (0, 1, 2, 7, 70):
        y = model(x[:n])
        assert y.dtype == np.int64 and y.shape == (n, OUTS) and (y == expected(weights(), x[:n])).all()


@pytest.mark.parametrize("offset", [1, 4, 63])
def test_arrays_at_any_address(folder, offset):
    """Of more samples than one group of copies holds."""
    n, model = 1 << 15, deploy.load(folder, 1)
    x = np.zeros(n * INS + 64, np.uint8)[offset:offset + n * INS].reshape(n, 4, 12)
    x[:] = samples(n)
    assert (model.model.words(x) == expected(weights(), x)).all()


def test_run_py_needs_numpy_only(folder, tmp_path):
    """Run without this project on the path, in a folder of its own."""
    x = samples(5)
    np.save(tmp_path / "x.npy", x)
    blocked = ("import sys, runpy; sys.modules |= dict.fromkeys(('ir', 'codegen', 'tvm', 'torch')); sys.argv = sys.argv[1:]; "
               "runpy.run_path(sys.argv[0], run_name='__main__')")
    run = lambda *files: ran(sys.executable, "-c", blocked, folder / "run.py", *files, cwd=tmp_path)  # noqa: E731
    assert run("x.npy", "y.npy") == (0, "")
    assert (np.load(tmp_path / "y.npy") == expected(weights(), x)).all()
    assert run("x.npy") == (2, "usage: run.py x.npy OUTPUT.npy\n")
    np.save(tmp_path / "bad.npy", x[:, :3])
    assert run("bad.npy", "y.npy") == (1, "input 'x' takes (N, 4, 12), not (5, 3, 12)\n")
    np.save(tmp_path / "bad.npy", x + 56)
    assert run("bad.npy", "y.npy") == (1, f"input 'x' takes integers in [0, 200], got [{x.min() + 56}, {x.max() + 56}]\n")
    status, text = run("none.npy", "y.npy")
    assert status == 1 and text.startswith("cannot read or write none.npy y.npy: ") and text.count("\n") == 1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint64"])
def test_program_on_npy(folder, tmp_path, dtype):
    np.save(tmp_path / "x.npy", samples(9).astype(dtype))
    for threads in ([], ["--threads", 3]):
        assert ran(folder / "dense", *threads, tmp_path / "x.npy", tmp_path / "y.npy") == (0, "")
        y = np.load(tmp_path / "y.npy")
        assert y.dtype == np.int32 and (y == expected(weights(), samples(9))).all()


def test_program_on_raw_values(folder, tmp_path):
    samples(9).astype("uint8").tofile(tmp_path / "x.bin")
    assert ran(folder / "dense", "x.bin", "y.bin", cwd=tmp_path) == (0, "")
    assert (np.fromfile(tmp_path / "y.bin", np.int32).reshape(9, OUTS) == expected(weights(), samples(9))).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin", "y.bin"]


def test_messages_of_the_program(folder, tmp_path):
    x = samples(3)
    bad = {"fortran": (np.asfortranarray(x), "x.npy: in Fortran order; write it in C order (numpy.ascontiguousarray)"),
           "float": (x / 2, "x.npy: values of type '<f8', where integers are needed (uint8, input 'x')"),
           "order": (x.astype(">i4"), "x.npy: values of type '>i4', where integers are needed (uint8, input 'x')"),
           "shape": (x[:, 1:], "x.npy: shape (3, 3, 12), where input 'x' takes (N, 4, 12)"),
           "rank": (x[0], "x.npy: shape (4, 12), where input 'x' takes (N, 4, 12)"),
           "high": (x * 0 + 201, "x.npy: input 'x' takes integers in [0, 200], got 201 at place 0 of sample 0"),
           "low": (x * 0 - (np.arange(3) == 2)[:, None, None], "x.npy: input 'x' takes integers in [0, 200], got -1 at place 0 of sample 2")}
    run = lambda *a: ran(folder / "dense", *a, cwd=tmp_path)  # noqa: E731
    for array, text in bad.values():
        np.save(tmp_path / "x.npy", array)
        assert run("x.npy", "y.npy") == (1, text + "\n")
    np.save(tmp_path / "x.npy", x)
    whole = (tmp_path / "x.npy").read_bytes()
    for length, text in ((5, "not a .npy file"), (100, "not a .npy file, or cut off"), (-1, "cut off, or longer than its header says")):
        (tmp_path / "x.npy").write_bytes(whole[:length])
        assert run("x.npy", "y.npy") == (1, f"x.npy: {text}\n")
    (tmp_path / "x.bin").write_bytes(b"12345")
    assert run("x.bin", "y.npy") == (1, "x.bin: 5 bytes; one sample of input 'x' takes 48\n")
    assert run("none.npy", "y.npy") == (1, "cannot read none.npy: No such file or directory\n")
    (tmp_path / "x.npy").write_bytes(whole)
    assert run("x.npy", "none/y.npy") == (1, "cannot write none/y.npy: No such file or directory\n")
    usage = f"usage: {folder}/dense [--threads N] x OUTPUT   (files: .npy, or raw values under any other name)\n"
    for arguments in ((), ("x.npy",), ("--threads", "two", "x.npy", "y.npy"), ("--threads", "-1", "x.npy", "y.npy")):
        assert run(*arguments) == (2, usage)
    assert not (tmp_path / "y.npy").exists()


TWO_MODELS = """
#include <stdio.h>
#include "dense.h"
#include "second.h"
int main(void) {
  static uint8_t x[3 * DENSE_X_SIZE];
  static int32_t y[3 * DENSE_Y_SIZE], z[3 * SECOND_Y_SIZE];
  dense *a = dense_create(2);
  second *b = second_create(2);
  for (int i = 0; i < 3 * DENSE_X_SIZE; ++i) x[i] = (uint8_t)(i % (DENSE_X_HI + 1));
  if (!a || !b || dense_run(a, x, y, 3) || second_run(b, x, z, 3)) return 1;
  for (int i = 0; i < 3 * DENSE_Y_SIZE; ++i) printf("%d %d\\n", y[i], z[i]);
  x[DENSE_X_SIZE + 5] = 255;
  if (dense_run(a, x, y, 1) || !dense_run(a, x, y, 3)) return 2;
  puts(dense_error());
  if (!dense_run(NULL, x, y, 1)) return 3;
  puts(dense_error());
  if (!second_run(b, NULL, z, 1)) return 4;
  puts(second_error());
  if (second_create(-1)) return 5;
  puts(second_error());
  dense_destroy(a);
  second_destroy(b);
  second_destroy(NULL);
}
"""


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_two_models_in_one_c_program(code, folder, tmp_path, kind):
    deploy.link(code, weights(2).tobytes(), MANIFEST, tmp_path, HOST, "second")
    (tmp_path / "both.c").write_text(TWO_MODELS)
    end = "so" if kind == "shared" else "a"
    libraries = [folder / f"libdense.{end}", tmp_path / f"libsecond.{end}"]
    warn = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    assert ran("cc", *warn, "both.c", f"-I{folder}", *libraries, "-o", "both", cwd=tmp_path) == (0, "")
    status, text = ran("./both", cwd=tmp_path)
    x = (np.arange(3 * INS) % 201).reshape(3, INS)
    values = np.array([line.split() for line in text.splitlines()[:3 * OUTS]], int).T.reshape(2, 3, OUTS)
    assert status == 0 and (values[0] == expected(weights(), x)).all() and (values[1] == expected(weights(2), x)).all()
    assert text.splitlines()[3 * OUTS:] == [
        "input 'x' takes integers in [0, 200], got 255 at place 5 of sample 1", "no model to run; create one first",
        "second: no values for input 'x'", "second: -1 threads; give 1 to 256, or 0 for one on each CPU"]


def test_static_library_needs_no_threads_and_little_else(folder):
    listed = ran("nm", "-u", folder / "libdense.a")[1].split()
    needed = {w for w in listed if w != "U" and not w.startswith("dense__") and not w.endswith(":")}
    assert needed <= {"aligned_alloc", "calloc", "free", "memcpy", "memcmp", "memset", "strlen", "snprintf", "vsnprintf", "__stack_chk_fail"}


def test_header_is_cpp(folder, tmp_path):
    (tmp_path / "a.cc").write_text('#include "dense.h"\nint main() { dense_destroy(nullptr); return DENSE_X_ZERO - 3; }\n')
    assert ran("g++", "-Wall", "-Werror", "a.cc", f"-I{folder}", folder / "libdense.so", "-o", "a", cwd=tmp_path) == (0, "")
    assert ran("./a", cwd=tmp_path) == (0, "")


def test_a_forked_child_runs_too(folder):
    """Its parent's threads are not in it."""
    model, x = deploy.load(folder, 2), samples(6)
    model(x)
    child = os.fork()
    if not child:
        os._exit(0 if (model(x) == expected(weights(), x)).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_calls_from_many_threads(model):
    x = samples(200)
    with ThreadPoolExecutor(4) as pool:
        assert all((y == expected(weights(), x)).all() for y in pool.map(model, [x] * 40))


def test_a_rebuilt_folder_is_not_mistaken_for_the_old_one(code, tmp_path):
    for seed in (3, 4):
        deploy.link(code, weights(seed).tobytes(), MANIFEST, tmp_path, HOST, "dense")
        assert (deploy.load(tmp_path)(samples(2)) == expected(weights(seed), samples(2))).all()


def test_instructions_that_the_cpu_lacks(code, tmp_path):
    """XOP was in AMD's CPUs of 2011 to 2015 and in no other."""
    lacking = "xop" if HOST.machine == "x86_64" else "sme"
    bad = dataclasses.replace(HOST, text="llvm -mcpu=other", features=(*HOST.features, lacking))
    deploy.link(code, weights().tobytes(), MANIFEST, tmp_path, bad, "dense")
    text = f"built for llvm -mcpu=other: this CPU, or its system, lacks {lacking}; compile the graph for this machine"
    with says(f"^{tmp_path}: {text}$"):
        deploy.load(tmp_path)
    np.save(tmp_path / "x.npy", samples(1))
    assert ran(tmp_path / "dense", tmp_path / "x.npy", tmp_path / "y.npy") == (1, text + "\n")


def test_features_are_read_from_the_target():
    if HOST.machine == "x86_64":
        assert {"xop", "fma4"} <= set(parse("llvm -mcpu=bdver4").features) and "avx512vnni" in parse("llvm -mcpu=znver4").features
        assert parse("x86_64").features[-3:] == ("avx2", "bmi2", "lzcnt") and parse("llvm -mcpu=x86-64").features == ()
    arm = parse("aarch64")
    assert arm.machine == "aarch64" and "dotprod" in arm.features and "i8mm" not in arm.features
    assert "dotprod" not in parse("aarch64 -mcpu=cortex-a53").features and "i8mm" in parse("aarch64 -mcpu=neoverse-v1").features


def test_messages_of_damaged_folders(folder, tmp_path):
    with says("^.*manifest.json: no such file; expected a qsearch compiled model$"):
        deploy.load(tmp_path)
    copy = copied(folder, tmp_path)
    library = bytearray((copy / "libdense.so").read_bytes())
    library[2000] ^= 1
    for content in (bytes(library), bytes(library[:5000]), b""):
        (copy / "libdense.so").write_bytes(content)
        with says("libdense.so: missing, or not the library that manifest.json was written with; build it again$"):
            deploy.load(copy)
    (copy / "libdense.so").unlink()
    with says("libdense.so: missing, or not the library"):
        deploy.load(copy)
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"hi": 200', '"hi": 255'))
    with says("manifest.json: the hash inside does not match the content; it was damaged or edited, build it again$"):
        deploy.load(copy)
    for broken in (text[:100], "[]", "{}", "\0"):
        (copy / "manifest.json").write_text(broken)
        with says(r"manifest.json: not readable, not JSON, or cut off \(.*\); build it again$"):
            deploy.load(copy)
    save_json(copy / "manifest.json", "plan", {})
    with says("a qsearch plan of version 1, where a compiled model of version 1 is needed"):
        deploy.load(copy)


def test_without_room_for_a_copy(folder, monkeypatch):
    """A folder of temporary files that cannot be written, or whose files cannot be run."""
    monkeypatch.setattr(loader.Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    assert (deploy.load(folder)(samples(3)) == expected(weights(), samples(3))).all()
    monkeypatch.setattr(loader.ctypes, "CDLL", lambda path: (_ for _ in ()).throw(OSError("wrong ELF class")))
    with says(r"libdense.so: cannot be loaded here \(wrong ELF class\); build it again on this machine$"):
        deploy.load(folder)


def test_message_of_another_machine(folder, tmp_path):
    copy = copied(folder, tmp_path)
    other = load_json(folder / "manifest.json", "compiled model") | {"machine": "riscv64", "target": "riscv64"}
    save_json(copy / "manifest.json", "compiled model", other)
    with says(r"libdense.so: built for riscv64 Linux \(riscv64\), this machine is .* linux; build it for this machine$"):
        deploy.load(copy)


def test_message_of_foreign_weights(code, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "weights_source", lambda m, old=source.weights_source: old(m | {"weights_hash": "0" * 16}))
    deploy.link(code, weights().tobytes(), MANIFEST, tmp_path, HOST, "dense")
    with says("dense: linked with weights that are not those of its code; build it again$"):
        deploy.load(tmp_path)


def test_messages_of_inputs(model):
    with says(r"input 'x' takes \(N, 4, 12\), not \(2, 4, 11\)"):
        model(np.zeros((2, 4, 11), int))
    with says(r"input 'x' takes integers in \[0, 200\], got \[0, 255\]"):
        model(np.arange(48).reshape(1, 4, 12) // 47 * 255)
    with says("input 'x' takes integers, not float64"):
        model(np.zeros((1, 4, 12)))


def test_wrong_code_is_an_error_not_a_crash(code, tmp_path):
    """The manifest promises other arrays than the code takes: what the code raises comes out as a line."""
    wide = MANIFEST | {"output": MANIFEST["output"] | {"dtype": "int64"}}
    deploy.link(code, weights().tobytes(), wide, tmp_path, HOST, "dense")
    for threads in (1, 2):
        with says(r"^Mismatched .dtype on argument #1 when calling: `main\(.*`, expected int32$"):
            deploy.load(tmp_path, threads)(samples(2))


def test_messages_of_link(code, folder, tmp_path, monkeypatch):
    link = lambda out=tmp_path, name="dense", chain=HOST, what=code: deploy.link(what, b"", MANIFEST, out, chain, name)  # noqa: E731
    for name in ("int", "a b", "Dense", "1st", "x" * 41, "lambda"):
        with says(f"^'{name}' cannot name a library: give a small letter, then small letters, digits and _, up to 40, and no word of C$"):
            link(name=name)
    with says("^the compiled graph is not an object file of a 64-bit little-endian ELF machine"):
        link(what=b"nothing")
    other = dataclasses.replace(HOST, machine="riscv64")
    with says("no C compiler to link for riscv64 with|object code for"):
        link(chain=other)
    (tmp_path / "file").write_text("")
    with says("^cannot write .*file/out: Not a directory; choose a folder that can be written$"):
        link(out=tmp_path / "file" / "out")
    monkeypatch.setenv("CC", "no-such-compiler")
    with says(r"^no C compiler to link the library with \(looked for no-such-compiler\); install gcc, or name one in the environment variable CC$"):
        link(out=tmp_path / "out")
    monkeypatch.setenv("CC", "false")
    with says("^false could not make the graph's code without debug information: exit code 1; is a whole C toolchain for this target installed"):
        link(out=folder)
    assert not (tmp_path / "out").exists() and sorted(p.name for p in folder.iterdir()) == FILES


def test_messages_of_targets():
    for text in ("cuda", "llvm -O3", "", "llvm -mcpu=x86-64 -mattr=+avx"):
        with says("the TVM backend has no target '.*'; give 'llvm' for this machine's CPU or 'llvm -mcpu=NAME' for another"):
            parse(text)
    with says(r"LLVM knows no CPU 'z80' here \(known: .*cortex-a76"):
        parse("aarch64 -mcpu=z80")


def test_names_of_inputs_in_c():
    names = ["x", "n", "2nd", "Über X", "int", "x-1", "x_1"]
    assert source.parameters({"inputs": [{"name": n} for n in names]}) == ["x", "n_", "x2nd", "x_ber_x", "int_", "x_1", "x_1_"]
