"""Rules of the ops that only move elements: on integers as nodes of the graph, on quantized constants at once."""
import numpy as np

from ir import Concat, Gather, Lut, Pad, Reshape, Slice, Transpose

from .onnx_qnode import QNode, quantized_rule
from .onnx_real import Fixed, Real, real


@quantized_rule("Reshape")
def reshape(n: QNode):
    shape = n.ints(1, "shape")
    if n.attr("allowzero", 0):
        n.refuse("allowzero=1")
    if not isinstance(n.args[0], Real):
        return constant(n, lambda v: v.reshape(shape))
    x = n.tensor(0)
    to = [x.shape[i - 1] if i and s == 0 else s for i, s in enumerate(shape)]
    if to[0] == -1 and -1 not in to[1:]:
        to[0] = 1
    if to[0] not in (0, 1, -1):
        n.refuse(f"shape {shape}; the first axis is the batch and stays")
    size = int(np.prod(x.shape))
    rest = to[1:]
    if -1 in rest:
        known = -int(np.prod(rest))
        rest[rest.index(-1)] = size // known if known and size % known == 0 else 0
    if int(np.prod(rest)) != size or not rest:
        n.refuse(f"(N, {', '.join(map(str, x.shape))}) to {shape}; the first axis is the batch and stays")
    return reshaped(n, x, tuple(rest))


@quantized_rule("Flatten")
def flatten(n: QNode):
    if n.attr("axis", 1) != 1:
        n.refuse(f"axis={n.attr('axis')}; only 1, so that samples stay apart")
    return reshaped(n, n.tensor(0), (int(np.prod(n.tensor(0).shape)),))


@quantized_rule("Squeeze", "Unsqueeze")
def squeeze(n: QNode):
    axes = n.ints(1, "axes")
    if not isinstance(n.args[0], Real):
        f = np.squeeze if n.op == "Squeeze" else np.expand_dims
        return constant(n, lambda v: f(v, None if axes is None else tuple(axes)))
    x = n.tensor(0)
    rank = len(x.shape) + 1
    if n.op == "Squeeze":
        axes = [i for i in range(1, rank) if x.shape[i - 1] == 1] if axes is None else [a % rank for a in axes]
        shape = tuple(s for i, s in enumerate(x.shape, 1) if i not in axes)
    else:
        axes = sorted(a % (rank + len(axes)) for a in axes)
        shape = list(x.shape)
        for a in axes:
            shape.insert(a - 1, 1)
        shape = tuple(shape)
    if 0 in axes or not shape:
        n.refuse(f"axes {axes}; the batch axis stays, and one more")
    return reshaped(n, x, shape)


@quantized_rule("Transpose")
def transpose(n: QNode):
    perm = n.attr("perm")
    if not isinstance(n.args[0], Real):
        return constant(n, lambda v: v.transpose(perm))
    x = n.tensor(0)
    perm = list(perm if perm is not None else range(len(x.shape) + 1)[::-1])
    if perm[0] != 0:
        n.refuse(f"perm {perm}; the batch axis stays first")
    inner = tuple(p - 1 for p in perm[1:])
    return moved(n, x, Transpose(inner), lambda v: v.transpose(inner))


@quantized_rule("Slice")
def slice_(n: QNode):
    x = n.tensor(0)
    starts, ends = n.ints(1, "starts"), n.ints(2, "ends")
    axes, steps = n.ints(3, "axes", list(range(len(starts)))), n.ints(4, "steps", [1] * len(starts))
    cut = {a % (len(x.shape) + 1): slice(b, e, s) for a, b, e, s in zip(axes, starts, ends, steps)}
    if 0 in cut or min(steps) < 1:
        n.refuse(f"axes {axes}, steps {steps}; only positive steps, and not along the batch")
    return sliced(n, x, {a - 1: s for a, s in cut.items()})


