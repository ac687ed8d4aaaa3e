"""How the weights of a matrix unit are stored and what multiplies them: the parameters of hw/rtl/qs_mvu.sv and qs_vvu.sv."""
from dataclasses import dataclass

import numpy as np

from ir import Conv, Dense, Ints

from .fold import PRODUCTS, WEIGHTS, Fold
from .netlist import signed_width

AUTO, ROWS, BLOCK, PACKED = range(len(PRODUCTS))  # Products of the units
FEW_BITS = 4    # up to so many, rows of adders beat what a tool makes of a multiplication


@dataclass(frozen=True)
class Form:
    """`products`: what multiplies; `magnitude`: weights of `width` bits as sign and magnitude, else in two's complement.

    `in_max`: the largest magnitude of an input; `prod_width`: bits of a product, signed.
    """
    products: int
    magnitude: bool
    width: int
    in_max: int
    prod_width: int

    @property
    def params(self) -> dict[str, int]:
        return {"InMax": self.in_max, "WeightWidth": self.width, "ProdWidth": self.prod_width, "Products": self.products,
                "Magnitude": int(self.magnitude)}


def form(op: Dense | Conv, x: Ints, fold: Fold, words: int) -> Form:
    """The form of the weights of `op` for inputs of type `x` with this folding; `words`: of the memory, one is a constant.

    Ternary weights are added or subtracted, those of few bits multiplied by rows of adders, wider ones as the tool likes.
    """
    w = op.weight
    pad = (op.pad,) if isinstance(op, Conv) and any(map(any, op.padding)) else ()
    most, in_max = max(int(abs(w).max()), 1), max(map(abs, (x.lo, x.hi, *pad)))
    plain, signs = signed_width(w), most.bit_length() + 1
    kind = PRODUCTS.index(fold.products)
    if kind == AUTO and plain <= FEW_BITS:
        kind = ROWS
    if kind == ROWS and (words == 1 or _width(x, pad) == 1 < most):  # a constant is folded by synthesis; a bit is a mask already
        kind = AUTO
    magnitude = kind == ROWS and (most == 1 or signs <= plain)
    width = 1 if magnitude and (abs(w) == 1).all() else signs if magnitude or kind == PACKED else plain
    return Form(kind, magnitude, width, in_max, 1 + (most * in_max).bit_length())


def codes(w: np.ndarray, f: Form) -> np.ndarray:
    """(words, pe, simd) weights as stored, (words, pe * simd)."""
    if f.magnitude:
        w = abs(w) * (f.width > 1) + ((w < 0).astype(np.int64) << f.width - 1)
    elif f.products == PACKED:  # the lower weight of a pair borrows from the upper one where it is negative
        w = w.copy()
        w[:, 1::2] -= w[:, 0:w.shape[1] - w.shape[1] % 2:2] < 0
    return w.reshape(len(w), -1)


def stages(f: Form, simd: int) -> int:
    """Clocks of qs_dot: the DotStages of qs_mvu and qs_vvu."""
    if f.magnitude and f.width == 2:
        return -(-simd // 4)
    rows = f.width - f.magnitude
    products = 1 if f.products != ROWS else 0 if rows == 0 else 1 if rows < 5 else (rows + 1) // 3
    return products + ((simd - 1).bit_length() + 1) // 2


def kind_of_memory(fold: Fold) -> int: return WEIGHTS.index(fold.weights)


def _width(x: Ints, pad: tuple[int, ...]) -> int:
    return Ints(x.shape, min(x.lo, *pad), max(x.hi, *pad)).bits if pad else x.bits
