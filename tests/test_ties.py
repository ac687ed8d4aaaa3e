"""Which layers a net joins."""
import pytest
import torch
from torch import nn

from ir import UserError
from quant import capture, ties


class Joined(nn.Module):
    """A residual block with a convolution on its shortcut, queries, keys and values, and a layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.short, self.branch = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 3, padding=1)
        self.plain = nn.Conv2d(8, 8, 3, padding=1)
        self.q, self.k, self.v, self.twice = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x):
        x = self.stem(x).relu()
        x = self.short(x) + self.branch(x).relu()
        x = (x + self.plain(x)).mean((2, 3))
        return self.twice(self.twice(self.q(x) * self.k(x) + self.v(x)))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return capture(Joined().eval(), torch.randn(2, 1, 6, 6))


def test_each_kind_of_tie(net):
    assert ties(net, ["residual"]) == [("short", "branch")]  # the sum with an identity joins one layer alone
    assert ties(net, ["qkv"]) == [("q", "k", "v")]
    assert ties(net, ["shared"]) == [("twice", "twice_1")]
    assert len(ties(net, ["residual", "qkv", "shared"])) == 3


def test_ties_that_are_not_there(net):
    with pytest.raises(UserError, match=r"^unknown tie 'residuals'; did you mean 'residual'\?"):
        ties(net, ["residuals"])
    lone = capture(nn.Linear(3, 2).eval(), torch.randn(1, 3))
    with pytest.raises(UserError, match=r"^tie 'qkv': this model has no such layers \(linear layers that read the same value, .*\); leave it out$"):
        ties(lone, ["qkv"])
