"""How far a reference subspace is from the row space of any matrix with the same columns.

The matrix may be any layer, at any depth, of any architecture: no weights, no chain of links.
Notation: R (k, n) orthonormal rows, P = RᵀR, thin SVD Y Rᵀ = U Σ Oᵀ, V = RᵀO, E = Y(I − P),
F₀ = EᵀUΣ⁻¹, Q = P_q(Y), s = σ_k and t = s_{q+1}(Y).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.bounds import INF, Certificate, divide, rounding_allowance, singular_value
from subspace_lib.projectors import row_basis

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class _Parts:
    """The quantities above, in units of ``scale`` (a power of two near the largest entry of Y).

    In these units nothing over- or underflows; F₀, V and τ do not depend on the units.
    tau = (‖F₀‖ + rounding)/(1 − t²/s²) bounds the tangent of the largest angle; ``sine`` its sine.
    """

    U: Tensor
    sigma: Tensor
    V: Tensor
    F0: Tensor
    E: Tensor
    s: Tensor
    t: Tensor
    slack: Tensor
    tau: Tensor
    sine: Tensor
    scale: Tensor

    @property
    def gap(self) -> Tensor:
        return (self.s - self.t) * self.scale

    @property
    def threshold(self) -> Tensor:
        return 2 * self.slack * self.scale


def _orthonormal(R: Tensor) -> Tensor:
    """The same row space with rows orthonormal to the last digit; ValueError if they never were."""
    eye = torch.eye(R.shape[-2], dtype=torch.float64, device=R.device)
    if not ((R @ R.mT - eye).abs() < 1e-4).all():  # single precision passes, another basis does not
        raise ValueError("R must have orthonormal rows, got others; row_basis(A, rank) makes them")
    return torch.linalg.qr(R.mT).Q.mT


def _sine(slope: Tensor, offset: Tensor) -> Tensor:
    """Largest sin θ with sin θ ≤ slope · cos θ + offset: the tangent form with rounding beside it.

    With tan α = slope: sin(θ − α) ≤ offset · cos α, so sin θ ≤ sin α + offset · cos² α.
    """
    finite = torch.where(slope < INF, slope, torch.zeros_like(slope))
    cosine = 1 / torch.hypot(torch.ones_like(finite), finite)
    return torch.where(slope < INF, (finite * cosine + offset * cosine**2).clamp(max=1), INF)


def _tangent(length: Tensor, s: Tensor, t: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
    """(slope, offset) of tan θ ≤ (length/s)/(1 − t²/s²) with its rounding; ∞ where s − t ≤ 2 slack.

    With computed factors Y V = U Σ + Δ the fixed-point equation gains S ΔᵀU Σ⁻¹ and
    (I − Q)YᵀΔ Σ⁻², each at most slack/s, and E carries a third such error.
    """
    low = (s - slack).clamp(min=torch.finfo(s.dtype).tiny)
    room, open_ = low - (t + slack), s - t > 2 * slack
    share = (1 - (t + slack) / low) * (1 + (t + slack) / low)  # 1 − t²/s² without cancellation
    share = torch.where(open_ & (room > 0), share, torch.ones_like(share))
    infinite = torch.full_like(share, INF)
    slope = torch.where(open_, length / low / share, infinite)
    return slope, torch.where(open_, 3 * slack / low / share, infinite)


def _parts(Y: Any, R: Any, q: int | None, values: Tensor | None = None) -> tuple[_Parts, int]:
    """values: the leading singular values of Y, q + 1 at least, where they are known already."""
    Y, R = check.matrix(Y, "Y"), check.matrix(R, "R")
    check.same_columns(Y, R, ("Y", "R"))
    R = _orthonormal(R.double())
    k = R.shape[-2]
    q = k if q is None else check.rank_within(q, Y, "Y", "q")
    if q < k:
        raise ValueError(f"q must be at least the number of rows of R = {k}, got {q}")
    Y, scale = _balanced(Y.double())
    coordinates = Y @ R.mT
    U, sigma, Oh = torch.linalg.svd(coordinates, full_matrices=False)
    E = Y - coordinates @ R
    E = E - (E @ R.mT) @ R  # the second pass removes what rounding left along R
    values = torch.linalg.svdvals(Y) if values is None else values / scale[..., None]
    s, t = _entry(sigma, k), _entry(values, q + 1)
    slack = 10 * max(Y.shape[-2:]) * EPS * values[..., 0]
    # a quotient beyond the range of doubles is vacuous in any case
    F0 = (E.mT @ U) / sigma.clamp(min=1e-150)[..., None, :]
    size = torch.linalg.matrix_norm(F0, 2)
    slope, offset = _tangent(size * s, s, t, slack)
    tau = torch.where(slope < INF, slope + offset, slope)
    parts = _Parts(U, sigma, R.mT @ Oh.mT, F0, E, s, t, slack, tau, _sine(slope, offset), scale)
    return parts, k


def _balanced(Y: Tensor) -> tuple[Tensor, Tensor]:
    """Y divided, without any rounding, by the power of two above its largest entry."""
    _, exponent = torch.frexp(Y.abs().amax((-2, -1)))
    half = exponent // 2  # in two steps: 2^-1074 itself has no reciprocal
    Y = torch.ldexp(torch.ldexp(Y, -half[..., None, None]), (half - exponent)[..., None, None])
    return Y, torch.ldexp(torch.ones_like(Y[..., 0, 0]), exponent)


def _entry(values: Tensor, index: int) -> Tensor:
    """The index-th of falling values (..., j), counted from 1; 0 beyond them."""
    inside = index <= values.shape[-1]
    return values[..., index - 1] if inside else torch.zeros_like(values[..., 0])


def reference_bound(Y: Tensor, R: Tensor, q: int | None = None) -> Certificate:
    """‖(I − Q)Rᵀ‖ ≤ τ/√(1 + τ²), τ = ‖F₀‖ / (1 − t²/s²), for s > t; ∞ otherwise.

    With q = k (the default) this bounds ‖P − P_k(Y)‖; with q > k, how far the reference is from
    lying inside the leading q-dimensional row space of Y.
    Y: (..., p, n) any matrix, R: (..., k, n) orthonormal rows. Certificate of shape (...); the
    bound is at most 1 wherever the gap s − t exceeds rounding. Computed in float64, in units of
    Y's largest entry, with a rounding allowance of 10 · max(p, n) · eps · ‖Y‖ on s, t and E.
    Raises ValueError for R without orthonormal rows, q < k, or mismatched columns.
    """
    parts, k = _parts(Y, R, q)
    terms = {
        "σ_k(YRᵀ)": parts.s * parts.scale,
        "s_{q+1}(Y)": parts.t * parts.scale,
        "‖F₀‖": torch.linalg.matrix_norm(parts.F0, 2),
        "τ": parts.tau,
    }
    quantity = f"‖(I − P_q(Y))Rᵀ‖, k = {k}"
    return Certificate("Reference bound", quantity, parts.gap, parts.threshold, parts.sine, terms)


@dataclass(frozen=True, repr=False)
class DirectionCertificate(Certificate):
    """One bound per direction of the reference: gap, bound (..., k); directions (..., k, n).

    ``directions`` are orthonormal rows v_i spanning R, in the order of falling σ_i = ‖Y v_i‖.
    """

    directions: Tensor = None  # type: ignore[assignment]


def direction_bounds(Y: Tensor, R: Tensor, q: int | None = None) -> DirectionCertificate:
    """tan θ_i ≤ σ_i ‖Eᵀu_i‖/(σ_i² − t²) for the angle θ_i between v_i and the leading q row space.

    Direction by direction, where σ_i > t; ∞ elsewhere: those directions may be lost. ``bound`` is
    on the sine ‖(I − Q)v_i‖. Y, R, q and errors as in ``reference_bound``; bound: (..., k).
    """
    parts, k = _parts(Y, R, q)
    t, slack = parts.t[..., None], parts.slack[..., None]
    outside = torch.linalg.vector_norm(parts.E.mT @ parts.U, dim=-2)  # ‖Eᵀu_i‖
    slope, offset = _tangent(outside, parts.sigma, t, slack)
    scale = parts.scale[..., None]
    gap, threshold = (parts.sigma - t) * scale, (2 * slack * scale).expand_as(slope)
    terms = {"σ_i": parts.sigma * scale, "‖Eᵀu_i‖": outside * scale, "τ_i": slope}
    return DirectionCertificate(
        "Direction bounds", f"‖(I − P_q(Y))v_i‖, k = {k}", gap, threshold, _sine(slope, offset),
        terms, parts.V.mT,
    )  # fmt: skip


def affine_reference(clean: Tensor, rank: int) -> Tensor:
    """Orthonormal rows of span(row space of X*, 1ᵀ): the reference for layers with a bias.

    clean: (..., m, n). Returns (..., rank + 1, n), the last row the part of 1 outside row(X*).
    Raises ValueError where 1ᵀ already lies in the row space (then that is the reference itself).
    """
    return _with_ones(row_basis(check.matrix(clean, "clean"), rank))


def _with_ones(V: Tensor) -> Tensor:
    ones = torch.full_like(V[..., :1, :], V.shape[-1] ** -0.5)
    h = ones - (ones @ V.mT) @ V
    h = h - (h @ V.mT) @ V
    size = torch.linalg.vector_norm(h, dim=-1, keepdim=True)
    if (size < V.shape[-1] * torch.finfo(V.dtype).eps ** 0.75).any():
        raise ValueError(
            "the constant vector already lies in the row space (distance "
            f"{float(size.min()):.1g}); use row_basis(clean, rank) as the reference"
        )
    return torch.cat([V, h / size], -2)


def label_reference(
    X: Tensor, labels: Any, ranks: int | Sequence[int], ones: bool = False
) -> Tensor:
    """One row space per class, side by side: a block diagonal reference that needs no clean data.

    Row block k holds the top r_k right singular vectors of the columns of class k, and zeros
    elsewhere. X: (..., m, n) any matrix, the data or a layer; labels: (n,); ranks: one number, or
    one per class in the order of the sorted labels. ones=True appends the part of 1ᵀ outside.
    Returns (..., Σ r_k (+ 1), n), orthonormal rows. Raises ValueError for a rank that a class has
    not, or for another number of ranks than classes.
    """
    X = check.matrix(X, "X")
    y = check.label_vector(labels, X.shape[-1])
    classes = int(y.max()) + 1
    sizes = [ranks] * classes if isinstance(ranks, (int, np.integer)) else list(ranks)
    if len(sizes) != classes:
        raise ValueError(
            f"ranks must be one number or one per class ({classes}), got {len(sizes)} of them"
        )
    blocks = []
    for k, rank in enumerate(sizes):
        inside = torch.from_numpy(np.flatnonzero(y == k)).to(X.device)
        basis = row_basis(X[..., inside], rank)
        block = X.new_zeros(*basis.shape[:-1], X.shape[-1])
        blocks.append(block.index_copy(-1, inside, basis))
    V = torch.cat(blocks, -2)
    return _with_ones(V) if ones else V


def one_step_bound(
    clean: Tensor, W: Tensor, Y: Tensor, rank: int, scale: Tensor | float | None = None
) -> Certificate:
    """‖P(X*) − P(Y)‖ ≤ ‖Y − cWX*‖ / (c s_r(WX*) − s_{r+1}(Y)) for a scale c > 0.

    Every c with a positive gap gives a bound, because P(cWX*) = P(X*). ``scale=None`` searches for
    the best one, per instance; ½ is natural for ReLU. The search only chooses c, the bound is
    then evaluated afresh, so an unfinished search costs sharpness and never truth.
    clean: (..., m, n) of rank r exactly, W: (..., p, m), Y: (..., p, n) → (...). Raises
    ValueError for shapes that do not fit or scale ≤ 0.
    """
    S, W, Y = check.matrix(clean, "clean"), check.matrix(W, "W"), check.matrix(Y, "Y")
    check.same_columns(S, Y, ("clean", "Y"))
    if W.shape[-1] != S.shape[-2] or W.shape[-2] != Y.shape[-2]:
        raise ValueError(
            f"W must be ({Y.shape[-2]}, {S.shape[-2]}) to map clean {tuple(S.shape)} to Y "
            f"{tuple(Y.shape)}, got {tuple(W.shape)}; pass the weights that produced Y"
        )
    r = check.rank_within(rank, S, "clean")
    S, W = S.double(), W.double()
    A, Y = torch.broadcast_tensors(W @ S, Y.double())
    # what rounding leaves in the product WX*, which may be far smaller than its factors
    product = torch.linalg.matrix_norm(W, 2) * torch.linalg.matrix_norm(S)
    slack = 10 * max(S.shape[-2:]) * EPS * product
    if scale is None:  # near c = 1 the search sees half of the digits, least squares all of them
        fit = (A * Y).sum((-2, -1)) / A.square().sum((-2, -1)).clamp(min=1e-300)
        one, other = (_one_step(A, Y, r, c, slack) for c in (_best_scale(A, Y, r), fit.abs() + EPS))
        better = one[2] <= other[2]
        parts = [torch.where(better, *pair) for pair in zip(one, other, strict=True)]
    else:
        c = torch.as_tensor(scale, dtype=A.dtype, device=A.device).expand(A.shape[:-2])
        if not (c > 0).all():
            raise ValueError(f"scale must be positive, got {float(c.min()):.3g}; None searches")
        parts = list(_one_step(A, Y, r, c, slack))
    gap, threshold, bound, *terms = parts
    names = ("c", "c s_r(WX*)", "s_{r+1}(Y)", "‖Y − cWX*‖")
    named = dict(zip(names, terms, strict=True))
    return Certificate("One step", "‖P(X*) − P(Y)‖", gap, threshold, bound, named)


def _one_step(A: Tensor, Y: Tensor, r: int, c: Tensor, slack: Tensor) -> tuple[Tensor, ...]:
    """Gap, threshold, bound, then the terms; ``slack`` is the error that A carries."""
    B = c[..., None, None] * A
    error, slack = torch.linalg.matrix_norm(Y - B, 2), rounding_allowance(B, Y) + c * slack
    weakest, rest = singular_value(B, r), singular_value(Y, r + 1)
    gap = weakest - rest
    bound = divide(error + slack, gap - 2 * slack)
    return gap, error + 3 * slack, bound, c, weakest, rest, error


def _best_scale(A: Tensor, Y: Tensor, r: int, steps: int = 40) -> Tensor:
    """Golden-section search over u = 1/c of ‖uY − A‖/(s_r(A) − u s_{r+1}(Y)).

    The quotient of a convex function and a positive affine one has convex sublevel sets, so the
    search finds the minimum. A quotient below 1 forces u < 2‖A‖/‖Y‖. Norms come from p×p Gram
    matrices: half of the digits, enough to choose c.
    """
    s, values = singular_value(A, r), torch.linalg.svdvals(Y)
    rest, tiny = _entry(values, r + 1), torch.finfo(A.dtype).tiny
    high = 2 * singular_value(A, 1) / values[..., 0].clamp(min=tiny)
    high = torch.where(rest > 0, torch.minimum(high, s / rest.clamp(min=tiny)), high)
    squares = A @ A.mT, A @ Y.mT, Y @ Y.mT

    def quotient(u: Tensor) -> Tensor:
        v = u[..., None, None]
        gram = squares[0] - v * (squares[1] + squares[1].mT) + v**2 * squares[2]
        size = torch.linalg.eigvalsh(gram)[..., -1].clamp(min=0).sqrt()
        return divide(size, s - u * rest)

    golden, low = (5**0.5 - 1) / 2, torch.zeros_like(high)
    for _ in range(steps):
        left, right = high - golden * (high - low), low + golden * (high - low)
        better = quotient(left) <= quotient(right)
        low, high = torch.where(better, low, left), torch.where(better, right, high)
    u = (low + high) / 2
    return torch.where(u > 0, 1 / u.clamp(min=tiny), torch.ones_like(u))


@dataclass(frozen=True)
class _Entries:
    linear: Tensor  # L = V F₀ᵀ + F₀ Vᵀ, the first-order change of P
    remainder: Tensor  # |(Q − P − L)_ij| is at most this
    direct: Tensor  # |(Q − P)_ij| is at most this
    lower: Tensor  # lower ≤ |Q_ij| ≤ upper, from the better of the two; 0 and ∞ where vacuous
    upper: Tensor


def _entries(Y: Any, R: Any, values: Tensor | None = None) -> tuple[_Entries, _Parts]:
    parts, _ = _parts(Y, R, None, values)
    V, F0 = parts.V, parts.F0
    s = (parts.s - parts.slack).clamp(min=torch.finfo(V.dtype).tiny)[..., None]
    sine, t = parts.sine.clamp(max=1)[..., None], (parts.t + parts.slack)[..., None]
    # The fixed-point equation gains the three errors of ``_tangent``, each at most slack/s, and
    # (I − P) − FVᵀ passes them on to row j with a factor of at most 1 + γ_j.
    x, ratio, rounding = (t / s) ** 2, t / s**2, 3 * parts.slack[..., None] / s
    e = torch.linalg.vector_norm(parts.E, dim=-2) + parts.slack[..., None]
    f = torch.linalg.vector_norm(F0, dim=-1) + rounding
    room = 1 - x * sine**2 - rounding
    vacuous = ((parts.tau == INF)[..., None] | (room <= 0))[..., None]
    gamma = (f + ratio * sine * e) / torch.where(room > 0, room, 1.0)
    eta = (1 + x) * sine**2 * gamma + ratio * sine * e + rounding * (1 + gamma)
    p = torch.linalg.vector_norm(V, dim=-1)  # √P_ii

    one = torch.ones_like(p)
    # The last term of either is for forming P, L and Q in floating point.
    square = (gamma, gamma), (sine**2 * p, p), (rounding * one, one)
    remainder = _sum_of_outer((p, eta), (eta, p), *square)
    direct = _sum_of_outer((p, gamma), (gamma, p), *square)
    P, linear = V @ V.mT, torch.cat([V, F0], -1) @ torch.cat([F0, V], -1).mT
    if vacuous.any():
        remainder, direct = (torch.where(vacuous, INF, A) for A in (remainder, direct))
    first, zeroth = (P + linear).abs(), P.abs()
    lower = torch.maximum(first - remainder, zeroth - direct).clamp(min=0)
    upper = torch.minimum(first + remainder, zeroth + direct)
    if vacuous.any():
        lower, upper = torch.where(vacuous, 0.0, lower), torch.where(vacuous, INF, upper)
    lower, upper = torch.minimum(lower, lower.mT), torch.maximum(upper, upper.mT)  # rounding
    return _Entries(linear, remainder, direct, lower, upper), parts


def _sum_of_outer(*pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Σ a bᵀ over pairs of vectors (..., n), as one matrix product."""
    left, right = (torch.stack(vectors, -1) for vectors in zip(*pairs, strict=True))
    return left @ right.mT


