"""A quantized ONNX file (QDQ, QOperator or QONNX) as an integer graph, directly: its scales, zero points and codes are those of the file."""
from pathlib import Path

import numpy as np

from ir import FORMATS, Encoding, Graph, Input, Ints, UserError
from ir.rewrite import simplify

from . import onnx_qoperators, onnx_quantized_moves, onnx_quantized_ops, onnx_quantizers  # noqa: F401  (they register their rules)
from ..front.onnx_import import QUANTIZERS, attributes, constant_of, evaluated, read
from .onnx_lowering import Lowering
from .onnx_qnode import DOMAINS, QUANTIZED_RULES, QNode
from .onnx_quantizers import INTEGERS, TENSOR_TYPES
from .onnx_real import Fixed, Real, real

MIN_OPSET = 7
KEEP_CODES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze"}  # of constants


def is_quantized(path: Path | str) -> bool:
    """Whether an ONNX file holds quantizers, so that load_quantized is for it rather than load_onnx."""
    return any(n.op_type in QUANTIZERS for n in read(path).graph.node)


def load_quantized(path: Path | str, input_format: str | None = None, input_scale: float = 1.0, input_zero: int = 0,
                   multiplier_bits: int | None = None) -> Graph:
    """The integer graph of a quantized ONNX file, its input and output with their encodings.

    The codes are those of the file, evaluated in float64, on every input: each requant has as many bits as that takes.  Only where there is
    too much to look at (results of 16 bits in many channels, sums of tensors wider than 8 bits) it is the nearest of 30 bits instead.
    input_format, input_scale, input_zero: what the graph is given (real value = scale * (integer - zero)); by default the codes of the
    file's first quantizer.  multiplier_bits: at most so many, then nearest to the real ratio; codes may differ by one near a tie.
    A softmax at the very end is left off.
    UserError: missing or damaged file, an op without a rule, dynamic scales, values that are used in float.
    """
    model = read(path)
    g = model.graph
    from onnx import numpy_helper
    if (version := opset(model)) < MIN_OPSET:
        raise UserError(f"{path}: opset {version}; {MIN_OPSET} or newer is supported, convert it with onnx.version_converter")
    values: dict = {t.name: numpy_helper.to_array(t) for t in g.initializer}
    inputs = [i for i in g.input if i.name not in values]
    for what, names in (("input", inputs), ("output", g.output)):
        if len(names) != 1:
            raise UserError(f"{path}: has {len(names)} {what}s ({', '.join(n.name for n in names)}); exactly one is supported")
    low = Lowering(input_shape(path, inputs[0]), multiplier_bits)
    values[inputs[0].name] = entry(inputs[0], low, input_format, input_scale, input_zero)
    last = {g.output[0].name}
    for n in g.node:
        step(n, values, low, version, last)
    if not isinstance(out := values.get(g.output[0].name), Real):
        raise UserError(f"{path}: its output {g.output[0].name!r} is not computed from its input")
    low.finish(out, "output")
    return simplify(low.g)


def opset(model) -> int:
    """The version of the standard operators that the file asks for."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)


def input_shape(path, i) -> tuple[int, ...]:
    """The shape of the model's input without batch.  UserError: a size is not fixed."""
    dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in i.type.tensor_type.shape.dim]
    if len(dims) < 2 or None in dims[1:]:
        shown = ", ".join(d.dim_param or str(d.dim_value) for d in i.type.tensor_type.shape.dim)
        raise UserError(f"{path}: input {i.name!r} has shape ({shown}); every size but the batch must be fixed, export it with numbers")
    return tuple(dims[1:])


def entry(i, low: Lowering, fmt: str | None, scale: float, zero: int) -> Real:
    """The model's input."""
    t, shape = i.type.tensor_type, low.shape
    if t.elem_type in TENSOR_TYPES:
        low.g.encodings[low.add("input", Input(Ints(shape, *INTEGERS[TENSOR_TYPES[t.elem_type]])))] = Encoding(1.0)
        return real("input", shape)
    if fmt is None:
        return real(None, shape)
    f = FORMATS[fmt]
    if not isinstance(f.grid, range) or not (np.isfinite(scale) and scale > 0) or not f.lo <= zero <= f.hi:
        raise UserError(f"an input of format {fmt}, scale {scale} and zero {zero}; give a plain integer format such as uint8, a scale above 0 and "
                        "one of its codes")
    low.g.encodings[low.add("input", Input(Ints(shape, f.lo, f.hi)))] = Encoding(scale, zero)
    return real("input", shape, scale, -zero * scale)


def step(n, values: dict, low: Lowering, version: int, last: set[str]) -> None:
    """Append one node's results to `values`."""
    name = label(n)
    if missing := [i for i in n.input if i and i not in values]:
        raise UserError(f"ONNX {n.op_type} {name!r} reads {missing[0]!r}, which no node makes and no initializer holds; export the file again")
    attrs = attributes(n)
    if n.op_type == "Constant":
        values[n.output[0]] = constant_of(attrs)
        return
    args = [values[i] if i else None for i in n.input]
    if n.op_type == "Shape":  # 0, "as it was", stands for the batch
        x = args[0]
        values[n.output[0]] = np.array([0, *x.shape] if isinstance(x, Real) else np.shape(x.codes if isinstance(x, Fixed) else x), np.int64)
        return
    still = not any(isinstance(a, Real) for a in args)
    if still and n.op_type not in QUANTIZERS | KEEP_CODES:
        plain = {i: (v.value.astype(np.float32) if isinstance(v, Fixed) else v) for i, v in zip(n.input, args) if i}
        values.update(zip(n.output, evaluated(n, plain, version)))
        return
    if n.op_type not in QUANTIZED_RULES or n.domain not in DOMAINS:
        kind = f"{n.domain}.{n.op_type}" if n.domain else n.op_type
        raise UserError(f"unsupported ONNX op {kind} at node {name!r}: in a quantized file {', '.join(sorted(QUANTIZED_RULES))} are supported")
    node = QNode(n.op_type, name, attrs, args, low, len([o for o in n.output if o]), n.output[0] in last)
    out = QUANTIZED_RULES[n.op_type](node)
    values.update(zip(n.output, out if isinstance(out, list) else [out]))


def label(n) -> str:
    """A name for the nodes of the graph: the file's, with dots."""
    return ".".join(filter(None, (n.name or n.output[0]).split("/"))) or n.op_type.lower()
