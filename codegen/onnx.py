"""ir.Graph -> ONNX: the same integers in ONNX Runtime (or any conforming runtime) as in ir.run."""
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from ir import Constant, Graph, Input, Node, UserError
from ir.store import graph_hash, whole

from .onnx_ops import Expr, constant, holder, lower
from .words import check_feeds, interface, magnitude, word

OPSET, IR_VERSION = 21, 10


def build(g: Graph, keep: bool = False) -> onnx.ModelProto:
    """A model equal to the graph on every value; keep=True makes every node's value an output, for comparison.

    Inputs and outputs are (N, *shape) with dynamic N, in the narrowest of int8, uint8, int16, uint16, int32, int64; the model's
    metadata carries `qsearch` (interface: intervals and encodings) and `graph_hash`.
    """
    nodes, env = [], {}
    for n in g.nodes.values():
        if isinstance(n.op, Input):
            env[n.name] = Expr(nodes, n.name, word(n.type)).cast(holder(magnitude(n.type)))
        elif isinstance(n.op, Constant):
            env[n.name] = constant(n, env[g.inputs[0].name])
        else:
            env[n.name] = lower(n, tuple(g.nodes[a].type for a in n.args), *[env[a] for a in n.args])
    shown = keep and [n for n in g.nodes.values() if not isinstance(n.op, Input)] or [g.output]
    for n in shown:
        value = env[n.name].cast(word(n.type))
        nodes.append(helper.make_node("Identity", [value.name], [_output_name(n)]))
    model = helper.make_model(helper.make_graph(nodes, "qsearch", [_info(n, n.name) for n in g.inputs],
                                                [_info(n, _output_name(n)) for n in shown]),
                              opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="qsearch")
    helper.set_model_props(model, {"qsearch": json.dumps(interface(g)), "graph_hash": graph_hash(g)})
    return model


def save(g: Graph, path: Path | str) -> None:
    """Write build(g) to `path`, whole or not at all.  UserError: the folder cannot be written, or 2 GiB are exceeded."""
    write(build(g), path)


def write(model: onnx.ModelProto, path: Path | str) -> None:
    """Write a model to `path`, whole or not at all.  UserError: the folder cannot be written, or 2 GiB are exceeded."""
    if model.ByteSize() >= 1 << 31:
        raise UserError(f"{path}: the model takes {model.ByteSize() >> 20} MiB; one ONNX file holds 2048 MiB, split the graph")
    with whole(path) as tmp:
        tmp.write_bytes(model.SerializeToString())


def session(model: onnx.ModelProto | Path | str, threads: int = 1):
    """An ONNX Runtime session on the CPU of a model or a file."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only: constant folding warns about nothing that matters here
    if isinstance(model, onnx.ModelProto):
        model = model.SerializeToString()
    elif not Path(model).is_file():
        raise UserError(f"{model}: no such file; expected an ONNX model")
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"])


def run(model, x) -> np.ndarray:
    """The output, as int64, of a built model, its file or its session for integers x (N, *shape), or {input name: x}.

    UserError: values that the model's input does not take, or a file that qsearch did not write.
    """
    s = session(model) if isinstance(model, (onnx.ModelProto, Path, str)) else model
    about = s.get_modelmeta().custom_metadata_map.get("qsearch")
    if about is None:
        raise UserError("not an ONNX model written by qsearch (its metadata say nothing of integers); run it with ONNX Runtime itself")
    return s.run([s.get_outputs()[0].name], check_feeds(json.loads(about)["inputs"], x))[0].astype(np.int64)


def _output_name(n: Node) -> str:
    """The node's name; an input that is the output as well needs a second one."""
    return n.name + "_out" if isinstance(n.op, Input) else n.name


def _info(n: Node, name: str):
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(word(n.type))), ["N", *n.type.shape])
