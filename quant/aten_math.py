"""ATen ops that work on each element: activations, sums, products."""
import torch

from .builder import Builder, key, rule


@rule("relu")
def relu(b: Builder, a): return b.emit("relu", a.self)


@rule("relu6", "hardtanh", "clamp", "clip", "clamp_min", "clamp_max")
def clip(b: Builder, a):
    lo, hi = (0.0, 6.0) if not hasattr(a, "min_val") and not hasattr(a, "min") and not hasattr(a, "max") else (
        getattr(a, "min_val", getattr(a, "min", None)), getattr(a, "max_val", getattr(a, "max", None)))
    if isinstance(lo, (str, torch.Tensor)) or isinstance(hi, (str, torch.Tensor)):
        b.refuse("only with bounds that are numbers")
    if lo == 0 and hi is None:
        return b.emit("relu", a.self)
    return b.emit("clip", a.self, lo=None if lo is None else float(lo), hi=None if hi is None else float(hi))


@rule("sigmoid", "tanh", "silu", "hardsigmoid", "hardswish", "exp", "abs", "mish", "elu", "softplus", "gelu", "selu", "erf", "sin",
      "cos", "log_sigmoid")
def function(b: Builder, a):
    fn = key(b.node)
    fixed = {"elu": dict(alpha=1, scale=1, input_scale=1), "softplus": dict(beta=1, threshold=20)}.get(fn, {})
    for k, v in fixed.items():
        if getattr(a, k) != v:
            b.refuse(f"{k}={getattr(a, k)}; only {k}={v}")
    if fn == "gelu" and a.approximate == "tanh":
        fn = "gelu_tanh"
    return b.emit("function", a.self, fn=fn)


@rule("leaky_relu")
def leaky_relu(b: Builder, a): return b.emit("function", a.self, fn="leaky_relu", slope=float(a.negative_slope))


@rule("prelu", "_prelu_kernel")
def prelu(b: Builder, a):
    """max(x, 0) + w * min(x, 0), with one w or one a channel."""
    if isinstance(a.weight, str):
        b.refuse("only with constant slopes")
    if a.weight.numel() == 1:
        return b.emit("function", a.self, fn="leaky_relu", slope=float(a.weight))
    low = b.emit("clip", a.self, lo=None, hi=0.0)
    low = b.emit("scale", low, weight=a.weight.flatten(), bias=torch.zeros(a.weight.numel()), axis=0)
    return b.emit("add", b.emit("relu", a.self), low)


@rule("add")
def add(b: Builder, a): return sum_of(b, a.self, a.other, getattr(a, "alpha", 1))


@rule("sub")
def sub(b: Builder, a): return sum_of(b, a.self, a.other, -getattr(a, "alpha", 1))


@rule("rsub")
def rsub(b: Builder, a): return sum_of(b, a.other, a.self, -a.alpha)


@rule("neg")
def neg(b: Builder, a): return affine(b, a.self, -1, 0)


@rule("mul")
def mul(b: Builder, a):
    x, y = a.self, a.other
    if isinstance(x, str) and isinstance(y, str):
        return b.emit("mul", *same_shape(b, x, y))
    return affine(b, x, y, 0) if isinstance(x, str) else affine(b, y, x, 0)


@rule("div")
def div(b: Builder, a):
    if isinstance(a.other, str) or getattr(a, "rounding_mode", None):
        b.refuse("division by an activation, or with rounding; only by a constant")
    return affine(b, a.self, 1 / torch.as_tensor(a.other, dtype=torch.float64), 0)


@rule("pow", "square")
def square(b: Builder, a):
    if getattr(a, "exponent", 2) != 2 or not isinstance(a.self, str):
        b.refuse("only the square")
    return b.emit("mul", a.self, a.self)


@rule("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(b: Builder, a):
    """The last step of a classifier only: it moves no prediction, so the net ends in the logits before it."""
    what = key(b.node).lstrip("_")
    if any(u.op != "output" for u in b.node.users) or b.axis(a.self, a.dim) != len(b.shape(a.self)) - 1:
        b.refuse(f"{what} inside the network is not supported (at its very end, over the classes, it is left out)")
    b.notes.append(f"the final {what} is left out: outputs are logits, predictions are the same")
    return a.self


def sum_of(b: Builder, x, y, factor):
    """x + factor * y, where either may be a constant."""
    if isinstance(x, str) and isinstance(y, str):
        return b.emit("add", *same_shape(b, x, y if factor == 1 else affine(b, y, factor, 0)))
    return affine(b, x, 1, torch.as_tensor(y, dtype=torch.float64) * factor) if isinstance(x, str) else affine(b, y, factor, x)


def affine(b: Builder, x: str, s, t) -> str:
    """x * s + t with constants that vary along one axis at most."""
    s, t = (torch.as_tensor(v).detach().cpu().double() for v in (s, t))
    shape = b.shape(x)
    axes = set()
    for c in (s, t):
        if c.dim() > len(shape) + 1 or c.dim() == len(shape) + 1 and c.shape[0] != 1:
            b.refuse(f"a constant of shape {tuple(c.shape)} with a value of shape {('N', *shape)}")
        if c.numel() > 1 and not (c == c.flatten()[0]).all():
            axes |= {len(shape) - c.dim() + i for i, n in enumerate(c.shape) if n > 1}
    if any(i >= 0 and c.shape[i - len(shape)] not in (1, shape[i]) for c in (s, t) for i in range(len(shape) - c.dim(), len(shape))):
        b.refuse(f"constants of shapes {tuple(s.shape)}, {tuple(t.shape)} would enlarge a value of shape {('N', *shape)}")
    if len(axes) > 1 or not shape:
        b.refuse(f"a constant that varies along {len(axes)} axes; one number, or one for each index of a single axis")
    axis = axes.pop() if axes else 0
    s, t = (c.flatten()[:1].expand(shape[axis]) if (c == c.flatten()[0]).all() else c.flatten() for c in (s, t))
    return b.emit("scale", x, weight=s, bias=t, axis=axis)


def same_shape(b: Builder, x: str, y: str) -> tuple[str, str]:
    """Both with the shape of their broadcast; what is narrower is repeated."""
    shape = torch.broadcast_shapes((1, *b.shape(x)), (1, *b.shape(y)))[1:]
    if len(b.shape(x)) != len(b.shape(y)):
        b.refuse(f"shapes {('N', *b.shape(x))} and {('N', *b.shape(y))} mix the batch with another axis; unsqueeze first")
    return repeat(b, x, shape), repeat(b, y, shape)


def repeat(b: Builder, x: str, shape) -> str:
    """x repeated along its axes of length 1 until it has this shape."""
    for i, n in enumerate(shape):
        if b.shape(x)[i] != n:
            x = b.emit("concat", *[x] * n, title=b.title("repeat"), axis=i)
    return x
