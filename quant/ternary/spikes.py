"""The neuron of spike-driven layers, IE-LIF in its form for training (Qiu et al. 2025, arXiv 2501.13492, QSD-Transformer).

In training one step gives 0, 1, 2, 3 or 4 quarters; at inference the same number is so many spikes in four steps, each worth
a quarter, so that a layer behind it adds weights and multiplies nothing.  A captured net keeps the number as an integer from 0
to 4 of scale 1/4: convolution, batch norm and neuron become one requant.
"""
import torch
from torch import nn

from ..net import FUNCTIONS, SPIKES


@torch.library.custom_op("qsearch::ie_lif", mutates_args=())
def ie_lif(x: torch.Tensor) -> torch.Tensor:
    """floor(clamp(4 * x, 0, 4) + 1/2) / 4; its gradient is 1 where 0 < x < 1 and 0 elsewhere."""
    return FUNCTIONS["ie_lif"](x)


@ie_lif.register_fake
def _(x): return torch.empty_like(x)


def _keep(ctx, inputs, output): ctx.save_for_backward((inputs[0] > 0) & (inputs[0] < 1))


ie_lif.register_autograd(lambda ctx, grad: grad * ctx.saved_tensors[0], setup_context=_keep)


class IELIF(nn.Module):
    """The neuron as a module: membrane potentials of any shape to quarters, with the surrogate gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor: return ie_lif(x)


def unroll(count):
    """Integers 0 to 4 (numpy or torch) -> a list of the spikes, 0 or 1, of each of the four steps; they sum to the integers."""
    return [(count > t) * 1 for t in range(SPIKES)]
