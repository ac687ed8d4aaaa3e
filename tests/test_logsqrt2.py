"""The log-sqrt2 quantizer: better than uniform and log2 at four bits on attention weights, worse at many; its integers and table."""
import numpy as np
import pytest
import torch

from ir import UserError
from quant.sites.logsqrt2 import better, decode, encode, error, fitted_scale, grid, levels, table


def attention(rows=200, tokens=50, sharpness=2.0, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    e = np.exp(sharpness * rng.normal(size=(rows, tokens)))
    return (e / e.sum(1, keepdims=True)).ravel()


def uniform_error(x, bits):
    step = x.max() / (2 ** bits - 1)
    return np.square(np.round(x / step) * step - x).mean()


def log2_error(x, bits):
    q = np.round(-np.log2(x))
    return np.square(np.where(q < 2 ** bits, 2.0 ** -q, 0) - x).mean()


@pytest.mark.parametrize("tokens, sharpness", [(50, 2.0), (197, 2.0), (197, 3.0), (64, 1.0)])
@pytest.mark.parametrize("rounding", ["nearest", "log"])
def test_least_error_at_four_bits(tokens, sharpness, rounding):
    x = attention(tokens=tokens, sharpness=sharpness)
    scale = fitted_scale(x, 4)
    own = np.square(decode(encode(x, scale, 4, rounding), scale, 4) - x).mean()
    assert own < uniform_error(x, 4) and own < log2_error(x, 4)
    assert error(x, scale, 4) < own or rounding == "nearest"


def test_loses_to_uniform_with_many_bits():
    x = attention(tokens=197, sharpness=3.0)
    assert [better(x, b) for b in (3, 4, 6, 8)] == [True, True, False, False]
    assert error(x, fitted_scale(x, 6), 6) > uniform_error(x, 6)


def test_codes_are_powers_of_the_root_of_two():
    values = np.array([1, 0.5 ** 0.5, 0.5, 0.125, 0, 3])
    assert encode(values, 1.0, 4).tolist() == [0, 1, 2, 6, 15, 0]
    assert np.allclose(decode(encode(values * 0.3, 0.3, 4), 0.3, 4)[:5], values[:5] * 0.3)
    assert len(levels(3)) == 8 and levels(3)[-1] == 0


@pytest.mark.parametrize("rounding", ["nearest", "log"])
def test_torch_gives_the_codes_of_numpy(rounding):
    x = attention(rows=20).astype(np.float32)
    codes = encode(torch.from_numpy(x), 0.25, 4, rounding, torch)
    assert np.array_equal(codes.numpy(), encode(x, 0.25, 4, rounding))
    assert np.array_equal(decode(codes, 0.25, 4, torch).numpy(), decode(codes.numpy(), 0.25, 4).astype(np.float32))


def test_integers_and_table():
    assert grid(3, 64) == (0, 8, 11, 16, 23, 32, 45, 64)
    t = table(4, 255, 512)
    assert set(t) <= set(grid(4, 512)) and (np.diff(t) >= 0).all() and t[0] == 0 and t[-1] == 512
    c = np.arange(256)
    nearest = np.array(grid(4, 512))[np.abs(c[:, None] / 255 - np.array(levels(4))[::-1]).argmin(1)]
    assert np.array_equal(t, nearest)
    assert table(4, 255, 512, scale=0.5)[128] == 512


def test_refusals():
    with pytest.raises(UserError, match=r"^log-sqrt2 codes of 4 bits collide as integers up to 100; give at least 256$"):
        grid(4, 100)
    with pytest.raises(UserError, match="^log-sqrt2 codes have 2 to 8 bits, not 9$"):
        levels(9)
    with pytest.raises(UserError, match=r"^unknown rounding 'up' of logarithms \(known: nearest, log\)$"):
        encode(np.ones(2), 1.0, 4, "up")
