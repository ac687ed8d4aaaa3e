"""A case of benchmarks/unrolled.py through da4ml or alkaid, run by the Python that has them.

    python unrolled_peer.py da4ml|alkaid CASE.npz FOLDER      prints one line of JSON
"""
import json
import sys
import time
from pathlib import Path

import numpy as np

CUTOFF = 5  # of latency in a stage, in the peers' own unit


def main(peer: str, case: str, out: str) -> None:
    z = np.load(case)
    lo, hi, bits, last = int(z["in_lo"]), int(z["in_hi"]), int(z["abits"]), int(z["n_layers"]) - 1
    start = time.perf_counter()
    if peer == "da4ml":
        from da4ml.trace import FixedVariableArrayInput, comb_trace as trace
        x = FixedVariableArrayInput((len(z["W0"]),), solver_options={"hard_dc": 2})
    else:
        from alkaid.trace import FVArrayInput, trace
        x = FVArrayInput((len(z["W0"]),))
    v = x.quantize(int(lo < 0), max(hi, -lo - 1).bit_length(), 0)
    for k in range(last + 1):
        v = v @ z[f"W{k}"].astype(np.float64) + z[f"b{k}"].astype(np.float64)
        if k < last:
            v = (v.relu() * 2.0 ** -int(z[f"s{k}"])).quantize(0, bits, 0, "SAT", "TRN")
    logic = trace(x, v)
    if peer == "da4ml":
        from da4ml.codegen import VerilogModel
        model = VerilogModel(logic, "model", out, latency_cutoff=CUTOFF)
        cycles = len(model._pipe.solutions) + 1
    else:
        from alkaid.codegen import RTLModel
        from alkaid.trace import to_pipeline
        model = RTLModel(to_pipeline(logic, latency_cutoff=CUTOFF, verbose=False), out, "model")
        cycles = 0
    model.write()
    cycles = cycles or len(list(Path(out, "src").glob("logic*.v"))) + 1
    seconds = time.perf_counter() - start
    wrong = int((np.asarray(logic.predict(z["x"].astype(np.float64))).reshape(z["y"].shape) != z["y"]).sum())
    print(json.dumps({"seconds": seconds, "cycles": cycles, "mismatches": wrong, "top": "model",
                      "adders": sum(op.opcode in (0, 1) for op in logic.ops)}))


main(*sys.argv[1:])
