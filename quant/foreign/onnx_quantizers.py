"""The quantizers of ONNX (QuantizeLinear, DequantizeLinear; operator specification, opsets 10 to 23) and of QONNX (Pappalardo et al. 2022)."""
import numpy as np

from .onnx_qnode import QNode, quantized_rule
from .onnx_real import Fixed, Real, over, real, squeezed
from .thresholds import Rounding

INTEGERS = {"int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535),
            "int2": (-2, 1), "uint2": (0, 3)}
TENSOR_TYPES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4", 25: "uint2", 26: "int2"}
QONNX_MODES = {"ROUND": "HALF_EVEN", "HALF_EVEN": "HALF_EVEN", "CEIL": "CEIL", "FLOOR": "FLOOR", "UP": "UP", "DOWN": "DOWN",
               "ROUND_TO_ZERO": "DOWN", "HALF_UP": "HALF_UP", "HALF_DOWN": "HALF_DOWN"}
MAX_BITS = 16


@quantized_rule("QuantizeLinear")
def quantize_linear(n: QNode):
    """saturate(round(x / scale) + zero), ties to even."""
    scale = n.scale(1, "scale")
    kind = TENSOR_TYPES.get(n.attr("output_dtype", 0))
    kind = kind or (str(n.const(2, "zero point").dtype) if n.has(2) else "uint8")
    if kind not in INTEGERS:
        n.refuse(f"to {kind}; only to {', '.join(INTEGERS)}")
    lo, hi = INTEGERS[kind]
    x = n.args[0]
    if not isinstance(x, Real):
        x = n.const(0, "x")
        scale, zero = _axis(n, scale, x.ndim), _axis(n, n.const(2, "zero point", 0).astype(np.int64), x.ndim)
        codes = np.clip(np.rint(x.astype(np.float32) / scale.astype(np.float32)) + zero, lo, hi)
        return codes.astype(kind if kind[-1] in "86" else np.int8)
    scale = _axis(n, scale, len(x.shape) + 1)
    zero = n.const(2, "zero point", 0).astype(np.int64)
    if zero.size and (zero != zero.flat[0]).any():
        n.refuse("zero points that differ from channel to channel of an activation; only one")
    node = n.low.quantize(x, n.beside(x, scale), int(zero.flat[0]), lo, hi, Rounding("HALF_EVEN"), n.name)
    return real(node, x.shape)


@quantized_rule("DequantizeLinear")
def dequantize_linear(n: QNode):
    """(code - zero) * scale."""
    scale, x = n.scale(1, "scale"), n.args[0]
    zero = n.const(2, "zero point", 0).astype(np.int64)
    if isinstance(x, Real):
        rank = len(x.shape) + 1
        return x.plus(-n.beside(x, _axis(n, zero, rank))).scaled(n.beside(x, _axis(n, scale, rank)))
    codes = n.const(0, "x").astype(np.int64)
    scale, zero = (_axis(n, v, codes.ndim, codes.shape) for v in (scale, zero))
    return Fixed(codes - zero, squeezed(np.broadcast_to(scale, codes.shape)))


@quantized_rule("DynamicQuantizeLinear")
def dynamic(n: QNode): n.refuse("its scale is computed from each input (dynamic); quantize statically, with a calibration set")


