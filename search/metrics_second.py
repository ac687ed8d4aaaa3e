"""Second-order metrics: the bend of the loss times the square of what rounding does to a layer."""
import numpy as np

from ir import UserError

from .metrics import metric
from .probe import Probe


@metric("hessian", "loss (nats for class scores)")
def hessian(probe: Probe, layer: str, option: str) -> float:
    """1/2 (Tr(H_w) / n_w * |Q(w) - w|**2 + Tr(H_x) / n_x * |Q(x) - x|**2), the second mean over samples: the loss that is expected.

    HAWQ-V2 (Dong et al. 2020: traces of weights and of activations).  A negative trace counts as 0.  We differ: both sides in one number, and the
    half, with which it is the increase of the loss where errors point in no special direction.
    """
    (w, wq), (x, xq) = probe.tensors(layer, option)
    bend_w, bend_x = _traces(probe, layer)
    return 0.5 * (bend_w / w.size * _energy(w, wq) + bend_x / x[0].size * _energy(x, xq) / len(x))


@metric("hawq", "loss (nats for class scores)")
def hawq(probe: Probe, layer: str, option: str) -> float:
    """Tr(H_w) / n_w * |Q(w) - w|**2: weights only (HAWQ-V3, Yao et al. 2021, section 3.4).  A negative trace counts as 0."""
    (w, wq), _ = probe.tensors(layer, option)
    return _traces(probe, layer)[0] / w.size * _energy(w, wq)


@metric("fisher", "loss (nats for class scores)")
def fisher(probe: Probe, layer: str, option: str) -> float:
    """1/2 sum of F_ii delta_i**2 over weights and, mean over samples, inputs; F_ii: diagonal of the Fisher information.

    Each value has a bend of its own, where `hessian` has one for the layer; what errors do together is left out in both.
    """
    return probe.fisher(layer, option)


@metric("gauss_newton", "loss (nats for class scores)")
def gauss_newton(probe: Probe, layer: str, option: str) -> float:
    """1/2 dy' G dy for the change dy of the layer's output, G the Gauss-Newton matrix of the loss in it, mean over samples.

    What `kl` is to second order, with all that errors of one layer do together, for one run of the layer alone.  Ours: G is met in a few
    random directions of the model's output (quant.sensing.sketch), where HAWQ and `fisher` keep a trace or a diagonal.
    """
    return probe.expected_loss(layer, option)


def _traces(probe: Probe, layer: str) -> tuple[float, float]:
    traces = probe.trace(layer)
    if not np.isfinite(traces).all():
        raise UserError(f"layer {layer!r}: the Hessian traces of weights and input are {traces[0]} and {traces[1]}; "
                        "mend the model or the data, or use a metric without derivatives")
    return max(traces[0], 0.0), max(traces[1], 0.0)


def _energy(exact: np.ndarray, rounded: np.ndarray) -> float:
    """Sum of squared differences."""
    return float(np.sum(np.square(rounded - exact, dtype=np.float64)))
