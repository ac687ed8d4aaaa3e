"""Cores of language models through synthesis: what hw/lm/fit.py estimates with, and whole cores of three sizes placed and routed.

    python benchmarks/lm_fit.py engines                measure engines of every encoding, into hw/data/lm_core.json
    python benchmarks/lm_fit.py core ecp5-85k          map the core of the small size without weights' influence, into the same file
    python benchmarks/lm_fit.py small|shipped|large    place and route that size for an ECP5-85k, and print what came out
"""
import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from hw.design import library  # noqa: E402
from hw.lm.design import lm_design  # noqa: E402
from hw.lm.fit import DATA  # noqa: E402
from hw.lm.layout import Machine  # noqa: E402
from hw.lm.shape import Shape  # noqa: E402
from hw.synth.design import synth_design  # noqa: E402
from hw.synth.yosys import synthesize, version  # noqa: E402
from hw.targets import TARGETS  # noqa: E402
from ir import store  # noqa: E402
from ir.lm import Program  # noqa: E402
from quant import MatMulFreeLM, lm_program  # noqa: E402

SIZES = {"small": (Shape("small", 64, 160, 2, 65), 1), "shipped": (Shape("shipped", 160, 400, 4, 65), 2),
         "large": (Shape("large", 240, 640, 2, 65), 4)}
BEATS = {"base3": (0, 80), "two_bit": (1, 64), "fields": (2, 80)}
LIMIT_S = 4 * 3600.0


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["engines", "core", *SIZES])
    p.add_argument("device", nargs="?", default="ecp5-85k")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    if a.what == "engines":
        engines()
    elif a.what == "core":
        core(a.device)
    else:
        print(json.dumps(size(*SIZES[a.what], a.device, a.seed), indent=1))


def engines() -> None:
    for family in ("ecp5", "xcup"):
        for encoding, (code, trits) in BEATS.items():
            start = time.time()
            params = {"Trits": trits, "AccWidth": 20, "Encoding": code}
            used = synthesize(library("qs_lm_engine"), "qs_lm_engine", params, family)
            keep({"what": "engine", "family": family, "encoding": encoding, "trits": trits, **used, "seconds": round(time.time() - start, 1)})


def core(device: str) -> None:
    """All of a core but its weights' memory, with one engine, as its parts."""
    with tempfile.TemporaryDirectory() as d:
        s, _ = SIZES["small"]
        lm_design(random_model(s), Path(d) / "core", m := Machine(engines=1, trits=80, lanes=2, encoding="fields", top_k=8))
        r = synth_design(Path(d) / "core", device, limit_s=LIMIT_S)
        parts = {row["layer"]: {k: row[k] for k in ("lut", "ff", "dsp", "bram")} for row in r["layers"]}
        keep({"what": "core", "family": TARGETS[device].family, "encoding": m.encoding, "trits": m.trits, "engines": 1, "lanes": m.lanes,
              "parts": parts})


def size(s: Shape, count: int, device: str, seed: int) -> dict:
    """One size placed and routed; weights drawn by chance."""
    with tempfile.TemporaryDirectory() as d:
        made = lm_design(random_model(s), Path(d) / "core", Machine(engines=count, trits=80, lanes=2, encoding="fields", top_k=8))
        r = synth_design(Path(d) / "core", device, limit_s=LIMIT_S, route=True, seed=seed)
        mhz = r.get("fmax_mhz") or 0
        told = {k: r.get(k) for k in ("device", "lut", "ff", "dsp", "bram", "fmax_mhz", "critical", "packed", "seconds")}
        return {"size": f"{s.dim}x{s.hidden}x{s.layers}x{s.tokens}", "engines": count, **told, "cycles a token": made.cycles.token,
                "tokens a second at fmax": round(mhz * 1e6 / made.cycles.token)}


def random_model(s: Shape) -> Program:
    return lm_program(MatMulFreeLM(s.tokens, s.dim, s.layers, s.hidden))


def keep(run: dict) -> None:
    """The run in the file, in the place of an older one of the same kind."""
    about = ("what", "family", "encoding", "trits", "lanes")
    body = json.loads(DATA.read_text()) if DATA.exists() else {"runs": []}
    runs = [r for r in body["runs"] if any(r.get(k) != run.get(k) for k in about)] + [run]
    lines = ",\n".join(json.dumps(r, sort_keys=True) for r in sorted(runs, key=lambda r: [str(r.get(k)) for k in about]))
    store.save_text(DATA, f'{{"yosys": "{version()}", "runs": [\n{lines}\n]}}\n')
    print(run, flush=True)


if __name__ == "__main__":
    main()
