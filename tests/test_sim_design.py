"""What is around a generated design: its folder, its own test, its mistakes, a deadlock."""
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sim_graphs
from hw import Fold, cycles, generate, legal, load
from hw.dataflow.fifo import depths
from hw.dataflow.netlist import words
from ir import Add, Conv, Dense, Graph, Input, Ints, Requant, Reshape, UserError, run
from ir.store import load_graph
from sim import environment, ship, simulate
from sim.traffic import Run, Stage, Traffic, stages, stuck

NAMES = ["dense_chain", "convs", "depthwise", "one_axis", "branches", "pools", "shapes", "resnet"]


@pytest.mark.parametrize("name", NAMES)
def test_lint(name, tmp_path):
    """Verilator -Wall has nothing to say of a generated design, whatever the folding, and nothing is waived."""
    g = getattr(sim_graphs, name)()
    for which in (0, -1):
        d = generate(g, tmp_path / "d", {n: legal(g, n)[which] for n in g.nodes if legal(g, n)})
        done = subprocess.run(["verilator", "--lint-only", "-Wall", "--top-module", "qs_top", *map(str, d.sources)], cwd=d.folder,
                              env=environment(), capture_output=True, text=True)
        assert done.returncode == 0 and "%" not in done.stdout + done.stderr, done.stderr
        assert not any("lint_off" in p.read_text() for p in d.sources)


def test_folder(tmp_path):
    """The manifest reads back, the graph is in the folder, the top only instantiates, and the order of the elements is told."""
    g = sim_graphs.depthwise()
    made = generate(g, tmp_path / "d", {"dw": (3, 1)})
    assert load(tmp_path / "d") == made
    assert str(load_graph(tmp_path / "d")) == str(g)
    top = (tmp_path / "d" / "qs_top.sv").read_text()
    assert "always" not in top and all(f"//   {line}" in top for line in str(g).splitlines())
    assert "s_axis: 3 elements a beat, 4 bits, signed, 50 beats a frame" in top
    assert "a frame is sent as 5x5x6 (axis 1, axis 2, axis 0, outermost first)" in top
    assert {p.name for p in (tmp_path / "d").glob("*.mem")} == set(re.findall(r'"(\w+\.mem)"', top))


