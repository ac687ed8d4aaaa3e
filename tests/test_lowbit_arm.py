"""Packed weights on a 64-bit Arm with dot products, in an emulator where there is one."""
import subprocess

import numpy as np
import pytest
from test_cpu_packed import inputs, layer

import codegen
from codegen import lowbit
from ir import run


@pytest.mark.slow
@pytest.mark.parametrize("name, lo, hi, shape", [("base3", -1, 1, ()), ("int2", -2, 1, (3,)), ("int4", -8, 7, ())])
@pytest.mark.parametrize("cpu", ["cortex-a76", "cortex-a53"])  # with and without dot products
def test_in_an_emulator(name, lo, hi, shape, cpu, arm, tmp_path, monkeypatch):
    monkeypatch.setattr(lowbit, "choose", lambda *_: name)
    g = layer(333, 111, shape, lo, hi, (-128, 127))
    x, target = inputs(g, 3), f"aarch64 -mcpu={cpu}"
    assert codegen.tvm.lowered(g, target).weights.nbytes < 333 * 111 * .8
    codegen.tvm.build(g, tmp_path, target)
    np.save(tmp_path / "x.npy", x)
    subprocess.run([arm, "-cpu", "max", "./model", "--threads", "2", "x.npy", "out.npy"], cwd=tmp_path, check=True)
    assert (np.load(tmp_path / "out.npy") == run(g, x)).all()
