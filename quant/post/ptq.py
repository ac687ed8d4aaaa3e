"""Quantization after training: ranges from a calibration, weights to their grids, biases put right."""
import torch

from ir import Plan, UserError
from .blocks import blocks, float_values
from ..emit import Forward, Value
from .gptq import DAMP, REFIT_RIDGE, gptq, refit, second_moment, spread
from ..model import QuantNet
from ..net import Net
from ..observers import Calibration
from .ranges import fit_ranges
from .reconstruct import Fitted, Seen, Settings, fit, importance
from .rounding import codes_of, grid_scale
from ..sites.site_layers import Layer
from ..vectors import centred, columns, inputs, thinness

ACT_RANGES = ("observer", "output")
ROUNDINGS = ("nearest", "gptq", "adaround", "brecq", "qdrop")
PRESETS = {"adaround": Settings(), "brecq": Settings(), "qdrop": Settings(drop_prob=0.5, act_iterations=100)}


def quantize(net: Net, plan: Plan, calibration: Calibration, rounding: str = "nearest", bias_correction: bool | str = True,
             weight_range: str = "mse", settings: Settings | None = None, act_range: str = "observer") -> QuantNet:
    """The net in the formats of the plan.

    rounding: "nearest"; "gptq" (error-compensating, with quantized inputs; quant/post/gptq.py); learned choices (quant/post/reconstruct.py):
    "adaround" layer by layer, "brecq" block by block, "qdrop" also with activations left unrounded by chance and
    their scales learned; `settings` says how.  bias_correction: each layer's bias takes up the mean error of its outputs on
    calibration images, layer after layer (True or "empirical"; Nagel et al. 2019, arXiv 1906.04721, section 4.2), or what the
    rounding of its weights does to the mean of its float inputs ("analytic"); where rounding is learned, biases are learned with it
    and nothing corrects them afterwards: errors that cancel within a block would return.  weight_range: "mse" or "minmax".
    act_range: ranges of activations as the calibration's "observer" chose them, or scaled by what is best for the "output" of the
    layers that read them (quant/post/ranges.py).
    UserError: a plan that does not fit, an unknown word.
    """
    if rounding not in ROUNDINGS:
        raise UserError(f"unknown rounding {rounding!r} (known: {', '.join(ROUNDINGS)})")
    if bias_correction not in (True, False, "empirical", "analytic"):
        raise UserError(f"unknown bias correction {bias_correction!r} (known: empirical, analytic, or none with False)")
    if act_range not in ACT_RANGES:
        raise UserError(f"unknown range of activations {act_range!r} (known: {', '.join(ACT_RANGES)})")
    q = QuantNet(net, plan, calibration, weight_range)
    if act_range == "output":
        fit_ranges(q, calibration)
    if rounding in PRESETS:
        reconstruct(q, calibration, joined=rounding != "adaround", settings=settings or PRESETS[rounding])
        return q
    if rounding == "gptq" or bias_correction in (True, "empirical"):
        mend(q, calibration, rounding, bias_correction in (True, "empirical"))
    if bias_correction == "analytic":
        correct_biases(q, calibration)
    return q


@torch.no_grad()
def reconstruct(q: QuantNet, calibration: Calibration, joined: bool = True, settings: Settings | None = None) -> dict[str, Fitted]:
    """Fit the net's blocks (joined=False: its layers) one after the other, each with the integers that those before it give;
    returns what became of each block with weights, by the name of its last site.
    """
    settings = settings or Settings()
    x = calibration.x[:settings.images]
    e, env, real, found = Forward(), {q.input_name: Value(q.encode(x), q.input_type)}, {q.input_name: x}, {}
    starts = {b.sites[0].name: b for b in blocks(q, joined)}
    place = {site.name: i for i, site in enumerate(q.sites)}
    last = {a: place[n] for n in q.args for a in q.args[n] if n in place} | {q.output_name: len(place)}
    for site in q.steps(e, env):
        if block := starts.get(site.name):
            real = float_values(q, block.sites, real)
            if any(isinstance(s, Layer) for s in block.sites):
                seen = Seen({a: q.codings[a].decode(env[a].data) for a in block.inputs}, {a: real[a] for a in block.inputs}, real[block.output])
                seen.importance = importance(q, block, real, settings.seed) if settings.fisher else None
                with torch.enable_grad():
                    found[block.output] = fit(q, block, seen, settings)
            real = {a: v for a, v in real.items() if last.get(a, -1) > place[block.output]}
    return found


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
                compensate(site, x, next(real), bias_correction)
            if bias_correction:
                correct_bias(site, e, x, calibration.stats[site.name].mean)


@torch.no_grad()
def correct_biases(q: QuantNet, calibration: Calibration) -> None:
    """Each bias takes up what the rounding of its layer's weights does to the mean of the float net's inputs (Nagel et al. 2019,
    section 4.2, the analytic form; we differ: the means are those of calibration images, not of batch norms).
    """
    for site, x in zip(q.layers.values(), inputs(q.net, calibration.x[:calibration.mend])):
        step = q.net.steps[site.name]
        mean = columns(step.weight, site.attrs if site.axis == 0 else None, x).mean(-1)
        error = (codes_of(site) * grid_scale(site)).float() - step.weight
        site.bias -= (error.reshape(len(mean), -1, mean.shape[1]) * mean[:, None]).sum(-1).flatten()


def correct_bias(site: Layer, e: Forward, x: Value, wanted: torch.Tensor) -> None:
    """Move the bias by the difference of the mean outputs (O,), wanted and had."""
    acc, (ratio, *_) = site.accumulator(e, x)
    axis = 1 if site.axis == 0 else acc.data.dim() - 1
    had = acc.data.double().mean([d for d in range(acc.data.dim()) if d != axis]) * ratio * site.out.scale
    site.bias += (wanted - had).float()


def compensate(site: Layer, x: Value, real: torch.Tensor, apart: bool = True) -> None:
    """Weights to the codes that GPTQ finds for the layer's integer input, fitted to what the float net's input gave; group by
    group.  apart: with the means taken off, as the bias will take care of them.
    """
    rows = site.weight.reshape(len(site.weight), -1)
    scale = site.steps(site.realised(site.operand)[0])
    attrs = site.attrs if site.axis == 0 else None
    pairs = x.data - site.coding.zero, real / site.coding.encoding.scale
    had, wanted = ((centred if apart else torch.clone)(columns(site.weight, attrs, v)) for v in pairs)
    per = len(rows) // len(had)
    codes = []
    for i, (h, w) in enumerate(zip(had, wanted)):
        at = slice(i * per, (i + 1) * per)
        thin = thinness(h)
        codes.append(gptq(refit(rows[at], h, w, REFIT_RIDGE * thin), scale[at], site.fmt, spread(second_moment(h), DAMP * thin)))
    site.weight.copy_((torch.cat(codes) * scale).reshape(site.weight.shape))