def test_replaces_only_a_design(tmp_path):
    g = sim_graphs.dense_chain()
    generate(g, tmp_path / "d")
    generate(g, tmp_path / "d", {"d1": (2, 3)})
    assert load(tmp_path / "d").folding == {"d1": Fold(2, 3)}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"mine exists and is no generated design; name a new or empty folder$"):
        generate(g, tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_nothing_is_left_of_a_failure(tmp_path):
    def fail(*_):
        raise RuntimeError("no space")
    with pytest.raises(RuntimeError, match="no space"):
        generate(sim_graphs.dense_chain(), tmp_path / "d", extra=fail)
    assert list(tmp_path.iterdir()) == []


def test_wrong_folding(tmp_path):
    g = sim_graphs.dense_chain()
    choices = r"the nearest first: \(2, 4\), \(5, 4\), .*\(24\)"
    with pytest.raises(UserError, match=r"^folding \(3, 4\) of node 'd1' does not divide it; legal \(pe, simd\), " + choices + "$"):
        generate(g, tmp_path / "d", {"d1": (3, 4)})
    for fold, text in [((3,), r"folding \(3,\) of node 'd1': give pe, simd, weights, products, requant, all but the first two if need be"),
                       ((2, 3, "uram"), "folding of node 'd1': weights 'uram' is unknown; choose one of auto, lut, distributed, block"),
                       (Fold(2, 3, requant="threshold"),
                        "folding of node 'd1': requant 'threshold' is for Requant, this is a Dense; leave it 'auto'"),
                       (Fold(2, 3, products="pack"), "folding of node 'd1': products 'pack' is unknown; choose one of auto, lut, dsp, packed")]:
        with pytest.raises(UserError, match=f"^{text}$"):
            generate(g, tmp_path / "d", {"d1": fold})
    with pytest.raises(UserError, match=r"^the folding names d9, not in the graph \(it has x, d1, d1_q, d2, d2_q, d3\)$"):
        generate(g, tmp_path / "d", {"d9": (1, 1)})


def test_legal():
    g = Graph()
    g.add("x", Input(Ints((6, 4, 4), 0, 3)))
    g.add("c", Conv(np.ones((4, 3, 3, 3)), np.zeros(4), groups=2), "x")
    g.add("dw", Conv(np.ones((4, 1, 1, 1)), np.zeros(4), groups=4), "c")
    g.add("r", Requant([1], 0, 0, 0, 3), "dw")
    assert legal(g, "c") == [(p, s) for p in (1, 2) for s in (1, 3, 9, 27)]
    assert legal(g, "dw") == [(1, 1), (2, 1), (4, 1)]
    assert legal(g, "r") == legal(g, "x") == []


def test_cycles():
    """By hand: positions * turns * beats; a strided 1x1 convolution waits for its input; the rest at the pace of its beats."""
    g = sim_graphs.resnet()
    c = cycles(g, {"stem": (2, 3), "s1a": (8, 4), "fc": (1, 8)})
    assert c["stem"] == 64 * (4 // 2) * (27 // 3)
    assert c["stem_q"] == 64 * 4 // 2
    assert c["s1a"] == 16 * 9
    assert cycles(g, {"s1c": (8, 1)})["s1c"] == 64 * 4
    assert c["vector"] == 0 and c["fc"] == 4


def test_depths():
    """A 3x3 convolution lags a row and a pixel behind its shortcut; two more elements come while it computes the first of a pixel's two channels."""
    g = Graph()
    g.add("x", Input(Ints((2, 8, 10), 0, 3)))
    g.add("c", Conv(np.ones((2, 2, 3, 3)), np.zeros(2), padding=((1, 1), (1, 1))), "x")
    g.add("y", Add(), "x", "c")
    assert depths(g) == {("y", 0): (10 + 2) * 2 + 2, ("y", 1): 0}


def test_words():
    assert words([[1, -1], [0, 2]], 3) == "39\n10\n"


def test_stuck():
    """Named are the last stream whose beat nobody takes and the first that is waited for."""
    traffic = [Traffic("a", True, False, 4, 9, 0), Traffic("b", True, False, 3, 9, 0), Traffic("c", True, True, 3, 0, 0),
               Traffic("d", False, True, 2, 0, 9), Traffic("e", False, True, 1, 0, 9), Traffic("f", False, True, 0, 0, 9)]
    assert stuck(Run(1, 13, 99, False, traffic), 8, 1000) == "deadlock after 13 cycles and 1 of 8 output beats: " \
        "nobody takes beat 3 of b (nor on 1 more); nothing comes on d after 2 beats (nor on 2 more)"
    top = """
  qs_fork #(
    .NumOut(2)
  ) u_c_fork (
    .s_valid_i(c_valid),
    .m_valid_o({a_valid, d_valid})
  );
  qs_add u_sum (
    .a_valid_i(a_valid),
    .a_ready_o(a_ready),
    .b_valid_i(d_valid),
    .m_valid_o(e_valid)
  );"""
    assert stages(top) == [Stage("qs_fork", "u_c_fork", ["c"], ["a", "d"]), Stage("qs_add", "u_sum", ["a", "d"], ["e"])]
    assert stuck(Run(1, 13, 99, False, traffic), 8, 1000, top) == "deadlock after 13 cycles and 1 of 8 output beats: " \
        "qs_fork u_c_fork waits until beat 4 of a is taken; qs_add u_sum holds beat 4 of a and waits for beat 2 of d"
    assert stuck(Run(0, 990, 1000, False, []), 8, 1000) == \
        "no end after 1000 cycles and 0 of 8 output beats: nobody holds a beat; nobody waits for one"


@pytest.mark.slow
def test_deadlock(tmp_path):
    """A buffer that is too small stops the design; the message names the streams that stand still."""
    d = generate(sim_graphs.branches(), tmp_path / "d")
    top = tmp_path / "d" / "qs_top.sv"
    text = top.read_text()
    small = re.sub(r"(\.Depth\()\d+(\)\n  \) u_s_arg1_fifo)", r"\g<1>1\2", text)
    assert small != text
    top.write_text(small)
    x = np.ones((2, 4, 6, 6), int)
    where = r"qs_fork u_x_fork waits until beat \d+ of x_1 is taken; qs_add u_s holds beat 0 of s_arg1_queued and waits for beat 0 of s_arg0_queued"
    with pytest.raises(UserError, match=r"^deadlock after \d+ cycles and 0 of \d+ output beats: " + where):
        simulate(d, x)


@pytest.mark.slow
def test_ships_with_its_test(tmp_path):
    """One command in the folder builds the design and checks it; a wrong value is told, and where."""
    ship(sim_graphs.depthwise(), tmp_path / "d", {"dw": (2, 1)}, frames=3)
    env = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}  # below pytest the runner of cocotb does more
    done = subprocess.run([sys.executable, "run.py"], cwd=tmp_path / "d", capture_output=True, text=True, env=env)
    assert done.returncode == 0 and "3 frames, every value right in all of 6 runs" in done.stdout, done.stdout + done.stderr
    want = (tmp_path / "d" / "want.hex").read_text().split()
    last = want[-1][:-1] + f"{int(want[-1][-1], 16) ^ 1:x}"
    (tmp_path / "d" / "want.hex").write_text("\n".join([*want[:-1], last]) + "\n")
    done = subprocess.run([sys.executable, "run.py", "4"], cwd=tmp_path / "d", capture_output=True, text=True, env=env)
    wrong = f"1 of {len(want)} output beats are wrong; the first is beat {len(want) - 1}: {want[-1][1:]}, not {last[1:]}"
    assert done.returncode != 0 and wrong in done.stdout + done.stderr and "Failed 3 of 3 tests" in done.stderr


@pytest.mark.slow
def test_two_inputs_and_a_value_nobody_reads(tmp_path):
    g = Graph()
    g.add("a", Input(Ints((3,), -4, 3)))
    g.add("b.c", Input(Ints((3,), 0, 9)))
    g.add("idle", Dense(np.ones((2, 3)), np.zeros(2)), "a")
    g.add("y", Add(), "a", "b.c")
    x = {"a": np.arange(-4, 2).reshape(2, 3), "b.c": np.arange(6).reshape(2, 3)}
    r = simulate(g, x, stalls=4)
    assert np.array_equal(r.outputs, run(g, x)) and r.cycles_total > 0
    with pytest.raises(UserError, match=r"^nothing to simulate: the inputs hold no frame$"):
        simulate(g, {k: v[:0] for k, v in x.items()})


def test_no_axes(tmp_path):
    g = Graph()
    g.add("x", Input(Ints((1,), 0, 1)))
    g.add("y", Reshape(()), "x")
    with pytest.raises(UserError, match=r"^node 'y' is a number without axes and has no stream; reshape it to \(1,\)$"):
        generate(g, tmp_path / "d")


@pytest.mark.slow
def test_files_of_a_relative_folder(tmp_path, monkeypatch):
    """Verilator works in a folder of its own and finds them all the same."""
    from sim.build import build
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "qs_wire.sv").write_text(f"// {tmp_path}: never built before\nmodule qs_wire (input logic a, output logic b);\n"
                                                 "  assign b = a;\nendmodule\n")
    monkeypatch.chdir(tmp_path)
    bench = "module qs_bench;\n  logic a /*verilator public_flat_rw*/, b /*verilator public_flat_rw*/;\n  qs_wire w (.a(a), .b(b));\nendmodule\n"
    assert build(bench, [Path("rtl/qs_wire.sv")]).exists()
