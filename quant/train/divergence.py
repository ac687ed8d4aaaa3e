"""Where a training went wrong: the first layer whose numbers are none."""
import math

import torch

from ir import UserError
from ..model import QuantNet
from ..sites.site_layers import Weighted

FAR = 40  # of a logarithm of a scale: beyond it no integers can follow


def check(q: QuantNet, x: torch.Tensor, loss: float, norm: float, when: str, more: str) -> None:
    """UserError: the loss, the gradient (of this norm) or a parameter is no number; it names the layer where that began."""
    found = parameters(q)
    if found is None and math.isfinite(loss) and math.isfinite(norm):
        return
    if not bool(x.isfinite().all()):
        found = "an image is not finite after augment"
    raise UserError(f"training diverged at {when}: {found or gradients(q) or 'the loss is not finite'} (loss {loss}); {more}")


def parameters(q: QuantNet) -> str | None:
    """The first site, on the way of the data, with a parameter that is no number or a scale that no integers can follow."""
    for name, own in owners(q).items():
        scales = [p for k, p in own.items() if k.endswith("log_scale")]
        if not all(bool(p.isfinite().all()) for p in own.values()) or any(bool((p.abs() > FAR).any()) for p in scales):
            return f"a parameter of {name!r} is out of range"
    return None


def gradients(q: QuantNet) -> str | None:
    """The first site, on the way back of the gradients, that gets one that is no number."""
    for name, own in reversed(owners(q).items()):
        if not all(bool(p.grad.isfinite().all()) for p in own.values() if p.grad is not None):
            return f"the gradient of {name!r} is not finite"
    return None


def owners(q: QuantNet) -> dict[str, dict[str, torch.nn.Parameter]]:
    """site -> its parameters by name, those of its result's encoding and of its norm among them."""
    found = {q.input_name: dict(q.input.named_parameters())}
    for site in q.sites:
        own = dict(site.named_parameters(recurse=False)) | {f"out.{k}": p for k, p in site.out.named_parameters()}
        if isinstance(site, Weighted) and site.norm is not None:
            own |= {f"norm.{k}": p for k, p in site.norm.named_parameters()}
        found[site.name] = own
    return found
