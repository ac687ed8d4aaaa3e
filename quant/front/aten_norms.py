"""ATen ops that normalize over axes of each sample: layer, group, instance and root-mean-square norm."""
import math

import torch

from .builder import Builder, key, rule


@rule("layer_norm", "native_layer_norm")
def layer_norm(b: Builder, a):
    dims = within(b, a.input, a.normalized_shape)
    weight, bias = a.weight, a.bias
    if isinstance(weight, str) or isinstance(bias, str):
        b.refuse("its weight or bias is computed from the input; only constant ones")
    if bias is not None and weight is None:  # torch takes no bias alone
        weight = torch.ones_like(bias)
    if weight is not None and bias is None:
        bias = torch.zeros_like(weight)
    y = b.emit("layernorm", a.input, weight=weight, bias=bias, dims=dims, eps=float(a.eps))
    return [y, None, None] if key(b.node) == "native_layer_norm" else y


@rule("rms_norm", "_fused_rms_norm")
def rms_norm(b: Builder, a):
    """Over several axes: over one that joins them."""
    dims = within(b, a.input, a.normalized_shape)
    shape = b.shape(a.input)
    if isinstance(a.weight, str):
        b.refuse("its weight is computed from the input; only a constant one")
    flat = (*shape[:len(shape) - dims], math.prod(shape[len(shape) - dims:]))
    x = a.input if flat == shape else b.emit("reshape", a.input, title=b.title("norm") + ".flat", shape=flat)
    weight = torch.ones(flat[-1]) if a.weight is None else a.weight.flatten()
    eps = torch.finfo(torch.float32).eps if a.eps is None else float(a.eps)
    y = b.emit("rmsnorm", x, weight=weight, eps=eps)
    y = y if flat == shape else b.emit("reshape", y, title=b.title("norm") + ".shape", shape=shape)
    return [y, None] if key(b.node) == "_fused_rms_norm" else y


@rule("group_norm", "native_group_norm")
def group_norm(b: Builder, a):
    y = grouped(b, a.input, getattr(a, "num_groups", getattr(a, "group", None)), a.weight, a.bias, a.eps)
    return [y, None, None] if key(b.node) == "native_group_norm" else y


@rule("instance_norm")
def instance_norm(b: Builder, a):
    if not a.use_input_stats:
        b.refuse("with running statistics; use batch norm, or track_running_stats=False")
    return grouped(b, a.input, b.shape(a.input)[0], a.weight, a.bias, a.eps)


def grouped(b: Builder, x: str, groups: int, weight, bias, eps: float) -> str:
    """Layer norm without weights over the channels of each group and their pixels, then a scale for each channel."""
    shape, title = b.shape(x), b.title("norm")
    y = b.emit("reshape", x, title=f"{title}.groups", shape=(groups, math.prod(shape) // groups))
    y = b.emit("layernorm", y, title=title, dims=1, eps=float(eps))
    y = b.emit("reshape", y, title=f"{title}.shape", shape=shape)
    if weight is None and bias is None:
        return y
    weight = torch.ones(shape[0]) if weight is None else weight
    return b.emit("scale", y, title=f"{title}.scale", weight=weight, bias=torch.zeros(shape[0]) if bias is None else bias, axis=0)


def within(b: Builder, x: str, normalized) -> int:
    """How many last axes; all of them must lie within a sample."""
    if len(normalized) > len(b.shape(x)):
        b.refuse(f"over {tuple(normalized)}, the batch among them; samples must stay apart")
    return len(normalized)
