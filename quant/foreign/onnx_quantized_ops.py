"""Rules of the ops that compute, between quantizers: products, sums, pools, functions of one value."""
import math

import numpy as np

from ir import Conv, Dense, MatMul, MaxPool, Mul, SumPool
from ir.infer import infer

from .onnx_qnode import QNode, quantized_rule
from .onnx_real import Fixed, Real, Sum, over, real, squeezed

FUNCTIONS = {
    "Sigmoid": lambda n: lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": lambda n: np.tanh,
    "Exp": lambda n: np.exp,
    "Erf": lambda n: lambda x: np.vectorize(math.erf)(x),
    "Softplus": lambda n: lambda x: np.logaddexp(0, x),
    "Abs": lambda n: np.abs,
    "Sqrt": lambda n: lambda x: np.sqrt(np.maximum(x, 0)),
    "HardSigmoid": lambda n: lambda x: np.clip(x * n.attr("alpha", 0.2) + n.attr("beta", 0.5), 0, 1),
    "HardSwish": lambda n: lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda n: lambda x: np.where(x < 0, x * n.attr("alpha", 0.01), x),
    "Elu": lambda n: lambda x: np.where(x < 0, n.attr("alpha", 1.0) * np.expm1(x), x),
    "Gelu": lambda n: lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
}


@quantized_rule("Conv")
def conv(n: QNode):
    x, w = n.tensor(0), weights(n, 1)
    d = w.codes.ndim - 2
    if d not in (1, 2) or len(x.shape) != d + 1:
        n.refuse(f"a weight of shape {w.codes.shape} on a value of shape (N, {', '.join(map(str, x.shape))}); "
                 "only one- and two-dimensional convolutions")
    scale = per_output(n, w, 0)
    stride, dilation, groups = (*n.attr("strides", [1] * d),), (*n.attr("dilations", [1] * d),), n.attr("group", 1)
    padding = padded(n, x.shape[1:], w.codes.shape[2:], stride, dilation)
    pad = 0
    if any(map(any, padding)):
        node, a, pad = with_zero(n, x)
        b = -pad * a
    elif groups == len(w.codes) == x.shape[0] and not isinstance(x.source, Sum) and not (x.clipped or x.function):
        node, a, b = n.low.held(x, n.name).source, x.a.reshape(-1), x.b.reshape(-1)  # a scale for each channel stays with its channel
    else:
        node, a, b = n.low.integers(x, n.name)
    op = Conv(w.codes, np.zeros(len(w.codes), np.int64), stride, padding, dilation, groups, pad)
    total = w.codes.reshape(len(w.codes), -1).sum(1)
    return sums(n, op, node, 0, a * scale, b * scale * total + bias(n, 2, len(w.codes)))


@quantized_rule("Gemm")
def gemm(n: QNode):
    if n.attr("transA", 0):
        n.refuse("transA=1 on an activation")
    w = weights(n, 1)
    w = w if n.attr("transB", 0) else w.moved(np.transpose)
    return dense(n, n.tensor(0), w, n.attr("alpha", 1.0), n.attr("beta", 1.0) * bias(n, 2, len(w.codes)))


@quantized_rule("MatMul")
def matmul(n: QNode):
    if isinstance(n.args[0], Real) and isinstance(n.args[1], Real):
        x, y = n.tensor(0), n.tensor(1)
        (p, a), (q, b) = n.low.centred(x, f"{n.name}.a"), n.low.centred(y, f"{n.name}.b")
        node = n.low.add(n.name, MatMul(), p, q)
        return real(node, n.low.type(node).shape, a * b)
    w = weights(n, 1)
    if w.codes.ndim != 2:
        n.refuse(f"a weight of shape {w.codes.shape}; only (inputs, outputs)")
    return dense(n, n.tensor(0), w.moved(np.transpose), 1.0, np.zeros(1))


@quantized_rule("Add", "Sub")
def add(n: QNode):
    sign = -1.0 if n.op == "Sub" else 1.0
    if all(isinstance(a, Real) for a in n.args):
        return n.low.summed(*alike(n), sign, n.name)
    if isinstance(n.args[0], Real):
        return n.args[0].plus(sign * n.beside(n.args[0], n.const(1, "constant")))
    x = n.tensor(1)
    return x.scaled(over(sign, x.shape)).plus(n.beside(x, n.const(0, "constant")))


@quantized_rule("Mul")
def mul(n: QNode):
    if all(isinstance(a, Real) for a in n.args):
        x, y = alike(n)
        (p, a), (q, b) = n.low.centred(x, f"{n.name}.a"), n.low.centred(y, f"{n.name}.b")
        return real(n.low.add(n.name, Mul(), p, q), x.shape, a * b)
    i = 0 if isinstance(n.args[0], Real) else 1
    x = n.tensor(i)
    return x.scaled(n.beside(x, n.const(1 - i, "constant")))


