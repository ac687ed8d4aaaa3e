"""Deployables for a 64-bit Arm, run in an emulator where there is one."""
import numpy as np
import pytest
from deploy_programs import MANIFEST, expected, object_code, weights
from test_deploy import FILES, ran, samples, says

from codegen import deploy
from codegen.deploy.elf import Object
from codegen.deploy.target import parse
from codegen.deploy.toolchain import HOST
from ir.store import load_json

ARM = parse("aarch64")


def test_code_is_for_the_machine():
    assert Object(object_code(ARM)).machine == "aarch64"


def test_messages_of_compilers(tmp_path, monkeypatch):
    if HOST == "aarch64":
        pytest.skip("this machine is one itself")
    monkeypatch.setenv("CC_AARCH64", "no-such-compiler -x")
    with says(r"^no C compiler to link for aarch64 with \(looked for no-such-compiler -x\); pip install ziglang, or name one in the environment "
              "variable CC_AARCH64$"):
        deploy.link(b"", b"", MANIFEST, tmp_path / "out", ARM)
    monkeypatch.setenv("CC_AARCH64", "cc")
    with says("^cc could not make the graph's code without debug information: .*; is a whole C toolchain for this target installed"):
        deploy.link(object_code(ARM), weights().tobytes(), MANIFEST, tmp_path / "out", ARM)
    with says("^object code for aarch64, to be linked for x86_64; compile it for that target$"):
        deploy.link(object_code(ARM), b"", MANIFEST, tmp_path / "out", parse("x86_64"))
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_program_in_an_emulator(arm_compiler, tmp_path, request):
    deploy.link(object_code(ARM), weights().tobytes(), MANIFEST, tmp_path, ARM, "dense")
    assert {p.name for p in tmp_path.iterdir()} == set(FILES) and load_json(tmp_path / "manifest.json", "compiled model")["machine"] == "aarch64"
    with says("libdense.so: built for aarch64 Linux .aarch64., this machine is x86_64 linux; build it for this machine$"):
        deploy.load(tmp_path)
    arm = request.getfixturevalue("arm")
    np.save(tmp_path / "x.npy", samples(9))
    for threads in (1, 3):
        assert ran(arm, "-cpu", "max", tmp_path / "dense", "--threads", threads, tmp_path / "x.npy", tmp_path / "y.npy") == (0, "")
        assert (np.load(tmp_path / "y.npy") == expected(weights(), samples(9))).all()
    old = ran(arm, "-cpu", "cortex-a53", tmp_path / "dense", tmp_path / "x.npy", tmp_path / "y.npy")
    assert old == (1, "built for aarch64: this CPU, or its system, lacks lse; compile the graph for this machine\n")