def entrywise_bound(Y: Tensor, R: Tensor) -> Certificate:
    """|Q − P| entry by entry, Q = P_k(Y): the better of two bounds; ``bound`` is (..., n, n).

    With e_j = ‖E e_j‖, f_j the norm of row j of F₀, x = t²/s², sin θ = τ/√(1 + τ²),
    γ_j = (f_j + (t/s²) sin θ e_j)/(1 − x sin²θ), η_j = (1 + x) sin²θ γ_j + (t/s²) sin θ e_j:
      (A) |Q − P|_ij     ≤ √P_ii γ_j + √P_jj γ_i + γ_i γ_j + sin²θ √(P_ii P_jj)
      (B) |Q − P − L|_ij ≤ √P_ii η_j + √P_jj η_i + γ_i γ_j + sin²θ √(P_ii P_jj), L = VF₀ᵀ + F₀Vᵀ
    terms: "A" and "B", the two bounds on |Q − P|; "centre" P + L and "remainder" of (B); and
    "lower" ≤ |Q_ij| ≤ "upper" (0 and ∞ where vacuous).
    Forms n×n matrices, about a dozen per trial: for n up to some thousands.
    Y: (..., p, n), R: (..., k, n) with orthonormal rows. ∞ where s ≤ t. Computed in float64.
    Raises ValueError for R without orthonormal rows or mismatched columns.
    """
    entries, parts = _entries(Y, R)
    second = entries.linear.abs() + entries.remainder
    bound = torch.minimum(entries.direct, second)
    terms = {
        "σ_k(YRᵀ)": parts.s * parts.scale, "s_{k+1}(Y)": parts.t * parts.scale,
        "sin θ": parts.sine, "A": entries.direct, "B": second,
        "centre": parts.V @ parts.V.mT + entries.linear, "remainder": entries.remainder,
        "lower": entries.lower, "upper": entries.upper,
    }  # fmt: skip
    quantity = "|Q − P| entry by entry"
    return Certificate("Entrywise bound", quantity, parts.gap, parts.threshold, bound, terms)


