"""Measure what the modules of hw/rtl cost on an FPGA family, and fit the constants of hw/cost/models.py to it.

    python benchmarks/fit_hw_cost.py --family ecp5              measure what is not measured yet, then fit
    python benchmarks/fit_hw_cost.py --family ecp5 --fit-only   fit to what is there

Every run of Yosys is kept in hw/data/<family>_runs.json under the hash of the RTL it measured, so the work can be stopped
and goes on where it was; runs of RTL that has changed since are made anew and the old ones dropped.
"""
import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from hw.cost.graph import constants, graph_costs, total  # noqa: E402
from hw.cost.memory import BLOCKS  # noqa: E402
from hw.cost.models import KNOWN, parts  # noqa: E402
from hw.cost.runs import measure, rtl_hash  # noqa: E402
from hw.synth.design import synth_design  # noqa: E402
from hw.synth.yosys import version  # noqa: E402
from hw.targets import DSP_BITS, TARGETS  # noqa: E402
from hw.dataflow.verilog import generate  # noqa: E402
from hw.dataflow.windows import ring_rows  # noqa: E402
from ir import Add, Conv, Dense, Graph, Input, Ints, MaxPool, Requant, Reshape, store  # noqa: E402
from ir.ops import round_shift  # noqa: E402

DATA = ROOT / "hw" / "data"
FOLDS = 5


def cases() -> list[tuple[str, dict, int]]:
    """(module, parameters, dsp_bits): one parameter after the other around a usual point, and seeded mixtures."""
    out = []
    for module, (base, sweep, mixtures) in SWEEPS.items():
        points = [base] + [base | change for change in sweep]
        r = random.Random(module)
        points += [base | {k: r.choice(v) for k, v in mixtures.items()} for _ in range(MIXTURES[module])] if mixtures else []
        for p in points:
            dsp_bits = p.get("dsp_bits", 9)
            settle = SETTLE.get(module, lambda p: p)
            out.append((module, settle({k: v for k, v in p.items() if k != "dsp_bits"}), dsp_bits))
    return list({key(*c): c for c in out}.values())


def each(**choices) -> list[dict]: return [{k: v} for k, vs in choices.items() for v in vs]


def vector(*values) -> int: return sum(v << 32 * k for k, v in enumerate(values))


def grid(**choices) -> list[dict]: return [dict(zip(choices, vs)) for vs in itertools.product(*choices.values())]


