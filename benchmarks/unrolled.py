"""Constant matrices as unrolled pipelines, beside da4ml and alkaid on the same weights under the same Yosys commands.

    python -m benchmarks.unrolled CASES b2 c2 [--family xcup|ecp5] [--peer ours,da4ml,alkaid] [--peer-python PYTHON] [--effort 10]
                                  [--stages N] [--depth N] [--flow plain|alu] [--device ecp5-25k --route] [--json FILE]

CASES: folder of NAME.npz with W0, b0, s0, W1, ... (n_layers of them), abits, in_lo, in_hi and golden vectors x, y:
acc = x @ W + b, hidden layers y = min(max(acc, 0) >> s, 2**abits - 1).  A peer's own tool makes its RTL, in the Python that has it.
flow plain: read, synth_xilinx -family xcup -flatten -noiopad -noclkbuf (or synth_ecp5), abc9's SAT check off because it does not end;
alu: every adder a carry chain before (hw/data/arith.v), which spares the peers Yosys's merging of adders.  One frame a cycle;
cycles are the register ranks from frame to result, those of input and result included.
"""
import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import hw
import sim
from hw.synth import nextpnr, timing, yosys
from hw.synth.squeeze import expanded
from hw.targets import FAMILIES, fpga
from hw.unroll.design import write
from hw.unroll.scalars import Sum
from ir import Dense, Graph, Input, Ints, Requant, ops, run
from ir.store import save_text

RTL = Path(hw.__file__).parent / "rtl"
STAGES = {"a1": 7, "a2": 5, "a3": 7, "b1": 3, "b2": 3, "c1": 2, "c2": 2, "c3": 2, "d1": 2}  # of logic, as da4ml cuts at five adders
SYNTH = {"xcup": "synth_xilinx -family xcup -flatten -noiopad -noclkbuf", "ecp5": "synth_ecp5"}
LIMIT_S = 7200


def graph(z) -> Graph:
    """The case as an integer graph; a floor is a rounding to nearest with half a step taken from the bias before."""
    g, last = Graph(), int(z["n_layers"]) - 1
    at = g.add("x", Input(Ints((len(z["W0"]),), int(z["in_lo"]), int(z["in_hi"]))))
    for k in range(last + 1):
        shift = int(z[f"s{k}"]) if k < last else 0
        at = g.add(f"dense{k}", Dense(z[f"W{k}"].T, z[f"b{k}"].astype(np.int64) - ops.half(shift)), at)
        if k < last:
            at = g.add(f"relu{k}", Requant([1], shift, 0, 0, 2 ** int(z["abits"]) - 1), at)
    return g


def ours(name: str, z, family: str, a, work: Path) -> dict:
    g = graph(z)
    if not np.array_equal(run(g, z["x"]), z["y"]):
        raise SystemExit(f"{name}: the graph is not the case")
    start = time.perf_counter()
    u = hw.unroll(g, family, a.stages or STAGES[name[:2]], last=True, effort=a.effort, depth=a.depth)
    row = {"seconds": time.perf_counter() - start, "cycles": u.pipeline.latency, "adders": sum(isinstance(op, Sum) for op in u.scalars.ops)}
    (work / "qs_pipeline.sv").write_text(u.text())
    sources = [work / "qs_pipeline.sv", *(RTL / f"{m}.sv" for m in ("qs_add2", "qs_add3", "qs_clip"))]
    made = sim.simulate(write(u, work / "design"), z["x"])
    return row | {"mismatches": int((made.outputs != z["y"]).sum()), "sources": sources, "top": "qs_pipeline"}


def peer(name: str, case: Path, which: str, python: str, work: Path) -> dict:
    """What the peer's tool writes; its mismatches are its own interpreter's."""
    script = Path(__file__).with_name("unrolled_peer.py")
    done = subprocess.run([python, script, which, case, work / "model"], capture_output=True, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1])
    sources = [p for p in (work / "model" / "src").rglob("*.v") if p.stem not in (row["top"] + "_wrapper", "lookup_table")]
    return row | {"sources": sources}


