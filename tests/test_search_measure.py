"""Metrics and costs on small real nets in numpy; what a kill leaves behind."""
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ir import Layer, Option, Table, UserError
from ir.store import digest
from search.ledger import Ledger
from search import COSTS, METRICS, cost_tables, measure, menu, parse_rules, per_layer

WEIGHTS = {"fc1": (16, 8), "fc2": (12, 16), "out": (5, 12)}


class NumpyNet:
    """Dense layers with ReLU between them; a quantized layer rounds its weights and its input to the option's formats."""

    def __init__(self, seed=0, samples=64, outputs=5, calls=None):
        rng = np.random.default_rng(seed)
        self.weights = {k: rng.normal(size=s) / np.sqrt(s[1]) for k, s in (WEIGHTS | {"out": (outputs, 12)}).items()}
        self.x, self.calls = rng.normal(size=(samples, 8)), calls
        self.layers, self.key = tuple(self.weights), digest(str(seed), str(samples))

    def _layer(self, name, x, option):
        w = self.weights[name]
        if option:
            o = Option.parse(option)
            w = self._round(w, o.weight_format, np.abs(w).max(axis=1, keepdims=True))
            x = self._round(x, o.act_format, np.abs(x).max())
        return x @ w.T

    @staticmethod
    def _round(v, fmt, top):
        scale = top / max(-fmt.lo, fmt.hi)
        return fmt.nearest(v / scale) * scale

    def _run(self, options):
        x = self.x
        for name in self.layers:
            seen, x = x, self._layer(name, x, options.get(name))
            yield name, seen, x
            x = np.maximum(x, 0)

    def reference(self): return self.outputs({})

    def outputs(self, options):
        if self.calls:
            with open(self.calls, "a") as f:
                f.write(f"{sorted(options.items())}\n")
        return [y for _, _, y in self._run(options)][-1]

    def local(self, layer, option):
        x, y = next((x, y) for name, x, y in self._run({}) if name == layer)
        return y, self._layer(layer, x, option)


BITS = menu("int2,int3,int4,int6,int8,int12/int16")
OPTIONS = {k: BITS for k in WEIGHTS}
BASIC = ("mse", "sqnr", "kl", "output_mse")  # those that need no more than a reference and answers


@pytest.fixture(scope="module")
def tables(): return measure(NumpyNet(), list(BASIC), OPTIONS)


@pytest.mark.parametrize("metric", BASIC)
def test_more_bits_less_damage(tables, metric):
    for row in tables[metric].rows.values():
        damages = list(row.values())
        assert damages == sorted(damages, reverse=True) and damages[0] > 1e3 * damages[-1] > 0


@pytest.mark.parametrize("metric", BASIC)
def test_exact_is_zero(metric):
    net = NumpyNet()
    net._round = lambda v, fmt, top: v
    assert METRICS[metric](net, "fc1", "int4/int8") == 0


def test_metrics_are_what_their_names_say(tables):
    net, o = NumpyNet(), "int4/int16"
    exact, rounded = net.local("fc2", o)
    assert tables["mse"].rows["fc2"][o] == pytest.approx(((exact - rounded) ** 2).mean(), rel=1e-12)
    decibels = 10 * np.log10((exact**2).sum() / ((exact - rounded) ** 2).sum())
    assert -10 * np.log10(tables["sqnr"].rows["fc2"][o]) == pytest.approx(decibels, rel=1e-9)
    p, q = (np.exp(y) / np.exp(y).sum(1, keepdims=True) for y in (net.reference(), net.outputs({"fc2": o})))
    assert tables["kl"].rows["fc2"][o] == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-9)
    out, ref = net.outputs({"fc2": o}), net.reference()
    assert tables["output_mse"].rows["fc2"][o] == pytest.approx(((out - ref) ** 2).mean() / ref.var(), rel=1e-12)


def test_kl_keeps_its_digits_where_probabilities_hardly_move():
    """KL of a shift by d in one of two logits is p (1 - p) d**2 / 2 to first order."""
    class TwoClasses:
        layers, key = ("a",), "k"
        def reference(self): return np.array([[0.0, 0.0]])
        def outputs(self, options): return np.array([[1e-7, 0.0]])
    assert METRICS["kl"](TwoClasses(), "a", "int8/int8") == pytest.approx(0.25 * 1e-14 / 2, rel=1e-6)