@quantized_rule("Split")
def split(n: QNode):
    x, axis, sizes = n.tensor(0), n.attr("axis", 0), n.ints(1, "split")
    axis %= len(x.shape) + 1
    if axis == 0:
        n.refuse("along the batch")
    size = x.shape[axis - 1]
    part = -(-size // n.attr("num_outputs", n.outputs))
    ends = np.cumsum(sizes or [min(part, size - i) for i in range(0, size, part)]).tolist()
    return [sliced(n, x, {axis - 1: slice(a, b, 1)}) for a, b in zip([0, *ends], ends)]


@quantized_rule("Gather")
def gather(n: QNode):
    if not isinstance(n.args[0], Real):
        return looked_up(n)
    x, axis, index = n.tensor(0), n.attr("axis", 0), n.const(1, "indices")
    axis %= len(x.shape) + 1
    if axis == 0 or index.ndim > 1:
        n.refuse("along the batch, or by a table of indices")
    at = np.ravel(index) % x.shape[axis - 1]
    steps = np.diff(at)
    if len(steps) and (steps.min() != steps.max() or steps[0] < 1):
        n.refuse(f"indices {at.tolist()[:8]}; only ascending ones of one distance")
    y = sliced(n, x, {axis - 1: slice(int(at[0]), int(at[-1]) + 1, int(steps[0]) if len(steps) else 1)})
    return reshaped(n, y, tuple(s for i, s in enumerate(y.shape, 1) if i != axis)) if index.ndim == 0 else y


@quantized_rule("Pad")
def pad(n: QNode):
    x, pads, axes = n.tensor(0), n.ints(1, "pads"), n.ints(3, "axes")
    if (mode := n.attr("mode", "constant")) != "constant":
        n.refuse(f"mode {mode!r}; only 'constant'")
    rank = len(x.shape) + 1
    around = [(0, 0)] * rank
    for i, a in enumerate(axes if axes is not None else range(rank)):
        around[a] = pads[i], pads[i + len(pads) // 2]
    if any(around[0]) or min(map(min, around)) < 0:
        n.refuse(f"pads {pads}; only 0 or more, and not the batch")
    node, a, b = n.low.integers(x, n.name)
    value = n.attr("value", None)
    q = ((n.scalar(2, "value", 0.0) if value is None else value) - b) / a
    if abs(q - round(q)) > 1e-6:
        n.refuse("pads with a value that has no code")
    node = n.low.add(n.name, Pad(tuple(around[1:]), round(q)), node)
    return real(node, n.low.type(node).shape, a, b)


@quantized_rule("Concat")
def concat(n: QNode):
    if not all(isinstance(a, Real) for a in n.args):
        n.refuse("a constant among its inputs; only activations")
    axis = n.attr("axis") % (len(n.tensor(0).shape) + 1)
    if axis == 0:
        n.refuse("along the batch")
    return n.low.joined(n.args, axis - 1, n.name)


@quantized_rule("DepthToSpace")
def depth_to_space(n: QNode):
    x, k = n.tensor(0), n.attr("blocksize")
    c, h, w = x.shape
    first, perm = ((c // k // k, k, k), (0, 3, 1, 4, 2)) if n.attr("mode", "DCR") == "CRD" else ((k, k, c // k // k), (2, 3, 0, 4, 1))
    y = reshaped(n, x, (*first, h, w))
    y = moved(n, y, Transpose(perm), lambda v: v.transpose(perm))
    return reshaped(n, y, (c // k // k, h * k, w * k))


@quantized_rule("Resize", "Upsample")
def resize(n: QNode):
    """Nearest neighbour by whole factors: each element repeated."""
    x = n.tensor(0)
    scales = n.attr("scales") or n.const(2 if n.op == "Resize" and len(n.args) > 2 else 1, "scales").tolist()
    if n.attr("mode", "nearest") != "nearest" or len(scales) != len(x.shape) + 1 or any(s != int(s) or s < 1 for s in scales):
        n.refuse("only nearest neighbour by constant whole scales")
    where, rounding = n.attr("coordinate_transformation_mode", "half_pixel"), n.attr("nearest_mode", "round_prefer_floor")
    if n.op == "Resize" and where != "half_pixel" and (where, rounding) != ("asymmetric", "floor"):
        n.refuse(f"coordinates {where!r} with {rounding!r}; only 'half_pixel', or 'asymmetric' with 'floor'")
    if any(s != 1 for s in scales[:2]):
        n.refuse(f"scales {scales} enlarge the batch or the channels")
    for axis, k in enumerate(map(int, scales[2:]), 1):
        if k > 1:
            before, after = x.shape[:axis + 1], x.shape[axis + 1:]
            x = reshaped(n, x, (*before, 1, *after))
            at = axis + 1
            x = moved(n, x, Concat(at), lambda v, at=at, k=k: np.concatenate([v] * k, at), k)
            x = reshaped(n, x, (*before[:-1], before[-1] * k, *after))
    return x


def looked_up(n: QNode) -> Real:
    """A constant table by integers: a row of numbers, or of vectors (an embedding)."""
    table, x = n.args[0], n.tensor(1)
    table = table if isinstance(table, Fixed) else Fixed(np.asarray(table), np.ones((1,) * np.ndim(table)))
    node, a, b = n.low.integers(x, n.name)
    t = n.low.type(node)
    if (a, b) != (1, 0) or table.scale.size > 1 or not np.array_equal(table.codes, np.rint(table.codes)) or n.attr("axis", 0):
        n.refuse("a table in float, or with several scales, or not looked up by integers along its first axis; quantize the table with one scale")
    if t.lo < 0 or t.hi >= len(table.codes) or table.codes.ndim > 2:
        n.refuse(f"a table of shape {table.codes.shape} for indices in [{t.lo}, {t.hi}]")
    codes = table.codes.astype(np.int64)
    node = n.low.add(n.name, Lut(codes, 0) if codes.ndim == 1 else Gather(codes), node)
    return real(node, n.low.type(node).shape, table.scale.item())


def constant(n: QNode, move):
    """A constant under a function that only moves elements about."""
    return n.args[0].moved(move) if isinstance(n.args[0], Fixed) else move(n.const(0, "data"))


def moved(n: QNode, x: Real, op, move, times: int = 1) -> Real:
    """op on the integers of x, `move` on its scales."""
    x = n.low.held(x, n.name)
    node = n.low.add(n.name, op, *[x.source] * times)
    return x.moved(node, n.low.type(node).shape, move)


def reshaped(n: QNode, x: Real, shape: tuple[int, ...]) -> Real:
    if x.source is None:  # the input itself: one scale
        return Real(None, shape, *(v.reshape((1,) * len(shape)) for v in (x.a, x.b, x.lo, x.hi)))
    return moved(n, x, Reshape(shape), lambda v: v.reshape(shape))


def sliced(n: QNode, x: Real, cut: dict[int, slice]) -> Real:
    bounds = [cut.get(i, slice(None)).indices(s) for i, s in enumerate(x.shape)]
    if any(a >= b for a, b, _ in bounds):
        n.refuse("nothing is left of an axis")
    at = tuple(slice(*b) for b in bounds)
    return moved(n, x, Slice(*(tuple(b[i] for b in bounds) for i in range(3))), lambda v: v[at])