@quantized_rule("Quant", "IntQuant")
def quant(n: QNode):
    """round(clip(x / scale + zero, least, greatest)), as a real again: (code - zero) * scale."""
    scale, zero, bits = n.scale(1), n.count(2, "zero point"), n.count(3, "bit width")
    signed, narrow, mode = n.attr("signed", 1), n.attr("narrow", 0), str(n.attr("rounding_mode", "ROUND")).upper()
    if not 1 <= bits <= MAX_BITS and (isinstance(n.args[0], Real) or not 1 <= bits <= 32):
        n.refuse(f"{bits} bits; only 1 to {MAX_BITS}")
    if mode not in QONNX_MODES:
        n.refuse(f"rounding mode {mode!r}; only {', '.join(QONNX_MODES)}")
    if signed and bits == 1:
        return _bipolar(n, scale, zero)
    lo, hi = (-(1 << bits - 1) + narrow, (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1 - narrow)
    return _requantized(n, scale, zero, lo, hi, Rounding(QONNX_MODES[mode], zero))


@quantized_rule("BipolarQuant")
def bipolar_quant(n: QNode): return _bipolar(n, n.scale(1), 0)


@quantized_rule("Trunc")
def trunc(n: QNode):
    """The upper bits of a code: round(x / scale / 2**dropped), then bounded (newer form with an output scale) or not."""
    scale, zero, bits = n.scale(1), n.count(2, "zero point"), n.count(3, "input bit width")
    mode = str(n.attr("rounding_mode", "FLOOR")).upper()
    if mode not in QONNX_MODES or zero:
        n.refuse(f"zero point {zero} and rounding mode {mode!r}; only 0 and one of {', '.join(QONNX_MODES)}")
    if n.has(5):
        out, kept = n.scale(4, "output scale"), n.count(5, "output bit width")
        dropped = np.rint(np.log2(out / scale))
        signed, narrow = n.attr("signed", 1), n.attr("narrow", 0)
    else:
        kept = n.count(4, "output bit width")
        dropped, out, signed, narrow = float(bits - kept), scale, 1, 0
    if not (1 <= kept <= MAX_BITS and np.min(dropped) >= 0):
        n.refuse(f"{bits} to {kept} bits; only to as many or fewer, and to 1 to {MAX_BITS}")
    lo, hi = (-(1 << kept - 1) + narrow, (1 << kept - 1) - 1) if signed else (0, (1 << kept) - 1 - narrow)
    if not n.has(5):
        x = n.tensor(0)
        node, a, b = n.low.integers(x, n.name)
        t = n.low.type(node)
        ends = [(a * v + b) / float(np.max(scale)) / 2.0 ** dropped for v in (t.lo, t.hi)]
        lo, hi = int(np.floor(ends[0])) - 1, int(np.ceil(ends[1])) + 1  # nothing is clipped in this form
    x = n.tensor(0)
    node = n.low.quantize(x, n.beside(x, scale * 2.0 ** dropped), 0, lo, hi, Rounding(QONNX_MODES[mode]), n.name)
    return real(node, x.shape).scaled(n.beside(x, out))


def _requantized(n: QNode, scale: np.ndarray, zero: int, lo: int, hi: int, rounding: Rounding):
    x = n.args[0]
    if isinstance(x, Real):
        scale = n.beside(x, scale)
        return real(n.low.quantize(x, scale, zero, lo, hi, rounding, n.name), x.shape).plus(over(-zero, x.shape)).scaled(scale)
    x = n.const(0, "x").astype(np.float32)
    codes = np.clip(rounding.round(x / scale.astype(np.float32)) + zero, lo, hi).astype(np.int64) - zero
    return Fixed(codes, squeezed(np.broadcast_to(scale, np.broadcast_shapes(codes.shape, scale.shape))))


def _bipolar(n: QNode, scale: np.ndarray, zero: int):
    """+scale where x >= 0, else -scale; its codes are 1 and 0."""
    if zero:
        n.refuse(f"zero point {zero} of one signed bit; only 0")
    x = n.args[0]
    if isinstance(x, Real):
        scale = n.beside(x, scale)
        node = n.low.quantize(x.plus(scale), scale, 0, 0, 1, Rounding("FLOOR"), n.name)
        return real(node, x.shape, 2.0, -1.0).scaled(scale)
    codes = np.where(n.const(0, "x") >= 0, 1, -1)
    return Fixed(codes, squeezed(np.broadcast_to(scale, np.broadcast_shapes(codes.shape, scale.shape))))


def _axis(n: QNode, v: np.ndarray, rank: int, shape=None) -> np.ndarray:
    """A vector of scales or zero points along attribute `axis` (blocks of it, if `block_size` says so), of that rank."""
    axis = n.attr("axis", 1)
    if block := n.attr("block_size", 0):
        if shape is None or v.ndim != rank:
            n.refuse("blocks of an activation; only scales for a tensor or a channel")
        return np.repeat(v, block, axis).take(range(shape[axis]), axis) if v.size > 1 else v
    if v.size == 1:
        return v.reshape((1,) * rank)
    if v.ndim != 1 or not -rank <= axis < rank:
        n.refuse(f"scales of shape {v.shape} along axis {axis}; only one, or one for each index of an axis")
    return v.reshape([len(v) if i == axis % rank else 1 for i in range(rank)])
