"""Sensitivity metrics: how much it hurts to quantize one layer and nothing else.

Every metric is >= 0, zero for an exact option, and meant to be added up over layers.
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ir import Registry, UserError

from .probe import Probe

METRICS: Registry = Registry("sensitivity metric")


@dataclass(frozen=True)
class Metric:
    """metric(probe, layer, option text) -> damage in `unit`."""
    name: str
    unit: str
    of: Callable[[Probe, str, str], float]

    def __post_init__(self): object.__setattr__(self, "__doc__", self.of.__doc__)

    def __call__(self, probe: Probe, layer: str, option: str) -> float: return self.of(probe, layer, option)


def metric(name: str, unit: str):
    """Decorator that enters a function (probe, layer, option text) -> float among the METRICS."""
    def add(of):
        METRICS.register(name)(Metric(name, unit, of))
        return of
    return add


@metric("mse", "squared units of the layer's output")
def mse(probe: Probe, layer: str, option: str) -> float:
    """Mean squared error of the layer's own output, its weights and its input quantized."""
    exact, rounded = pair(*probe.local(layer, option), layer)
    return float(np.mean((rounded - exact) ** 2))


@metric("sqnr", "noise power / signal power")
def sqnr(probe: Probe, layer: str, option: str) -> float:
    """Noise-to-signal power ratio of the layer's own output, 10**(-SQNR / 10) for an SQNR in dB.

    The ratio and not its logarithm, as independent noise powers add up and decibels do not.
    """
    exact, rounded = pair(*probe.local(layer, option), layer)
    return relative(np.sum((rounded - exact) ** 2), np.sum(exact ** 2))


@metric("kl", "nats")
def kl(probe: Probe, layer: str, option: str) -> float:
    """KL(p || q) of the class probabilities in float (p) and with this layer quantized (q), mean over samples."""
    exact, rounded = pair(probe.reference(), probe.outputs({layer: option}), layer)
    classes("kl", exact)
    p, q = log_softmax(exact), log_softmax(rounded)
    # with r = log q - log p, sum p (e**r - 1 - r) equals sum p (-r) and keeps its digits when p and q are close
    return float(np.mean(np.sum(np.exp(p) * (np.expm1(q - p) - (q - p)), axis=1)))


@metric("output_mse", "variances of the model's output")
def output_mse(probe: Probe, layer: str, option: str) -> float:
    """Mean squared error of the model's output with this layer quantized, over the variance of the float output."""
    exact, rounded = pair(probe.reference(), probe.outputs({layer: option}), layer)
    return relative(np.mean((rounded - exact) ** 2), np.var(exact))


def pair(exact, rounded, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64.  UserError: the float model itself gives values that are not finite."""
    exact, rounded = np.asarray(exact, np.float64), np.asarray(rounded, np.float64)
    if exact.shape != rounded.shape:
        raise ValueError(f"layer {layer!r}: the probe answered {rounded.shape}, but {exact.shape} in float")
    if not np.isfinite(exact).all():
        raise UserError(f"layer {layer!r}: the float model gives infinite or undefined values on the probe samples; "
                        "mend the model or the data")
    return exact, rounded


def classes(metric: str, scores: np.ndarray) -> None:
    """UserError: the model's outputs are no scores (N, K) of classes."""
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise UserError(f"metric {metric!r} needs scores of two or more classes, the model's output is {scores.shape[1:]} a sample; "
                        "use 'mse' or 'output_mse'")


def relative(noise: float, signal: float) -> float:
    """noise / signal; a signal of nothing counts as the smallest there is, so that exact stays zero."""
    return float(noise / max(signal, np.finfo(np.float64).tiny)) if noise else 0.0


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Of scores (N, K), in nats."""
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))
