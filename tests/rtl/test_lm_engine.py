"""qs_lm_engine alone, as chains and as a tree of threes: exact sums, extremes; the tree's cells for AMD's devices do what they stand for."""
import subprocess
from pathlib import Path

import numpy as np
import pytest

from checks import Check, agree
from hw.synth.tools import command
from lm_beats import beats
from sim import Case
from sim.build import LIBRARY
from sim.words import pack

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, Path(__file__).parent / "sv")


def unit(trits: int, encoding: int, width: int, batch: int, most_beats: int, rows: int = 24, **params) -> Check:
    """Rows of 1 to most_beats beats; of the first four all products have one sign and are as large as they can be."""
    rng, top = np.random.default_rng(trits + width), (1 << width - 1) - 1
    acc, feed, want = (top * trits * most_beats).bit_length() + 1, [], []
    for r in range(rows):
        n = most_beats if r < 4 else int(rng.integers(1, most_beats + 1))
        w, x = rng.integers(-1, 2, (n, trits)), rng.integers(-top, top + 1, (batch, n, trits))
        if r < 4:
            w[:], x[:] = (1, -1)[r % 2], (top, -top)[r // 2]
        for i, b in enumerate(beats(w, encoding)):
            bits = 2 * trits if encoding == 1 else trits // 5 * 8
            feed.append(((i == 0) << 1 | (i == n - 1)) << batch * trits * width + bits | pack(x[:, i], batch * trits, width)[0] << bits | b)
        want += pack((x * w).sum((1, 2)), batch, acc)
    params |= dict(Trits=trits, ActWidth=width, Batch=batch, AccWidth=acc, Encoding=encoding, Rows=rows)
    return Check(Case("lm_engine", params, {"s": feed}, {"m": rows}), {"m": want})


def test_sums(tmp_path):
    agree([unit(5, 0, 8, 1, 3, Threes=1), unit(4, 1, 8, 1, 1, Threes=1), unit(40, 2, 16, 1, 2, Threes=1), unit(64, 1, 8, 1, 3, Threes=1),
           unit(80, 2, 8, 1, 5, Threes=1), unit(15, 2, 9, 2, 2, Threes=1), unit(80, 2, 8, 1, 5), unit(40, 2, 12, 1, 3, Link=2), unit(25, 2, 8, 2, 2, Link=1)],
          tmp_path, (None, 1), folders=FOLDERS)


@pytest.mark.parametrize("carry", [4, 8])
@pytest.mark.parametrize("top, ready", [("qs_lm_pair", "(minus & ~on) == 0"), ("qs_lm_sum3", "1'b1")])
def test_cells(tmp_path, top, ready, carry):
    """The LUTs and carry cells, proven equal to the expression beside them for all operands of 5 and 9 bits."""
    ports = ".a_i(a), .b_i(b), .on_i(on), .minus_i(minus), .carry_i(c[0])" if top == "qs_lm_pair" else ".a_i(a), .b_i(b), .c_i(c), .carry_i(on)"
    for width in (5, 9):
        (tmp_path / "both.sv").write_text(f"""module both (input logic [{width - 1}:0] a, b, c, input logic [1:0] on, minus, output logic wrong);
  wire [{width - 1}:0] x, y;
  {top} #(.Width({width}), .Carry(0)) u_plain ({ports}, .y_o(x));
  {top} #(.Width({width}), .Carry({carry})) u_cells ({ports}, .y_o(y));
  assign wrong = ({ready}) && x != y;
endmodule
""")
        script = (f"read_verilog +/xilinx/cells_sim.v; read_verilog -sv -D SYNTHESIS {LIBRARY / top}.sv both.sv; hierarchy -top both; proc; flatten; "
                  "opt -full; sat -verify -prove wrong 0 both")
        (tmp_path / f"{top}.sv").write_text((LIBRARY / f"{top}.sv").read_text())
        done = subprocess.run([*command("yosys"), "-q", "-p", script.replace(f"{LIBRARY / top}.sv", f"{top}.sv")], cwd=tmp_path, capture_output=True,
                              text=True, timeout=300)
        assert done.returncode == 0, (done.stdout + done.stderr)[-400:]
