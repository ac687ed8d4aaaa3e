"""`qsearch sim` as a user types it: what it says of a design that is right, of one that is not, and of a mistake."""
import functools

import numpy as np
import pytest

import sim_graphs
from hw import generate
from ir import run
from ir.store import load_graph, save_json


@pytest.fixture
def sim(typed):
    """Runs `qsearch sim ARGS`."""
    return functools.partial(typed, "sim")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return generate(sim_graphs.fixed(sim_graphs.dense_chain), tmp_path_factory.mktemp("sim") / "d", {"d1": (5, 4)}).folder


@pytest.mark.slow
def test_a_right_design(sim, chain, tmp_path):
    code, out, err = sim(chain, "--frames", 5, "--layers", "--clock", 50)
    assert code == 0, err
    assert "5 frames: all 20 values right\n0 of 6 layers differ\n" in out
    assert "cycles from frame to frame" in out and "+0.00 %" in out and f"{50e6 / 60:,.0f}" in out
    assert "waits for reader" in out and out.index("d2 ") < out.index("d1 ")
    code, out, err = sim(chain, "--frames", 5, "--reset", "--stalls", 0.4, "--seed", 3)
    assert code == 0 and "played anew after a reset at cycle" in out and "all 20 values right" in out, err
    np.savez(tmp_path / "d.npz", x=np.arange(-8, 4, dtype=np.float32)[None].repeat(4, 0))
    code, out, err = sim(chain, "-d", tmp_path / "d.npz", "--waves", tmp_path / "w.vcd")
    assert code == 0 and (tmp_path / "w.vcd").exists() and "right" in out, err


@pytest.mark.slow
def test_a_wrong_design(sim, tmp_path):
    """The layer, the channel, the frame, both values, and how many."""
    folder = generate(sim_graphs.fixed(sim_graphs.dense_chain), tmp_path / "d", {"d1": (5, 4)}).folder
    g = load_graph(folder)
    bias = folder / "d3_bias.mem"
    words = bias.read_text().split("\n")
    digits = len(words[2])
    value = int(words[2], 16)
    words[2] = f"{value ^ 1:0{digits}x}"
    bias.write_text("\n".join(words))
    from sim import example
    want = int(run(g, example(g, 3))[0, 2])
    got = want + (1 if not value & 1 else -1)
    told = f"d3: channel 2: {got} instead of {want} (frame 0; 3 of 12 values differ)"
    code, out, err = sim(folder)
    end = "; this is a defect, please report it with the folder\n"
    assert code == 1 and f"3 frames: {told}\n" in out
    assert err.endswith(f"error: {folder}: {told}; --layers tells in which layer it begins{end}")
    code, out, err = sim(folder, "--layers")
    assert code == 1 and f"layer {told}\n1 of 6 layers differ\n" in out
    assert err.endswith(f"error: {folder}: {told}; the first wrong layer is {told}{end}")


def test_mistakes(sim, chain, tmp_path):
    def fails(*args) -> str:
        code, _, err = sim(*args)
        assert code == 1
        return err.splitlines()[-1]
    assert fails(tmp_path / "no") == f"error: {tmp_path / 'no'}: no such folder; name what `qsearch compile` wrote"
    assert fails(tmp_path) == f"error: {tmp_path}: holds no build; name what `qsearch compile` wrote"
    assert fails(chain / "qs_top.sv") == f"error: {chain / 'qs_top.sv'}: no folder; name what `qsearch compile` wrote"
    assert fails(chain, "--samples", 0) == "error: --samples 0: give at least one"
    assert fails(chain, "--stalls", 1.5) == "error: stalls in a part of 1.5 of the cycles: give a number between 0 and 1"
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 3), np.float32))
    assert fails(chain, "-d", tmp_path / "d.npz") == "error: the design takes samples of shape (12,), the data has (3,)"
    np.savez(tmp_path / "d.npz", x=np.full((4, 12), 0.5, np.float32))
    whole = "error: the design's graph has no scale for its input, so it takes integers; the data holds others"
    assert fails(chain, "-d", tmp_path / "d.npz") == whole
    np.savez(tmp_path / "d.npz", x=np.full((4, 12), 9, np.float32))
    assert fails(chain, "-d", tmp_path / "d.npz") == "error: input 'x' takes integers in [-8, 7], got [9, 9]"
    (tmp_path / "onnx").mkdir()
    save_json(tmp_path / "onnx" / "build.json", "build", {"target": "onnx", "graph": ""})
    assert fails(tmp_path / "onnx", "--waves", "w.vcd") == f"error: --waves is for SystemVerilog designs; {tmp_path / 'onnx'} holds none"
    assert fails(tmp_path / "onnx") == f"error: {tmp_path / 'onnx'} is run on samples; give --data"


@pytest.mark.parametrize("program", ["g++", "make", "perl"])
def test_missing_programs(sim, chain, program, monkeypatch):
    import shutil
    which = shutil.which
    monkeypatch.setattr("shutil.which", lambda name, **k: None if name == program else which(name, **k))
    code, _, err = sim(chain)
    assert code == 1 and err.endswith(f"error: {program} is not on the PATH, and Verilator needs it; get it with: apt install {program}\n")
