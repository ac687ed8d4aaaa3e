"""Proves the modules of the library over a table of parameters and prints a line for each property.

    python benchmarks/proofs.py [--limit SECONDS] [MODULE ...]

A line: module, parameters, property, how far the proof goes, lemmas found on the way, seconds.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from hw.proof import prove_module  # noqa: E402
from hw.proof.design import proof, told  # noqa: E402


def vector(*values: int) -> int: return sum(v << 32 * k for k, v in enumerate(values))


def mem(*values: int) -> str: return "".join(f"{v:x}\n" for v in values)


TABLE = [
    ("qs_skid", {"DataWidth": 2}, {}),
    *(("qs_fifo", {"DataWidth": 2, "Depth": d}, {}) for d in (1, 2, 3, 5, 8, 19)),
    *(("qs_fork", {"NumOut": n, "Width": 2}, {}) for n in (1, 2, 3, 4)),
    *(("qs_dwc", {"Width": 2, "InLanes": i, "OutLanes": o}, {}) for i, o in [(1, 2), (1, 3), (2, 6), (2, 1), (3, 1), (6, 2), (2, 2)]),
    *(("qs_resize", {"Lanes": n, "InWidth": 3, "InSigned": s, "OutWidth": 5}, {}) for n in (1, 2, 3) for s in (0, 1)),
    *(("qs_axis_out", {"Width": 3, "DataWidth": 8, "Beats": n}, {}) for n in (1, 2, 3)),
    ("qs_concat", {"NumIn": 2, "Width": 2, "Beats": vector(2, 1)}, {}), ("qs_concat", {"NumIn": 3, "Width": 2, "Beats": vector(1, 2, 1)}, {}),
    ("qs_slice", {"Rank": 1, "Width": 2, "Size": 3, "Start": 1, "Stop": 3, "Step": 1}, {}),
    ("qs_slice", {"Rank": 2, "Width": 2, "Size": vector(2, 3), "Start": vector(0, 1), "Stop": vector(2, 3), "Step": vector(1, 2)}, {}),
    ("qs_pad", {"Rank": 1, "Width": 2, "Size": 2, "Before": 1, "After": 1, "Value": 2}, {}),
    ("qs_pad", {"Rank": 2, "Width": 2, "Size": vector(2, 1), "Before": vector(1, 0), "After": vector(0, 1), "Value": 1}, {}),
    *(("qs_expand", {"Width": 2, "Block": b, "Repeat": r, "Copies": c}, {}) for b, r, c in [(1, 1, 2), (1, 3, 2), (2, 2, 1)]),
    ("qs_reorder", {"Width": 3, "InBeats": 2, "OutBeats": 2, "OrderFile": "o.mem"}, {"o.mem": mem(1, 0)}),
    ("qs_gather", {"InWidth": 2, "NumRows": 3, "RowBeats": 2, "Lanes": 1, "OutWidth": 3, "TableFile": "t.mem"}, {"t.mem": mem(3, 1, 0, 7, 5, 2)}),
    ("qs_constant", {"Width": 3, "Beats": 3, "ValueFile": "v.mem"}, {"v.mem": mem(1, 7, 2)}),
    ("qs_lut", {"Lanes": 2, "InWidth": 3, "OutWidth": 4, "TableFile": "t.mem"}, {"t.mem": mem(3, 9, 1, 0, 15, 7, 2, 8)}),
    *(("qs_add", {"Lanes": n, "AWidth": 3, "ASigned": 1, "BWidth": 2, "BSigned": 0, "OutWidth": 4}, {}) for n in (1, 2, 3)),
    ("qs_mul", {"Lanes": 1, "AWidth": 4, "ASigned": 1, "BWidth": 3, "BSigned": 0, "OutWidth": 7}, {}),
    ("qs_div", {"Lanes": 1, "AWidth": 3, "ASigned": 1, "BWidth": 2, "OutWidth": 3, "OutSigned": 1, "Turns": 1}, {}),
    ("qs_sqrt", {"Lanes": 1, "InWidth": 4, "OutWidth": 2, "Turns": 1}, {}),
    ("qs_pool", {"Lanes": 1, "Blocks": 1, "Taps": 3, "InWidth": 3, "InSigned": 1, "OutWidth": 5, "Largest": 0}, {}),
    ("qs_pool", {"Lanes": 1, "Blocks": 2, "Taps": 2, "InWidth": 3, "InSigned": 0, "OutWidth": 3, "Largest": 1}, {}),
    ("qs_requant", {"Lanes": 1, "Rows": 8, "Repeat": 1, "InWidth": 5, "InSigned": 1, "OutWidth": 4, "MulWidth": 3, "MulSigned": 1, "Shift": 2,
                    "Zero": 1, "Lo": -8, "Hi": 7, "MulFile": "m.mem"}, {"m.mem": mem(*range(8))}),
    ("qs_recur", {"Lanes": 1, "Steps": 2, "Beats": 1, "AWidth": 2, "ASigned": 1, "BWidth": 3, "BSigned": 1, "CWidth": 2, "CSigned": 1, "OutWidth": 3,
                  "OutSigned": 1, "SumWidth": 7, "Shift": 1, "Lo": -3, "Hi": 3}, {}),
]


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("module", nargs="*")
    given.add_argument("--limit", type=float, default=120, help="seconds for each case")
    options = given.parse_args()
    for module, params, mems in TABLE:
        if options.module and module not in options.module:
            continue
        r = prove_module(module, params, mems, options.limit)
        for p in r.proofs:
            print(f"{module} | {told(params)} | {p.property} | {proof(p.method, p.depth)} | {r.lemmas} lemmas | {p.seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
