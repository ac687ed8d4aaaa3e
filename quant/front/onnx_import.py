"""An ONNX file as a torch module: each node a submodule under the name it had, its weights as parameters."""
import re
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ir import UserError

from . import onnx_layers, onnx_shapes  # noqa: F401  (they register their rules)
from .onnx_node import ONNX_RULES, OnnxModule, OnnxNode

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "PRelu", "Gather", "LayerNormalization", "RMSNormalization",
            "SimplifiedLayerNormalization", "GroupNormalization", "InstanceNormalization")
QUANTIZERS = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QGemm", "Quant", "IntQuant",
              "BipolarQuant", "Trunc"}
UNNAMED = re.compile(r"^(onnx::|\d+$)")


def load_onnx(path: Path | str) -> nn.Module:
    """The network of an ONNX file as a torch module; `example` on it is an input that it takes.

    UserError: missing, damaged or foreign file, an op that has no rule, several inputs or outputs.
    """
    model = read(path)
    g = model.graph
    from onnx import numpy_helper
    values = {t.name: numpy_helper.to_array(t) for t in g.initializer}
    inputs = [i for i in g.input if i.name not in values]
    for what, names in (("input", inputs), ("output", g.output)):
        if len(names) != 1:
            raise UserError(f"{path}: has {len(names)} {what}s ({', '.join(n.name for n in names)}); exactly one is supported")
    net = OnnxModel(inputs[0].name, g.output[0].name, *input_type(path, inputs[0]))
    net.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    shapes = {}
    if any(n.op_type == "Shape" for n in g.node):
        shapes = {net.source: net.example}
    for n in g.node:
        add(net, n, values, shapes)
    if net.sink not in {o for _, _, outputs in net.calls for o in outputs}:
        raise UserError(f"{path}: its output {net.sink!r} is not computed from its input")
    return net.eval()


class OnnxModel(nn.Module):
    """Runs its calls (module, inputs, outputs) in order."""

    def __init__(self, source: str, sink: str, example: torch.Tensor, batch: int | None):
        super().__init__()
        self.source, self.sink, self.example, self.batch, self.opset = source, sink, example, batch, 1
        self.calls: list[tuple[OnnxModule, list[str], list[str]]] = []

    def forward(self, x):
        env = {self.source: x}
        for module, inputs, outputs in self.calls:
            y = module(*(env[i] for i in inputs))
            env.update(zip(outputs, y if isinstance(y, tuple) else (y,)))
        return env[self.sink]

    def place(self, path: str, module: OnnxModule) -> None:
        """Hang `module` at the dotted path, or at path_1 .. if another operation is there."""
        at: nn.Module = self
        *above, last = [p for p in path.split(".") if p]
        for part in above:
            part = part if part in at._modules or not hasattr(at, part) else part + "_"
            if part not in at._modules:
                at.add_module(part, OnnxModule())
            at = at._modules[part]
        free, i = last, 0
        while hasattr(at, free) and not (free in at._modules and at._modules[free].run is None):
            i += 1
            free = f"{last}_{i}"
        if free in at._modules:  # a level of names becomes an operation as well
            for k, m in at._modules[free]._modules.items():
                module.add_module(k, m)
            del at._modules[free]
        at.add_module(free, module)


def attributes(n) -> dict:
    """A node's attributes by name, texts as str."""
    from onnx import helper
    attrs = {a.name: helper.get_attribute_value(a) for a in n.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in attrs.items()}


def constant_of(attrs: dict) -> np.ndarray:
    """What a Constant node with these attributes holds."""
    from onnx import numpy_helper
    (name, v), *_ = attrs.items()
    return numpy_helper.to_array(v) if hasattr(v, "data_type") else np.array(v, np.float32 if "float" in name else np.int64)


