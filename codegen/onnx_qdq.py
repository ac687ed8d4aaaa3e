"""ir.Graph -> QDQ ONNX: QuantizeLinear and DequantizeLinear around plain operators, the form that runtimes fuse into integer kernels.

A product, pool or sum with the requant that follows it is written in reals of scale 1: the requant's ratio is the scale of the weights
(mul / 2**shift, one for each channel), so that a runtime's integer kernel does what the graph does, but for its float32 factor and its ties,
which go to even.  All else, and what does not fit 8 or 16 bits, keeps the exact nodes of `codegen.onnx`.
"""
import json
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ir import (Add, Concat, Constant, Conv, Dense, Graph, Input, Ints, Lut, MatMul, MaxPool, Node, Requant, Reshape, Slice, SumPool,
                Transpose)
from ir.store import graph_hash

from . import onnx as exact
from .onnx_ops import Expr, constant, holder, lower
from .qdq_codes import ROOM, Code, alive, away, fits, nibbles
from .words import interface, magnitude, word

INT32 = 1 << 31
NEAR = 2.0 ** -7  # of a code: an offset that may be moved so far, where a runtime knows whole zero points and biases only
TIE = 2.0 ** -20  # more than float32 loses in a factor, far less than a code
MOVES = (Reshape, Transpose, Slice, MaxPool, Concat)

def build(g: Graph, floats: bool | None = None, int4: bool = False) -> onnx.ModelProto:
    """A QDQ model of the graph with dynamic batch.

    floats: reals in and out, quantized in the model by the graph's encodings (where it has them, by default), or integers as in
    `codegen.onnx.build`.  int4: weights of 4 bits or fewer are stored as int4 (half the size; ONNX Runtime then multiplies in float).
    """
    e = Export(g, int4)
    floats = all(n.name in g.encodings for n in (*g.inputs, g.output)) if floats is None else floats
    inputs = [e.enter(n, floats) for n in g.inputs]
    for n in g.nodes.values():
        if not isinstance(n.op, Input):
            e.place(n)
    output = e.leave(g.output, floats)
    model = helper.make_model(helper.make_graph(alive(e.nodes, output.name), "qsearch", inputs, [output]), ir_version=exact.IR_VERSION,
                              opset_imports=[helper.make_opsetid("", exact.OPSET)], producer_name="qsearch")
    about = {"graph_hash": graph_hash(g)} | ({} if floats else {"qsearch": json.dumps(interface(g))})
    helper.set_model_props(model, about)
    return model


def save(g: Graph, path: Path | str, floats: bool | None = None, int4: bool = False) -> None:
    """Write build(g) to `path`, whole or not at all.  UserError: the folder cannot be written."""
    exact.write(build(g, floats, int4), path)


