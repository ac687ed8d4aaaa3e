"""What the taps of a language-model core showed, beside the values of its graph: the first that is wrong, by name."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.lm.taps import GROUPS, Tap

from ..frames import elements, parse

CODES = GROUPS.index("codes")
WORD_DIGITS = 16   # of a value that is no code


@dataclass(frozen=True)
class WrongValue:
    """The first element of a node that is wrong, in the step of a token (0: the first of the prompt), and how many of it are.

    got: None where the tap showed nothing.
    """
    step: int
    node: str
    index: int
    got: int | None
    want: int
    wrong: int
    total: int

    def __str__(self) -> str:
        got = "nothing" if self.got is None else self.got
        return f"token {self.step}, {self.node}[{self.index}]: {got} instead of {self.want} ({self.wrong} of {self.total} values differ)"


def recorded(folder: Path, group: int, digits: int, lanes: int, code_bits: int) -> np.ndarray:
    """(beats, 1), or (beats, lanes) of the group of codes, in folder/tap<group>.hex."""
    rows = parse((folder / f"tap{group}.hex").read_bytes(), digits)
    if group == CODES:
        return elements(rows, lanes, code_bits, True)
    nibbles = rows[:, -WORD_DIGITS:].astype(np.uint64)
    return (nibbles << np.arange(4 * WORD_DIGITS - 4, -1, -4, dtype=np.uint64)).sum(1, dtype=np.uint64).view(np.int64)[:, None]


def compare(rows: Sequence[np.ndarray], taps: Sequence[Tap], steps: Sequence[dict[str, np.ndarray]], answered: Sequence[bool]) -> list[WrongValue]:
    """All wrong vectors, step by step in the order of the graph; rows: the beats of each group, steps: the values of each by name.

    answered: whether the head was computed in a step.  Beats beyond those of the steps are wrong, too.
    """
    order = {name: k for k, name in enumerate(steps[0])}
    found: list[WrongValue] = []
    for group, beats in enumerate(rows):
        own = [t for t in taps if t.group == group]
        at, lanes = 0, beats.shape[1]
        for step, (values, head) in enumerate(zip(steps, answered, strict=True)):
            for t in own:
                if t.head and not head:
                    continue
                size = -(-t.count // lanes)
                found += filter(None, [_check(step, t, beats[at:at + size].ravel()[:t.count], values[t.node][t.start:t.start + t.count])])
                at += size
        if len(beats) > at:
            more = len(beats) - at
            found.append(WrongValue(len(steps), f"group {GROUPS[group]} beyond the last token", 0, int(beats[at, 0]), 0, more, more))
    return sorted(found, key=lambda w: (w.step, order.get(w.node, len(order))))


def _check(step: int, t: Tap, got: np.ndarray, want: np.ndarray) -> WrongValue | None:
    bad = got != want[:len(got)]
    missing = t.count - len(got)
    if not bad.any() and not missing:
        return None
    k = int(bad.argmax()) if bad.any() else len(got)
    return WrongValue(step, t.node, t.start + k, int(got[k]) if k < len(got) else None, int(want[k]), int(bad.sum()) + missing, t.count)
