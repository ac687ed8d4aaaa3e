"""How good a set of outputs is, and whether two backends agree."""
from dataclasses import dataclass

import numpy as np

from ir import UserError


@dataclass(frozen=True)
class Score:
    """Accuracy in percent where there are labels, else the signal-to-noise ratio against the float model in dB."""
    value: float
    unit: str

    def __str__(self) -> str: return f"{self.value:.2f} {self.unit}"


def score(outputs: np.ndarray, labels: np.ndarray | None, reference: np.ndarray) -> Score:
    """Score of outputs (N, K) or (N, ...): top-1 with labels (N,), SQNR in dB against `reference` without."""
    if labels is not None and outputs.ndim == 2 and np.issubdtype(labels.dtype, np.integer) and labels.ndim == 1:
        if labels.max() >= outputs.shape[1] or labels.min() < 0:
            raise UserError(f"labels lie in [{labels.min()}, {labels.max()}], but the model has {outputs.shape[1]} outputs")
        return Score(100 * float((outputs.argmax(1) == labels).mean()), "%")
    signal, noise = float((reference.astype(np.float64) ** 2).mean()), float(((outputs - reference).astype(np.float64) ** 2).mean())
    return Score(10 * np.log10(signal / noise) if noise else float("inf"), "dB")


def mismatches(got: np.ndarray, expected: np.ndarray) -> int:
    """Number of values that differ; shapes must be equal."""
    if got.shape != expected.shape:
        raise ValueError(f"outputs of shape {got.shape} compared with {expected.shape}")
    return int((got.astype(np.int64) != expected.astype(np.int64)).sum())
