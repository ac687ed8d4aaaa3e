"""A captured float net in torch as it would be run on a CPU: float32 in both layouts, and int8 by its own quantization."""
import warnings
from collections.abc import Callable

import torch
from torch import fx, nn
from torch.ao.quantization import default_dynamic_qconfig, get_default_qconfig_mapping, quantize_dynamic
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.nn import functional as F

from quant import Net, Step
from quant.net import compute


class AsCaptured(nn.Module):
    """A step computed as the captured net does; one without arguments reads the net's input for its batch."""

    def __init__(self, step: Step):
        super().__init__()
        self.step = step

    def forward(self, *xs): return compute(self.step, *xs) if self.step.args else self.step.weight[None].expand(xs[0].shape[0], *self.step.shape)


@torch.no_grad()
def module(net: Net) -> fx.GraphModule:
    """The net with torch's own layers, so that its tools know them."""
    g, parts, env = fx.Graph(), nn.Module(), {}
    for i, s in enumerate(net.steps.values()):
        xs = [env[a] for a in s.args]
        if s.kind == "input":
            env[s.name] = g.placeholder("x")
            continue
        name = f"m{i}"
        if s.kind == "conv":
            same = all(a == b for a, b in s.attrs["padding"])
            env[s.name] = g.call_module(name, tuple(xs if same else [g.call_function(F.pad, (xs[0], _sides(s)))]))
            parts.add_module(name, _conv(s, same))
        elif s.kind == "linear":
            parts.add_module(name, _linear(s))
            env[s.name] = g.call_module(name, tuple(xs))
        elif s.kind == "reshape":
            env[s.name] = g.call_function(torch.reshape, (xs[0], (-1, *s.shape)))
        elif s.kind == "relu" or s.kind == "clip" and s.attrs["lo"] == 0:
            parts.add_module(name, nn.ReLU() if s.kind == "relu" else nn.ReLU6())
            env[s.name] = g.call_module(name, tuple(xs))
        elif s.kind == "avgpool" and s.attrs["kernel"] == net.steps[s.args[0]].shape[1:] and len(s.attrs["kernel"]) == 2:
            parts.add_module(name, nn.AdaptiveAvgPool2d(1))
            env[s.name] = g.call_module(name, tuple(xs))
        elif s.kind == "add":
            env[s.name] = g.call_function(torch.add, tuple(xs))
        else:
            parts.add_module(name, AsCaptured(s))
            env[s.name] = g.call_module(name, tuple(xs or [env[net.input.name]]))
    g.output(env[net.output])
    return fx.GraphModule(parts, g).eval()


def _sides(s: Step) -> list[int]: return [v for p in reversed(s.attrs["padding"]) for v in p]


def _conv(s: Step, padded: bool) -> nn.Module:
    o, i, *kernel = s.weight.shape
    padding = tuple(a for a, _ in s.attrs["padding"]) if padded else 0
    m = (nn.Conv1d if len(kernel) == 1 else nn.Conv2d)(i * s.attrs["groups"], o, tuple(kernel), tuple(s.attrs["stride"]), padding,
                                                      tuple(s.attrs["dilation"]), s.attrs["groups"])
    return _filled(m, s)


def _linear(s: Step) -> nn.Module: return _filled(nn.Linear(s.weight.shape[1], s.weight.shape[0]), s)


def _filled(m: nn.Module, s: Step) -> nn.Module:
    m.weight.copy_(s.weight)
    m.bias.zero_() if s.bias is None else m.bias.copy_(s.bias)
    return m


@torch.no_grad()
def ways(net: Net, x: torch.Tensor, calibration: torch.Tensor) -> dict[str, Callable[[], object]]:
    """name -> a call that computes the net on x; call it without gradients.

    int8 is static; where attention stands, it is that of the linear layers only, dynamic.
    """
    plain = module(net)
    images = x.dim() == 4
    found = {"torch fp32 eager": lambda: plain(x), "torch fp32 traced": _traced(module(net), x)}
    if images:
        last = module(net).to(memory_format=torch.channels_last)
        at_last = x.contiguous(memory_format=torch.channels_last)
        found["torch fp32 channels_last"] = _traced(last, at_last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all of torch.ao.quantization tells that it will move
        if any(s.kind == "softmax" for s in net.steps.values()):
            found["torch int8 dynamic"] = _traced(quantize_dynamic(module(net), {nn.Linear: default_dynamic_qconfig}), x)
        else:
            found["torch int8 static"] = _traced(static(net, calibration), at_last if images else x)
    return found


@torch.no_grad()
def static(net: Net, calibration: torch.Tensor) -> nn.Module:
    """FX quantization with the x86 engine, weights by channel; observers see the calibration data."""
    torch.backends.quantized.engine = "x86"
    ready = prepare_fx(module(net), get_default_qconfig_mapping("x86"), calibration[:1])
    for part in calibration.split(8):
        ready(part)
    return _padding_codes(convert_fx(ready))


def _padding_codes(m: fx.GraphModule) -> fx.GraphModule:
    """Pads that stand between a dequantizer and a quantizer pad the codes instead."""
    for pad in [n for n in m.graph.nodes if n.op == "call_function" and n.target is F.pad]:
        before, (after,) = pad.args[0], pad.users
        if before.op == "call_method" and before.target == "dequantize" and after.target is torch.quantize_per_tensor:
            with m.graph.inserting_before(pad):
                after.replace_all_uses_with(m.graph.call_function(F.pad, (before.args[0], pad.args[1])))
            for dead in (after, pad, *([before] if len(before.users) == 1 else [])):
                m.graph.erase_node(dead)
    m.recompile()
    return m


def _traced(m: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    """Without Python between the operators, constants frozen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = torch.jit.freeze(torch.jit.trace(m.eval(), x, check_trace=False))
    for _ in range(3):
        f(x)  # the first calls specialise
    return lambda: f(x)
