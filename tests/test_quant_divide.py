"""Division in float64 where it is exact: against the integers, next to every quotient that could be rounded the wrong way."""
import numpy as np
import pytest
import torch

from ir import Div, Ints, ops
from ir.infer import infer
from quant.execute import evaluate


@pytest.mark.parametrize("bits, divisor", [(20, 8), (40, 20), (50, 3), (50, 25), (50, 49), (51, 30), (58, 30)])
def test_equal_to_the_integers(bits, divisor):
    rng = np.random.default_rng(bits + divisor)
    b = np.concatenate([rng.integers(1, 1 << divisor, 4000), [1, 2, (1 << divisor) - 1]])
    top = (1 << bits) - 1
    k = rng.integers(0, top // b)
    near = ((2 * k + 1) * b // 2 + np.arange(-1, 2)[:, None]).clip(0, top)  # a / b + 1/2 is an integer, or just not
    a = np.concatenate([near, -near, rng.integers(-top, top, (1, len(b))), np.full((1, len(b)), top), np.full((1, len(b)), -top)])
    b = np.broadcast_to(b, a.shape)
    types = Ints(a.shape[1:], -top, top), Ints(a.shape[1:], 1, (1 << divisor) - 1)
    held = [torch.from_numpy(v.copy()) if bits > 52 else torch.from_numpy(v.astype(np.float64)) for v in (a, b)]
    y = evaluate(Div(), infer(Div(), *types), types, *held)
    assert (y.long().numpy() == ops.divide(a, b)).all()