def synthesized(row: dict, family: str, flow: str, work: Path) -> dict:
    """LUT, FF and carry cells; for ECP5 the netlist too."""
    names = []
    for p in row.pop("sources"):
        (work / p.name).write_text(p.read_text())
        names.append(p.name)
    top = row.pop("top")
    (work / yosys.ARITH.name).write_text(yosys.ARITH.read_text())
    alu = [f"hierarchy -top {top}", "proc", "opt_clean", f"techmap {FAMILIES[family].arith} -D DSP_BITS=64 -map {yosys.ARITH.name}"]
    text = "\n".join([f"read_verilog -sv {' '.join(names)}", *(alu if flow == "alu" else []), "scratchpad -set abc9.verify 0",
                      f"{SYNTH[family]} -top {top}", "tee -o stat.json stat -json", "write_json netlist.json", ""])
    start = time.perf_counter()
    yosys.run(work, text, top, LIMIT_S, "netlist.json")
    cells = yosys.cells(work / "stat.json")
    row |= {"synthesis": time.perf_counter() - start, "lut": sum(n for c, n in cells.items() if c.startswith("LUT")),
            "ff": sum(n for c, n in cells.items() if c.startswith(("FD", "TRELLIS_FF"))),
            "carry": sum(n * w for c, w in (("CARRY4", 4), ("CARRY8", 8), ("CCU2C", 2)) for n in [cells.get(c, 0)])}
    if family == "ecp5":
        row["lut"] += row["carry"]
    return row | {"module": json.loads((work / "netlist.json").read_text())["modules"][top], "top": top}


def routed(row: dict, device: str, route: bool) -> dict:
    """TRELLIS_COMB after packing in a harness of shift registers, what is the harness's taken off; with route the clock too."""
    module, top, part = row.pop("module"), row.pop("top"), nextpnr.PARTS[device]
    clock = next(n for n in ("clk_i", "clk") if n in module["ports"])
    made = nextpnr.route(module, top, FAMILIES["ecp5"], part, nextpnr.arguments(part, fpga(device).clock_mhz, 1, not route), LIMIT_S, clock=clock)
    row["comb"] = made["utilisation"]["TRELLIS_COMB"][0] - made["harness"].get("lut", 0)
    if route:
        row["fmax"] = timing.fmax_mhz(json.loads(expanded(made["report"])))
    return row


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("cases", type=Path)
    p.add_argument("names", nargs="+")
    p.add_argument("--family", choices=SYNTH, default="xcup")
    p.add_argument("--peer", default="ours")
    p.add_argument("--peer-python", default="python")
    p.add_argument("--effort", type=int, default=10)
    p.add_argument("--stages", type=int, default=0)
    p.add_argument("--depth", type=int, help="levels of adders of a layer at most")
    p.add_argument("--flow", choices=("plain", "alu"), default="plain")
    p.add_argument("--device", default="ecp5-85k")
    p.add_argument("--route", action="store_true")
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    rows, columns = [], ("case", "peer", "adders", "cycles", "lut", "ff", "carry", "comb", "fmax", "mismatches", "seconds", "synthesis")
    print(*(f"{c:>10}" for c in columns))
    for name in a.names:
        case = next(a.cases.glob(f"{name}*.npz"))
        for which in a.peer.split(","):
            with tempfile.TemporaryDirectory() as d, np.load(case) as z:
                work = Path(d)
                row = ours(case.stem, z, a.family, a, work) if which == "ours" else peer(case.stem, case, which, a.peer_python, work)
                row = synthesized(row, a.family, a.flow, work)
                row = routed(row, a.device, a.route) if a.family == "ecp5" else {k: v for k, v in row.items() if k not in ("module", "top")}
            rows.append({"case": name, "peer": which, "flow": a.flow} | row)
            print(*(f"{v:10.1f}" if isinstance(v := rows[-1].get(c, "-"), float) else f"{v:>10}" for c in columns), flush=True)
            if a.json:
                save_text(a.json, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
