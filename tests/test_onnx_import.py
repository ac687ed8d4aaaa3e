"""ONNX files become nets that equal ONNX Runtime, under the names that the file gave; refusals name op and node."""
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ir import UserError
from onnx import TensorProto, helper, numpy_helper

from quant import load_model

RNG = np.random.default_rng(0)


def array(*shape): return RNG.standard_normal(shape).astype(np.float32)


def ints(*v): return np.array(v, np.int64)


def node(op, inputs, output="y", **attrs): return helper.make_node(op, inputs.split(), output.split(), f"/{op.lower()}/{op}", **attrs)


def save(path, nodes, shape, constants=None, opset=20, batch="N", kind=TensorProto.FLOAT, domain=""):
    """A model of input x (batch, *shape) and output y."""
    for i, n in enumerate(nodes):
        if n.name and n.name in {m.name for m in nodes[:i]}:
            n.name += f"_{i}"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, [batch, *shape])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()])
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return str(path)


def runtime(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(path, options).run(None, {"x": x})[0]


def same(path, shape, batch=3, x=None):
    """The net of the file, after it was found equal to ONNX Runtime."""
    x = array(batch, *shape) if x is None else x
    net = load_model(path)
    y, z = runtime(path, x), net(torch.from_numpy(x)).detach().numpy()
    assert y.shape == z.shape
    assert np.abs(y - z).max() <= 1e-4 * (1 + np.abs(y).max())
    return net


W, B = array(6, 2, 3, 3), array(6)
BN = {"s": array(6), "t": array(6), "m": array(6), "v": np.abs(array(6)) + 0.5}
CASES = {  # nodes, shape of a sample, constants, kinds of steps after the input
    "conv": ([node("Conv", "x w b", strides=[2, 1], pads=[1, 2, 1, 2], group=2)], (4, 9, 8), {"w": W, "b": B}, "conv"),
    "conv uneven": ([node("Conv", "x w", pads=[0, 1, 2, 0], dilations=[2, 1])], (2, 9, 8), {"w": W}, "conv"),
    "conv same upper": ([node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2])], (2, 9, 8), {"w": W}, "conv"),
    "conv same lower": ([node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 2])], (2, 9, 8), {"w": W}, "conv"),
    "conv valid": ([node("Conv", "x w", auto_pad="VALID")], (2, 9, 8), {"w": W}, "conv"),
    "conv 1d": ([node("Conv", "x w", pads=[1, 1])], (2, 9), {"w": array(3, 2, 3)}, "conv"),
    "conv bn": ([node("Conv", "x w b", "a"), node("BatchNormalization", "a s t m v")], (2, 5, 5), {"w": W, "b": B, **BN}, "conv"),
    "conv add": ([node("Conv", "x w", "a"), node("Add", "a c")], (2, 5, 5), {"w": W, "c": array(6, 1, 1)}, "conv"),
    "gemm": ([node("Gemm", "x w b", alpha=0.5, beta=2.0, transB=1)], (4,), {"w": array(3, 4), "b": array(3)}, "linear"),
    "gemm plain": ([node("Gemm", "x w")], (4,), {"w": array(4, 3)}, "linear"),
    "gemm scalar": ([node("Gemm", "x w b")], (4,), {"w": array(4, 3), "b": array(1)}, "linear"),
    "matmul add": ([node("MatMul", "x w", "a"), node("Add", "c a")], (5, 4), {"w": array(4, 3), "c": array(3)}, "linear"),
    "attention": ([node("Transpose", "x", "a", perm=[0, 2, 1]), node("MatMul", "x a")], (5, 4), {}, "transpose matmul"),
    "arithmetic": ([node("Sub", "c x", "a"), node("Mul", "a d", "b"), node("Div", "b d")], (5,),
                   {"c": np.array(2, np.float32), "d": array(1)}, "scale"),
    "two branches": ([node("Relu", "x", "a"), node("Mul", "x a", "b"), node("Sub", "b a", "c"), node("Sum", "a b c")], (5,), {},
                     "relu mul scale add add add"),
    "power": ([node("Pow", "x c")], (5,), {"c": np.array(2, np.float32)}, "mul"),
    "clip": ([node("Clip", "x lo hi")], (5,), {"lo": np.array(0, np.float32), "hi": np.array(6, np.float32)}, "clip"),
    "clip above": ([helper.make_node("Clip", ["x", "", "hi"], ["y"])], (5,), {"hi": np.array(1, np.float32)}, "clip"),
    "prelu": ([node("PRelu", "x w")], (3, 4, 4), {"w": array(3, 1, 1)}, "relu clip scale add"),
    "leaky": ([node("LeakyRelu", "x", alpha=0.2)], (5,), {}, "function"),
    "hardsigmoid": ([node("HardSigmoid", "x")], (5,), {}, "scale clip"),
    "hardsigmoid torch": ([node("HardSigmoid", "x", alpha=1 / 6)], (5,), {}, "function"),
    "gelu": ([node("Gelu", "x", "a"), node("Gelu", "a", approximate="tanh")], (5,), {}, "function function"),
    "gelu of old": ([node("Div", "x r", "a"), node("Erf", "a", "b"), node("Add", "b o", "c"), node("Mul", "x c", "d"), node("Mul", "d h")],
                    (5,), {"r": np.float32([2 ** 0.5])[0], "o": np.float32([1])[0], "h": np.float32([0.5])[0]}, "function"),
    "softmax": ([node("Softmax", "x", "a", axis=1), node("Relu", "a")], (3, 4), {}, "softmax relu"),
    "layer norm": ([node("LayerNormalization", "x s t", axis=-2, epsilon=0.1)], (3, 4, 5), {"s": array(4, 5), "t": array(4, 5)}, "layernorm"),
    "layer norm bare": ([node("LayerNormalization", "x s")], (4, 5), {"s": array(5)}, "layernorm"),
    "rms norm": ([node("SimplifiedLayerNormalization", "x s", axis=-1, epsilon=0.1)], (4, 5), {"s": array(5)}, "rmsnorm"),
    "instance norm": ([node("InstanceNormalization", "x s t")], (6, 4, 5), {"s": array(6), "t": array(6)}, "reshape layernorm reshape scale"),
    "norm of old": ([node("ReduceMean", "x k", "m"), node("Sub", "x m", "d"), node("Pow", "d two", "q"), node("ReduceMean", "q k", "v"),
                     node("Add", "v e", "w"), node("Sqrt", "w", "r"), node("Div", "d r", "n"), node("Mul", "n s", "o"), node("Add", "o t")],
                    (5, 4), {"k": ints(-1), "two": np.array(2, np.float32), "e": np.array(0.1, np.float32), "s": array(4), "t": array(4)},
                    "layernorm"),
    "conv transpose": ([node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 1, 0, 1], group=2)], (4, 5, 6),
                       {"w": array(4, 3, 3, 3), "b": array(6)}, "reshape pad reshape conv"),
    "positions": ([node("Add", "x c", "a"), node("Shape", "x", "s"), node("Gather", "s i", "n", axis=0), node("Concat", "n m", "to", axis=0),
                   node("Expand", "t to", "u"), node("Concat", "u a", axis=1)], (5, 4),
                  {"c": array(1, 5, 4), "t": array(1, 1, 4), "i": ints(0), "m": ints(1, 4)}, "constant add constant concat"),
    "constant matrices": ([node("MatMul", "l x", "a"), node("MatMul", "a r")], (2, 5, 4), {"l": array(3, 5), "r": array(2, 4, 3)},
                          "constant matmul constant matmul"),
    "einsum": ([node("Einsum", "x x", equation="nij,nkj->nik")], (3, 4), {},
               "reshape transpose reshape matmul reshape transpose reshape"),
    "constants": ([node("Range", "o k o", "r"), node("Cast", "r", "f", to=TensorProto.FLOAT), node("Sqrt", "f", "g"), node("Mul", "x g")], (3, 4),
                  {"o": np.array(1), "k": np.array(5)}, "scale"),
    "where": ([node("Where", "c x v", "a"), node("Where", "c v a")], (3, 4), {"c": array(3, 4) > 0, "v": np.array(2, np.float32)},
              "constant mul constant add constant mul constant add"),
    "maxpool": ([node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])], (2, 9, 8), {}, "maxpool"),
    "maxpool ceil": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], (2, 8, 8), {}, "maxpool"),
    "maxpool same": ([node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")], (2, 9, 7), {}, "maxpool"),
    "avgpool": ([node("AveragePool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0], count_include_pad=1)], (2, 9, 8), {},
                "avgpool"),
    "global": ([node("GlobalAveragePool", "x", "a"), node("Flatten", "a")], (2, 9, 8), {}, "avgpool reshape"),
    "global max": ([node("GlobalMaxPool", "x")], (2, 9, 8), {}, "maxpool"),
    "reduce": ([node("ReduceMean", "x a", "z", keepdims=0), node("Relu", "z")], (2, 9, 8), {"a": ints(2, 3)}, "avgpool reshape relu"),
    "identity": ([node("Relu", "x", "a"), node("Dropout", "a", "b"), node("Identity", "b")], (5,), {}, "relu"),
    "reshape": ([node("Reshape", "x s")], (6, 4), {"s": ints(0, 3, -1)}, "reshape"),
    "squeezes": ([node("Unsqueeze", "x a", "z"), node("Relu", "z", "b"), node("Squeeze", "b c")], (4,), {"a": ints(1, 3), "c": ints(1)},
                 "reshape relu reshape"),
    "slice": ([node("Slice", "x s e a p")], (6, 8),
              {"s": ints(1, -6), "e": ints(2 ** 63 - 1, -1), "a": ints(1, 2), "p": ints(2, 3)}, "slice"),
    "split": ([node("Split", "x s", "a b", axis=1), node("Concat", "b a", axis=1)], (5, 2), {"s": ints(2, 3)}, "slice slice concat"),
    "split even": ([node("Split", "x", "a b", axis=-1, num_outputs=2), node("Add", "a b")], (5, 4), {}, "slice slice add"),
    "pad": ([node("Pad", "x p v")], (2, 3, 4), {"p": ints(0, 1, 0, 2, 0, 2, 1, 0), "v": np.array(1.5, np.float32)}, "pad"),
    "gather": ([node("Gather", "x i", "z", axis=1), node("Relu", "z")], (5, 4), {"i": np.array(2)}, "slice reshape relu"),
    "gather some": ([node("Gather", "x i", axis=2)], (5, 8), {"i": ints(1, 3, 5)}, "slice"),
    "cast": ([node("Cast", "x", "a", to=TensorProto.FLOAT), node("Relu", "a")], (5,), {}, "relu"),
    "depth to space": ([node("DepthToSpace", "x", blocksize=2)], (8, 2, 3), {}, "reshape transpose reshape"),
    "resize": ([node("Resize", "x e s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")], (2, 3, 4),
               {"e": array(0), "s": np.float32([1, 1, 2, 3])}, "reshape concat concat reshape"),
    "resize half pixel": ([node("Resize", "x e s", mode="nearest", nearest_mode="round_prefer_floor")], (2, 3, 4),
                          {"e": array(0), "s": np.float32([1, 1, 3, 2])}, "reshape concat concat reshape"),
    "shape": ([node("Shape", "x", "s"), node("Gather", "s i", "n", axis=0), node("Unsqueeze", "n z", "u"),
               node("Concat", "u m", "to", axis=0), node("Relu", "x", "r"), node("Reshape", "r to")], (3, 4),
              {"i": np.array(0), "z": ints(0), "m": ints(-1)}, "relu reshape"),
    "constant weight": ([helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(array(8, 3))), node("Reshape", "c s", "w"),
                         node("MatMul", "x w")], (6,), {"s": ints(6, 4)}, "linear"),
} | {op: ([node(op, "x")], (7,), {}, "function") for op in ("Sigmoid", "Tanh", "HardSwish", "Elu", "Softplus", "Selu", "Mish")}


@pytest.mark.parametrize("case", CASES)
def test_ops(case, tmp_path):
    nodes, shape, constants, kinds = CASES[case]
    net = same(save(tmp_path / "m.onnx", nodes, shape, constants), shape)
    assert sorted(s.kind for s in net.steps.values()) == sorted(["input", *kinds.split()])


def test_attributes_of_old_files(tmp_path):
    """Opset 9: bounds, axes and pads are attributes, and the file insists on a batch of one."""
    nodes = [node("Pad", "x", "a", pads=[0, 0, 1, 0, 0, 0, 0, 1]), node("Conv", "a w", "b"), node("Clip", "b", "c", min=0.0, max=6.0),
             node("Slice", "c", "d", starts=[0, 1], ends=[2, 3], axes=[2, 3]), node("ReduceMean", "d", "e", axes=[2], keepdims=1),
             node("Squeeze", "e", "f", axes=[2]), node("Unsqueeze", "f", "g", axes=[2]), node("Dropout", "g", "h"),
             node("Flatten", "h", "i", axis=0), node("Reshape", "i s", "j"), node("Gemm", "j u v")]
    c = {"w": W, "s": ints(1, 12), "u": array(12, 3), "v": array(3)}
    path = save(tmp_path / "m.onnx", nodes, (2, 5, 5), c, opset=9, batch=1)
    net = same(path, (2, 5, 5), batch=1)
    assert [s.kind for s in net.layers.values()] == ["conv", "linear"]
    x = array(3, 2, 5, 5)
    rows = np.concatenate([runtime(path, x[i:i + 1]) for i in range(3)])
    assert np.abs(net(torch.from_numpy(x)).detach().numpy() - rows).max() < 1e-5  # any batch will do, all the same


def test_embedding(tmp_path):
    nodes = [node("Gather", "table.weight x", "a"), node("ReduceMean", "a k", "y", keepdims=0)]
    path = save(tmp_path / "m.onnx", nodes, (4,), {"table.weight": array(9, 5), "k": ints(1)}, kind=TensorProto.INT64)
    net = same(path, (4,), x=RNG.integers(0, 9, (3, 4)))
    assert list(net.steps)[1] == "table"


def test_final_softmax_is_left_out_and_noted(tmp_path):
    nodes = [node("Gemm", "x w", "a"), node("Softmax", "a", axis=-1)]
    net = load_model(save(tmp_path / "m.onnx", nodes, (4,), {"w": array(4, 3)}))
    assert [s.kind for s in net.steps.values()] == ["input", "linear"]
    assert net.notes == ("the final softmax is left out: outputs are logits, predictions are the same",)


def test_names_come_from_weights_and_nodes(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "layer1.0.conv1.weight"], ["a"], "/layer1/layer1.0/conv1/Conv"),
             helper.make_node("Relu", ["a"], ["b"], "/layer1/layer1.0/Relu"),
             helper.make_node("Add", ["a", "b"], ["c"], "/layer1/layer1.0/Add"),
             helper.make_node("Relu", ["c"], ["d"], "/layer1/layer1.0/Relu_1"),
             helper.make_node("Conv", ["d", "onnx::Conv_7"], ["e"], "/layer1/layer1.0/conv2/Conv"),
             helper.make_node("Relu", ["e"], ["f"], "/layer1/layer1.0/relu/Relu"), helper.make_node("Relu", ["f"], ["g"], "head/relu"),
             helper.make_node("Conv", ["g", "head.weight"], ["h"], "head"), helper.make_node("Tanh", ["h"], ["i"]),
             helper.make_node("Neg", ["i"], ["j"], "type"), helper.make_node("Tanh", ["j"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, (2, 9, 9), {"layer1.0.conv1.weight": W, "onnx::Conv_7": array(2, 6, 1, 1), "head.weight": W})
    assert list(same(path, (2, 9, 9)).steps) == ["input", "layer1.0.conv1", "layer1.0.relu", "layer1.0.add", "layer1.0.relu_1",
                                                 "layer1.0.conv2", "layer1.0.relu_2", "head.relu", "head", "tanh", "type_1", "tanh_1"]


REFUSALS = {
    "op": ([node("CumSum", "x c")], {"c": ints(1)},
           r"^unsupported ONNX op CumSum at node '/cumsum/CumSum': supported are Abs, Add, .*\bConv\b"),
    "norm": ([node("LpNormalization", "x")], {}, r"^unsupported ONNX op LpNormalization at node"),
    "norm outputs": ([node("LayerNormalization", "x s", "y mean")], {"s": array(4)}, r"the outputs Mean and InvStdDev$"),
    "softmax inside": ([node("LogSoftmax", "x", "a"), node("Relu", "a")], {}, r"log_softmax inside the network is not supported"),
    "where": ([node("Cast", "x", "c", to=TensorProto.BOOL), node("Where", "c x a")], {"a": array(1)},
              r"^ONNX Where '/where/Where': only a constant condition, and a constant on one side$"),
    "transposed": ([node("ConvTranspose", "x w", auto_pad="SAME_UPPER")], {"w": array(3, 2, 3)}, r"auto_pad or output_shape; only explicit pads$"),
    "all axes": ([node("ReduceMax", "x")], {}, r"over every axis, the batch among them; name the axes$"),
    "dynamic": ([node("ReduceMax", "x a", "m"), node("Clip", "x m")], {"a": ints(1, 2)},
                r"^ONNX Clip '/clip/Clip': its min is computed from the input; only a constant one$"),
    "mode": ([node("Pad", "x p", mode="reflect")], {"p": ints(0, 0, 1, 0, 0, 1)}, r"mode 'reflect'; only 'constant'$"),
    "flatten": ([node("Flatten", "x", axis=0)], {}, r"axis=0; only 1, so that samples stay apart$"),
    "nan": ([node("MatMul", "x fc.weight")], {"fc.weight": np.full((4, 2), np.nan, np.float32)}, r"parameter 'fc.weight' holds NaN"),
    "joined batch": ([node("Shape", "x", "s"), node("Slice", "s a b", "t"), node("Concat", "t m", "to", axis=0), node("Reshape", "x to")],
                     {"a": ints(1), "b": ints(2), "m": ints(5)},
                     r"^ONNX Reshape '/reshape/Reshape': does not run on one sample, .*: give the torch module$"),
    "constant": ([node("Gather", "c i", "z"), node("Add", "x z")], {"c": array(2, 4), "i": ints(7)},
                 r"^ONNX Gather '/gather/Gather': its inputs are constant, but it cannot be evaluated \(IndexError: "),
    "average": ([node("AveragePool", "x", kernel_shape=[3], pads=[1, 1])], {}, r"count_include_pad=False with padding"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case, tmp_path):
    nodes, constants, message = REFUSALS[case]
    path = save(tmp_path / "m.onnx", nodes, (3, 4), constants)
    with pytest.raises(UserError, match=message) as e:
        load_model(path)
    assert "\n" not in str(e.value)


def test_foreign_domain(tmp_path):
    q = helper.make_node("Im2Col", ["x"], ["y"], "q", domain="qonnx.custom_op.general")
    with pytest.raises(UserError, match=r"^unsupported ONNX op qonnx.custom_op.general.Im2Col at node 'q'"):
        load_model(save(tmp_path / "m.onnx", [q], (3,), domain="qonnx.custom_op.general"))


def test_open_sizes(tmp_path):
    with pytest.raises(UserError, match=r"input 'x' has shape \(N, 3, H\); every size but the batch must be fixed"):
        load_model(save(tmp_path / "m.onnx", [node("Relu", "x")], (3, "H")))


REAL = {"resnet20_cifar10": 20, "resnet8_cifar10_mlperf_tiny": 10, "ad_autoencoder": 10, "vww_mobilenet_v1_025": 28, "kws_ds_cnn_s": 10,
        "kws_ds_cnn_mlperf_tiny": 10, "resnet56_cifar10": 56, "mobilenet_v1_075_imagenet": 28}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n.startswith(("resnet20", "kws", "ad")) else pytest.mark.slow) for n in REAL])
def test_real_models(name, real_data):
    path = str(real_data / "onnx" / f"{name}.onnx")
    net = load_model(path)
    x = array(2, *net.input.shape)
    y, z = runtime(path, x), net(torch.from_numpy(x)).detach().numpy()
    assert np.abs(y - z).max() <= 1e-4 * np.abs(y).max()
    assert len(net.layers) == REAL[name]
    assert name[:8] != "resnet20" or {"conv1", "layer1.0.conv1", "layer3.2.conv2", "layer2.0.add", "linear"} <= net.steps.keys()