class Export:
    """Nodes so far, and what holds each value of the graph: codes, or an exact expression."""

    def __init__(self, g: Graph, int4: bool):
        self.g, self.int4, self.nodes, self.env = g, int4, [], {}

    def enter(self, n: Node, floats: bool):
        """Input n; the description of it in the file."""
        if not floats:
            x = Expr(self.nodes, n.name, word(n.type))
            self.env[n.name] = Code(x, 0) if x.dtype in ROOM else x.cast(holder(magnitude(n.type)))
            return helper.make_tensor_value_info(n.name, helper.np_dtype_to_tensor_dtype(np.dtype(word(n.type))), ["N", *n.type.shape])
        e, x = self.g.encodings[n.name], Expr(self.nodes, n.name, "float32")
        if room := fits(n.type):
            self.env[n.name] = self.quantized(x, e.scale, e.zero, n.type.lo, n.type.hi, room, n.type)
        else:
            q = x.emit("Div", np.float32(e.scale)).emit("Round") + float(e.zero)
            self.env[n.name] = q.emit("Clip", float(n.type.lo), float(n.type.hi)).cast(holder(magnitude(n.type)))
        return helper.make_tensor_value_info(n.name, TensorProto.FLOAT, ["N", *n.type.shape])

    def leave(self, n: Node, floats: bool):
        """The output."""
        name = exact._output_name(n)
        if floats and n.name in self.g.encodings:
            e, held = self.g.encodings[n.name], self.env[n.name]
            if isinstance(held, Code):
                y = self.dequantized(held, e.scale, e.zero)
            else:
                y = (held + -e.zero if e.zero else held).cast("float32").emit("Mul", np.float32(e.scale))
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *n.type.shape])
        else:
            held = self.env[n.name]
            y = held.expr if isinstance(held, Code) and held.expr.dtype == word(n.type) else self.exact(n.name).cast(word(n.type))
            info = exact._info(n, name)
        self.nodes.append(helper.make_node("Identity", [y.name], [name]))
        return info

    def place(self, n: Node) -> None:
        """Node n, by the first way that there is."""
        self.env[n.name] = self.cluster(n) or self.moved(n) or self.table(n) or self.plain(n)

    def plain(self, n: Node) -> Expr:
        if isinstance(n.op, Constant):
            return constant(n, self.exact(self.g.inputs[0].name))
        return lower(n, tuple(self.g.nodes[a].type for a in n.args), *[self.exact(a) for a in n.args])

    def exact(self, name: str) -> Expr:
        """A value as integers in a float or integer tensor that holds them."""
        held = self.env[name]
        if isinstance(held, Expr):
            return held
        x = held.expr.cast("float32")
        return x + float(-held.offset) if held.offset else x

    def code(self, name: str) -> Code | None:
        """A value as unsigned codes, or None if it has too many."""
        held, t = self.env[name], self.g.nodes[name].type
        if isinstance(held, Code) or not (room := fits(t)):
            return held if isinstance(held, Code) else None
        offset = away(t, room)
        self.env[name] = Code((held.cast("float32") + float(offset) if offset else held).cast(room), offset)
        return self.env[name]

    def moved(self, n: Node) -> Code | None:
        """An op that moves codes moves them as they are."""
        held = [self.env[a] for a in n.args]
        if not isinstance(n.op, MOVES) or not all(isinstance(h, Code) for h in held) or len({(h.offset, h.expr.dtype) for h in held}) > 1:
            return None
        if isinstance(n.op, MaxPool) and (held[0].expr.dtype != "uint8" or any(map(any, n.op.padding))):
            return None
        first, *rest = (h.expr for h in held)
        t = self.g.nodes[n.args[0]].type
        y = first.emit("Concat", *rest, axis=n.op.axis + 1) if isinstance(n.op, Concat) else lower(n, (t,), first)
        return Code(y, held[0].offset)

    def table(self, n: Node) -> Code | None:
        """A table of codes, looked up by codes."""
        if not isinstance(n.op, Lut) or (x := self.code(n.args[0])) is None or not (room := fits(n.type)):
            return None
        offset = away(n.type, room)
        index = np.arange(ROOM[x.expr.dtype]) - x.offset - n.op.base
        codes = n.op.table[index.clip(0, len(n.op.table) - 1)]
        table = x.expr.const((codes + offset).clip(0, ROOM[room] - 1).astype(room), room)
        return Code(table.emit("Gather", x.expr.cast("int32"), axis=0), offset)

    def cluster(self, n: Node) -> Code | None:
        """A requant with what it reads, as reals between quantizers."""
        if not isinstance(n.op, Requant) or not (room := fits(n.type)) or n.op.mul.min() <= 0:
            return None
        source = self.g.nodes[n.args[0]]
        ratio = n.op.mul / 2.0 ** n.op.shift
        if isinstance(source.op, Dense | Conv | Reshape):
            y = self.scaled_product(source, ratio) or (isinstance(source.op, Dense | Conv) and self.product(source, ratio, n.op.axis) or None)
        elif len(ratio) > 1:
            return None
        elif isinstance(source.op, SumPool):
            y = self.pool(source, float(ratio[0]))
        elif isinstance(source.op, Add | MatMul):
            y = self.binary(source, float(ratio[0]))
        else:
            y = self.recoded(source, float(ratio[0]))
        return y and self.quantized(y, 1.0, n.op.zero, n.op.lo, n.op.hi, room, n.type)

    def scaled_product(self, n: Node, ratio: np.ndarray) -> Expr | None:
        """A layer, then a factor and an offset for each channel (a convolution of one tap): the factor joins the ratio, the offset the bias."""
        a = self.unshaped(n)
        if len(ratio) > 1 or not isinstance(a.op, Conv) or a.op.weight[0].size > 1 or a.op.groups != len(a.op.weight) or set(a.op.stride) != {1}:
            return None
        inner, mul = self.unshaped(self.g.nodes[a.args[0]]), a.op.weight.ravel()
        if not isinstance(inner.op, Dense | Conv) or len(inner.op.weight) != len(mul) or mul.min() <= 0 or any(map(any, a.op.padding)):
            return None
        if isinstance(inner.op, Dense) and len(inner.type.shape) > 1:
            return None
        offset = np.rint(a.op.bias / mul)
        if (np.abs(a.op.bias - offset * mul) * ratio[0]).max() > NEAR:
            return None
        return self.product(inner, ratio * mul, 0, offset.astype(np.int64))

    def unshaped(self, n: Node) -> Node:
        """What reshapes of a value with one channel axis stand on."""
        while isinstance(n.op, Reshape) and n.type.size == max(n.type.shape):
            n = self.g.nodes[n.args[0]]
        return n

    def product(self, n: Node, ratio: np.ndarray, axis: int, offset: np.ndarray | int = 0) -> Expr | None:
        op, t, rank = n.op, n.type, len(n.type.shape)
        channels = 0 if isinstance(op, Conv) else rank - 1
        pad = op.pad if isinstance(op, Conv) and any(map(any, op.padding)) else 0
        bias = op.bias + offset + pad * op.weight.reshape(len(op.weight), -1).sum(1)
        if len(ratio) > 1 and axis % rank != channels or max(-op.weight.min() - 1, op.weight.max()) > 127 or abs(bias).max() >= INT32:
            return None
        x = self.code(n.args[0])
        if x is None or not 0 <= pad + x.offset < ROOM[x.expr.dtype] or magnitude(t) >= INT32:
            return None
        scale = np.float32(np.broadcast_to(ratio, (len(op.weight),)))
        scale = scale[0] if len(ratio) == 1 else scale
        kind = "int4" if self.int4 and -8 <= op.weight.min() and op.weight.max() <= 7 else "int8"
        w = self.constant(op.weight, kind, scale)
        b = self.constant(bias, "int32", scale)
        if isinstance(op, Conv):
            pads = [p[i] for i in (0, 1) for p in op.padding]
            return self.dequantized(x, 1.0, pad).emit("Conv", w, b, strides=op.stride, dilations=op.dilation, group=op.groups, pads=pads,
                                                      kernel_shape=op.weight.shape[2:])
        flat = x.expr if rank == 1 else x.expr.emit("Reshape", x.expr.const([-1, op.weight.shape[1]], "int64"))
        y = self.dequantized(Code(flat, x.offset), 1.0, 0).emit("Gemm", w, b, transB=1)
        return y if rank == 1 else y.emit("Reshape", y.const([-1, *t.shape], "int64"))

    def pool(self, n: Node, ratio: float) -> Expr | None:
        op, x = n.op, self.code(n.args[0])
        pad = op.pad if any(map(any, op.padding)) else 0
        if x is None or x.expr.dtype != "uint8" or not 0 <= pad + x.offset < 256 or any(p >= k for q, k in zip(op.padding, op.kernel) for p in q):
            return None
        count = math.prod(op.kernel)
        total = pad * count
        if total and (whole := total * ratio) != int(whole):
            return None  # the pad code is no zero of the sum
        lean = 1 + TIE if n.type.lo >= 0 and not pad else 1  # a mean often lies half way; a hair above, it goes up as in the graph
        real = self.dequantized(x, ratio * count * lean, pad)
        if op.kernel == self.g.nodes[n.args[0]].type.shape[1:] and not pad:
            return real.emit("GlobalAveragePool")
        y = real.emit("AveragePool", kernel_shape=op.kernel, strides=op.stride, pads=[p[i] for i in (0, 1) for p in op.padding],
                      count_include_pad=1)
        return y + float(total * ratio) if total else y

    def binary(self, n: Node, ratio: float) -> Expr | None:
        """Sums and products of two values that are a multiple of narrow codes, less a zero."""
        (a, p, c), (b, q, d) = (self.arm(name) for name in n.args)
        x, y = self.code(a), self.code(b)
        if x is None or y is None:
            return None
        if isinstance(n.op, MatMul):
            if c % p or d % q or not all(0 <= v.offset - k < ROOM[v.expr.dtype] for v, k in ((x, c // p), (y, d // q))):
                return None
            return self.dequantized(x, ratio * p, -c // p).emit("MatMul", self.dequantized(y, float(q), -d // q))
        zeros = np.arange(ROOM[x.expr.dtype]) - x.offset
        rest = np.rint((-(c + d) - p * zeros) / q).astype(np.int64)
        off = np.where((rest + y.offset >= 0) & (rest + y.offset < ROOM[y.expr.dtype]), np.abs(c + d + p * zeros + q * rest) * ratio, np.inf)
        if off[best := int(off.argmin())] > NEAR:
            return None
        return self.dequantized(x, ratio * p, int(zeros[best])).emit("Add", self.dequantized(y, ratio * q, int(rest[best])))

    def arm(self, name: str) -> tuple[str, int, int]:
        """(value, k, c) with `name` = k * value + c, bounds aside that do nothing."""
        n = self.g.nodes[name]
        if isinstance(n.op, Requant) and n.op.shift == 0 and len(n.op.mul) == 1 and n.op.mul[0] > 0:
            t, k, c = self.g.nodes[n.args[0]].type, int(n.op.mul[0]), n.op.zero
            if n.op.lo <= k * t.lo + c and k * t.hi + c <= n.op.hi:
                return n.args[0], k, c
        return name, 1, 0

    def recoded(self, n: Node, ratio: float) -> Expr | None:
        """A requant of codes."""
        x = self.code(n.name)
        return x and self.dequantized(x, ratio, 0)

    def quantized(self, y: Expr, scale: float, zero: int, lo: int, hi: int, room: str, t: Ints) -> Code:
        """QuantizeLinear of a real whose codes are `zero` up, and a clip to [lo, hi] if the word does not do it."""
        offset = away(t, room)
        if not 0 <= zero + offset < ROOM[room]:  # the zero point lies outside the word: it is added in float
            y, zero = y + float(np.float32(zero * scale)), 0
        clips = t.lo + offset > 0 and lo == t.lo or t.hi + offset < ROOM[room] - 1 and hi == t.hi
        if clips and room == "uint16":  # runtimes clip words of 8 bits, but not of 16
            y, clips = y.emit("Clip", *(np.float32((v - zero) * scale) for v in (t.lo, t.hi))), False
        q = y.emit("QuantizeLinear", y.const(scale, "float32"), y.const(zero + offset, room), dtype=room)
        if clips:
            q = q.emit("Clip", q.const(t.lo + offset, room), q.const(t.hi + offset, room))
        return Code(q, offset)

    def dequantized(self, x: Code, scale: float, zero: int) -> Expr:
        return x.expr.emit("DequantizeLinear", x.expr.const(scale, "float32"), x.expr.const(zero + x.offset, x.expr.dtype), dtype="float32")

    def constant(self, codes: np.ndarray, kind: str, scale) -> Expr:
        """DequantizeLinear of integers along axis 0."""
        name = f"qs/constant_{len(self.nodes)}"
        type_ = {"int4": TensorProto.INT4, "int8": TensorProto.INT8, "int32": TensorProto.INT32}[kind]
        raw = nibbles(codes) if kind == "int4" else codes.astype(f"<{np.dtype(kind).str[1:]}").tobytes()
        data = helper.make_tensor(name, type_, codes.shape, raw, raw=True)
        self.nodes.append(helper.make_node("Constant", [], [name], value=data))
        x = Expr(self.nodes, name, kind)
        zeros = [] if kind == "int4" else [x.const(np.zeros(np.shape(scale), kind), kind)]  # without them ONNX Runtime does not fuse a Gemm
        return x.emit("DequantizeLinear", x.const(scale, "float32"), *zeros, dtype="float32", axis=0)
