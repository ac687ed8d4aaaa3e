"""Sites without weights: sums, products, pools, tables and everything that only moves codes about."""
import math

import numpy as np
import torch
from torch import nn

from ir import Concat, Constant, Lut, MatMul, MaxPool, Mul, Pad, Reshape, Slice, SumPool, Transpose
from ..emit import Emitter, Value
from ..encode import Coding
from ..net import ROOTS, Step, compute
from .site_roots import RootSite
from .site import Site, describes


@describes("add")
class AddSite(Site):
    def build(self, e, a, b):
        acc, scale = e.add(self.name, a, b, tuple(self.ins))
        return self.finish(e, acc, scale / self.out.scale)


@describes("mul", "matmul")
class ProductSite(Site):
    """A product of two activations, their zero points taken off first."""

    def __init__(self, step, ins, out, clamp=(None, None), narrow: tuple[Coding | None, ...] = (None, None)):
        super().__init__(step, ins, out, clamp)
        self.product = Mul() if step.kind == "mul" else MatMul()
        self.arms = nn.ModuleList(n or c for n, c in zip(narrow, ins))

    @property
    def own(self) -> dict[int, Coding]: return {i: c for i, c in enumerate(self.arms) if c is not self.ins[i]}

    def build(self, e, a, b):
        arms = [e.recode(f"{self.name}.{s}.in", v, old, new) for s, v, old, new in zip("ab", (a, b), self.ins, self.arms)]
        arms = [e.shifted(f"{self.name}.{s}", v, c.origin) for s, v, c in zip("ab", arms, self.arms)]
        return self.finish(e, e.op(self.name, self.product, *arms), self.arms[0].scale * self.arms[1].scale / self.out.scale)


@describes("avgpool")
class AvgPoolSite(Site):
    """The sum of each window; the division is part of the requant's ratio."""

    def build(self, e, x):
        a, zero = self.attrs, self.ins[0].origin
        count = math.prod(a["kernel"])
        op = SumPool(tuple(a["kernel"]), tuple(a["stride"]), tuple(map(tuple, a["padding"])), int(zero))
        total = e.shifted(f"{self.name}.0", e.op(self.name, op, x, live=self.ins[0].pads()), count * zero)
        return self.finish(e, total, self.ins[0].scale / count / self.out.scale)


@describes("function")
def function(step, *args, **options) -> Site: return (RootSite if step.attrs["fn"] in ROOTS else FunctionSite)(step, *args, **options)


class FunctionSite(Site):
    """A nonlinearity of a narrow code as a table, computed once in float64.  `narrow` as in a layer."""

    def __init__(self, step, ins, out, clamp=(None, None), narrow: Coding | None = None):
        super().__init__(step, ins, out, clamp)
        self.narrow, self.step = narrow, step

    @property
    def coding(self) -> Coding: return self.narrow or self.ins[0]

    def build(self, e, x):
        x = e.recode(f"{self.name}.in", x, self.ins[0], self.narrow) if self.narrow else x
        codes = torch.arange(x.type.lo, x.type.hi + 1, dtype=torch.float64)
        with torch.no_grad():
            table = self._smooth(codes.to(self.out.log_scale.device)).round()
        return e.op(self.name, Lut(table.cpu().numpy().astype(np.int64), x.type.lo), x, live={"fn": self._smooth} | self.out.live())

    def _smooth(self, q: torch.Tensor) -> torch.Tensor:
        """The function on codes, in output codes that are not rounded yet."""
        real = compute(Step(self.name, "function", (), (), self.attrs), (q - self.coding.origin) * self.coding.scale)
        lo, hi = self.out.clamps(*self.clamp)
        return (real / self.out.scale + self.out.origin).clip(lo, hi)


@describes("constant")
class ConstantSite(Site):
    """The same codes for every sample."""

    def __init__(self, step, ins, out, clamp=(None, None)):
        super().__init__(step, ins, out, clamp)
        self.weight = nn.Parameter(step.weight.detach().clone())

    def build(self, e):
        codes = self.out.encode(self.weight)
        return e.op(self.name, Constant(codes.detach().cpu().numpy()), live={"value": codes})


@describes("concat")
class ConcatSite(Site):
    def build(self, e, *xs):
        arms = [e.recode(f"{self.name}.{_letter(i)}", v, c, self.out) for i, (v, c) in enumerate(zip(xs, self.ins))]
        return e.op(self.name, Concat(self.attrs["axis"]), *arms)


@describes("maxpool", "reshape", "transpose", "slice", "pad")
class MoveSite(Site):
    """What neither computes nor rounds; the result has its argument's encoding."""

    def __init__(self, step, ins, out, clamp=(None, None)):
        super().__init__(step, ins, out, clamp)
        self.kind = step.kind

    def build(self, e: Emitter, x: Value) -> Value:
        return e.op(self.name, self._op(), x)

    def _op(self):
        a = self.attrs
        match self.kind:
            case "maxpool":
                return MaxPool(tuple(a["kernel"]), tuple(a["stride"]), tuple(map(tuple, a["padding"])))
            case "reshape":
                return Reshape(tuple(a["shape"]))
            case "transpose":
                return Transpose(tuple(a["perm"]))
            case "slice":
                return Slice(tuple(a["start"]), tuple(a["stop"]), tuple(a["step"]))
            case "pad":
                return Pad(tuple(map(tuple, a["padding"])), self.out.code_of(a["value"]))


def _letter(i: int) -> str: return chr(ord("a") + i) if i < 26 else f"a{i}"
