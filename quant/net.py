"""The captured float network: a list of steps with batch norm already folded.  It runs in torch.

Whatever the model came from (torch module, torch.export file, ONNX), it ends here; everything in `quant` starts here.
"""
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from ir import Layer, UserError
from ir.store import canonical, digest

SPIKES = 4  # steps of a neuron that counts its spikes

FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # elementwise; each becomes a table of an 8-bit value
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "silu": F.silu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "elu": F.elu, "softplus": F.softplus, "exp": torch.exp,
    "abs": torch.abs, "mish": F.mish, "selu": F.selu, "erf": torch.erf, "sin": torch.sin, "cos": torch.cos,
    "log_sigmoid": F.logsigmoid, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt,
    "ie_lif": lambda x: (SPIKES * x).clip(0, SPIKES).add(0.5).floor() / SPIKES,
}
ROOTS = ("sqrt", "rsqrt")  # but these have an exact integer form


@dataclass
class Step:
    """One float operation.  `attrs` and `weight`/`bias` by kind (shapes are without the batch axis):

    input                                        attrs: none
    conv      weight (O, C/groups, *k), bias (O,) stride, padding ((before, after), ..), dilation, groups; 1d or 2d
    linear    weight (O, I), bias (O,)           over the last axis
    relu                                          none
    clip                                          lo, hi (floats; None = no bound); ReLU6 is lo=0, hi=6
    function                                      fn: a name in FUNCTIONS, or "leaky_relu" with slope
    add, mul                                      two args of equal shape
    scale     weight (C,), bias (C,)              per-channel affine that had no layer to fold into; axis
    matmul                                        two args, (..., M, K) @ (..., K, N)
    maxpool   avgpool                             kernel, stride, padding ((before, after), ..)  (avgpool counts the padding)
    concat                                        axis
    reshape                                       shape
    transpose                                     perm
    slice                                         start, stop, step (one of each per axis)
    pad                                           padding ((before, after), ..) per axis, value
    embedding weight (V, D)                       of an integer input
    softmax   weight (*shape): 1 hides, or None   axis, factor: of axis(x * factor) (1 if it is not there); see quant/scores.py
    layernorm weight, bias (of the last axes)     dims (how many last axes), eps
    rmsnorm   weight (of the last axis)           eps
    constant  weight (*shape)                     no argument: the same value for each sample
    """
    name: str
    kind: str
    args: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: dict = field(default_factory=dict)
    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample (0 for what has no weights)."""
        if self.kind == "conv":
            return math.prod(self.shape) * self.weight[0].numel()
        return math.prod(self.shape) * self.weight.shape[1] if self.kind == "linear" else 0


@dataclass
class Net:
    """Steps by name in topological order; the last is the output unless `output` names another."""
    steps: dict[str, Step]
    output: str
    hash: str = ""  # of structure and weights: what tables and plans are tied to
    notes: tuple[str, ...] = ()  # what the user should know of the capture, each one line

    @property
    def input(self) -> Step: return next(s for s in self.steps.values() if s.kind == "input")

    @property
    def layers(self) -> dict[str, Step]:
        """The steps that a plan decides on: those with weights to multiply by."""
        return {n: s for n, s in self.steps.items() if s.kind in ("conv", "linear")}

    def users(self) -> dict[str, list[str]]:
        """name -> names of the steps that read it."""
        out: dict[str, list[str]] = {n: [] for n in self.steps}
        for s in self.steps.values():
            for a in dict.fromkeys(s.args):
                out[a].append(s.name)
        return out

    def __call__(self, x: torch.Tensor, keep: bool = False):
        """(N, *input.shape) float32 -> (N, *output.shape); keep=True gives {step: value}."""
        if tuple(x.shape[1:]) != self.input.shape:
            raise UserError(f"the model takes (N, {', '.join(map(str, self.input.shape))}), not {tuple(x.shape)}")
        env: dict[str, torch.Tensor] = {}
        for s in self.steps.values():
            env[s.name] = x if s.kind == "input" else compute(s, *[env[a] for a in s.args]) if s.args else constant(s, len(x))
        return env if keep else env[self.output]


def compute(s: Step, *xs: torch.Tensor) -> torch.Tensor:
    """One step on float tensors with the batch axis first."""
    a, x = s.attrs, xs[0]
    match s.kind:
        case "conv":
            conv = F.conv1d if s.weight.dim() == 3 else F.conv2d
            return conv(pad(x, a["padding"], 0.0), s.weight, s.bias, a["stride"], 0, a["dilation"], a["groups"])
        case "linear":
            return F.linear(x, s.weight, s.bias)
        case "relu":
            return x.relu()
        case "clip":
            return x.clip(a["lo"], a["hi"])
        case "function":
            return F.leaky_relu(x, a["slope"]) if a["fn"] == "leaky_relu" else FUNCTIONS[a["fn"]](x)
        case "add":
            return x + xs[1]
        case "mul":
            return x * xs[1]
        case "scale":
            shape = [1] * x.dim()
            shape[a["axis"] + 1] = -1
            return x * s.weight.view(shape) + s.bias.view(shape)
        case "matmul":
            return x @ xs[1]
        case "maxpool":
            pool = F.max_pool1d if len(a["kernel"]) == 1 else F.max_pool2d
            return pool(pad(x, a["padding"], -math.inf), a["kernel"], a["stride"])
        case "avgpool":
            pool = F.avg_pool1d if len(a["kernel"]) == 1 else F.avg_pool2d
            return pool(pad(x, a["padding"], 0.0), a["kernel"], a["stride"])
        case "concat":
            return torch.cat(xs, a["axis"] + 1)
        case "reshape":
            return x.reshape(-1, *a["shape"])
        case "transpose":
            return x.permute(0, *(p + 1 for p in a["perm"]))
        case "slice":
            return x[(slice(None), *map(slice, a["start"], a["stop"], a["step"]))]
        case "pad":
            return F.pad(x, [v for p in reversed(a["padding"]) for v in p], value=a["value"])
        case "embedding":
            return F.embedding(x.long(), s.weight)
        case "softmax":
            scores = x * a.get("factor", 1.0)
            return (scores if s.weight is None else scores.masked_fill(s.weight > 0, -math.inf)).softmax(a["axis"] + 1)
        case "layernorm":
            return F.layer_norm(x, x.shape[x.dim() - a["dims"]:], s.weight, s.bias, a["eps"])
        case "rmsnorm":
            return F.rms_norm(x, x.shape[-1:], s.weight, a["eps"])
    raise UserError(f"step {s.name!r}: unknown kind {s.kind!r}")


def walk(net: Net, x: torch.Tensor, of: Callable = compute) -> Iterator[tuple[Step, list[torch.Tensor], torch.Tensor]]:
    """Each step in order with what it reads and what it gives, of(step, *arguments), for samples x; values are let go after their
    last reader.
    """
    last = {a: s.name for s in net.steps.values() for a in s.args}
    env: dict[str, torch.Tensor] = {}
    for s in net.steps.values():
        xs = [env[a] for a in s.args]
        env[s.name] = x if s.kind == "input" else of(s, *xs) if xs else constant(s, len(x))
        yield s, xs, env[s.name]
        for a in s.args:
            if last[a] == s.name:
                env.pop(a, None)


def constant(s: Step, samples: int) -> torch.Tensor:
    """What a step without arguments is for each of so many samples."""
    return s.weight.expand(samples, *s.shape)


def pad(x: torch.Tensor, padding, value: float) -> torch.Tensor:
    """x with `value` around its last axes: (before, after) of each, as many as `padding` has."""
    return F.pad(x, [v for p in reversed(padding) for v in p], value=value) if any(map(any, padding)) else x


def fingerprint(steps: dict[str, Step], output: str) -> str:
    """Hash of names, structure, weights and output: the identity that tables and plans are tied to."""
    parts: list[str | bytes] = [output]
    for s in steps.values():
        parts.append(canonical([s.name, s.kind, s.args, s.shape, s.attrs]))
        parts += [b"" if t is None else t.numpy().tobytes() for t in (s.weight, s.bias)]
    return digest(*parts)


def geometry(net: Net) -> dict[str, Layer]:
    """What cost models may know of each layer that a plan decides on; a linear layer over tokens has them as its space."""
    out = {}
    for n, s in net.layers.items():
        x = net.steps[s.args[0]].shape
        if s.kind == "conv":
            out[n] = Layer(n, "conv", s.shape[0], x[0], s.attrs["groups"], tuple(s.weight.shape[2:]), tuple(s.attrs["stride"]),
                           tuple(x[1:]), tuple(s.shape[1:]))
        else:
            out[n] = Layer(n, "linear", *s.weight.shape, in_space=tuple(x[:-1]), out_space=tuple(s.shape[:-1]))
    return out
