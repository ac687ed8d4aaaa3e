"""Structural similarity against its formula and known values, and the metrics of what a model draws."""
import itertools
import math

import numpy as np
import pytest

from ir import UserError
from search import METRICS
from search.metrics_image import ssim


def says(text, *call):
    with pytest.raises(UserError) as e:
        call[0](*call[1:])
    assert str(e.value) == text


def test_ssim_by_the_formula():
    """Window by window, with numpy's own covariance."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(9, 11))
    b = a + 0.4 * rng.normal(size=a.shape)
    span, values = 3.0, []
    for i, j in itertools.product(range(3), range(5)):
        p, q = a[i:i + 7, j:j + 7].ravel(), b[i:i + 7, j:j + 7].ravel()
        c, c1, c2 = np.cov(p, q), (0.01 * span) ** 2, (0.03 * span) ** 2
        values.append((2 * p.mean() * q.mean() + c1) * (2 * c[0, 1] + c2)
                      / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (c[0, 0] + c[1, 1] + c2)))
    assert ssim(a, b, span) == pytest.approx(np.mean(values), rel=1e-10)


@pytest.mark.parametrize("window", [3, 7, "gaussian"])
def test_ssim_known_values(window):
    a = np.random.default_rng(1).uniform(0, 255, (2, 3, 16, 16))
    assert np.all(ssim(a, a, window=window) == 1) and ssim(a, a, window=window).shape == (2, 3)
    assert ssim(a, 255 - a, 255, window).max() < 0                                    # structure turned round
    flat = np.full((12, 12), 100.0)                                                  # no structure: luminance alone
    c1 = 2.55 ** 2
    assert ssim(flat, 1.2 * flat, 255, window) == pytest.approx((2 * 12000 + c1) / (100 ** 2 + 120 ** 2 + c1), abs=1e-6)
    assert ssim(a, a + 5, 255, window).min() > ssim(a, a + 50, 255, window).max()


def test_ssim_of_flat_images():
    flat = np.zeros((8, 8))
    assert ssim(flat, flat) == 1 and ssim(flat + 1, flat + 1) == 1
    assert ssim(flat, flat + 1) < 1e-3


@pytest.mark.parametrize("b, window, text", [
    ((8, 9), 7, "structural similarity is of two images (..., H, W), not of (8, 8) and (8, 9)"),
    ((8, 8), 9, "images of 8x8 are smaller than the window of 9; take a smaller window"),
    ((8, 8), 4, "window 4 of structural similarity: give an odd number of at least 3, or 'gaussian'"),
])
def test_ssim_refused(b, window, text): says(text, ssim, np.zeros((8, 8)), np.zeros(b), 1.0, window)


class Painter:
    """A probe of two layers that draws images; the noise that a layer adds falls with its bits."""
    layers, key, model = ("a", "b"), "painter", "painter"
    output_shape = (1, 8, 8)
    y = np.random.default_rng(0).normal(size=(4, 64))
    noise = {k: np.random.default_rng(i).normal(size=(4, 64)) for i, k in enumerate(layers, 1)}

    def reference(self): return self.y

    def outputs(self, options):
        return self.y + sum((self.noise[k] * 2.0 ** -int(o.split("/")[0].removeprefix("int")) for k, o in options.items()), np.zeros(1))


def test_metrics_of_images():
    options = ("int2/int8", "int4/int8", "int8/int8")
    for name in ("ssim", "output_sqnr_db"):
        values = [METRICS[name](Painter(), "a", o) for o in options]
        assert values == sorted(values, reverse=True) and len(set(values)) == 3
    noise = Painter.noise["a"] / 16
    assert METRICS["output_sqnr_db"](Painter(), "a", "int4/int8") == pytest.approx(-10 * math.log10((Painter.y ** 2).sum() / (noise ** 2).sum()))
    drawn, like = Painter.y.reshape(4, 8, 8), (Painter.y + noise).reshape(4, 8, 8)
    assert METRICS["ssim"](Painter(), "a", "int4/int8") == pytest.approx(1 - ssim(drawn, like).mean())


def test_metrics_of_images_where_nothing_changes():
    class Exact(Painter):
        def outputs(self, options): return self.y
    assert METRICS["ssim"](Exact(), "a", "int4/int8") == 0 and METRICS["output_sqnr_db"](Exact(), "a", "int4/int8") == -200


def test_ssim_of_what_is_no_image():
    class Scores(Painter):
        output_shape = (64,)
    says("metric 'ssim' needs a model that draws images (C, H, W), at least 3x3; its output is (64,) a sample; use 'output_mse' or, "
         "for scores of classes, 'kl'", METRICS["ssim"], Scores(), "a", "int4/int8")
