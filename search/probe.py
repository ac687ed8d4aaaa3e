"""What a metric may ask of a model.  The model itself lives on the other side: search never sees torch."""
from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Probe(Protocol):
    """A model with probe samples: it runs with any of its layers quantized; labels are only for those who ask."""
    layers: tuple[str, ...]  # what can be quantized, in the order of the data flow
    key: str                 # hash of model, samples and calibration settings: equal keys mean equal answers
    model: str               # hash of the float model, which tables and plans are tied to
    output_shape: tuple[int, ...] | None  # of one output before it is flattened to K; None: not known

    def reference(self) -> np.ndarray:
        """Float outputs on the probe samples, (N, K)."""

    def outputs(self, options: Mapping[str, str]) -> np.ndarray:
        """Outputs (N, K) with only the named layers quantized, {layer: option text}."""

    def local(self, layer: str, option: str) -> tuple[np.ndarray, np.ndarray]:
        """Output of one layer in float, and with its weights and its input quantized; equal shapes, (N, ...)."""

    def tensors(self, layer: str, option: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """((weights, weights rounded), (input (N, ...), input rounded)) of one layer, the input as in float."""

    def trace(self, layer: str) -> tuple[float, float]:
        """Hessian traces of the loss in a layer's weights and, mean over samples, in its input."""

    def fisher(self, layer: str, option: str) -> float:
        """1/2 sum of F_ii delta_i**2 over weights and, mean over samples, input of a layer; F: diagonal of the Fisher information."""

    def expected_loss(self, layer: str, option: str) -> float:
        """Increase of the loss, to second order, by the change of a layer's output that an option makes."""

    def relevance(self, rule: str) -> Mapping[str, float]:
        """Each layer's share in all relevance that arrives at the inputs of layers: >= 0, of sum 1."""

    def labels(self) -> np.ndarray | None:
        """The class (N,) of each probe sample, None where they are not known."""


class Remembering:
    """A probe that keeps its reference and the last answer of each kind, so that metrics of one cell share one run."""

    def __init__(self, probe: Probe):
        self.probe, self.layers, self.key = probe, tuple(probe.layers), probe.key
        self.model = getattr(probe, "model", "")
        self.output_shape = getattr(probe, "output_shape", None)
        self._reference: np.ndarray | None = None
        self._outputs: tuple = (None, None)
        self._local: tuple = (None, None)

    def reference(self) -> np.ndarray:
        if self._reference is None:
            self._reference = np.asarray(self.probe.reference(), np.float64)
        return self._reference

    def outputs(self, options: Mapping[str, str]) -> np.ndarray:
        asked = tuple(sorted(options.items()))
        if self._outputs[0] != asked:
            self._outputs = asked, np.asarray(self.probe.outputs(options), np.float64)
        return self._outputs[1]

    def local(self, layer: str, option: str) -> tuple[np.ndarray, np.ndarray]:
        if self._local[0] != (layer, option):
            exact, rounded = self.probe.local(layer, option)
            self._local = (layer, option), (np.asarray(exact, np.float64), np.asarray(rounded, np.float64))
        return self._local[1]

    def tensors(self, layer: str, option: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        return self.probe.tensors(layer, option)

    def trace(self, layer: str) -> tuple[float, float]: return self.probe.trace(layer)

    def fisher(self, layer: str, option: str) -> float: return self.probe.fisher(layer, option)

    def expected_loss(self, layer: str, option: str) -> float: return self.probe.expected_loss(layer, option)

    def relevance(self, rule: str) -> Mapping[str, float]: return self.probe.relevance(rule)

    def labels(self) -> np.ndarray | None: return self.probe.labels()
