"""What a run of a bench is given: frames on its inputs, and when to stop."""
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw import Design
from ir import Graph

from .frames import pack

OFTENEST = 230  # of 256 cycles, the worst stalls that a seed draws


@dataclass(frozen=True)
class Job:
    """How to run: expected output beats, seed of stalls (0: none), stalled cycles of 256 (0: drawn), reset after so many cycles (0: no)."""
    beats: int
    patience: int
    limit: int
    seed: int = 0
    often: int = 0
    reset: int = 0


def job(d: Design, frames: int, seed: int = 0, often: int = 0, reset: int = 0) -> Job:
    """A run of `frames` frames.  No node is silent for longer than a frame of its own takes: patience ends a deadlock."""
    slow = max(40, 4 * 256 // (256 - often)) if seed else 4
    patience = (1000 + d.interval) * (10 if often > OFTENEST else 1)
    limit = 10_000 + slow * (frames + len(d.cycles)) * d.interval + reset
    return Job(frames * d.output.beats, patience, min(limit, 2**32 - 1), seed, often, reset)


def write_frames(folder: Path, d: Design, feeds: Mapping[str, np.ndarray]) -> None:
    """A file of beats for every input."""
    for p in d.inputs:
        (folder / f"{p.name}.hex").write_bytes(pack(p, feeds[p.node]))


def example(g: Graph, frames: int, seed: int = 0) -> dict[str, np.ndarray]:
    """All lowest, all highest, then random values."""
    rng = np.random.default_rng(seed)
    x = {n.name: rng.integers(n.type.lo, n.type.hi + 1, (frames, *n.type.shape)) for n in g.inputs}
    for n in g.inputs:
        x[n.name][:1], x[n.name][1:2] = n.type.lo, n.type.hi
    return x
