"""How often the streams of a design moved and waited, and which of them stand still in a deadlock.  Needs nothing; ships with designs."""
import re
from pathlib import Path
from typing import NamedTuple

NAMED = 4  # stages of a deadlock that are named


class Traffic(NamedTuple):
    """One stream: valid and ready at the end; cycles, up to the last wanted beat, in which it moved, waited for its reader (blocked),
    waited for its writer (starved)."""
    name: str
    valid: bool
    ready: bool
    moved: int
    blocked: int
    starved: int


class Run(NamedTuple):
    """What the bench says at its end: output beats, cycle of the last transfer, cycles, whether a frame came in of the wrong length."""
    beats: int
    last: int
    cycles: int
    frame_error: bool
    traffic: list[Traffic]


def read(file: Path, names: list[str]) -> Run:
    """The file that bench/qs_watch.sv wrote."""
    head, *rows = [line.split() for line in file.read_text().splitlines()]
    traffic = [Traffic(n, r[0] == "1", r[1] == "1", *map(int, r[2:])) for n, r in zip(names, rows, strict=True)]
    return Run(*map(int, head[:3]), head[3] == "1", traffic)


class Stage(NamedTuple):
    """One module of the design and its streams."""
    module: str
    name: str
    ins: list[str]
    outs: list[str]


def stages(top: str) -> list[Stage]:
    """The modules that the text of qs_top instantiates."""
    found = []
    for module, name, pins in re.findall(r"^  (qs_\w+)(?: #\(.*?\n  \))? (u_\w+) \((.*?)\n  \);", top, re.S | re.M):
        ends = {d: [s for wires in re.findall(rf"_valid_{d}\((.*?)\)", pins) for s in re.findall(r"(\w+)_valid", wires)] for d in "io"}
        found.append(Stage(module, name, ends["i"], ends["o"]))
    return found


def stuck(run: Run, beats: int, limit: int, top: str = "") -> str:
    """Why fewer than `beats` output beats came: the stages of `top` that hold a beat of one stream and wait for another, or whose
    beat one reader has taken and another does not; else the last stream whose beat nobody takes and the first that is waited for.
    """
    why = f"no end after {run.cycles} cycles" if run.cycles >= limit else f"deadlock after {run.last} cycles"
    by = {t.name: t for t in run.traffic}
    said = [_waits(s, by) for s in stages(top)]
    said = [s for s in said if s] or [_ends(run.traffic)]
    more = f"; and {len(said) - NAMED} more stages" if len(said) > NAMED else ""
    return f"{why} and {run.beats} of {beats} output beats: {'; '.join(said[:NAMED])}{more}"


def _waits(s: Stage, by: dict[str, Traffic]) -> str:
    held, missing = [n for n in s.ins if by[n].valid and not by[n].ready], [n for n in s.ins if not by[n].valid]
    if held and missing:
        return f"{s.module} {s.name} holds beat {by[held[0]].moved} of {held[0]} and waits for beat {by[missing[0]].moved} of {missing[0]}"
    full, free = [n for n in s.outs if by[n].valid and not by[n].ready], [n for n in s.outs if not by[n].valid]
    return f"{s.module} {s.name} waits until beat {by[full[0]].moved} of {full[0]} is taken" if full and free else ""


def _ends(traffic: list[Traffic]) -> str:
    blocked = [t for t in traffic if t.valid and not t.ready]
    starved = [t for t in traffic if t.ready and not t.valid]
    holds = f"nobody takes beat {blocked[-1].moved} of {blocked[-1].name}{_others(blocked)}" if blocked else "nobody holds a beat"
    waits = f"nothing comes on {starved[0].name} after {starved[0].moved} beats{_others(starved)}" if starved else "nobody waits for one"
    return f"{holds}; {waits}"


def _others(streams: list[Traffic]) -> str: return f" (nor on {len(streams) - 1} more)" if len(streams) > 1 else ""
