"""What the CPU benchmarks build on: peers compute the same net, ratios are of the right pair, blocks of calls are counted right."""
import numpy as np
import pytest
import torch
from quant_nets import images, residual
from torch import nn

from benchmarks import cpu_builds, cpu_graphs, cpu_layers, cpu_nets, cpu_peak, cpu_profile, cpu_turns
from benchmarks.cpu_ours import ours, samples
from benchmarks.cpu_torch import module, static
from ir import Option, Plan, UserError, run
from ir.example import example
from quant import calibrate, capture, quantize

pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own: they tell what will move or go
CLOSE = 0.2  # of the float outputs' norm, for a peer's int8


@pytest.fixture(scope="module")
def case():
    """(float net, its samples, its integer graph)."""
    net = residual()
    x = images(net)
    return net, x, quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, x)).lower()


@torch.no_grad()
def test_torch_computes_the_captured_net(case):
    net, x, _ = case
    assert torch.allclose(module(net)(x), net(x), atol=1e-5)
    assert (static(net, x)(x) - net(x)).norm() < CLOSE * net(x).norm()


def test_onnx_runtimes_forms_compute_the_net(case, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from benchmarks import cpu_onnx
    net, x, g = case
    source = tmp_path / "net.onnx"
    torch.onnx.export(module(net), (x,), str(source), dynamo=False, input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})
    want, entry = net(x).detach().numpy(), g.encodings[g.inputs[0].name]
    for name, path in cpu_onnx.int8_files("net", source, g, x.numpy(), tmp_path).items():
        s = cpu_onnx.session(path, 1, len(x))
        kinds = [v.type for v in (*s.get_inputs(), *s.get_outputs())]
        feed = entry.encode(x.numpy(), 0, 255).astype(np.uint8) if kinds[0] == "tensor(uint8)" else x.numpy()
        if kinds[0] == "tensor(int8)":
            feed = (entry.encode(x.numpy(), 0, 255) - 128).astype(np.int8)
        got = s.run(None, {s.get_inputs()[0].name: feed})[0].astype(float)
        assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.95, name
        cpu_onnx.bound(s, len(x))()
    assert onnxruntime.__version__


def test_samples_repeat_and_fit(case):
    g = case[2]
    x = samples(g, 11)
    assert x.shape == (11, *g.inputs[0].type.shape) and (x[:3] == x[8:]).all() and 0 <= x.min() and x.max() <= 255
    ours(g, x[:2])()


def test_every_way_has_its_turns():
    calls = {"a": 0, "b": 0}

    def way(k):
        def call(): calls[k] += 1
        return call
    times = cpu_turns.turns({k: way(k) for k in calls}, rounds=4, block_s=1e-5)
    assert {k: t.rounds for k, t in times.items()} == {"a": 4, "b": 4}
    assert all(calls[k] >= times[k].calls for k in calls)
    assert cpu_turns.summary([1.0, 2.0, 3.0, 4.0, 5.0], 2) == cpu_turns.Times(3.0, 1.5, 4.5, 10, 5)


def test_ratios_are_to_the_fastest_int8_form(capsys):
    t = {k: cpu_turns.Times(us, us, us, 1, 1) for k, us in {"ours w8a8": 10.0, "ORT int8 a": 30.0, "ORT int8 b": 20.0, "ORT fp32": 5.0}.items()}
    assert cpu_nets.best_int8(t) == "ORT int8 b"
    assert cpu_nets.contenders(t) == ["ours w8a8", "ORT int8 b", "ORT fp32"]
    cpu_nets.summary([{"way": "ours w8a8", "threads": 1, "batch": 1, "net": n, "ratio": r} for n, r in (("a", 2.0), ("b", 0.5))])
    assert capsys.readouterr().out == "ours w8a8, 1 thread, batch 1: geometric mean over 2 nets 1.00 x ONNX Runtime int8, lowest 0.50 (b)\n"


def test_mixed_plans_keep_both_ends_wide():
    p = cpu_graphs.options(list("abcdefgh"), "mixed4").options
    widths = [o.weight_format.bits for o in p.values()]
    assert widths[0] == widths[-1] == 8 and np.mean(widths[1:5]) == 4


def test_the_transformer_is_one_that_is_captured():
    net = cpu_graphs.deit_tiny.deit_tiny(d=12, blocks=1, size=32, classes=5)
    x = cpu_graphs.deit_tiny.images(2, 32)
    assert torch.allclose(capture(net, x)(x), net(x), atol=1e-5) and isinstance(net, nn.Module)


@pytest.mark.parametrize("layer", [cpu_layers.conv("odd", 5, 7, 3, 6, 2), cpu_layers.conv("depthwise", 6, 6, 3, 5, 1, 6), cpu_layers.dense(2, 8, 3)],
                         ids=lambda v: v.name)
def test_layers_of_peers_are_the_layer(layer):
    """Between transposes the layer stays what it is; the peers' products are those of the graph, but for their roundings."""
    g = example(layer, Option.parse("int8/uint8"))
    last, x = cpu_layers.channel_last(g), samples(g, 3)
    want = run(g, x)
    moved = x.transpose(0, 2, 3, 1) if layer.kind == "conv" else x
    assert (run(last, moved) == (want.transpose(0, 2, 3, 1) if layer.kind == "conv" else want)).all()
    with torch.no_grad():
        for name, way in cpu_layers.torch_ways(g, 3).items():
            got = way()
            if name.startswith("torch int8"):
                assert np.abs(got.int_repr().numpy().astype(int) - want).max() <= 1, name
            else:
                assert got.shape == want.shape
    pytest.importorskip("onnxruntime")
    for way in cpu_layers.onnx_ways(g, 3, 1).values():
        way()


def test_the_peak_is_more_than_any_layer_reaches():
    if (call := cpu_peak.peak()) is None:
        pytest.skip("this machine has no AVX-512 VNNI")
    gops = cpu_peak.OPS / cpu_turns.turns({"peak": call}, rounds=5, block_s=2e-3)["peak"].us / 1e3
    assert 50 < gops < 2000


def test_a_profile_names_every_step(case):
    steps = cpu_profile.ours(case[2], rounds=2)
    assert len(steps) > 4 and all(us >= 0 for _, us in steps)
    assert any(name.startswith("conv, requant: conv1") for name, _ in steps)


def test_a_process_is_measured_alone(case, tmp_path):
    """Memory is that of the program, not of this process; the program's answer is the graph's."""
    net, x, g = case
    launch = cpu_builds.launcher(tmp_path)
    q = samples(g, 1)
    np.save(tmp_path / "x.npy", q.astype(np.uint8))
    found = cpu_builds.ways("net", g, tmp_path, tmp_path / "x.npy", tmp_path / "y.npy")
    for name in ("ours, program", "ours, library from Python"):
        ms, mb = cpu_builds.once(launch, found[name][0])
        assert 0 < ms < 60_000 and mb < (10 if "program" in name else 200) and 0 < found[name][1] < 10e6
        assert (np.load(tmp_path / "y.npy") == run(g, q)).all()
    with pytest.raises(UserError, match="fails: .*nowhere"):
        cpu_builds.once(launch, [*found["ours, program"][0][:1], str(tmp_path / "nowhere.npy"), "y.npy"])
