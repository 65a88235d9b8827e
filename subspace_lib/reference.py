"""How far a reference subspace is from the row space of any matrix with the same columns.

The matrix may be any layer, at any depth, of any architecture: no weights, no chain of links.
Notation: R (k, n) orthonormal rows, P = RᵀR, thin SVD Y Rᵀ = U Σ Oᵀ, V = RᵀO, E = Y(I − P),
F₀ = EᵀUΣ⁻¹, Q = P_q(Y), s = σ_k and t = s_{q+1}(Y).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.certificate import INF, Certificate
from subspace_lib.projectors import row_basis
from subspace_lib.rowspace import balanced, nth, outside, rounding_unit, singular_values, top_norm

EPS = torch.finfo(torch.float64).eps
LEAST = 1e-280  # of a sum of squares that has lost nothing to underflow
SKEW = 1e-4  # of RRᵀ from I, at most: single precision passes, another basis does not
REFERENCE_NORMS = ("spectral", "fro")


@dataclass(frozen=True)
class Comparison:
    """Y against R: the quantities above, in units of ``scale`` (a power of two, see ``balanced``).

    In these units nothing over- or underflows; F₀, V and the bounds do not depend on the units.
    values: (..., j) leading singular values of Y, q + 1 at least. slack: rounding in any of them.
    skew: ‖RRᵀ − I‖ of the R that was given; V spans its rows, orthonormal to the last digit.
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
    skew: Tensor
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


def compare(
    Y: Tensor, R: Tensor, q: int, values: Tensor | None = None, eps: float = EPS
) -> Comparison:
    """Y (..., p, n) and orthonormal rows R (..., k, n) in float64; values: where they are known.

    eps: of the precision in which Y was written down. A rounding of its entries moves Y by at
    most eps/2 · ‖Y‖_F, which the slack contains beside ``rounding_unit`` · ‖Y‖.
    """
    Y, scale = balanced(Y)
    k = R.shape[-2]
    Y = torch.nn.functional.pad(Y, (0, 0, 0, max(0, k - Y.shape[-2])))  # σ_i = 0 beyond p
    coordinates = Y @ R.mT
    U, sigma, Oh = torch.linalg.svd(coordinates, full_matrices=False)
    E = Y - coordinates @ R
    E = E - (E @ R.mT) @ R  # the second pass removes what rounding left along R
    # a quotient beyond the range of doubles is vacuous in any case
    F0 = (E.mT @ U) / sigma.clamp(min=1e-150)[..., None, :]
    values = singular_values(Y) if values is None else values / scale[..., None]
    slack = rounding_unit(max(Y.shape[-2:]), EPS) * values[..., 0]
    slack = slack + (eps - EPS) / 2 * torch.linalg.matrix_norm(Y)
    s = nth(sigma, k)
    V, skew = R.mT @ Oh.mT, torch.zeros_like(s)
    return Comparison(U, sigma, s, V, E, F0, values, slack, scale, skew, q)


def compare_checked(Y: Any, R: Any, q: int | None = None) -> Comparison:
    """``compare`` of what a caller passed; q: None for the number of rows of R."""
    Y, R = check.matrices(Y=Y, R=R)
    eps = max(torch.finfo(Y.dtype).eps, torch.finfo(R.dtype).eps)
    basis, skew = _orthonormal(R.double())
    k = R.shape[-2]
    q = k if q is None else check.rank_within(q, Y, "Y", "q")
    if q < k:
        raise ValueError(f"q must be at least the number of rows of R = {k}, got {q}")
    found = compare(Y.double(), basis, q, eps=eps)
    return replace(found, skew=skew.expand_as(found.s))


def _orthonormal(R: Tensor) -> tuple[Tensor, Tensor]:
    """The same row space with rows orthonormal to the last digit, and ‖RRᵀ − I‖ of the given R.

    ValueError if they never were; 0 where no more than the rounding of double precision is missing.
    """
    eye = torch.eye(R.shape[-2], dtype=torch.float64, device=R.device)
    rest = R @ R.mT - eye
    if not (rest.abs() < SKEW).all():
        raise ValueError("R must have orthonormal rows, got others; row_basis(A, rank) makes them")
    skew = torch.linalg.matrix_norm(rest)
    return torch.linalg.qr(R.mT).Q.mT, torch.where(skew > rounding_unit(R.shape[-1], EPS), skew, 0)


def _sine(slope: Tensor, offset: Tensor) -> Tensor:
    """Largest sin θ with sin θ ≤ slope · cos θ + offset: the tangent form with rounding beside it.

    With tan α = slope: sin(θ − α) ≤ offset · cos α, so sin θ ≤ sin α + offset · cos² α. The last
    digits go upwards: the operations here lose less than 8 eps.
    """
    cosine = 1 / torch.hypot(torch.ones_like(slope), slope)
    sine = (slope * cosine + offset * cosine**2) * (1 + 8 * EPS)
    return torch.where(slope < INF, sine.clamp(max=1), INF)


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