@dataclass(frozen=True, repr=False)
class ClusterCertificate(Certificate):
    """gap: the weakest edge that clusters need, at least; threshold: the largest |Q_ij| across
    clusters, at most. certified: (..., n) points for which the conclusion holds among themselves.
    used: (...) a threshold c for ``certified``, midway between the largest possible edge across and
    the weakest certain edge that is needed among these points; NaN where no point is certified.
    """

    certified: Tensor = None  # type: ignore[assignment]
    used: Tensor = None  # type: ignore[assignment]

    @property
    def certified_share(self) -> Tensor:
        """Share of the points, (...): 1 where the certificate holds."""
        return self.certified.double().mean(-1)


def certify_clusters(
    Y: Tensor, R: Tensor, labels: Any, *, share: bool = True
) -> ClusterCertificate:
    """Certify that thresholding |Q|, Q = P_k(Y), returns exactly the clusters of ``labels``.

    The entrywise bounds give lower ≤ |Q_ij| ≤ upper. If some c has upper ≤ c for every pair across
    clusters, and the graph {lower > c} is connected inside each cluster, then the components of
    {|Q_ij| > c} are exactly the clusters. R need not be block diagonal. The smallest possible c
    is ``threshold``; the certificate holds if and only if any c works.
    Where it fails, points that spoil it are removed: with c = ``used``, the points in
    ``certified``, taken alone, satisfy the two conditions, so the components of {|Q_ij| > c} among
    them are exactly the clusters. Every cluster keeps two points at least, or nothing is certified.
    It says nothing about the removed points, nor that no larger set exists.
    share=False decides ``holds`` only: certified is all or nothing, and the call several times
    faster.
    Y: (..., p, n), R: (..., k, n), labels: (n,). Raises as ``entrywise_bound``.
    """
    entries, parts = _entries(Y, R)
    n = entries.lower.shape[-1]
    y = check.label_vector(labels, n)
    across = torch.from_numpy(y[:, None] != y[None, :]).to(entries.lower.device)
    threshold = torch.where(across, entries.upper, 0.0).amax((-2, -1))
    lower, upper = (A.cpu().numpy().reshape(-1, n, n) for A in (entries.lower, entries.upper))
    gap = torch.from_numpy(_weakest_edges(lower, y)).to(threshold).reshape(threshold.shape)
    holds = (gap > 0) & (gap > threshold)
    certified = holds[..., None].expand(*holds.shape, n)
    middle = threshold + (gap.clamp(max=2 * threshold + 1) - threshold) / 2  # gap may be infinite
    used = torch.where(holds, middle, float("nan"))
    if share and not holds.all():
        found = [
            (np.ones(n, dtype=bool), np.nan) if done else _certified_points(low, up, y)
            for low, up, done in zip(lower, upper, holds.flatten().tolist(), strict=True)
        ]
        kept = torch.from_numpy(np.stack([points for points, _ in found])).to(gap.device)
        certified = kept.reshape(*holds.shape, n)
        c = torch.tensor([c for _, c in found]).to(gap).reshape(holds.shape)
        used = torch.where(holds, middle, c)
    bound = torch.minimum(entries.direct, entries.linear.abs() + entries.remainder)
    terms = {
        "sin θ": parts.sine,
        "largest |Q − P|": bound.amax((-2, -1)),
        "largest remainder": entries.remainder.amax((-2, -1)),
    }
    return ClusterCertificate(
        "Cluster certificate", "components of {|Q| > c}", gap, threshold, parts.sine, terms,
        certified, used,
    )  # fmt: skip


