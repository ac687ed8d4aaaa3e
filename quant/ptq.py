"""Quantization after training: ranges from a calibration, weights to their grids, biases put right."""
import torch

from ir import Plan, UserError
from .emit import Forward, Value
from .model import QuantNet
from .net import Net
from .observers import Calibration

ROUNDINGS = ("nearest", "gptq")


def quantize(net: Net, plan: Plan, calibration: Calibration, rounding: str = "nearest", bias_correction: bool = True,
             weight_range: str = "mse", samples: int = 256) -> QuantNet:
    """The net in the formats of the plan; no gradient is taken.

    rounding: "nearest", or "gptq" (error-compensating, quant/gptq.py).  bias_correction: each layer's bias takes up the mean
    error of its outputs on the first `samples` calibration images, layer after layer with quantized inputs (Nagel et al.
    2019, section 4.2, the empirical form).  weight_range: "mse" or "minmax".
    UserError: a plan that does not fit, an unknown word.
    """
    if rounding not in ROUNDINGS:
        raise UserError(f"unknown rounding {rounding!r} (known: {', '.join(ROUNDINGS)})")
    q = QuantNet(net, plan, calibration, weight_range)
    if rounding != "nearest" or bias_correction:
        refine(q, calibration, rounding, bias_correction, samples)
    return q


@torch.no_grad()
def refine(q: QuantNet, calibration: Calibration, rounding: str, bias_correction: bool, samples: int) -> None:
    """One pass over the sites with integers of the calibration images; each layer is mended before it is passed."""
    e = Forward()
    x = calibration.x[:samples]
    env = {q.input_name: Value(q.encode(x), q._input_type())}
    for site in q.steps(e, env):
        if site.name in q.layers:
            x = site.read(e, env[q.args[site.name][0]])
            if bias_correction:
                correct_bias(site, e, x, calibration.stats[site.name].mean)


def correct_bias(site, e: Forward, x: Value, wanted: torch.Tensor) -> None:
    """Move the bias by the difference of the mean outputs (O,), wanted and had."""
    acc, scale = site.accumulator(e, x)
    rest = [d for d in range(acc.data.dim()) if d != (1 if site.axis == 0 else acc.data.dim() - 1)]
    had = acc.data.double().mean(rest) * scale
    site.bias += (wanted - had).float()