def sine_from_sums(
    G: Tensor | None, C: Tensor, energy: float, t: Tensor, size: int, eps: float = EPS
) -> Tensor:
    """The reference bound from sums over the columns of Y (p, n): C = YRᵀ, G = YYᵀ and ‖Y‖_F².

    EEᵀ = G − CCᵀ is all it needs of E, and where p×p is too much (G = None) ‖E‖_F takes the place
    of ‖EᵀU‖ and of every s_{q+1}. t: the s_{q+1}(Y), any number of them; size: max(p, n); eps: as
    in ``compare``.
    """
    unit, lost = rounding_unit(size, EPS), (eps - EPS) / 2 * energy**0.5
    squares = C.new_tensor(unit * energy)  # may be wrong in YYᵀ or YPYᵀ
    U, sigma, _ = torch.linalg.svd(C, full_matrices=False)
    s = nth(sigma, C.shape[-1]) - unit * energy**0.5
    if not s > 0 or energy < LEAST:
        return torch.full_like(t, INF)
    if G is None:
        length = ((energy - C.square().sum()).clamp(min=0) + squares).sqrt()
        t = length.expand_as(t)
    else:
        W = U * (sigma[-1] / sigma)
        length = (top_norm(W.mT @ (G - C @ C.mT) @ W) + squares).sqrt()
        t = (t.square() + squares).sqrt()
    return _sine(*_tangent(length, s, t, torch.full_like(s, lost)))


def reference_bound(
    Y: Tensor, R: Tensor, q: int | None = None, norm: str = "spectral"
) -> Certificate:
    """‖tan Θ‖ ≤ ‖F₀‖ / (1 − t²/s²) in every unitarily invariant norm, for s > t; ∞ otherwise.

    Θ: the k angles from R's row space into the leading q-dimensional row space of Y. bound, with
    τ the right side in the same norm:
      "spectral": ‖(I − Q)Rᵀ‖   ≤ τ/√(1 + τ²)   (at most 1)
      "fro":      ‖(I − Q)Rᵀ‖_F ≤ τ/√(1 + τ²/k) (at most √k), so that a share of at least
                  1/(1 + τ²/k) of R lies inside Q
    With q = k (the default) this bounds ‖P − P_k(Y)‖ and ‖P − P_k(Y)‖_F/√2; with q > k, how far
    the reference is from lying inside the leading q-dimensional row space of Y.
    Y: (..., p, n) any matrix, R: (..., k, n) orthonormal rows → Certificate of shape (...).
    Both are the numbers that are given. R may be orthonormal to single precision only: the bound
    is then multiplied by the ‖R‖ that this allows. Raises ValueError for |RRᵀ − I| above 1e-4,
    q < k, another norm or mismatched columns.
    Rounding. Proved: the inequality with errors of size slack in s, t, UΣ and E, the power-of-two
    units (any scale of Y), the rounding of the entries to their own precision, the last digits of
    the sine, which go upwards. An allowance by experience, tested against 60-digit arithmetic: that
    10 · max(p, n) · eps · ‖Y‖, eps of double precision, covers those errors (``rounding_unit``).
    Source: sharpens the tan Θ theorem of Davis and Kahan (1970), doi:10.1137/0707001, for YᵀY.

    >>> Y = torch.tanh(noisy.X)  # any layer, whatever made it
    >>> distance = sl.projection_distance(data.X, Y, 6, "spectral")
    >>> print(f"{distance:.2f} ≤ {sl.reference_bound(Y, R).bound:.2f}")
    0.02 ≤ 0.02
    """
    check.one_of(norm, REFERENCE_NORMS, "norm")
    found = compare_checked(Y, R, q)
    k = R.shape[-2]
    root = k**0.5 if norm == "fro" else 1.0
    size = top_norm(found.F0) if norm == "spectral" else torch.linalg.matrix_norm(found.F0)
    slope, offset = _tangent(size / root * found.s, found.s, found.t, found.slack)
    terms = {
        "σ_k(YRᵀ)": found.s * found.scale,
        "s_{q+1}(Y)": found.t * found.scale,
        "‖F₀‖": size,
        "τ": root * torch.where(slope < INF, slope + offset, slope),
    }
    bound = root * _sine(slope, offset) * (1 + found.skew).sqrt()
    quantity = f"‖(I − P_q(Y))Rᵀ‖{'_F' if norm == 'fro' else ''}, k = {k}"
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
    on the sine ‖(I − Q)v_i‖. Y, R, q, rounding and errors as in ``reference_bound``; bound:
    (..., k), also for p < k. ``directions`` are computed: each v_i is right to the slack.

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
    several = isinstance(ranks, (Sequence, np.ndarray))
    sizes = check.positive_ints(ranks, "ranks") if several else [ranks] * classes
    if len(sizes) != classes:
        raise ValueError(
            f"ranks must be one number or one per class ({classes}), got {len(sizes)} of them"
        )
    blocks = []
    for k, rank in enumerate(sizes):
        inside = torch.from_numpy(np.flatnonzero(y == k)).to(X.device)
        mine = X[..., inside]
        basis = row_basis(mine, check.rank_within(rank, mine, f"class {k}", "ranks"))
        block = X.new_zeros(*basis.shape[:-1], X.shape[-1])
        blocks.append(block.index_copy(-1, inside, basis))
    V = torch.cat(blocks, -2)
    return _with_ones(V) if ones else V
