"""The report holds the numbers it was given, in one file that needs no other, for any shape of run."""
import base64
import re

import numpy as np
import pytest

from ir import Layer, Plan, Table
from qsearch import plots
from qsearch.report import write_report
from search import allocate, cost_tables, menu, pareto

LAYERS = {k: Layer(k, "linear", out_channels=32, in_channels=32 * (i + 1)) for i, k in enumerate(["stem", "a<b>&c", "x" * 80])}
OPTIONS = dict.fromkeys(LAYERS, menu("int2,int4,int8/uint4,uint8"))


@pytest.fixture(scope="module")
def run():
    damage = Table("kl", "damage", {k: {o: (i + 1) * 4.0 ** -j for j, o in enumerate(OPTIONS[k])} for i, k in enumerate(LAYERS)}, "nats")
    costs = cost_tables(LAYERS, OPTIONS, ["bytes", "input_bytes"])
    plan = allocate(damage, costs, {"bytes": "50%", "input_bytes": 96})
    return {"tables": [damage], "plan": plan, "front": pareto(damage, costs, "bytes", 6), "costs": list(costs.values())}


ROWS = [{"model": "float", "score": "91.0 %", "mismatches": None, "bytes": 1_234_567},
        {"model": "integer | numpy", "score": "90.5 %", "mismatches": 0, "bytes": 4321}]


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert write_report(folder, rows=ROWS, node_costs={"lut": {"stem": 12.0, "pool": 3.0}}, **run) == folder / "report.html"
    return folder


def test_html_stands_alone(folder):
    text = (folder / "report.html").read_text()
    pictures = [base64.b64decode(p) for p in re.findall(r'src="data:image/png;base64,([^"]+)"', text)]
    assert sorted(pictures) == sorted(p.read_bytes() for p in (folder / "plots").iterdir())
    assert {p.stem for p in (folder / "plots").iterdir()} == {"bits", "front", "damage_kl", "cost_bytes", "cost_input_bytes", "built_lut"}
    assert not re.search(r'src="(?!data:)|href=|<script|url\(', text) and "a&lt;b&gt;&amp;c" in text and "a<b>" not in text


def test_numbers_are_there(folder, run):
    for text in ((folder / "report.html").read_text(), (folder / "report.md").read_text()):
        plan = run["plan"]
        assert all(word in text for word in ("1,234,567", "90.5 %", "4,321", f"{plan.damage['kl']:.4g}", f"{plan.costs['bytes']:,.0f}"))
        assert all(f"{p.costs['bytes']:,.0f}" in text for p in run["front"])


def test_markdown_tables_are_square(folder):
    lines = (folder / "report.md").read_text().splitlines()
    assert "| integer \\| numpy | 90.5 % | 0 | 4,321 |" in lines
    tables = re.split(r"\n(?!\|)", "\n".join(lines))
    for table in (t.strip().splitlines() for t in tables if t.strip().startswith("|")):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table}) == 1
    for name in re.findall(r"\]\((.*?)\)", "\n".join(lines)):
        assert (folder / name).stat().st_size > 1000


def test_whatever_is_left_out_is_left_out(tmp_path):
    assert "<img" not in write_report(tmp_path).read_text()
    assert list(tmp_path.iterdir()) and not (tmp_path / "plots").exists()


def ink(path, colour: str) -> int:
    """How many pixels have one colour."""
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread
    return int((np.abs(imread(path)[..., :3] - to_rgb(colour)).max(axis=2) < 0.02).sum())


@pytest.mark.parametrize("layers", [1, 5, pytest.param(200, marks=pytest.mark.slow)])
def test_plots_of_any_size(tmp_path, layers):
    """Every layer has its mark, the chosen options theirs, and no picture grows without bound."""
    from matplotlib.image import imread
    names = [f"layer{i}" for i in range(layers)]
    table = Table("mse", "damage", {k: {"int4/uint8": 0.0, "int2/int8": 1.0 + i} for i, k in enumerate(names)})
    plan = Plan.uniform(names, "int4/uint8")
    chosen, free = plots.damage(table, tmp_path / "chosen.png", plan), plots.damage(table, tmp_path / "free.png")
    assert ink(chosen, plots.CHOSEN) > 30 * layers and ink(free, plots.CHOSEN) == 0
    height, width = imread(plots.bits(plan, tmp_path / "bits.png")).shape[:2]
    assert height < 2400 and width < 1300 and ink(tmp_path / "bits.png", plots.WEIGHT) > 300 * layers
    assert imread(chosen).shape[0] < 2400


def test_bars_are_as_long_as_their_bits(tmp_path):
    """Weights of 8 bits take twice the ink of weights of 4 on the same axis (activations hold it)."""
    drawn = [ink(plots.bits(Plan.uniform("abc", f"int{b}/uint8"), tmp_path / f"{b}.png"), plots.WEIGHT) for b in (2, 4, 8)]
    assert drawn[1] - drawn[0] == pytest.approx((drawn[2] - drawn[1]) / 2, rel=0.05)


def test_long_names_keep_both_ends():
    assert plots.short("features.0.block.conv") == "features.0.block.conv"
    assert plots.short("a" * 40 + "b" * 40) == "a" * 16 + "…" + "b" * 16
