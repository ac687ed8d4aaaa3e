"""Quantized ONNX files as integer graphs: `QSEARCH_DATA=... python -m benchmarks.onnx_import` prints one Markdown row for each file.

Static QDQ and QOperator files are made by ONNX Runtime from float nets, calibrated on 100 training images; its own execution is the peer
(as written, every node by itself, and with its fusions).  QONNX files run in the `qonnx` package's executor, if that is installed.
"""
import contextlib
import io
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np

import ir
from quant import load_quantized

QDQ = {  # made how -> arguments of quantize_static
    "QDQ u8 s8, per channel": ("QDQ", "QUInt8", "QInt8", True),
    "QDQ s8 s8": ("QDQ", "QInt8", "QInt8", False),
    "QDQ u8 u8": ("QDQ", "QUInt8", "QUInt8", False),
    "QDQ u16 s8, per channel": ("QDQ", "QUInt16", "QInt8", True),
    "QOperator u8 s8, per channel": ("QOperator", "QUInt8", "QInt8", True)}
NETS = {"resnet20_cifar10": 91.0, "resnet8_cifar10_mlperf_tiny": 89.0}  # float figure of the data's README
PIXEL = {"input_format": "uint8", "input_scale": 1 / 255}
ZOO = {  # QONNX file -> (README figure, how to load)
    "mnist/qonnx/TFC_1W1A": ("90.5 %", PIXEL), "mnist/qonnx/TFC_2W2A": ("95.4 %", PIXEL), "fpga_nets/qonnx/kwsmlp_w3a3": ("87.89 %, no data", {}),
    "fpga_nets/qonnx/qkeras_jettagging": ("", {"input_format": "int16", "input_scale": 2.0 ** -10}),
    "fpga_nets/qonnx/unsw_nb15-mlp-w2a2": ("", {"input_format": "int2"}),
    "superres_espcn/nn_resize_quant_model": ("", {}), "superres_espcn/subpixel_quant_model": ("", PIXEL)}


def quantized_by_onnx_runtime(data: Path, net: str, folder: Path, how: str = "QDQ u8 s8, per channel", samples: int = 100):
    """(path of a static quantized file of a float net, test images as it takes them, their classes)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    images = np.load(data / "cifar10" / "exact.npz")

    def ready(x):
        x = x / 255 if net == "resnet20_cifar10" else x
        x = (x - (.485, .456, .406)) / (.229, .224, .225) if net == "resnet20_cifar10" else x
        return x.transpose(0, 3, 1, 2).astype(np.float32)

    class Reader(CalibrationDataReader):
        parts = iter(np.array_split(ready(images["train_x"][:samples]), max(1, samples // 10)))
        def get_next(self): return next(({"x": part} for part in self.parts), None)
    form, act, weight, channels = QDQ[how]
    path = Path(folder) / f"{net}.{how.replace(' ', '_').replace(',', '')}.onnx"
    with contextlib.redirect_stderr(io.StringIO()):
        quant_pre_process(str(data / "onnx" / f"{net}.onnx"), str(path), skip_symbolic_shape=True)
        quantize_static(str(path), str(path), Reader(), quant_format=QuantFormat[form], per_channel=channels, activation_type=QuantType[act],
                        weight_type=QuantType[weight])
    return path, ready(images["test_x"]), images["test_y"]


def integers(g: ir.Graph, x: np.ndarray) -> np.ndarray:
    """Output codes of real inputs."""
    i = g.inputs[0]
    return ir.run(g, g.encodings[i.name].encode(x.reshape(len(x), *i.type.shape), i.type.lo, i.type.hi))


def by_onnx_runtime(path: Path, x: np.ndarray, fused: bool) -> np.ndarray:
    import onnxruntime
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = 1
    o.log_severity_level = 3
    if not fused:
        o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    s = onnxruntime.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])
    return np.concatenate([s.run(None, {"x": x[i:i + 50]})[0] for i in range(0, len(x), 50)])


def by_qonnx(path: Path, x: np.ndarray) -> np.ndarray | None:
    """Outputs (N, -1) of the qonnx package's executor, a sample at a time; None without the package."""
    try:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.transformation.infer_shapes import InferShapes
    except ModuleNotFoundError:
        return None
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        model = ModelWrapper(str(path))
        source, sink = model.graph.input[0].name, model.graph.output[0].name
        shape = model.get_tensor_shape(source)
        model = model.transform(InferShapes())
        return np.concatenate([execute_onnx(model, {source: v.reshape(shape).astype(np.float32)})[sink].reshape(1, -1) for v in x])