def add(net: OnnxModel, n, values: dict[str, np.ndarray], shapes: dict[str, torch.Tensor]) -> None:
    """Append a node; a constant one becomes a value.  `shapes` holds samples of activations where the file asks for shapes."""
    attrs = attributes(n)
    if n.op_type == "Constant":
        values[n.output[0]] = constant_of(attrs)
        return
    if n.op_type == "Shape":  # 0, "as it was", stands for the batch
        known = values.get(n.input[0])
        values[n.output[0]] = np.array([0, *shapes[n.input[0]].shape[1:]] if known is None else known.shape, np.int64)
        return
    constants = [values.get(i) for i in n.input]
    still = n.input and all(c is not None for c, i in zip(constants, n.input) if i)
    if still and n.op_type != "Expand":
        values.update(zip(n.output, evaluated(n, values, net.opset)))
        return
    if n.op_type not in ONNX_RULES or n.domain not in ("", "ai.onnx"):
        kind = f"{n.domain}.{n.op_type}" if n.domain else n.op_type
        if n.op_type in QUANTIZERS:
            raise UserError(f"ONNX op {kind} at node {n.name or n.output[0]!r}: the file is quantized already and no float model; "
                            "make its integer graph with quant.load_quantized")
        known = ", ".join(sorted({*ONNX_RULES, "Constant", "Shape"}))
        raise UserError(f"unsupported ONNX op {kind} at node {n.name or n.output[0]!r}: supported are {known}")
    if still:  # a constant that is expanded, perhaps to the batch: its rule knows how
        constants = [None, *constants[1:]]
    node = OnnxNode(n.op_type, n.name or n.output[0], attrs, constants, [bool(i) for i in n.input], len(n.output), net.batch)
    node.module.run = ONNX_RULES[n.op_type](node)
    args = [i for i, c in zip(n.input, constants) if c is None and i]
    if still:
        y = node.module(*(torch.from_numpy(np.array(values[a])) for a in args))
        values.update(zip(n.output, (t.numpy() for t in (y if isinstance(y, tuple) else (y,)))))
        return
    net.place(title(n, values), node.module)
    net.calls.append((node.module, args, list(n.output)))
    if shapes:
        try:
            with torch.no_grad():
                y = node.module(*(shapes[a] for a in args))
        except RuntimeError as e:
            node.refuse(f"does not run on one sample, {str(e).splitlines()[0][:120]}; a file that joins the batch with another axis, or that "
                        "was traced with one batch size, cannot be captured: give the torch module")
        shapes.update(zip(n.output, y if isinstance(y, tuple) else (y,)))


def evaluated(n, values: dict[str, np.ndarray], opset: int) -> list[np.ndarray]:
    """The outputs of a node whose inputs are all constant, by ONNX's own reference."""
    from onnx.reference import ReferenceEvaluator
    try:
        return ReferenceEvaluator(n, opsets={"": opset}).run(None, {i: values[i] for i in n.input if i})
    except Exception as e:  # the reference raises whatever numpy does
        raise UserError(f"ONNX {n.op_type} {n.name or n.output[0]!r}: its inputs are constant, but it cannot be evaluated "
                        f"({type(e).__name__}: {str(e).splitlines()[0][:120] if str(e) else 'no reason given'})") from None


def title(n, values: dict) -> str:
    """`layer1.0.conv1` of weight layer1.0.conv1.weight or of node /layer1/layer1.0/conv1/Conv; of a nameless node, its type."""
    weighted = n.op_type in WEIGHTED and any(i in values for i in n.input)
    if weighted:
        for w in n.input:
            if w in values and w.endswith(".weight") and not UNNAMED.match(w):
                return w.removesuffix(".weight").replace("/", ".")
    parts: list[str] = []
    for part in filter(None, n.name.split("/")):
        if parts and part.startswith(parts[-1] + "."):  # torch repeats the outer path: /layer1/layer1.0
            parts.pop()
        parts.append(part)
    kind = n.op_type.lower()
    if not parts:
        return kind
    if again := re.fullmatch(rf"{n.op_type}(_\d+)?", parts[-1]):
        parts.pop()
        inner = parts[-1].split(".")[-1] if parts else ""
        if not parts or not weighted and inner.lower() != kind:
            parts.append(kind + (again[1] or ""))
    return ".".join(parts)


def read(path: Path | str):
    """The parsed file.  UserError: missing, empty, cut off, or no ONNX at all."""
    import onnx
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected an ONNX model")
    try:
        model = onnx.load(path)
    except Exception as e:  # protobuf, external data, the system
        why = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
        raise UserError(f"{path}: cannot be read as ONNX ({why}); cut off or of another format, export it again") from None
    if not model.graph.node:
        raise UserError(f"{path}: not an ONNX model, or an empty one; export it again")
    return model


def input_type(path, i) -> tuple[torch.Tensor, int | None]:
    """(an input, the batch size that the file insists on or None)."""
    t = i.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in t.shape.dim]
    if len(dims) < 2 or None in dims[1:]:
        shown = ", ".join(d.dim_param or str(d.dim_value) for d in t.shape.dim)
        raise UserError(f"{path}: input {i.name!r} has shape ({shown}); every size but the batch must be fixed, export it with numbers")
    integer = t.elem_type in (6, 7)  # TensorProto.INT32, INT64
    return torch.zeros((1, *dims[1:]), dtype=torch.int64 if integer else torch.float32), dims[0]
