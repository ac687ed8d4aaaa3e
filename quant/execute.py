"""The integer graph on torch: integers held in the narrowest float that is exact, or in int64.

The same `evaluate` is the forward pass of training (with live weights) and the torch backend (`run`).
"""
import math

import torch
from torch.nn import functional as F

from ir import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Op, Pad, Recur,
                Requant, Reshape, Slice, Sqrt, SumPool, Transpose, UserError)
from ir import ops
from ir.infer import exact_bound
from ir.interpret import recur


def run(g: Graph, x: torch.Tensor, keep: bool = False):
    """(N, *input.shape) integers -> (N, *output.shape) int64, on x's device; keep=True gives every node's values by name.

    A graph with several inputs takes a dict {input name: tensor}.
    """
    feeds = x if isinstance(x, dict) else {n.name: x for n in g.inputs}
    env: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for n in g.nodes.values():
            if isinstance(n.op, Input):
                env[n.name] = check(n.name, n.type, feeds[n.name]).to(holder(n.type))
            elif isinstance(n.op, Constant):
                env[n.name] = constant(n.op, n.type, next(iter(feeds.values())))
            else:
                env[n.name] = evaluate(n.op, n.type, tuple(g.nodes[a].type for a in n.args), *[env[a] for a in n.args])
    return {k: v.long() for k, v in env.items()} if keep else env[g.output.name].long()


def check(name: str, t: Ints, x: torch.Tensor) -> torch.Tensor:
    """x, after a look at its kind, shape and range."""
    if x.dtype.is_floating_point or x.dtype.is_complex:
        raise UserError(f"input {name!r} takes integers, not {x.dtype}; encode reals with graph.encodings[{name!r}].encode")
    if tuple(x.shape[1:]) != t.shape:
        raise UserError(f"input {name!r} takes (N, {', '.join(map(str, t.shape))}), not {tuple(x.shape)}")
    if x.numel() and (x.min() < t.lo or x.max() > t.hi):
        raise UserError(f"input {name!r} takes integers in [{t.lo}, {t.hi}], got [{int(x.min())}, {int(x.max())}]")
    return x


def constant(op: Constant, t: Ints, x: torch.Tensor) -> torch.Tensor:
    """The constant for each sample of x, on its device."""
    return torch.tensor(op.value, device=x.device).to(holder(t)).expand(len(x), *t.shape)


def holder(t: Ints) -> torch.dtype: return _exact(max(-t.lo, t.hi))


def evaluate(op: Op, t: Ints, types: tuple[Ints, ...], *xs: torch.Tensor, live: dict | None = None) -> torch.Tensor:
    """One op of result type t on integers held as holder(type); `live` replaces constants by tensors that carry a gradient."""
    x, live = xs[0], live or {}
    match op:
        case Dense():
            return _dense(op, t, types[0], x, live)
        case Conv():
            return _conv(op, t, types[0], x, live)
        case Requant():
            return requant(op, t, types[0], x.detach())[0]
        case Add():
            dt = _exact(max(max(-v.lo, v.hi) for v in (t, *types)))  # a narrow sum may have wide terms that cancel
            return (xs[0].to(dt) + xs[1].to(dt)).to(holder(t))
        case Mul():
            return xs[0].to(holder(t)) * xs[1].to(holder(t))
        case Div():
            return _divide(types, *(v.detach() for v in xs)).to(holder(t))
        case Sqrt():
            return ops.root(x.detach().long()).to(holder(t))
        case MatMul():
            dt = _exact(max(-types[0].lo, types[0].hi) * max(-types[1].lo, types[1].hi) * types[0].shape[-1], x)
            return (xs[0].to(dt) @ xs[1].to(dt)).to(holder(t))
        case MaxPool(k, s, p):
            return _two_axes(F.max_pool2d, _pad(x, p, types[0].lo), k, s).to(holder(t))
        case SumPool(k, s, p, pad):
            total = lambda y, k, s: F.avg_pool2d(y, k, s, divisor_override=1)
            return _two_axes(total, _pad_live(x.to(_exact(max(-t.lo, t.hi, types[0].hi))), p, pad, live), k, s).to(holder(t))
        case Lut(table, base):
            return torch.tensor(table, device=x.device).to(holder(t))[x.detach().long() - base]
        case Concat(axis):
            return torch.cat([v.to(holder(t)) for v in xs], axis + 1)
        case Expand(shape):
            return x.expand(-1, *shape)
        case Recur(shift, lo, hi):
            return recur(torch.stack, shift, lo, hi, *(v.detach().long() for v in xs)).to(holder(t))
        case Reshape(shape):
            return x.reshape(-1, *shape)
        case Transpose(perm):
            return x.permute(0, *(p + 1 for p in perm))
        case Slice(start, stop, step):
            return x[(slice(None), *map(slice, start, stop, step))]
        case Pad(padding, value):
            return _pad(x.to(holder(t)), padding, value)
        case Gather(table):
            rows = live.get("table", torch.tensor(table, device=x.device)).to(holder(t))
            return rows[x.detach().long()]
    raise TypeError(f"{type(op).__name__} has no value of its own")