@quantized_rule("Div")
def div(n: QNode):
    x, c = n.tensor(0), n.const(1, "divisor").astype(np.float64)
    if (c == 0).any():
        n.refuse("a division by 0")
    return x.scaled(1 / n.beside(x, c))


@quantized_rule("Neg")
def neg(n: QNode): return n.tensor(0).scaled(over(-1.0, n.tensor(0).shape))


@quantized_rule("BatchNormalization")
def batch_norm(n: QNode):
    if n.attr("training_mode", 0) or n.outputs > 1:
        n.refuse("in training mode; export the model in evaluation mode")
    x = n.tensor(0)
    gain, shift, mean, var = (n.const(i, what).astype(np.float64).reshape(-1, *[1] * (len(x.shape) - 1))
                              for i, what in enumerate(("scale", "bias", "mean", "variance"), 1))
    factor = gain / np.sqrt(var + n.attr("epsilon", 1e-5))
    if not (np.isfinite(factor).all() and np.isfinite(shift - mean * factor).all()):
        n.refuse("its factors are not finite numbers")
    return x.scaled(factor).plus(shift - mean * factor)


@quantized_rule("Relu")
def relu(n: QNode): return n.tensor(0).within(0.0, np.inf)


@quantized_rule("Clip")
def clip(n: QNode):
    ends = [float(n.attr(k)) if k in n.attrs else n.scalar(i, k, d) for i, k, d in ((1, "min", -np.inf), (2, "max", np.inf))]
    return n.tensor(0).within(*ends)


@quantized_rule("Identity", "Dropout", "Cast")
def identity(n: QNode): return n.tensor(0)


@quantized_rule(*FUNCTIONS)
def function(n: QNode):
    x = n.tensor(0)
    if x.lo.size > 1 or x.hi.size > 1:
        n.refuse("bounds that differ from channel to channel")
    return x.then(FUNCTIONS[n.op](n))


@quantized_rule("Softmax", "LogSoftmax")
def softmax(n: QNode):
    """At the very end it is left to the reader: it keeps the order of the scores."""
    if not n.last:
        n.refuse("only as the last node, where it is left off (the graph gives the scores)")
    return n.tensor(0)


@quantized_rule("MaxPool")
def max_pool(n: QNode):
    x, d = n.tensor(0), len(n.attr("kernel_shape"))
    if n.outputs > 1 or set(n.attr("dilations", [1] * d)) != {1}:
        n.refuse("indices or dilations; only plain windows")
    kernel, stride = (*n.attr("kernel_shape"),), (*n.attr("strides", [1] * d),)
    if (x.a <= 0).any() or x.function:
        n.refuse("of a value with negative scales or an unquantized nonlinearity")
    x = n.low.held(x, n.name)
    padding = padded(n, x.shape[1:], kernel, stride, (1,) * d)
    node = n.low.add(n.name, MaxPool(kernel, stride, padding), x.source)
    return x.moved(node, n.low.type(node).shape, lambda v: v[(slice(None), *[slice(0, 1)] * d)] + np.zeros(n.low.type(node).shape))


@quantized_rule("AveragePool", "GlobalAveragePool")
def average_pool(n: QNode):
    x = n.tensor(0)
    d = len(x.shape) - 1
    whole_ = n.op[0] == "G"
    kernel = tuple(x.shape[1:]) if whole_ else (*n.attr("kernel_shape"),)
    stride = (1,) * d if whole_ else (*n.attr("strides", [1] * d),)
    padding = ((0, 0),) * d if whole_ else padded(n, x.shape[1:], kernel, stride, (1,) * d)
    if any(map(any, padding)) and not n.attr("count_include_pad", 0):
        n.refuse("padding that does not count; only count_include_pad=1")
    return averaged(n, x, kernel, stride, padding)


@quantized_rule("ReduceMean")
def reduce_mean(n: QNode):
    x, axes = n.tensor(0), n.ints(1, "axes", [])
    rank = len(x.shape) + 1
    if sorted(a % rank for a in axes) != list(range(2, rank)) or rank < 3:
        n.refuse(f"axes {axes}; only all spatial axes of (N, C, ...)")
    y = averaged(n, x, tuple(x.shape[1:]), (1,) * (rank - 2), ((0, 0),) * (rank - 2))
    return y if n.attr("keepdims", 1) else n.sub("Reshape", y, np.array([0, x.shape[0]]), tag=".flat")


def averaged(n: QNode, x: Real, kernel, stride, padding) -> Real:
    """The mean of each window: its sum, with the division in the scale."""
    if any(map(any, padding)):
        node, a, pad = with_zero(n, x)
        b = -pad * a
    else:
        (node, a, b), pad = n.low.integers(x, n.name), 0
    node = n.low.add(n.name, SumPool(kernel, stride, padding, pad), node)
    return real(node, n.low.type(node).shape, a / math.prod(kernel), b)


