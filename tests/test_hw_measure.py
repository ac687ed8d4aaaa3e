"""Costs of layers synthesized alone, and their sum beside a whole design."""
import sys

import pytest

import hw
from hw.dataflow.build import build
from hw.dataflow.emit import core
from hw.design import library
from ir import Dense, Layer, Option, Requant, Reshape, UserError
from ir.example import example
from qsearch.backends import target
from qsearch.hardware import measured_costs

CONV = Layer("conv", "conv", 8, 4, 1, (3, 3), (1, 1), (8, 8), (8, 8))
DENSE = Layer("fc", "linear", 6, 512)
LAYERS = {"conv": CONV, "fc": DENSE}
OPTIONS = ["int8/uint8", "ternary/uint8"]
GOAL = 4608
MODULE = sys.modules["hw.cost.measure"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory): return tmp_path_factory.mktemp("synthesis")


@pytest.fixture(scope="module")
def tables(kept): return hw.measure(LAYERS, dict.fromkeys(LAYERS, OPTIONS), "ecp5-25k", GOAL, cache=kept)


@pytest.mark.slow
def test_cells_are_measured_and_near_the_fit(tables):
    fitted = hw.layer_costs(LAYERS, OPTIONS, "ecp5-25k", GOAL)
    assert tables.keys() == fitted.keys() and tables["cycles"].rows == fitted["cycles"].rows
    assert tables["lut"].about["measured"] == dict.fromkeys(LAYERS, OPTIONS) and tables["lut"].about["fitted"] == fitted["lut"].rows
    for k in LAYERS:
        int8, ternary = (tables["lut"].rows[k][o] for o in OPTIONS)
        assert 0 < ternary < int8
        for o in OPTIONS:
            assert tables["lut"].rows[k][o] == pytest.approx(fitted["lut"].rows[k][o], rel=.3)
            assert all(tables[r].rows[k][o] == fitted[r].rows[k][o] for r in ("dsp", "bram"))


@pytest.mark.slow
def test_a_second_call_synthesizes_nothing(tables, kept, monkeypatch):
    monkeypatch.setattr(MODULE, "synthesize", lambda *a: pytest.fail("synthesized again"))
    assert hw.measure(LAYERS, dict.fromkeys(LAYERS, OPTIONS), "ecp5-25k", GOAL, cache=kept) == tables


@pytest.mark.slow
def test_the_sum_is_the_design_but_for_what_lies_between(tables, kept):
    """Multipliers and block RAMs exactly; LUTs and flip-flops of the AXI-Streams and lane converters come on top."""
    g = example(CONV, Option.parse("int8/uint8"))
    fc = example(DENSE, Option.parse("ternary/uint8"))
    g.add("flat", Reshape((512,)), "y")
    g.add("fc", Dense(fc.nodes["layer"].op.weight, fc.nodes["layer"].op.bias), "flat")
    r = fc.output.op
    g.add("out", Requant(r.mul, r.shift, r.zero, r.lo, r.hi, -1), "fc")
    plan = {"conv": "int8/uint8", "fc": "ternary/uint8"}
    alone = tables["lut"].about["folding"]
    folding = {"layer": tuple(alone["conv"][plan["conv"]]), "fc": tuple(alone["fc"][plan["fc"]])}
    found = hw.additive_error(tables, g, plan, folding, "ecp5-25k", kept)
    assert found["dsp"]["relative"] == found["bram"]["relative"] == 0 and found["dsp"]["measured"] > 0
    assert abs(found["lut"]["relative"]) < .15 and abs(found["ff"]["relative"]) < .15


@pytest.mark.slow
def test_a_limit_takes_the_largest_first_and_equal_designs_are_one(tmp_path):
    twin = Layer("twin", *[getattr(CONV, f) for f in list(vars(CONV))[1:]])
    layers, menus = {"fc": DENSE, "conv": CONV, "twin": twin}, {"fc": ["ternary/uint8"], "conv": ["ternary/uint8"], "twin": ["ternary/uint8"]}
    found = hw.measure(layers, menus, "ecp5-25k", GOAL, limit=1, cache=tmp_path)
    assert found["lut"].about["measured"] == {"conv": ["ternary/uint8"], "twin": ["ternary/uint8"]}
    assert found["lut"].rows["conv"] == found["lut"].rows["twin"]
    assert len(list(tmp_path.iterdir())) == 1


