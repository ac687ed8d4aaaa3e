"""Ops on codes: each is DequantizeLinear, a plain op, QuantizeLinear (ONNX operator specification; ONNX Runtime's contrib operators)."""
from .onnx_qnode import QNode, quantized_rule


@quantized_rule("QLinearConv")
def qlinear_conv(n: QNode):
    """x, its scale and zero, w, its scale and zero, y's scale and zero, bias (codes of the product of the scales)."""
    x, w = decoded(n, 0, 1, 2), decoded(n, 3, 4, 5, axis=0)
    bias = None
    if n.has(8):
        bias = n.const(8, "bias") * (n.scale(1) * n.scale(4))
    return encoded(n, n.sub("Conv", x, w, bias, **n.attrs), 6, 7)


@quantized_rule("QLinearMatMul")
def qlinear_matmul(n: QNode):
    return encoded(n, n.sub("MatMul", decoded(n, 0, 1, 2, axis=-2), decoded(n, 3, 4, 5, axis=-1)), 6, 7)


@quantized_rule("QGemm")
def qgemm(n: QNode):
    """a, its scale and zero, b, its scale and zero, c (codes of the product of the scales), y's scale and zero, which may be left out."""
    b = decoded(n, 3, 4, 5, axis=0 if n.attr("transB", 0) else 1)
    bias = n.const(6, "bias") * (n.scale(1) * n.scale(4)) if n.has(6) else None
    attrs = {k: v for k, v in n.attrs.items() if k in ("transA", "transB", "alpha")}
    y = n.sub("Gemm", decoded(n, 0, 1, 2), b, None if bias is None else bias * attrs.get("alpha", 1.0), **attrs)
    return encoded(n, y, 7, 8) if n.has(7) else y


@quantized_rule("ConvInteger")
def conv_integer(n: QNode):
    """Sums of products of codes less their zeros; x, w, and both zeros."""
    x, w = n.sub("DequantizeLinear", n.args[0], 1.0, arg(n, 2)), n.sub("DequantizeLinear", n.args[1], 1.0, arg(n, 3), axis=0)
    return n.sub("Conv", x, w, **n.attrs)


@quantized_rule("MatMulInteger")
def matmul_integer(n: QNode):
    return n.sub("MatMul", n.sub("DequantizeLinear", n.args[0], 1.0, arg(n, 2), axis=-2),
                 n.sub("DequantizeLinear", n.args[1], 1.0, arg(n, 3), axis=-1))


@quantized_rule("QLinearAdd", "QLinearMul")
def qlinear_binary(n: QNode):
    return encoded(n, n.sub(n.op[7:], decoded(n, 0, 1, 2), decoded(n, 3, 4, 5)), 6, 7)


@quantized_rule("QLinearConcat")
def qlinear_concat(n: QNode):
    """y's scale and zero, then triples (x, scale, zero)."""
    parts = [decoded(n, i, i + 1, i + 2) for i in range(2, len(n.args), 3)]
    return encoded(n, n.sub("Concat", *parts, axis=n.attr("axis")), 0, 1)


@quantized_rule("QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSigmoid", "QLinearLeakyRelu")
def qlinear_unary(n: QNode):
    if n.attr("channels_last", 0):
        n.refuse("channels_last=1")
    return encoded(n, n.sub(n.op[7:], decoded(n, 0, 1, 2), **n.attrs), 3, 4)


def arg(n: QNode, i: int): return n.args[i] if n.has(i) else None


def decoded(n: QNode, x: int, scale: int, zero: int, axis: int = 1):
    return n.sub("DequantizeLinear", n.args[x], n.args[scale], arg(n, zero), axis=axis)


def encoded(n: QNode, y, scale: int, zero: int):
    return n.sub("QuantizeLinear", y, n.args[scale], arg(n, zero), tag=".y")
