"""ONNX ops with weights, pools and elementwise ops (operator specification, ai.onnx opsets 6 to 23)."""
import numpy as np
import torch
from torch.nn import functional as F

from .onnx_node import OnnxNode, onnx_rule

ACTIVATIONS = {"Relu": F.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "HardSwish": F.hardswish, "Mish": F.mish, "Erf": torch.erf,
               "Softplus": F.softplus, "Exp": torch.exp, "Abs": torch.abs, "Neg": torch.neg, "Sin": torch.sin, "Cos": torch.cos,
               "Selu": F.selu, "Sqrt": torch.sqrt,
               "Identity": lambda x: x, "Dropout": lambda x: x}


@onnx_rule("Conv")
def conv(n: OnnxNode):
    w = n.const(1, "weight")
    if w.ndim not in (3, 4):
        n.refuse(f"a weight of shape {w.shape}; only one- and two-dimensional convolutions")
    n.hold("weight", w)
    n.hold("bias", n.const(2, "bias", np.zeros(len(w), np.float32)))
    f = F.conv1d if w.ndim == 3 else F.conv2d
    stride, dilation, groups = (*n.attr("strides", [1] * (w.ndim - 2)),), (*n.attr("dilations", [1] * (w.ndim - 2)),), n.attr("group", 1)

    def run(x):
        x, padding = framed(n, x, w.shape[2:], stride, dilation, 0.0)
        return f(x, n.module.weight, n.module.bias, stride, padding, dilation, groups)
    return run


@onnx_rule("Gemm")
def gemm(n: OnnxNode):
    if n.attr("transA", 0):
        n.refuse("transA=1 on an activation")
    w = n.const(1, "weight") * np.float32(n.attr("alpha", 1.0))
    n.hold("weight", w if n.attr("transB", 0) else w.T)
    n.hold("bias", np.broadcast_to(n.const(2, "bias", np.float32(0)) * np.float32(n.attr("beta", 1.0)), (1, len(n.module.weight)))[0])
    return lambda x: F.linear(x, n.module.weight, n.module.bias)


@onnx_rule("ConvTranspose")
def conv_transpose(n: OnnxNode):
    w = n.const(1, "weight")
    if w.ndim not in (3, 4):
        n.refuse(f"a weight of shape {w.shape}; only one- and two-dimensional transposed convolutions")
    if n.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in n.attrs:
        n.refuse("auto_pad or output_shape; only explicit pads")
    d, groups = w.ndim - 2, n.attr("group", 1)
    pads, extra = n.attr("pads", [0] * 2 * d), n.attr("output_padding", [0] * d)
    n.hold("weight", w)
    n.hold("bias", n.const(2, "bias", np.zeros(w.shape[1] * groups, np.float32)))
    f, stride, dilation = (F.conv_transpose1d if d == 1 else F.conv_transpose2d), n.attr("strides", [1] * d), n.attr("dilations", [1] * d)
    extra = [e + b - a for e, b, a in zip(extra, pads[:d], pads[d:])]  # torch pads both sides alike, and adds at the end
    if any(e < 0 or e >= max(s, g) for e, s, g in zip(extra, stride, dilation)):
        n.refuse(f"pads {list(pads)}; at the end as many as in front, or a little fewer")
    return lambda x: f(x, n.module.weight, n.module.bias, stride, pads[:d], extra, groups, dilation)


@onnx_rule("MatMul")
def matmul(n: OnnxNode):
    left, right = n.constants
    if left is None and right is None:
        return torch.matmul
    if left is not None:
        n.hold("constant", left, trainable=False)
        return lambda x: n.module.constant @ x
    if right.ndim != 2:
        n.hold("constant", right, trainable=False)
        return lambda x: x @ n.module.constant
    n.hold("weight", right.T)
    return lambda x: F.linear(x, n.module.weight)


@onnx_rule("Einsum")
def einsum(n: OnnxNode):
    if any(c is not None for c in n.constants):
        n.refuse("only of activations; multiply by a constant with MatMul")
    return lambda *xs: torch.einsum(n.attr("equation"), *xs)


