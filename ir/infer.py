"""Types by exact interval arithmetic: no later stage can overflow, and accumulators get just the width they need."""
import math

import numpy as np

from . import ops
from .errors import UserError
from .opset import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Input, Ints, Lut, MatMul, MaxPool, Mul, Op, Pad, Recur,
                    Requant, Reshape, Slice, Sqrt, SumPool, Transpose)

ROOT_BITS = 52  # of what a square root is taken of: see ops.root
WORD_BITS = 63  # every value, and every product inside a requant, fits a signed 64-bit word


def infer(op: Op, *args: Ints) -> Ints:
    """Type of `op` of arguments of these types.  UserError: wrong shapes or values, or more than 64 bits."""
    t = _infer(op, args)
    if t.bits > WORD_BITS:
        raise UserError(f"{kind(op)}: the result {t} needs {t.bits} bits; at most {WORD_BITS} can be held")
    return t


def _infer(op: Op, args: tuple[Ints, ...]) -> Ints:
    match op, args:
        case Input(t), ():
            return t
        case Constant(v), ():
            _need(v.size > 0, op, f"a value of shape {v.shape} holds nothing")
            return Ints(v.shape, int(v.min()), int(v.max()))
        case Dense(w, b), (x,):
            _need(w.ndim == 2 and w.size > 0 and b.shape == w.shape[:1], op, f"weight {w.shape} and bias {b.shape} do not belong together")
            _need(len(x.shape) >= 1 and x.shape[-1] == w.shape[1], op, f"weight {w.shape} needs a last axis of {w.shape[1]}, not {x.shape}")
            return Ints((*x.shape[:-1], len(w)), *_dot_bounds(w, b, x.lo, x.hi))
        case Conv(), (x,):
            return _conv(op, x)
        case Requant(), (x,):
            return _requant(op, x)
        case Add(), (a, b):
            _need(a.shape == b.shape, op, f"shapes {a.shape} and {b.shape} differ")
            return Ints(a.shape, a.lo + b.lo, a.hi + b.hi)
        case Mul(), (a, b):
            _need(a.shape == b.shape, op, f"shapes {a.shape} and {b.shape} differ")
            return Ints(a.shape, *_product(a, b))
        case Div(), (a, b):
            return _div(op, a, b)
        case Sqrt(), (x,):
            _need(x.lo >= 0 and x.hi < 1 << ROOT_BITS, op, f"{x} is not within [0, 2**{ROOT_BITS}); clamp or scale it first")
            return Ints(x.shape, ops.root(x.lo), ops.root(x.hi))
        case MatMul(), (a, b):
            _need(len(a.shape) == len(b.shape) >= 2 and a.shape[:-2] == b.shape[:-2] and a.shape[-1] == b.shape[-2], op,
                  f"cannot multiply {a.shape} by {b.shape}")
            lo, hi = _product(a, b)
            return Ints((*a.shape[:-1], b.shape[-1]), lo * a.shape[-1], hi * a.shape[-1])
        case MaxPool(k, s, p), (x,):
            space = spatial(op, x, k, s, p)
            _need(all(max(q) < n for q, n in zip(p, k)), op, f"padding {p} is as wide as the kernel {k}")
            return Ints((x.shape[0], *space), x.lo, x.hi)
        case SumPool(k, s, p, pad), (x,):
            lo, hi = (min(x.lo, pad), max(x.hi, pad)) if _padded(p) else (x.lo, x.hi)
            return Ints((x.shape[0], *spatial(op, x, k, s, p)), lo * math.prod(k), hi * math.prod(k))
        case Lut(table, base), (x,):
            _need(table.ndim == 1 and base <= x.lo and x.hi < base + len(table), op,
                  f"a table for [{base}, {base + len(table) - 1}] does not cover {x}")
            reach = table[x.lo - base:x.hi - base + 1]
            return Ints(x.shape, int(reach.min()), int(reach.max()))
        case Concat(axis), (_, _, *_):
            first = args[0].shape
            _need(0 <= axis < len(first), op, f"axis {axis} of shape {first}")
            _need(all(len(t.shape) == len(first) and _without(t.shape, axis) == _without(first, axis) for t in args), op,
                  f"shapes {', '.join(str(t.shape) for t in args)} differ beside axis {axis}")
            shape = (*first[:axis], sum(t.shape[axis] for t in args), *first[axis + 1:])
            return Ints(shape, min(t.lo for t in args), max(t.hi for t in args))
        case Expand(shape), (x,):
            _need(len(shape) == len(x.shape) and all(n in (1, m) for n, m in zip(x.shape, shape)), op,
                  f"{x.shape} does not become {shape} by repeating axes of length 1")
            return Ints(shape, x.lo, x.hi)
        case Reshape(shape), (x,):
            _need(math.prod(shape) == x.size, op, f"{x.shape} has {x.size} elements, {shape} has {math.prod(shape)}")
            return Ints(tuple(shape), x.lo, x.hi)
        case Transpose(perm), (x,):
            _need(sorted(perm) == list(range(len(x.shape))), op, f"{perm} is no permutation of the axes of {x.shape}")
            return Ints(tuple(x.shape[p] for p in perm), x.lo, x.hi)
        case Slice(start, stop, step), (x,):
            _need(len(start) == len(stop) == len(step) == len(x.shape)
                  and all(0 <= a < b <= n and s > 0 for a, b, s, n in zip(start, stop, step, x.shape)), op,
                  f"[{start}:{stop}:{step}] does not lie within {x.shape}")
            return Ints(tuple(-(-(b - a) // s) for a, b, s in zip(start, stop, step)), x.lo, x.hi)
        case Pad(padding, value), (x,):
            _need(len(padding) == len(x.shape) and _pairs(padding), op,
                  f"padding {padding} is not (before, after), at least 0, of every axis of {x.shape}")
            shape = tuple(b + s + a for s, (b, a) in zip(x.shape, padding))
            return Ints(shape, min(x.lo, value), max(x.hi, value)) if _padded(padding) else x
        case Gather(table), (x,):
            _need(table.ndim == 2 and x.lo >= 0 and x.hi < len(table), op, f"a table of {len(table)} rows does not cover {x}")
            reach = table[x.lo:x.hi + 1]
            return Ints((*x.shape, table.shape[1]), int(reach.min()), int(reach.max()))
        case Recur(), (f, c, *first):
            return _recur(op, f, c, *first)
    raise UserError(f"{kind(op)} does not take {len(args)} arguments")


def kind(op: Op) -> str:
    """The op's name as it is printed and stored."""
    return type(op).__name__.lower()


def spatial(op: Op, x: Ints, kernel, stride, padding, dilation=None) -> tuple[int, ...]:
    """Spatial shape of a window op's result: floor((n + before + after - dilation * (k - 1) - 1) / stride) + 1."""
    dilation = dilation or (1,) * len(kernel)
    n = len(x.shape) - 1
    _need(n in (1, 2) and len(kernel) == len(stride) == len(padding) == len(dilation) == n, op,
          f"x {x.shape} has {n} spatial axes; kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}")
    _need(min(*kernel, *stride, *dilation) >= 1 and _pairs(padding), op,
          f"kernel {kernel}, stride {stride} and dilation {dilation} are at least 1, padding {padding} is (before, after), at least 0")
    out = tuple((s + p[0] + p[1] - d * (k - 1) - 1) // st + 1 for s, k, st, p, d in zip(x.shape[1:], kernel, stride, padding, dilation))
    _need(min(out) >= 1, op, f"a window of {kernel} (dilation {dilation}) does not fit into {x.shape} with padding {padding}")
    return out


def exact_bound(op: Op, x: Ints) -> int:
    """Largest magnitude that any partial sum of a Dense or Conv can reach, in any order of summation."""
    lo, hi = (min(x.lo, op.pad), max(x.hi, op.pad)) if isinstance(op, Conv) else (x.lo, x.hi)
    return max((up - down) * max(abs(lo), abs(hi)) + abs(b) for up, down, b in _rows(op.weight, op.bias))


def _need(fact: bool, op: Op, otherwise: str) -> None:
    if not fact:
        raise UserError(f"{kind(op)}: {otherwise}")


def _conv(op: Conv, x: Ints) -> Ints:
    w, b = op.weight, op.bias
    _need(len(x.shape) == w.ndim - 1 >= 2 and w.size > 0 and b.shape == w.shape[:1], op,
          f"weight {w.shape} and bias {b.shape} do not belong to x {x.shape}")
    _need(op.groups >= 1 and len(w) % op.groups == 0, op, f"{len(w)} outputs do not divide into {op.groups} groups")
    _need(x.shape[0] == w.shape[1] * op.groups, op,
          f"weight {w.shape} in {op.groups} groups needs {w.shape[1] * op.groups} channels, not {x.shape[0]}")
    lo, hi = (min(x.lo, op.pad), max(x.hi, op.pad)) if _padded(op.padding) else (x.lo, x.hi)
    space = spatial(op, x, w.shape[2:], op.stride, op.padding, op.dilation)
    return Ints((len(w), *space), *_dot_bounds(w, b, lo, hi))


def _requant(op: Requant, x: Ints) -> Ints:
    _need(op.mul.ndim == 1 and len(op.mul) >= 1, op, f"multipliers of shape {op.mul.shape}; give one, or one an index of the axis")
    _need(-len(x.shape) <= op.axis < len(x.shape), op, f"axis {op.axis} of shape {x.shape}")
    _need(len(op.mul) in (1, x.shape[op.axis]), op, f"{len(op.mul)} multipliers for axis {op.axis} of shape {x.shape}")
    _need(op.shift >= 0 and op.lo <= op.hi, op, f"shift {op.shift} or bounds [{op.lo}, {op.hi}]")
    muls = int(op.mul.min()), int(op.mul.max())
    products = [v * m for v in (x.lo, x.hi) for m in muls]
    product = Ints((1,), min(*products, 0), max(*products, 0))
    _need(max(product.bits, op.shift + 1) < WORD_BITS, op,
          f"{x} times {max(muls, key=abs)} with shift {op.shift} needs more than {WORD_BITS} bits")
    _need(Ints((1,), min(op.zero, op.lo), max(op.zero, op.hi)).bits < WORD_BITS, op,
          f"zero {op.zero} or bounds [{op.lo}, {op.hi}] need more than {WORD_BITS} bits")
    ends = [ops.requant(v, m, op.shift, op.zero, op.lo, op.hi) for v in (x.lo, x.hi) for m in muls]
    return Ints(x.shape, min(ends), max(ends))


def _div(op: Div, a: Ints, b: Ints) -> Ints:
    _need(a.shape == b.shape, op, f"shapes {a.shape} and {b.shape} differ")
    _need(b.lo >= 1, op, f"the divisor {b} is not proven to be at least 1; clamp it first")
    _need(Ints((1,), min(2 * a.lo, 0), max(2 * a.hi, 0) + 2 * b.hi).bits < WORD_BITS, op, f"{a} by {b} needs more than {WORD_BITS} bits")
    ends = [ops.divide(p, q) for p in (a.lo, a.hi) for q in (b.lo, b.hi)]
    return Ints(a.shape, min(ends), max(ends))


def _recur(op: Recur, f: Ints, c: Ints, *first: Ints) -> Ints:
    _need(f.shape == c.shape and len(f.shape) >= 1, op, f"shapes {f.shape} and {c.shape} differ or have no axis of steps")
    _need(len(first) <= 1 and all(s.shape == (1, *f.shape[1:]) for s in first), op,
          f"a first state of {', '.join(str(s.shape) for s in first)} instead of {(1, *f.shape[1:])}")
    _need(op.shift >= 0 and op.lo <= op.hi, op, f"shift {op.shift} or bounds [{op.lo}, {op.hi}]")
    states = Ints((1,), min(op.lo, 0, *(s.lo for s in first)), max(op.hi, 0, *(s.hi for s in first)))
    lo, hi = _product(f, states)
    _need(max(Ints((1,), min(lo + c.lo, 0), max(hi + c.hi, 0)).bits, op.shift + 1) < WORD_BITS, op,
          f"{f} times a state within [{states.lo}, {states.hi}] needs more than {WORD_BITS} bits")
    return Ints(f.shape, op.lo, op.hi)


def _dot_bounds(w: np.ndarray, b: np.ndarray, lo: int, hi: int) -> tuple[int, int]:
    """Ends of b[o] + sum of w[o, i] * x[i] over all x in [lo, hi]; both are attained by some o and x."""
    rows = _rows(w, b)
    return min(up * lo + down * hi + c for up, down, c in rows), max(up * hi + down * lo + c for up, down, c in rows)


def _rows(w: np.ndarray, b: np.ndarray) -> list[tuple[int, int, int]]:
    """(sum of the positive weights, sum of the negative ones, bias) of each output, as Python's integers: no overflow."""
    w = w.reshape(len(w), -1)
    if max(int(w.max()), -int(w.min())) * w.shape[1] > np.iinfo(np.int64).max:
        w = w.astype(object)
    return list(zip(np.maximum(w, 0).sum(1).tolist(), np.minimum(w, 0).sum(1).tolist(), b.tolist()))


def _product(a: Ints, b: Ints) -> tuple[int, int]:
    ends = [p * q for p in (a.lo, a.hi) for q in (b.lo, b.hi)]
    return min(ends), max(ends)


def _padded(padding) -> bool: return any(map(any, padding))


def _pairs(padding) -> bool: return all(len(p) == 2 and min(p) >= 0 for p in padding)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]: return shape[:axis] + shape[axis + 1:]