def dense(n: QNode, x: Real, w: Fixed, alpha: float, offset: np.ndarray) -> Real:
    """x @ w.T over the last axis; w (O, I)."""
    if x.shape[-1] != w.codes.shape[1]:
        n.refuse(f"a weight for {w.codes.shape[1]} inputs on a value of shape (N, {', '.join(map(str, x.shape))})")
    node, a, b = n.low.integers(x, n.name)
    scale = per_output(n, w, 0) * alpha
    op = Dense(w.codes, np.zeros(len(w.codes), np.int64))
    return sums(n, op, node, len(x.shape) - 1, a * scale, b * scale * w.codes.sum(1) + offset)


def alike(n: QNode) -> list[Real]:
    """Both arguments in one shape, axes of length 1 repeated."""
    pair = n.tensor(0), n.tensor(1)
    shown = " and ".join(f"(N, {', '.join(map(str, v.shape))})" for v in pair)
    if len({len(v.shape) for v in pair}) > 1 or any(a != b and 1 not in (a, b) for a, b in zip(*(v.shape for v in pair))):
        n.refuse(f"shapes {shown}; equal ones, or 1 where they differ")
    shape = np.broadcast_shapes(*(v.shape for v in pair))
    return [v if v.shape == shape else n.low.expanded(v, shape, n.name) for v in pair]


def sums(n: QNode, op: Conv | Dense, node: str, axis: int, a, b) -> Real:
    """The affine function (a, b for each output) of sums of products that wait for their quantizer."""
    t = n.low.type(node)
    shape = infer(op, t).shape
    lo, hi = (min(t.lo, op.pad), max(t.hi, op.pad)) if isinstance(op, Conv) and any(map(any, op.padding)) else (t.lo, t.hi)
    w = op.weight.reshape(len(op.weight), -1)
    up, down = np.maximum(w, 0).sum(1), np.minimum(w, 0).sum(1)
    turned = [1] * axis + [-1] + [1] * (len(shape) - axis - 1)
    a, b = (squeezed(np.broadcast_to(v, (len(w),)).reshape(turned)) for v in (a, b))
    return real(Sum(n.name, op, node, up * lo + down * hi, up * hi + down * lo, axis), shape, a, b)


def weights(n: QNode, i: int) -> Fixed:
    """A quantized constant; one of whole numbers is its own code."""
    w = n.args[i] if n.has(i) else None
    if isinstance(w, Real) or w is None:
        n.refuse(f"input {i} is computed from the model's input; only constant weights")
    if isinstance(w, Fixed):
        return w
    if not np.array_equal(w, np.rint(w)):
        n.refuse("its weight is not quantized (floats without DequantizeLinear or Quant)")
    return Fixed(w.astype(np.int64), np.ones((1,) * w.ndim))


def per_output(n: QNode, w: Fixed, axis: int) -> np.ndarray:
    """The weight's scales, one or one for each output."""
    if any(s > 1 for i, s in enumerate(w.scale.shape) if i != axis):
        n.refuse(f"scales of shape {w.scale.shape} of a weight of shape {w.codes.shape}; only one, or one for each output")
    return w.scale.reshape(-1)


def bias(n: QNode, i: int, outputs: int) -> np.ndarray:
    """Constant bias (O,) as reals."""
    b = n.const(i, "bias", 0.0).astype(np.float64).reshape(-1)
    if not np.isfinite(b).all() or len(b) not in (1, outputs):
        n.refuse(f"a bias of {len(b)} values for {outputs} outputs, or one that is not finite")
    return b


def with_zero(n: QNode, x: Real) -> tuple[str, float, int]:
    """(node, a, code of zero) with x = a * (node - zero)."""
    node, a, b = n.low.integers(x, n.name)
    if abs(b / a - round(b / a)) < 1e-9 * max(1, abs(b / a)):
        return node, a, -round(b / a)
    node, a = n.low.centred(x, n.name)
    return node, a, 0


def padded(n: QNode, space, kernel, stride, dilation) -> tuple[tuple[int, int], ...]:
    """(before, after) of each spatial axis, out of pads or auto_pad."""
    d, mode = len(kernel), n.attr("auto_pad", "NOTSET")
    if n.attr("ceil_mode", 0):
        n.refuse("ceil_mode=1")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        total = [max(0, (-(-s // st) - 1) * st + dl * (k - 1) + 1 - s) for s, k, st, dl in zip(space, kernel, stride, dilation)]
        return tuple((t // 2, t - t // 2) if mode == "SAME_UPPER" else (t - t // 2, t // 2) for t in total)
    pads = n.attr("pads", [0] * 2 * d) if mode == "NOTSET" else [0] * 2 * d
    if min(pads) < 0:
        n.refuse(f"pads {list(pads)}; only 0 or more")
    return tuple(zip(pads[:d], pads[d:]))
