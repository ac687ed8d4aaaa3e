"""Quantization after training: ranges from a calibration, weights to their grids, biases put right."""
from collections.abc import Iterator

import torch

from ir import Plan, UserError
from .emit import Forward, Value
from .gptq import DAMP, REFIT_RIDGE, gptq, refit, second_moment, spread
from .model import QuantNet
from .net import Net, compute, constant
from .observers import Calibration
from .site_layers import Layer
from .vectors import centred, columns, thinness

ROUNDINGS = ("nearest", "gptq")


def quantize(net: Net, plan: Plan, calibration: Calibration, rounding: str = "nearest", bias_correction: bool = True,
             weight_range: str = "mse") -> QuantNet:
    """The net in the formats of the plan; no gradient is taken.

    rounding: "nearest", or "gptq" (error-compensating, with quantized inputs; quant/gptq.py).  bias_correction: each layer's
    bias takes up the mean error of its outputs on calibration images, layer after layer (Nagel et al. 2019, arXiv
    1906.04721, section 4.2, the empirical form).  weight_range: "mse" or "minmax".
    UserError: a plan that does not fit, an unknown word.
    """
    if rounding not in ROUNDINGS:
        raise UserError(f"unknown rounding {rounding!r} (known: {', '.join(ROUNDINGS)})")
    q = QuantNet(net, plan, calibration, weight_range)
    if rounding != "nearest" or bias_correction:
        mend(q, calibration, rounding, bias_correction)
    return q


@torch.no_grad()
def mend(q: QuantNet, calibration: Calibration, rounding: str, bias_correction: bool) -> None:
    """One pass over the sites with the integers of calibration images; each layer is mended before it is passed."""
    e, x = Forward(), calibration.x[:calibration.mend]
    env = {q.input_name: Value(q.encode(x), q.input_type)}
    real = inputs(q.net, x) if rounding == "gptq" else None
    for site in q.steps(e, env):
        if isinstance(site, Layer):
            x = site.read(e, env[q.args[site.name][0]])
            if rounding == "gptq":
                compensate(site, x, next(real))
            if bias_correction:
                correct_bias(site, e, x, calibration.stats[site.name].mean)


def inputs(net: Net, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """What each layer of the float net reads, layer after layer; values are let go after their last reader."""
    last = {a: s.name for s in net.steps.values() for a in s.args}
    env = {net.input.name: x}
    for s in net.steps.values():
        if s.name in net.layers:
            yield env[s.args[0]]
        if s.kind != "input":
            env[s.name] = compute(s, *[env[a] for a in s.args]) if s.args else constant(s, len(x))
        for a in s.args:
            if last[a] == s.name:
                env.pop(a, None)


def correct_bias(site: Layer, e: Forward, x: Value, wanted: torch.Tensor) -> None:
    """Move the bias by the difference of the mean outputs (O,), wanted and had."""
    acc, (ratio, *_) = site.accumulator(e, x)
    axis = 1 if site.axis == 0 else acc.data.dim() - 1
    had = acc.data.double().mean([d for d in range(acc.data.dim()) if d != axis]) * ratio * site.out.scale
    site.bias += (wanted - had).float()


def compensate(site: Layer, x: Value, real: torch.Tensor) -> None:
    """Weights to the codes that GPTQ finds for the layer's integer input, fitted to what the float net's input gave; group by
    group.  With the means taken off: the bias takes care of them.
    """
    rows = site.weight.reshape(len(site.weight), -1)
    scale = site.realised(site.coding)[0].expand(len(rows))[:, None]
    attrs = site.attrs if site.axis == 0 else None
    had, wanted = (centred(columns(site.weight, attrs, v)) for v in (x.data - site.coding.zero, real / site.coding.encoding.scale))
    per = len(rows) // len(had)
    codes = []
    for i, (h, w) in enumerate(zip(had, wanted)):
        at = slice(i * per, (i + 1) * per)
        thin = thinness(h)
        codes.append(gptq(refit(rows[at], h, w, REFIT_RIDGE * thin), scale[at], site.fmt, spread(second_moment(h), DAMP * thin)))
    site.weight.copy_((torch.cat(codes) * scale).reshape(site.weight.shape))
