"""How far a reference subspace is from the row space of any matrix with the same columns.

The matrix may be any layer, at any depth, of any architecture: no weights, no chain of links.
Notation: R (k, n) orthonormal rows, P = RᵀR, thin SVD Y Rᵀ = U Σ Oᵀ, V = RᵀO, E = Y(I − P),
F₀ = EᵀUΣ⁻¹, Q = P_q(Y), s = σ_k and t = s_{q+1}(Y).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.certificate import INF, Certificate
from subspace_lib.projectors import row_basis
from subspace_lib.rowspace import (
    balanced,
    nth,
    outside,
    rounding_unit,
    singular_values,
    top_norm,
)

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Comparison:
    """Y against R: the quantities above, in units of ``scale`` (a power of two, see ``balanced``).

    In these units nothing over- or underflows; F₀, V and the bounds do not depend on the units.
    values: (..., j) leading singular values of Y, q + 1 at least. slack: rounding in any of them.
    """

    U: Tensor
    sigma: Tensor
    s: Tensor
    V: Tensor
    E: Tensor
    F0: Tensor
    values: Tensor
    slack: Tensor
    scale: Tensor
    q: int

    @property
    def t(self) -> Tensor:
        return nth(self.values, self.q + 1)

    @property
    def gap(self) -> Tensor:
        return (self.s - self.t) * self.scale

    @property
    def threshold(self) -> Tensor:
        return 2 * self.slack * self.scale

    @property
    def tangent(self) -> tuple[Tensor, Tensor]:
        """Bound on the tangent of the largest angle, and its rounding: τ is their sum."""
        return _tangent(top_norm(self.F0) * self.s, self.s, self.t, self.slack)

    @property
    def sine(self) -> Tensor:
        return _sine(*self.tangent)

    def __getitem__(self, i: int) -> Comparison:
        """One trial of a batch."""
        own: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        own |= {name: value[i] for name, value in own.items() if isinstance(value, Tensor)}
        return Comparison(**own)


def compare(Y: Tensor, R: Tensor, q: int, values: Tensor | None = None) -> Comparison:
    """Y (..., p, n) and orthonormal rows R (..., k, n) in float64; values: where they are known."""
    Y, scale = balanced(Y)
    coordinates = Y @ R.mT
    U, sigma, Oh = torch.linalg.svd(coordinates, full_matrices=False)
    E = Y - coordinates @ R
    E = E - (E @ R.mT) @ R  # the second pass removes what rounding left along R
    # a quotient beyond the range of doubles is vacuous in any case
    F0 = (E.mT @ U) / sigma.clamp(min=1e-150)[..., None, :]
    values = singular_values(Y) if values is None else values / scale[..., None]
    slack = rounding_unit(max(Y.shape[-2:]), EPS) * values[..., 0]
    s = nth(sigma, R.shape[-2])
    return Comparison(U, sigma, s, R.mT @ Oh.mT, E, F0, values, slack, scale, q)


def compare_checked(Y: Any, R: Any, q: int | None = None) -> Comparison:
    """``compare`` of what a caller passed; q: None for the number of rows of R."""
    Y, R = check.matrix(Y, "Y"), check.matrix(R, "R")
    check.same_columns(Y, R, ("Y", "R"))
    R = _orthonormal(R.double())
    k = R.shape[-2]
    q = k if q is None else check.rank_within(q, Y, "Y", "q")
    if q < k:
        raise ValueError(f"q must be at least the number of rows of R = {k}, got {q}")
    return compare(Y.double(), R, q)


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
    cosine = 1 / torch.hypot(torch.ones_like(slope), slope)
    return torch.where(slope < INF, (slope * cosine + offset * cosine**2).clamp(max=1), INF)


def _tangent(length: Tensor, s: Tensor, t: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
    """(slope, offset) of tan θ ≤ (length/s)/(1 − t²/s²) with its rounding; ∞ where s − t ≤ 2 slack.

    With computed factors Y V = U Σ + Δ the fixed-point equation gains S ΔᵀU Σ⁻¹ and
    (I − Q)YᵀΔ Σ⁻², each at most slack/s, and E carries a third such error.
    """
    low, high = (s - slack).clamp(min=torch.finfo(s.dtype).tiny), t + slack
    share = (1 - high / low) * (1 + high / low)  # 1 − t²/s² without cancellation
    useful = (s - t > 2 * slack) & (low > high)
    slope = torch.where(useful, length / low / share, INF)
    return slope, torch.where(useful, 3 * slack / low / share, INF)


def sine_from_sums(G: Tensor | None, C: Tensor, energy: float, t: Tensor, size: int) -> Tensor:
    """The reference bound from sums over the columns of Y (p, n): C = YRᵀ, G = YYᵀ and ‖Y‖_F².

    EEᵀ = G − CCᵀ is all it needs of E, and where p×p is too much (G = None) ‖E‖_F takes the place
    of ‖EᵀU‖ and of every s_{q+1}. t: the s_{q+1}(Y), any number of them; size: max(p, n).
    """
    unit = rounding_unit(size, EPS)
    squares = torch.tensor(unit * energy, dtype=torch.float64)  # may be wrong in YYᵀ or YPYᵀ
    U, sigma, _ = torch.linalg.svd(C, full_matrices=False)
    s = nth(sigma, C.shape[-1]) - unit * energy**0.5
    if not s > 0:
        return torch.full_like(t, INF)
    if G is None:
        length = ((energy - C.square().sum()).clamp(min=0) + squares).sqrt()
        t = length.expand_as(t)
    else:
        W = U * (sigma[-1] / sigma)
        length = (top_norm(W.mT @ (G - C @ C.mT) @ W) + squares).sqrt()
        t = (t.square() + squares).sqrt()
    return _sine(*_tangent(length, s, t, torch.zeros_like(s)))


def reference_bound(Y: Tensor, R: Tensor, q: int | None = None) -> Certificate:
    """‖(I − Q)Rᵀ‖ ≤ τ/√(1 + τ²), τ = ‖F₀‖ / (1 − t²/s²), for s > t; ∞ otherwise.

    With q = k (the default) this bounds ‖P − P_k(Y)‖; with q > k, how far the reference is from
    lying inside the leading q-dimensional row space of Y.
    Y: (..., p, n) any matrix, R: (..., k, n) orthonormal rows. Certificate of shape (...); the
    bound is at most 1 wherever the gap s − t exceeds rounding. Computed in float64, at any
    scale of Y, with a rounding allowance of 10 · max(p, n) · eps · ‖Y‖ on s, t and E.
    Raises ValueError for R without orthonormal rows, q < k, or mismatched columns.

    >>> Y = torch.tanh(noisy.X)  # any layer, whatever made it
    >>> distance = sl.projection_distance(data.X, Y, 6, "spectral")
    >>> print(f"{distance:.2f} ≤ {sl.reference_bound(Y, R).bound:.2f}")
    0.02 ≤ 0.02
    """
    found = compare_checked(Y, R, q)
    slope, offset = found.tangent
    terms = {
        "σ_k(YRᵀ)": found.s * found.scale,
        "s_{q+1}(Y)": found.t * found.scale,
        "‖F₀‖": top_norm(found.F0),
        "τ": torch.where(slope < INF, slope + offset, slope),
    }
    quantity, bound = f"‖(I − P_q(Y))Rᵀ‖, k = {R.shape[-2]}", _sine(slope, offset)
    return Certificate("Reference bound", quantity, found.gap, found.threshold, bound, terms)


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

    >>> print(*(f"{b:.2f}" for b in sl.reference.direction_bounds(torch.relu(noisy.X), R).bound))
    0.66 0.30 0.73 0.58 0.92 1.00
    """
    found = compare_checked(Y, R, q)
    t, slack, scale = (part[..., None] for part in (found.t, found.slack, found.scale))
    length = torch.linalg.vector_norm(found.E.mT @ found.U, dim=-2)  # ‖Eᵀu_i‖
    slope, offset = _tangent(length, found.sigma, t, slack)
    gap, threshold = (found.sigma - t) * scale, (2 * slack * scale).expand_as(slope)
    terms = {"σ_i": found.sigma * scale, "‖Eᵀu_i‖": length * scale, "τ_i": slope}
    quantity, bound = f"‖(I − P_q(Y))v_i‖, k = {R.shape[-2]}", _sine(slope, offset)
    return DirectionCertificate(
        "Direction bounds", quantity, gap, threshold, bound, terms, found.V.mT
    )


def affine_reference(clean: Tensor, rank: int) -> Tensor:
    """Orthonormal rows of span(row space of X*, 1ᵀ): the reference for layers with a bias.

    clean: (..., m, n). Returns (..., rank + 1, n), the last row the part of 1 outside row(X*).
    Raises ValueError where 1ᵀ already lies in the row space (then that is the reference itself).

    >>> A = sl.reference.affine_reference(data.X, rank=6)
    >>> [round(float(sl.reference_bound(data.X + 1, rows).bound), 2) for rows in (R, A)]
    [1.0, 0.0]
    """
    return _with_ones(row_basis(check.matrix(clean, "clean"), rank))


def _with_ones(V: Tensor) -> Tensor:
    ones = torch.full_like(V[..., :1, :], V.shape[-1] ** -0.5)
    h = outside(ones, V)
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
