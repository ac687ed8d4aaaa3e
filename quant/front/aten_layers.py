"""ATen ops with weights: convolution, linear, embedding, batch norm; and the product of two activations."""
import torch

from .aten_math import lone, repeat
from .builder import Builder, both, every, key, rule


@rule("conv1d", "conv2d", "convolution")
def conv(b: Builder, a):
    w = a.weight
    if getattr(a, "transposed", False):
        return conv_transpose(b, a)
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


@rule("conv_transpose1d", "conv_transpose2d")
def conv_transpose(b: Builder, a):
    """The convolution that it is: of x with stride - 1 zeros between its pixels, by the weights turned round, inputs for outputs
    (Dumoulin and Visin 2016, arXiv 1603.07285, section 4).
    """
    w = a.weight
    if isinstance(w, str) or w.dim() not in (3, 4):
        b.refuse("only one- and two-dimensional transposed convolutions with constant weights")
    n, g, title = w.dim() - 2, a.groups, layer_title(b, "conv_transpose")
    stride, dilation, padding, extra = (every(v, n) for v in (a.stride, a.dilation, a.padding, a.output_padding))
    w = w.unflatten(0, (g, -1)).transpose(1, 2).flatten(0, 1).flip(tuple(range(2, n + 2)))
    x, shape = a.input, b.shape(a.input)
    if any(s > 1 for s in stride):
        x = b.emit("reshape", x, title=f"{title}.apart", shape=(shape[0], *(m for size in shape[1:] for m in (size, 1))))
        x = b.emit("pad", x, title=f"{title}.zeros", padding=((0, 0), *(p for s in stride for p in ((0, 0), (0, s - 1)))), value=0.0)
        x = b.emit("reshape", x, title=f"{title}.wide", shape=(shape[0], *(size * s for size, s in zip(shape[1:], stride))))
    reach = [d * (k - 1) for d, k in zip(dilation, w.shape[2:])]
    pads = [(r - p, r - p + e - (s - 1)) for r, p, e, s in zip(reach, padding, extra, stride)]  # zeros follow the last pixel too
    if any(min(p) < 0 for p in pads):
        start = (0, *(max(0, -p) for p, _ in pads))
        stop = (shape[0], *(size + min(0, q) for size, (_, q) in zip(b.shape(x)[1:], pads)))
        x = b.emit("slice", x, title=f"{title}.crop", start=start, stop=stop, step=(1,) * (n + 1))
    pads = tuple((max(0, p), max(0, q)) for p, q in pads)
    return b.emit("conv", x, weight=w, bias=zeros_unless(a.bias, len(w)), title=title, stride=(1,) * n, padding=pads, dilation=dilation, groups=g)


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
    if isinstance(y, torch.Tensor) and y.dim() == 2:
        return b.emit("linear", x, weight=y.t(), bias=torch.zeros(y.shape[1]), title=layer_title(b, "linear"))
    if isinstance(x, torch.Tensor):
        x = b.constant(lone(b, y, x))
    if isinstance(y, torch.Tensor):
        y = b.constant(lone(b, x, y))
    return product(b, x, y)


def product(b: Builder, x: str, y: str) -> str:
    """x @ y of two steps; where leading axes differ, the narrower is repeated."""
    for v, other in ((x, y), (y, x)):
        b.enlarge(v, (*b.shape(other)[:-2], *b.shape(v)[-2:]))
    lead = b.shape(x)[:-2], b.shape(y)[:-2]
    if len(b.shape(x)) != len(b.shape(y)) or len(b.shape(x)) < 2:
        b.refuse(f"{b.shape(x)} by {b.shape(y)}: two matrices, or as many of one as of the other")
    lead = torch.broadcast_shapes(*lead)
    x, y = (repeat(b, v, (*lead, *b.shape(v)[-2:])) for v in (x, y))
    return b.emit("matmul", x, y, title=b.title("matmul"))


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
    named = [w for n in b.node.all_input_nodes if (w := n.meta.get("parameter", "")).endswith("weight")]
    return named[0].removesuffix("weight").rstrip("._") or title if named else title
