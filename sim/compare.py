"""What is wrong with simulated values, in words: which node, where first, how many."""
from dataclasses import dataclass

import numpy as np

from hw import Design

AXES = {1: ("channel",), 2: ("row", "column"), 3: ("channel", "row", "column")}


@dataclass(frozen=True)
class Difference:
    """The values of one node that are wrong; `frame`, `index`, `got` and `want` are of the one that came first."""
    node: str
    frame: int
    index: tuple[int, ...]
    got: int
    want: int
    wrong: int
    total: int

    def __str__(self) -> str:
        names = AXES.get(len(self.index), tuple(f"axis {k}" for k in range(len(self.index))))
        where = ", ".join(f"{n} {i}" for n, i in zip(names, self.index))
        return f"{self.node}: {where}: {self.got} instead of {self.want} (frame {self.frame}; {self.wrong} of {self.total} values differ)"


def difference(node: str, got: np.ndarray, want: np.ndarray, positions: np.ndarray) -> Difference | None:
    """got and want (N, *shape), compared in the order in which the elements flow: positions, stream position -> index in C order."""
    shape = want.shape[1:]
    bad = (got != want).reshape(len(want), -1)
    if not bad.any():
        return None
    frame = int(bad.any(1).argmax())
    at = tuple(int(i) for i in np.unravel_index(positions[bad[frame][positions].argmax()], shape))
    return Difference(node, frame, at, int(got[frame][at]), int(want[frame][at]), int(bad.sum()), bad.size)


def output_difference(d: Design, got: np.ndarray, want: np.ndarray) -> Difference | None:
    """What is wrong with the outputs of a design, (N, *shape)."""
    p = d.output
    flow = np.moveaxis(np.arange(p.type.size).reshape(p.type.shape), p.inner, -1)
    return difference(p.node, got, want, flow.ravel())
