"""Chapter 8, One reference for any layer."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import NEARLY
from evidence.statement import Sides, statement
from subspace_lib.clustering import connectivity_margin
from subspace_lib.projectors import row_basis, row_projector
from subspace_lib.reference import label_reference, reference_bound
from subspace_lib.rowspace import singular_value


class Case(NamedTuple):
    """The chapter's letters, each from its definition (never from the library's bounds)."""

    B: Tensor
    Q: Tensor
    E: Tensor
    F0: Tensor
    H: Tensor
    U: Tensor
    sigma: Tensor
    s: Tensor
    t: Tensor

    @property
    def x(self) -> Tensor:
        return (self.t / self.s) ** 2

    @property
    def tau(self) -> Tensor:
        return make.norm(self.F0) / (1 - self.x)


def case(Y: Tensor, R: Tensor, q: int, Q: Tensor | None = None) -> Case:
    """From Y (count, p, n), R (count, k, n) and q; another projector Q for a control."""
    n, k = Y.shape[-1], R.shape[-2]
    U, sigma, Oh = torch.linalg.svd(Y @ R.mT, full_matrices=False)
    B, eye = R.mT @ Oh.mT, torch.eye(n, dtype=Y.dtype)
    if Q is None:
        V = make.leading(Y, q)
        Q = V.mT @ V
    E = Y - Y @ R.mT @ R
    F0 = E.mT @ U / sigma[..., None, :].clamp(min=1e-300)
    return Case(B, Q, E, F0, (eye - Q) @ B, U, sigma, sigma[..., k - 1], singular_value(Y, q + 1))


def layers(seed: int, count: int, gap: bool = True) -> tuple[Tensor, Tensor, int]:
    """Y, R, q with s > t in every instance: from clean to nearly lost, with a strong stranger.

    For q > k one direction outside the reference is made stronger than all of it. gap: False for
    the others, in which some direction of the reference is weaker than t.
    """
    n, p, k, more = make.shape(seed, n=(5, 12), p=(4, 7), k=(1, 3), more=(0, 2))
    k = max(k, 1 if gap else 2)
    q = min(k + more, p)
    R = make.orthonormal(seed, "R", count, n, k).mT
    size = make.log_uniform(seed, "size", -3, 0, count, 1, 1)
    mixing = make.gaussian(seed, "mixing", count, p, k)
    if not gap:
        mixing = mixing * make.matrix([[2.0] + [1e-3] * (k - 1)])
    Y = mixing @ R + size * make.gaussian(seed, "E", count, p, n)
    if q > k:
        loud = make.gaussian(seed, "u", count, p, 1) @ make.gaussian(seed, "v", count, 1, n)
        Y = Y + 2 * loud
    s, t = singular_value(Y @ R.mT, k), singular_value(Y, q + 1)
    keep = (s > 1.001 * t + 1e-6) if gap else (s < t)
    return Y[keep], R[keep], q


def _partial_sums(A: Tensor) -> Tensor:
    """Sums of the largest 1, 2, … singular values: Ky Fan's norms, (..., j)."""
    return torch.linalg.svdvals(A).cumsum(-1)


def _directions(c: Case) -> list[tuple[Tensor, Tensor]]:
    """(c): tan θ_i against its slope where σ_i > t."""
    t, each = c.t[:, None], torch.linalg.vector_norm(c.H, dim=-2)
    open_ = c.sigma > t * 1.0001
    slope = c.sigma * torch.linalg.vector_norm(c.E.mT @ c.U, dim=-2)
    slope = torch.where(open_, slope / (c.sigma**2 - t**2).clamp(min=1e-300), 0.0)
    sines = torch.where(open_, each, torch.zeros_like(each))
    return [*zip(make.tangent(sines).mT, slope.mT, strict=True)]


def _parts(c: Case) -> Sides:
    """(a) in every norm of Ky Fan, hence in all; (b), (c), (d); for q = k what is said of P."""
    k, gain = c.B.shape[-1], 1 / (1 - c.x)
    tangents = make.tangent(torch.linalg.svdvals(c.H)).cumsum(-1)
    pairs = [*zip(tangents.mT, (_partial_sums(c.F0) * gain[:, None]).mT, strict=True)]
    size = torch.linalg.matrix_norm(c.F0) * gain
    pairs += [(torch.linalg.matrix_norm(c.H), size / (1 + size**2 / k).sqrt())]
    pairs += [(c.tau, c.s * make.norm(c.U.mT @ c.E) / (c.s**2 - c.t**2)), *_directions(c)]
    P = c.B @ c.B.mT
    if abs(float(c.Q[0].trace()) - k) < 0.5:  # q = k: the same rank, so one distance
        pairs += [((make.norm(P - c.Q) - make.norm(c.H)).abs(), torch.full_like(c.s, 1e-10))]
    return make.worst(*((a, v * (1 + 1e-7) + 1e-11 * (1 + v**2)) for a, v in pairs))