@onnx_rule("BatchNormalization")
def batch_norm(n: OnnxNode):
    if n.attr("training_mode", 0) or n.outputs > 1:
        n.refuse("in training mode; export the model in evaluation mode")
    for i, name in enumerate(("weight", "bias", "running_mean", "running_var"), 1):
        n.hold(name, n.const(i, name), trainable=i < 3)
    m, eps = n.module, n.attr("epsilon", 1e-5)
    return lambda x: F.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias, eps=eps)


@onnx_rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def last_axes_norm(n: OnnxNode):
    if n.outputs > 1:
        n.refuse("the outputs Mean and InvStdDev")
    axis, eps, f = n.attr("axis", -1), n.attr("epsilon", 1e-5), F.layer_norm if n.op[0] == "L" else F.rms_norm
    n.hold("weight", n.const(1, "scale"))
    rest = (eps,)
    if n.has(2):
        n.hold("bias", n.const(2, "bias"))
    if n.op[0] == "L":
        rest = (n.module.bias if n.has(2) else None, eps)

    def run(x):
        shape = x.shape[axis % x.dim():]
        return f(x, shape, n.module.weight.expand(shape), *rest)
    return run


@onnx_rule("GroupNormalization", "InstanceNormalization")
def channel_norm(n: OnnxNode):
    """One scale for each channel; in opset 18, one for each group."""
    n.hold("weight", n.const(1, "scale"))
    n.hold("bias", n.const(2, "bias"))
    m, eps = n.module, n.attr("epsilon", 1e-5)

    def run(x):
        groups = n.attr("num_groups", x.shape[1])
        weight, bias = (v.repeat_interleave(x.shape[1] // len(v)) for v in (m.weight, m.bias))
        return F.group_norm(x, groups, weight, bias, eps)
    return run


@onnx_rule("Where")
def where(n: OnnxNode):
    if n.constants[0] is None or n.constants[1] is None and n.constants[2] is None:
        n.refuse("only a constant condition, and a constant on one side")
    for what, c in zip(("condition", "left", "right"), n.constants):
        if c is not None:
            n.hold(what, c, trainable=False)
    if n.constants[1] is None:
        return lambda x: torch.where(n.module.condition.bool(), x, n.module.right)
    return lambda x: torch.where(n.module.condition.bool(), n.module.left, x)


@onnx_rule(*ACTIVATIONS)
def activation(n: OnnxNode): return ACTIVATIONS[n.op]


@onnx_rule("LeakyRelu")
def leaky_relu(n: OnnxNode): return lambda x: F.leaky_relu(x, n.attr("alpha", 0.01))


@onnx_rule("Elu")
def elu(n: OnnxNode): return lambda x: F.elu(x, n.attr("alpha", 1.0))


@onnx_rule("Gelu")
def gelu(n: OnnxNode): return lambda x: F.gelu(x, approximate=n.attr("approximate", "none"))


@onnx_rule("HardSigmoid")
def hard_sigmoid(n: OnnxNode):
    alpha, beta = n.attr("alpha", 0.2), n.attr("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid
    return lambda x: (x * alpha + beta).clamp(0.0, 1.0)


@onnx_rule("Softmax", "LogSoftmax")
def softmax(n: OnnxNode):
    f = torch.softmax if n.op == "Softmax" else torch.log_softmax
    return lambda x: f(x, n.attr("axis", -1))


@onnx_rule("PRelu")
def prelu(n: OnnxNode):
    slope = n.const(1, "slope")
    if slope.size not in (1, slope.shape[0]):
        n.refuse(f"slopes of shape {slope.shape}; one, or one for each channel")
    n.hold("weight", slope.ravel())
    return lambda x: F.prelu(x, n.module.weight)


@onnx_rule("Clip")
def clip(n: OnnxNode):
    lo, hi = n.attr("min", n.const(1, "min")), n.attr("max", n.const(2, "max"))
    lo, hi = (None if v is None else float(np.ravel(v)[0]) for v in (lo, hi))
    return lambda x: x.clamp(lo, hi)


@onnx_rule("Add", "Sub", "Mul", "Div", "Pow")
def binary(n: OnnxNode):
    f = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "Pow": torch.pow}[n.op]
    left, right = n.constants
    if left is None and right is None:
        return f
    c = right if right is not None else left
    if c.size == 1 and c.ndim == 0:
        v = c.item()
        return (lambda x: f(x, v)) if right is not None else (lambda x: f(torch.tensor(v), x))
    n.hold("constant", c, trainable=False)
    return (lambda x: f(x, n.module.constant)) if right is not None else (lambda x: f(n.module.constant, x))


@onnx_rule("Sum")
def sum_(n: OnnxNode):
    def run(*xs):
        y = xs[0]
        for x in xs[1:]:
            y = y + x
        return y
    return run


@onnx_rule("MaxPool")
def max_pool(n: OnnxNode):
    kernel, stride, dilation = window(n)
    if n.outputs > 1:
        n.refuse("the output Indices")
    f = F.max_pool1d if len(kernel) == 1 else F.max_pool2d

    def run(x):
        x, padding = framed(n, x, kernel, stride, dilation, -torch.inf)
        if any(2 * p > k for p, k in zip(padding, kernel)):  # more than torch's own padding takes
            x, padding = F.pad(x, [p for p in reversed(padding) for _ in (0, 1)], value=-torch.inf), (0,) * len(kernel)
        return f(x, kernel, stride, padding, dilation, bool(n.attr("ceil_mode", 0)))
    return run


@onnx_rule("AveragePool")
def avg_pool(n: OnnxNode):
    kernel, stride, _ = window(n)
    f, count = F.avg_pool1d if len(kernel) == 1 else F.avg_pool2d, bool(n.attr("count_include_pad", 0))

    def run(x):
        y, padding = framed(n, x, kernel, stride, (1,) * len(kernel), 0.0)
        if y is not x and not count:
            n.refuse("unequal padding that is not counted; set count_include_pad=1, or pad nothing")
        return f(y, kernel, stride, padding, bool(n.attr("ceil_mode", 0)), count)
    return run


@onnx_rule("GlobalAveragePool", "GlobalMaxPool")
def global_pool(n: OnnxNode):
    f = torch.mean if n.op == "GlobalAveragePool" else torch.amax
    return lambda x: f(x, tuple(range(2, x.dim())), keepdim=True)


@onnx_rule("ReduceMean", "ReduceSum", "ReduceMax")
def reduce(n: OnnxNode):
    f = {"ReduceMean": torch.mean, "ReduceSum": torch.sum, "ReduceMax": torch.amax}[n.op]
    axes, keep = n.ints(1, "axes"), bool(n.attr("keepdims", 1))
    if axes is None:
        if n.attr("noop_with_empty_axes", 0):
            return lambda x: x
        n.refuse("over every axis, the batch among them; name the axes")
    return lambda x: f(x, tuple(axes), keepdim=keep)


def window(n: OnnxNode) -> tuple[tuple, tuple, tuple]:
    kernel = tuple(n.attr("kernel_shape"))
    if len(kernel) > 2:
        n.refuse(f"a window of shape {kernel}; only one or two axes")
    one = [1] * len(kernel)
    return kernel, tuple(n.attr("strides", one)), tuple(n.attr("dilations", one))


def framed(n: OnnxNode, x: torch.Tensor, kernel, stride, dilation, value: float) -> tuple[torch.Tensor, tuple[int, ...]]:
    """(x, padding) with equal padding left to torch; unequal padding is put around x here.  auto_pad as in the specification."""
    auto, d = n.attr("auto_pad", "NOTSET"), len(kernel)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        reach = [(k - 1) * gap + 1 for k, gap in zip(kernel, dilation)]
        total = [max(0, (-(-size // s) - 1) * s + r - size) for size, s, r in zip(x.shape[2:], stride, reach)]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
    else:
        pads = n.attr("pads", [0] * 2 * d) if auto == "NOTSET" else [0] * 2 * d
        before, after = pads[:d], pads[d:]
    if list(before) == list(after):
        return x, tuple(before)
    return F.pad(x, [p for i in reversed(range(d)) for p in (before[i], after[i])], value=value), (0,) * d
