"""A language-model core with its own test beside it: one command in its folder simulates it, with AXI ports in Python."""
import json
import shutil
from pathlib import Path

import numpy as np

from hw.lm.taps import Tap

from . import testbench
from .play import PARTS
from .reference import Reference
from .testbench import Bench

HERE = Path(__file__).parent
TEXTS = {HERE / "core_test.py": "test_design.py", HERE / "axi.py": "axi.py", HERE.parent / "design_run.py": "run.py"}
OFTEN, LATENCY = 60, 40  # of the run with stalls


def add_files(folder: Path, bench: Bench, taps: list[Tap], prompt: list[int], want: Reference, about: dict) -> None:
    """The bench, the cocotb tests, the prompt and all that must come of it.  about: what else job.json holds (see core_test.py)."""
    (folder / "bench").mkdir(exist_ok=True)
    (folder / "bench" / "qs_bench.sv").write_text(testbench.text(bench))
    for path in PARTS[:2]:
        shutil.copyfile(path, folder / "bench" / path.name)
    for source, name in TEXTS.items():
        shutil.copyfile(source, folder / name)
    seen = sorted(taps, key=lambda t: t.group)
    steps = [[t for t in seen if head or not t.head] for head in want.answered]
    rows = [values[t.node][t.start:t.start + t.count] for shown, values in zip(steps, want.steps) for t in shown]
    (folder / "values.txt").write_text("".join(" ".join(map(str, np.asarray(r).tolist())) + "\n" for r in rows))
    bases = [bench.base(e) for e in range(bench.engines)] if bench.memory_beats else []
    said = f"{len(want.tokens)} tokens, each token and every value right in all of {{ran}} runs: undisturbed, with stalls, with a reset in a token"
    job = {"prompt": prompt, "tokens": want.tokens, "steps": [[[t.group, t.node, t.count, t.start] for t in shown] for shown in steps],
           "often": OFTEN, "latency": LATENCY, "seed": 1, "bases": bases, "beat_bits": bench.beat_bits, "said": said}
    (folder / "job.json").write_text(json.dumps(job | about))
