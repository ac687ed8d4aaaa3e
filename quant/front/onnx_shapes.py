"""ONNX ops that only move elements."""
import numpy as np
import torch
from torch.nn import functional as F

from .onnx_node import OnnxNode, onnx_rule


@onnx_rule("Flatten")
def flatten(n: OnnxNode):
    if (axis := n.attr("axis", 1)) != 1 and (axis, n.batch) != (0, 1):  # a file for one sample may flatten that away
        n.refuse(f"axis={axis}; only 1, so that samples stay apart")
    return lambda x: x.flatten(1)


@onnx_rule("Reshape")
def reshape(n: OnnxNode):
    shape = n.ints(1, "shape")
    if n.attr("allowzero", 0):
        n.refuse("allowzero=1")

    def run(x):
        to = [x.shape[i] if s == 0 else s for i, s in enumerate(shape)]
        if n.constants[0] is None and n.batch is not None and to[0] == n.batch:
            to[0] = x.shape[0]  # the file was written for one batch size; any will do
        return x.reshape(to)
    return run


@onnx_rule("Transpose")
def transpose(n: OnnxNode): return lambda x: x.permute(tuple(n.attr("perm", range(x.dim())[::-1])))


@onnx_rule("Squeeze")
def squeeze(n: OnnxNode):
    axes = n.ints(1, "axes")
    return lambda x: x.squeeze(tuple(axes if axes is not None else [i for i in range(1, x.dim()) if x.shape[i] == 1]))


@onnx_rule("Unsqueeze")
def unsqueeze(n: OnnxNode):
    axes = n.ints(1, "axes")

    def run(x):
        rank = x.dim() + len(axes)
        for a in sorted(a % rank for a in axes):
            x = x.unsqueeze(a)
        return x
    return run


@onnx_rule("Slice")
def slice_(n: OnnxNode):
    starts, ends = n.ints(1, "starts"), n.ints(2, "ends")
    axes, steps = n.ints(3, "axes", list(range(len(starts)))), n.ints(4, "steps", [1] * len(starts))
    if min(steps) < 1:
        n.refuse(f"steps {steps}; only positive ones")

    def run(x):
        cut = [slice(None)] * x.dim()
        for a, *bounds in zip(axes, starts, ends, steps):
            cut[a] = slice(*bounds)
        return x[tuple(cut)]
    return run


@onnx_rule("Split")
def split(n: OnnxNode):
    axis, sizes = n.attr("axis", 0), n.ints(1, "split")

    def run(x):
        return x.split(sizes if sizes else -(-x.shape[axis] // n.attr("num_outputs", n.outputs)), axis)
    return run


@onnx_rule("Pad")
def pad(n: OnnxNode):
    if (mode := n.attr("mode", "constant")) != "constant":
        n.refuse(f"mode {mode!r}; only 'constant'")
    pads, axes = n.ints(1, "pads"), n.ints(3, "axes")
    value = float(n.attr("value", np.ravel(n.const(2, "value", 0.0))[0]))

    def run(x):
        around = [(0, 0)] * x.dim()
        for i, a in enumerate(axes if axes is not None else range(x.dim())):
            around[a] = pads[i], pads[i + len(pads) // 2]
        if any(around[0]):
            n.refuse("pads the batch axis")
        return F.pad(x, [p for both in reversed(around[1:]) for p in both], value=value)
    return run


@onnx_rule("Concat")
def concat(n: OnnxNode):
    for i, c in enumerate(n.constants):
        if c is not None:  # of samples that are all the same, one
            n.hold(f"constant{i}", c[:1] if n.attr("axis") != 0 and (c == c[:1]).all() else c, trainable=False)

    def run(*xs):
        rest = iter(xs)
        parts = [next(rest) if c is None else getattr(n.module, f"constant{i}") for i, c in enumerate(n.constants)]
        batch = max(len(x) for x in xs)
        return torch.cat([p if c is None or len(p) == batch else p.expand(batch, *p.shape[1:]) for p, c in zip(parts, n.constants)],
                         n.attr("axis"))
    return run


@onnx_rule("Expand")
def expand(n: OnnxNode):
    """A 0 stands for the batch (as `Shape` gives it): a constant stays one sample, which is repeated where it is used."""
    shape = n.ints(1, "shape")

    def run(x):
        to = [len(x) if s == 0 else s for s in shape]
        return x.expand(torch.broadcast_shapes(x.shape, to))
    return run


@onnx_rule("Gather")
def gather(n: OnnxNode):
    table, index = n.constants
    if table is not None and index is None:
        n.hold("weight", table)
        return lambda i: F.embedding(i, n.module.weight)
    axis, index = n.attr("axis", 0), n.const(1, "indices")
    if index.ndim == 0:
        return lambda x: x.select(axis, int(index))
    steps = np.diff(index)
    if index.ndim > 1 or index.min() < 0 or len(steps) and (steps.min() != steps.max() or steps[0] < 1):
        n.refuse(f"indices of shape {index.shape}; only one index, or equally spaced ones that ascend")
    step = int(steps[0]) if len(steps) else 1
    return lambda x: x[(slice(None),) * (axis % x.dim()) + (slice(int(index[0]), int(index[-1]) + 1, step),)]


@onnx_rule("Cast")
def cast(n: OnnxNode):
    from onnx.helper import tensor_dtype_to_np_dtype
    kind = np.dtype(tensor_dtype_to_np_dtype(n.attr("to")))
    to = torch.float32 if kind.kind == "f" else torch.bool if kind.kind == "b" else torch.int64
    return lambda x: x.to(to)


@onnx_rule("Resize", "Upsample")
def resize(n: OnnxNode):
    """Nearest neighbour by whole factors, where every way to round the coordinates that is let through agrees."""
    scales = n.attr("scales", n.const(1 if n.op == "Upsample" else 2, "scales"))
    if n.attr("mode", "nearest") != "nearest" or scales is None or np.size(scales) < 3 or any(s != int(s) or s < 1 for s in scales):
        n.refuse("only nearest neighbour by constant whole scales")
    where, rounding = n.attr("coordinate_transformation_mode", "half_pixel"), n.attr("nearest_mode", "round_prefer_floor")
    if n.op == "Resize" and where != "half_pixel" and (where, rounding) != ("asymmetric", "floor"):
        n.refuse(f"coordinates {where!r} with {rounding!r}; only 'half_pixel', or 'asymmetric' with 'floor'")
    if any(s != 1 for s in scales[:2]):
        n.refuse(f"scales {list(scales)} enlarge the batch or the channels")
    return lambda x: F.interpolate(x, scale_factor=[float(s) for s in scales[2:]], mode="nearest")


@onnx_rule("DepthToSpace")
def depth_to_space(n: OnnxNode):
    k = n.attr("blocksize")
    if n.attr("mode", "DCR") == "CRD":
        return lambda x: F.pixel_shuffle(x, k)

    def run(x):
        _, c, h, w = x.shape
        return x.reshape(-1, k, k, c // k // k, h, w).permute(0, 3, 4, 1, 5, 2).reshape(-1, c // k // k, h * k, w * k)
    return run
