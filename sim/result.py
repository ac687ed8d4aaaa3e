"""What a run of a design leaves, and what is read from it."""
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hw import Design
from ir import UserError

from . import traffic
from .compare import Difference
from .frames import number, parse, unpack
from .jobs import Job
from .traffic import Traffic


@dataclass(frozen=True)
class SimResult:
    """outputs (N, *output.shape); cycles from the first input beat to the last output beat (cycles_total), from frame to
    frame (cycles_per_frame; the latency if there is one frame only) and from a frame's first beat in to its last one out (latency).

    interval: cycles from frame to frame as computed; traffic: of every stream; frame_error: the design found a frame of the wrong
    length; layers: nodes whose values are wrong, None if they were not recorded.
    """
    outputs: np.ndarray
    cycles_total: int
    cycles_per_frame: float
    latency: int
    interval: int
    traffic: list[Traffic] = field(default_factory=list)
    frame_error: bool = False
    layers: list[Difference] | None = None


def read(folder: Path, d: Design, job: Job) -> SimResult:
    """The files that a run of `job` left in `folder`.  UserError: a deadlock, beats too few or too many, TLAST at the wrong beat."""
    run = traffic.read(folder / "streams.txt", d.streams)
    if run.beats < job.beats:
        raise UserError(traffic.stuck(run, job.beats, job.limit, (d.folder / "qs_top.sv").read_text()))
    if run.beats > job.beats:
        raise UserError(f"the design does not stop: {run.beats} output beats, and {job.beats} were expected")
    digits = d.output.data_bits // 4
    rows = parse((folder / "m_axis.hex").read_bytes(), digits + 10)
    wrong = np.flatnonzero(rows[:, 0] != (np.arange(len(rows)) % d.output.beats == d.output.beats - 1))
    if len(wrong):
        raise UserError(f"TLAST is wrong at output beat {wrong[0]}; a frame has {d.output.beats} beats")
    ends = number(rows[d.output.beats - 1::d.output.beats, -8:])
    frames = len(ends)
    per_frame = int(ends[-1] - ends[0]) / (frames - 1) if frames > 1 else int(ends[0])
    return SimResult(unpack(d.output, rows[:, 1:digits + 1]), int(ends[-1]), per_frame, int(ends[0]), d.interval, run.traffic, run.frame_error)
