"""ATen ops with weights: convolution, linear, embedding, batch norm; and the product of two activations."""
import torch

from .builder import Builder, both, every, key, rule


@rule("conv1d", "conv2d", "convolution")
def conv(b: Builder, a):
    w = a.weight
    if getattr(a, "transposed", False):
        b.refuse("a transposed convolution is not supported")
    if isinstance(w, str) or w.dim() not in (3, 4):
        b.refuse("only one- and two-dimensional convolutions with constant weights")
    n = w.dim() - 2
    stride, dilation = every(a.stride, n), every(a.dilation, n)
    if a.padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, w.shape[2:])]
        padding = tuple((t // 2, t - t // 2) for t in total)
    else:
        padding = both((0,) * n if a.padding == "valid" else every(a.padding, n))
    return b.emit("conv", a.input, weight=w, bias=zeros_unless(a.bias, len(w)), title=layer_title(b, "conv"), stride=stride,
                  padding=padding, dilation=dilation, groups=a.groups)


@rule("linear")
def linear(b: Builder, a):
    if isinstance(a.weight, str):
        b.refuse("its weight is computed from the input; use matmul")
    return b.emit("linear", a.input, weight=a.weight, bias=zeros_unless(a.bias, len(a.weight)), title=layer_title(b, "linear"))


@rule("addmm")
def addmm(b: Builder, a):
    if isinstance(a.mat2, str) or isinstance(a.self, str) or a.self.dim() > 1:
        b.refuse("only with a constant matrix and a constant bias")
    bias = a.self.expand(a.mat2.shape[1]) * a.beta
    return b.emit("linear", a.mat1, weight=a.mat2.t() * a.alpha, bias=bias, title=layer_title(b, "linear"))


@rule("mm", "matmul", "bmm")
def matmul(b: Builder, a):
    x, y = a.self, getattr(a, "other", getattr(a, "mat2", None))
    if isinstance(y, torch.Tensor):
        if y.dim() != 2:
            b.refuse(f"a constant of shape {tuple(y.shape)}; only a matrix (I, O) can be multiplied by")
        return b.emit("linear", x, weight=y.t(), bias=torch.zeros(y.shape[1]), title=layer_title(b, "linear"))
    if isinstance(x, torch.Tensor):
        b.refuse("a constant on the left; write it as a linear layer of the transposed value")
    if b.shape(x)[:-2] != b.shape(y)[:-2] or len(b.shape(x)) < 2:
        b.refuse(f"{b.shape(x)} by {b.shape(y)}: leading axes must be equal")
    return b.emit("matmul", x, y)


@rule("embedding")
def embedding(b: Builder, a):
    if isinstance(a.weight, str) or isinstance(a.indices, torch.Tensor):
        b.refuse("only a constant table, looked up by the input")
    return b.emit("embedding", a.indices, weight=a.weight, title=layer_title(b, "embedding"))


@rule("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm")
def batch_norm(b: Builder, a):
    if getattr(a, "training", False) or a.running_mean is None:
        b.refuse("batch norm in training mode (or without running statistics); call model.eval() and track_running_stats")
    if (a.running_var < -a.eps).any():
        b.refuse("running_var has negative values")
    s = (a.running_var.double() + a.eps).rsqrt()
    s = s if a.weight is None else s * a.weight.double()
    t = -a.running_mean.double() * s
    y = b.emit("scale", a.input, weight=s, bias=t if a.bias is None else t + a.bias.double(), axis=0)
    return y if key(b.node) == "batch_norm" else [y, None, None]


def zeros_unless(bias, n: int): return torch.zeros(n) if bias is None else bias


def layer_title(b: Builder, kind: str) -> str:
    """The module's path; for a function call with a parameter `head.weight`, `head`."""
    title = b.title(kind)
    if not title.endswith(kind):
        return title
    named = [w for n in b.node.all_input_nodes if (w := n.meta.get("parameter", "")).endswith(".weight")]
    return named[0].removesuffix(".weight") if named else title
