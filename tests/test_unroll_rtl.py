"""The adders of unrolled designs made of a device's own cells: proven equal to the expression that they stand for."""
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hw.synth.tools import command

RTL = Path(__file__).parents[1] / "hw" / "rtl"
RNG = np.random.default_rng(5)


def bits(width: int) -> int: return int(RNG.integers(1 << width))


def segment(width: int) -> int:
    """Neighbouring bits of an operand, as a mask."""
    low = int(RNG.integers(width))
    return (1 << int(RNG.integers(low, width)) + 1) - (1 << low)


def three(width: int, constant: bool) -> dict[str, str]:
    """Parameters of qs_add3: three operands, or two and a constant."""
    a, b, c = segment(width), segment(width), 0 if constant else segment(width)
    flips = bits(width) & a, bits(width) & b, bits(width) & (c or (1 << width) - 1)
    values = dict(zip(("MaskA", "MaskB", "MaskC", "FlipA", "FlipB", "FlipC"), (a, b, c, *flips)))
    return {"Width": str(width)} | {k: f"{width}'d{v}" for k, v in values.items()}


ADD3 = [("qs_add3", three(w, k % 3 == 0), "Carry", "0", ("4", "8")[k % 2]) for k, w in enumerate([1, 2, 3, 4, 5, 7, 8, 9, 12, 13])]
ADD2 = [("qs_add2", {"Width": str(w), "FlipA": f"{w}'d{bits(w)}", "FlipB": f"{w}'d{bits(w)}"}, "Ccu2c", "1'b0", "1'b1") for w in (1, 2, 5, 10, 23)]
CLIP = [("qs_clip", {"InWidth": str(i), "OutWidth": str(o), "Signed": f"1'b{s}"}, "Lut6", "1'b0", "1'b1")
        for i, o, s in [(2, 1, 1), (9, 8, 1), (12, 8, 0), (14, 5, 1), (5, 5, 0)]]


def ports(module: str, width: int) -> str:
    """The ports of a module as they are declared, parameters filled in."""
    text = (RTL / f"{module}.sv").read_text()
    return re.search(r"\) \(\n(.*?)\);", text, re.S)[1].replace("Width", str(width)) if module != "qs_clip" else ""


def wrapper(name: str, module: str, params: dict[str, str]) -> str:
    given = ", ".join(f".{k}({v})" for k, v in params.items())
    if module == "qs_clip":
        io = f"input logic [{params['InWidth']}-1:0] x_i, output logic [{params['OutWidth']}-1:0] y_o"
    else:
        io = ports(module, int(params["Width"]))
    return f"module {name} ({io});\n  {module} #({given}) u ({', '.join(f'.{p}' for p in re.findall(r'[a-z]+_[io]', io))});\nendmodule\n"


def proven(cases, cells: list[str], work: Path) -> list[bool]:
    """Whether each case's two forms are equal for every input, by Yosys's SAT solver."""
    text, proofs = "", ""
    for k, (module, params, switch, plain, mapped) in enumerate(cases):
        text += wrapper(f"plain{k}", module, params | {switch: plain}) + wrapper(f"mapped{k}", module, params | {switch: mapped})
        proofs += f"design -load all\nmiter -equiv -flatten -make_outputs plain{k} mapped{k} miter{k}\nhierarchy -top miter{k}\nproc\nflatten\n" \
                  f"opt -full\ntee -o {k}.log sat -prove trigger 0 miter{k}\n"
    (work / "tops.sv").write_text(text)
    modules = sorted({str(RTL / f"{m}.sv") for m, *_ in cases})
    (work / "run.ys").write_text(f"read_verilog -sv -D SYNTHESIS {' '.join(modules)} tops.sv\nread_verilog -D NO_INCLUDES {' '.join(cells)}\n"
                                 f"hierarchy\nproc\nflatten\ndesign -save all\n{proofs}")
    done = subprocess.run([*command("yosys"), "-q", "-s", "run.ys"], cwd=work, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return ["no model found: SUCCESS" in (work / f"{k}.log").read_text() for k in range(len(cases))]


@pytest.mark.parametrize("cases, cells", [(ADD3 + CLIP, "+/xilinx/cells_sim.v"), (ADD2, "+/ecp5/cells_sim.v")], ids=["lut6", "ecp5"])
def test_cells_add(cases, cells, tmp_path):
    assert proven(cases, [cells], tmp_path) == [True] * len(cases)


def test_the_proof_can_fail(tmp_path):
    """Two different sums are told apart."""
    assert proven([("qs_add3", {"Width": "4", "FlipA": "4'd0"}, "FlipB", "4'd0", "4'd1")], ["+/xilinx/cells_sim.v"], tmp_path) == [False]
