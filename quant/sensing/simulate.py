"""Fast what-if: the float net with only some layers quantized, rerun only where that changes anything."""
from collections.abc import Mapping

import numpy as np
import torch

from ir import Option, UserError
from ir import store
from .curvature import Fisher, checked_labels, fisher_diagonals
from ..sites.groups import group_scales
from ..post.gptq import DAMP, Spread, gptq, second_moment, spread
from ..layout import check_option
from .lrp import layer_scores
from ..net import Net, Step, compute, walk
from ..observers import Calibration, checked, weight_scale
from ..post.ptq import ROUNDINGS
from ..sites.site_tokens import nearest_tokens
from .sketch import rows, samples_that_fit
from ..vectors import centred, columns, inputs, thinness

IMAGES = 128  # probe images, if none are given
CURVED = 64   # of them at most, that curvature is taken on: it keeps a number for each of a layer's inputs
SKETCHED = 128  # of them at most, that the sketch of the curvature is made for


class Simulation:
    """A net with probe images: what a layer does when its weights and its input are rounded, everything else in float.

    This is an estimate of the quantized net (real scales, no dyadic multipliers, layers independent of each other), made for
    sensitivity metrics; the integers are those of QuantNet.  rounding: as in `quantize`; "gptq" on the float net's inputs, which
    also stands in for learned rounding.
    Biases take up the mean error, as `quantize` has it.  Both are fitted to the images `fit` (by default calibration images);
    where they are the probe images x too, what they were fitted to looks better than it is.
    labels: the class (N,) of each of the probe images x, which the metric `task` asks for.
    """

    def __init__(self, net: Net, calibration: Calibration, x: torch.Tensor | None = None, rounding: str = "nearest",
                 fit: torch.Tensor | None = None, labels=None):
        if rounding not in ROUNDINGS:
            raise UserError(f"unknown rounding {rounding!r} (known: {', '.join(ROUNDINGS)})")
        self.net, self.calibration, self.rounding = net, calibration, rounding
        self.x = checked(net, calibration.x[:IMAGES] if x is None else x)
        self.layers, self.model = tuple(net.layers), net.hash
        self.output_shape = tuple(net.steps[net.output].shape)
        fit = checked(net, calibration.x[:IMAGES] if fit is None else fit)
        self._labels = None if labels is None else checked_labels(net, torch.as_tensor(labels), len(self.x))
        images = [v.numpy().tobytes() for v in (self.x, fit, calibration.x, *([] if labels is None else [self._labels]))]
        self.key = store.digest(net.hash, calibration.observer, rounding, *images)
        with torch.no_grad():
            self._float = net(self.x, keep=True)
            self._fits = {s.name: _fit(s, v, rounding) for s, v in zip(net.layers.values(), inputs(net, fit))}
        self._rounded_layers: dict[tuple[str, str], Step] = {}
        self._users = net.users()
        self._fisher: dict[str, Fisher] | None = None
        self._relevance: dict[str, dict[str, float]] = {}
        self._rows: dict[str, torch.Tensor] | None = None
        self._seen: tuple = (None, None)  # (layer, format of its input), the rounded input

    @torch.no_grad()
    def reference(self, x: torch.Tensor | None = None) -> np.ndarray:
        """Float outputs (N, K), on the probe images or on others."""
        y = self._float[self.net.output] if x is None else self.net(checked(self.net, x))
        return y.reshape(len(y), -1).numpy()

    @torch.no_grad()
    def outputs(self, options: Mapping[str, Option | str], x: torch.Tensor | None = None) -> np.ndarray:
        """Outputs (N, K) with only the named layers quantized, {layer: option}, on the probe images or on others."""
        options = {k: self._option(k, v) for k, v in options.items()}
        if x is not None:
            return self._others(options, checked(self.net, x))
        fresh: dict[str, torch.Tensor] = {}
        stale = self._downstream(options)
        last = {a: s.name for s in self.net.steps.values() if s.name in stale for a in s.args}
        for name in (n for n in self.net.steps if n in stale):  # topological order
            step = self.net.steps[name]
            xs = [fresh.get(a, self._float[a]) for a in step.args]
            fresh[name] = self._rounded(step, options[name], xs[0]) if name in options else compute(step, *xs)
            for a in step.args:
                if last[a] == name and a != self.net.output:
                    fresh.pop(a, None)
        y = fresh.get(self.net.output, self._float[self.net.output])
        return y.reshape(len(y), -1).numpy()

    @torch.no_grad()
    def local(self, layer: str, option: Option | str) -> tuple[np.ndarray, np.ndarray]:
        """Output of one layer in float, and with its weights and its input rounded (the input itself is the float one)."""
        o, step = self._option(layer, option), self.net.steps[layer]
        return self._float[layer].numpy(), self._rounded(step, o, self._float[step.args[0]]).numpy()

    def _others(self, options: Mapping[str, Option], x: torch.Tensor) -> np.ndarray:
        """Outputs on other images: the whole net runs, a value is forgotten after its last use."""
        def of(s: Step, *xs: torch.Tensor) -> torch.Tensor:
            return self._rounded(s, options[s.name], xs[0]) if s.name in options else compute(s, *xs)
        y = next(y for s, _, y in walk(self.net, x, of) if s.name == self.net.output)
        return y.reshape(len(x), -1).numpy()

    def labels(self) -> np.ndarray | None:
        """The class (N,) of each probe image, None where they are not known."""
        return None if self._labels is None else self._labels.numpy()

    @torch.no_grad()
    def tensors(self, layer: str, option: Option | str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """((weights, rounded), (input (N, ...), rounded)) of one layer; the input is the float one."""
        o, step = self._option(layer, option), self.net.steps[layer]
        x = self._float[step.args[0]]
        return (step.weight.numpy(), self._rounded_layer(step, o).weight.numpy()), (x.numpy(), self._rounded_input(step, o, x).numpy())

    def trace(self, layer: str) -> tuple[float, float]:
        """Hessian trace of the loss (quant.sensing.curvature, soft targets) in a layer's weights, and in its input as the mean over samples.

        From the Gauss-Newton matrix, which is the Hessian at the float net's own outputs: exact for up to 32 outputs, >= 0.  One
        pass over the first CURVED probe images serves all layers.  We differ from HAWQ's sampling (`hessian_traces`), whose noise
        takes hundreds of passes to settle.
        """
        t = self._diagonals(layer).traces
        return t.weights, t.input

    def fisher(self, layer: str, option: Option | str) -> float:
        """1/2 sum of F_ii delta_i**2 over a layer's weights and (mean over samples) its input; F: diagonal of the Fisher information.

        Samples: the first CURVED probe images.
        """
        f, ((w, wq), (x, xq)) = self._diagonals(layer), self.tensors(layer, option)
        x, xq = x[:len(f.input)], xq[:len(f.input)]
        return 0.5 * float((f.weights.numpy() * np.square(wq - w, dtype=np.float64)).sum()
                           + (f.input.numpy() * np.square(xq - x, dtype=np.float64)).sum() / len(x))

    @torch.no_grad()
    def expected_loss(self, layer: str, option: Option | str) -> float:
        """Increase of the loss, to second order, that the change of the layer's output makes: see quant.sensing.sketch; >= 0.

        Samples: the first probe images, SKETCHED of them or as many as memory holds.  One backward pass for each row of the sketch
        serves all layers and options; a cell then takes one run of the layer alone.
        """
        o, step = self._option(layer, option), self.net.steps[layer]
        if self._rows is None:
            with torch.enable_grad():
                self._rows = rows(self.net, self.x[:samples_that_fit(self.net, min(SKETCHED, len(self.x)))])
        g = self._rows[layer]
        key = layer, o.acts, o.dynamic
        if self._seen[0] != key:  # options that differ in their weights share it
            self._seen = key, self._rounded_input(step, o, self._float[step.args[0]][:len(g)])
        change = compute(self._rounded_layer(step, o), self._seen[1]) - self._float[layer][:len(g)]
        return 0.5 * float((g @ change.flatten(1).unsqueeze(2)).double().square().mean())

    def relevance(self, rule: str = "attnlrp") -> dict[str, float]:
        """Share of each layer in the relevance of the class that the float net finds best, see quant.sensing.lrp.layer_scores; made once a rule."""
        if rule not in self._relevance:
            self._relevance[rule] = layer_scores(self.net, self.x, rule)
        return self._relevance[rule]

    def _diagonals(self, layer: str) -> Fisher:
        if layer not in self.layers:
            raise UserError(f"the model has no layer {layer!r} (it has {', '.join(self.layers)})")
        if self._fisher is None:
            self._fisher = fisher_diagonals(self.net, self.x[:CURVED])
        return self._fisher[layer]

    def _option(self, layer: str, option: Option | str) -> Option:
        if layer not in self.layers:
            raise UserError(f"the model has no layer {layer!r} (it has {', '.join(self.layers)})")
        o = option if isinstance(option, Option) else Option.parse(option)
        check_option(layer, o)
        return o

    def _rounded(self, step: Step, o: Option, x: torch.Tensor) -> torch.Tensor:
        return compute(self._rounded_layer(step, o), self._rounded_input(step, o, x))

    def _rounded_layer(self, step: Step, o: Option) -> Step:
        """The step with rounded weights, made once."""
        if o.weights == "-":
            return step
        key = step.name, f"{o.weights}{o.granularity}"
        if key not in self._rounded_layers:
            self._rounded_layers[key] = self._round(step, o)
        return self._rounded_layers[key]

    def _rounded_input(self, step: Step, o: Option, x: torch.Tensor) -> torch.Tensor:
        """The input of a step on the grid of the option, as reals."""
        if o.acts == "-":
            return x
        fmt = o.act_format
        if o.dynamic:
            return nearest_tokens(x, fmt)
        e = self.calibration.encoding(step.args[0], fmt)
        return ((x / e.scale).round().add_(e.zero).clip_(fmt.lo, fmt.hi).sub_(e.zero)).mul_(e.scale)

    def _round(self, step: Step, o: Option) -> Step:
        """The step with its weights on the option's grid and the mean error that this makes taken up by its bias."""
        mean, spreads = self._fits[step.name]
        rounded = round_weights(step.weight, o, spreads)
        error = (step.weight - rounded).reshape(len(mean), -1, mean.shape[1])          # (groups, rows, I)
        shift = (error @ mean).reshape(-1)
        bias = shift if step.bias is None else step.bias + shift
        return Step(step.name, step.kind, step.args, step.shape, step.attrs, rounded, bias)

    def _downstream(self, layers) -> set[str]:
        todo, seen = list(layers), set(layers)
        while todo:
            for u in self._users[todo.pop()]:
                if u not in seen:
                    seen.add(u)
                    todo.append(u)
        return seen


Spreads = list[Spread]  # one for each group


def _fit(step: Step, x: torch.Tensor, rounding: str) -> tuple[torch.Tensor, Spreads | None]:
    """Of the vectors that a layer multiplies: their mean (groups, I, 1), and what GPTQ has to know of them."""
    vectors = columns(step.weight, step.attrs if step.kind == "conv" else None, x)
    spreads = [spread(second_moment(centred(v)), DAMP * thinness(v)) for v in vectors] if rounding != "nearest" else None
    return vectors.mean(-1, keepdim=True), spreads


def round_weights(w: torch.Tensor, o: Option, spreads: Spreads | None = None) -> torch.Tensor:
    """Weights on the grid of the option, as reals: each at its nearest point, or by GPTQ for vectors with these spreads, one a group."""
    fmt, rows = o.weight_format, w.detach().reshape(len(w), -1)
    if o.group:
        channel, factors = group_scales(w, fmt, "mse", o.group)
        scale = channel[:, None] * factors.reshape(len(w), -1)
    else:
        scale = weight_scale(w, fmt, "mse", o.granularity != "t").expand(len(w))[:, None]
    if spreads is None:
        return (fmt.nearest((rows / scale).float(), torch) * scale).float().reshape(w.shape)
    parts = zip(rows.chunk(len(spreads)), scale.chunk(len(spreads)), spreads)
    return torch.cat([gptq(r, s, fmt, how) * s for r, s, how in parts]).float().reshape(w.shape)
