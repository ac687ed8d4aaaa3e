"""Sites: the steps of a quantized net.  A site describes itself once, to an emitter, for training and for lowering."""
import torch
from torch import nn

from ir import Registry, Requant, UserError
from ..emit import Emitter, Value
from ..encode import Coding

SITES: Registry = Registry("step kind")  # kind of a Step -> its site class


def describes(*kinds: str):
    def add(cls):
        for k in kinds:
            SITES.register(k)(cls)
        return cls
    return add


class Site(nn.Module):
    """One step (with the relu or clip that follows it) between encoded tensors.

    `ins` are the encodings of the arguments, `out` that of the result; where they are the same object nothing is recoded.
    """

    def __init__(self, step, ins: list[Coding], out: Coding, clamp: tuple[float | None, float | None] = (None, None)):
        super().__init__()
        self.name, self.attrs, self.shape, self.clamp = step.name, step.attrs, step.shape, clamp
        self.ins, self.out = nn.ModuleList(ins), out

    @property
    def own(self) -> dict[int, Coding]:
        """Number of an argument -> the narrower encoding in which this site alone reads it."""
        return {0: self.narrow} if getattr(self, "narrow", None) else {}

    def build(self, e: Emitter, *xs: Value) -> Value:
        """The site's integers, told to an emitter; the returned value is encoded as `out`."""
        raise NotImplementedError

    def finish(self, e: Emitter, acc: Value, ratio: torch.Tensor, mul=None, shift: int | None = None, axis: int = 0) -> Value:
        """An accumulator without zero point to the output's encoding, times `ratio` (realised as mul / 2**shift, if they are
        given); relu and clip are its bounds.
        """
        lo, hi = self.out.clamps(*self.clamp)
        return e.requant(f"{self.name}.q", acc, ratio, self.out.zero, lo, hi, axis, mul, shift, self.out.live(lo, hi))


@describes("relu", "clip")
class ClampSite(Site):
    """A relu or clip that stands alone, within its argument's encoding."""

    def build(self, e: Emitter, x: Value) -> Value:
        lo, hi = self.out.clamps(*self.clamp)
        return e.op(self.name, Requant([1], 0, 0, lo, hi), x, live={"ratio": torch.tensor(1.0)})


def bounds(step) -> tuple[float | None, float | None]:
    """The real bounds of a relu, clip or neuron step."""
    if step.kind == "function":
        return 0.0, 1.0
    return (0.0, None) if step.kind == "relu" else (step.attrs["lo"], step.attrs["hi"])


def intersect(a: tuple, b: tuple) -> tuple[float | None, float | None]:
    """clamp(clamp(v, *a), *b) as one pair of bounds.  UserError: they exclude each other."""
    los, his = ([v for v in pair if v is not None] for pair in zip(a, b))
    lo, hi = max(los, default=None), min(his, default=None)
    if lo is not None and hi is not None and lo > hi:
        raise UserError(f"clip to [{lo}, {hi}] leaves nothing; give bounds in ascending order")
    return lo, hi