def _theorem(seed: int, count: int) -> Sides:
    """Every fourth batch has directions that are lost: (c) speaks of the others."""
    if seed % 4 == 3:
        lost = case(*layers(seed, count, gap=False))
        pairs = _directions(lost)
        return make.worst(*((a, v * (1 + 1e-7) + 1e-11 * (1 + v**2)) for a, v in pairs))
    Y, R, q = layers(seed, count)
    sides = _parts(case(Y, R, q))
    if q > R.shape[-2]:
        return sides
    # P_k(Y) is unique: s ≤ s_k(Y), and t < s
    low, high = singular_value(Y @ R.mT, q), singular_value(Y, q) * NEARLY
    unique = (low <= high) & (singular_value(Y, q + 1) < low)
    return Sides(torch.where(unique, sides.left, math.inf), sides.right)


def _theorem_extremal() -> Sides:
    """Two columns: equality in (a) and (b), with t far from zero."""
    Y, R = make.matrix([[1, 0.3], [0, 0.8]])[None], make.matrix([[1, 0]])[None]
    c = case(Y, R, 1)
    return Sides(make.tangent(make.norm(c.H)), c.tau)


def _exchanged() -> Sides:
    """s < t: another direction is stronger, and the reference is not among the leading ones."""
    Y, R = make.matrix([[0.5, 0.01, 0], [0, 1, 0], [0, 0, 0.8]])[None], make.matrix([[1, 0, 0]])
    c = case(Y, R[None], 1)
    return Sides(make.tangent(make.norm(c.H)), (make.norm(c.F0) / (1 - c.x)).abs())


def _stretched() -> Sides:
    """Rows of length 3 instead of 1: s is three times too large, and passes t."""
    Y, R = make.matrix([[0.5, 0.1], [0, 1]])[None], make.matrix([[3, 0]])[None]
    c = case(Y, R, 1)
    true = make.norm(c.H) / 3  # of the unit vector
    outside = Y * torch.tensor([0.0, 1.0], dtype=Y.dtype)
    slope = make.norm(outside.mT @ c.U / c.sigma[..., None, :]) / (1 - c.x)
    return Sides(make.tangent(true), slope)


def _other_space() -> Sides:
    """Q from another matrix: s > t holds for Y, the leading space is not Y's."""
    Y, R = make.matrix([[1, 0.1], [0, 0.2]])[None], make.matrix([[1, 0]])[None]
    c = case(Y, R, 1, make.matrix([[0.5, 0.5], [0.5, 0.5]])[None])
    return Sides(make.tangent(make.norm(c.H)), c.tau)


statement(
    "reference",
    "Theorem 8.1",
    "s > t ⇒ ‖tan Θ‖∗ ≤ ‖F₀‖∗/(1 − t²/s²); σ_i > t ⇒ tan θ_i ≤ τ_i; τ ≤ s‖UᵀE‖/(s² − t²)",
    _theorem,
    {
        "s > t": _exchanged,
        "orthonormal rows of R": _stretched,
        "Q is the leading space of this Y": _other_space,
    },
    _theorem_extremal,
)


def _two_columns(seed: int, count: int) -> Sides:
    (p,) = make.shape(seed, p=(2, 5))
    Y = make.gaussian(seed, "Y", count, p, 2) * make.log_uniform(seed, "scale", -1, 1, count, 1, 2)
    R = make.orthonormal(seed, "R", count, 2, 1).mT
    c = case(Y, R, 1)
    keep = c.s > 1.01 * c.t
    deviation = (make.tangent(make.norm(c.H)) - c.tau).abs() / (1 + c.tau) ** 2
    return make.rounding(deviation[keep], 1e-8)


def _three_columns() -> Sides:
    """The stranger's own direction absorbs part of the slope: strict inequality."""
    Y, R = make.matrix([[1, 0.5, 0], [0, 0.1, 0.8]])[None], make.matrix([[1, 0, 0]])[None]
    c = case(Y, R, 1)
    return make.rounding((make.tangent(make.norm(c.H)) - c.tau).abs())


