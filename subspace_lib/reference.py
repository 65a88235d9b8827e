"""How far a reference subspace is from the row space of any matrix with the same columns.

The matrix may be any layer, at any depth, of any architecture: no weights, no chain of links.
Notation: R (k, n) orthonormal rows, P = RᵀR, thin SVD Y Rᵀ = U Σ Oᵀ, V = RᵀO, E = Y(I − P),
F₀ = EᵀUΣ⁻¹, Q = P_q(Y), s = σ_k and t = s_{q+1}(Y).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.bounds import INF, Certificate, divide, rounding_allowance, singular_value
from subspace_lib.clustering import connectivity_margin


@dataclass(frozen=True)
class _Parts:
    """The quantities above; tau = ‖F₀‖/(1 − t²/s²) bounds the tangent of the largest angle."""

    V: Tensor
    F0: Tensor
    E: Tensor
    s: Tensor
    t: Tensor
    slack: Tensor
    tau: Tensor

    @property
    def sine(self) -> Tensor:
        return torch.where(self.tau < INF, self.tau / (1 + self.tau**2).sqrt(), self.tau)


def _parts(Y: Any, R: Any, q: int | None) -> tuple[_Parts, int]:
    Y, R = check.matrix(Y, "Y"), check.matrix(R, "R")
    check.same_columns(Y, R, ("Y", "R"))
    Y, R = Y.double(), R.double()
    k = R.shape[-2]
    if not torch.allclose(R @ R.mT, torch.eye(k, dtype=R.dtype, device=R.device), atol=1e-8):
        raise ValueError("R must have orthonormal rows, got others; row_basis(A, rank) makes them")
    q = k if q is None else check.rank_within(q, Y, "Y", "q")
    if q < k:
        raise ValueError(f"q must be at least the number of rows of R = {k}, got {q}")
    coordinates = Y @ R.mT
    U, sigma, Oh = torch.linalg.svd(coordinates, full_matrices=False)
    E = Y - coordinates @ R
    s, t, slack = singular_value(coordinates, k), singular_value(Y, q + 1), rounding_allowance(Y)
    safe = sigma.clamp(min=torch.finfo(Y.dtype).tiny)[..., None, :]
    F0 = (E.mT @ U) / safe
    size = torch.linalg.matrix_norm(F0, 2) + divide(slack, s - slack)
    share = ((t + slack) / (s - slack).clamp(min=torch.finfo(Y.dtype).tiny)) ** 2
    tau = torch.where(s - t > 2 * slack, divide(size, 1 - share), torch.full_like(s, INF))
    return _Parts(R.mT @ Oh.mT, F0, E, s, t, slack, tau), k


def reference_bound(Y: Tensor, R: Tensor, q: int | None = None) -> Certificate:
    """‖(I − Q)Rᵀ‖ ≤ τ/√(1 + τ²), τ = ‖F₀‖ / (1 − t²/s²), for s > t; ∞ otherwise.

    With q = k (the default) this bounds ‖P − P_k(Y)‖; with q > k, how far the reference is from
    lying inside the leading q-dimensional row space of Y.
    Y: (..., p, n) any matrix, R: (..., k, n) orthonormal rows. Certificate of shape (...); the
    bound is below 1 wherever the gap s − t is positive. Computed in float64.
    Raises ValueError for R without orthonormal rows, q < k, or mismatched columns.
    """
    parts, k = _parts(Y, R, q)
    terms = {"σ_k(YRᵀ)": parts.s, "s_{q+1}(Y)": parts.t, "τ": parts.tau}
    quantity = f"‖(I − P_q(Y))Rᵀ‖, k = {k}"
    gap, threshold = parts.s - parts.t, 2 * parts.slack
    return Certificate("Reference bound", quantity, gap, threshold, parts.sine, terms)


@dataclass(frozen=True)
class _Entries:
    centre: Tensor  # P + L, the first-order prediction of Q
    linear: Tensor  # L = V F₀ᵀ + F₀ Vᵀ
    remainder: Tensor  # |(Q − P − L)_ij| is at most this
    direct: Tensor  # |(Q − P)_ij| is at most this


def _entries(Y: Any, R: Any) -> tuple[_Entries, _Parts]:
    parts, _ = _parts(Y, R, None)
    V, F0 = parts.V, parts.F0
    s = (parts.s - parts.slack).clamp(min=torch.finfo(V.dtype).tiny)[..., None]
    sine, t = parts.sine.clamp(max=1)[..., None], (parts.t + parts.slack)[..., None]
    x, ratio = (t / s) ** 2, t / s**2
    e = torch.linalg.vector_norm(parts.E, dim=-2) + parts.slack[..., None]
    f = torch.linalg.vector_norm(F0, dim=-1) + parts.slack[..., None] / s
    gamma = (f + ratio * sine * e) / (1 - x * sine**2)
    eta = (1 + x) * sine**2 * gamma + ratio * sine * e + parts.slack[..., None] / s
    p = torch.linalg.vector_norm(V, dim=-1)  # √P_ii

    def both(a: Tensor) -> Tensor:
        return p[..., :, None] * a[..., None, :] + a[..., :, None] * p[..., None, :]

    square = gamma[..., :, None] * gamma[..., None, :]
    square = square + sine[..., None] ** 2 * p[..., :, None] * p[..., None, :]
    linear = V @ F0.mT + F0 @ V.mT
    vacuous = (parts.tau == INF)[..., None, None]
    remainder = torch.where(vacuous, INF, both(eta) + square)
    direct = torch.where(vacuous, INF, both(gamma) + square)
    return _Entries(V @ V.mT + linear, linear, remainder, direct), parts


def entrywise_bound(Y: Tensor, R: Tensor) -> Certificate:
    """|Q − P| entry by entry, Q = P_k(Y): the better of two bounds; ``bound`` is (..., n, n).

    With e_j = ‖E e_j‖, f_j the norm of row j of F₀, x = t²/s², sin θ = τ/√(1 + τ²),
    γ_j = (f_j + (t/s²) sin θ e_j)/(1 − x sin²θ), η_j = (1 + x) sin²θ γ_j + (t/s²) sin θ e_j:
      (A) |Q − P|_ij     ≤ √P_ii γ_j + √P_jj γ_i + γ_i γ_j + sin²θ √(P_ii P_jj)
      (B) |Q − P − L|_ij ≤ √P_ii η_j + √P_jj η_i + γ_i γ_j + sin²θ √(P_ii P_jj), L = VF₀ᵀ + F₀Vᵀ
    Forms n×n matrices: for n up to some thousands. Y: (..., p, n), R: (..., k, n).
    """
    entries, parts = _entries(Y, R)
    bound = torch.minimum(entries.direct, entries.linear.abs() + entries.remainder)
    terms = {"σ_k(YRᵀ)": parts.s, "s_{k+1}(Y)": parts.t, "sin θ": parts.sine}
    gap, threshold = parts.s - parts.t, 2 * parts.slack
    return Certificate("Entrywise bound", "|Q − P| entry by entry", gap, threshold, bound, terms)


@dataclass(frozen=True, repr=False)
class ClusterCertificate(Certificate):
    """gap: the smallest certified edge that clusters need; threshold: the largest |Q_ij| possible
    across clusters. certified: (..., n) the points for which the conclusion holds without the rest.
    """

    certified: Tensor = None  # type: ignore[assignment]

    @property
    def certified_share(self) -> Tensor:
        """Share of the points, (...): 1 where the certificate holds."""
        return self.certified.double().mean(-1)


def certify_clusters(Y: Tensor, R: Tensor, labels: Any) -> ClusterCertificate:
    """Certify that thresholding |Q|, Q = P_k(Y), returns exactly the clusters of ``labels``.

    If every pair across clusters has |P + L|_ij + rem_ij ≤ c and the graph
    {|P + L|_ij − rem_ij > c} is connected inside each cluster, {|Q_ij| > c} has exactly the
    clusters as components. R need not be block diagonal. threshold is the smallest such c.
    Where the whole fails, points that spoil it are removed: ``certified_share``.
    Y: (..., p, n), R: (..., k, n), labels: (n,).
    """
    entries, parts = _entries(Y, R)
    y = check.label_vector(labels, entries.centre.shape[-1])
    across = torch.from_numpy(y[:, None] != y[None, :]).to(entries.centre.device)
    upper = entries.centre.abs() + entries.remainder
    lower = (entries.centre.abs() - entries.remainder).clamp(min=0)
    threshold = torch.where(across, upper, torch.zeros_like(upper)).amax((-2, -1))
    finite = threshold < INF
    lower = torch.where(finite[..., None, None], lower, torch.zeros_like(lower))
    gap = connectivity_margin(lower, y)
    batch = zip(
        lower.reshape(-1, *lower.shape[-2:]).cpu().numpy(),
        upper.reshape(-1, *upper.shape[-2:]).cpu().numpy(),
        strict=True,
    )
    kept = np.stack([_certified_points(low, up, y) for low, up in batch])
    certified = torch.from_numpy(kept).to(gap.device).reshape(*gap.shape, len(y))
    certified = certified | (gap > threshold)[..., None]
    terms = {"sin θ": parts.sine, "largest remainder": entries.remainder.amax((-2, -1))}
    return ClusterCertificate(
        "Cluster certificate", "components of {|Q| > c}", gap, threshold, parts.sine, terms,
        certified,
    )  # fmt: skip


def _certified_points(lower: np.ndarray, upper: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The largest set found over a grid of thresholds: drop wrong pairs, keep big components."""
    best = np.zeros(len(y), dtype=bool)
    if not np.isfinite(upper).all():
        return best
    inside = lower[y[:, None] == y[None, :]]
    for c in np.quantile(inside[inside > 0], np.linspace(0.02, 0.98, 25)) if inside.any() else []:
        kept = _without_wrong_pairs(upper > c, y)
        kept &= _largest_components(lower > c, y, kept)
        if kept.sum() > best.sum():
            best = kept
    return best


def _without_wrong_pairs(possible: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Greedy: remove the point with the most possible edges across clusters, until none is left."""
    wrong = possible & (y[:, None] != y[None, :])
    kept, count = np.ones(len(y), dtype=bool), wrong.sum(0)
    while count.max() > 0:
        j = int(count.argmax())
        kept[j] = False
        count -= wrong[j]
        count[j] = 0
        wrong[j] = wrong[:, j] = False
    return kept


def _largest_components(edges: np.ndarray, y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """In each cluster the largest connected group of the kept points (two points at least)."""
    chosen = np.zeros(len(y), dtype=bool)
    for k in range(y.max() + 1):
        points = np.flatnonzero(kept & (y == k))
        if len(points) < 2:
            continue
        names = connected_components(csr_matrix(edges[np.ix_(points, points)]), directed=False)[1]
        group = points[names == np.bincount(names).argmax()]
        chosen[group] = len(group) > 1
    return chosen
