"""What stands around every design: the peripheral with its registers, played in Verilator; constraints, lists, pages."""
import ast
import json
import os
import re

import numpy as np
import pytest

import hw
from hw.shell.constraints import constraints
from hw.shell.system import pins
from ir import Conv, Dense, Graph, Input, Ints, Requant, Reshape, run
from ir.store import graph_hash
from sim.build import build, execute, lint
from sim.frames import pack

ID = 0x51534152
CONTROL, STATUS, CYCLES, HIGH, FRAMES_IN, FRAMES_OUT, LATENCY, INTERVAL, IN_WAITED, OUT_WAITED = range(0x08, 0x30, 4)


def net() -> Graph:
    r = np.random.default_rng(3)
    g = Graph()
    g.add("image", Input(Ints((1, 6, 6), 0, 255)))
    g.add("conv", Conv(r.integers(-8, 8, (4, 1, 3, 3)), r.integers(-99, 99, 4), stride=(2, 2)), "image")
    g.add("relu", Requant(r.integers(16, 32, 4), 11, 0, 0, 255), "conv")
    g.add("flat", Reshape((16,)), "relu")
    g.add("scores", Dense(r.integers(-1, 2, (3, 16)), np.zeros(3, int)), "flat")
    return g


def designs(folder):
    g = net()
    yield hw.generate(g, folder / "dataflow")
    yield hw.core_design(g, folder / "core", lanes=4, pe=4)
    yield hw.unroll_design(g, folder / "unrolled")


@pytest.fixture(scope="module")
def made(tmp_path_factory): return {d.kind: d for d in designs(tmp_path_factory.mktemp("designs"))}


@pytest.mark.parametrize("kind", ["dataflow", "core", "unrolled"])
def test_every_design_is_a_peripheral_too(made, kind):
    d = made[kind]
    listed = (d.folder / "system" / "files.f").read_text().split()
    assert sorted(d.folder / p for p in listed) == sorted([*d.sources, *(d.folder / "system").glob("*.sv")])
    assert lint([d.folder / p for p in listed], "qs_system") == ""
    text = (d.folder / "system" / "qs_system.sv").read_text()
    assert f"32'h{graph_hash(net())[:8]}" in text
    page = (d.folder / "README.md").read_text()
    assert f"One frame takes {d.interval:,} cycles" in page and str(net()) in page
    assert "| `m_axis` | scores |" in page


@pytest.mark.parametrize("kind", ["dataflow", "core", "unrolled"])
def test_the_litex_module_connects_every_pin(made, kind):
    d = made[kind]
    text = (d.folder / "system" / "litex_qsearch.py").read_text()
    call = next(n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Instance")
    assert call.args[0].value == "qs_system"
    assert {k.arg for k in call.keywords} == {"i_clk_i", "i_rst_ni"} | {f"{way}_{n}" for n, way, _ in pins(d)}


def test_constraints():
    assert constraints(62.5) == {"clock.lpf": 'FREQUENCY PORT "clk_i" 62.5 MHZ;\n', "clock.pcf": "set_frequency clk_i 62.5\n",
                                 "clock.xdc": "create_clock -name clk_i -period 16.000 [get_ports clk_i]\n"}


@pytest.fixture(scope="module")
def player(made, tmp_path_factory):
    """Steps -> what came of each, in Verilator; one build for all."""
    d = made["dataflow"]
    wires = [f"  {'input ' if way == 'i' else 'output'} logic [{bits - 1}:0] {n} /*verilator public_flat_rw*/" for n, way, bits in pins(d)]
    ports = ["  input  logic clk_i /*verilator public_flat_rw*/", "  input  logic rst_ni /*verilator public_flat_rw*/", *wires]
    args = ", ".join("." + re.search(r"(\w+) /", p)[1] for p in ports)
    bench = "module qs_bench (\n" + ",\n".join(ports) + f"\n);\n  qs_system u_system ({args});\nendmodule\n"
    binary = build(bench, [d.folder / p for p in (d.folder / "system" / "files.f").read_text().split()])

    def play(*steps):
        work = tmp_path_factory.mktemp("play")
        for mem in d.folder.glob("*.mem"):
            os.symlink(mem, work / mem.name)
        (work / "job.json").write_text(json.dumps({"steps": steps}))
        execute(binary, work, 5, "tests.axil_bus")
        return json.loads((work / "result.json").read_text())
    return play


def frame(d, x):
    """The beats of one frame and their TLAST."""
    lines = pack(d.inputs[0], x[None]).split()
    return [int(line[1:], 16) for line in lines], [int(line[:1]) for line in lines]


def codes(y):
    """Outputs as they stand in TDATA: one a beat here."""
    return [v & (1 << net().output.type.bits) - 1 for v in y.ravel().tolist()]


@pytest.mark.slow
def test_registers(made, player):
    d, g = made["dataflow"], net()
    x = np.random.default_rng(1).integers(0, 256, (4, 1, 6, 6))
    frames = [frame(d, v) for v in x]
    said = player(
        ["read", 0x00], ["read", 0x04], ["wait", 10], ["read", STATUS],
        ["frames", [frames[0]], 1], ["read", FRAMES_IN], ["read", FRAMES_OUT], ["read", LATENCY], ["read", STATUS],
        ["frames", frames[1:], 3], ["read", FRAMES_OUT], ["read", INTERVAL], ["read", CYCLES], ["read", HIGH],
        ["read", 0x30], ["write", 0x0c, 1], ["write", CONTROL, 4, 15, True], ["read", FRAMES_OUT], ["read", IN_WAITED])
    assert said[0] == [ID, 0] and said[1] == [int(graph_hash(g)[:8], 16), 0] and said[3] == [0, 0]
    assert said[4] == codes(run(g, x[:1]))
    assert said[5:7] == [[1, 0], [1, 0]] and said[8] == [0, 0]
    assert len(frames[0][0]) < said[7][0] < 3 * d.interval
    assert said[9] == codes(run(g, x[1:]))
    assert said[10] == [4, 0] and said[11] == [d.interval, 0]
    assert said[12][0] > 4 * d.interval and said[13] == [0, 0]
    assert said[14] == [0, 2] and said[15] == 2  # no such register; not one to write
    assert said[16] == 0 and said[17] == [0, 0] and said[18] == [0, 0]


@pytest.mark.slow
def test_errors_resets_and_waiting(made, player):
    d, g = made["dataflow"], net()
    x = np.random.default_rng(2).integers(0, 256, (2, 1, 6, 6))
    beats, last = frame(d, x[0])
    short = [beats[:9], [0] * 8 + [1]]
    said = player(
        ["frames", [short], 1], ["read", STATUS], ["frames", [[beats, last]], 1], ["write", CONTROL, 1, 0], ["read", STATUS],
        ["write", CONTROL, 1], ["read", STATUS],
        ["send", beats[:20], [0] * 20], ["read", STATUS], ["write", CONTROL, 2], ["wait", 12], ["read", STATUS], ["frames", [[beats, last]], 1],
        ["ready", 0], ["send", beats, last], ["wait", 4 * d.interval], ["read", STATUS], ["read", OUT_WAITED], ["ready", 1], ["receive", 1])
    good = codes(run(g, x[:1]))
    assert said[1] == [1, 0]                          # told until it is cleared
    assert said[2] == good        # and the next frame is whole
    assert said[4] == [1, 0]                          # a byte without its strobe is not written
    assert said[6] == [0, 0]
    assert said[8] == [2, 0] and said[11] == [0, 0]   # reset in the middle of a frame
    assert said[12] == good
    assert said[16] == [2, 0] and said[17][0] > d.interval
    assert said[19] == good


