"""What a change of a layer's output does to the loss, to second order: a few random rows of the root of the Gauss-Newton matrix.

With F the Fisher information in the net's outputs and J the outputs' derivative in a layer's output y, a change dy adds
1/2 dy' J' F J dy to the loss.  F = S S', so this is 1/2 |S' J dy|**2, and for random signs v the mean of (v' S' J dy)**2 is
that square (Hutchinson's estimate).  The rows v' S' J come from one backward pass for each v and serve every option of every layer.
"""
import math

import torch

from .curvature import loss_of, outputs, run
from ..net import Net

DRAWS = 4          # random rows; averaged over 64 samples an estimate is off by a tenth or less
MEMORY = 1 << 30   # bytes that the rows of all layers may take; fewer samples are looked at beyond it
BATCH = 16         # samples that are differentiated at once


def samples_that_fit(net: Net, samples: int, draws: int = DRAWS, memory: int = MEMORY) -> int:
    """How many samples' rows fit into the memory: at least one."""
    size = 4 * draws * sum(math.prod(s.shape) for s in net.layers.values())
    return max(1, min(samples, memory // max(1, size)))


def rows(net: Net, x: torch.Tensor, draws: int = DRAWS, seed: int = 0, batch: int = BATCH) -> dict[str, torch.Tensor]:
    """{layer: (N, draws, outputs of the layer)}: for each sample the derivative of v' S' z in the layer's output, at soft targets.

    The loss is that of `loss_of`: cross entropy for class scores, else the mean squared error over the outputs' variance.
    """
    with torch.no_grad():
        of = loss_of(net, outputs(net, x, batch))
    rng = torch.Generator().manual_seed(seed)
    found = {n: torch.empty(len(x), draws, math.prod(s.shape)) for n, s in net.layers.items()}
    for i in range(0, len(x), batch):
        part = x[i:i + batch]
        z, taps = run(net, part, {}, {n: torch.zeros(1, requires_grad=True) for n in net.layers})  # the shifts make the graph
        z = z.reshape(len(part), -1)
        leaves = [taps[n][1] for n in net.layers]
        for k in range(draws):
            v = torch.randint(0, 2, z.shape, generator=rng).to(z) * 2 - 1
            grads = torch.autograd.grad(z, leaves, of.root(z.detach(), v), retain_graph=k + 1 < draws, materialize_grads=True)
            for n, g in zip(found, grads):
                found[n][i:i + batch, k] = g.flatten(1)
    return found