def test_kl_needs_classes():
    text = r"^metric 'kl' needs scores of two or more classes, the model's output is \(1,\) a sample; use 'mse' or 'output_mse'$"
    with pytest.raises(UserError, match=text):
        measure(NumpyNet(outputs=1), ["kl"], OPTIONS)


def test_undefined_results_are_named():
    net = NumpyNet()
    net.weights["out"][:] = np.nan
    with pytest.raises(UserError, match="^layer 'fc1': the float model gives infinite or undefined values on the probe samples"):
        measure(net, ["kl"], OPTIONS)
    net = NumpyNet()
    net._round = lambda v, fmt, top: v * np.nan
    with pytest.raises(UserError, match="^metric 'mse': layer 'fc1' with 'int2/int16' gives nan; leave this option out"):
        measure(net, ["mse"], OPTIONS)
    with pytest.raises(UserError, match=r"^the model has no layer 'fc9' to quantize \(it has fc1, fc2, out\)"):
        measure(net, ["mse"], {"fc9": BITS})


def test_one_run_serves_all_metrics_of_a_cell(tmp_path):
    measure(NumpyNet(calls=tmp_path / "calls"), ["kl", "output_mse"], OPTIONS)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1 + len(WEIGHTS) * len(BITS)


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from test_search_measure import NumpyNet, OPTIONS
from search import measure
def progress(done, total, text):
    if done == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
