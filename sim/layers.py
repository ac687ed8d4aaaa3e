"""The values inside a design, as its streams carried them, beside the reference's."""
from pathlib import Path

import numpy as np

from hw import Design, Value
from ir import UserError

from .compare import Difference, difference
from .frames import elements, parse, placed
from .testbench import tap_bits, taps


def check(folder: Path, d: Design, want: dict[str, np.ndarray]) -> list[Difference]:
    """The recorded values of every node against `want` (node -> (N, *shape)): those that are wrong, in the order of the graph.

    UserError: a stream carried fewer beats than the frames have.
    """
    found: list[Difference] = []
    for k, tap in enumerate(taps(d)):
        own = [v for v in d.values if (v.stream, v.data) == (tap.stream, tap.data)]
        digits = parse((folder / f"tap{k}.hex").read_bytes(), tap_bits(tap) // 4)
        count, frames = sum(v.beats for v in own), len(want[own[0].node])
        if len(digits) < count * frames:
            raise UserError(f"stream {tap.stream} carried {len(digits)} beats, where {frames} frames have {count * frames}")
        rows = digits[:count * frames].reshape(frames, count, -1)
        at = 0
        for v in own:
            found += filter(None, [_check(v, rows[:, at:at + v.beats], want[v.node])])
            at += v.beats
    order = {v.node: k for k, v in enumerate(d.values)}
    return sorted(found, key=lambda f: order[f.node])


def _check(v: Value, digits: np.ndarray, want: np.ndarray) -> Difference | None:
    flat = elements(digits.reshape(-1, digits.shape[-1]), v.lanes, v.bits, v.type.signed).reshape(len(want), -1)
    return difference(v.node, placed(v.type, v.positions, flat), want, v.positions)
