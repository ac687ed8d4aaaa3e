"""The demo, from training to simulated hardware, on fewer images."""
import numpy as np
import pytest

from qsearch.demo import demo
from qsearch.screen import Screen


@pytest.mark.slow
def test_the_whole_road(tmp_path, capsys):
    r = demo(tmp_path / "d", Screen(quiet=True), images=6)
    assert "mismatching values: 0" in capsys.readouterr().out and r.mismatches == 0
    assert [row["model"] for row in r.rows] == ["float", "fake-quant (torch)", "integer (numpy)", "TVM (cpu)", "ONNX Runtime",
                                                "Verilog (Verilator)"]
    scores = [float(row["score"].split()[0]) for row in r.rows[:5]]
    assert min(scores) > 95 and len(set(scores[1:])) == 1
    assert r.rows[-1]["samples"] == 6 and r.rows[-1]["cycles_per_frame"] <= r.plan.budgets["cycles"]
    assert all(r.plan.costs[k] <= bound for k, bound in r.plan.budgets.items())
    assert len({str(o) for o in r.plan.options.values()}) > 1, "a mixed plan was expected"
    for name in ("plan.json", "report.html", "graph/graph.json", "onnx/model.onnx", "cpu/libmodel.so", "cpu/model.h", "ecp5-85k/qs_top.sv",
                 "ecp5-85k/run.py", "plots/front.png", "plots/bits.png", "plots/damage_kl.png", "plots/damage_sqnr.png"):
        assert (r.folder / name).stat().st_size > 0, name
    with np.load(r.folder / "expected.npz") as z:
        assert z["y"].shape == (500, 10)
