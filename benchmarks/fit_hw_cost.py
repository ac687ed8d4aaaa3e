"""Measure what the modules of hw/rtl cost on an FPGA family, and fit the constants of hw/models.py to it.

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
import time
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from hw.models import parts  # noqa: E402
from hw.synth import measure, rtl_hash, version  # noqa: E402
from hw.targets import FAMILIES  # noqa: E402
from ir import store  # noqa: E402

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


def grid(**choices) -> list[dict]: return [dict(zip(choices, vs)) for vs in itertools.product(*choices.values())]


SWEEPS = {  # module -> usual point, changes to it, what mixtures draw from
    "qs_mvu": (
        dict(Groups=1, Rows=32, Cols=144, Pe=4, Simd=4, InWidth=8, InSigned=0, WeightWidth=4, BiasWidth=16, OutWidth=20),
        grid(Pe=(1, 8), Simd=(1, 8), WeightWidth=(2, 8)) + each(InWidth=(1, 4), WeightWidth=(3, 6), OutWidth=(14, 28))
        + each(dsp_bits=(2,), Cols=(4, 1152)) + [dict(Rows=r, Cols=c, Pe=r, Simd=c, InWidth=a, WeightWidth=w) for r, c, a, w in ((8, 8, 8, 4), (8, 8, 4, 2))],
        dict(Pe=(1, 2, 4, 8), Simd=(1, 2, 3, 6, 8), InWidth=(2, 4, 8), InSigned=(0, 1), WeightWidth=(2, 3, 4, 5, 6, 8),
             OutWidth=(16, 18, 22, 24), BiasWidth=(8, 12, 18), Rows=(16, 64, 128), Cols=(48, 144, 288), dsp_bits=(9, 9, 9, 4))),
    "qs_vvu": (
        dict(Lanes=4, Blocks=8, Taps=9, InWidth=8, InSigned=0, WeightWidth=4, BiasWidth=12, OutWidth=18),
        each(Lanes=(1, 8), Blocks=(1, 32), InWidth=(4,), WeightWidth=(2, 8), OutWidth=(12, 22), dsp_bits=(2,)),
        dict(Lanes=(1, 2, 4, 8), Blocks=(4, 16), InWidth=(4, 8), InSigned=(0, 1), WeightWidth=(2, 4, 8), OutWidth=(14, 20))),
    "qs_requant": (
        dict(Lanes=4, Rows=8, Repeat=1, InWidth=20, InSigned=1, OutWidth=8, MulWidth=15, Shift=20, Zero=0, Lo=0, Hi=255),
        each(Lanes=(1, 8), Rows=(1, 64), InWidth=(12, 17, 28), MulWidth=(4, 8, 17), Shift=(12, 26), Repeat=(49,))
        + [dict(OutWidth=4, Lo=-8, Hi=7), dict(OutWidth=8, Lo=-128, Hi=127, Zero=-20), dict(OutWidth=2, Lo=0, Hi=3)],
        dict(Lanes=(1, 2, 4, 8), Rows=(1, 4, 16), InWidth=(12, 16, 19, 22), MulWidth=(8, 12, 15, 17), Shift=(12, 16, 18, 22))),
    "qs_window": (
        dict(Lanes=4, Blocks=4, Groups=1, Width=8, PadValue=0, InRows=16, InCols=16, OutRows=16, OutCols=16, KernelRows=3, KernelCols=3,
             StrideRows=1, StrideCols=1, DilateRows=1, DilateCols=1, PadTop=1, PadLeft=1),
        each(Lanes=(1, 16), Blocks=(1, 32), Width=(2,), Groups=(4,))
        + [dict(InRows=64, InCols=64, OutRows=64, Blocks=8), dict(InRows=1, OutRows=1, KernelRows=1, PadTop=0, InCols=64),
           dict(KernelRows=5, KernelCols=5, PadTop=2, PadLeft=2), dict(StrideRows=2, StrideCols=2, OutRows=8),
           dict(KernelRows=2, KernelCols=2, StrideRows=2, StrideCols=2, PadTop=0, PadLeft=0, OutRows=8, Groups=4)],
        dict(Lanes=(1, 2, 4, 8), Blocks=(2, 4, 8, 32), Width=(2, 4, 8), InCols=(10, 16, 32))),
    "qs_fifo": (dict(DataWidth=16, Depth=64), grid(DataWidth=(4, 48), Depth=(2, 32, 600)), {}),
    "qs_skid": (dict(DataWidth=16), each(DataWidth=(4, 64)), {}),
    "qs_dwc": (dict(Width=8, InLanes=1, OutLanes=4),
               [dict(InLanes=i, OutLanes=o, Width=w) for i, o, w in ((1, 2, 4), (1, 8, 16), (2, 1, 4), (8, 1, 16), (16, 4, 8), (4, 16, 8))], {}),
    "qs_pool": (dict(Lanes=4, Taps=4, InWidth=8, InSigned=0, OutWidth=8, Largest=1),
                each(Lanes=(1, 16)) + [dict(InWidth=4, OutWidth=4)]
                + [dict(Largest=0, OutWidth=o, Taps=t, Lanes=n) for o, t, n in ((10, 4, 4), (14, 49, 1), (14, 49, 16))], {}),
    "qs_add": (dict(Lanes=4, AWidth=8, ASigned=1, BWidth=8, BSigned=1, OutWidth=9),
               [dict(Lanes=n, AWidth=a, BWidth=a, OutWidth=a + 1) for n, a in ((1, 8), (8, 4), (4, 16))], {}),
    "qs_mul": (dict(Lanes=4, AWidth=8, ASigned=1, BWidth=8, BSigned=1, OutWidth=16),
               each(Lanes=(1,)) + [dict(AWidth=a, BWidth=b, OutWidth=a + b) for a, b in ((4, 4), (8, 4), (12, 6), (16, 16))], {}),
    "qs_lut": (dict(Lanes=1, InWidth=8, OutWidth=8),
               grid(InWidth=(4, 6), OutWidth=(4, 8)) + each(Lanes=(4,)) + [dict(InWidth=10, OutWidth=16)], {}),
    "qs_gather": (dict(InWidth=6, NumRows=64, RowBeats=4, Lanes=2, OutWidth=8), each(NumRows=(16,), RowBeats=(1, 16), Lanes=(8,)), {}),
    "qs_fork": (dict(NumOut=2, Width=32), each(NumOut=(3, 4)), {}),
    "qs_reorder": (dict(Width=8, InBeats=64, OutBeats=64),
                   [dict(Width=w, InBeats=n, OutBeats=n) for w, n in ((32, 64), (8, 16), (4, 784))], {}),
    "qs_matmul": (dict(M=8, K=16, N=8, KLanes=2, Lanes=2, AWidth=8, ASigned=1, BWidth=8, BSigned=1, OutWidth=20),
                  each(KLanes=(1, 4), Lanes=(4,), BWidth=(4,), OutWidth=(24,)) + [dict(K=64, N=32)], {}),
}
MIXTURES = {"qs_mvu": 14, "qs_vvu": 5, "qs_requant": 6, "qs_window": 5}
SETTLE = {
    "qs_window": lambda p: p | {"OutCols": (p["InCols"] + 2 * p["PadLeft"] - p["KernelCols"]) // p["StrideCols"] + 1,
                                "Depth": min(p["InRows"], p["KernelRows"] + p["StrideRows"]) * p["InCols"] if p["InRows"] > 1
                                else min(p["InCols"], p["KernelCols"] + p["StrideCols"])},
}


def run_all(family: str, path: Path) -> list[dict]:
    """Every case measured; those that are in the file already are taken from there."""
    old = {key(r["module"], r["params"], r["dsp_bits"], r["rtl"]): r for r in json.loads(path.read_text())["runs"]} if path.exists() else {}
    now = {m: rtl_hash(m) for m in SWEEPS}
    runs = {k: r for k, r in old.items() if r["rtl"] == now[r["module"]]}
    todo = [c for c in cases() if key(*c, now[c[0]]) not in runs]
    for i, (module, params, dsp_bits) in enumerate(todo):
        start = time.time()
        found = measure(module, params, family, dsp_bits)
        run = {"module": module, "params": params, "dsp_bits": dsp_bits, "rtl": now[module], **found, "seconds": round(time.time() - start, 1)}
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
    names = sorted({t for row in terms for t in row if any(other.get(t) for other in terms)})
    a = np.array([[row.get(n, 0) for n in names] for row in terms], float)
    y = np.array([r[resource] for r in runs], float)
    scale = 1 / np.maximum(y, 10)
    x = nnls(a * scale[:, None], y * scale)[0]
    left = np.zeros(len(y))
    for k in range(FOLDS):
        out = np.arange(len(y)) % FOLDS == k
        left[out] = a[out] @ nnls(a[~out] * scale[~out, None], y[~out] * scale[~out])[0]
    errors = {"median": np.median(abs(a @ x - y) * scale), "max": np.max(abs(a @ x - y) * scale),
              "left_out_median": np.median(abs(left - y) * scale), "left_out_max": np.max(abs(left - y) * scale)}
    return dict(zip(names, x.round(4).tolist())), {k: round(float(v), 4) for k, v in errors.items()}


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--family", default="ecp5", choices=sorted(FAMILIES))
    args.add_argument("--fit-only", action="store_true")
    args = args.parse_args()
    path = DATA / f"{args.family}_runs.json"
    runs = json.loads(path.read_text())["runs"] if args.fit_only else run_all(args.family, path)
    modules = {}
    for name in SWEEPS:
        mine = [r for r in runs if r["module"] == name]
        exact = [parts(name, r["params"], args.family, r["dsp_bits"]) for r in mine]
        wrong = [r for r, p in zip(mine, exact) if (p.dsp, p.bram) != (r["dsp"], r["bram"])]
        for r in wrong:
            p = parts(name, r["params"], args.family, r["dsp_bits"])
            print(f"{name} {r['params']}: {r['dsp']} DSP and {r['bram']} BRAM, predicted {p.dsp} and {p.bram}")
        (lut, lut_error), (ff, ff_error) = fit(mine, args.family, "lut"), fit(mine, args.family, "ff")
        modules[name] = {"lut": lut, "ff": ff, "error": {"lut": lut_error, "ff": ff_error, "dsp_bram_wrong": len(wrong)},
                         "runs": len(mine), "rtl": mine[0]["rtl"]}
        print(f"{name:12} {len(mine):3} runs  LUT {lut_error}  FF {ff_error}  {lut}")
    for free in ("qs_resize", "qs_drain"):
        modules[free] = {"lut": {}, "ff": {}, "error": {}, "runs": 0, "rtl": rtl_hash(free)}
    target = DATA / f"{args.family}.json"
    old = store.load_json(target, "hw-costs") if target.exists() else {}
    store.save_json(target, "hw-costs", {"family": args.family, "yosys": version(), "modules": modules, "check": old.get("check", [])})


if __name__ == "__main__":
    main()
