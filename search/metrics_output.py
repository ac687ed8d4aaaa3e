"""Metrics of the model's output with one layer quantized, beside `kl` and `output_mse`."""
import numpy as np

from ir import UserError

from .metrics import classes, log_softmax, pair, relative, metric
from .probe import Probe


@metric("task", "nats")
def task(probe: Probe, layer: str, option: str) -> float:
    """Increase of the mean cross entropy of the true classes with this layer quantized; a decrease counts as 0.

    On few samples a rounded layer often fits them better by chance, a third of the cells of ResNet-20 at 4 to 8 bits; a plan paid
    for such gains does not keep them elsewhere.  There random plans rank the same with the gains as without (Spearman correlation
    with the loss on unseen images .70 and .71; benchmarks/pairs.py).  `kl` is what `task` would be if the float model's own
    probabilities were right, without the noise of labels.
    """
    exact, rounded = pair(probe.reference(), probe.outputs({layer: option}), layer)
    classes("task", exact)
    y = _labels(probe, len(exact), exact.shape[1])
    increase = cross_entropy(rounded, y) - cross_entropy(exact, y)
    return 0.0 if increase < 0 else increase  # and not max(), which would turn nan into 0


@metric("task_abs", "nats")
def task_abs(probe: Probe, layer: str, option: str) -> float:
    """Mean change, up or down, of each sample's cross entropy with this layer quantized.

    Ours: gains by chance count as what they are, a disturbed model; where `task` sees a gain it sees no damage at all, and a plan may
    take the narrowest format there (on the DS-CNN of benchmarks/metrics.py it did, and lost half of the accuracy).
    """
    exact, rounded = pair(probe.reference(), probe.outputs({layer: option}), layer)
    classes("task_abs", exact)
    y = _labels(probe, len(exact), exact.shape[1])
    return float(np.mean(np.abs(losses(rounded, y) - losses(exact, y))))


@metric("output_sqnr", "noise power / signal power")
def output_sqnr(probe: Probe, layer: str, option: str) -> float:
    """Noise-to-signal power ratio of the model's output, 10**(-SQNR / 10) for an SQNR in dB."""
    exact, rounded = pair(probe.reference(), probe.outputs({layer: option}), layer)
    return relative(np.sum((rounded - exact) ** 2), np.sum(exact ** 2))


@metric("top1_flips", "share of samples")
def top1_flips(probe: Probe, layer: str, option: str) -> float:
    """Share of the samples whose best class changes when this layer alone is quantized; coarse where samples are few."""
    exact, rounded = pair(probe.reference(), probe.outputs({layer: option}), layer)
    classes("top1_flips", exact)
    if not np.isfinite(rounded).all():
        return float("nan")  # the caller names the cell
    return float(np.mean(exact.argmax(1) != rounded.argmax(1)))


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over samples of -log softmax(scores)[label], in nats."""
    return float(np.mean(losses(scores, labels)))


def losses(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log softmax(scores)[label] of each sample, in nats."""
    return -log_softmax(scores)[np.arange(len(labels)), labels]


def _labels(probe: Probe, samples: int, count: int) -> np.ndarray:
    y = probe.labels()
    if y is None:
        raise UserError("metric 'task' needs the true class of each calibration sample; give labels with the data (y, or calib_y beside "
                        "calib_x), or use 'kl'")
    if y.shape != (samples,) or not 0 <= y.min() <= y.max() < count:
        raise UserError(f"metric 'task': labels of shape {y.shape} from {y.min()} to {y.max()} do not fit {samples} samples of {count} classes")
    return y
