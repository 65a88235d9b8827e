"""What a random ReLU layer does when it is infinitely wide, and the reference that it keeps.

For w ~ N(0, I) and Y = relu(WX) with p rows, (1/p)YᵀY → Φ = E[relu(wᵀx_i) relu(wᵀx_j)], half of
the arc-cosine kernel of degree 1. Φ = hhᵀ/(2π) + ¼XᵀX + H with h_j = ‖x_j‖ and H ⪰ 0.
Source: Cho and Saul, Kernel Methods for Deep Learning, NIPS 22 (2009), pp. 342–350.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.projectors import numerical_rank, row_basis

STEPS = 80  # halvings of a bracket of 1e-60 … 1 on a logarithmic scale: 1e-22 relative
HALF_PI, TWO_PI = math.pi / 2, 2 * math.pi


@check.numpy_in_numpy_out
def relu_kernel(X: Tensor) -> Tensor:
    """Φ_ij = E_w[relu(wᵀx_i) relu(wᵀx_j)] = ‖x_i‖‖x_j‖ (√(1 − ρ²) + ρ(π/2 + arcsin ρ))/(2π).

    X: (..., m, n), w ~ N(0, I_m), ρ the cosine of x_i and x_j (0 where one of them is zero).
    Returns (..., n, n) float64. Raises TypeError or ValueError for other than finite real matrices.
    """
    rank_one, linear, rest = _split(check.matrix(X, "X").double())
    return rank_one + linear + rest


@check.numpy_in_numpy_out
def relu_kernel_parts(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(hhᵀ/(2π), ¼XᵀX, H): the norms, the linear part and the rest; their sum is Φ.

    H = D[ρ²/(4π) + ρ⁴/(48π) + …]D, D = diag(h), every coefficient positive: H ⪰ 0, H_ij ≥ 0, and
    H_ij = 0 if and only if x_i ⟂ x_j. H keeps its relative accuracy for small cosines.
    X: (..., m, n). Returns three (..., n, n) float64.
    """
    return _split(check.matrix(X, "X").double())