def certified_share(Y: Tensor, R: Tensor, labels: Any, values: Tensor | None = None) -> Tensor:
    """``certify_clusters(Y, R, labels).certified_share`` (...), without what it does not need.

    values: (..., j) the leading singular values of Y, more than R has rows, where they are known.
    """
    y = check.label_vector(labels, Y.shape[-1])
    n = len(y)
    if y.max() + 1 == n:  # no cluster has an edge to look at
        return certify_clusters(Y, R, y).certified_share
    entries, _ = _entries(Y, R, values)
    lower, upper = (A.cpu().numpy().reshape(-1, n, n) for A in (entries.lower, entries.upper))
    found = [_certified_points(low, up, y)[0].mean() for low, up in zip(lower, upper, strict=True)]
    return torch.tensor(found, dtype=torch.float64).to(Y.device).reshape(entries.lower.shape[:-2])


@check.numpy_in_numpy_out
def entrywise_margin(P: Tensor, labels: Any) -> Tensor:
    """ε = ε_conn(P) − max |P_ij| across clusters, for P that need not be block diagonal.

    If ε > 0 and ‖P − Q‖_max < ε/2, Q symmetric, the components of {|Q_ij| > c} with
    c = ε_conn − ε/2 are exactly the clusters. For block diagonal P it is ``connectivity_margin``.
    P: (..., n, n) symmetric, labels: (n,). Returns (...); negative where P itself leaks too much.
    """
    P = check.square(P, "P")
    n, size = P.shape[-1], P.detach().abs()
    y = check.label_vector(labels, n)
    across = torch.from_numpy(y[:, None] != y[None, :]).to(P.device)
    leak = size.masked_fill(~across, 0).amax((-2, -1))
    weakest = _weakest_edges(size.cpu().double().numpy().reshape(-1, n, n), y)
    return torch.from_numpy(weakest).to(leak).reshape(leak.shape) - leak


