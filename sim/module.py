"""One library module, or several side by side in one build, simulated alone: beats in, beats out."""
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ir import UserError

from . import bench
from .build import LIBRARY, build, execute, sources

PATIENCE = 20_000  # cycles without any transfer after which a design counts as stuck


@dataclass(frozen=True)
class Case:
    """What to simulate: module, parameters, memory files, beats of each input stream, number of beats of each output.

    A stream is named by the prefix of its ports; the k-th of a vector of streams is "prefix[k]".
    """
    top: str
    params: Mapping[str, int | str]
    inputs: Mapping[str, Sequence[int]]
    outputs: Mapping[str, int]
    mems: Mapping[str, str] = field(default_factory=dict)
    surplus: bool = False  # more beats than wanted are no fault: what needs no input of the next frame may come early


def run_modules(cases: Sequence[Case], work: Path, stalls: int | None = None, folders: Sequence[Path] = (LIBRARY,),
                patience: int = PATIENCE, fast: bool = False, reset: int = 0) -> list[dict[str, list[int]]]:
    """Simulate all cases at once in folder `work`; one build, kept for the next call with equal sources and parameters.

    stalls: None (nobody ever waits) or a seed of random stalls on every stream.  reset: after so many cycles all is reset and every
    stream starts again (0: never).
    Returns, for each case, output stream -> beats.  UserError: stuck, too many beats, a broken stream rule, $fatal's text.
    """
    return run_timed(cases, work, stalls, folders, patience, fast, reset)[0]


def run_timed(cases: Sequence[Case], work: Path, stalls: int | None = None, folders: Sequence[Path] = (LIBRARY,),
             patience: int = PATIENCE, fast: bool = False, reset: int = 0) -> tuple[list[dict[str, list[int]]], int]:
    """As run_modules; also the number of clock cycles from reset to the last transfer."""
    cases = [_renamed(c, f"v{k}_") for k, c in enumerate(cases)]
    files = {c.top: sources(c.top, list(folders)) for c in cases}
    instances = [bench.instance(next(f for f in files[c.top] if f.stem == c.top).read_text(), c.top, dict(c.params)) for c in cases]
    work.mkdir(parents=True, exist_ok=True)
    binary = build(bench.text(instances), sorted({f for fs in files.values() for f in fs}), fast)
    for c in cases:
        for name, words in c.mems.items():
            (work / name).write_text(words)
    streams = [_job(c, s, i) for c, inst in zip(cases, instances) for s, (i, _) in inst.streams.items()]
    job = {"seed": stalls, "patience": patience, "reset": reset, "streams": streams}
    (work / "job.json").write_text(json.dumps(job))
    execute(binary, work, stalls)
    result = json.loads((work / "result.json").read_text())
    names = [(k, s) for k, inst in enumerate(instances) for s in inst.streams]
    wrong = [f"{cases[k].top} {s}: {abs(m)} beats {'missing' if m > 0 else 'too many'}"
             for (k, s), m in zip(names, result["missing"]) if m > 0 or m < 0 and not cases[k].surplus]
    if wrong:
        raise UserError(f"after {result['cycles']} cycles {'; '.join(wrong)}")
    out: list[dict[str, list[int]]] = [{} for _ in cases]
    for (k, s), beats in zip(names, result["beats"]):
        if s in cases[k].outputs:
            out[k][s] = [int(b, 16) for b in beats[:cases[k].outputs[s]]]
    return out, result["cycles"]


def run_module(top: str, params: Mapping[str, int | str], inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, int], work: Path,
               stalls: int | None = None, mems: Mapping[str, str] | None = None, **options) -> dict[str, list[int]]:
    """One module: input stream -> beats in, output stream -> number of beats wanted; see run_modules."""
    return run_modules([Case(top, params, inputs, outputs, mems or {})], work, stalls, **options)[0]


def _job(c: Case, stream: str, is_input: bool) -> dict:
    given = c.inputs if is_input else c.outputs
    if stream not in given:
        raise UserError(f"{c.top}: nothing given for the {'input' if is_input else 'output'} stream {stream!r}")
    return {"beats": [hex(int(b)) for b in given[stream]]} if is_input else {"expected": given[stream]}


def _renamed(c: Case, prefix: str) -> Case:
    """The case with its memory files' names made its own."""
    return replace(c, params={k: prefix + v if v in c.mems else v for k, v in c.params.items()},
                   mems={prefix + k: v for k, v in c.mems.items()})
