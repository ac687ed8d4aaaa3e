"""The closed set of integer ops, and the type of what they make.

An op exists only when numpy, torch, TVM, ONNX and SystemVerilog all have it, and a new layer is a composition (ReLU is
`Requant`'s low bound, a mean is `SumPool` + `Requant`, a nonlinearity of a narrow value is `Lut`; norms, softmax and a scale for
each token are sums, maxima, `Sqrt`, `Div` and `Expand`; recurrent layers are `Recur`).
Their meaning: `ir/interpret.py`.  The type of a result is never typed in: `ir/infer.py` proves it.
"""
import math
import operator
from dataclasses import dataclass, fields

import numpy as np

from .errors import UserError


@dataclass(frozen=True)
class Ints:
    """Type of a tensor whose every element is an integer in [lo, hi]; `shape` is without the batch axis."""
    shape: tuple[int, ...]
    lo: int
    hi: int

    def __post_init__(self):
        for name in ("shape", "lo", "hi"):  # Python's integers: interval arithmetic must not wrap around
            object.__setattr__(self, name, _python(getattr(self, name)))
        if self.lo > self.hi or any(s < 1 for s in self.shape):
            raise UserError(f"no integers of shape {self.shape} lie in [{self.lo}, {self.hi}]")

    @property
    def signed(self) -> bool: return self.lo < 0

    @property
    def bits(self) -> int:
        """Width of the narrowest two's-complement (lo < 0) or unsigned word that holds every value."""
        return max(1, max(self.hi, -self.lo - 1).bit_length() + self.signed)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}[{'x'.join(map(str, self.shape))}] in [{self.lo}, {self.hi}]"


def _ints(a) -> np.ndarray:
    """A constant operand: int64, C order, read-only.  Floats are welcome when they are integers."""
    try:
        with np.errstate(invalid="ignore"):
            out = np.array(a).astype(np.int64, order="C")
    except OverflowError:
        out = None
    if out is None or not np.array_equal(out, a):
        raise UserError("a constant of the graph holds integers of at most 64 bits; got fractions or larger numbers")
    out.setflags(write=False)
    return out


def _python(v):
    """Tuples of Python integers out of lists, tuples and numpy's integers; TypeError for what is no integer."""
    return tuple(map(_python, v)) if isinstance(v, (tuple, list)) else int(operator.index(v))


class Op:
    """Base of the closed set.  Fields that are arrays are constants of int64; the rest are attributes."""

    def __post_init__(self):
        for f in fields(self):
            if f.type is not Ints:
                tidy = _ints if f.name in ARRAYS.get(type(self), ()) else _python
                object.__setattr__(self, f.name, tidy(getattr(self, f.name)))


@dataclass(frozen=True, eq=False)
class Input(Op):
    """What the graph is given."""
    type: Ints


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """y[..., o] = bias[o] + sum_i weight[o, i] * x[..., i], over the last axis."""
    weight: np.ndarray  # (O, I)
    bias: np.ndarray    # (O,)


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """Cross-correlation over one or two spatial axes of x (C, *spatial), as in torch.nn.Conv1d/2d.

    Outside x stands `pad`, the code that means zero (the zero point of x), not the integer 0.
    """
    weight: np.ndarray                         # (O, C / groups, *kernel)
    bias: np.ndarray                           # (O,)
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))  # (before, after) of each spatial axis
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    pad: int = 0


@dataclass(frozen=True, eq=False)
class Requant(Op):
    """y = ops.requant(x, mul, shift, zero, lo, hi), with one multiplier or one for each index of `axis`."""
    mul: np.ndarray  # (1,) or (x.shape[axis],); a negative one turns the sign, 0 leaves the zero point
    shift: int
    zero: int
    lo: int
    hi: int
    axis: int = 0


@dataclass(frozen=True, eq=False)
class Constant(Op):
    """The same integers for every sample; it takes no argument."""
    value: np.ndarray  # (*shape)


@dataclass(frozen=True, eq=False)
class Add(Op):
    """a + b, elementwise, equal shapes."""


@dataclass(frozen=True, eq=False)
class Mul(Op):
    """a * b, elementwise, equal shapes."""


@dataclass(frozen=True, eq=False)
class Div(Op):
    """ops.divide(a, b) = floor(a / b + 1/2), elementwise, equal shapes; b is proven to be at least 1."""


@dataclass(frozen=True, eq=False)
class Sqrt(Op):
    """floor(sqrt(x)), elementwise, of 0 <= x < 2**52."""


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """(..., M, K) @ (..., K, N) of two activations; equal leading axes."""


@dataclass(frozen=True, eq=False)
class MaxPool(Op):
    """Largest value of each window over the spatial axes of x (C, *spatial); padding never wins."""
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))


@dataclass(frozen=True, eq=False)
class SumPool(Op):
    """Sum of each window over the spatial axes of x (C, *spatial); outside x stands `pad`."""
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
    pad: int = 0


@dataclass(frozen=True, eq=False)
class Lut(Op):
    """y = table[x - base]; the table covers every value that x can have."""
    table: np.ndarray  # (T,)
    base: int


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Two or more tensors one after the other along `axis` (of the shape without the batch)."""
    axis: int = 0


@dataclass(frozen=True, eq=False)
class Expand(Op):
    """Axes of length 1 repeated up to `shape`."""
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same elements in C order under another shape."""
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Transpose(Op):
    """Axis k of the result is axis perm[k] of x."""
    perm: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """x[start:stop:step] on every axis; steps > 0, bounds within x."""
    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """x with `value` around it: (before, after) elements on every axis."""
    padding: tuple[tuple[int, int], ...]
    value: int = 0


@dataclass(frozen=True, eq=False)
class Gather(Op):
    """y[..., :] = table[x[...], :], an embedding; every value of x is a row of the table."""
    table: np.ndarray  # (V, D)


@dataclass(frozen=True, eq=False)
class Recur(Op):
    """s[t] = clamp(round_shift(f[t] * s[t-1] + c[t], shift), lo, hi) along the first axis of f and c (T, ...), which are equal in shape.

    s[-1] is a third argument (1, ...), or 0.  The result holds every s[t].
    """
    shift: int
    lo: int
    hi: int


ARRAYS = {Dense: ("weight", "bias"), Conv: ("weight", "bias"), Requant: ("mul",), Lut: ("table",), Gather: ("table",),
          Constant: ("value",)}
OPS = (Input, Constant, Dense, Conv, Requant, Add, Mul, Div, Sqrt, MatMul, MaxPool, SumPool, Lut, Concat, Expand, Reshape, Transpose,
       Slice, Pad, Gather, Recur)


def constants(op: Op) -> dict[str, np.ndarray]:
    """The arrays of an op, by field name."""
    return {name: getattr(op, name) for name in ARRAYS.get(type(op), ())}
