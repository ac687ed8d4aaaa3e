"""ATen ops that work on each element: activations, sums, products."""
import torch

from .builder import Builder, key, rule

LOW = -1e9  # stands for -inf in what is added before a softmax: it gives 0 there, and stays finite


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
      "cos", "log_sigmoid", "sqrt", "rsqrt")
def function(b: Builder, a):
    fn = key(b.node)
    fixed = {"elu": dict(alpha=1, scale=1, input_scale=1), "softplus": dict(beta=1, threshold=20)}.get(fn, {})
    for k, v in fixed.items():
        if getattr(a, k) != v:
            b.refuse(f"{k}={getattr(a, k)}; only {k}={v}")
    if fn == "gelu" and a.approximate == "tanh":
        fn = "gelu_tanh"
    return b.emit("function", a.self, fn=fn)


@rule("qsearch::ie_lif")
def ie_lif(b: Builder, a): return b.emit("function", a.x, fn="ie_lif")


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
    if isinstance(a.other, str) and isinstance(a.self, str) and b.steps[a.other].attrs.get("fn") == "sqrt":
        root = b.emit("function", b.steps[a.other].args[0], title=b.title("rsqrt"), fn="rsqrt")
        return b.emit("mul", *same_shape(b, a.self, root))
    if isinstance(a.other, str) or getattr(a, "rounding_mode", None):
        b.refuse("division by an activation, or with rounding; only by a constant or a square root")
    return affine(b, a.self, 1 / torch.as_tensor(a.other, dtype=torch.float64), 0)


@rule("pow", "square")
def square(b: Builder, a):
    if getattr(a, "exponent", 2) != 2 or not isinstance(a.self, str):
        b.refuse("only the square")
    return b.emit("mul", a.self, a.self)


def sum_of(b: Builder, x, y, factor):
    """x + factor * y, where either may be a constant."""
    if isinstance(x, str) and isinstance(y, str):
        return b.emit("add", *same_shape(b, x, y if factor == 1 else affine(b, y, factor, 0)))
    return affine(b, x, 1, torch.as_tensor(y, dtype=torch.float64) * factor) if isinstance(x, str) else affine(b, y, factor, x)


def affine(b: Builder, x: str, s, t) -> str:
    """x * s + t: one scale where the constants vary along one axis at most, else products and sums with constant steps."""
    s, t = (lone(b, x, v).double() for v in (s, t))
    shape = b.shape(x)
    if not shape:
        b.refuse("a value that is one number a sample; keep an axis, as in x[:, :1]")
    t = t.clip(min=LOW) if (t == -torch.inf).any() else t
    axes = set()
    for c in (s, t):
        if c.numel() > 1 and not (c == c.flatten()[0]).all():
            axes |= {len(shape) - c.dim() + i for i, n in enumerate(c.shape) if n > 1}
    larger = torch.broadcast_shapes(s.shape, t.shape, shape) != torch.Size(shape)
    if len(axes) > 1 or larger:
        if not (s == 1).all():
            x = b.emit("mul", *same_shape(b, x, b.constant(s))) if s.numel() > 1 else affine(b, x, s, 0)
        return b.emit("add", *same_shape(b, x, b.constant(t))) if t.numel() > 1 or (t != 0).any() else x
    axis = axes.pop() if axes else 0
    s, t = (c.flatten()[:1].expand(shape[axis]) if (c == c.flatten()[0]).all() else c.flatten() for c in (s, t))
    return b.emit("scale", x, weight=s, bias=t, axis=axis)


def lone(b: Builder, x: str, c) -> torch.Tensor:
    """A constant that is combined with step `x`, without the batch axis that it may have (where all its samples are equal)."""
    c, rank = torch.as_tensor(c).detach().cpu(), len(b.shape(x))
    if c.dim() > rank + 1 or c.dim() == rank + 1 and not (c == c[:1]).all():
        b.refuse(f"a constant of shape {tuple(c.shape)} with a value of shape {('N', *b.shape(x))}")
    return c[0] if c.dim() == rank + 1 else c


def same_shape(b: Builder, x: str, y: str) -> tuple[str, str]:
    """Both with the shape of their broadcast; what is narrower is repeated."""
    for v, other in ((x, y), (y, x)):
        b.enlarge(v, b.shape(other))
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