def _two_columns_no_gap() -> Sides:
    """The weakest direction as the reference: s = t, no slope, and a right angle."""
    Y, R = make.matrix([[0.5, 0], [0, 1]])[None], make.matrix([[1, 0]])[None]
    c = case(Y, R, 1)
    return make.rounding((make.tangent(make.norm(c.H)) - torch.nan_to_num(c.tau)).abs())


statement(
    "reference-in-the-plane",
    "Proposition 8.2",
    "n = 2, k = q = 1, s > t ⇒ tan θ = ‖F₀‖/(1 − t²/s²)",
    _two_columns,
    {"two columns": _three_columns, "s > t": _two_columns_no_gap},
    form="identity",
)


def _no_gap(seed: int, count: int) -> Sides:
    """Y = diag(a, 1), a < 1: s = t and F₀ = 0, and yet the sine is 1."""
    a = make.uniform(seed, "a", 0.05, 0.95, count)
    Y = torch.diag_embed(torch.stack([a, torch.ones_like(a)], -1))
    c = case(Y, make.matrix([[1, 0]]).expand(count, 1, 2), 1)
    return Sides(a + make.norm(c.F0), make.norm(c.H))


def _with_gap() -> Sides:
    c = case(make.matrix([[1, 0], [0, 0.5]])[None], make.matrix([[1, 0]])[None], 1)
    return Sides(0.5 + make.norm(c.F0), make.norm(c.H))


statement(
    "reference-needs-gap",
    "Counterexample 8.3",
    "for Y = diag(a, 1), a < 1, R = e₁: s = t, F₀ = 0 and ‖(I − Q)Rᵀ‖ = 1",
    _no_gap,
    {"a < 1": _with_gap},
    loose="the statement is that a bound fails altogether",
)


def _growing_q(seed: int, count: int) -> Sides:
    """s ≤ s_k(Y), hence s > t forces q ≥ k; τ and the sine do not grow with q; ‖P − Q‖ = 1."""
    Y, R, q = layers(seed, count)
    low = case(Y, R, q)
    pairs = [(low.s, singular_value(Y, R.shape[-2]) * NEARLY)]
    for more in range(q + 1, min(Y.shape[-2:]) + 1):
        high = case(Y, R, more)
        pairs.append((high.tau, low.tau * NEARLY + 1e-12))
        pairs.append((make.norm(high.H), make.norm(low.H) * NEARLY + 1e-12))
        apart = make.norm(high.B @ high.B.mT - high.Q)
        pairs.append(((apart - 1).abs(), torch.full_like(apart, 1e-9)))  # ranks differ
        low = high
    return make.worst(*pairs)


def _growing_q_extremal() -> Sides:
    Y, R = make.matrix([[2, 0, 0], [0, 1, 0]])[None], make.matrix([[1, 0, 0], [0, 1, 0]])[None]
    return Sides(case(Y, R, 2).s, singular_value(Y, 2) * NEARLY)


def _stretched_value() -> Sides:
    Y, R = make.matrix([[1, 0], [0, 0.5]])[None], make.matrix([[2, 0]])[None]
    return Sides(case(Y, R, 1).s, singular_value(Y, 1))


statement(
    "more-directions",
    "Proposition 8.4",
    "σ_k(YRᵀ) ≤ s_k(Y), so s > t forces q ≥ k; bound and sine do not grow with q",
    _growing_q,
    {"orthonormal rows of R": _stretched_value},
    _growing_q_extremal,
)


# --- bias ---------------------------------------------------------------------------------------


