"""Square roots: exact integer ones, for values so wide that a table would be long."""
import torch

from ir import Constant, Div, Expand, Requant, Sqrt
from ..emit import Emitter, Value
from ..encode import Coding
from .site import Site

ROOT_BITS = 51  # of what a root is taken of
FRACTION = 12   # bits of the smallest inverse root


class RootSite(Site):
    """sqrt(x) or 1 / sqrt(x).  Below 0 the root is 0; for the inverse, what is less than one step counts as one."""

    def __init__(self, step, ins, out, clamp=(None, None), narrow: Coding | None = None):
        super().__init__(step, ins, out, clamp)
        self.narrow, self.inverse = narrow, step.attrs["fn"] == "rsqrt"

    @property
    def coding(self) -> Coding: return self.narrow or self.ins[0]

    def build(self, e: Emitter, x: Value) -> Value:
        x = e.recode(f"{self.name}.in", x, self.ins[0], self.narrow) if self.narrow else x
        x = e.shifted(f"{self.name}.0", x, self.coding.origin)
        top = max(x.type.hi, 1)
        fine = (ROOT_BITS - top.bit_length()) // 2  # the root is of x * 4**fine
        op = Requant([4 ** fine], 0, 0, 4 ** fine * self.inverse, top * 4 ** fine)
        root = e.op(f"{self.name}.root", Sqrt(), e.op(f"{self.name}.fine", op, x, live={"ratio": torch.tensor(4.0 ** fine)}))
        if not self.inverse:
            return self.finish(e, root, self.coding.scale.sqrt() * 2.0 ** -fine / self.out.scale)
        one = 1 << FRACTION + fine + top.bit_length() // 2
        ones = e.op(f"{self.name}.ones", Expand(x.type.shape), e.op(f"{self.name}.one", Constant(torch.full((1,) * len(x.type.shape), one).numpy())))
        return self.finish(e, e.op(self.name, Div(), ones, root), 2.0 ** fine / one / self.coding.scale.sqrt() / self.out.scale)
