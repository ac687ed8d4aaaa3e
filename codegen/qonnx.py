"""ir.Graph -> QONNX: floats that hold the graph's integers, with a Quant node at each weight and each requant (Pappalardo et al. 2022).

Equal to ir.run on every value: round_shift(x * mul, shift) is Quant's FLOOR of x * (mul / 2**shift) + 1/2 wherever float32 holds the
product; elsewhere the exact nodes of `codegen.onnx` compute it, and the Quant that follows changes nothing but says the width.
"""
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ir import Constant, Conv, Dense, Encoding, Graph, Input, Ints, Node, Requant
from ir.infer import exact_bound
from ir.show import width
from ir.store import graph_hash

from . import onnx as exact
from .onnx_ops import HOLDERS, Expr, constant, holder, lower
from .words import magnitude

DOMAIN = "qonnx.custom_op.general"


def build(g: Graph, batch: int | None = 1) -> onnx.ModelProto:
    """A QONNX model: reals in and out by the graph's encodings (scale 1 without them); batch None: dynamic."""
    nodes, env = [], {}
    for n in g.nodes.values():
        if isinstance(n.op, Input):
            env[n.name] = enter(n, g.encodings.get(n.name, Encoding(1.0)), nodes)
        elif isinstance(n.op, Constant):
            env[n.name] = constant(n, env[g.inputs[0].name])
        else:
            env[n.name] = place(n, tuple(g.nodes[a].type for a in n.args), *[env[a] for a in n.args])
    e, y = g.encodings.get(g.output.name, Encoding(1.0)), env[g.output.name].cast("float32")
    y = y + -float(e.zero) if e.zero else y
    name = exact._output_name(g.output)
    nodes.append(helper.make_node("Mul", [y.name, y.const(np.float32(e.scale)).name], [name]))
    infos = [[helper.make_tensor_value_info(k, TensorProto.FLOAT, [batch or "N", *n.type.shape])]
             for k, n in [*((n.name, n) for n in g.inputs), (name, g.output)]]
    model = helper.make_model(helper.make_graph(nodes, "qsearch", sum(infos[:-1], []), infos[-1]), ir_version=exact.IR_VERSION,
                              opset_imports=[helper.make_opsetid("", exact.OPSET), helper.make_opsetid(DOMAIN, 1)], producer_name="qsearch")
    helper.set_model_props(model, {"graph_hash": graph_hash(g)})
    return model


def save(g: Graph, path: Path | str, batch: int | None = 1) -> None:
    """Write build(g) to `path`, whole or not at all.  UserError: the folder cannot be written."""
    exact.write(build(g, batch), path)


def enter(n: Node, e: Encoding, nodes: list) -> Expr:
    """Codes of a real input: nearest, ties to even, clipped."""
    x = Expr(nodes, n.name, "float32")
    x = x.emit("Div", np.float32(e.scale)) if e.scale != 1 else x
    if e.zero:  # rounded before it is added, so that ties are those of the encoding
        x = quant(x.emit("Clip", float(n.type.lo - e.zero), float(n.type.hi - e.zero)), Ints((1,), n.type.lo - e.zero, n.type.hi - e.zero))
        return x + float(e.zero)
    return quant(x, n.type)


def place(n: Node, types: tuple[Ints, ...], *xs: Expr) -> Expr:
    """Node n on its arguments."""
    op, x = n.op, xs[0]
    if isinstance(op, Dense | Conv) and exact_bound(op, types[0]) <= HOLDERS["float32"]:
        return product(n, types[0], x)
    if not isinstance(op, Requant):
        return lower(n, types, *xs)
    top = magnitude(types[0]) * int(abs(op.mul).max()) + (abs(op.zero) + 1 << op.shift)
    if top > HOLDERS["float32"] or holder(magnitude(n.type)) != "float32":
        return lower(n, types, x) if n.type.bits > 24 else quant(lower(n, types, x).cast("float32"), n.type)
    shape = [1] * len(types[0].shape)
    if len(op.mul) > 1:
        shape[op.axis] = len(op.mul)
    y = x.cast("float32") * np.float32(op.mul.reshape(shape) / 2.0 ** op.shift) + (op.zero + 0.5 * (op.shift > 0))
    return quant(y, n.type, "FLOOR", op.lo == n.type.lo, op.hi == n.type.hi)


def product(n: Node, t: Ints, x: Expr) -> Expr:
    """A layer whose weight is the output of a Quant."""
    op, x = n.op, x.cast("float32")
    w = op.weight.T if isinstance(op, Dense) else op.weight
    w = quant(x.const(w.astype(np.float32)), Ints((1,), min(int(w.min()), 0), int(w.max())))
    if isinstance(op, Dense):
        y = x.emit("MatMul", w)
        return y.emit("Add", op.bias) if op.bias.any() else y
    pads = [p[i] for i in (0, 1) for p in op.padding]
    if op.pad and any(pads):
        x = x.emit("Pad", x.const([0, 0, *(p[0] for p in op.padding), 0, 0, *(p[1] for p in op.padding)], "int64"), float(op.pad))
        pads = [0] * len(pads)
    return x.emit("Conv", w, op.bias.astype(np.float32), strides=op.stride, dilations=op.dilation, group=op.groups, pads=pads,
                  kernel_shape=op.weight.shape[2:])


def quant(x: Expr, t: Ints, mode: str = "ROUND", low: bool = True, high: bool = True) -> Expr:
    """A Quant of scale 1 to the interval of t; low, high: whether that end clips anything."""
    signed, bits = t.lo < 0, width(np.array([t.lo, t.hi]))
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    narrow = signed and bits > 1 and t.lo == least + 1 and t.hi == most
    if bits == 1 and signed:  # QONNX reads one signed bit as -1 and +1
        bits, least, most = 2, -2, 1
    if low and t.lo > least + narrow or high and t.hi < most:
        x = x.emit("Clip", float(t.lo), t.hi + 0.5 * (mode == "FLOOR"))
    args = [x.const(v, "float32") for v in (1.0, 0.0, float(bits))]
    return x.emit("Quant", *args, domain=DOMAIN, signed=int(signed), narrow=int(narrow), rounding_mode=mode)
