"""Norms spelled out by hand: x * rsqrt(mean(x * x) + eps) is RMSNorm, and of x - mean(x) it is LayerNorm.

Exporters and users spell them in a handful of ways; the steps that capture makes of these are recognised by their structure.
"""
from dataclasses import replace

import torch

from ..net import Step


def norm(s: Step, steps: dict[str, Step]) -> list[Step] | None:
    """The norm over the last axis that the product `s` is, without weights; None if it is none."""
    for x, factor in (s.args, s.args[::-1]):
        root = alone(steps, factor)
        if root is None or root.kind != "function" or root.attrs["fn"] != "rsqrt" or not s.shape:
            continue
        shift = steps[root.args[0]]
        if shift.kind != "scale" or not bool((shift.weight == 1).all() and (shift.bias == shift.bias[0]).all() and shift.bias[0] > 0):
            continue
        square = averaged(steps, shift.args[0], s.shape)
        if square is None or square.kind != "mul" or square.args != (x, x):
            continue
        eps = float(shift.bias[0])
        if source := centred(steps, x):
            return [replace(s, kind="layernorm", args=(source,), attrs={"dims": 1, "eps": eps})]
        return [replace(s, kind="rmsnorm", args=(x,), attrs={"eps": eps}, weight=torch.ones(s.shape[-1]))]
    return None


def centred(steps: dict[str, Step], x: str) -> str | None:
    """What `x` is without its mean over the last axis; None if it is not that."""
    if steps[x].kind != "add":
        return None
    for source, mean in (steps[x].args, steps[x].args[::-1]):
        minus = alone(steps, mean)
        if minus is None or minus.kind != "scale" or not bool((minus.weight == -1).all() and (minus.bias == 0).all()):
            continue
        if (of := averaged(steps, minus.args[0], steps[x].shape)) and of.name == source:
            return source
    return None


def averaged(steps: dict[str, Step], name: str, shape: tuple[int, ...]) -> Step | None:
    """The step of this shape whose mean over its last axis `name` is; None if it is no such mean."""
    pool = skip(steps, name)
    if pool.kind != "avgpool" or steps[pool.args[0]].shape[1:] != tuple(pool.attrs["kernel"]) or pool.attrs["kernel"] != shape[-1:]:
        return None
    source = skip(steps, pool.args[0])
    return source if source.shape == shape else None


def skip(steps: dict[str, Step], name: str) -> Step:
    """The step that `name` is a mere reshape of."""
    s = steps[name]
    while s.kind == "reshape":
        s = steps[s.args[0]]
    return s


def alone(steps: dict[str, Step], name: str) -> Step | None:
    """The step that `name` repeats along the last axis."""
    s = steps[name]
    if s.kind != "concat" or len(set(s.args)) > 1 or s.attrs["axis"] != len(s.shape) - 1 or steps[s.args[0]].shape[-1] != 1:
        return None
    return skip(steps, s.args[0])
