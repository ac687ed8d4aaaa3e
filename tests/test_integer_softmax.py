"""Softmax in integers: against float64, at its extremes, under masks, uniform and in powers."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from site_cases import coding, extremes, graph, made, reals

from quant import Step
from quant.sites.logsqrt2 import decode, encode
from quant.sites.site_softmax import powers


def softmax(shape, axis: int = -1, factor: float = 1.0, mask: np.ndarray | None = None) -> Step:
    weight = None if mask is None else torch.from_numpy(mask).float()
    return Step("softmax", "softmax", ("x",), shape, {"axis": axis % len(shape), "factor": factor}, weight)


def exact(step: Step, x: np.ndarray) -> np.ndarray:
    """The softmax in float64."""
    x = torch.from_numpy(x) * step.attrs["factor"]
    x = x if step.weight is None else x.masked_fill(step.weight > 0, -torch.inf)
    return x.softmax(step.attrs["axis"] + 1).numpy()


@pytest.mark.parametrize("fmt, scale, zero", [("uint8", 0.1, 140), ("int8", 0.05, 0), ("uint8", 3.0, 0), ("uint8", 1e-6, 9), ("uint4", 0.5, 3),
                                              ("int12", 0.01, 0)])
@pytest.mark.parametrize("keys", [1, 2, 65, 700])
def test_within_a_code_of_float(fmt, scale, zero, keys):
    inside, step = coding(fmt, scale, zero), softmax((3, keys))
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.integers(inside.fmt.lo, inside.fmt.hi + 1, (20, 3, keys)), extremes(inside.fmt.lo, inside.fmt.hi, 3, keys)])
    for out, most in ((coding("uint8", 1 / 255), 0.6), (coding("int16", 1 / 32767), 18)):
        had = reals(made(step, inside, out), step.shape, codes)
        assert np.abs(had - exact(step, inside.encoding.decode(codes))).max() <= most * out.encoding.scale
        assert had.min() >= 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis(axis):
    inside, out, step = coding("uint8", 0.05, 100), coding("uint8", 1 / 255), softmax((3, 4, 5), axis, 0.3)
    codes = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 5))
    assert np.abs(reals(made(step, inside, out), step.shape, codes) - exact(step, inside.encoding.decode(codes))).max() <= 0.6 / 255


@given(st.integers(1, 40), st.floats(1e-8, 100), st.floats(1e-3, 10), st.integers(0, 2 ** 32))
@settings(max_examples=25, deadline=None)
def test_a_mask_hides_to_the_last_bit(keys, scale, factor, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((2, 3, keys)) < rng.random()
    mask[..., rng.integers(keys)] = False
    inside, out, step = coding("uint8", scale, 77), coding("uint8", 1 / 255), softmax((2, 3, keys), -1, factor, mask)
    codes = np.concatenate([rng.integers(0, 256, (4, 2, 3, keys)), extremes(0, 255, 2, 3, keys)])
    site = made(step, inside, out)
    had = reals(site, step.shape, codes)
    assert (had[:, mask] == 0).all() and np.abs(had - exact(step, inside.encoding.decode(codes))).max() <= 0.6 / 255
    codes[:, mask] = rng.integers(0, 256, codes[:, mask].shape)
    assert (reals(site, step.shape, codes) == had).all()


def test_a_causal_mask_is_kept_once_for_all_heads():
    mask = np.broadcast_to(np.triu(np.ones((6, 6), bool), 1), (8, 6, 6)).copy()
    g = graph(made(softmax((8, 6, 6), -1, 1.0, mask), coding("uint8", 0.1), coding("uint8", 1 / 255)), (8, 6, 6))
    assert g.nodes["softmax.mask"].type.shape == (1, 6, 6)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_powers_are_the_nearest(bits):
    rng = np.random.default_rng(0)
    inside, step = coding("uint8", 0.04, 128), softmax((5, 65))
    codes = rng.integers(0, 256, (30, 5, 65))
    wanted = exact(step, inside.encoding.decode(codes))
    out = powers(np.sort(wanted.ravel()), bits, 1)
    had, scale = reals(made(step, inside, out), step.shape, codes), out.encoding.scale * out.fmt.hi
    nearest = decode(encode(wanted, scale, bits), scale, bits)
    assert len(np.unique(had)) <= 2 ** bits
    assert np.abs(np.abs(had - wanted) - np.abs(nearest - wanted)).max() <= 0.06 * scale
    assert (np.abs(had - nearest) < 0.03 * scale).mean() > 0.98
