"""A language-model core with its own test beside it: one command in its folder simulates it, with AXI ports in Python."""
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hw.lm.design import LmDesign
from hw.lm.taps import Tap
from ir.lm import Program, Sampler

from . import testbench
from .core import CALM, bench, patience
from .play import PARTS
from .reference import Reference, reference

HERE = Path(__file__).parent
TEXTS = {HERE / "core_test.py": "test_design.py", HERE / "axi.py": "axi.py", HERE.parent / "design_run.py": "run.py"}
OFTEN, LATENCY = 60, 40  # of the run with stalls
GREEDY = Sampler()


def add_test(folder: Path, d: LmDesign, p: Program, prompt: list[int], count: int = 3, sampler: Sampler = GREEDY) -> None:
    """The bench, the cocotb tests, a prompt and all that must come of it: `python run.py` in the folder makes `count` tokens.

    Its taps are compared where the core has them.  UserError: a prompt that is empty or out of the vocabulary.
    """
    b, taps = bench(d, python=True), sorted(d.taps if d.machine.taps else [], key=lambda t: t.group)
    want = reference(p, prompt, count, sampler, {t.node for t in taps})
    steps = [[t for t in taps if head or not t.head] for head in want.answered]
    (folder / "bench").mkdir(exist_ok=True)
    (folder / "bench" / "qs_bench.sv").write_text(testbench.text(b))
    for path in PARTS[:2]:
        shutil.copyfile(path, folder / "bench" / path.name)
    for source, name in TEXTS.items():
        shutil.copyfile(source, folder / name)
    (folder / "values.txt").write_text("".join(map(_line, _vectors(steps, want))))
    parts = "token and every value" if taps else "token"
    (folder / "job.json").write_text(json.dumps({
        "prompt": prompt, "tokens": want.tokens, "k": sampler.k, "inverse": sampler.inverse, "draw": sampler.seed,
        "steps": [[[t.group, t.node, t.count, t.start] for t in shown] for shown in steps], "patience": patience(d, CALM), "often": OFTEN,
        "latency": LATENCY, "seed": 1, "bases": [b.base(e) for e in range(b.engines)] if b.memory_beats else [], "beat_bits": b.beat_bits,
        "code_bits": d.params["ActWidth"], "lanes": d.machine.lanes,
        "said": f"{count} tokens, each {parts} right in all of {{ran}} runs: undisturbed, with stalls, with a reset in a token"}))


def _vectors(steps: list[list[Tap]], want: Reference) -> Iterator[np.ndarray]:
    for shown, values in zip(steps, want.steps):
        for t in shown:
            yield values[t.node][t.start:t.start + t.count]


def _line(values: np.ndarray) -> str: return " ".join(map(str, values.tolist())) + "\n"
