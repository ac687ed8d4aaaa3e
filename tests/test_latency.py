"""Latency of layers on this machine: measured once, kept, resumed, and added up against the whole."""
import time

import pytest

from codegen import latency, timing
from ir import Layer, Option, UserError, run
from ir.example import example, refusal
from ir.kept import Kept, cache_folder

CONV = Layer("conv", "conv", 32, 16, 1, (3, 3), (1, 1), (16, 16), (16, 16))
TINY = Layer("tiny", "conv", 4, 4, 1, (3, 3), (2, 2), (8, 8), (4, 4))
DEPTHWISE = Layer("dw", "conv", 16, 16, 16, (3, 3), (1, 1), (8, 8), (8, 8))
TOKENS = Layer("tokens", "linear", 32, 16, in_space=(9,), out_space=(9,))
LAYERS = {v.name: v for v in (CONV, TINY, DEPTHWISE, TOKENS)}
OPTION = "int4/uint8"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A rough number will do here."""
    monkeypatch.setattr(timing, "LIMIT_S", 0.1)
    monkeypatch.setattr(timing, "FEWEST", 20)
    monkeypatch.setattr(timing, "REST_S", 0)


def table(names, options, cache, target="cpu", **more):
    return latency.latency_table(LAYERS, {n: options for n in names}, target, cache, **more)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpu", "onnx"])
def test_every_kind_of_layer_takes_time_and_a_larger_one_more(tmp_path, target):
    t = table(LAYERS, ["int8/uint8", OPTION], tmp_path, target)
    assert t.kind == "cost" and t.unit == "us" and t.name == {"cpu": "latency_us", "onnx": "latency_onnx_us"}[target]
    assert all(v >= 0 for row in t.rows.values() for v in row.values())  # the tiny one may take no longer than a call of nothing
    assert CONV.macs > 100 * TINY.macs and t.rows["conv"][OPTION] > 5 * t.rows["tiny"][OPTION]
    assert {"cpu", "isa", "versions", "threads", "clock", "batch", "empty_call_us"} <= t.about.keys()
    assert t.about["spread"].keys() == t.about["median_us"].keys() == t.about["calls"].keys() == LAYERS.keys() and t.about["empty_call_us"] > 0


def test_a_second_call_compiles_nothing(tmp_path, monkeypatch):
    first = table(["tiny", "tokens"], [OPTION], tmp_path)
    monkeypatch.setattr(timing.Tvm, "calls", lambda *a: pytest.fail("compiled again"))
    monkeypatch.setattr(timing.Tvm, "program", lambda *a: pytest.fail("lowered again"))
    start = time.perf_counter()
    assert table(["tiny", "tokens"], [OPTION], tmp_path) == first
    assert time.perf_counter() - start < 1


def test_a_stopped_sweep_goes_on_where_it_was(tmp_path, monkeypatch):
    def stop(done, total, text):
        if done == 1:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        table(["tiny", "tokens"], [OPTION], tmp_path, progress=stop)
    timed, calls = [], timing.Tvm.calls
    monkeypatch.setattr(timing.Tvm, "calls", lambda self, g, **how: timed.append(g.inputs[0].type.shape) or calls(self, g, **how))
    assert table(["tiny", "tokens"], [OPTION], tmp_path).rows.keys() == {"tiny", "tokens"}
    assert timed == [(9, 16), (32, 16, 16)]  # the layer that was not reached, and the reference


def test_equal_programs_are_measured_once(tmp_path, monkeypatch):
    """Layers of one shape, and weight formats that change no instruction: noise cannot choose among them."""
    timed, calls = [], timing.Tvm.calls
    monkeypatch.setattr(timing.Tvm, "calls", lambda self, g, **how: timed.append(g) or calls(self, g, **how))
    twin = Layer("twin", *[getattr(CONV, f) for f in list(vars(CONV))[1:]])
    t = latency.latency_table({"conv": CONV, "twin": twin}, {"conv": ["int5/uint8", "int6/uint8"], "twin": ["int6/uint8"]}, cache=tmp_path)
    assert len(timed) == 3  # the empty call, the reference, and one program
    assert t.rows["conv"]["int5/uint8"] == t.rows["conv"]["int6/uint8"] == t.rows["twin"]["int6/uint8"]


def test_what_is_measured_is_the_option(tmp_path):
    """Formats that need other words or sums are other programs."""
    clock = timing.Tvm()
    keys = {o: clock.program(example(CONV, Option.parse(o), 15)) for o in ("int4/uint8", "int4/int8", "int4/uint4", "int4/uint16", "int16/uint16")}
    assert len(set(keys.values())) == len(keys)
    g = example(CONV, Option.parse("ternary/uint4"), 15)
    assert set(g.nodes["layer"].op.weight.ravel().tolist()) == {-1, 0, 1} and (g.output.type.lo, g.output.type.hi) == (0, 15)


@pytest.mark.parametrize("target", ["cpu", "onnx"])
def test_the_sum_is_checked_against_the_whole(tmp_path, target):
    g = example(CONV, Option.parse(OPTION), 15)  # a net of one layer: the call is fixed, and the copies into its layout and out of it
    options = {"conv": OPTION}
    t = table(["conv"], [OPTION], tmp_path, target)
    left = latency.fit_fixed(t, g, options, target, tmp_path)
    found = latency.additive_error(t, g, options, target, tmp_path)
    assert found["relative"] == pytest.approx(left) and abs(left) < .5 and t.fixed >= 0
    assert found["predicted"] == pytest.approx(t.rows["conv"][OPTION] + t.fixed) and found["measured"] > 0


def test_options_that_cannot_run_are_left_out(tmp_path):
    t = table(["tiny"], ["int4/int8d", "-/uint8", "uint4/uint8", "int4/e2m1", "int4t/uint8", OPTION], tmp_path)
    assert list(t.rows["tiny"]) == ["int4t/uint8", OPTION]


@pytest.mark.parametrize("names, options, target, message", [
    (["tiny"], ["int4/int8d"], "cpu", "layer 'tiny': none of its options can run on cpu; int4/int8d: the scale of each token is part of no layer "
                                      "alone; measure the whole network; offer one such as int8/uint8"),
    (["tiny"], [], "cpu", "layer 'tiny': none of its options can run on cpu; (none): no option was offered; offer one such as int8/uint8"),
    (["tiny"], [OPTION], "gpu", "latency is not measured on 'gpu'; give one of cpu, onnx"),
    (["head"], [OPTION], "cpu", "no layer 'head' in the model (it has conv, tiny, dw, tokens)")])
def test_messages(tmp_path, names, options, target, message):
    with pytest.raises(UserError) as e:
        table(names, options, tmp_path, target)
    assert str(e.value) == message


def test_refusals_are_those_of_the_quantizer():
    """What is left out here is what quantize would refuse, and nothing else."""
    from quant.layout import check_option
    for text in ("int4g64/uint8", "uint4/uint8", "int4/e2m1", "int4/pot4", "int4/uint8", "ternary/int8", "e2m1/uint4", "int8t/int16"):
        try:
            check_option("x", Option.parse(text))
        except UserError:
            assert refusal(Option.parse(text)), text
        else:
            assert not refusal(Option.parse(text)), text


def test_example_is_the_layer():
    for layer in LAYERS.values():
        g = example(layer, Option.parse("e2m1/int8"))
        assert g.nodes["layer"].op.weight.size == layer.weights
        assert g.output.type.size == layer.out_channels * layer.positions
        assert set(g.nodes["layer"].op.weight.ravel().tolist()) <= {0, *(s * m for s in (-1, 1) for m in (1, 2, 3, 4, 6, 8, 12))}
        assert run(g, timing.one_sample(g)["x"]).std() > 0


def test_steady_knows_work():
    def busy(k): return lambda n: sum(i for _ in range(n) for i in range(k))
    short, long = timing.steady(busy(200)), timing.steady(busy(4000))
    assert 8 < long.us / short.us < 50 and short.calls > long.calls
    assert timing.stands([1.0, 3.0] * 40) and not timing.stands([1.0] * 40 + [1.1] * 40)
    assert short.us <= short.median_us and timing.fastest([1.0] * 20 + [5.0] * 80) == 1


def test_times_are_told_at_one_speed():
    """A machine half as fast takes twice as long for the reference too."""
    assert timing.Timing(30.0, 33.0, .1, 100, 4.0).at(2.0) == timing.Timing(15.0, 16.5, .1, 100, 2.0)


def test_kept_results(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEARCH_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    kept = Kept("number")
    assert kept.folder == tmp_path / "own" / "number" and kept.get("a", 1) is None
    assert kept.put({"us": 2.5}, "a", 1) == {"us": 2.5} == Kept("number").get("a", 1)
    assert kept.get("a", 2) is None
    next(kept.folder.iterdir()).write_text("{")
    assert kept.get("a", 1) is None
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*; choose a folder that can be written$"):
        Kept("number", tmp_path / "file").put({}, "a")


@pytest.mark.slow
def test_costs_of_a_net_tell_their_error(tmp_path):
    import torch

    import quant
    from qsearch.backends import target
    from qsearch.hardware import measured_costs
    from tests.small import SmallNet
    torch.manual_seed(0)
    x = torch.rand(16, 1, 8, 8)
    net = quant.load_model(SmallNet().eval(), example=x[:2])
    calibration = quant.calibrate(net, x)
    menus = dict.fromkeys(net.layers, ["int8/uint8", "int4/uint4"])
    tables = measured_costs(net, [target("cpu"), target("onnx")], menus, calibration, cache=tmp_path)
    assert list(tables) == ["latency_us", "latency_onnx_us"]
    for t in tables.values():
        error = t.about["additive_error"]
        assert t.about["model"] == net.hash and t.rows.keys() == set(net.layers) and t.fixed >= 0
        assert set(error["fitted to"].values()) == {"int8/uint8"} and len(set(error["checked on"].values())) == 2
        assert abs(error["relative"]) < .6 and error["measured"] > 0
    tables["latency_us"].save(tmp_path / "latency_us.table.json")
    assert type(t).load(tmp_path / "latency_us.table.json") == tables["latency_us"]
