"""How an operation that is linear in each of its two operands shares relevance among its inputs.

A share takes op(x, w), the bias that is added to it, and the relevance r of the result.  It gives the relevance of x, that of w
(None unless asked for), and what was absorbed on the way, (N,): by biases, by stabilisers, and where nothing contributes.  What
was absorbed is summed from those terms themselves and never as a difference, so that a leak shows.
"""
from collections.abc import Callable

import torch

NOTHING = 1e-30  # a sum of contributions below this is taken as none

Op = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Share = Callable[..., tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]]


def epsilon(eps: float) -> Share:
    """R_i = sum_j x_i w_ij R_j / (z_j + eps sign z_j), z with its bias (Bach et al., 2015, equations 56 and 58)."""
    def share(op: Op, x, w, bias, r, both: bool = False):
        pull, z = pullback(op, x, w, both)
        beside = eps * torch.where(z + (0 if bias is None else bias) < 0, -1.0, 1.0).to(z) + (0 if bias is None else bias)
        s, lost = quotient(r, z + beside)
        gx, gw = pull(s)
        rx, rw = times(x, gx), times(w, gw) if both else None
        return rx / 2 if both else rx, rw / 2 if both else None, per_sample(beside * s + lost)
    return share


def alpha_beta(alpha: float) -> Share:
    """alpha times the shares in what raises the result, less beta = alpha - 1 times those in what lowers it; no bias.

    Bach et al., 2015, equation 60.  alpha = 1 is the z-plus rule, with what raises told by the sign of the product, so that
    x may be negative too.  We differ: where only one of the two is there, it has R, and nothing is lost.
    """
    def share(op: Op, x, w, bias, r, both: bool = False):
        low = x.amin() < 0
        (x0, x1), (w0, w1) = signs(x), signs(w)
        raising = [(x0, w0), (x1, w1)] if low else [(x0, w0)]
        lowering = [(x0, w1), (x1, w0)] if low else [(x0, w1)]
        up = [pullback(op, *pair, both) for pair in raising]
        raised = sum(z for _, z in up)
        if alpha == 1 and not (r[~there(raised)] != 0).any():
            terms = [(raising, up, quotient(r, raised)[0])]
            lost = torch.where(there(raised), 0.0, r)
        else:
            down = [pullback(op, *pair, both) for pair in lowering]
            lowered = sum(z for _, z in down)
            more, less = there(raised), there(lowered)
            terms = [(raising, up, quotient(torch.where(less, alpha, 1.0) * r, raised)[0]),
                     (lowering, down, quotient(torch.where(more, 1.0 - alpha, 1.0) * r, lowered)[0])]
            lost = torch.where(more | less, 0.0, r)
        rx, rw = 0.0, 0.0
        for pairs, pulls, s in terms:
            for (v, u), (pull, _) in zip(pairs, pulls):
                gx, gw = pull(s)
                rx = rx + times(v, gx)
                rw = rw + times(u, gw) if both else None
        return rx / 2 if both else rx, rw / 2 if both else None, per_sample(lost)
    return share


def box(op: Op, x: torch.Tensor, w: torch.Tensor, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The z^B rule for pixels, which lie between the least and the greatest of their image: (relevance of x, absorbed).

    Montavon et al., 2017 (deep Taylor decomposition), section 4.1, with the range taken from each image.
    """
    ends = x.reshape(len(x), -1)
    one = (len(x), *[1] * (x.dim() - 1))
    lo, hi = (v.reshape(one).expand_as(x) for v in (ends.amin(1), ends.amax(1)))
    w0, w1 = signs(w)
    parts = [(x, w, 1.0), (lo, w0, -1.0), (hi, w1, -1.0)]
    pulls = [pullback(op, v, u, False) for v, u, _ in parts]
    s, lost = quotient(r, sum(k * z for (_, _, k), (_, z) in zip(parts, pulls)))
    return sum(k * v * pull(s)[0] for (v, _, k), (pull, _) in zip(parts, pulls)), per_sample(lost)


def pullback(op: Op, x: torch.Tensor, w: torch.Tensor, both: bool):
    """(s -> (s drawn back to x, and to w if both), op(x, w))."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        w = w.detach().requires_grad_(both)
        z = op(x, w)
    def pull(s):
        drawn = torch.autograd.grad(z, [x, w] if both else [x], s)
        return drawn[0], drawn[1] if both else None
    return pull, z.detach()


def signs(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positive and negative part."""
    return v.clamp(min=0), v.clamp(max=0)


def quotient(r: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """r / z, 0 where z is nothing or infinite; and the r that is lost there."""
    good = there(z)
    return torch.where(good, r / torch.where(good, z, 1.0), 0.0), torch.where(good, 0.0, r)


def there(z: torch.Tensor) -> torch.Tensor:
    """Where contributions have a sum that can be divided by."""
    return (z.abs() > NOTHING) & z.isfinite()


def times(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """x g, where an infinite x (a mask's) takes nothing."""
    return torch.where(x.isinf(), 0.0, x) * g


def per_sample(v: torch.Tensor) -> torch.Tensor:
    """(N, ...) -> sums (N,)."""
    return v.reshape(len(v), -1).sum(1)
