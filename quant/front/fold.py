"""Simplify the steps of a captured net: fold affines (batch norm) into layers, padding into windows, drop what does nothing.

Each rule looks at a step and the producer of its argument, and gives what should stand in place of both.
"""
import math
from collections import Counter
from dataclasses import replace

import torch

from .gates import gate
from ..net import Step
from .norms import norm

WEIGHTED = ("conv", "linear")


def fold(steps: dict[str, Step], output: str) -> tuple[dict[str, Step], str]:
    """An equivalent, shorter list (equal but for float32 rounding; constants are combined in float64) and its output."""
    steps = live(steps, output)
    while True:
        uses = Counter(a for s in steps.values() for a in s.args)
        for s in steps.values():
            if s.args and (new := simpler(steps, output, s, uses)) is not None:
                steps, output = live(*new), new[1]
                break
        else:
            return steps, output


def simpler(steps: dict[str, Step], output: str, s: Step, uses: Counter):
    """The list with `s` and its producer rewritten by the first rule that applies; None if none does."""
    if len(s.args) > 1:
        new = gate(s, steps) or norm(s, steps) if s.kind == "mul" else None
        return substitute(steps, output, {s.name: new[-1].name}, {s.name: new}) if new else None
    p = steps[s.args[0]]
    if does_nothing(s, p):
        return substitute(steps, output, {s.name: p.name}, {s.name: []})
    if not p.args or p.name == output or uses[p.name] > 1:
        return None
    for rule in (scale_into_layer, layer_after_scale, scales, scale_over_view, scale_into_norm, pad_into_window, views, layer_after_transpose):
        if new := rule(p, s, steps):
            return substitute(steps, output, {s.name: new[-1].name}, {p.name: [], s.name: new})
    return None


def substitute(steps, output, renamed: dict[str, str], new: dict[str, list[Step]]):
    """Put the steps new[name] where `name` stands, and read renamed[name] instead of name."""
    done = {}
    for s in steps.values():
        for t in new.get(s.name, [replace(s, args=tuple(renamed.get(a, a) for a in s.args))]):
            done[t.name] = t
    return done, renamed.get(output, output)


def live(steps: dict[str, Step], output: str) -> dict[str, Step]:
    """What the output needs, and the input."""
    need = {output}
    for s in reversed(steps.values()):
        if s.name in need or s.kind == "input":
            need |= {s.name, *s.args}
    return {n: s for n, s in steps.items() if n in need}


def does_nothing(s: Step, p: Step) -> bool:
    a = s.attrs
    match s.kind:
        case "reshape" | "slice":
            return s.shape == p.shape
        case "transpose":
            return a["perm"] == tuple(range(len(p.shape)))
        case "pad":
            return not any(map(any, a["padding"]))
        case "scale":
            return bool((s.weight == 1).all() and (s.bias == 0).all())
        case "maxpool" | "avgpool":
            return s.shape == p.shape and math.prod(a["kernel"]) == 1
    return False


def scale_into_layer(p: Step, s: Step, _) -> list[Step] | None:
    """scale(layer(x)) = layer'(x); the layer keeps its name (Jacob et al. 2018, section 3.2)."""
    if s.kind != "scale" or p.kind not in WEIGHTED:
        return None
    k = along(s, 0 if p.kind == "conv" else len(p.shape) - 1, p.shape)
    if k is None:
        return None
    w = p.weight.double() * k[0].view(-1, *[1] * (p.weight.dim() - 1))
    return [replace(p, weight=w.float(), bias=(p.bias.double() * k[0] + k[1]).float())]


def layer_after_scale(p: Step, s: Step, _) -> list[Step] | None:
    """layer(scale(x)) = layer'(x), except that a shift does not reach the zeros around a padded convolution."""
    if p.kind != "scale" or s.kind not in WEIGHTED:
        return None
    k = along(p, 0 if s.kind == "conv" else len(p.shape) - 1, p.shape)
    if k is None or (k[1] != 0).any() and s.kind == "conv" and any(map(any, s.attrs["padding"])):
        return None
    groups, w = s.attrs.get("groups", 1), s.weight.double()
    factor, shift = (v.view(groups, 1, -1, *[1] * (w.dim() - 2)) for v in k)  # inputs of each group of outputs
    grouped = w.view(groups, -1, *w.shape[1:])
    bias = s.bias.double() + (grouped * shift).flatten(2).sum(2).flatten()
    return [replace(s, args=p.args, weight=(grouped * factor).view(w.shape).float(), bias=bias.float())]


