"""ATen ops that only move elements: views, permutations, slices, joins, padding; and those that do nothing at all."""
import math

from .aten_math import lone, repeat
from .builder import Builder, at_axis, batch_axis, key, rule


@rule("dropout", "dropout_", "feature_dropout", "alpha_dropout", "native_dropout", "detach", "detach_", "clone", "contiguous",
      "alias", "lift_fresh_copy", "positive", "_to_copy", "to", "type_as", "float")
def nothing(b: Builder, a):
    x = getattr(a, "input", getattr(a, "self", None))
    if getattr(a, "train", False):
        b.refuse("dropout in training mode; call model.eval()")
    if b.node.meta["val"].is_floating_point() != b.node.args[0].meta["val"].is_floating_point():
        b.refuse("a cast between integers and floats inside the model; give it the type that it computes with")
    return x


@rule("squeeze")
def squeeze(b: Builder, a):
    """Wherever the batch axis is."""
    at, rank = batch_axis(a.self), len(b.shape(a.self)) + 1
    dims = range(rank) if (d := getattr(a, "dim", None)) is None else [d] if isinstance(d, int) else d
    axes = [d % rank for d in dims if d % rank != at]
    gone = [d for d in axes if b.shape(a.self)[d - (d > at)] == 1]
    kept = tuple(n for i, n in enumerate(b.shape(a.self)) if i + (i >= at) not in gone)
    return at_axis(b.emit("reshape", a.self, shape=kept), at - sum(d < at for d in gone))


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "view_as", "reshape_as")
def reshape(b: Builder, a):
    """Whatever the arguments said: to the shape that export found, one sample at a time."""
    val = b.node.meta["val"].shape
    if not val or math.prod(val[1:]) != math.prod(b.shape(a.self)):
        b.refuse(f"to {tuple(map(str, val))}: mixes the batch with another axis; keep the batch first, as in x.flatten(1)")
    return b.emit("reshape", a.self, shape=tuple(int(n) for n in val[1:]))


@rule("permute", "transpose", "t", "numpy_T", "movedim", "swapaxes")
def transpose(b: Builder, a):
    rank = len(b.shape(a.self)) + 1
    perm = [d % rank for d in a.dims] if hasattr(a, "dims") else list(range(rank))
    if not hasattr(a, "dims"):
        i, j = getattr(a, "dim0", 0) % rank, getattr(a, "dim1", 1) % rank
        perm[i], perm[j] = perm[j], perm[i]
    at = batch_axis(a.self)
    return at_axis(b.emit("transpose", a.self, perm=tuple(p - (p > at) for p in perm if p != at)), perm.index(at))


@rule("expand", "expand_as")
def expand(b: Builder, a):
    shape = tuple(int(n) for n in b.node.meta["val"].shape[1:])
    if len(shape) != len(b.shape(a.self)):
        b.refuse("adds an axis; unsqueeze first")
    return repeat(b, a.self, shape)


@rule("slice", "narrow")
def slice_(b: Builder, a):
    if a.dim % (len(b.shape(a.self)) + 1) == 0 and (a.start or 0) == 0 and getattr(a, "end", None) in (None, 2**63 - 1):
        return a.self  # x[:, ...]
    axis = b.axis(a.self, a.dim)
    n = b.shape(a.self)[axis]
    if hasattr(a, "length"):
        return cut(b, a.self, axis, a.start % n, a.start % n + a.length)
    start, stop, step = slice(a.start, a.end, a.step).indices(n)
    return cut(b, a.self, axis, start, stop, step)


@rule("select")
def select(b: Builder, a):
    axis = b.axis(a.self, a.dim)
    i, at = a.index % b.shape(a.self)[axis], batch_axis(a.self)
    return at_axis(drop(b, cut(b, a.self, axis, i, i + 1), axis), at - (axis < at))


@rule("split", "split_with_sizes", "chunk", "unbind", "unsafe_split", "unsafe_chunk")
def split(b: Builder, a):
    axis = b.axis(a.self, a.dim)
    n = b.shape(a.self)[axis]
    single = key(b.node) == "unbind"
    sizes = getattr(a, "split_sizes", None) or getattr(a, "split_size", None) or (1 if single else -(-n // a.chunks))
    sizes = [min(sizes, n - i) for i in range(0, n, sizes)] if isinstance(sizes, int) else list(sizes)
    ends = [sum(sizes[:i + 1]) for i in range(len(sizes))]
    parts, at = [cut(b, a.self, axis, e - s, e) for s, e in zip(sizes, ends)], batch_axis(a.self)
    return [at_axis(drop(b, p, axis), at - (axis < at)) for p in parts] if single else [at_axis(p, at) for p in parts]


@rule("cat", "concat")
def concat(b: Builder, a):
    like = next(x for x in a.tensors if isinstance(x, str))
    kept = [x for x in a.tensors if isinstance(x, str) or x.numel()]
    tensors = [x if isinstance(x, str) else b.constant(lone(b, like, x)) for x in kept]
    return tensors[0] if len(tensors) == 1 else b.emit("concat", *tensors, axis=b.axis(like, a.dim))


@rule("upsample_nearest1d", "upsample_nearest2d")
def upsample(b: Builder, a):
    """Every element k times along each axis: an axis of length 1 behind it, repeated."""
    x = getattr(a, "input", getattr(a, "self", None))
    shape, to = b.shape(x), tuple(int(n) for n in b.node.meta["val"].shape[1:])
    if any(n % m for n, m in zip(to, shape)):
        b.refuse(f"from {shape[1:]} to {to[1:]}; only by a whole number")
    x = b.emit("reshape", x, shape=(shape[0], *(n for m in shape[1:] for n in (m, 1))))
    x = repeat(b, x, (shape[0], *(k for m, n in zip(shape[1:], to[1:]) for k in (m, n // m))))
    return b.emit("reshape", x, shape=to)


@rule("constant_pad_nd", "pad")
def pad(b: Builder, a):
    if getattr(a, "mode", "constant") != "constant":
        b.refuse(f"mode {a.mode!r}; only 'constant'")
    x, shape = a.self, b.shape(a.self)
    pads = list(zip(a.pad[::2], a.pad[1::2]))[::-1]  # ATen counts axes from the last
    if len(pads) > len(shape):
        b.refuse("pads the batch axis")
    pads = [(0, 0)] * (len(shape) - len(pads)) + pads
    for i, (before, after) in enumerate(pads):  # a negative padding crops
        if min(before, after) < 0:
            x = cut(b, x, i, max(0, -before), shape[i] - max(0, -after))
    return b.emit("pad", x, padding=tuple((max(0, p), max(0, q)) for p, q in pads), value=float(getattr(a, "value", 0) or 0))


def cut(b: Builder, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
    """x[start:stop:step] along one axis, 0 <= start < stop."""
    shape = b.shape(x)
    if start >= stop:
        b.refuse(f"nothing is left of axis {axis} of {shape}")
    def every(v, others): return tuple(v if i == axis else o for i, o in enumerate(others))
    return b.emit("slice", x, start=every(start, [0] * len(shape)), stop=every(stop, shape), step=every(step, [1] * len(shape)))


def drop(b: Builder, x: str, axis: int) -> str:
    """x without an axis of length 1."""
    return b.emit("reshape", x, shape=tuple(n for i, n in enumerate(b.shape(x)) if i != axis))
