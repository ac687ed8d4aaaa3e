"""Softmax over one axis: the maximum taken off, a table of powers, their sum, a division."""
import math

import numpy as np
import torch

from ir import Add, Constant, Div, Encoding, Expand, Lut, MaxPool, NumberFormat, Requant, Reshape, SumPool, Transpose
from . import logsqrt2
from ..emit import Emitter, Value
from ..encode import Coding
from .site import Site, describes

EXP_BITS = 23   # of exp(0) in the table: float32 and 32-bit words hold every power
LOG_BITS = 4    # probabilities of at most so many bits may be powers of sqrt(2), where these lose less
FRACTION = 11   # bits behind the point of a probability, before it is encoded


@describes("softmax")
class SoftmaxSite(Site):
    """exp(x - max) / sum, of scores of few codes: one table entry for each difference, so that exp is never approximated.

    Hidden scores are moved below all others by an integer constant, and their powers are 0.  The result has a uniform encoding, or
    one of quant/sites/logsqrt2.py by one more table.
    """

    def __init__(self, step, ins, out, clamp=(None, None), narrow: Coding | None = None):
        super().__init__(step, ins, out, clamp)
        self.narrow, axis = narrow, step.attrs["axis"]
        self.last = (*(d for d in range(len(step.shape)) if d != axis), axis)  # the axis of the softmax becomes the last
        self.moved = tuple(step.shape[d] for d in self.last)
        self.keys = step.shape[axis]
        self.rows = math.prod(step.shape) // self.keys
        self.hidden = None if step.weight is None else (step.weight > 0).numpy().transpose(self.last)

    @property
    def coding(self) -> Coding: return self.narrow or self.ins[0]

    def build(self, e: Emitter, x: Value) -> Value:
        x = e.recode(f"{self.name}.in", x, self.ins[0], self.narrow) if self.narrow else x
        x = e.op(f"{self.name}.last", Transpose(self.last), x)
        lowest = x.type.lo - x.type.hi
        if self.hidden is not None:
            x = e.op(f"{self.name}.masked", Add(), x, self._mask(e, 2 * lowest - 1))
        x = e.op(f"{self.name}.rows", Reshape((self.rows, self.keys)), x)
        top = e.op(f"{self.name}.max", MaxPool((self.keys,), (self.keys,), ((0, 0),)), x)
        top = e.op(f"{self.name}.tops", Expand(x.type.shape), e.shifted(f"{self.name}.minus", top, 0, -1))
        below = e.op(f"{self.name}.below", Add(), x, top)
        below = e.op(f"{self.name}.far", Requant([1], 0, 0, lowest - (self.hidden is not None), 0), below, live={"ratio": torch.tensor(1.0)})
        power = self._powers(e, below, lowest)
        total = e.op(f"{self.name}.sum", SumPool((self.keys,), (self.keys,), ((0, 0),)), power)
        one = 1 << EXP_BITS - FRACTION  # the largest power alone makes the sum at least this
        total = e.requant(f"{self.name}.total", total, torch.tensor(2.0 ** -FRACTION), 0, one, total.type.hi, mul=[1], shift=FRACTION)
        y = e.op(f"{self.name}.share", Div(), power, e.op(f"{self.name}.totals", Expand(x.type.shape), total))
        y = self._encoded(e, y)
        y = e.op(f"{self.name}.moved", Reshape(self.moved), y)
        return e.op(self.name, Transpose(tuple(np.argsort(self.last).tolist())), y)

    def _mask(self, e: Emitter, low: int) -> Value:
        """`low` where a score is hidden, 0 elsewhere; axes along which the mask is the same are kept but once."""
        hidden = self.hidden
        for d in range(hidden.ndim):
            if (hidden == hidden.take([0], d)).all():
                hidden = hidden.take([0], d)
        return e.op(f"{self.name}.masks", Expand(self.moved), e.op(f"{self.name}.mask", Constant(hidden * low)))

    def _powers(self, e: Emitter, below: Value, lowest: int) -> Value:
        def fn(q: torch.Tensor) -> torch.Tensor:
            scores = q.double() * self.coding.scale * self.attrs.get("factor", 1.0)
            return torch.where(q < lowest, 0.0, scores.exp() * 2 ** EXP_BITS)
        codes = torch.arange(below.type.lo, below.type.hi + 1, dtype=torch.float64, device=self.out.log_scale.device)
        with torch.no_grad():
            table = fn(codes).round()
        return e.op(f"{self.name}.exp", Lut(table.cpu().numpy().astype(np.int64), below.type.lo), below, live={"fn": fn})

    def _encoded(self, e: Emitter, y: Value) -> Value:
        """Probabilities with FRACTION bits behind the point to the output's encoding."""
        fine = 1 << FRACTION
        if isinstance(self.out.fmt.grid, range):
            return self.finish(e, y, 2.0 ** -FRACTION / self.out.scale)
        scale = self.out.encoding.scale * self.out.fmt.hi  # of code 0

        def fn(q: torch.Tensor) -> torch.Tensor:
            return (q.double() / (fine * self.out.scale)).clip(max=self.out.fmt.hi)
        return e.op(f"{self.name}.q", Lut(logsqrt2.table(self.out.fmt.bits, fine, self.out.fmt.hi, scale), 0), y, live={"fn": fn})


def powers(sample: np.ndarray, bits: int, features: int) -> Coding:
    """The encoding of probabilities as powers of sqrt(2): the integers of quant/sites/logsqrt2.py under the scale that suits a sample (M,)."""
    one = 16 << (2 ** bits - 2) // 2  # the smallest power is an integer of 4 bits or 5
    fmt = NumberFormat(f"logsqrt2_{bits}", logsqrt2.grid(bits, one))
    return Coding(fmt, Encoding(logsqrt2.fitted_scale(sample, bits) / one), features)
