"""Low-rank compensation: the error that is left is the tail of the singular values, and int8 factors add next to nothing to it."""
import torch
from lm_nets import both

from quant.post.gptq import second_moment
from quant.post.lowrank import low_rank
from quant.post.weight_only import weight_only


def rand(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_what_is_left_is_the_tail_of_the_singular_values():
    e = rand(40, 24)
    s, norms = torch.linalg.svdvals(e), []
    for rank in (1, 2, 4, 8, 16, 24):
        left = torch.linalg.norm(e - low_rank(e, rank, codes=False).product)
        assert abs(left - s[rank:].square().sum().sqrt()) < 1e-9
        norms.append(float(left))
    assert norms == sorted(norms, reverse=True) and norms[-1] < 1e-9
    assert low_rank(e, 99, codes=False).left.shape == (40, 24)


def test_int8_factors_add_little():
    e = rand(256, 192)
    plain, coded = (torch.linalg.norm(e - low_rank(e, 16, codes=c).product) for c in (False, True))
    assert plain < coded < 1.001 * plain
    f = low_rank(e, 16)
    codes = f.left / (f.left.abs().amax(0) / 127)
    assert (codes - codes.round()).abs().max() < 1e-9 and f.bits == 8 * 16 * (256 + 192) + 2 * 16 * 16


def test_weighted_by_inputs_the_outputs_err_less():
    e, x = rand(20, 30), rand(30, 30, seed=1) @ rand(30, 400, seed=2)
    error = lambda f: float(((e - f.product) @ x).square().sum())
    assert all(error(low_rank(e, r, second_moment(x))) < error(low_rank(e, r)) for r in (1, 4, 10))


def test_the_identity_weights_nothing():
    e = rand(9, 7)
    assert torch.allclose(low_rank(e, 3, torch.eye(7), codes=False).product, low_rank(e, 3, codes=False).product)


def test_more_rank_brings_a_net_closer_to_itself():
    net, x, c = both("encoder")
    y = net(x)
    errors = [float((weight_only(net, c, "int3/-", "rtn+lorc", rank=r).net(x) - y).square().mean()) for r in (0, 2, 6, 16)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.01 * errors[0]