def _weakest_edges(weights: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``connectivity_margin`` of every matrix (batch, n, n) at once: Prim's algorithm, batched."""
    weakest = np.full(len(weights), INF)
    for mine in _classes(y):
        edges, _ = _spanning_trees(weights[:, mine[:, None], mine])
        weakest = np.minimum(weakest, edges.min(-1, initial=INF))
    return weakest


def _spanning_trees(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maximum spanning trees of complete graphs (batch, m, m), weights not negative, by Prim.

    edges: (batch, m − 1) and order: (batch, m), in the order in which the points are reached. An
    edge ≤ c is taken only when no edge > c leaves the tree, so the components of the graph of
    the edges > c are the runs of ``order`` between the edges ≤ c.
    """
    batch, m = np.arange(len(weights)), weights.shape[-1]
    reach, edges = weights[:, 0].copy(), np.empty((len(weights), m - 1))
    order = np.zeros((len(weights), m), dtype=np.int64)
    reach[:, 0] = -INF  # marks the points already in the tree
    taken = np.zeros_like(reach)
    taken[:, 0] = -INF
    for i in range(m - 1):
        order[:, i + 1] = j = reach.argmax(-1)
        edges[:, i] = reach[batch, j]
        taken[batch, j] = -INF
        reach = np.maximum(reach, weights[batch, j]) + taken
    return edges, order


COARSE, FINE = 10, 6  # thresholds tried over all edges, and again around the best of them


def _certified_points(
    lower: np.ndarray, upper: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, float]:
    """The largest set found, and its threshold: a coarse search over c, then a finer one.

    Only thresholds just below an edge of the clusters' spanning trees matter: between two of them
    nothing is gained inside the clusters, and a larger c excludes more edges across.
    """
    nothing = np.zeros(len(y), dtype=bool), float("nan")
    if not np.isfinite(upper).all() or not _conceivable(lower, upper, y):
        return nothing
    trees = []
    for mine in _classes(y):
        (own,), (order,) = _spanning_trees(lower[None][:, mine[:, None], mine])
        trees.append((own, mine[order]))
    edges = np.unique(np.concatenate([own for own, _ in trees]))
    edges = edges[edges > 0]
    if len(edges) == 0:
        return nothing
    tried: dict[int, np.ndarray] = {}
    inside, across = ~np.eye(len(y), dtype=bool) & (y[:, None] == y), y[:, None] != y

    def size(i: int) -> int:
        if i not in tried:
            c = np.nextafter(edges[i], 0)
            main = _main_components(trees, c, y)
            tried[i] = _kept(main, (lower > c) & inside, (upper > c) & across, y)
        return int(tried[i].sum())

    # geometric, because the first few edges matter where the whole nearly holds
    grid = np.unique(np.geomspace(1, len(edges), COARSE).astype(int) - 1).tolist()
    best = max(grid, key=size)
    place = grid.index(best)
    low, high = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    best = max(np.unique(np.linspace(low, high, FINE + 2).astype(int)).tolist(), key=size)
    if not size(best):
        return nothing
    # However the set was found, the two conditions are evaluated afresh for it.
    alive = np.flatnonzero(tried[best])
    weakest = float(_weakest_edges(lower[None][:, alive[:, None], alive], y[alive])[0])
    among = np.ix_(alive, alive)
    possible = float(upper[among][across[among]].max(initial=0))
    c = min(possible + (weakest - possible) / 2, np.nextafter(weakest, 0))
    return (tried[best], c) if possible <= c < weakest else nothing


def _conceivable(lower: np.ndarray, upper: np.ndarray, y: np.ndarray) -> bool:
    """False if no c leaves each cluster a certain edge and each two clusters a harmless pair.

    A certified set has both, so that False rules every set out, at the cost of one look.
    """
    classes = _classes(y)
    certain, harmless = INF, 0.0
    for k, mine in enumerate(classes):
        block = lower[np.ix_(mine, mine)]
        np.fill_diagonal(block, 0)
        certain = min(certain, block.max() if len(mine) > 1 else INF)
        for other in classes[:k]:
            harmless = max(harmless, upper[np.ix_(mine, other)].min())
    return certain > harmless


def _classes(y: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(y == k) for k in range(y.max() + 1)]


def _main_components(
    trees: list[tuple[np.ndarray, np.ndarray]], c: float, y: np.ndarray
) -> np.ndarray:
    """In each cluster the largest group connected by edges > c: mask (n,)."""
    chosen = np.zeros(len(y), dtype=bool)
    for edges, order in trees:
        cuts = np.concatenate([[0], 1 + np.flatnonzero(edges <= c), [len(order)]])
        longest = int(np.diff(cuts).argmax())
        chosen[order[cuts[longest] : cuts[longest + 1]]] = True
    return chosen


def _kept(main: np.ndarray, certain: np.ndarray, wrong: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points without a possible edge across, each cluster connected by certain edges.

    main: the main component of each cluster, to begin with; certain: (n, n) edges inside the
    clusters, wrong: across; boolean, symmetric, without diagonal. The worst offenders go first,
    then what has lost its connection; last, every point that has become harmless is taken back.
    Nothing is kept where a cluster would be left without two points (or its only one).
    """
    kept = _without_wrong_pairs(wrong, main)
    degree = kept.astype(np.float32) @ certain.astype(np.float32)  # sums of booleans are slow
    for k in range(y.max() + 1):
        mine = kept & (y == k)
        if mine.any():
            kept = kept & ~mine | _largest_component(certain, mine, degree)
    blocked, reached = wrong[kept].any(0), certain[kept].any(0)
    while (free := reached & ~blocked & ~kept).any():
        j = int(np.flatnonzero(free)[wrong[free].sum(1).argmin()])
        kept[j] = True
        blocked |= wrong[j]
        reached |= certain[j]
    left, had = np.bincount(y[kept], minlength=y.max() + 1), np.bincount(y)
    return kept if (left >= np.minimum(had, 2)).all() else np.zeros_like(kept)


def _without_wrong_pairs(wrong: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Greedy: remove the point with the most possible edges across clusters, until none is left."""
    kept, rows = kept.copy(), wrong.astype(np.float32)
    count = np.where(kept, kept.astype(np.float32) @ rows, -INF)
    while count[j := int(count.argmax())] > 0:
        kept[j] = False
        count -= rows[j]
        count[j] = -INF
    return kept


def _largest_component(edges: np.ndarray, points: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Mask of the largest connected group of the points (at least one), all masks (n,)."""
    best = np.arange(len(points)) == points.argmax()  # where no point has a neighbour
    rest = points & (degree > 0)
    while rest.sum() > best.sum():
        group = np.zeros_like(rest)
        group[np.where(rest, degree, 0).argmax()] = True
        front = group
        while front.any():  # the points one step further, until there are none
            front = edges[front].any(0) & points & ~group
            group = group | front
        rest &= ~group
        if group.sum() > best.sum():
            best = group
    return best
