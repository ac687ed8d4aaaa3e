"""One description of a quantized step, read in two ways: run on torch with gradients, or added to an integer graph.

A site (quant/sites/site.py) calls `op`, `requant` and `recode` of an emitter; it cannot know which of the two it talks to, so
that what is trained and what is lowered cannot part.  Both infer the same types, hence take the same shifts.
"""
import math
from dataclasses import dataclass

import numpy as np
import torch

from ir import Add, Constant, Div, Graph, Ints, Lut, Op, Recur, Requant, Sqrt
from ir.infer import infer
from .encode import Coding
from .execute import constant, evaluate, requant
from .fake import Exactly, Rescaled, clipping

MUL_BITS = 15       # of the largest multiplier of a requant
MORE_MUL_BITS = 17  # if the channels differ so much that the smallest would be coarse; still one 18-bit signed DSP input
FINE = 64           # a multiplier of this size errs by less than 1 %
PRODUCT_BITS = 53   # accumulator * multiplier stays exact in float64
ULP = 2.0 ** -22    # relative distance of neighbours in float32
ROUNDS = (Lut, Div, Sqrt, Recur)  # beside Requant, the ops whose gradient is that of their unrounded twin
ADD_BITS = 12       # of the larger arm's multiplier on the way to a common scale
MORE_ADD_BITS = 18  # if an arm has more than 8 bits: the smaller arm's multiplier must not be coarse against them


@dataclass(frozen=True)
class Value:
    """A tensor of integers: what it is (torch: integers held as floats; graph: a node's name) and its type."""
    data: torch.Tensor | str
    type: Ints


class Emitter:
    """What a site talks to.  `live`: constants of the op that carry a gradient, or a rounding's smooth twin: `fn` of a table,
    `ratio` (and `zero`, `log_clip`: Coding.live) of a requant.
    """

    def op(self, name: str, op: Op, *args: Value, live: dict | None = None) -> Value:
        raise NotImplementedError

    def start(self, x: Value) -> None:
        """Called once with the input, before anything is built."""

    def requant(self, name: str, x: Value, ratio: torch.Tensor, zero: int, lo: int, hi: int, axis: int = 0,
                mul: np.ndarray | None = None, shift: int | None = None, live: dict | None = None) -> Value:
        """clamp(round(x * ratio) + zero, lo, hi) with the dyadic multipliers nearest to `ratio` (scalar or one a channel)."""
        if mul is None:
            mul, shift = dyadic(ratio.detach().reshape(-1).cpu().numpy(), max(-x.type.lo, x.type.hi))
        return self.op(name, Requant(mul, shift, zero, lo, hi, axis), x, live={"ratio": ratio} | (live or {}))

    def shifted(self, name: str, x: Value, zero: int | torch.Tensor, mul: int = 1, ratio: torch.Tensor | None = None) -> Value:
        """mul * (x - zero), which no clamp ever touches; a zero point that is a tensor (Coding.origin) gets a gradient."""
        z = int(zero)
        if mul == 1 and z == 0 and not torch.is_tensor(zero):
            return x
        lo, hi = sorted(mul * (v - z) for v in (x.type.lo, x.type.hi))
        live = {"zero": -mul * zero} if torch.is_tensor(zero) else {}
        live |= {"ratio": torch.tensor(float(mul)) if ratio is None else ratio}
        return self.op(name, Requant([mul], 0, -mul * z, lo, hi), x, live=live)

    def recode(self, name: str, x: Value, old: Coding, new: Coding) -> Value:
        """The same reals under another encoding."""
        if old is new:
            return x
        x = self.shifted(f"{name}.0", x, old.origin)
        return self.requant(name, x, old.scale / new.scale, new.zero, new.fmt.lo, new.fmt.hi, live=new.live())

    def add(self, name: str, a: Value, b: Value, codes: tuple[Coding, Coding]) -> tuple[Value, torch.Tensor]:
        """a + b on a common fine scale, and that scale."""
        if codes[0] is codes[1]:
            arms, fine = [self.shifted(f"{name}.{s}", v, c.origin) for s, v, c in zip("ab", (a, b), codes)], codes[0].scale
        else:
            bits = ADD_BITS if max(c.fmt.bits for c in codes) <= 8 else MORE_ADD_BITS
            fine = max(c.scale.detach() for c in codes) / 2 ** (bits - 1)
            arms = [self.shifted(f"{name}.{s}", v, c.origin, max(1, round(float(c.scale.detach() / fine))), c.scale / fine)
                    for s, v, c in zip("ab", (a, b), codes)]
        return self.op(name, Add(), *arms), fine


