"""The size report: every byte by hand, stores chosen by size, and files apart from what they hold."""
import zipfile

import numpy as np
import pytest
import torch

from ir import Conv, Dense, Encoding, Graph, Input, Ints, Lut, Option, Plan, Requant, Reshape, UserError
from ir.store import save_graph
from quant import calibrate, quantize, size_report
from quant.size import Row, Size, cheapest, coded, packed, width
from quant_nets import NETS, images


def by_hand() -> Graph:
    """A convolution of 2x1x3x3, a table, a dense layer of 4x8."""
    rng = np.random.default_rng(0)
    g = Graph()
    g.add("x", Input(Ints((1, 4, 4), 0, 15)))
    w = rng.integers(-7, 8, (2, 1, 3, 3))
    w[0, 0, 0, 0] = -8
    g.add("conv", Conv(w, [100, -3]), "x")
    g.add("conv.q", Requant([16384, 8000], 20, 0, 0, 15), "conv")
    g.add("act", Lut(np.arange(16) // 2, 0), "conv.q")
    g.add("flat", Reshape((8,)), "act")
    g.add("fc", Dense(np.arange(-16, 16).reshape(4, 8), [0, 0, 1, 2]), "flat")
    g.encodings = {"x": Encoding(0.1), "fc": Encoding(0.2)}
    return g


def rows(s: Size, group: str) -> dict[str, int]: return {r.what: r.bytes for r in s.rows if r.group == group}


def test_every_byte_of_a_small_graph():
    s = size_report(by_hand())
    assert rows(s, "weights") == {"dense, 2 layers": 9 + 20}  # 18 of 4 bits, 32 of 5
    assert rows(s, "metadata") == {
        "biases": 2 + 1,                           # 2 of 8 bits (100, -3), 4 of 2 bits (0..2)
        "multipliers and shifts": 4 + 1,   # 2 of 15 bits, and a shift
        "zero points and bounds": 3 + 1 + 4,       # of the requant's u4, of the padding; input and output
        "tables": 6}                               # 16 of 3 bits (0..7)


def test_formats_of_the_plan_give_the_bits():
    for option, each in (("int8/uint4", 1), ("int16/uint4", 2)):
        assert size_report(by_hand(), Plan({"conv": "int8/uint4", "fc": option})).of("weights") == 18 + 32 * each


@pytest.mark.parametrize("codes,bits,want", [
    (np.arange(-128, 128), 8, ("dense", 256, 0, 0)),
    (np.where(np.arange(800) % 10 == 0, np.arange(800) % 97 + 1, 0), 8, ("bitmask-sparse", 80, 100, 0)),
    (np.arange(800) % 4 * 20, 8, ("codebook", 200, 0, 4)),           # 2 bits a weight, 4 codes of 8 bits
    (np.arange(800) % 2, 2, ("codebook", 100, 0, 1)),
    (np.zeros(64, int), 8, ("bitmask-sparse", 0, 8, 0)),
    (np.arange(-1, 2).repeat(40), 2, ("dense", 30, 0, 0)),            # ternary: 2 bits already, an index would take as many
])
def test_the_smallest_store_is_chosen(codes, bits, want):
    assert cheapest(codes, bits) == want


@pytest.mark.parametrize("values,bits", [([0], 1), ([1], 1), ([-1, 0], 1), ([-1, 1], 2), ([-128, 127], 8), ([255], 8), ([-129], 9), ([], 1)])
def test_width(values, bits):
    assert width(np.array(values, int)) == bits


def test_groups_are_codes_and_a_factor_each():
    rng = np.random.default_rng(0)
    codes, factors = rng.integers(-7, 8, (6, 3, 4)), rng.integers(1, 60, (6, 3, 1))
    codes[..., :2] = [7, 1]
    values = (codes * factors).reshape(6, 12)[:, :10]  # the last group is shorter
    found, bits, by = coded(values, Option.parse("int4g4/int8"))
    assert bits == 4 and by.shape == (6, 3) and found.min() >= -8 and found.max() <= 7
    assert (found * by.repeat(4, axis=1)[:, :10] == values).all()
    same, bits, by = coded(values, Option.parse("int4/int8"))
    assert same is values and bits == width(values) > 4 and by.size == 0
    g = Graph()
    g.add("x", Input(Ints((10,), 0, 15)))
    g.add("fc", Dense(values, np.zeros(6)), "x")
    s = size_report(g, Plan({"fc": "int4g4/int8"}))
    assert s.of("weights") == 30 and rows(s, "metadata")["multipliers and shifts"] == packed(18, width(factors))


def test_sparse_and_clustered_layers_have_lines_of_their_own():
    rng = np.random.default_rng(0)
    g = Graph()
    g.add("x", Input(Ints((64,), 0, 15)))
    w = rng.integers(-127, 128, (64, 64))
    g.add("full", Dense(w, np.zeros(64)), "x")
    g.add("sparse", Dense(np.where(rng.random((64, 64)) < 0.9, 0, w), np.zeros(64)), "x")
    g.add("few", Dense(rng.choice([-100, -7, 3, 90], (64, 64)), np.zeros(64)), "x")
    s = size_report(g)
    nonzero = int(np.count_nonzero(g.nodes["sparse"].op.weight))
    assert rows(s, "weights") == {"dense, 1 layer": 4096, "bitmask-sparse, 1 layer": nonzero, "codebook, 1 layer": 1024}
    assert rows(s, "metadata")["bitmasks"] == 512 and rows(s, "metadata")["codebooks"] == 4


def test_files_are_measured_as_they_are_stored(tmp_path):
    g = by_hand()
    save_graph(g, tmp_path)
    stored = {f.name: f.stat().st_size for f in tmp_path.iterdir()}
    for s in (size_report(g, files=tmp_path), size_report(g)):
        assert rows(s, "container") == stored == {"graph.json": stored["graph.json"], "weights.npz": stored["weights.npz"]}
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for n in sorted(stored):
            z.writestr(zipfile.ZipInfo(n), (tmp_path / n).read_bytes(), zipfile.ZIP_DEFLATED, 9)
    assert s.of("compressed") == (tmp_path / "z.zip").stat().st_size < sum(stored.values())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.bin").write_bytes(bytes(999))
    assert rows(size_report(g, files=tmp_path), "container")["sub/more.bin"] == 999
    assert rows(size_report(g, files=[tmp_path / "graph.json"]), "container") == {"graph.json": stored["graph.json"]}


def test_a_float_net_and_its_integers_side_by_side():
    """Weights shrink by the bits alone: 4 for int8, whatever the files do."""
    net = NETS["residual"]()
    x = images(net)
    plan = Plan.uniform(net.layers, "int8/uint8")
    full, small = size_report(net), size_report(quantize(net, plan, calibrate(net, x)).lower(), plan)
    count = sum(s.weight.numel() for s in net.layers.values())
    assert full.of("weights") == 4 * count and full.of("container") is None
    assert full.of("metadata") == 4 * sum(len(s.bias) for s in net.layers.values())
    assert small.of("weights") == count and small.ratios(full)["weights"] == 4
    assert set(small.ratios(full)) == {"weights", "metadata", "packed"}  # no file of the float net: nothing is said of files
    assert small.packed == small.of("weights") + small.of("metadata")
    assert 1 < small.ratios(full)["packed"] < 4


def test_pruned_and_clustered_float_layers():
    net = NETS["residual"]()
    w, v = net.steps["conv2"].weight, net.steps["conv1"].weight  # 576 and 216 weights
    w[torch.arange(8) > 0] = 0
    v.copy_(v.sign())
    s = size_report(net)
    assert rows(s, "weights") == {"bitmask-sparse, 1 layer": 4 * 72, "codebook, 1 layer": 216 // 8,
                                  "dense, 3 layers": 4 * sum(net.steps[n].weight.numel() for n in ("depthwise", "grouped", "head.fc"))}
    assert rows(s, "metadata")["bitmasks"] == 72 and rows(s, "metadata")["codebooks"] == 8


def test_the_text_has_every_line_and_ratios_of_like_lines_only():
    a = Size("float", [Row("weights", "float32, 1 layer", 4000, "each weight at the bits of its format"), Row("metadata", "biases and norms", 100)])
    b = Size("int", [Row("weights", "dense, 1 layer", 1000), Row("metadata", "biases", 50), Row("container", "graph.json", 9000),
                     Row("compressed", "zip of 1 file", 800)])
    assert b.text(a) == """| int | bytes | | float / this |
|---|---:|---|---:|
| weights: dense, 1 layer | 1,000 |  | |
| **weights** | 1,000 |  | 4.00 |
| metadata: biases | 50 |  | |
| **metadata** | 50 |  | 2.00 |
| **weights + metadata** | 1,050 | total on a device | 3.90 |
| container: graph.json | 9,000 |  | |
| **container** | 9,000 |  | |
| compressed: zip of 1 file | 800 |  | |
| **compressed** | 800 |  | |
"""
    assert a.text().splitlines()[2] == "| weights: float32, 1 layer | 4,000 | each weight at the bits of its format |"
    assert sum(r.bytes for r in b.rows) == b.packed + b.of("container") + b.of("compressed")


@pytest.mark.parametrize("files,says", [("nothing", r"nothing: no such file or folder to take the size of$"),
                                        ("empty", r"empty: an empty folder; name one with files in it$")])
def test_files_that_are_not_there(tmp_path, files, says):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=says):
        size_report(by_hand(), files=tmp_path / files)