SWEEPS = {  # module -> usual point, changes to it, what mixtures draw from
    "qs_mvu": (
        dict(Groups=1, Rows=32, Cols=144, Pe=4, Simd=4, InWidth=8, InSigned=0, WeightWidth=4, BiasWidth=16, OutWidth=20, Products=1, Weights=0),
        grid(Pe=(1, 8), Simd=(1, 8), WeightWidth=(2, 4)) + each(InWidth=(2, 4), WeightWidth=(1, 3, 6), OutWidth=(14, 28), Weights=(1, 3))
        + each(Cols=(4, 1152), Products=(0, 2, 3)) + grid(Products=(0, 2), WeightWidth=(8,), Simd=(1, 8)) + [dict(Products=0, dsp_bits=2)]
        + [dict(Rows=8, Cols=8, Pe=8, Simd=8, InWidth=a, WeightWidth=w, Products=0) for a, w in ((8, 4), (4, 2))],
        dict(Pe=(1, 2, 4, 8), Simd=(1, 2, 3, 6, 8), InWidth=(2, 4, 8), InSigned=(0, 1), WeightWidth=(2, 2, 3, 4, 5, 6, 8), Products=(0, 1, 1, 1, 2),
             OutWidth=(16, 18, 22, 24), BiasWidth=(8, 12, 18), Rows=(16, 64, 128), Cols=(48, 144, 288), dsp_bits=(9, 9, 9, 4))),
    "qs_vvu": (
        dict(Lanes=4, Blocks=8, Taps=9, Simd=1, InWidth=8, InSigned=0, WeightWidth=4, BiasWidth=12, OutWidth=18, Products=1, Weights=0),
        each(Lanes=(1, 8), Blocks=(1, 32), WeightWidth=(2, 6)) + [dict(Products=k, WeightWidth=8) for k in (0, 2)] + [dict(Products=0, dsp_bits=2)],
        dict(Lanes=(1, 2, 4, 8), Blocks=(4, 16), InWidth=(4, 8), InSigned=(0, 1), WeightWidth=(2, 4, 8), OutWidth=(14, 20))),
    "qs_requant": (
        dict(Lanes=4, Rows=8, Repeat=1, InWidth=20, InSigned=1, OutWidth=8, MulWidth=15, MulSigned=0, Shift=20, Zero=0, Lo=0, Hi=255),
        each(Lanes=(1, 8), Rows=(1,), InWidth=(12, 17), MulWidth=(8,), Shift=(12,))
        + [dict(OutWidth=4, Lo=-8, Hi=7, Rows=64), dict(Lo=-108, Hi=147, Zero=20, InWidth=28), dict(OutWidth=2, Lo=0, Hi=3, MulWidth=17),
           dict(MulSigned=1, MulWidth=16), dict(InWidth=9, MulWidth=8, Shift=9), dict(InWidth=8, MulWidth=6, Rows=32, Shift=7)]
        + [dict(Constant=1, Rows=1, Mul=m, InWidth=w, MulWidth=m.bit_length(), Shift=s) for m, w, s in ((2048, 9, 3), (23131, 20, 20), (301, 9, 8))],
        dict(Lanes=(1, 2, 4, 8), Rows=(1, 4, 16), InWidth=(12, 16, 19, 22), MulWidth=(8, 12, 15, 17), Shift=(12, 16, 18, 22))),
    "qs_threshold": (
        dict(Lanes=4, Steps=4, Rows=4, Repeat=1, InWidth=16, InSigned=1, ThresholdWidth=16, Signed=1, OutWidth=4, Lo=0, Falls=0),
        each(Lanes=(1, 8), Steps=(1, 2, 3, 6), Rows=(1, 2, 8, 32), InWidth=(20,)) + [dict(Falls=1), dict(Lo=-8), dict(Rows=1, Steps=8, Lanes=1)],
        dict(Lanes=(1, 2, 4), Steps=(1, 2, 3, 4), Rows=(1, 4, 16), InWidth=(10, 13, 18, 22), Repeat=(1, 3))),
    "qs_window": (
        dict(Lanes=4, Blocks=4, Groups=1, Width=8, PadValue=0, InRows=16, InCols=16, OutRows=16, OutCols=16, KernelRows=3, KernelCols=3,
             StrideRows=1, StrideCols=1, DilateRows=1, DilateCols=1, PadTop=1, PadLeft=1),
        each(Lanes=(1, 16), Blocks=(1, 32))
        + [dict(InRows=64, InCols=64, OutRows=64, Blocks=8), dict(InCols=1, KernelCols=1, PadLeft=0, InRows=64, OutRows=64),
           dict(KernelRows=5, KernelCols=5, PadTop=2, PadLeft=2), dict(StrideRows=2, StrideCols=2, OutRows=8),
           dict(KernelRows=2, KernelCols=2, StrideRows=2, StrideCols=2, PadTop=0, PadLeft=0, OutRows=8, Groups=4)],
        dict(Lanes=(1, 2, 4, 8), Blocks=(2, 4, 8, 32), Width=(2, 4, 8), InCols=(10, 16, 32))),
    "qs_taps": (
        dict(Lanes=4, Blocks=1, Taps=9, Width=8, PadValue=0, InRows=16, InCols=16, OutRows=16, OutCols=16, KernelRows=3, KernelCols=3,
             StrideRows=1, StrideCols=1, DilateRows=1, DilateCols=1, PadTop=1, PadLeft=1),
        each(Lanes=(1,), Blocks=(4, 16), Taps=(3,))
        + [dict(StrideRows=2, StrideCols=2, OutRows=8, OutCols=8), dict(InRows=32, InCols=32, OutRows=32, OutCols=32),
           dict(KernelRows=5, KernelCols=5, Taps=5, PadTop=2, PadLeft=2, Lanes=1),
           dict(InRows=64, OutRows=64, InCols=1, OutCols=1, KernelCols=1, PadLeft=0, Taps=3, Lanes=8)], {}),
    "qs_fifo": (dict(DataWidth=16, Depth=64), grid(DataWidth=(4, 48), Depth=(2, 32, 600)), {}),
    "qs_skid": (dict(DataWidth=16), each(DataWidth=(4, 64)), {}),
    "qs_dwc": (dict(Width=8, InLanes=1, OutLanes=4),
               [dict(InLanes=i, OutLanes=o, Width=w) for i, o, w in ((1, 8, 16), (2, 1, 4), (8, 1, 16), (16, 4, 8))], {}),
    "qs_pool": (dict(Lanes=4, Blocks=1, Taps=4, InWidth=8, InSigned=0, OutWidth=8, Largest=1),
                [dict(Lanes=16, InWidth=4, OutWidth=4)]
                + [dict(Largest=0, OutWidth=o, Taps=t, Lanes=n) for o, t, n in ((10, 4, 4), (14, 49, 1), (14, 49, 16))]
                + [dict(Largest=0, OutWidth=14, Taps=49, Lanes=n, Blocks=b) for n, b in ((4, 8), (2, 64))], {}),
    "qs_add": (dict(Lanes=4, AWidth=8, ASigned=1, BWidth=8, BSigned=1, OutWidth=9),
               [dict(Lanes=n, AWidth=a, BWidth=a, OutWidth=a + 1) for n, a in ((1, 8), (8, 4), (4, 16))], {}),
    "qs_mul": (dict(Lanes=4, AWidth=8, ASigned=1, BWidth=8, BSigned=1, OutWidth=16),
               each(Lanes=(1,)) + [dict(AWidth=a, BWidth=b, OutWidth=a + b) for a, b in ((4, 4), (12, 6), (16, 16))], {}),
    "qs_div": (dict(Lanes=1, AWidth=16, ASigned=1, BWidth=12, OutWidth=9, OutSigned=1, Turns=1),
               each(Lanes=(4,), Turns=(2, 4, 8), BWidth=(6, 20), AWidth=(24,))
               + [dict(OutWidth=16, Turns=t, AWidth=24, ASigned=0, OutSigned=0) for t in (1, 4, 16)], {}),
    "qs_sqrt": (dict(Lanes=1, InWidth=20, OutWidth=10, Turns=1),
                each(Lanes=(4,), Turns=(2, 5, 10))
                + [dict(InWidth=w, OutWidth=w // 2, Turns=t) for w, t in ((32, 1), (32, 16), (40, 4), (10, 1))], {}),
    "qs_recur": (dict(Lanes=1, Steps=16, Beats=32, AWidth=8, ASigned=0, BWidth=16, BSigned=1, CWidth=1, CSigned=0, OutWidth=8, OutSigned=1,
                      SumWidth=18, Shift=8, Lo=-128, Hi=127),
                 [dict(Lanes=4), dict(Beats=2), dict(CWidth=8, CSigned=1), dict(OutWidth=16, SumWidth=25, Lo=-32768, Hi=32767),
                  dict(AWidth=16, OutWidth=16, SumWidth=33, Shift=15, BWidth=31, Lo=-32768, Hi=32767), dict(Beats=512, Lanes=2)], {}),
    "qs_constant": (dict(Width=16, Beats=64), [dict(Width=w, Beats=n) for w, n in ((8, 16), (32, 300), (64, 1), (12, 1000))], {}),
    "qs_expand": (dict(Width=16, Block=1, Repeat=32, Copies=1),
                  [dict(Width=w, Block=b, Repeat=r, Copies=c)
                   for w, b, r, c in ((8, 1, 4, 4), (64, 1, 100, 1), (16, 16, 8, 1), (8, 64, 3, 1), (32, 300, 12, 1))], {}),
    "qs_lut": (dict(Lanes=1, InWidth=8, OutWidth=8),
               [dict(InWidth=4), dict(Lanes=4, OutWidth=4), dict(InWidth=10, OutWidth=16)], {}),
    "qs_gather": (dict(InWidth=6, NumRows=64, RowBeats=4, Lanes=2, OutWidth=8), each(NumRows=(16,), RowBeats=(1,), Lanes=(8,)), {}),
    "qs_concat": (dict(NumIn=2, Width=16, Beats=vector(4, 4)), [dict(Width=64), dict(NumIn=3, Beats=vector(8, 30, 2))], {}),
    "qs_fork": (dict(NumOut=2, Width=32), each(NumOut=(3, 4)), {}),
    "qs_reorder": (dict(Width=8, InBeats=64, OutBeats=64),
                   [dict(Width=w, InBeats=n, OutBeats=n) for w, n in ((32, 64), (8, 16), (4, 784))], {}),
    "qs_slice": (dict(Rank=3, Width=16, Size=vector(8, 8, 4), Start=vector(1, 1, 0), Stop=vector(7, 7, 4), Step=vector(1, 1, 1)),
                 [dict(Width=64), dict(Step=vector(2, 2, 1)),
                  dict(Size=vector(64, 64, 16), Start=vector(0, 2, 0), Stop=vector(64, 60, 8)),
                  dict(Rank=1, Size=64, Start=4, Stop=60, Step=1)], {}),
    "qs_pad": (dict(Rank=3, Width=16, Size=vector(8, 8, 4), Before=vector(1, 1, 0), After=vector(1, 1, 0), Value=0),
               [dict(Width=64), dict(Size=vector(64, 64, 16)),
                dict(Rank=1, Size=60, Before=2, After=2)], {}),
    "qs_matmul": (dict(M=8, K=16, N=8, KLanes=2, Lanes=2, AWidth=8, ASigned=1, BWidth=8, BSigned=1, OutWidth=20),
                  each(KLanes=(1, 4), BWidth=(4,)) + [dict(K=64, N=32)], {}),
}
MIXTURES = {"qs_mvu": 9, "qs_vvu": 3, "qs_requant": 4, "qs_threshold": 5, "qs_window": 3}


def matrix(p: dict) -> dict:
    """Stored as the generator stores them: few bits and rows of adders as sign and magnitude."""
    most, in_max = max(1, (1 << p["WeightWidth"] - 1) - 1), 1 << p["InWidth"] - 1 if p["InSigned"] else (1 << p["InWidth"]) - 1
    return p | {"InMax": in_max, "ProdWidth": 1 + (most * in_max).bit_length(), "Magnitude": int(p["Products"] == 1)}


def rounded(p: dict) -> dict:
    """What else qs_requant is told: the range of what it rounds, whether a small product is made of halves."""
    p = {"Constant": 0, "Split": 0} | p
    top = (1 << p["MulWidth"]) - 1 if not p["MulSigned"] else 1 << p["MulWidth"] - 1
    x = (-(1 << p["InWidth"] - 1), (1 << p["InWidth"] - 1) - 1) if p["InSigned"] else (0, (1 << p["InWidth"]) - 1)
    least, most = (round_shift(v * top, p["Shift"]) + p["Zero"] for v in x)
    small = not p["Constant"] and p["InWidth"] * p["MulWidth"] < DSP_BITS ** 2
    return p | {"Least": least, "Most": most, "RoundWidth": max(most, -least - 1).bit_length() + 1, "Split": int(small)}


SETTLE = {
    "qs_mvu": matrix, "qs_vvu": matrix,
    "qs_requant": rounded,
    "qs_threshold": lambda p: p | {"ThresholdWidth": p["InWidth"], "OutWidth": p["Steps"]},
    "qs_window": lambda p: p | {"OutCols": (p["InCols"] + 2 * p["PadLeft"] - p["KernelCols"]) // p["StrideCols"] + 1,
                                "RingRows": ring_rows(p["InRows"], p["OutRows"], p["KernelRows"], p["StrideRows"], p["DilateRows"])},
}


def run_all(family: str, path: Path, only: list[str]) -> list[dict]:
    """Every case measured, of the modules in `only` if it is not empty; those that are in the file already are taken from there."""
    old = {key(r["module"], r["params"], r["dsp_bits"], r["rtl"]): r for r in json.loads(path.read_text())["runs"]} if path.exists() else {}
    now = {m: rtl_hash(m, family) for m in SWEEPS}
    runs = {k: r for k, r in old.items() if r["rtl"] == now[r["module"]] or only and r["module"] not in only}
    todo = [c for c in cases() if key(*c, now[c[0]]) not in runs and (not only or c[0] in only)]
    for i, (module, params, dsp_bits) in enumerate(todo):
        start = time.time()
        found = measure(module, params, family, dsp_bits)
        run = {"module": module, "params": params, "dsp_bits": dsp_bits, "rtl": now[module], **found,
               "seconds": round(time.time() - start, 1)}
        runs[key(module, params, dsp_bits, now[module])] = run
        save(path, family, list(runs.values()))
        print(f"{i + 1}/{len(todo)} {module} {found} {run['seconds']} s", flush=True)
    save(path, family, list(runs.values()))
    return list(runs.values())


def key(*parts) -> str: return json.dumps(parts, sort_keys=True)


def save(path: Path, family: str, runs: list[dict]) -> None:
    lines = ",\n".join(json.dumps(r, sort_keys=True) for r in runs)
    store.save_text(path, f'{{"family": "{family}", "yosys": "{version()}", "runs": [\n{lines}\n]}}\n')


def fit(runs: list[dict], family: str, resource: str) -> tuple[dict[str, float], dict[str, float]]:
    """Constants of the terms (least squares of the relative error, none negative), and the errors, also on left-out runs."""
    terms = [getattr(parts(r["module"], r["params"], family, r["dsp_bits"]), resource) for r in runs]
    known = KNOWN if resource == "lut" else {}
    names = sorted({t for row in terms for t in row if t not in known and any(other.get(t) for other in terms)})
    a = np.array([[row.get(n, 0) for n in names] for row in terms], float)
    y = np.array([r[resource] for r in runs], float)
    scale = 1 / np.maximum(y, 10)
    y -= [sum(v * row.get(k, 0) for k, v in known.items()) for row in terms]
    x = nnls(a * scale[:, None], y * scale)[0]
    left = np.zeros(len(y))
    for k in range(FOLDS):
        out = np.arange(len(y)) % FOLDS == k
        left[out] = a[out] @ nnls(a[~out] * scale[~out, None], y[~out] * scale[~out])[0]
    errors = {"median": np.median(abs(a @ x - y) * scale), "max": np.max(abs(a @ x - y) * scale),
              "left_out_median": np.median(abs(left - y) * scale), "left_out_max": np.max(abs(left - y) * scale)}
    return known | dict(zip(names, x.round(4).tolist())), {k: round(float(v), 4) for k, v in errors.items()}


def conv_net() -> tuple[Graph, dict]:
    """Two convolutions, pooled, and a dense layer, 4-bit weights and activations."""
    r = np.random.default_rng(1)
    g = Graph()
    g.add("x", Input(Ints((4, 12, 12), 0, 255)))
    g.add("c1", Conv(r.integers(-7, 8, (8, 4, 3, 3)), r.integers(-99, 99, 8), padding=((1, 1), (1, 1))), "x")
    g.add("q1", Requant(r.integers(20000, 32000, 8), 24, 0, 0, 15), "c1")
    g.add("p", MaxPool((2, 2), (2, 2)), "q1")
    g.add("c2", Conv(r.integers(-7, 8, (16, 8, 3, 3)), r.integers(-99, 99, 16), padding=((1, 1), (1, 1))), "p")
    g.add("q2", Requant(r.integers(20000, 32000, 16), 23, 0, 0, 15), "c2")
    g.add("f", Reshape((576,)), "q2")
    g.add("d", Dense(r.integers(-7, 8, (10, 576)), r.integers(-99, 99, 10)), "f")
    return g, {"c1": (4, 2), "p": (4, 1), "c2": (4, 4), "d": (2, 8)}


def residual_net() -> tuple[Graph, dict]:
    """A ternary stem, a depthwise and a pointwise layer of 8 and 6 bits around which the stem's value passes, and their sum."""
    r = np.random.default_rng(2)
    g = Graph()
    g.add("x", Input(Ints((3, 16, 16), -128, 127)))
    g.add("c", Conv(r.integers(-1, 2, (8, 3, 3, 3)), r.integers(-99, 99, 8), (2, 2), ((1, 1), (1, 1))), "x")
    g.add("q", Requant(r.integers(20000, 32000, 8), 19, 0, 0, 255), "c")
    g.add("dw", Conv(r.integers(-127, 128, (8, 1, 3, 3)), r.integers(-99, 99, 8), (1, 1), ((1, 1), (1, 1)), groups=8), "q")
    g.add("qd", Requant(r.integers(20000, 32000, 8), 25, 0, 0, 255), "dw")
    g.add("pw", Conv(r.integers(-31, 32, (8, 8, 1, 1)), r.integers(-99, 99, 8)), "qd")
    g.add("qp", Requant(r.integers(20000, 32000, 8), 23, 0, -128, 127), "pw")
    g.add("a", Add(), "qp", "q")
    return g, {"c": (4, 3), "dw": (2, 1), "pw": (2, 4)}


DESIGNS = {"two convolutions, a pool and a dense layer, 4 bits": conv_net, "ternary, depthwise and pointwise with a residual": residual_net}


def check(name: str, family: str) -> dict:
    """Resources of a whole design, predicted and synthesized."""
    g, folding = DESIGNS[name]()
    device = next(t.name for t in TARGETS.values() if t.family == family)
    constants.cache_clear()
    guess = total(graph_costs(g, folding, device))
    with tempfile.TemporaryDirectory() as d:
        generate(g, Path(d) / "design", folding)
        found = synth_design(Path(d) / "design", device)
    row = {"design": name, **{r: [round(guess[r], 1), found[r]] for r in ("lut", "ff", "dsp", "bram")}}
    row["lut_error"] = round(guess["lut"] / found["lut"] - 1, 4)
    print(row, flush=True)
    return row


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--family", default="ecp5", choices=sorted(BLOCKS))
    args.add_argument("--fit-only", action="store_true")
    args.add_argument("--only", nargs="*", default=[], metavar="MODULE", help="measure these alone, keep what there is of the others")
    args = args.parse_args()
    path = DATA / f"{args.family}_runs.json"
    runs = json.loads(path.read_text())["runs"] if args.fit_only else run_all(args.family, path, args.only)
    modules = {}
    for name in SWEEPS:
        mine = [r for r in runs if r["module"] == name]
        exact = [parts(name, r["params"], args.family, r["dsp_bits"]) for r in mine]
        wrong = [r for r, p in zip(mine, exact) if (p.dsp, p.bram) != (r["dsp"], r["bram"])]
        for r in wrong:
            p = parts(name, r["params"], args.family, r["dsp_bits"])
            print(f"{name} {r['params']}: {r['dsp']} DSP and {r['bram']} BRAM, predicted {p.dsp} and {p.bram}")
        (lut, lut_error), (ff, ff_error) = fit(mine, args.family, "lut"), fit(mine, args.family, "ff")
        error = {"lut": lut_error, "ff": ff_error, "dsp_bram_wrong": len(wrong)}
        modules[name] = {"lut": lut, "ff": ff, "error": error, "runs": len(mine), "rtl": mine[0]["rtl"]}
        print(f"{name:12} {len(mine):3} runs  LUT {lut_error}  FF {ff_error}  {lut}")
    for free in ("qs_resize", "qs_drain"):
        modules[free] = {"lut": {}, "ff": {}, "error": {}, "runs": 0, "rtl": rtl_hash(free, args.family)}
    target = DATA / f"{args.family}.json"
    body = {"family": args.family, "yosys": version(), "modules": modules, "check": []}
    if args.fit_only and target.exists():
        body["check"] = store.load_json(target, "hw-costs")["check"]
    store.save_json(target, "hw-costs", body)
    if not args.fit_only:
        store.save_json(target, "hw-costs", body | {"check": [check(name, args.family) for name in DESIGNS]})


if __name__ == "__main__":
    main()
