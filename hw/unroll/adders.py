"""A linear map as a graph of adders: every value is a sum of shifted, signed values made before it."""
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ir import UserError


class Term(NamedTuple):
    """(-1)**negative * value << shift.  A negative shift drops bits that are known to be 0."""
    value: int
    shift: int = 0
    negative: bool = False


@dataclass
class Adders:
    """Values 0 .. inputs - 1 are the inputs, each in its interval [lo, hi]; value inputs + k is the sum of adds[k].

    adds: two or three terms each, of values that came before; one term only beside a constant.  outputs: for each output a
    term, or None for 0, and the numbers `bias` that are added to them.  constants: add -> what it adds besides its terms
    (`cost.operands` says which constants cost nothing).  As everything is affine, each value is known as a row of
    coefficients over the inputs and an offset, and from them its exact interval: no bound is guessed.
    """
    lo: np.ndarray                      # (inputs,) int64
    hi: np.ndarray                      # (inputs,)
    adds: list[tuple[Term, ...]] = field(default_factory=list)
    outputs: list[Term | None] = field(default_factory=list)
    bias: np.ndarray | None = None      # (outputs,); None: all 0
    constants: dict[int, int] = field(default_factory=dict)

    def __post_init__(self):
        self.lo, self.hi = (np.asarray(v, np.int64) for v in (self.lo, self.hi))
        if self.lo.ndim != 1 or self.lo.shape != self.hi.shape or (self.lo > self.hi).any():
            raise UserError(f"inputs need one interval lo <= hi each; given lo {self.lo.shape}, hi {self.hi.shape}")

    @property
    def inputs(self) -> int: return len(self.lo)

    @property
    def depth(self) -> int:
        """Adders on the longest way from an input to an output."""
        at = self.depths()
        return max((at[t.value] for t in self.outputs if t), default=0)

    def depths(self) -> np.ndarray:
        """(values,): adders on the longest way to each value."""
        at = np.zeros(self.inputs + len(self.adds), np.int64)
        for k, terms in enumerate(self.adds, self.inputs):
            at[k] = 1 + max(at[t.value] for t in terms)
        return at

    def coefficients(self) -> np.ndarray:
        """(values, inputs) int64: what each value is in terms of the inputs, its offset aside."""
        rows = np.zeros((self.inputs + len(self.adds), self.inputs), np.int64)
        rows[:self.inputs] = np.eye(self.inputs, dtype=np.int64)
        for k, terms in enumerate(self.adds, self.inputs):
            rows[k] = sum(_shifted(rows[t.value], t) for t in terms)
        return rows

    def offsets(self) -> np.ndarray:
        """(values,) int64: the constant part of each value."""
        at = np.zeros(self.inputs + len(self.adds), np.int64)
        for k, terms in enumerate(self.adds):
            at[self.inputs + k] = sum(_shifted(at[t.value], t) for t in terms) + self.constants.get(k, 0)
        return at

    def matrix(self) -> np.ndarray:
        """(outputs, inputs): the map that the graph carries out, constants aside."""
        rows, none = self.coefficients(), np.zeros(self.inputs, np.int64)
        return np.array([none if t is None else _shifted(rows[t.value], t) for t in self.outputs]).reshape(len(self.outputs), self.inputs)

    def totals(self) -> np.ndarray:
        """(outputs,) int64: the constant part of each output, that of its value and its bias."""
        at = self.offsets()
        own = np.array([0 if t is None else _shifted(at[t.value], t) for t in self.outputs], np.int64)
        return own if self.bias is None else own + self.bias

    def intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """(lo, hi) of every value, exact."""
        rows = self.coefficients()
        up, down = np.maximum(rows, 0), np.minimum(rows, 0)
        at = self.offsets()
        return up @ self.lo + down @ self.hi + at, up @ self.hi + down @ self.lo + at

    def run(self, x: np.ndarray) -> np.ndarray:
        """(N, inputs) integers -> (N, outputs), adder by adder."""
        values = list(np.asarray(x, np.int64).T)
        for k, terms in enumerate(self.adds):
            values.append(sum(_shifted(values[t.value], t) for t in terms) + self.constants.get(k, 0))
        none = np.zeros(len(x), np.int64)
        out = np.stack([none if t is None else _shifted(values[t.value], t) for t in self.outputs], 1)
        return out if self.bias is None else out + self.bias


def _shifted(v: "np.ndarray | int", t: Term) -> "np.ndarray | int":
    """The term's value."""
    moved = v << t.shift if t.shift >= 0 else v >> -t.shift
    return -moved if t.negative else moved
