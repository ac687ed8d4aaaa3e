"""The integer graph: what the interpreter defines and every backend compiles.

The set of ops is closed: an op exists only when numpy, TVM, ONNX and SystemVerilog all have it, and a new layer is a
composition (ReLU is `Requant`'s low bound, a mean is `SumPool` + `Requant`, a nonlinearity of a narrow value is `Lut`).
Their meaning: `ir/interpret.py`.  The type of a result is never typed in: `ir/infer.py` proves it.

To come, each as one more dataclass here, one case in infer and interpret and one rule a backend: integer square root and
division (norms, softmax), a per-token scale (dynamic quantization) and `State` (recurrent steps).
"""
import math
import operator
from dataclasses import dataclass, field, fields

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
    mul: np.ndarray  # (1,) or (x.shape[axis],), each > 0
    shift: int
    zero: int
    lo: int
    hi: int
    axis: int = 0


@dataclass(frozen=True, eq=False)
class Add(Op):
    """a + b, elementwise, equal shapes."""


@dataclass(frozen=True, eq=False)
class Mul(Op):
    """a * b, elementwise, equal shapes."""


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


ARRAYS = {Dense: ("weight", "bias"), Conv: ("weight", "bias"), Requant: ("mul",), Lut: ("table",), Gather: ("table",)}
OPS = (Input, Dense, Conv, Requant, Add, Mul, MatMul, MaxPool, SumPool, Lut, Concat, Reshape, Transpose, Slice, Pad,
       Gather)


def constants(op: Op) -> dict[str, np.ndarray]:
    """The arrays of an op, by field name."""
    return {name: getattr(op, name) for name in ARRAYS.get(type(op), ())}


@dataclass(frozen=True, eq=False)
class Node:
    """One value of the graph: `name` = `op` of the values named `args`, of type `type`."""
    name: str
    op: Op
    args: tuple[str, ...]
    type: Ints


@dataclass(frozen=True)
class Encoding:
    """real value = scale * (integer - zero)."""
    scale: float
    zero: int = 0

    def encode(self, x, lo: int, hi: int) -> np.ndarray:
        """Reals to int64 codes: nearest, ties to even, then clipped to [lo, hi]."""
        x = np.asarray(x, np.float64)
        if np.isnan(x).any():
            raise UserError(f"{int(np.isnan(x).sum())} of {x.size} values are not a number; there is no code for NaN")
        return np.clip(np.rint(x / self.scale) + self.zero, lo, hi).astype(np.int64)

    def decode(self, q) -> np.ndarray:
        """Integer codes to float64 reals."""
        return (np.asarray(q, np.float64) - self.zero) * self.scale


@dataclass
class Graph:
    """Nodes in topological order; the last one added is the output unless `result` names another.

    `encodings` says what the integers of a node mean (kept for inputs and the output: a user needs no others).
    """
    nodes: dict[str, Node] = field(default_factory=dict)
    result: str | None = None
    encodings: dict[str, Encoding] = field(default_factory=dict)

    def add(self, name: str, op: Op, *args: str) -> str:
        """Append a node and return its name; its type is inferred, and refused if it cannot be held."""
        from .infer import infer  # infer needs the ops above
        if name in self.nodes:
            raise UserError(f"node {name!r} exists already")
        if missing := [a for a in args if a not in self.nodes]:
            raise UserError(f"node {name!r} reads {missing}, not in the graph (it has {', '.join(self.nodes)})")
        try:
            t = infer(op, *[self.nodes[a].type for a in args])
        except UserError as e:
            raise UserError(f"node {name!r}: {e}") from None
        self.nodes[name] = Node(name, op, args, t)
        return name

    @property
    def inputs(self) -> list[Node]: return [n for n in self.nodes.values() if isinstance(n.op, Input)]

    @property
    def output(self) -> Node:
        if not self.nodes:
            raise UserError("the graph is empty")
        name = self.result or next(reversed(self.nodes))
        if name not in self.nodes:
            raise UserError(f"the graph's result is {name!r}, not one of its nodes ({', '.join(self.nodes)})")
        return self.nodes[name]

    def users(self) -> dict[str, list[str]]:
        """name -> names of the nodes that read it."""
        out: dict[str, list[str]] = {n: [] for n in self.nodes}
        for n in self.nodes.values():
            for a in dict.fromkeys(n.args):
                out[a].append(n.name)
        return out

    def __str__(self) -> str:
        from .show import text
        return text(self)