measure(NumpyNet(), ["kl", "mse"], OPTIONS, {cache!r}, progress)
"""


def test_resumes_after_kill(tmp_path, tables):
    cache, at, here = tmp_path / "cells.jsonl", 17, Path(__file__).parent
    code = KILLED.format(path=[str(here), str(here.parent)], at=at, cache=str(cache))
    assert subprocess.run([sys.executable, "-c", code], cwd=here.parent).returncode == -signal.SIGKILL
    assert len(cache.read_text().splitlines()) == at
    with open(cache, "a") as f:
        f.write(cache.read_text()[:40])  # a line that was being written
    calls = tmp_path / "calls"
    again = measure(NumpyNet(calls=calls), ["kl", "mse"], OPTIONS, cache)
    assert again["kl"].rows == tables["kl"].rows and again["mse"].rows == tables["mse"].rows
    assert len(calls.read_text().splitlines()) == 1 + len(WEIGHTS) * len(BITS) - (at + 1) // 2  # kl is the first of each two cells
    calls.unlink()
    assert measure(NumpyNet(calls=calls), ["mse", "kl"], OPTIONS, cache)["kl"].rows == tables["kl"].rows and not calls.exists()


@pytest.mark.parametrize("harm", [
    lambda s: s.replace("2", "3", 40), lambda s: s[:len(s) // 2], lambda s: "garbage\n\n[1]\n{}\nnull\n\x00\n" + s, lambda s: ""])
def test_damaged_cache_is_measured_anew(tmp_path, tables, harm):
    cache = tmp_path / "cells.jsonl"
    measure(NumpyNet(), ["mse"], OPTIONS, cache)
    cache.write_text(harm(cache.read_text()))
    assert measure(NumpyNet(), ["mse"], OPTIONS, cache)["mse"].rows == tables["mse"].rows
    whole = cache.read_text().splitlines()
    assert len(whole) == len(WEIGHTS) * len(BITS)


def test_two_models_share_a_cache(tmp_path):
    cache = tmp_path / "cells.jsonl"
    one, two = (measure(NumpyNet(seed), ["mse"], OPTIONS, cache)["mse"] for seed in (1, 2))
    assert one.rows != two.rows and one.about["probe"] != two.about["probe"]
    assert measure(NumpyNet(1), ["mse"], OPTIONS, cache)["mse"].rows == one.rows
    assert len(cache.read_text().splitlines()) == 2 * len(WEIGHTS) * len(BITS)


def test_tables_go_to_files_and_progress_is_told(tmp_path):
    told = []
    t = measure(NumpyNet(), ["sqnr"], {"fc1": BITS}, progress=lambda *a: told.append(a))["sqnr"]
    t.save(tmp_path / "sqnr.table.json")
    assert Table.load(tmp_path / "sqnr.table.json") == t
    assert told[0] == (0, len(BITS), "") and told[-1] == (len(BITS), len(BITS), f"sqnr fc1 {BITS[-1]}")


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="^cannot read the cache .*cells: Not a directory; name another file$"):
        measure(NumpyNet(), ["mse"], OPTIONS, tmp_path / "file" / "cells")
    known = Ledger(tmp_path / "full", "key")
    (tmp_path / "full").symlink_to("/dev/full")  # reads as endless zeros, so it comes after the reading
    with pytest.raises(UserError, match="^cannot write the cache .*full: No space left on device"):
        known.enter(("a", "b"), 1.0)


CONV = Layer("conv", "conv", out_channels=8, in_channels=4, groups=2, kernel=(3, 3), stride=(1, 1), in_space=(6, 5), out_space=(4, 3))
FC = Layer("fc", "linear", out_channels=10, in_channels=96)


@pytest.mark.parametrize("name, option, conv, fc", [
    ("bytes", "int4/uint8", 144 * 4 // 8 + 8 * 6, 960 * 4 // 8 + 10 * 6),
    ("bytes", "int4t/uint8", 144 * 4 // 8 + 8 * 4 + 2, 960 * 4 // 8 + 10 * 4 + 2),
    ("bytes", "int3g8/uint8", 144 * 3 // 8 + 8 * 6 + 8 * 3 * 6 // 8, 960 * 3 // 8 + 10 * 6 + 10 * 12 * 6 // 8),  # 18 and 96 inputs: 3 and 12 groups
    ("bytes", "ternary/int8", 144 * 2 // 8 + 8 * 6, 960 * 2 // 8 + 10 * 6),
    ("bops", "int4/uint8", 144 * 12 * 32, 960 * 32),
    ("macs_bits", "int3/uint8", 144 * 12 * 3, 960 * 3),
    ("input_bytes", "int4/uint4", 60, 48),
])
def test_costs(name, option, conv, fc):
    t = cost_tables({"conv": CONV, "fc": FC}, {"conv": [option], "fc": [option]}, [name])[name]
    assert t.rows == {"conv": {option: conv}, "fc": {option: fc}} and t.about["combine"] == COSTS[name].combine


def test_average_bits():
    """The rows of wbits and abits sum to the average: a budget of 4 is 4 bits a weight."""
    t = cost_tables({"conv": CONV, "fc": FC}, {"conv": ["int8/uint4"], "fc": ["int2/uint8"]}, ["wbits", "abits"])
    assert t["wbits"].rows["conv"]["int8/uint4"] + t["wbits"].rows["fc"]["int2/uint8"] == pytest.approx((144 * 8 + 960 * 2) / 1104)
    assert t["abits"].rows["conv"]["int8/uint4"] + t["abits"].rows["fc"]["int2/uint8"] == pytest.approx((120 * 4 + 96 * 8) / 216)


def test_menus():
    assert menu("int2,int4/uint8 int4,int8/uint8;ternary/int8") == ("int2/uint8", "int4/uint8", "int8/uint8", "ternary/int8")
    assert menu("int4g64,int8/uint4,uint8") == ("int4g64/uint4", "int4g64/uint8", "int8/uint4", "int8/uint8")
    rules = parse_rules(["*=int4/uint8", "first=int8/uint8", "b2*=int4,int8/uint8", "last=int8/int8"])
    assert per_layer(("a", "b1", "b2", "c"), menu("int2/uint8"), rules) == {
        "a": ("int8/uint8",), "b1": ("int4/uint8",), "b2": ("int4/uint8", "int8/uint8"), "c": ("int8/int8",)}


@pytest.mark.parametrize("do, text", [
    (lambda: menu("int4"), "menu 'int4' is not of the form weights/activations, for example int2,int4,int8/uint8"),
    (lambda: menu("int4/uint99"), "unknown number format 'uint99'"),
    (lambda: menu(" "), "an empty menu; give options such as int2,int4,int8/uint8"),
    (lambda: parse_rules(["int8/uint8"]), "rule 'int8/uint8' is not of the form layer=options, for example first=int8/uint8"),
    (lambda: per_layer(("a", "b"), ("int8/uint8",), {"conv*": ("int8/uint8",)}),
     "rule for 'conv*' matches no layer (layers: first, last, a, b)"),
    (lambda: cost_tables({"a": FC}, {"b": BITS}), "no layer 'b' in the model (it has a)"),
    (lambda: measure(NumpyNet(), ["nonsense"], OPTIONS), "unknown sensitivity metric 'nonsense'"),
])
def test_messages(do, text):
    with pytest.raises(UserError) as e:
        do()
    assert str(e.value).startswith(text)