class Forward(Emitter):
    """On torch: every value of the graph, exactly, with gradients.  `values` keeps them by name if asked."""

    def __init__(self, keep: bool = False):
        self.values: dict[str, torch.Tensor] | None = {} if keep else None

    def op(self, name: str, op: Op, *args: Value, live: dict | None = None) -> Value:
        types = tuple(a.type for a in args)
        t = infer(op, *types)
        if isinstance(op, Requant) and torch.is_grad_enabled():
            y = rescaled(op, t, types[0], args[0].data, **(live or {}))
        elif isinstance(op, Constant):
            y = self._constant(op, t, live)
        else:
            y = evaluate(op, t, types, *[a.data for a in args], live=live)
            if isinstance(op, ROUNDS) and torch.is_grad_enabled():
                y = Exactly.apply(y, shadow(op, y, [a.data for a in args], live))
        if self.values is not None:
            self.values[name] = y
        return Value(y, t)

    def start(self, x: Value) -> None:
        """What is built next is built for the samples of x."""
        self.samples = x.data

    def _constant(self, op: Constant, t: Ints, live: dict | None) -> torch.Tensor:
        y = constant(op, t, self.samples)
        return Exactly.apply(y, live["value"].expand_as(y)) if live and torch.is_grad_enabled() else y


def shadow(op: Op, y: torch.Tensor, xs: list[torch.Tensor], live: dict | None) -> torch.Tensor:
    """An op of ROUNDS, whose value is y, as if nothing were rounded."""
    match op:
        case Lut():
            return clipping(live["fn"](xs[0]), y, live.get("log_clip"))
        case Div():
            return xs[0] / xs[1]
        case Sqrt():
            return xs[0].clip(0.25).sqrt()  # the slope at 0 would be infinite
        case Recur(shift, lo, hi):
            return recurrence(2.0 ** -shift, lo, hi, *xs)


def rescaled(op: Requant, t: Ints, x_type: Ints, x: torch.Tensor, ratio: torch.Tensor | None = None, zero=None, log_clip=None,
             moving: tuple[bool, bool] = (False, False)) -> torch.Tensor:
    """The integers of a requant, with the gradient of what it rounds (quant/fake.py, Rescaled); without a ratio that of its own."""
    ratio = torch.from_numpy(np.ldexp(op.mul.astype(np.float64), -op.shift)).to(x.device) if ratio is None else ratio
    y, v = requant(op, t, x_type, x.detach(), unrounded=True)
    if ratio.dim():
        shape = [1] * x.dim()
        shape[op.axis + 1 if op.axis >= 0 else op.axis] = -1
        ratio = ratio.view(shape)
    lo, hi = op.lo - op.zero, op.hi - op.zero  # both ends belong to the range; aten leaves them out
    return Rescaled.apply(x, ratio, zero, log_clip, y, v, (lo - max(1, abs(lo)) * ULP, hi + max(1, abs(hi)) * ULP), op.zero, moving)


class Lower(Emitter):
    """Into a graph."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def op(self, name: str, op: Op, *args: Value, live: dict | None = None) -> Value:
        self.graph.add(name, op, *[a.data for a in args])
        return Value(name, self.graph.nodes[name].type)


def recurrence(factor: float, lo: int, hi: int, f: torch.Tensor, c: torch.Tensor, first: torch.Tensor | None = None) -> torch.Tensor:
    """Recur without its rounding."""
    s, out = torch.zeros_like(c[:, 0]) if first is None else first[:, 0], []
    for t in range(f.shape[1]):
        s = ((f[:, t] * s + c[:, t]) * factor).clip(lo, hi)
        out.append(s)
    return torch.stack(out, 1)


def dyadic(ratio: np.ndarray, bound: int) -> tuple[np.ndarray, int]:
    """ratio (K,) ~= mul / 2**shift: one shift for all, the largest mul of MUL_BITS bits, no mul 0.

    More bits (up to MORE_MUL_BITS) if the smallest multiplier would be coarse, fewer if |x| <= bound could take a product
    beyond PRODUCT_BITS.  Jacob et al. 2018, section 2.2; HAWQ-V3 (Yao et al. 2021), section 3.
    """
    sign, ratio = np.where(np.asarray(ratio) < 0, -1, 1), np.maximum(np.abs(np.asarray(ratio, np.float64)), 2.0 ** -200)
    top = math.floor(math.log2(ratio.max()))
    bits = MUL_BITS
    while bits < MORE_MUL_BITS and ratio.min() < FINE * 2.0 ** (top - bits + 1):
        bits += 1
    bits = max(2, min(bits, PRODUCT_BITS - 1 - max(bound, 1).bit_length()))
    shift = min(max(bits - 1 - top, 0), PRODUCT_BITS - 2)
    mul = np.rint(np.ldexp(ratio, shift)).clip(1, 2.0 ** (PRODUCT_BITS - 1 - max(bound, 1).bit_length()) - 1)
    return sign * mul.astype(np.int64), shift
