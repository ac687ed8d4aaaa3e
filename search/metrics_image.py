"""Damage to what a model draws: structural similarity, and signal to noise in decibels."""
import numpy as np

from ir import UserError

from .metrics import pair, metric
from .probe import Probe

WINDOW, SIGMA, K1, K2 = 7, 1.5, 0.01, 0.03
MOST_DB = 200.0  # an exact output counts as this: float32 is noisier


def ssim(a: np.ndarray, b: np.ndarray, span: float | None = None, window: int | str = WINDOW) -> np.ndarray:
    """Structural similarity of images (..., H, W), one number for each of them, (...): 1 where equal, at least -1.

    Wang et al., Image quality assessment, 2004, equation 13 with K1 = 0.01, K2 = 0.03, averaged over all places where the whole
    window lies inside the image.  span: how far apart two values can be (the L of the paper; None: as far as those of `a` are, 1 if all are equal).
    window: side of a square that weights all its pixels equally, with sample (co)variances; or "gaussian": the paper's 11 x 11
    of standard deviation 1.5.  UserError: images of other shapes than each other's, or smaller than the window.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim < 2:
        raise UserError(f"structural similarity is of two images (..., H, W), not of {a.shape} and {b.shape}")
    weights = _weights(window)
    if min(a.shape[-2:]) < len(weights):
        raise UserError(f"images of {a.shape[-2]}x{a.shape[-1]} are smaller than the window of {len(weights)}; take a smaller window")
    span = (float(np.ptp(a)) or 1.0) if span is None else span
    sample = 1.0 if window == "gaussian" else len(weights) ** 2 / (len(weights) ** 2 - 1)
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2

    def mean(x): return _slide(_slide(x, weights, -1), weights, -2)

    ma, mb = mean(a), mean(b)
    va, vb, cov = (sample * (mean(p * q) - mp * mq) for p, q, mp, mq in ((a, a, ma, ma), (b, b, mb, mb), (a, b, ma, mb)))
    above, below = (2 * ma * mb + c1) * (2 * cov + c2), (ma ** 2 + mb ** 2 + c1) * (va + vb + c2)
    return (above / below).mean((-2, -1))


@metric("ssim", "1 - structural similarity")
def image_dissimilarity(probe: Probe, layer: str, option: str) -> float:
    """1 - SSIM of the model's output image with this layer quantized against the float one, mean over samples and channels.

    The window is 7 x 7, or the largest odd square that the image holds; the span is that of the float output.  It measures what
    is drawn rather than how exactly, which is why MixDQ (section 4.2) judges layers of content by it.  We differ: MixDQ's
    window of 511 is nearly the whole of its image.  UserError: an output that is no image (H, W) or (C, H, W) of 3 or more pixels a side.
    """
    exact, rounded = pair(probe.reference(), probe.outputs({layer: option}), layer)
    shape = tuple(getattr(probe, "output_shape", None) or exact.shape[1:])
    if len(shape) not in (2, 3) or min(shape[-2:]) < 3:
        raise UserError(f"metric 'ssim' needs a model that draws images (C, H, W), at least 3x3; its output is {shape} a sample; "
                        "use 'output_mse' or, for scores of classes, 'kl'")
    side = min(WINDOW, (min(shape[-2:]) - 1) // 2 * 2 + 1)
    like = ssim(exact.reshape(-1, *shape), rounded.reshape(-1, *shape), window=side)
    return max(0.0, float(np.mean(1 - like)))


@metric("output_sqnr_db", "-dB of the model's output")
def output_sqnr_db(probe: Probe, layer: str, option: str) -> float:
    """-10 log10(sum y^2 / sum (y - yq)^2) of the model's output y with this layer quantized: the sum of decibels that MixDQ maximises.

    Not >= 0, as other damages are: a signal stronger than its noise has decibels above 0, and less of it is more damage.  An
    exact output would have infinitely many and counts as 200 dB.  Zero is no bound of it, so it has no share of a total,
    and decibels of layers do not add up to those of the model; 'output_sqnr', the ratio itself, does.
    """
    exact, rounded = pair(probe.reference(), probe.outputs({layer: option}), layer)
    signal, noise = float(np.sum(exact ** 2)), float(np.sum((rounded - exact) ** 2))
    if noise <= signal * 10 ** (-MOST_DB / 10):
        return -MOST_DB
    return float(10 * np.log10(noise / max(signal, np.finfo(np.float64).tiny)))


def _weights(window: int | str) -> np.ndarray:
    """Weights of one axis, their sum 1."""
    if window == "gaussian":
        w = np.exp(-np.arange(-5, 6) ** 2 / (2 * SIGMA ** 2))
        return w / w.sum()
    if not isinstance(window, int) or window < 3 or window % 2 == 0:
        raise UserError(f"window {window!r} of structural similarity: give an odd number of at least 3, or 'gaussian'")
    return np.full(window, 1 / window)


def _slide(x: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Weighted means along an axis, where the whole window lies inside."""
    return np.lib.stride_tricks.sliding_window_view(x, len(weights), axis) @ weights
