"""The requant of training: the integers of ir.ops from float64, and the gradient of what it rounds."""
import numpy as np
import pytest
import torch

from ir import Ints, Requant, ops
from ir.infer import infer
from quant.emit import rescaled
from quant.execute import requant


@pytest.mark.parametrize("bound,mul,shift,zero,lo,hi", [
    (9, [1, 3, 7], 2, 0, -8, 7), (9, [1], 0, 5, -4, 20), (1 << 20, [1 << 14, 16385, 32767], 18, 3, 0, 255), (100, [1], 7, 0, -2, 2),
    ((1 << 23) - 1, [2], 0, -1, -(1 << 24), 1 << 24), ((1 << 35) - 1, [1 << 16, 65537, 131071], 33, 0, -(1 << 20), 1 << 20),
    ((1 << 40) + 1, [1 << 15], 30, 7, -(1 << 40), 1 << 40), ((1 << 26) + 3, [3], 0, 0, -(1 << 40), 1 << 40)])
def test_every_way_to_compute_it_is_the_same(bound, mul, shift, zero, lo, hi):
    """Narrow floats, float64 and integers, at the ends, around ties and at random."""
    mul = np.array(mul)
    x_type = Ints((3, 401), -bound, bound)
    rng = np.random.default_rng(0)
    ties = ((2 * np.arange(-50, 50) + 1) * (1 << shift) // 2 // int(mul[0]))[:, None] + np.arange(-1, 2)
    x = np.concatenate([rng.integers(-bound, bound + 1, (3, 97)), np.tile(np.clip(ties.ravel(), -bound, bound), (3, 1)),
                        np.full((3, 2), bound), np.full((3, 2), -bound)], 1)[None]
    op = Requant(mul, shift, zero, lo, hi, 0)
    t = infer(op, x_type)
    held = torch.from_numpy(x).to(torch.float32 if bound < 1 << 24 else torch.float64)
    got, v = requant(op, t, x_type, held, unrounded=True)
    assert np.array_equal(got.long().numpy(), ops.requant(x, mul[:, None], shift, zero, lo, hi))
    assert np.allclose(v.double().numpy(), x * mul[:, None] / 2.0 ** shift, rtol=1e-6)




def test_the_gradient_is_that_of_the_clipped_product():
    ratio = torch.tensor(0.125, dtype=torch.float64, requires_grad=True)
    zero = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[-200.0, -24.0, 11.0, 20.0, 96.0, 97.0]], requires_grad=True)
    op = Requant(np.array([128]), 10, 3, 0, 15)
    y = rescaled(op, Ints((6,), 0, 15), Ints((6,), -200, 200), x, ratio=ratio, zero=zero)
    assert y.tolist() == [[0, 0, 4, 6, 15, 15]]
    y.sum().backward()
    assert x.grad.tolist() == [[0, 0.125, 0.125, 0.125, 0.125, 0]]  # both ends belong to the range
    assert float(ratio.grad) == -24 + 11 + 20 + 96 and float(zero.grad) == 4


def test_a_clipping_level_gets_nothing_from_what_rounding_lost():
    """With s = exp(t) and code = round(x / s): d(s * code)/dt is s * code - x within the range (LSQ), and 0 there in PACT."""
    for pact in (False, True):
        t = torch.tensor(np.log(4.0), requires_grad=True)
        x = torch.tensor([[9.0, 23.0, 100.0]])
        op = Requant(np.array([256]), 10, 0, 0, 15)
        code = rescaled(op, Ints((3,), 0, 15), Ints((3,), 0, 200), x, ratio=1 / t.exp(), log_clip=t if pact else None)
        assert code.tolist() == [[2, 6, 15]]
        for i, want in enumerate([0.0, 0.0, 60.0] if pact else [8.0 - 9, 24.0 - 23, 60.0]):
            (grad,) = torch.autograd.grad((code * t.exp())[0, i], t, retain_graph=True)
            assert float(grad) == pytest.approx(want, abs=1e-5)


def test_bounds_that_move_with_the_zero_point():
    """A relu's bound is the zero point itself: what it clips is 0 wherever the zero point goes."""
    for moving, want in (((False, False), 1.0), ((True, False), 2.0), ((False, True), 2.0), ((True, True), 3.0)):
        zero = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
        x = torch.tensor([[-7.0, 2.0, 20.0]])
        y = rescaled(Requant(np.array([1]), 0, 5, 5, 9), Ints((3,), 5, 9), Ints((3,), -20, 20), x, zero=zero, moving=moving)
        assert y.tolist() == [[5, 7, 9]]
        y.sum().backward()
        assert float(zero.grad) == want
