"""Cycles a token of language-model cores in Verilator, beside the model of their schedule and the model by the sizes alone.

    python -m benchmarks.lm_cycles [--lm FOLDER] [--tokens 8]

Every core makes the same text greedily, its tokens are compared with the graph's; the last ones read their weights from an outer memory.
"""
import argparse
import tempfile
from pathlib import Path

from hw.lm.design import lm_design
from hw.lm.layout import Machine
from hw.lm.pace import token
from hw.lm.shape import Shape
from ir import lm
from qsearch.lm_demo import SHIPPED
from sim.lm.core import CALM, Surroundings, simulate

SETS = [  # machine, the world around it
    (Machine(1, 80, 2, "base3", 1), CALM), (Machine(2, 80, 2, "fields", 1), CALM), (Machine(4, 80, 4, "fields", 1), CALM),
    (Machine(2, 64, 1, "two_bit", 1), CALM), (Machine(1, 40, 2, "fields", 1), CALM),
    (Machine(2, 80, 2, "fields", 1, far=True), Surroundings(latency=60)),
    (Machine(2, 80, 2, "fields", 1, far=True), Surroundings(latency=60, share=0.8)),
]


def main() -> None:
    a = argparse.ArgumentParser()
    a.add_argument("--lm", type=Path, default=SHIPPED)
    a.add_argument("--tokens", type=int, default=8)
    a = a.parse_args()
    p = lm.load_lm(a.lm)
    s = Shape.of(p)
    prompt = lm.Pieces(p.vocab).encode("ROMEO:\n") if p.vocab else [0]
    print("| engines x weights | lanes | weights | simulated | model | difference | by the sizes alone | tokens right |")
    print("|---|---|---|---|---|---|---|---|")
    for m, around in SETS:
        with tempfile.TemporaryDirectory() as d:
            design = lm_design(p, Path(d) / "core", m)
            r = simulate(design, prompt, a.tokens, around=around)
        where = f"outer memory, latency {around.latency}, a beat in {around.share:.0%} of the cycles" if m.far else "on the chip"
        model, sizes = design.cycles.token, token(s, m.engines, m.trits, m.lanes, around.share).cycles
        print(f"| {m.engines} x {m.trits} {m.encoding} | {m.lanes} | {where} | {r.cycles_per_token:,.1f} | {model:,} | "
              f"{r.cycles_per_token / model - 1:+.2%} | {sizes:,.0f} | {'all' if r.right else 'NO'} {len(r.tokens)} |", flush=True)


if __name__ == "__main__":
    main()