def requant(op: Requant, t: Ints, x_type: Ints, x: torch.Tensor, unrounded: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
    """ops.requant of x, and if asked x * mul / 2**shift as float32.

    Where no product with its half reaches 2**53, floor(x * mul / 2**shift + 1/2) is computed in float64: each step of it is
    exact, and a third of the time of the integers.
    """
    shape = [1] * x.dim()
    shape[op.axis + 1 if op.axis >= 0 else op.axis] = len(op.mul)
    m = torch.tensor(op.mul, device=x.device).view(shape)
    reach = max(-x_type.lo, x_type.hi) * max(int(op.mul.max()), -int(op.mul.min())) + 2 ** op.shift // 2
    if max(reach, abs(op.zero), abs(op.lo), abs(op.hi)) >= 1 << 52:
        y = ops.requant(x.long(), m, op.shift, op.zero, op.lo, op.hi).to(holder(t))
        return y, (x.double() * m * 2.0 ** -op.shift).float() if unrounded else None
    narrow = op.shift == 0 and max(reach, abs(op.lo), abs(op.hi)) + abs(op.zero) < 1 << 24
    v = x.float() * m.float() if narrow else x.double() * (m.double() * 2.0 ** -op.shift)
    real = v if unrounded and narrow else v.float() if unrounded else None
    y = v + op.zero if op.shift == 0 else v.add_(0.5).floor_().add_(op.zero)
    return y.clamp_(op.lo, op.hi).to(holder(t)), real


def _divide(types: tuple[Ints, ...], a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """ops.divide.  Where 2a + 2b stays below 2**52 in magnitude, in float64: a quotient that is no integer is then further from the
    next one than its rounding error, so its floor is right, in a fraction of the time of the integers.
    """
    if 2 * max(-types[0].lo, types[0].hi) + 2 * types[1].hi >= 1 << 52:
        return ops.divide(a.long(), b.long())
    b2 = b.double() * 2
    return (a.double() * 2 + b).div_(b2).floor_()


def _exact(bound: int, x: torch.Tensor | None = None) -> torch.dtype:
    """Where integers up to `bound` are exact.  On a GPU sums never run in float32: its kernels may take TF32 or Winograd."""
    if bound < 1 << 24 and not (x is not None and x.is_cuda):
        return torch.float32
    return torch.float64 if bound < 1 << 53 else torch.int64


def _dense(op: Dense, t: Ints, x_type: Ints, x: torch.Tensor, live: dict) -> torch.Tensor:
    dt = _exact(exact_bound(op, x_type), x)
    w, b = (live.get(k, torch.tensor(getattr(op, k), device=x.device)).to(dt) for k in ("weight", "bias"))
    return (x.to(dt) @ w.T + b).to(holder(t))


def _conv(op: Conv, t: Ints, x_type: Ints, x: torch.Tensor, live: dict) -> torch.Tensor:
    dt = _exact(exact_bound(op, x_type), x)
    w, b = (live.get(k, torch.tensor(getattr(op, k), device=x.device)).to(dt) for k in ("weight", "bias"))
    inside = op.pad == 0 and dt != torch.int64 and all(before == after for before, after in op.padding)  # saves a copy of x
    x = x.to(dt) if inside else _pad_live(x.to(dt), op.padding, op.pad, live)
    if dt == torch.int64:
        return _conv_integers(op, x, w, b)
    conv = F.conv1d if w.dim() == 3 else F.conv2d
    with torch.backends.nnpack.flags(enabled=False):  # its Winograd is not exact
        return conv(x, w, b, op.stride, tuple(p for p, _ in op.padding) if inside else 0, op.dilation, op.groups).to(holder(t))


def _conv_integers(op: Conv, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Accumulators too wide for any float: one integer product for each kernel tap."""
    kernel, groups = w.shape[2:], op.groups
    out = [(s - d * (k - 1) - 1) // st + 1 for s, k, st, d in zip(x.shape[2:], kernel, op.stride, op.dilation)]
    y = b.view(1, groups, -1, 1).expand(len(x), -1, -1, math.prod(out)).clone()
    for tap in torch.cartesian_prod(*map(torch.arange, kernel)).reshape(-1, len(kernel)).tolist():
        at = tuple(slice(i * d, i * d + (o - 1) * st + 1, st) for i, d, o, st in zip(tap, op.dilation, out, op.stride))
        cols = x[(..., *at)].reshape(len(x), groups, -1, math.prod(out))
        rows = w[(slice(None), slice(None), *tap)].reshape(groups, -1, w.shape[1])
        y += rows @ cols
    return y.reshape(len(x), len(w), *out)


def _two_axes(pool, x: torch.Tensor, kernel, stride) -> torch.Tensor:
    if len(kernel) == 2:
        return pool(x, tuple(kernel), tuple(stride))
    return pool(x.unsqueeze(2), (1, *kernel), (1, *stride)).squeeze(2)


def _pad_live(x: torch.Tensor, padding, value: int, live: dict) -> torch.Tensor:
    """x with `value` around its last axes; live["pad"] is that value with a gradient."""
    if "pad" not in live:
        return _pad(x, padding, value)
    pad = live["pad"].to(x.dtype)
    return _pad(x - pad, padding, 0) + pad


def _pad(x: torch.Tensor, padding, value: int) -> torch.Tensor:
    """x with `value` around its last axes, as many as `padding` has."""
    if not any(map(any, padding)):
        return x
    if x.dtype != torch.int64:
        return F.pad(x, [v for p in reversed(padding) for v in p], value=value)
    first = x.dim() - len(padding)  # F.pad would round a wide integer to a float
    y = x.new_full((*x.shape[:first], *(s + b + a for s, (b, a) in zip(x.shape[first:], padding))), value)
    y[(..., *(slice(b, b + s) for s, (b, a) in zip(x.shape[first:], padding)))] = x
    return y
