"""Integer graphs as ONNX files: `QSEARCH_DATA=... python -m benchmarks.onnx_export` prints how fast and how equal each form is.

Exact integers (`codegen.onnx`) and QDQ (`codegen.onnx_qdq`, fused by ONNX Runtime) of two nets quantized to int8/uint8 on 64 images, one
thread; then nets of a model zoo, read from QONNX and written as QONNX again (`codegen.qonnx`), run by the `qonnx` package's executor.
"""
import collections
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

import codegen
import ir
import quant
from codegen import onnx_qdq, qonnx
from ir import Graph, Plan

from .onnx_import import NETS, ZOO, accuracy, by_qonnx


def graph(data: Path, net: str) -> tuple[Graph, np.ndarray, np.ndarray]:
    """(the integer graph of a real net, test images as reals, their classes)."""
    images = np.load(data / "cifar10" / "exact.npz")
    mean, std = ((.485, .456, .406), (.229, .224, .225)) if net == "resnet20_cifar10" else (0, 1 / 255)
    calib, test = (((images[k] / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32) for k in ("train_x", "test_x"))
    model = quant.load_model(str(data / "onnx" / f"{net}.onnx"))
    ranges = quant.calibrate(model, torch.from_numpy(calib[:64]))
    return quant.quantize(model, Plan(dict.fromkeys(model.layers, "int8/uint8")), ranges).lower(), test, images["test_y"]


def session(model, fused: Path):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads, o.log_severity_level, o.optimized_model_filepath = 1, 3, str(fused)
    return onnxruntime.InferenceSession(model.SerializeToString(), o, providers=["CPUExecutionProvider"])


def table(data: Path) -> None:
    torch.set_num_threads(1)
    print("| net | form | bytes | ms for 100 images | accuracy | codes that differ | largest, of the output's range | same class | ops as executed |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        fused = Path(scratch) / "fused.onnx"
        for net in NETS:
            g, x, y = graph(data, net)
            i = g.inputs[0]
            q = g.encodings[i.name].encode(x, i.type.lo, i.type.hi)
            want, span = ir.run(g, q), g.output.type.hi - g.output.type.lo
            for form, model in (("exact integers", codegen.onnx.build(g)), ("QDQ", onnx_qdq.build(g, floats=False))):
                s = session(model, fused)
                name, kind = s.get_inputs()[0].name, s.get_inputs()[0].type[7:-1]
                feed = {name: q.astype(kind)}
                got = s.run(None, feed)[0].astype(np.int64)
                part, seconds = {name: feed[name][:100]}, []
                for _ in range(5):
                    start = time.perf_counter()
                    s.run(None, part)
                    seconds.append(time.perf_counter() - start)
                kinds = collections.Counter(n.op_type for n in onnx.load(fused).graph.node)
                shown = ", ".join(f"{k} {v}" for k, v in kinds.most_common(5))
                row(net, form, model.ByteSize(), f"{1e3 * min(seconds):.0f}", got, want, span, y, shown)


def zoo(data: Path) -> None:
    """Nets of the zoo, read, written and run by the peer: the very integers of ir.run."""
    print("\n| net | samples | values that differ |\n| --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        for name, (_, how) in ZOO.items():
            g = quant.load_quantized(data / f"{name}.onnx", **how)
            t, e = g.inputs[0].type, g.encodings[g.output.name]
            if t.size > 9999:
                continue
            qonnx.save(g, path := Path(scratch) / "m.onnx")
            q = np.random.default_rng(0).integers(t.lo, t.hi + 1, (20, *t.shape))
            peer, want = by_qonnx(path, g.encodings[g.inputs[0].name].decode(q)), ir.run(g, q).reshape(len(q), -1)
            shown = "(qonnx is not installed)" if peer is None else f"{(np.abs(peer / e.scale + e.zero - want) > 1e-3).sum()} of {want.size}"
            print(f"| {name} | {len(q)} | {shown} |", flush=True)


def row(net: str, form: str, size: int, ms: str, got: np.ndarray, want: np.ndarray, span: int, labels: np.ndarray, ops: str) -> None:
    wrong = np.abs(got - want)
    print(f"| {net} | {form} | {size} | {ms} | {accuracy(got, labels)} | {100 * (wrong > 0).mean():.2f} % | {100 * wrong.max() / span:.2f} % | "
          f"{100 * (got.argmax(1) == want.argmax(1)).mean():.1f} % | {ops} |", flush=True)


if __name__ == "__main__":
    table(Path(os.environ["QSEARCH_DATA"]))
    zoo(Path(os.environ["QSEARCH_DATA"]))
