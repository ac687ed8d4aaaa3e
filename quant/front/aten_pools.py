"""ATen ops that gather a window or an axis: pools, means, sums, maxima."""
import math

from .aten_math import affine
from .builder import Builder, both, every, key, rule


@rule("max_pool1d", "max_pool2d", "max_pool2d_with_indices")
def max_pool(b: Builder, a):
    kernel, stride, padding = window(b, a)
    if any(d != 1 for d in every(a.dilation, len(kernel))):
        b.refuse(f"dilation {a.dilation}; only 1")
    if a.ceil_mode:  # the last window may hang over the edge: the same as more padding, which never wins
        space = b.shape(a.self)[1:]
        out = [-(-(n + 2 * p - k) // s) + 1 for n, p, k, s in zip(space, padding, kernel, stride)]
        out = [o - ((o - 1) * s >= n + p) for o, n, p, s in zip(out, space, padding, stride)]
        pads = tuple((p, max(p, (o - 1) * s + k - n - p)) for o, n, p, k, s in zip(out, space, padding, kernel, stride))
    else:
        pads = both(padding)
    y = b.emit("maxpool", a.self, kernel=kernel, stride=stride, padding=pads)
    return [y, None] if "indices" in key(b.node) else y


@rule("avg_pool1d", "avg_pool2d")
def avg_pool(b: Builder, a):
    kernel, stride, padding = window(b, a)
    if any(padding) and not a.count_include_pad:
        b.refuse("count_include_pad=False with padding; set count_include_pad=True, or pad nothing")
    if a.ceil_mode and any((n + 2 * p - k) % s for n, p, k, s in zip(b.shape(a.self)[1:], padding, kernel, stride)):
        b.refuse("ceil_mode=True where windows hang over the edge")
    if getattr(a, "divisor_override", None) not in (None, math.prod(kernel)):
        b.refuse(f"divisor_override={a.divisor_override}")
    return b.emit("avgpool", a.self, kernel=kernel, stride=stride, padding=both(padding))


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d")
def adaptive_pool(b: Builder, a):
    space = b.shape(a.self)[1:]
    size = [n if o is None else o for o, n in zip(every(a.output_size, len(space)), space)]
    if any(n % o for n, o in zip(space, size)):
        b.refuse(f"from {space} to {tuple(size)}; each output size must divide its input size")
    kernel = tuple(n // o for n, o in zip(space, size))
    largest = "max" in key(b.node)
    y = b.emit("maxpool" if largest else "avgpool", a.self, kernel=kernel, stride=kernel, padding=both((0,) * len(kernel)))
    return [y, None] if largest else y


@rule("mean", "sum", "amax")
def reduce(b: Builder, a):
    x, shape, what = a.self, b.shape(a.self), key(b.node)
    dims = getattr(a, "dim", None)
    if dims is None or dims == []:
        b.refuse("over every axis, the batch among them; name the axes")
    axes = sorted(b.axis(x, d) for d in ([dims] if isinstance(dims, int) else dims))
    kind = "maxpool" if what == "amax" else "avgpool"
    kept = [i for i in range(len(shape)) if i not in axes]
    if not (len(shape) in (2, 3) and axes == list(range(1, len(shape)))):
        if kept + axes != list(range(len(shape))):
            x = b.emit("transpose", x, perm=(*kept, *axes))
        x = b.emit("reshape", x, shape=(math.prod(shape[i] for i in kept), math.prod(shape[i] for i in axes)))
    space = b.shape(x)[1:]
    x = b.emit(kind, x, kernel=space, stride=space, padding=both((0,) * len(space)))
    x = b.emit("reshape", x, shape=tuple(1 if i in axes else n for i, n in enumerate(shape) if a.keepdim or i not in axes))
    return affine(b, x, math.prod(space), 0) if what == "sum" else x


def window(b: Builder, a) -> tuple[tuple, tuple, list]:
    n = len(b.shape(a.self)) - 1
    kernel = every(a.kernel_size, n)
    return kernel, every(a.stride, n) if a.stride else kernel, list(every(a.padding, n))