def affine(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """(L, V, b, r): Y = L V + b 1ᵀ with L (count, p, r), V (count, r, n), [L b] of rank r + 1."""
    r, extra, n = make.shape(seed, r=(1, 3), extra=(1, 4), n=(6, 12))
    L = make.gaussian(seed, "L", count, r + extra, r)
    V = make.gaussian(seed, "V", count, r, n)
    size = make.log_uniform(seed, "b", -1, 1, count, 1, 1)
    return L, V, size * make.gaussian(seed, "b", count, r + extra, 1), r


def _affine_sides(L: Tensor, V: Tensor, b: Tensor, r: int) -> Sides:
    """Distance 1, rank r + 1, and span(row(X*), 1ᵀ) inside the row space."""
    Y, ones = L @ V + b, torch.ones_like(V[:, :1])
    P, Q = make.leading(V, r), make.leading(Y, r + 1)
    apart = (make.norm(P.mT @ P - Q.mT @ Q) - 1).abs()
    both = make.leading(torch.cat([V, ones], -2), r + 1)
    outside = make.norm(make.outside(both, Q))
    flat = (singular_value(Y, r + 1) < 1e-9 * singular_value(Y, 1)).double()
    return make.rounding(torch.stack([apart, outside, flat]).amax(0), 1e-7)


def _affine(seed: int, count: int) -> Sides:
    L, V, b, r = affine(seed, count)
    ones = torch.ones_like(V[:, :1])
    s = torch.linalg.svdvals(torch.cat([L, b], -1)), torch.linalg.svdvals(torch.cat([V, ones], -2))
    keep = (s[0][:, -1] > 1e-2 * s[0][:, 0]) & (s[1][:, -1] > 1e-2 * s[1][:, 0])
    return _affine_sides(L[keep], V[keep], b[keep], r)


def _ones_inside() -> Sides:
    L, V = make.matrix([[1, 0], [0, 1], [0, 0]]), make.matrix([[1, 1, 1], [0, 1, 2]])
    return _affine_sides(L[None], V[None], make.matrix([[0], [0], [1]])[None], 2)


def _bias_inside() -> Sides:
    L, V = make.matrix([[1], [0]]), make.matrix([[1, 0, 2]])
    return _affine_sides(L[None], V[None], make.matrix([[1], [0]])[None], 1)


statement(
    "bias-adds-a-dimension",
    "Proposition 8.5",
    "Y = [CU b][V; 1ᵀ] ⇒ ‖P_r(X*) − P_{r+1}(Y)‖ = 1 and row(Y) = span(row(X*), 1ᵀ)",
    _affine,
    {"1ᵀ outside row(X*)": _ones_inside, "[CU b] of rank r + 1": _bias_inside},
    form="identity",
)


def _tilt_sides(A: Tensor, R: Tensor, beta: Tensor, part: Tensor | None = None) -> Sides:
    """Y = A(R + β1ᵀ) + part: tan θ and the reference bound against ‖h‖‖β‖/|1 + βᵀR1|."""
    r = R.shape[-2]
    v = R.sum(-1, keepdim=True)
    h = 1 - R.mT @ v
    Y = A @ R + (A @ beta + (0 if part is None else part))
    c = case(Y, R, r)
    expected = make.norm(h) * make.norm(beta) / (1 + (beta * v).sum((-2, -1))).abs()
    sines = torch.linalg.svdvals(c.H)
    others = sines[:, 1] if r > 1 else torch.zeros_like(expected)
    deviation = torch.stack(
        [(make.tangent(sines[:, 0]) - expected).abs(), (c.tau - expected).abs()]
    )
    return make.rounding(torch.maximum(deviation.amax(0) / (1 + expected) ** 2, others), 1e-7)


def _tilt(seed: int, count: int) -> Sides:
    r, extra, n = make.shape(seed, r=(1, 3), extra=(0, 4), n=(6, 12))
    A = make.orthonormal(seed, "A", count, r + extra, r)
    A = A * make.log_uniform(seed, "A scale", -0.5, 0.5, count, 1, r)
    R = make.orthonormal(seed, "R", count, n, r).mT
    beta = make.gaussian(seed, "beta", count, r, 1)
    keep = (1 + (beta * R.sum(-1, keepdim=True)).sum((-2, -1))).abs() > 0.05
    return _tilt_sides(A[keep], R[keep], beta[keep])


R21 = make.matrix([[1, 0, 0]])[None]


def _tilt_outside() -> Sides:
    A, beta = make.matrix([[1], [0]])[None], make.matrix([[0.5]])[None]
    return _tilt_sides(A, R21, beta, make.matrix([[0], [1]])[None])


def _tilt_right_angle() -> Sides:
    """1 + βᵀR1 = 0: the tangent is infinite; the formula with 0.1 in place of 0 is not it."""
    A, beta = make.matrix([[1], [0]])[None], make.matrix([[-1.0]])[None]
    c = case(A @ R21 + A @ beta, R21, 1)
    return make.rounding((make.tangent(make.norm(c.H)) - c.tau).abs())


statement(
    "bias-inside-the-range",
    "Proposition 8.6",
    "b = CUβ: one non-zero angle, tan θ = τ = ‖h‖‖β‖/|1 + βᵀv|",
    _tilt,
    {"b in the range of CU": _tilt_outside, "1 + βᵀv ≠ 0": _tilt_right_angle},
    form="identity",
)


# --- depth and labels ---------------------------------------------------------------------------


def _invariance_sides(Y: Tensor, R: Tensor, q: int, G: Tensor, scale: Tensor) -> Sides:
    one, other = case(Y, R, q), case(scale * (G @ Y), R, q)
    tau = (one.tau - other.tau).abs() / (1 + one.tau) ** 2
    size = scale[:, 0, 0].abs()
    value = (other.s - size * one.s).abs() / (size * one.s)
    angles = (torch.linalg.svdvals(one.H) - torch.linalg.svdvals(other.H)).abs().amax(-1)
    same = make.norm(one.Q - other.Q)
    return make.rounding(torch.stack([tau, value, angles, same]).amax(0), 1e-7)


def _invariance(seed: int, count: int) -> Sides:
    Y, R, q = layers(seed, count)
    if len(Y) == 0:
        return make.nothing()
    p, gap = Y.shape[-2], singular_value(Y, q) - singular_value(Y, q + 1)
    G = make.orthonormal(seed, "G", len(Y), p + 2, p)
    scale = make.log_uniform(seed, "c", -2, 2, len(Y), 1, 1)
    scale = scale * make.gaussian(seed, "sign", len(Y), 1, 1).sign()
    keep = gap > 1e-3 * singular_value(Y, 1)  # where Q is unique, so that it can be compared
    return _invariance_sides(Y[keep], R[keep], q, G[keep], scale[keep])


def _not_orthonormal() -> Sides:
    Y, R = make.matrix([[1, 0.3], [0, 0.5]])[None], make.matrix([[1, 0]])[None]
    one = torch.ones(1, 1, 1, dtype=Y.dtype)
    return _invariance_sides(Y, R, 1, make.matrix([[1, 0], [0, 1.5]])[None], one)


statement(
    "orthogonal-layer",
    "Proposition 8.7",
    "GᵀG = I, c ≠ 0 ⇒ cGY has the τ, the angles and the Q of Y",
    _invariance,
    {"GᵀG = I": _not_orthonormal},
    form="identity",
)


def _label_sides(X: Tensor, R: Tensor, labels: Tensor, dims: tuple[int, ...]) -> Sides:
    """Zero across classes, and equal to the projector of the whole; thresholds return classes."""
    P, whole = R.mT @ R, make.leading(X, sum(dims))
    across = P[:, labels[:, None] != labels[None, :]].abs().amax(-1)
    return make.rounding(torch.maximum(across, make.norm(P - whole.mT @ whole)), 1e-7)


def _labels(seed: int, count: int) -> Sides:
    d, n, lift = make.shape(seed, d=(1, 2), n=(4, 7), lift=(2, 5))
    dims, m = (d, d + 1), 4 * d + 3
    data = make.two_subspaces(seed, count, m, dims, (n, n + 1))
    clean = label_reference(data.clean, data.labels, dims)
    sides = _label_sides(data.clean, clean, data.labels, dims)
    X = data.clean + 10.0**-lift * make.gaussian(seed, "Z", *data.clean.shape) / n
    Y = make.gaussian(seed, "W", count, sum(dims) + 4, m) @ X
    return Sides(sides.left + _wrong(X, Y, data.labels, dims), sides.right)


def _wrong(X: Tensor, Y: Tensor, labels: Tensor, dims: tuple[int, ...]) -> Tensor:
    """1 where the bound is below half the margin and thresholding does not return the classes."""
    R = label_reference(X, labels, dims)
    margin = connectivity_margin(R.mT @ R, labels)
    held = reference_bound(Y, R).bound < margin / 2
    return (held & make.wrong_clusters(row_projector(Y, sum(dims)), labels, margin / 2)).double()


def _dependent_labels() -> Sides:
    """Three lines in a plane, by their labels: three blocks, but the row space has two."""
    X = make.matrix([[1, 2, 0, 0, 1, 2], [0, 0, 1, 2, 1, 2]])
    y = torch.tensor([0, 0, 1, 1, 2, 2])
    R = label_reference(X, y, 1)
    whole = row_basis(X, 2)
    return make.rounding(make.norm(R.mT @ R - whole.mT @ whole)[None])


def _too_small_rank() -> Sides:
    X = make.matrix([[1, 0, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 2]])
    y = torch.tensor([0, 0, 0, 1, 1])
    R, whole = label_reference(X, y, 1), row_basis(X, 3)
    return make.rounding(make.norm(R.mT @ R - whole.mT @ whole)[None])


statement(
    "label-reference",
    "Proposition 8.8",
    "labels alone give a block diagonal P, the true one for clean independent classes; a bound "
    "below ε_conn(P)/2 returns the classes",
    _labels,
    {"independent spans": _dependent_labels, "r_k = rank X_k": _too_small_rank},
    form="identity",
)
