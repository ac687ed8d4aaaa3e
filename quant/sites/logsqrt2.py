"""The log-sqrt2 quantizer of attention weights: powers of sqrt(2) below a scale, and 0.  Pure functions on numpy or torch.

Code q < 2**b - 1 is scale * 2**(-q / 2), the last code is 0.  In hardware a shift by ceil(q / 2), for odd q times sqrt(2).
RepQ-ViT (Li et al. 2023, arXiv 2212.08254), section 3.3; we differ: 0 is one of the 2**b codes (there it is one more), and a
value goes to the nearest power, not to that of the nearest logarithm, unless rounding="log" asks for it.
"""
import numpy as np

from ir import UserError

ROUNDINGS = ("nearest", "log")
PERCENTILES = (0.999, 0.9999, 0.99999)  # of the values, that a scale is sought among, beside their largest


def levels(bits: int) -> np.ndarray:
    """(2**bits,) float64: what the codes are of the scale, descending from 1 to 0."""
    if not 2 <= bits <= 8:
        raise UserError(f"log-sqrt2 codes have 2 to 8 bits, not {bits}")
    return np.append(2.0 ** (-np.arange(2 ** bits - 1) / 2), 0.0)


def encode(x, scale: float, bits: int, rounding: str = "nearest", xp=np):
    """Codes 0 .. 2**bits - 1 (integers) of x >= 0, arrays of `xp`; what lies above the scale gets code 0."""
    if rounding not in ROUNDINGS:
        raise UserError(f"unknown rounding {rounding!r} of logarithms (known: {', '.join(ROUNDINGS)})")
    v, values = xp.asarray(x) / scale, levels(bits)
    if rounding == "log":
        q = xp.round(-2 * xp.log2(v.clip(2.0 ** -200)))
        return _integers(q.clip(0, 2 ** bits - 1), xp)
    like = {"dtype": v.dtype} if xp is np else {"dtype": v.dtype, "device": v.device}
    mid = xp.asarray((values[1:] + values[:-1])[::-1].copy() / 2, **like)
    return 2 ** bits - 1 - _integers(xp.searchsorted(mid, v), xp)


def decode(q, scale: float, bits: int, xp=np):
    """Codes to reals, of `xp`'s float32 (torch) or float64 (numpy)."""
    values = levels(bits) * scale
    return values[q] if xp is np else xp.asarray(values, dtype=xp.float32, device=q.device)[q]


def fitted_scale(sample: np.ndarray, bits: int) -> float:
    """The scale with the least squared error on the sample (M,) among its largest value and its percentiles (as RepQ-ViT)."""
    sample = np.asarray(sample, np.float64).reshape(-1)
    found = [float(np.quantile(sample, p)) for p in PERCENTILES] + [float(sample.max())]
    return min((s for s in found if s > 0), key=lambda s: error(sample, s, bits), default=1.0)


def error(sample: np.ndarray, scale: float, bits: int) -> float:
    """Mean squared error of the quantizer."""
    return float(np.square(decode(encode(sample, scale, bits), scale, bits) - sample).mean())


def better(sample: np.ndarray, bits: int) -> bool:
    """Whether log-sqrt2 has the smaller squared error on the sample than uniform codes of as many bits from 0 to its largest
    value; on attention weights it does up to 4 bits or 5, for more bits do not make its steps near the scale finer.
    """
    sample = np.asarray(sample, np.float64).reshape(-1)
    step = sample.max() / (2 ** bits - 1)
    uniform = float(np.square(np.round(sample / step) * step - sample).mean()) if step > 0 else 0.0
    return error(sample, fitted_scale(sample, bits), bits) < uniform


def grid(bits: int, one: int) -> tuple[int, ...]:
    """The levels as ascending integers, `one` standing for the scale.  UserError: `one` too small to tell them apart."""
    values = tuple(int(v) for v in np.rint(levels(bits) * one)[::-1])
    if len(set(values)) < len(values):
        raise UserError(f"log-sqrt2 codes of {bits} bits collide as integers up to {one}; give at least {_least(bits)}")
    return values


def table(bits: int, fine: int, one: int, scale: float = 1.0) -> np.ndarray:
    """(fine + 1,) int64: for the uniform code c of c / fine the integer (of `grid`) of its nearest level under a scale."""
    codes = encode(np.arange(fine + 1) / fine, scale, bits)
    return np.array(grid(bits, one)[::-1], np.int64)[codes]


def _least(bits: int) -> int:
    """The smallest power of 2 that `grid` accepts."""
    one = 2
    while len(set(np.rint(levels(bits) * one))) < 2 ** bits:
        one *= 2
    return one


def _integers(v, xp): return v.astype(np.int64) if xp is np else v.long()