def static(data: Path, folder: Path) -> None:
    print("| file | float | ours | ONNX Runtime, plain | codes that differ (most) | ONNX Runtime, fused | codes that differ (most) "
          "| its two ways differ |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for net, figure in NETS.items():
        for how in QDQ:
            path, x, y = quantized_by_onnx_runtime(data, net, folder, how)
            g = load_quantized(path)
            e, ours = g.encodings[g.output.name], integers(g, x)
            plain, fused = (np.rint(by_onnx_runtime(path, x, f) / e.scale) + e.zero for f in (False, True))
            cells = [f"{net}, {how}", f"{figure:.1f} %", accuracy(ours, y)]
            for peer in (plain, fused):
                cells += [accuracy(peer, y), f"{100 * (peer != ours).mean():.2f} % ({int(np.abs(peer - ours).max())})"]
            print("| " + " | ".join([*cells, f"{100 * (plain != fused).mean():.2f} % ({int(np.abs(plain - fused).max())})"]) + " |", flush=True)


def zoo(data: Path, samples: int = 200) -> None:
    print("\n| file | README | ours | samples compared | qonnx executor, same samples | same class | values that differ | largest difference |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    r, digits = np.random.default_rng(0), np.load(data / "mnist" / "mnist.npz")
    for name, (figure, how) in ZOO.items():
        path = data / f"{name}.onnx"
        g = load_quantized(path, **how)
        t, e = g.inputs[0].type, g.encodings[g.inputs[0].name]
        labels = digits["test_y"] if "mnist" in name else None
        count = samples if t.size < 9999 else 2
        q = r.choice([-1, 1], (count, *t.shape)) if t.hi == 1 else r.normal(0, t.hi / 4, (count, *t.shape)).round().clip(t.lo, t.hi)
        x = digits["test_x"][:, None] / 255 if "mnist" in name else e.decode(q)
        ours = g.encodings[g.output.name].decode(integers(g, x)).reshape(len(x), -1)
        mine = "" if labels is None else accuracy(ours, labels)
        x, ours = x[:samples], ours[:samples]
        peer = by_qonnx(path, x)
        if peer is None:
            print(f"| {name} | {figure} | {mine} | | (not installed) | | | |", flush=True)
            continue
        if "jettagging" in name:  # the softmax at the end is left off
            peer = np.log(peer)
            ours, peer = (v - v.mean(1, keepdims=True) for v in (ours, peer))
        gap = np.abs(ours - peer) / np.abs(peer).max()
        own = "" if labels is None else accuracy(peer, labels[:samples])
        print(f"| {name} | {figure} | {mine} | {len(x)} | {own} | {100 * (ours.argmax(1) == peer.argmax(1)).mean():.1f} % | "
              f"{100 * (gap > 1e-3).mean():.2f} % | {gap.max():.1e} |", flush=True)


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> str:
    p = (outputs.argmax(1) == labels).mean()
    return f"{100 * p:.1f} % +- {100 * (p * (1 - p) / len(labels)) ** 0.5:.1f}"


if __name__ == "__main__":
    root = Path(os.environ["QSEARCH_DATA"])
    with tempfile.TemporaryDirectory() as scratch:
        static(root, Path(scratch))
    zoo(root)
