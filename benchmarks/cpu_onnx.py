"""ONNX Runtime as somebody who knows it well would run a net on a CPU: its int8 forms, and sessions without any copies."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime import quantization as q
from onnxruntime.quantization.shape_inference import quant_pre_process

from codegen import onnx_qdq
from ir import Conv, Dense, Graph
from ir.store import whole

PRODUCTS = ["Conv", "Gemm", "MatMul"]
FORMS = {  # name -> arguments of its own static quantization; dynamic: the scale of what enters a product is found at run time
    "static u8s8": {},
    "static s8s8": {"activation_type": q.QuantType.QInt8},
    "static u8s8, products only": {"op_types_to_quantize": PRODUCTS},
    "dynamic u8s8": {},
    "dynamic u8s8, matrices only": {"op_types_to_quantize": ["MatMul"]}}
CALIBRATING = 32
OPSET, OLD_IR = 17, 8


class Samples(q.CalibrationDataReader):
    """What calibrates: one sample at a time."""

    def __init__(self, name: str, x: np.ndarray): self.rest = iter([{name: v[None]} for v in x])

    def get_next(self): return next(self.rest, None)


def int8_files(net: str, source: Path, g: Graph, x: np.ndarray, folder: Path) -> dict[str, Path]:
    """Every int8 form of a float ONNX file and its integer graph, made if the folder does not have it yet.

    "qdq" is the graph itself between quantizers; the others ONNX Runtime makes of the float net, calibrated on x.
    """
    made = {name: folder / f"{net}-ort-{name.replace(' ', '-').replace(',', '')}.onnx" for name in ("qdq", *FORMS)}
    if not made["qdq"].exists():
        onnx_qdq.save(g, made["qdq"], floats=False)
    for name, how in FORMS.items():
        if name.startswith("dynamic") and not any(n.op_type == "MatMul" for n in onnx.load(source).graph.node):
            del made[name]  # it knows products of matrices only
        elif not made[name].exists():
            with whole(made[name]) as tmp:
                _quantize(source, name, how, x[:CALIBRATING], tmp)
    return made


def _quantize(source: Path, name: str, how: dict, x: np.ndarray, out: Path) -> None:
    ready = out.with_suffix(".ready")
    try:
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        if name.startswith("dynamic"):
            q.quantize_dynamic(str(ready), str(out), per_channel=True, weight_type=q.QuantType.QInt8, **how)
        else:
            source_name = onnx.load(ready).graph.input[0].name
            how = {"activation_type": q.QuantType.QUInt8, **how}
            q.quantize_static(str(ready), str(out), Samples(source_name, x), q.QuantFormat.QDQ, per_channel=True,
                              weight_type=q.QuantType.QInt8, **how)
            onnx.save(bare(onnx.load(out)), out)
    finally:
        ready.unlink(missing_ok=True)


def bare(m: onnx.ModelProto) -> onnx.ModelProto:
    """A QDQ model that takes and gives codes: without the quantizer of its input and the dequantizer of its output."""
    g = m.graph
    readers = [n for n in g.node if g.input[0].name in n.input]
    if len(readers) == 1 and readers[0].op_type == "QuantizeLinear":
        _enter(g, readers[0])
    last = [n for n in g.node if g.output[0].name in n.output]
    if last and last[0].op_type == "DequantizeLinear":
        codes = last[0].input[0]
        g.output[0].type.tensor_type.elem_type = _type_of(g, last[0].input[2])
        g.node.remove(last[0])
        g.output[0].name = codes
    return m


def _enter(g: onnx.GraphProto, quantizer: onnx.NodeProto) -> None:
    g.input[0].type.tensor_type.elem_type = _type_of(g, quantizer.input[2])
    g.input[0].name = quantizer.output[0]
    g.node.remove(quantizer)


def _type_of(g: onnx.GraphProto, name: str) -> int: return next(t.data_type for t in g.initializer if t.name == name)


def float_layer(g: Graph) -> bytes:
    """The one layer of a graph in float32, channels first, without its requant."""
    n = next(n for n in g.nodes.values() if isinstance(n.op, Conv | Dense))
    op, x = n.op, g.nodes[n.args[0]].type
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in (("w", op.weight), ("b", op.bias))]
    if isinstance(op, Conv):
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=op.stride, dilations=op.dilation, group=op.groups,
                                  pads=[p[i] for i in (0, 1) for p in op.padding])]
    else:
        constants[0] = numpy_helper.from_array(op.weight.T.astype(np.float32), "w")
        nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Add", ["t", "b"], ["y"])]
    values = [helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, ["N", *t.shape]) for k, t in (("x", x), ("y", n.type))]
    return helper.make_model(helper.make_graph(nodes, "layer", values[:1], values[1:], constants), ir_version=OLD_IR,
                             opset_imports=[helper.make_opsetid("", OPSET)]).SerializeToString()


def session(path: Path | bytes, threads: int, batch: int, **more) -> ort.InferenceSession:
    """All optimisations, one operator after the other, a fixed batch."""
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads, o.log_severity_level = threads, 1, 3
    o.graph_optimization_level, o.execution_mode = ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.ExecutionMode.ORT_SEQUENTIAL
    o.add_session_config_entry("session.enable_quant_qdq_cleanup", "1")
    o.add_free_dimension_override_by_name("N", batch)
    for name, value in more.items():
        setattr(o, name, value)
    return ort.InferenceSession(path if isinstance(path, bytes) else str(path), o, providers=["CPUExecutionProvider"])


def bound(s: ort.InferenceSession, batch: int, x: np.ndarray | None = None) -> Callable[[], object]:
    """A call that runs the session on x (or on noise of the right kind) between memory that was bound before."""
    i, o = s.get_inputs()[0], s.get_outputs()[0]
    if x is None:
        x = noise(i, batch)
    binding = s.io_binding()
    y = ort.OrtValue.ortvalue_from_shape_and_type([batch if not isinstance(d, int) else d for d in o.shape], _dtype(o), "cpu")
    feed = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x))
    binding.bind_ortvalue_input(i.name, feed)
    binding.bind_ortvalue_output(o.name, y)
    run, raw = s._sess.run_with_iobinding, binding._iobinding
    keep = (feed, y, binding)
    return lambda: (run(raw, None), keep)[0]


def noise(i, batch: int) -> np.ndarray:
    """Seeded values for an input of a session: every code of its type, or normal reals."""
    r, shape = np.random.default_rng(0), [batch if not isinstance(d, int) else d for d in i.shape]
    if _dtype(i) == np.float32:
        return r.standard_normal(shape, np.float32)
    info = np.iinfo(_dtype(i))
    return r.integers(info.min, info.max + 1, shape).astype(_dtype(i))


def _dtype(value) -> type:
    kind = value.type[7:-1]
    return np.float32 if kind == "float" else np.dtype(kind).type
