"""Small quantized ONNX models, and what they mean: every op evaluated in float64, one after the other, as its specification says."""
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535), "int4": (-8, 7), "uint4": (0, 15)}
QONNX = "qonnx.custom_op.general"


class File:
    """An ONNX model that grows node by node; its input is x (N, *shape), the last node's output is the model's."""

    def __init__(self, shape, kind=TensorProto.FLOAT, opset: int = 21):
        self.shape, self.kind, self.opset, self.nodes, self.init, self.last = shape, kind, opset, [], [], "x"

    def const(self, value, dtype=np.float32) -> str:
        name = f"c{len(self.init)}"
        if str(dtype).startswith(("int4", "uint4")):
            kind = TensorProto.INT4 if dtype == "int4" else TensorProto.UINT4
            self.init.append(helper.make_tensor(name, kind, np.shape(value), np.ravel(value)))
        else:
            self.init.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, op: str, *args, domain: str = "", outputs: int = 1, **attrs) -> str:
        """A node; args are names, or arrays that become initializers.  The name of its (first) output."""
        names = [a if isinstance(a, str) else self.const(a) for a in args]
        out = [f"{op}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, names, out, name=f"n{len(self.nodes)}", domain=domain, **attrs))
        self.last = out[0]
        return self.last

    def quantized(self, x: str, scale, zero, dtype: str = "uint8", **attrs) -> str:
        """QuantizeLinear and DequantizeLinear."""
        s, z = self.const(np.float32(scale)), self.const(zero, dtype)
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, s, z, **attrs), s, z, **attrs)

    def weight(self, codes, scale, dtype: str = "int8", axis: int = 0) -> str:
        scale = np.asarray(scale, np.float32)
        return self.add("DequantizeLinear", self.const(codes, dtype), self.const(scale), self.const(np.zeros(scale.shape, int), dtype), axis=axis)

    def quant(self, x, scale, zero=0.0, bits=4.0, **attrs) -> str:
        """QONNX's Quant."""
        return self.add("Quant", x, np.float32(scale), np.float32(zero), np.float32(bits), domain=QONNX,
                        **{"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **attrs})

    def model(self) -> onnx.ModelProto:
        out = [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)]
        g = helper.make_graph(self.nodes, "g", [helper.make_tensor_value_info("x", self.kind, [1, *self.shape])], out, self.init)
        return helper.make_model(g, opset_imports=[helper.make_opsetid("", self.opset), helper.make_opsetid(QONNX, 1)], ir_version=10)

    def save(self, path):
        onnx.save(self.model(), path)
        return path


def evaluate(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The model's output for x (N, ...), in float64."""
    env = {t.name: np.asarray(numpy_helper.to_array(t)) for t in model.graph.initializer}
    kinds = {k: str(v.dtype) for k, v in env.items()}
    env[next(i.name for i in model.graph.input if i.name not in env)] = x
    for n in model.graph.node:
        a = {k.name: helper.get_attribute_value(k) for k in n.attribute}
        args = [env[i].astype(np.float64) for i in n.input]
        y = _op(n.op_type, a, args, kinds.get(n.input[-1]))
        env.update(zip(n.output, y if isinstance(y, list) else [y]))
    return env[model.graph.output[0].name]


def _op(op: str, a: dict, v: list, kind: str) -> np.ndarray:
    if op in ("QuantizeLinear", "DequantizeLinear"):
        turned = [[-1 if i == a.get("axis", 1) % v[0].ndim else 1 for i in range(v[0].ndim)] if w.ndim else () for w in v[1:]]
        scale, zero = [w.reshape(t) for w, t in zip(v[1:], turned)] + [0] * (3 - len(v))
        return (v[0] - zero) * scale if op[0] == "D" else np.clip(np.rint(v[0] / scale) + zero, *RANGES[kind])
    match op:
        case "Conv":
            k, pads, s = v[1].ndim - 2, a.get("pads"), a.get("strides")
            pads = pads or [0] * 2 * k
            x = np.pad(v[0], [(0, 0), (0, 0), *zip(pads[:k], pads[k:])])
            f = F.conv2d if k == 2 else F.conv1d
            return f(torch.from_numpy(x), torch.from_numpy(v[1]), torch.from_numpy(v[2]) if len(v) > 2 else None, s or 1,
                     groups=a.get("group", 1)).numpy()
        case "MatMul":
            return v[0] @ v[1]
        case "Gemm":
            return v[0] @ (v[1].T if a.get("transB") else v[1]) + (v[2] if len(v) > 2 else 0)
        case "Add":
            return v[0] + v[1]
        case "Sub":
            return v[0] - v[1]
        case "Mul":
            return v[0] * v[1]
        case "Div":
            return v[0] / v[1]
        case "Relu":
            return np.maximum(v[0], 0)
        case "Clip":
            return np.clip(v[0], v[1], v[2])
        case "Sigmoid":
            return 1 / (1 + np.exp(-v[0]))
        case "BatchNormalization":
            g, b, m, s = (w.reshape(-1, *[1] * (v[0].ndim - 2)) for w in v[1:])
            return (v[0] - m) / np.sqrt(s + a.get("epsilon", 1e-5)) * g + b
        case "MaxPool":
            return F.max_pool2d(torch.from_numpy(v[0]), a["kernel_shape"], a["strides"]).numpy()
        case "GlobalAveragePool":
            return v[0].mean((2, 3), keepdims=True)
        case "AveragePool":
            return F.avg_pool2d(torch.from_numpy(v[0]), a["kernel_shape"], a["strides"]).numpy()
        case "Concat":
            return np.concatenate(v, a["axis"])
        case "Gather":
            return v[0].take(v[1].astype(int), a["axis"])
        case "Flatten":
            return v[0].reshape(len(v[0]), -1)
        case "Reshape":
            return v[0].reshape(len(v[0]), *v[1].astype(int)[1:])
        case "Transpose":
            return v[0].transpose(a["perm"])
        case "Quant":
            return quant(*v, a["signed"], a["narrow"], a["rounding_mode"].decode())
        case "Resize":
            return v[0].repeat(int(v[2][2]), 2).repeat(int(v[2][3]), 3)
        case "DepthToSpace":
            return F.pixel_shuffle(torch.from_numpy(v[0]), a["blocksize"]).numpy()
        case "Softmax":
            return np.exp(v[0]) / np.exp(v[0]).sum(1, keepdims=True)
        case "BipolarQuant":
            return np.where(v[0] >= 0, 1, -1) * v[1]
        case "Trunc":
            return ROUNDINGS[a["rounding_mode"].decode()](np.rint(v[0] / v[1] + v[2]) / 2 ** (v[3] - v[4])) * v[1]
    raise ValueError(op)


ROUNDINGS = {"ROUND": np.rint, "FLOOR": np.floor, "CEIL": np.ceil, "ROUND_TO_ZERO": np.trunc, "DOWN": np.trunc,
             "UP": lambda y: np.sign(y) * np.ceil(np.abs(y)), "HALF_UP": lambda y: np.sign(y) * np.floor(np.abs(y) + 0.5),
             "HALF_DOWN": lambda y: np.sign(y) * np.ceil(np.abs(y) - 0.5)}


def quant(x, scale, zero, bits, signed, narrow, mode: str):
    """QONNX Quant."""
    if signed and bits == 1:
        return np.where(x / scale + zero >= 0, 1, -1) * scale
    lo, hi = (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1) if signed else (0, 2 ** bits - 1 - narrow)
    return (ROUNDINGS[mode](np.clip(x / scale + zero, lo, hi)) - zero) * scale