def _split(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    h = torch.linalg.vector_norm(X, dim=-2)
    gram, outer = X.mT @ X, h[..., :, None] * h[..., None, :]
    rho = (gram / outer.clamp(min=torch.finfo(h.dtype).tiny)).clamp(-1, 1)
    sine = ((1 - rho) * (1 + rho)).sqrt()
    # √(1−ρ²) − 1 = −ρ²/(1 + √(1−ρ²)): the left side would cancel for small ρ
    rest = rho * torch.asin(rho) - rho.square() / (1 + sine)
    return outer / TWO_PI, gram / 4, outer * rest / TWO_PI


@check.numpy_in_numpy_out
def infinite_layer(X: Tensor) -> Tensor:
    """A matrix L (..., n, n) with LᵀL = Φ: a stand-in for Y/√p at infinite width.

    Its right singular vectors and values are those that Y/√p tends to. Half of the digits: from
    eigenvalues of Φ, so that singular values below 1e-8 of the largest are rounding.
    """
    values, vectors = torch.linalg.eigh(relu_kernel(check.matrix(X, "X")))
    return values.clamp(min=0).sqrt()[..., :, None] * vectors.mT


@dataclass(frozen=True)
class LostAngle:
    """Row space of X against the top-r space of M = hhᵀ/(2π) + ¼XᵀX; all of batch shape (...).

    angle: the one principal angle that is not zero, in radians. root: μ, the root of the secular
    equation in (0, λ_r). weakest: λ_r = s_r(X)²/4. orthogonal: ‖h_⊥‖, the part of the norm profile
    outside the row space. direction: (..., n) the unit vector of the row space with that angle.
    """

    angle: Tensor
    root: Tensor
    weakest: Tensor
    orthogonal: Tensor
    direction: Tensor


def lost_angle(X: Any, rank: int) -> LostAngle:
    """The exact angle by which the norm profile turns the row space of a rank-r matrix.

    With (λ_i, v_i) the eigenpairs of ¼XᵀX, c_i = v_iᵀh, h_⊥ = h − Σ c_i v_i, and μ the root of
      1 + (1/2π)[Σ c_i²/(λ_i − μ) − ‖h_⊥‖²/μ] = 0   in (0, λ_r):
    tan θ = (μ/‖h_⊥‖) √(Σ c_i²/(λ_i − μ)²), and the direction is Σ c_i/(λ_i − μ) v_i, normalised.
    c_r and ‖h_⊥‖ are kept above n·eps·‖h‖, which rounding cannot tell from zero; so where all c_i
    are 0 the angle is 0° or 90°, as ‖h_⊥‖²/(2π) falls on one side of λ_r or the other.
    X: (..., m, n) of rank exactly ``rank``. Computed in float64.
    Raises ValueError where X has another numerical rank: the statement needs the clean data.
    """
    X = check.matrix(X, "X").double()
    r = check.rank_within(rank, X, "X")
    _exact_rank(X, r, "X")
    h = torch.linalg.vector_norm(X, dim=-2)
    V, floor = row_basis(X, r), X.shape[-1] * torch.finfo(h.dtype).eps
    lam = torch.linalg.svdvals(X)[..., :r].square() / 4
    c = (V @ h[..., None])[..., 0]
    least = floor * torch.linalg.vector_norm(h, dim=-1)
    last = torch.where(c[..., -1] < 0, -1.0, 1.0) * torch.maximum(c[..., -1].abs(), least)
    c = torch.cat([c[..., :-1], last[..., None]], -1)
    outside = torch.linalg.vector_norm(h - (V.mT @ c[..., None])[..., 0], dim=-1)
    outside = torch.maximum(outside, least)
    distances, root = _secular(lam, c, outside)
    lost = c / distances
    size = torch.linalg.vector_norm(lost, dim=-1)
    direction = (V.mT @ (lost / size[..., None])[..., None])[..., 0]
    return LostAngle(torch.atan(root / outside * size), root, lam[..., -1], outside, direction)


def _secular(lam: Tensor, c: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
    """(λ_i − μ, μ) at the root in (0, λ_r), where the left side rises from −∞ to +∞.

    Halving on a logarithmic scale, of μ in the lower half of the interval and of λ_r − μ in the
    upper: the root may be closer to either end than a difference of two floats can tell.
    """
    weakest = lam[..., -1]

    def value(mu: Tensor, gap: Tensor) -> Tensor:
        apart = lam - weakest[..., None] + gap[..., None]
        return TWO_PI + (c.square() / apart).sum(-1) - outside.square() / mu

    low = value(weakest / 2, weakest / 2) > 0  # the root is nearer to 0 than to λ_r
    a, b = torch.full_like(weakest, -60.0), torch.full_like(weakest, math.log10(0.5))
    for _ in range(STEPS):
        middle = (a + b) / 2
        small = weakest * 10**middle
        large = weakest - small
        mu, gap = torch.where(low, small, large), torch.where(low, large, small)
        too_far = (value(mu, gap) > 0) == low  # the small one of the two is too large
        a, b = torch.where(too_far, a, middle), torch.where(too_far, middle, b)
    small = weakest * 10 ** ((a + b) / 2)
    mu, gap = torch.where(low, small, weakest - small), torch.where(low, weakest - small, small)
    return lam - weakest[..., None] + gap[..., None], mu


def _exact_rank(X: Tensor, rank: int, name: str) -> None:
    found = torch.as_tensor(numerical_rank(X))
    if (found != rank).any():
        raise ValueError(
            f"{name} must have rank {rank}, got numerical rank {int(found.flatten()[0])}; pass the "
            f"clean data with their own rank (numerical_rank({name}))"
        )


@check.numpy_in_numpy_out
def norm_profile_reference(clean: Tensor, rank: int, labels: Any = None) -> Tensor:
    """Orthonormal rows of the row space of X* and its norm profile: what a ReLU layer keeps.

    labels None: row(X*) + span(h), (..., rank + 1, n). With labels (n,): one profile per cluster,
    h restricted to it, (..., rank + K, n); for independent subspaces that is block diagonal.
    clean: (..., m, n) of rank ``rank``. float64.
    Raises ValueError where a profile lies in the row space already (a cluster on a ray: its norms
    are linear), or where the rank is not that of ``clean``.
    """
    X = check.matrix(clean, "clean").double()
    r = check.rank_within(rank, X, "clean")
    _exact_rank(X, r, "clean")
    V, h = row_basis(X, r), torch.linalg.vector_norm(X, dim=-2)
    profiles = h[..., None, :]
    if labels is not None:
        y = torch.from_numpy(check.label_vector(labels, X.shape[-1])).to(X.device)
        profiles = profiles * (
            y[None, :] == torch.arange(int(y.max()) + 1, device=X.device)[:, None]
        )
    size = torch.linalg.vector_norm(profiles, dim=-1, keepdim=True)
    profiles = profiles / size.clamp(min=torch.finfo(X.dtype).tiny)
    beside = profiles - (profiles @ V.mT) @ V
    if r + profiles.shape[-2] > X.shape[-1] or (torch.linalg.svdvals(beside)[..., -1] < 1e-8).any():
        raise ValueError(
            f"the norm profile must stick out of the row space, got {profiles.shape[-2]} profiles "
            f"of which one lies in it (up to 1e-8); use row_basis(clean, {r}) there"
        )
    return torch.linalg.qr(torch.cat([V, beside], -2).mT).Q.mT
