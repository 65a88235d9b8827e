"""How far pairs of one cluster stand out at a rank that is not the right one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import gamma, spence
from torch import Tensor

EULER = float(np.euler_gamma)


class Moments(NamedTuple):
    """E Q_ij Q_kl = same · δ_ij δ_kl + crossed · (δ_ik δ_jl + δ_il δ_jk)."""

    same: Any
    crossed: Any


def moments(r: Any, R: Any) -> Moments:
    """Of a uniformly random projector Q of rank r in R dimensions, R ≥ 2."""
    crossed = r * (R - r) / ((R - 1) * R * (R + 2))
    return Moments((r**2 - 2 * crossed * R) / R**2, crossed)


def squares_at(P: Tensor, r: Any, n: int) -> Tensor:
    """E (P_r)_ij² off the diagonal, (..., n, n), for P of rank R ≠ r; r: a number or (...)."""
    R = int(P.diagonal(dim1=-2, dim2=-1).sum(-1).flatten()[0].round())
    r = torch.as_tensor(r, dtype=P.dtype)[..., None, None]
    own = P.diagonal(dim1=-2, dim2=-1)
    s, m = r - R, n - R
    below, above = moments(r, R), moments(s, m)
    inside = own[..., :, None] * own[..., None, :]
    beside = (1 - own)[..., :, None] * (1 - own)[..., None, :]
    lower = (below.same + below.crossed) * P**2 + below.crossed * inside
    kept = 1 - 2 * s / m + above.same + above.crossed
    return torch.where(r < R, lower, kept * P**2 + above.crossed * beside)


def contrast(squares: Tensor, y: Tensor) -> Tensor:
    """Mean over pairs of one cluster over the mean across: (..., n, n) → (...)."""
    same = y[:, None] == y
    within = same & ~torch.eye(len(y), dtype=torch.bool)
    return squares[..., within].mean(-1) / squares[..., ~same].mean(-1)


def formula(r: Any, R: int, K: int) -> Any:
    """1 + K/(max(r, R)/min(r, R) − 1); ∞ at r = R."""
    with np.errstate(divide="ignore"):
        return 1 + K / (np.maximum(r, R) / np.minimum(r, R) - 1)


def frame(d: int, n: int) -> Tensor:
    """(d, n) orthonormal rows with columns of one length, d < n: waves, and a constant if d is odd.

    >>> frame(3, 7).square().sum(0) * 7
    tensor([3.0000, 3.0000, 3.0000, 3.0000, 3.0000, 3.0000, 3.0000], dtype=torch.float64)
    """
    turns = torch.outer(torch.arange(1.0, d // 2 + 1), torch.arange(n)).double() * 2 * torch.pi / n
    waves = torch.cat([turns.cos(), turns.sin()]) * (2 / n) ** 0.5
    return torch.cat([waves, torch.full((d % 2, n), n**-0.5, dtype=torch.float64)])


def ignorance(a: Any) -> Any:
    """J(a): mean over log r ∈ [log R, log aR] of −log(r/R − 1)."""
    L = np.log(a)
    return (np.pi**2 / 6 - spence(1 - 1 / a)) / L - L / 2


def known_within(a: Any) -> Any:
    """The factor within which a single rank must be known to do as well as the window."""
    return 1 + np.exp(-ignorance(a))


def absolute_moment(t: Any) -> Any:
    """E|Z|^t of a standard normal number."""
    return 2 ** (t / 2) * gamma((t + 1) / 2) / np.pi**0.5


def row_space_at(V: Tensor, r: int, seed: int) -> Tensor:
    """V_r (r, n): V (R, n) turned uniformly, then noise directions; the same for every r."""
    g = torch.Generator().manual_seed(seed)
    R, n = V.shape
    turned = torch.linalg.qr(torch.randn(R, R, generator=g, dtype=V.dtype)).Q @ V
    noise = torch.randn(n, max(r - R, 0), generator=g, dtype=V.dtype)
    noise = torch.linalg.qr(noise - V.T @ (V @ noise)).Q.T
    return torch.cat([turned, noise])[:r]
