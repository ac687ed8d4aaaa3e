"""SmoothQuant: part of the spread between channels of activations moves into the weights, which bear it better."""
import torch

from ir import UserError

from .channels import balanced, feeds, observed
from ..net import Net
from ..observers import Calibration

SMALLEST = 1e-5  # of a scale


def smooth(net: Net, calibration: Calibration, alpha: float = 0.5) -> Net:
    """The same function with s = max|X|**alpha / max|W|**(1 - alpha) of each channel taken from the norms' gains to the layers
    they feed, which share it (query, key and value).  Layers fed by anything else stay as they are.

    Xiao et al. 2023 (arXiv 2211.10438), equation 4; alpha 0.5 for most nets, 0.8 to 0.9 for Llamas.
    UserError: alpha outside of [0, 1], or no norm that feeds layers alone.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha is how much of the spread moves from activations to weights, 0 to 1, not {alpha}")
    found = feeds(net)
    if not found:
        raise UserError("the model has no layer norm or RMS norm that feeds layers alone; there is nothing to smooth")
    values = observed(net, calibration.x, [f.source for f in found])
    for f in found:
        acts = values[f.source].abs().amax(0).double().clip(SMALLEST)
        weights = torch.zeros_like(acts)
        for name, ids in f.readers.items():
            weights.scatter_reduce_(0, ids, net.steps[name].weight.abs().amax(0).double(), "amax")
        s = acts ** alpha / weights.clip(SMALLEST) ** (1 - alpha)
        net = balanced(net, f, torch.where(weights > 0, s, 1.0).clip(SMALLEST))
    return net
