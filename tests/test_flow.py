"""A run as a whole: the table it ends with, and that it goes on after being stopped, killed or damaged."""
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ir
from qsearch import flow, keep, steps
from qsearch.settings import Settings
from tests import small

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SETTINGS = Settings(targets=("onnx",), budgets=("bytes=60%",), options="int2,int4,int8/uint8", samples=64, check=50, pareto=3)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return flow.run(small.net(), small.data(), tmp_path_factory.mktemp("run") / "r", SETTINGS)


def test_every_model_of_the_table_agrees(first):
    assert [r["model"] for r in first.rows] == ["float", "fake-quant (torch)", "integer (numpy)", "ONNX Runtime"]
    assert first.mismatches == 0 and [r["mismatches"] for r in first.rows] == [None, 0, 0, 0]
    scores = [float(r["score"].split()[0]) for r in first.rows[:3]]
    assert scores[0] > 80 and scores[1] == scores[2] and abs(scores[0] - scores[1]) < 8


def test_the_plan_keeps_its_budget_and_says_why(first):
    plan = ir.Plan.load(first.folder / "plan.json")
    assert plan.costs["bytes"] <= plan.budgets["bytes"] and plan.why["status"] and set(plan.damage) == {"kl", "sqnr"}
    dearest = sum(max(r.values()) for r in ir.Table.load(first.folder / "cost.bytes.table.json").rows.values())
    assert plan.budgets["bytes"] == pytest.approx(.6 * dearest)


def test_the_stored_graph_computes_the_stored_outputs(first):
    g = ir.store.load_graph(first.folder / "graph")
    with np.load(first.folder / "expected.npz") as z:
        assert (steps.reference(g, small.data()["x"]) == z["y"]).all()


def test_report_and_front_are_there(first):
    assert (first.folder / "report.html").stat().st_size > 10_000
    assert len(keep.load_front(first.folder)) >= 2


def stamps(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.rglob("*.json")) if p.parent.name != "front"}


def test_a_second_run_makes_nothing_again(first):
    before = stamps(first.folder)
    again = flow.run(small.net(), small.data(), first.folder, SETTINGS)
    changed = {k for k, v in stamps(first.folder).items() if before[k] != v}
    assert again.rows == first.rows and not any("damage" in k or "plan" in k or "graph" in k for k in changed), changed


def test_another_budget_keeps_the_sensitivity(first, tmp_path):
    def made(folder): return json.loads((folder / "run.json").read_text())["steps"]
    before = made(first.folder)
    other = flow.run(small.net(), small.data(), first.folder, replace(SETTINGS, budgets=("bytes=100%",)))
    after = made(first.folder)
    assert after["sense"] == before["sense"] and after["plan"] != before["plan"]
    assert other.plan.costs["bytes"] > first.plan.costs["bytes"]


@pytest.mark.parametrize("name", ["plan.json", "graph/weights.npz", "expected.npz", "run.json", "damage.kl.table.json"])
def test_a_damaged_file_is_made_again(first, name):
    flow.run(small.net(), small.data(), first.folder, SETTINGS)
    path = first.folder / name
    path.write_bytes(path.read_bytes()[:len(path.read_bytes()) // 2])
    again = flow.run(small.net(), small.data(), first.folder, SETTINGS)
    assert again.rows == first.rows and again.plan.options == first.plan.options


def start(folder: Path) -> subprocess.Popen:
    args = ["run", "tests.small:net", "-d", "tests.small:many", "-o", folder, "-t", "onnx", "-b", "bytes=60%",
            "--options", "int2,int3,int4,int5,int6,int8,ternary/uint8,uint4", "--samples", "640"]
    return subprocess.Popen([sys.executable, "-c", "from qsearch.cli import main; main()", *map(str, args)], cwd=ROOT, text=True,
                            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=os.environ | {"QSEARCH_DEBUG": ""},
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a job in the background ignores it


def wait_for_cells(p: subprocess.Popen, cache: Path, n: int) -> None:
    end = time.monotonic() + 120
    while not (cache.exists() and cache.read_bytes().count(b"\n") >= n):
        assert p.poll() is None and time.monotonic() < end, p.stderr.read()
        time.sleep(.005)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_stopped_run_goes_on(tmp_path, how):
    cache = tmp_path / "r" / "sense.cache"
    p = start(tmp_path / "r")
    wait_for_cells(p, cache, 5)
    p.send_signal(how)
    _, err = p.communicate(timeout=60)
    assert p.returncode == (-how if how == signal.SIGKILL else 1)
    assert how == signal.SIGKILL or err.splitlines()[-1] == "error: stopped; give the same command again to go on from what is done"
    kept = cache.read_text().splitlines()
    p = start(tmp_path / "r")
    _, err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    lines = cache.read_text().splitlines()
    assert len(kept) >= 5 and lines[:len(kept) - 1] == kept[:-1]
    cells = [tuple(json.loads(line)[1][:4]) for line in lines]
    assert len(cells) == len(set(cells)), "a cell was measured twice"


def test_cpu_target(tmp_path):
    r = flow.run(small.net(), small.data(), tmp_path / "r", replace(SETTINGS, targets=("cpu",), pareto=0))
    assert r.rows[-1]["model"] == "TVM (cpu)" and r.rows[-1]["mismatches"] == 0


def test_impossible_budgets_are_refused_before_the_measuring(tmp_path):
    with pytest.raises(ir.UserError, match=r"^no plan fits bytes<=300: the smallest possible is bytes=\d+ with these options"):
        flow.run(small.net(), small.data(), tmp_path / "r", replace(SETTINGS, budgets=("bytes=300",)))
    assert not (tmp_path / "r" / "sense.cache").exists()


def test_few_calibration_samples_are_remarked(tmp_path, capsys):
    from qsearch.screen import Screen
    d = small.data()
    one = {"x": d["x"][:20], "y": d["y"][:20], "calib_x": d["x"][:1]}
    r = flow.run(small.net(), one, tmp_path / "r", replace(SETTINGS, pareto=0), Screen())
    assert "note: 1 calibration samples make for poor ranges; give 32 or more" in capsys.readouterr().err and r.mismatches == 0
