"""One ONNX node as its rule sees it, and the table of rules (`ONNX_RULES`)."""
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ir import UserError

ONNX_RULES: dict[str, Callable] = {}  # op type -> rule(node) -> function of the activations


def onnx_rule(*op_types: str):
    """Register the function as the rule of these ONNX ops."""
    def register(f):
        ONNX_RULES.update(dict.fromkeys(op_types, f))
        return f
    return register


class OnnxModule(nn.Module):
    """One operation of an ONNX graph, or a mere level of names above others; holds the weights of its node."""

    def __init__(self):
        super().__init__()
        self.run: Callable | None = None

    def forward(self, *xs): return self.run(*xs)


class OnnxNode:
    """Type, attributes and inputs of a node.  An input is a constant (numpy) or an activation (None in `constants`)."""

    def __init__(self, op: str, name: str, attrs: dict, constants: list, present: list[bool], outputs: int, batch: int | None):
        self.op, self.name, self.attrs, self.constants, self.present = op, name, attrs, constants, present
        self.outputs, self.batch = outputs, batch  # the batch size that the file insists on, if it does
        self.module = OnnxModule()

    def attr(self, name: str, default=None): return self.attrs.get(name, default)

    def has(self, i: int) -> bool:
        """Whether optional input i is given."""
        return i < len(self.present) and self.present[i]

    def const(self, i: int, what: str, default=None):
        """Input i as numpy.  UserError: it is computed from the model's input."""
        if not self.has(i):
            return default
        if self.constants[i] is None:
            self.refuse(f"its {what} is computed from the input; only a constant one")
        return self.constants[i]

    def ints(self, i: int, what: str, default=None) -> list[int] | None:
        """A list of integers: attribute `what` in old files, input i in new ones."""
        if what in self.attrs:
            return list(self.attrs[what])
        v = self.const(i, what)
        return default if v is None else [int(n) for n in np.ravel(v)]

    def hold(self, name: str, value, trainable: bool = True) -> None:
        """Make the array the parameter (or buffer) `name` of the module."""
        t = torch.from_numpy(np.array(value))
        t = t.float() if t.is_floating_point() else t
        if trainable:
            self.module.register_parameter(name, nn.Parameter(t, requires_grad=False))
        else:
            self.module.register_buffer(name, t)

    def refuse(self, why: str):
        raise UserError(f"ONNX {self.op} {self.name!r}: {why}")
