"""The computed depths of buffers against simulation: enough, and little more."""
import numpy as np
import pytest
from strategies import samples

import sim_graphs
from hw.dataflow.build import build
from ir import UserError, run
from sim.fifos import Bench, needs

pytestmark = pytest.mark.slow

SLACK = 8  # beats that a computed depth may have beyond what is needed: registers of modules are not counted
CASES = [("resnet", {}), ("branches", {}), ("unet", {"c1": (4, 3), "c2": (2, 4), "c3": (4, 8)})]


@pytest.mark.parametrize("name, folding", CASES, ids=[c[0] for c in CASES])
def test_no_slack_beyond_need(name, folding, tmp_path):
    """With the computed depths nothing is lost, whoever stalls; with one beat less than needed the frames come later or not at all."""
    g = getattr(sim_graphs, name)()
    x = samples(g, 4)
    depths = {i.name: i.params["Depth"] for i in build(g, folding).instances if i.module == "qs_fifo" and "_arg" in i.name}
    bench = Bench(g, tmp_path, folding)
    quiet, outputs, most = bench.run(x)
    assert np.array_equal(outputs, run(g, x)) and np.array_equal(bench.run(x, stalls=3)[1], run(g, x))
    found = needs(g, x, depths, folding)
    assert {f.name: f.most for f in found} == {n: most[n] for n in depths}
    for f in found:
        assert f.needs <= f.depth <= max(2, f.needs + SLACK), f
        if f.needs > 1:
            try:
                assert bench.run(x, {f.name: f.needs - 1})[0] > quiet, f
            except UserError as e:
                assert "deadlock" in str(e)
    assert any(f.needs > 1 for f in found)
