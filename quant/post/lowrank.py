"""LoRC: what rounding took from a weight, given back in part by two thin matrices of int8 codes."""
from dataclasses import dataclass

import torch

RIDGE = 0.01  # part of the mean of a second moment's diagonal that is added to it
FACTOR_HI = 127


@dataclass(frozen=True)
class Factors:
    """left (O, R) @ right (R, I), float64.  With codes: int8 and a float16 scale for each column of left and row of right."""
    left: torch.Tensor
    right: torch.Tensor
    bits: int

    @property
    def product(self) -> torch.Tensor: return self.left @ self.right


def low_rank(e: torch.Tensor, rank: int, h: torch.Tensor | None = None, codes: bool = True) -> Factors:
    """The factors of the given rank nearest to e (O, I): in the Frobenius norm, or with h (I, I), a second moment of the inputs,
    in the error of the outputs.

    E = U S V^T, left = U S**(1/2), right = S**(1/2) V^T (ZeroQuant-V2, Yao et al. 2023, arXiv 2303.08302, section 5); with h the
    decomposition is that of E L for h = L L^T, and L is taken off again.  We differ from NNCF's weighting, which takes the
    diagonal of h alone and then alternates.
    """
    e = e.double()
    rank = min(rank, *e.shape)
    if h is None:
        u, s, v = torch.linalg.svd(e, full_matrices=False)
    else:
        eye = torch.eye(len(h), dtype=torch.float64)
        root = torch.linalg.cholesky(h.double() + max(RIDGE * float(h.diagonal().mean()), 1e-12) * eye)
        u, s, v = torch.linalg.svd(e @ root, full_matrices=False)
        v = torch.linalg.solve_triangular(root, v, upper=False, left=False)
    half = s[:rank].sqrt()
    left, right = u[:, :rank] * half, half[:, None] * v[:rank]
    if not codes:
        return Factors(left, right, 16 * (left.numel() + right.numel()))
    return Factors(_int8(left, 0), _int8(right, 1), 8 * (left.numel() + right.numel()) + 2 * 16 * rank)


def _int8(t: torch.Tensor, axis: int) -> torch.Tensor:
    """Rounded to int8 codes times a float16 scale for each slice along the other axis."""
    scale = (t.abs().amax(axis, keepdim=True) / FACTOR_HI).clip(2.0 ** -24).half().double()
    return (t / scale).round().clip(-FACTOR_HI, FACTOR_HI) * scale
