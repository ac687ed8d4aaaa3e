"""`qsearch compile` for processors: choices, what it says of the result, tuned kernels."""
import sys
from pathlib import Path

import numpy as np
import pytest
import tvm
from op_cases import CASES
from strategies import samples

import codegen
import ir
from ir import Encoding
from ir.store import save_graph
from qsearch.cli import main

NAME = "conv 3x3 padded with its zero point"


def qsearch(*args) -> int:
    """The command, in this process."""
    given, sys.argv = sys.argv, ["qsearch", *map(str, args)]
    try:
        main()
        return 0
    except SystemExit as e:
        return e.code or 0
    finally:
        sys.argv = given


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compile") / "graph"
    g = CASES[NAME]
    g.encodings = {"x": Encoding(1 / 255, 128), g.output.name: Encoding(1.0)}
    save_graph(g, folder)
    return folder


@pytest.mark.slow
def test_what_a_build_is_and_says(graph, tmp_path, capsys):
    out = tmp_path / "out"
    assert qsearch("compile", graph, "-t", "cpu", "-o", out, "--name", "tiny", "--mcpu", "x86-64-v2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(out) and lines[1].startswith("code ") and "weights " in lines[1] and lines[1].endswith(" a thread")
    assert lines[2].startswith("files libtiny.so ") and "libtiny.a " in lines[2] and ", tiny " in lines[2]
    assert "ms, its start included" in lines[3]
    x = samples(CASES[NAME], 4)
    assert (codegen.load(out)(x) == ir.run(CASES[NAME], x)).all()


def test_c_for_any_machine(graph, tmp_path, capsys):
    out = tmp_path / "out"
    assert qsearch("compile", graph, "-t", "c", "-o", out, "--name", "tiny") == 0
    assert "build it with: cc -std=c11 -O2 -ffp-contract=off -c tiny.c" in capsys.readouterr().out and (out / "tiny.h").exists()
    np.savez(tmp_path / "d.npz", x=samples(CASES[NAME], 2).astype(float))
    assert qsearch("sim", out, "--data", tmp_path / "d.npz") == 1
    assert "C for any machine is built and run by the program that it goes into; check the graph with --target cpu" in capsys.readouterr().err


def test_a_core(graph, tmp_path, capsys):
    """A sequential core in place of streams, of a given shape and of the best one."""
    for core in ("4x2", "auto"):
        assert qsearch("compile", graph, "-t", "ecp5-25k", "-o", tmp_path / "core", "--core", core) == 0
        assert "cycles a frame; the microprogram is in program.txt" in capsys.readouterr().out
    assert (tmp_path / "core" / "program.txt").read_text().endswith("halt\n") and (tmp_path / "core" / "run.py").exists()


@pytest.mark.parametrize("args, says", [
    (("-t", "cpu", "--arch", "sm_90"), "--arch does not go with target cpu: it has --mcpu, --name, --tune"),
    (("-t", "cpu", "--core", "8x8"), "--core does not go with target cpu: it has --mcpu, --name, --tune"),
    (("-t", "fpga", "--core", "8y8"), "core '8y8': give LANESxROWS or LANESxROWSxRESULTS, such as 8x8 or 16x8x2; then :WORDS of weight memory"),
    (("-t", "onnx", "--mcpu", "x86-64"), "--mcpu does not go with target onnx: it has none of these options"),
    (("-t", "c", "--mcpu", "x86-64"), "--mcpu does not go with target c: it has --name"),
    (("-t", "aarch64", "--tune", "3"), "--tune does not go with target aarch64: it has --mcpu, --name"),
    (("-t", "cpu", "--tune", "-1"), "--tune -1: give how many forms of each kernel to time, or 0"),
    (("-t", "cpu", "--mcpu", "z80"), "LLVM knows no CPU 'z80' here"),
    (("-t", "cpu", "--name", "9lives"), "'9lives' cannot name a library"),
])
def test_messages(graph, tmp_path, args, says, capsys):
    assert qsearch("compile", graph, "-o", tmp_path / "out", *args) == 1
    assert says in capsys.readouterr().err


def test_values_do_not_depend_on_what_is_chosen():
    """Every form that a kernel may take computes the same."""
    from codegen.deploy.target import parse
    from codegen.tuning import offered

    g = CASES[NAME]
    x = samples(g, 3)
    for key, forms in offered(g, tvm.target.Target(parse("llvm").target)).items():
        for form in forms[:: max(1, len(forms) // 4)]:
            assert (codegen.tvm.build(g, tiles={key: form})(x) == ir.run(g, x)).all(), (key, form)


@pytest.mark.slow
def test_tuning_is_kept_in_a_file(tmp_path, monkeypatch):
    from codegen import timing, tuning
    monkeypatch.setattr(timing, "LIMIT_S", 0.05)
    monkeypatch.setattr(timing, "FEWEST", 8)
    monkeypatch.setattr(timing, "REST_S", 0)
    g = CASES[NAME]
    seen: list[str] = []
    found = tuning.tune(g, 2, tmp_path, lambda done, total, text: seen.append(text))
    assert found and seen[-1] == "" and np.array_equal(codegen.tvm.build(g, tiles=found)(samples(g, 2)), ir.run(g, samples(g, 2)))
    monkeypatch.setattr(tuning, "seconds", lambda *a: pytest.fail("timed again"))
    assert tuning.tune(g, 2, tmp_path) == found
