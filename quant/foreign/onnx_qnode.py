"""One node of a quantized ONNX graph as its rule sees it, and the table of rules (`QUANTIZED_RULES`)."""
from collections.abc import Callable

import numpy as np

from ir import UserError

from .onnx_lowering import Lowering
from .onnx_real import Fixed, Real, over

QUANTIZED_RULES: dict[str, Callable] = {}  # op type -> rule(node) -> Real, Fixed, array, or a list of them
MICROSOFT = "com.microsoft"
QONNX_DOMAINS = ("onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general")
DOMAINS = ("", "ai.onnx", MICROSOFT, *QONNX_DOMAINS)


def quantized_rule(*op_types: str):
    """Register the function as the rule of these ops."""
    def register(f):
        QUANTIZED_RULES.update(dict.fromkeys(op_types, f))
        return f
    return register


class QNode:
    """Type, attributes and arguments of a node; an argument is a Real, a Fixed, an array, or None where it is left out."""

    def __init__(self, op: str, name: str, attrs: dict, args: list, low: Lowering, outputs: int = 1, last: bool = False):
        self.op, self.name, self.attrs, self.args, self.low, self.outputs, self.last = op, name, attrs, args, low, outputs, last

    def attr(self, name: str, default=None): return self.attrs.get(name, default)

    def has(self, i: int) -> bool: return i < len(self.args) and self.args[i] is not None

    def sub(self, op: str, *args, tag: str = "", **attrs):
        """The result of another op on these arguments, as part of this node."""
        return QUANTIZED_RULES[op](QNode(op, self.name + tag, attrs, list(args), self.low))

    def tensor(self, i: int) -> Real:
        """Argument i, computed from the model's input.  UserError: a constant."""
        if not self.has(i) or not isinstance(self.args[i], Real):
            self.refuse(f"input {i} is {'left out' if not self.has(i) else 'constant'}; only one that is computed from the model's input")
        return self.args[i]

    def const(self, i: int, what: str, default=None) -> np.ndarray:
        """Argument i as a constant array."""
        if not self.has(i):
            if default is None:
                self.refuse(f"its {what} is missing")
            return np.asarray(default)
        a = self.args[i]
        if isinstance(a, Real):
            self.refuse(f"its {what} is computed from the input (dynamic); only a constant one")
        return a.value if isinstance(a, Fixed) else np.asarray(a)

    def scalar(self, i: int, what: str, default=None) -> float:
        v = self.const(i, what, default)
        if v.size != 1:
            self.refuse(f"its {what} has shape {v.shape}; only one value")
        return float(v.reshape(-1)[0])

    def count(self, i: int, what: str, default=None) -> int:
        """A constant that is one integer."""
        v = self.scalar(i, what, default)
        if v != round(v):
            self.refuse(f"its {what} is {v:g}; only an integer")
        return int(v)

    def scale(self, i: int, what: str = "scale") -> np.ndarray:
        """Constant scales as float64: finite and above 0."""
        v = self.const(i, what).astype(np.float64)
        if not (np.isfinite(v).all() and v.size and (v > 0).all()):
            bad = v[~(np.isfinite(v) & (v > 0))]
            self.refuse(f"its {what} is {bad.reshape(-1)[0] if bad.size else 'empty'}; only numbers above 0")
        return v

    def ints(self, i: int, what: str, default=None) -> list[int] | None:
        """A list of integers: attribute `what` in old files, input i in new ones."""
        if what in self.attrs:
            return [int(v) for v in np.ravel(self.attrs[what])]
        return [int(v) for v in np.ravel(self.const(i, what))] if self.has(i) else default

    def beside(self, v: Real, c: np.ndarray) -> np.ndarray:
        """A constant that the file broadcasts against v (with its batch axis), in v's shape without batch."""
        c = np.asarray(c, np.float64)
        if c.ndim > len(v.shape):
            if c.ndim > len(v.shape) + 1 or c.shape[0] != 1:
                self.refuse(f"a constant of shape {c.shape} beside a value of shape (N, {', '.join(map(str, v.shape))})")
            c = c[0]
        c = over(c, v.shape)
        if any(m not in (1, n) for m, n in zip(c.shape, v.shape)):
            self.refuse(f"a constant of shape {c.shape} beside a value of shape (N, {', '.join(map(str, v.shape))})")
        return c

    def refuse(self, why: str):
        raise UserError(f"ONNX {self.op} {self.name!r}: {why}")
