"""Norms in integers: within a code of float64, whatever the range, the width and the constants."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from site_cases import coding, extremes, graph, made, reals
from torch.nn import functional as F

from ir import Sqrt
from quant import Step

INPUTS = {"uint8": ("uint8", 0.03, 131), "int8": ("int8", 0.5, 0), "uint4": ("uint4", 0.4, 7), "int16": ("int16", 1e-3, 0),
          "uint16": ("uint16", 2.0, 40000)}


def norm(kind: str, shape, dims: int = 1, eps: float = 1e-5, affine: bool = True, seed: int = 0) -> Step:
    rng, last = torch.Generator().manual_seed(seed), shape[len(shape) - dims:]
    w, b = torch.randn(last, generator=rng) if affine else None, torch.randn(last, generator=rng) if affine and kind == "layernorm" else None
    return Step("norm", kind, ("x",), shape, {"eps": eps} | ({"dims": dims} if kind == "layernorm" else {}), w, b)


def exact(step: Step, x: np.ndarray) -> np.ndarray:
    """The norm in float64."""
    x, last = torch.from_numpy(x), step.shape[len(step.shape) - step.attrs.get("dims", 1):]
    w, b = (None if v is None else v.double() for v in (step.weight, step.bias))
    if step.kind == "layernorm":
        return F.layer_norm(x, last, w, b, step.attrs["eps"]).numpy()
    return F.rms_norm(x, last, w, step.attrs["eps"]).numpy()


def off(step: Step, inside, outside, codes: np.ndarray, own: float = 0.0) -> float:
    """Largest error in output codes, beyond a share `own` of a normalized value and what a fiftieth of an input code makes of it.

    The latter matters only for rows within a step or so, whose rounding on the way in has done far more.
    """
    site, last = made(step, inside, outside), tuple(range(-step.attrs.get("dims", 1), 0))
    x = inside.encoding.decode(codes)
    had, wanted = reals(site, step.shape, codes), exact(step, x)
    lo, hi = (outside.encoding.decode(v) for v in (outside.fmt.lo, outside.fmt.hi))
    power = (x - x.mean(last, keepdims=True) * (step.kind == "layernorm")) ** 2
    deviation = np.sqrt(power.mean(last, keepdims=True) + step.attrs["eps"]) / inside.encoding.scale
    plain = exact(replace(step, weight=None, bias=None), x)
    weight = 1.0 if step.weight is None else step.weight.abs().numpy()
    slack = weight * ((0.02 + 0.01 * np.abs(plain)) / deviation + own * np.abs(plain))
    return float(((np.abs(had - wanted.clip(lo, hi)) - slack) / outside.encoding.scale).max())


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("width", [1, 2, 7, 128])
def test_within_a_code_of_float(kind, name, width):
    inside, step = coding(*INPUTS[name]), norm(kind, (3, width))
    rng = np.random.default_rng(1)
    middle, spread = inside.zero, (inside.fmt.hi - inside.fmt.lo) / 12
    codes = np.concatenate([rng.integers(inside.fmt.lo, inside.fmt.hi + 1, (20, 3, width)),
                            rng.normal(middle, spread, (20, 3, width)).clip(inside.fmt.lo, inside.fmt.hi).astype(np.int64),
                            extremes(inside.fmt.lo, inside.fmt.hi, 3, width)])
    assert off(step, inside, coding("uint8", 0.05, 128), codes) <= 0.52
    assert off(step, inside, coding("int16", 5e-4), codes, own=1e-4) <= 1


@pytest.mark.parametrize("kind, shape, dims", [("layernorm", (4, 6, 6), 3), ("layernorm", (3, 4, 5), 2), ("layernorm", (7840,), 1),
                                               ("rmsnorm", (2, 3, 8), 1)])
def test_shapes(kind, shape, dims):
    inside, step = coding("int16", 1e-3), norm(kind, shape, dims)
    codes = np.random.default_rng(0).normal(500, 3000, (4, *shape)).astype(np.int64).clip(-32768, 32767)
    assert off(step, inside, coding("uint8", 0.05, 128), codes) <= 0.52


@pytest.mark.parametrize("affine", [True, False])
def test_weights_of_either_sign_and_none(affine):
    inside, step = coding("int8", 0.1), norm("layernorm", (16,), affine=affine)
    if affine:
        step.weight[:3] = torch.tensor([0.0, -1e-8, 1e-8])
    codes = np.random.default_rng(0).integers(-128, 128, (50, 16))
    assert off(step, inside, coding("int16", 1e-3), codes, own=1e-4) <= 1


def test_shifted_input_changes_nothing():
    """A layer norm knows neither the mean nor, as eps is small, the scale of a row."""
    site = made(norm("layernorm", (32,), eps=1e-12), coding("int16", 1e-3), coding("int8", 0.05))
    codes = np.random.default_rng(0).integers(-1000, 1000, (20, 32))
    assert (reals(site, (32,), codes) == reals(site, (32,), codes + 7000)).all()
    assert np.abs(reals(site, (32,), codes) - reals(site, (32,), codes * 8)).max() <= 0.0501


@given(st.sampled_from(["layernorm", "rmsnorm"]), st.sampled_from(["int8", "uint8", "int16"]), st.integers(1, 100),
       st.floats(1e-9, 10), st.floats(1e-20, 1e6), st.integers(0, 2 ** 32))
@settings(max_examples=25, deadline=None)
def test_any_scale_and_eps(kind, fmt, width, eps, scale, seed):
    inside, step = coding(fmt, scale), norm(kind, (width,), eps=eps, seed=seed % 7)
    rng = np.random.default_rng(seed)
    codes = np.concatenate([rng.integers(inside.fmt.lo, inside.fmt.hi + 1, (4, width)), extremes(inside.fmt.lo, inside.fmt.hi, width)])
    assert off(step, inside, coding("int8", 0.05), codes) <= 0.55


def test_widths_are_proven():
    """However wide the row, the root is of what Sqrt takes and every product fits float64, through which gradients flow."""
    for width in (1, 64, 4096, 1 << 17):
        g = graph(made(norm("layernorm", (width,)), coding("int16", 1e-3), coding("int8", 0.05)), (width,))
        assert all(n.type.hi < 1 << 53 and n.type.lo > -1 << 53 for n in g.nodes.values())
        assert sum(isinstance(n.op, Sqrt) for n in g.nodes.values()) == 1
