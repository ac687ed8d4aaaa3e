"""Dense layers whose input is quantized anew for each token: its largest value becomes the largest code."""
import math

import torch

from ir import Add, Concat, Constant, Dense, Div, Expand, MaxPool, Mul, NumberFormat, Requant, Reshape
from ..emit import Emitter, Value
from ..encode import Coding
from .site_layers import DenseSite, constant


class TokenCoding:
    """What a layer may know of its input as the codes of a token: times the token's largest value, they are in steps of `scale`."""
    zero = origin = 0

    def __init__(self, wide: Coding, fmt: NumberFormat):
        self.wide, self.fmt = wide, fmt

    @property
    def scale(self) -> torch.Tensor: return self.wide.scale / self.fmt.hi

    @property
    def span(self) -> int: return self.fmt.hi * self.wide.span


class TokenDense(DenseSite):
    """y = (W round(top * x / m)) * m / top + b with m = max |x| over a token's channels, in integers throughout.

    The scale of a token needs no real number: it is m itself, a wide integer by which the sum is multiplied before the requant
    (dynamic quantization for each token: ZeroQuant, Yao et al. 2022, section 3.2; we differ: no float is left).
    """

    def __init__(self, step, ins, out, clamp=(None, None), acts: NumberFormat = None, **options):
        super().__init__(step, ins, out, clamp, **options)
        self.token = TokenCoding(ins[0], acts)

    @property
    def operand(self) -> TokenCoding: return self.token

    def accumulator(self, e: Emitter, x: Value):
        w, b, r = self.integers(self.token)
        codes, largest = tokens(e, self.name, e.shifted(f"{self.name}.0", x, self.ins[0].zero), self.token.fmt)
        zero = torch.zeros(len(w), dtype=b.dtype, device=b.device)
        acc = e.op(self.name, Dense(constant(w), constant(zero)), codes, live={"weight": w, "bias": zero})
        acc = e.op(f"{self.name}.real", Mul(), acc, e.op(f"{self.name}.factor", Expand(acc.type.shape), largest))
        bias = e.op(f"{self.name}.bias", Constant(constant(b).reshape((1,) * (len(self.shape) - 1) + (-1,))), live={"value": b})
        return e.op(f"{self.name}.sum", Add(), acc, e.op(f"{self.name}.biases", Expand(acc.type.shape), bias)), r


def nearest_tokens(x: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """The reals nearest to x (..., D) that the codes of its tokens can mean."""
    scale = x.abs().amax(-1, keepdim=True).clip(torch.finfo(x.dtype).tiny) / fmt.hi
    return (x / scale).round() * scale


def tokens(e: Emitter, name: str, x: Value, fmt: NumberFormat) -> tuple[Value, Value]:
    """Integers x (..., D) as codes of `fmt`, symmetric about 0, and the largest |x| of each token (..., 1), at least 1."""
    *lead, d = x.type.shape
    rows, top = math.prod(lead), fmt.hi
    flat = e.op(f"{name}.flat", Reshape((rows, d)), x)
    ends = max(-x.type.lo, x.type.hi)
    minus = e.op(f"{name}.minus", Requant([-1], 0, 0, -ends, ends), flat, live={"ratio": torch.tensor(-1.0)})
    both = e.op(f"{name}.both", Concat(1), flat, minus)
    most = e.op(f"{name}.most", MaxPool((2 * d,), (2 * d,), ((0, 0),)), both)
    largest = e.op(f"{name}.largest", Requant([1], 0, 0, 1, max(1, ends)), most, live={"ratio": torch.tensor(1.0)})
    scaled = e.op(f"{name}.scaled", Requant([top], 0, 0, -top * ends, top * ends), flat, live={"ratio": torch.tensor(float(top))})
    codes = e.op(f"{name}.ratio", Div(), scaled, e.op(f"{name}.repeated", Expand((rows, d)), largest))
    codes = e.op(f"{name}.codes", Requant([1], 0, 0, -top, top), codes, live={"ratio": torch.tensor(1.0)})
    return e.op(f"{name}.tokens", Reshape((*lead, d)), codes), e.op(f"{name}.scale", Reshape((*lead, 1)), largest)