def test_without_runs_the_tables_are_the_fitted_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(MODULE, "synthesize", lambda *a: pytest.fail("nothing was to be synthesized"))
    fitted = hw.layer_costs(LAYERS, OPTIONS, "ecp5-25k", GOAL)
    for more in ({"limit": 0}, {"max_lut": 1}, {"limit": 0, "fitted": fitted}):
        found = hw.measure(LAYERS, dict.fromkeys(LAYERS, OPTIONS), "ecp5-25k", GOAL, cache=tmp_path, **more)
        assert {r: t.rows for r, t in found.items()} == {r: t.rows for r, t in fitted.items()} and found["lut"].about["measured"] == {}
    assert "measured" not in fitted["lut"].about


def test_a_lone_core_is_clean_for_verilator(tmp_path):
    from sim.build import lint
    for layer in LAYERS.values():
        net = build(example(layer, Option.parse("int4/uint8")), {"layer": (2, 4)})
        (tmp_path / "lone.sv").write_text(text := core(net, "lone"))
        assert lint([*library(text), tmp_path / "lone.sv"], "lone") == ""
        assert "axis" not in text and text.count("_valid") > 4


@pytest.mark.parametrize("options, message", [
    ({"fc": ["int4/int8d"]}, "layer 'fc': none of its options can run on an FPGA; int4/int8d: the scale of each token is part of no layer alone; "
                             "measure the whole network; offer one such as int8/uint8"),
    ({"head": OPTIONS}, "no layer 'head' in the model (it has conv, fc)")])
def test_messages(tmp_path, options, message):
    with pytest.raises(UserError) as e:
        hw.measure(LAYERS, options, "ecp5-25k", GOAL, cache=tmp_path)
    assert str(e.value) == message


def test_a_broken_tool_is_told_and_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("hw.synth.yosys.command", lambda tool: [sys.executable, "-c", "raise SystemExit('ERROR: no licence')"])
    with pytest.raises(UserError, match=r"^synthesis of qs_alone failed: ERROR: no licence$"):
        hw.measure({"fc": DENSE}, {"fc": ["ternary/uint8"]}, "ecp5-25k", GOAL, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def small() -> tuple:
    """A small residual net, untrained, and its ranges."""
    import torch

    import quant
    from tests.small import SmallNet
    torch.manual_seed(0)
    x = torch.rand(16, 1, 8, 8)
    net = quant.load_model(SmallNet().eval(), example=x[:2])
    return net, quant.calibrate(net, x)


def test_costs_of_a_net_start_from_the_fit(tmp_path):
    net, calibration = small()
    tables = measured_costs(net, [target("ecp5-25k")], dict.fromkeys(net.layers, OPTIONS), calibration, 5000, tmp_path, limit=0)
    assert list(tables) == ["lut", "ff", "dsp", "bram", "cycles"] and tables["lut"].fixed > 0
    assert all(t.about["model"] == net.hash and t.about["yosys"] for t in tables.values())


@pytest.mark.slow
def test_a_checked_net_is_the_sum_of_its_layers_and_what_is_fixed(tmp_path):
    """One option only, so the plan that `fixed` was fitted to is the one that is checked, and one design is synthesized for both."""
    net, calibration = small()
    tables = measured_costs(net, [target("ecp5-25k")], dict.fromkeys(net.layers, ["ternary/uint8"]), calibration, 5000, tmp_path, check=True)
    assert len(list(tmp_path.iterdir())) == len(net.layers) + 1
    for r in ("lut", "ff", "dsp", "bram"):
        found = tables[r].about["additive_error"]
        assert found["relative"] == 0 and found["measured"] == sum(row["ternary/uint8"] for row in tables[r].rows.values()) + tables[r].fixed
    assert tables["lut"].fixed > 100 and tables["lut"].about["measured"].keys() == set(net.layers)
