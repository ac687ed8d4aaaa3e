"""The same numbers wherever cells are measured; what a kill leaves behind; what goes wrong on the way, in one line."""
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ir import UserError
from search import ENGINES, measure
from search.engines import fitting, free_memory
from search.metrics import METRICS, metric
from test_search_measure import BITS, OPTIONS, NumpyNet

HERE = Path(__file__).parent


@pytest.fixture(autouse=True, scope="module")
def importable():
    """Workers import the probe's class from where this file lies."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent)])
    yield
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@pytest.fixture(scope="module")
def here(): return measure(NumpyNet(), ["kl", "mse"], OPTIONS)


@pytest.fixture(scope="module")
def cluster():
    """A Ray of our own for this file: ENGINES["ray"] joins what is running."""
    import ray
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=True, logging_level="ERROR",
             object_store_memory=10**8, runtime_env={"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}})
    yield
    ray.shutdown()


@pytest.mark.slow
def test_processes_give_the_same_tables(here, tmp_path):
    cache = tmp_path / "cells.jsonl"
    there = measure(NumpyNet(), ["kl", "mse"], OPTIONS, cache, workers=2)
    assert {m: t.rows for m, t in there.items()} == {m: t.rows for m, t in here.items()}
    assert len(cache.read_text().splitlines()) == 2 * len(OPTIONS) * len(BITS)


@pytest.mark.slow
def test_ray_gives_the_same_tables_and_goes_on_where_it_was(here, tmp_path, cluster):
    cache, calls = tmp_path / "cells.jsonl", tmp_path / "calls"
    measure(NumpyNet(), ["kl", "mse"], {"fc1": BITS}, cache, engine="ray")
    there = measure(NumpyNet(calls=str(calls)), ["kl", "mse"], OPTIONS, cache, engine="ray", workers=2)
    assert {m: t.rows for m, t in there.items()} == {m: t.rows for m, t in here.items()}
    ran = [line for line in calls.read_text().splitlines() if line != "[]"]
    assert len(ran) == (len(OPTIONS) - 1) * len(BITS) and not any("fc1" in line for line in ran)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_workers_mistake_is_one_line(engine, cluster):
    net = NumpyNet()

    @metric("late", "none")
    def late(probe, layer, option):
        """Fails in a worker, not in the first unit, which is measured at home."""
        if layer == "out":
            raise UserError(f"layer {layer!r}: no")
        return 1.0
    try:
        with pytest.raises(UserError, match=r"^layer 'out': no$"):
            measure(net, ["late"], OPTIONS, engine=engine, workers=2)
    finally:
        METRICS.pop("late")


KILLED = """
import os, signal, sys
from test_search_measure import NumpyNet, OPTIONS
from search import measure
def progress(done, total, text):
    if done >= 9:
        os.kill(os.getpid(), signal.SIGKILL)
measure(NumpyNet(), ["kl", "mse"], OPTIONS, {cache!r}, progress, workers=2)
"""


@pytest.mark.slow
def test_a_killed_sweep_of_processes_resumes(here, tmp_path):
    cache, calls = tmp_path / "cells.jsonl", tmp_path / "calls"
    code = KILLED.format(cache=str(cache))
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE.parent, env=os.environ, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    kept = len(cache.read_text().splitlines())
    assert kept >= 9
    again = measure(NumpyNet(calls=calls), ["kl", "mse"], OPTIONS, cache)
    assert {m: t.rows for m, t in again.items()} == {m: t.rows for m, t in here.items()}
    assert len(calls.read_text().splitlines()) <= 1 + len(OPTIONS) * len(BITS) - kept // 2


def test_bad_engines():
    with pytest.raises(UserError, match=r"^unknown engine 'dask' \(known: local, ray\)"):
        measure(NumpyNet(), ["mse"], OPTIONS, engine="dask")
    with pytest.raises(UserError, match=r"^0 workers; give 1 or more$"):
        measure(NumpyNet(), ["mse"], OPTIONS, workers=0)
    assert list(ENGINES) == ["local", "ray"]


def test_a_probe_that_cannot_travel():
    net = NumpyNet()
    net.lock = threading.Lock()
    with pytest.raises(UserError, match=r"^the probe cannot be sent to workers \(.*\); measure with one worker$"):
        measure(net, ["mse"], OPTIONS, workers=2)


def test_workers_fit_into_memory():
    free = free_memory()
    assert free > 2**20
    assert fitting(8, free) == 1 and fitting(1, 1) == 1
    assert fitting(10**6, 2**20) < 10**6


@pytest.mark.slow
def test_a_simulation_travels(tmp_path):
    """The probe of real nets: torch tensors, a calibration, what was rounded before."""
    import torch
    import quant
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 10)).eval()
    x = torch.randn(32, 1, 8, 8)
    net = quant.capture(model, x[:2])
    probe = quant.Simulation(net, quant.calibrate(net, x), x, rounding="gptq")
    menus = {layer: ("int2/uint8", "int4/uint4", "int4/uint8") for layer in net.layers}
    alone, many = (measure(probe, ["kl", "sqnr"], menus, workers=n) for n in (1, 2))
    for name, table in alone.items():
        assert table.about["model"] == net.hash
        for layer, row in table.rows.items():
            assert many[name].rows[layer] == pytest.approx(row, rel=1e-5)
