"""Weights that many plans share: each step trains them under another plan.  What a one-shot search steps through."""
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ir import NumberFormat, Option, UserError
from .curvature import checked_labels
from ..train.distill import relative_error
from ..encode import encoding_of
from ..fake import to_codes
from ..net import Net, Step, compute, fingerprint, walk
from ..observers import Calibration, checked, weight_scale

RANGES = ("dynamic", "calibrated")
RANGE_STEPS = 10  # scales tried for each channel in each step of training


class OneShot:
    """A net in training whose layers are rounded as each call says: called with {layer: option}, it takes one step of Adam on the
    next batch and returns the loss before the step.

    x (N, *input.shape), y: labels (N,) for cross-entropy; None: the outputs of the float net are learned.  Weights are symmetric
    about 0, with a scale for each channel (for the tensor with a `t` option): of the least squared error, or up to the largest
    weight ("minmax").  FLIQS (arXiv 2308.03290) takes the latter; we differ, as two bits then lose a trained net at the start.
    Activations cover what a batch holds ("dynamic") or what the calibration's observer chose ("calibrated").
    Gradients pass as if nothing were rounded, and stop where a value is clipped.  Any format will do on either side, small floats
    too, and one side may be left in float; the quantizer is stricter.  `seed` governs the order of the samples.
    UserError: labels that do not fit, an unknown range, a layer the net does not have, weights in an unsigned format, a loss
    that is no number.
    """

    def __init__(self, net: Net, calibration: Calibration, x, y=None, lr: float = 1e-4, batch: int = 32, seed: int = 0, acts: str = "dynamic",
                 weight_range: str = "mse"):
        if acts not in RANGES:
            raise UserError(f"unknown range of activations {acts!r} (known: {', '.join(RANGES)})")
        self.net, self.calibration, self.acts, self.batch, self.weight_range = net, calibration, acts, batch, weight_range
        self.x, self._rng = checked(net, x), np.random.default_rng(seed)
        self.y = None if y is None else checked_labels(net, torch.as_tensor(y), len(self.x))
        self.weights = {n: nn.Parameter(s.weight.detach().clone()) for n, s in net.layers.items()}
        self.biases = {n: nn.Parameter(s.bias.detach().clone()) for n, s in net.layers.items() if s.bias is not None}
        self.optimizer = torch.optim.Adam([*self.weights.values(), *self.biases.values()], lr=lr)
        self._order: list[torch.Tensor] = []
        self.steps = 0

    def __call__(self, options: Mapping[str, Option | str]) -> float:
        """One step of training under a plan."""
        at = self._next()
        out = self.run(self.x[at], options)
        loss = F.cross_entropy(out.flatten(1), self.y[at]) if self.y is not None else relative_error(out, self._wanted(at))
        if not torch.isfinite(loss):
            raise UserError(f"the shared weights diverged in step {self.steps + 1} (loss {float(loss.detach())}); lower the learning rate "
                            f"(now {self.optimizer.param_groups[0]['lr']:g})")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return float(loss.detach())

    def run(self, x: torch.Tensor, options: Mapping[str, Option | str]) -> torch.Tensor:
        """Outputs (N, *output.shape) of the shared weights with the named layers rounded, with gradients."""
        options = {k: self._option(k, o) for k, o in options.items()}

        def of(s: Step, *xs: torch.Tensor) -> torch.Tensor:
            return self._layer(s, xs[0], options.get(s.name)) if s.name in self.weights else compute(s, *xs)
        return next(y for s, _, y in walk(self.net, x, of) if s.name == self.net.output)

    def adapted(self) -> Net:
        """The net with the weights as they are now, to be calibrated and quantized; its hash is its own."""
        steps = {n: replace(s, **self._state(n)) if n in self.weights else s for n, s in self.net.steps.items()}
        return replace(self.net, steps=steps, hash=fingerprint(steps, self.net.output))

    @torch.no_grad()
    def _wanted(self, at: torch.Tensor) -> torch.Tensor: return self.net(self.x[at])

    def _state(self, layer: str) -> dict[str, torch.Tensor]:
        named = {"weight": self.weights[layer]} | ({"bias": self.biases[layer]} if layer in self.biases else {})
        return {k: v.detach().clone() for k, v in named.items()}

    def _next(self) -> torch.Tensor:
        if not self._order:
            self._order = list(torch.from_numpy(self._rng.permutation(len(self.x))).split(self.batch))
        return self._order.pop()

    def _option(self, layer: str, option: Option | str) -> Option:
        if layer not in self.weights:
            raise UserError(f"the model has no layer {layer!r} (it has {', '.join(self.weights)})")
        o = option if isinstance(option, Option) else Option.parse(option)
        if o.weights != "-" and not o.weight_format.signed:
            raise UserError(f"layer {layer!r}: weights are symmetric about 0 and cannot be {o.weights}; choose a signed format")
        if o.granularity.startswith("g"):
            raise UserError(f"layer {layer!r}: {o} asks for a scale for each {o.granularity[1:]} inputs; the one-shot search has one for "
                            "each channel or for the tensor (t)")
        return o

    def _layer(self, s: Step, x: torch.Tensor, o: Option | None) -> torch.Tensor:
        w, b = self.weights[s.name], self.biases.get(s.name)
        if o is not None:
            w = w if o.weights == "-" else self._rounded_weights(w, o.weight_format, o.granularity != "t")
            x = x if o.acts == "-" else self._rounded(s.args[0], x, o.act_format)
        return compute(Step(s.name, s.kind, s.args, s.shape, s.attrs, w, b), x)

    def _rounded_weights(self, w: torch.Tensor, fmt: NumberFormat, per_channel: bool) -> torch.Tensor:
        scale = weight_scale(w, fmt, self.weight_range, per_channel, RANGE_STEPS).float().view(-1, *[1] * (w.dim() - 1))
        return to_codes(w / scale, fmt) * scale

    def _rounded(self, source: str, x: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
        if self.acts == "calibrated":
            e = self.calibration.encoding(source, fmt)
        else:
            e = encoding_of(float(x.detach().min()), float(x.detach().max()), fmt)
        return (to_codes(x / e.scale + e.zero, fmt) - e.zero) * e.scale