def scales(p: Step, s: Step, _) -> list[Step] | None:
    if p.kind != "scale" or s.kind != "scale":
        return None
    axis = s.attrs["axis"] if along(p, s.attrs["axis"], s.shape) else p.attrs["axis"]
    k, m = along(p, axis, s.shape), along(s, axis, s.shape)
    if k is None or m is None:
        return None
    return [replace(s, args=p.args, attrs={"axis": axis}, weight=(k[0] * m[0]).float(), bias=(k[1] * m[0] + m[1]).float())]


def scale_over_view(p: Step, s: Step, steps) -> list[Step] | None:
    """scale(view(layer)) = view(scale(layer)), so that the layer can take it."""
    if s.kind != "scale" or p.kind not in ("reshape", "transpose") or steps[p.args[0]].kind not in (*WEIGHTED, "reshape", "transpose"):
        return None
    x, axis = steps[p.args[0]].shape, s.attrs["axis"]
    if p.kind == "transpose":
        before = p.attrs["perm"][axis]
    else:
        spots = [i for i, n in enumerate(x) if n == p.shape[axis] and math.prod(x[:i]) == math.prod(p.shape[:axis])]
        before = spots[0] if spots else 0
        if not spots and along(s, 0, x) is None:
            return None
    k = along(s, before, x) if not (p.kind == "transpose" or spots) else (s.weight.double(), s.bias.double())
    first = replace(s, args=p.args, shape=x, attrs={"axis": before}, weight=k[0].float(), bias=k[1].float())
    return [first, replace(p, args=(first.name,))]


def scale_into_norm(p: Step, s: Step, _) -> list[Step] | None:
    """scale(norm(x)) = norm'(x), for a scale along the axis of the norm's weights."""
    if s.kind != "scale" or p.kind not in ("layernorm", "rmsnorm") or p.attrs.get("dims", 1) != 1:
        return None
    k = along(s, len(p.shape) - 1, p.shape)
    if k is None or p.kind == "rmsnorm" and (k[1] != 0).any():
        return None
    w = torch.ones(p.shape[-1]) if p.weight is None else p.weight
    bias = None if p.kind == "rmsnorm" else ((0 if p.bias is None else p.bias.double() * k[0]) + k[1]).float()
    return [replace(p, weight=(w.double() * k[0]).float(), bias=bias)]


def pad_into_window(p: Step, s: Step, _) -> list[Step] | None:
    """Zeros around a convolution (or an average that counts them), or -inf around a maximum, are its own padding."""
    neutral = -math.inf if s.kind == "maxpool" else 0.0
    if p.kind != "pad" or s.kind not in ("conv", "avgpool", "maxpool") or p.attrs["value"] != neutral or any(p.attrs["padding"][0]):
        return None
    pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(p.attrs["padding"][1:], s.attrs["padding"]))
    if s.kind != "conv" and any(max(q) >= k for q, k in zip(pads, s.attrs["kernel"])):
        return None  # a window of padding alone
    return [replace(s, args=p.args, attrs=s.attrs | {"padding": pads})]


def views(p: Step, s: Step, _) -> list[Step] | None:
    """Two views after one another are one."""
    if p.kind != s.kind or s.kind not in ("reshape", "transpose", "slice"):
        return None
    if s.kind == "reshape":
        return [replace(s, args=p.args)]
    if s.kind == "transpose":
        return [replace(s, args=p.args, attrs={"perm": tuple(p.attrs["perm"][i] for i in s.attrs["perm"])})]
    a, b = p.attrs, s.attrs
    start = tuple(i + j * n for i, j, n in zip(a["start"], b["start"], a["step"]))
    step = tuple(m * n for m, n in zip(a["step"], b["step"]))
    stop = tuple(i + (n - 1) * m + 1 for i, n, m in zip(start, s.shape, step))
    return [replace(s, args=p.args, attrs={"start": start, "stop": stop, "step": step})]


def layer_after_transpose(p: Step, s: Step, steps) -> list[Step] | None:
    """linear(flatten(transpose(x))) = linear'(flatten(x)) with its columns in the order of x."""
    t = steps.get(p.args[0])
    if s.kind != "linear" or p.kind != "reshape" or len(p.shape) != 1 or t.kind != "transpose":
        return None
    x = steps[t.args[0]].shape
    order = torch.arange(math.prod(x)).view(x).permute(t.attrs["perm"]).flatten()  # column -> where it is read in x
    w = torch.empty_like(s.weight)
    w[:, order] = s.weight
    return [replace(p, args=t.args), replace(s, weight=w)]


def along(s: Step, axis: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(factor, shift) of a scale for each index of `axis` of `shape`, in float64; None if it varies along another axis."""
    w, b = s.weight.double(), s.bias.double()
    if s.attrs["axis"] == axis and len(w) == shape[axis]:
        return w, b
    if (w == w[0]).all() and (b == b[0]).all():
        return w[:1].expand(shape[axis]), b[:1].expand(shape[axis])
    return None
