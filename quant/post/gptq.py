"""Rounding that makes up for itself: first the weights are fitted to the quantized inputs, then each column's rounding error is
spread over the columns still to be rounded.
"""
from dataclasses import dataclass

import torch

from ir import NumberFormat, UserError

BLOCK = 128
MOST_DAMP = 10.0  # a second moment that is not positive definite with this much is none
DAMP, REFIT_RIDGE = 0.01, 0.1  # parts of the mean of the second moment's diagonal that are added to it


def second_moment(columns: torch.Tensor) -> torch.Tensor:
    """H = 2 X X^T / N of columns (I, N), float64."""
    x = columns.double()
    return 2.0 / x.shape[1] * (x @ x.T)


def refit(w: torch.Tensor, x: torch.Tensor, wanted: torch.Tensor, ridge: float = REFIT_RIDGE) -> torch.Tensor:
    """The weights near w (O, I) for which inputs x (I, N) give what w gives for the inputs `wanted` (I, N): least squares
    with a ridge of that part of the mean of the second moment's diagonal.

    The target is that of GPTAQ's asymmetric calibration (arXiv 2504.02692); we differ: in one step
    before the rounding, not within it.
    """
    x, wanted = x.double(), wanted.double()
    h = second_moment(x)
    cross = 2.0 / x.shape[1] * ((wanted - x) @ x.T)
    damped = h + max(ridge * float(h.diagonal().mean()), 1e-12) * torch.eye(len(h), dtype=h.dtype, device=h.device)
    return w + torch.linalg.solve(damped, (w.double() @ cross).T).T


@dataclass(frozen=True)
class Spread:
    """How the rounding error of each column is spread over the later ones: what GPTQ makes of a second moment, for any weights."""
    order: torch.Tensor  # columns by descending diagonal
    dead: torch.Tensor   # their inputs are always 0: any code does, and 0 is the cheapest
    root: torch.Tensor   # upper Cholesky factor of the inverse, in that order


def spread(h: torch.Tensor, damp: float = DAMP) -> Spread:
    """The spread of a second moment h (I, I).  UserError: NaN or infinity in it, or no damping makes it positive definite."""
    if not h.isfinite().all():
        raise UserError("GPTQ: the second moment of a layer's inputs holds NaN or infinity; check the calibration data and the float model")
    h = h.double().clone()
    dead = h.diagonal() == 0
    h[dead, dead] = 1.0
    order = h.diagonal().argsort(descending=True, stable=True)
    return Spread(order, dead, _inverse_root(h[order][:, order], damp))


def gptq(w: torch.Tensor, scale: torch.Tensor, fmt: NumberFormat, how: Spread, block: int = BLOCK,
         zero: torch.Tensor | None = None) -> torch.Tensor:
    """Codes (O, I) for weights w (O, I) that keep w @ X, for the `spread` of X's second moment; a code is worth scale * (code - zero).

    scale and zero (integers) are (O, 1), or (O, I) where they differ between groups of columns: the grid is fixed before.
    A second moment that is the identity gives plain rounding.
    Frantar et al. 2022 (arXiv 2210.17323), algorithm 1, with the act-order and dead columns of its authors' code.
    """
    w, u = w.double().clone(), how.root
    w[:, how.dead] = 0.0
    scale, zero = (v.expand_as(w)[:, how.order] for v in (scale, torch.zeros_like(scale) if zero is None else zero))
    w = w[:, how.order]
    codes = torch.empty_like(w)
    for start in range(0, w.shape[1], block):
        end = min(start + block, w.shape[1])
        errors = torch.empty_like(w[:, start:end])
        for i in range(start, end):
            codes[:, i] = fmt.nearest((w[:, i] / scale[:, i] + zero[:, i]).float(), torch)
            e = (w[:, i] - (codes[:, i] - zero[:, i]) * scale[:, i]) / u[i, i]
            w[:, i:end] -= e[:, None] * u[i, i:end]
            errors[:, i - start] = e
        w[:, end:] -= errors @ u[start:end, end:]
    return codes[:, how.order.argsort()]


def _inverse_root(h: torch.Tensor, damp: float) -> torch.Tensor:
    """Upper Cholesky factor of h^-1; more damping until h is positive definite."""
    eye, most = torch.eye(len(h), dtype=h.dtype, device=h.device), max(damp, MOST_DAMP)
    while damp <= most:
        factor, failed = torch.linalg.cholesky_ex(h + damp * h.diagonal().mean() * eye)
        if not failed:
            root, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(factor), upper=True)
            if not failed:
                return root
        damp = max(10 * damp, 1e-6)
    raise UserError(f"GPTQ: the second moment of a layer's {len(h)} inputs is not positive definite, even with {most:g} times its mean "
                    "added to the diagonal; calibrate with more images, or use nearest rounding")
