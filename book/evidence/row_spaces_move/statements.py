"""Chapter 3, How row spaces move."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.projector.statements import choices
from evidence.statement import Sides, statement
from subspace_lib.bounds import wedin_bound
from subspace_lib.projectors import row_projector, sin_theta
from subspace_lib.rowspace import singular_value


def pair(seed: int, count: int) -> tuple[Tensor, Tensor, int]:
    """A (count, m, n) with values in [0.1, 10], B = A + E with ‖E‖ from 1e-3 to 10 times a unit."""
    m, n = make.shape(seed, m=(1, 8), n=(1, 16))
    k = min(m, n)
    (r,) = make.shape(seed, r=(1, k))
    A = make.with_spectrum(seed, "A", m, n, make.spectrum(seed, "spectrum", -1, 1, count, k))
    size = make.log_uniform(seed, "size", -3, 1, count, 1, 1)
    return A, A + size * make.gaussian(seed, "E", count, m, n), r


def _projectors(seed: int, count: int) -> Sides:
    A, B, r = pair(seed, count)
    P, Q = row_projector(A, r), row_projector(B, r)
    sines = sin_theta(A, B, r)
    difference = P - Q
    spectral = (make.norm(difference) - sines[:, 0]).abs()
    fro = torch.linalg.matrix_norm(difference) - 2**0.5 * torch.linalg.vector_norm(sines, dim=-1)
    entry = (make.largest(difference) - sines[:, 0]).clamp(min=0)
    worst = torch.stack([spectral, fro.abs(), entry, _other_rank(seed, P, B, r)]).amax(0)
    return make.rounding(worst)


def _other_rank(seed: int, P: Tensor, B: Tensor, r: int) -> Tensor:
    """Deviation of ‖P − Q‖ from 1 for a Q of another rank; 0 where there is no other rank."""
    (q,) = make.shape(seed, q=(1, min(B.shape[-2:])))
    if q == r:
        return torch.zeros(len(P), dtype=P.dtype)
    return (make.norm(P - row_projector(B, q)) - 1).abs()


def _unequal_ranks() -> Sides:
    """Ranks 1 and 2: the distance is 1 although the smaller space lies in the larger."""
    P, Q = make.matrix([[1, 0], [0, 0]]), make.matrix([[1, 0], [0, 1]])
    return make.one(make.norm(P - Q), ROUNDING)


def _oblique_ranks() -> Sides:
    """Oblique projectors of ranks 1 and 2 are further than 1 apart."""
    P, Q = make.matrix([[1, 1], [0, 0]]), make.matrix([[1, 0], [0, 1]])
    return make.one((make.norm(P - Q) - 1).abs(), ROUNDING)


def _not_orthogonal() -> Sides:
    """Oblique projectors onto one line: no angle between the ranges, yet they differ."""
    P, Q = make.matrix([[1, 1], [0, 0]]), make.matrix([[1, 0], [0, 0]])
    return make.one(make.norm(P - Q), ROUNDING)


statement(
    "projectors-and-angles",
    "Proposition 3.2",
    "‖P − Q‖ = ‖sin Θ‖, ‖P − Q‖_F = √2 ‖sin Θ‖_F, ‖·‖_max ≤ ‖·‖; ranks differ ⇒ 1",
    _projectors,
    {
        "equal ranks": _unequal_ranks,
        "orthogonal projectors": _not_orthogonal,
        "orthogonal projectors (different ranks)": _oblique_ranks,
    },
    form="identity",
)


def two_sides(A: Tensor, B: Tensor, r: int) -> tuple[Tensor, Tensor, Tensor]:
    """Singular values of sin Θ, of EV₁ and of EᵀU₁, each (count, r), zeros appended."""
    U, _, Vh = torch.linalg.svd(A, full_matrices=False)
    E = B - A
    found = [torch.linalg.svdvals(E @ Vh[..., :r, :].mT), torch.linalg.svdvals(E.mT @ U[..., :r])]
    right, left = (torch.nn.functional.pad(s, (0, r - s.shape[-1])) for s in found)
    return sin_theta(A, B, r), right, left


class Tied(NamedTuple):
    """Two matrices with equal singular values among theirs, and a choice of singular vectors.

    A V = U diag(s) with as many columns as A has values; Vt (n × n) and t those of B, zeros
    appended.
    """

    U: Tensor
    s: Tensor
    V: Tensor
    t: Tensor
    Vt: Tensor
    B: Tensor
    r: int

    @property
    def A(self) -> Tensor:
        return (self.U * self.s[:, None, :]) @ self.V.mT


def tied(seed: int, count: int, square: bool = False) -> Tied:
    """Values on a coarse grid: ties in A, in B, and at the r-th value, are frequent."""
    m, n = make.shape(seed, tied_m=(1, 5), tied_n=(1, 7))
    m = n if square else m
    k = min(m, n)
    (r,) = make.shape(seed, tied_r=(1, k))
    s, t = (
        make.uniform(seed, name, 0, 5, count, n).floor().sort(-1, descending=True).values
        for name in "st"
    )
    s, t = s[:, :k].clamp(min=1), t * make.uniform(seed, "shrink", 0, 1, count, 1)
    t[:, k:] = 0
    U, V = make.orthonormal(seed, "U", count, m, m), make.orthonormal(seed, "V", count, n, n)
    turn = make.log_uniform(seed, "turn", -3, 0, count, 1, 1)
    spin = [make.gaussian(seed, name, count, size, size) for name, size in (("u", m), ("v", n))]
    Ut, Vt = (
        W @ torch.linalg.matrix_exp(turn * (K - K.mT)) for W, K in zip((U, V), spin, strict=True)
    )
    B = (Ut[..., :k] * t[:, None, :k]) @ Vt[..., :k].mT
    if square:  # positive semidefinite: the same vectors on both sides
        U, B = V, (Vt * t[:, None, :]) @ Vt.mT
    Q = choices(make.eye(k).expand(count, k, k), s, seed)
    return Tied(U[..., :k] @ Q, s, V[..., :k] @ Q, t, choices(Vt, t, seed + 1), B, r)


def tied_sides(c: Tied) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Singular values of sin Θ for the choice, of EV₁ and EᵀU₁, each (count, r), and δ."""
    lead, E, n = c.V[..., : c.r], c.B - c.A, c.B.shape[-1]
    out = lead - c.Vt[..., : c.r] @ (c.Vt[..., : c.r].mT @ lead)
    found = [torch.linalg.svdvals(M) for M in (out, E @ lead, E.mT @ c.U[..., : c.r])]
    sines, right, left = (torch.nn.functional.pad(v, (0, c.r - v.shape[-1])) for v in found)
    gap = c.s[:, c.r - 1] - (c.t[:, c.r] if c.r < n else 0.0)
    return sines, right, left, gap


def norms(values: Tensor) -> Tensor:
    """Ky Fan norms (the first is spectral, the last nuclear) and Frobenius: (count, r + 1)."""
    fro = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return torch.cat([values.cumsum(-1), fro], -1)


def _wedin(seed: int, count: int) -> Sides:
    """In the spectral, Frobenius, nuclear and all Ky Fan norms; the worst ratio of each instance.

    A third has ties, with random choices of the leading subspaces. Of the others the spectral
    one is held against the library's certificate, too, which must not be smaller.
    """
    if seed % 3 == 2:
        sines, right, left, gap = tied_sides(tied(seed, count))
        certificate = torch.zeros_like(gap)
    else:
        A, B, r = pair(seed, count)
        gap = singular_value(A, r) - singular_value(B, r + 1)
        sines, right, left = two_sides(A, B, r)
        certificate = sines[:, 0] / wedin_bound(A, B, r, "one-sided").bound
    usable = gap > 1e-9
    return make.ratios(
        _ratio(sines, torch.maximum(norms(right), norms(left)), gap), certificate[usable]
    )


def _ratio(sines: Tensor, error: Tensor, gap: Tensor) -> Tensor:
    """The largest ratio ‖sin Θ‖_*/(‖error‖_*/δ) over the norms, where there is a gap."""
    usable = gap > 1e-9
    bound = error[usable] / gap[usable, None]
    return (norms(sines[usable]) / (bound * (1 + 1e-9) + 1e-12)).amax(-1)


def beside(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """A third direction of A that B lacks: ‖E‖ is 0.9, and neither EV₁ nor EᵀU₁ sees it."""
    zero, weak = make.matrix([[0.0]]), make.matrix([[0.9]])
    return torch.block_diag(A, weak), torch.block_diag(B, zero)


def _wedin_extremal() -> Sides:
    """Loosest of spectral norm and certificate, of the others on two equal rotations."""
    A, B = beside(*make.turned(0.3))
    sines, right, left = two_sides(A[None], B[None], 1)
    found = [_ratio(sines, torch.maximum(norms(right), norms(left)), torch.ones(1)).min()]
    found += [sines[0, 0] / wedin_bound(A, B, 1, "one-sided").bound]
    A, B = beside(*_two_turns(0.3))
    sines, right, left = two_sides(A[None], B[None], 2)
    error = torch.maximum(norms(right), norms(left))
    found += (norms(sines) / error)[0]
    return make.one(min(found), 1 + 1e-9)


def _not_leading() -> Sides:
    """The trailing triple of A in place of the leading one: no disturbance, and a right angle."""
    A = make.matrix([[1, 0], [0, 0.1]])
    trailing = make.matrix([[0, 1]])
    return make.one(sin_theta(trailing, A, 1)[0], 0.0)


def _one_side_only() -> Sides:
    """‖EV₁‖ alone: E maps e₂ to e₁, so EV₁ = 0, and the row space turns."""
    A, B = make.matrix([[1, 0], [0, 0]]), make.matrix([[1, 0.5], [0, 0]])
    sines, right, _ = two_sides(A[None], B[None], 1)
    return make.one(sines[0, 0], right[0, 0] / (1 - 0))


def _other_side_only() -> Sides:
    """‖EᵀU₁‖ alone: E adds a second row, so EᵀU₁ = 0, and the row space turns."""
    A, B = make.matrix([[1, 0], [0, 0]]), make.matrix([[1, 0], [0.5, 0.5]])
    sines, _, left = two_sides(A[None], B[None], 1)
    return make.one(sines[0, 0], left[0, 0] / (1 - singular_value(B, 2)))


def _entrywise_norm() -> Sides:
    """The largest entry is no unitarily invariant norm: a disturbance over four points is ½."""
    A = torch.zeros(2, 5, dtype=torch.float64)
    A[0, 0] = 1
    E = torch.zeros_like(A)
    E[0, 1:] = 0.25  # EᵀU₁ has norm ½ and largest entry ¼; EV₁ = 0
    return make.one(sin_theta(A, A + E, 1)[0], E.abs().max() / 1.0)


def _no_gap() -> Sides:
    """δ < 0: the leading direction is exchanged, and |δ| in place of δ is no bound."""
    A, B = make.matrix([[1, 0], [0, 0.9]]), make.matrix([[0.94, 0], [0, 0.96]])
    E, gap = make.norm(B - A), abs(1 - 0.9)
    return make.one(sin_theta(A, B, 1)[0], E / gap)


statement(
    "wedin",
    "Theorem 3.3",
    "‖sin Θ‖ ≤ max(‖EV₁‖, ‖EᵀU₁‖)/δ in the unitarily invariant norms",
    _wedin,
    {
        "δ = s_r(A) − s_{r+1}(B), not the gap of A alone": _no_gap,
        "leading triples of A": _not_leading,
        "both sides, not EV₁ alone": _one_side_only,
        "both sides, not EᵀU₁ alone": _other_side_only,
        "a unitarily invariant norm": _entrywise_norm,
    },
    _wedin_extremal,
)


def _forms(seed: int, count: int) -> Sides:
    A, B, r = pair(seed, count)
    sines = sin_theta(A, B, r)
    spectral, fro = wedin_bound(A, B, r).bound, wedin_bound(A, B, r, "fro").bound
    keep = spectral < math.inf
    sizes = sines[keep, 0], torch.linalg.vector_norm(sines[keep], dim=-1)
    return make.ratios(sizes[0] / spectral[keep], sizes[1] / fro[keep])


def _two_turns(theta: float) -> tuple[Tensor, Tensor]:
    """Two rotations side by side: r = 2, both sines equal."""
    A, B = make.turned(theta)
    return torch.block_diag(A, A), torch.block_diag(B, B)


def _forms_extremal() -> Sides:
    """Both forms tight on two equal rotations; the less tight one counts."""
    A, B = _two_turns(0.3)
    sines = sin_theta(A, B, 2)
    spectral = sines[0] / wedin_bound(A, B, 2).bound
    fro = torch.linalg.vector_norm(sines) / wedin_bound(A, B, 2, "fro").bound
    return make.one(torch.minimum(spectral, fro), 1.0)


def _without_root() -> Sides:
    A, B = _two_turns(0.3)
    return make.one(torch.linalg.vector_norm(sin_theta(A, B, 2)), wedin_bound(A, B, 2).bound)


statement(
    "wedin-forms",
    "Corollary 3.4",
    "‖sin Θ‖ ≤ ‖E‖/δ, ‖sin Θ‖_F ≤ √r ‖E‖/δ",
    _forms,
    {
        "δ = s_r(A) − s_{r+1}(B), not the gap of A alone": _no_gap,
        "the factor √r": _without_root,
    },
    _forms_extremal,
)


def _turned_by(theta: float) -> tuple[float, float]:
    """The sine of the leading directions, by |sin|, and ‖E‖/δ."""
    A, B = make.turned(theta)
    gap = singular_value(A, 1) - singular_value(B, 2)
    return float(sin_theta(A, B, 1)[0]), float(make.norm(B - A) / gap)


def _equality(seed: int, count: int) -> Sides:
    errors = []
    for theta in make.uniform(seed, "θ", -1.57, 1.57, count).tolist():
        sine, ratio = _turned_by(theta)
        errors.append(max(abs(sine - ratio), abs(sine - abs(math.sin(theta)))))
    return make.rounding(make.vector(*errors))


def _right_angle() -> Sides:
    """θ = π/2: B = 0, every direction leads in it, e₁ among them, and ‖E‖/δ = 1."""
    A = make.matrix([[1, 0], [0, 0]])
    B = 0 * A
    return make.one((make.norm(B - A) / (1 - 0) - 0).abs(), ROUNDING)


def _unscaled() -> Sides:
    """Without the factor cos θ in front there is no equality."""
    A, B = make.turned(0.5)
    B = B / math.cos(0.5)
    return make.one(make.norm(B - A) - sin_theta(A, B, 1)[0], ROUNDING)


statement(
    "wedin-is-sharp",
    "Proposition 3.5",
    "‖sin Θ‖ = ‖E‖/δ for A = diag(1, 0), B = cos θ · e₁(cos θ, sin θ), |θ| < π/2",
    _equality,
    {"the factor cos θ": _unscaled, "|θ| < π/2": _right_angle},
    form="identity",
)


def _false_variant(seed: int, count: int) -> Sides:
    """The family diag(1, 1−g) + diag(−a, a), a slightly over g/2: the false bound is beaten."""
    g = make.uniform(seed, "gap", 0.01, 0.5, count)
    a = g * make.uniform(seed, "a", 0.5001, 0.99, count)
    # ‖E‖/δ' = a/g < 1 while the leading direction is exchanged: the sine is 1
    A = torch.diag_embed(torch.stack([torch.ones_like(g), 1 - g], -1))
    B = A + torch.diag_embed(torch.stack([-a, a], -1))
    return Sides(a / g, sin_theta(A, B, 1)[:, 0])


def _small_disturbance() -> Sides:
    """Below half the gap nothing is exchanged, and the false bound is not beaten."""
    A = make.matrix([[1, 0], [0, 0.9]])
    B = A + make.matrix([[-0.04, 0], [0, 0.04]])
    return make.one(0.04 / 0.1, sin_theta(A, B, 1)[0])


statement(
    "gap-of-one-matrix",
    "Counterexample 3.6",
    "‖E‖/δ' < ‖sin Θ‖ when the disturbance exceeds half the gap of A",
    _false_variant,
    {"‖E‖ > δ'/2": _small_disturbance},
    loose="the statement is that an inequality fails, by any factor",
)


def _doubled(A: Tensor, B: Tensor, r: int) -> Sides:
    """The largest sine against 2‖E‖/δ', where δ' > 0."""
    gap = singular_value(A, r) - singular_value(A, r + 1)
    keep = gap > 1e-9
    bound = 2 * make.norm(B - A)[keep] / gap[keep]
    return Sides(sin_theta(A, B, r)[keep, 0], bound * (1 + 1e-12))


def _exchanged(gap: Tensor, over: Tensor) -> tuple[Tensor, Tensor]:
    """diag(1, 1−g) and a disturbance of ``over`` times half the gap that exchanges the order."""
    A = torch.diag_embed(torch.stack([torch.ones_like(gap), 1 - gap], -1))
    half = over * gap / 2
    return A, A + torch.diag_embed(torch.stack([-half, half], -1))


def _factor_two(seed: int, count: int) -> Sides:
    """Random matrices, and disturbances of just over half the gap that exchange two directions."""
    if seed % 3:
        return _doubled(*pair(seed, count))
    gap = make.uniform(seed, "gap", 0.01, 0.9, count)
    return _doubled(*_exchanged(gap, 1 + make.log_uniform(seed, "over", -6, 0, count)), 1)


def _factor_two_extremal() -> Sides:
    return _doubled(*_exchanged(make.vector(0.5), make.vector(1.0004)), 1)


def _gap_elsewhere() -> Sides:
    """The gap behind the first value, where r = 2 needs the one behind the second."""
    A = make.matrix([[1, 0, 0], [0, 0.5, 0], [0, 0, 0.49]])
    B = A + torch.diag(make.vector(0, -0.01, 0.01))
    return make.one(sin_theta(A, B, 2)[0], 2 * 0.01 / 0.5)


def _factor_one() -> Sides:
    A = make.matrix([[1, 0], [0, 0.9]])
    B = A + make.matrix([[-0.051, 0], [0, 0.051]])
    return make.one(sin_theta(A, B, 1)[0], 0.051 / 0.1)


statement(
    "factor-two",
    "Proposition 3.7",
    "‖sin Θ‖ ≤ 2‖E‖/(s_r(A) − s_{r+1}(A))",
    _factor_two,
    {"the factor 2": _factor_one, "the gap behind s_r": _gap_elsewhere},
    _factor_two_extremal,
)


def _not_unique(seed: int, count: int) -> Sides:
    """B = I/2: two choices of a leading direction are as far apart as the angle between them."""
    angle = make.uniform(seed, "angle", 0.1, 1.5, count)
    v = torch.stack([torch.cos(angle), torch.sin(angle)], -1)
    B = 0.5 * make.eye(2)
    residual = torch.linalg.vector_norm(v @ B - 0.5 * v, dim=-1)  # both are singular vectors for ½
    A = make.matrix([[1, 0], [0, 0]])
    gap = singular_value(A, 1) - singular_value(B, 2)
    said = (gap - 0.5).abs() + (make.norm(B - A) / gap - 1).abs()  # the bound of Wedin is 1
    distance = torch.sin(angle)  # from (1, 0)
    return Sides(residual + said + 0.05, distance)


def _unique() -> Sides:
    """A simple leading value leaves one choice: distance zero."""
    A = make.matrix([[1, 0], [0, 0.5]])
    return make.one(0.05, sin_theta(A, A, 1)[0])


statement(
    "gap-without-uniqueness",
    "Counterexample 3.8",
    "δ > 0 and yet two leading directions of B, further than 0.05 apart",
    _not_unique,
    {"s_r(B) = s_{r+1}(B)": _unique},
    loose="the statement is that uniqueness fails; how far is a matter of choice",
)


def _tie_excluded(A: Tensor, B: Tensor, r: int, gap: Tensor | None = None) -> Sides:
    """δ − ‖E‖ against the smaller of the gaps of A and of B behind the r-th value."""
    own = [singular_value(M, r) - singular_value(M, r + 1) for M in (A, B)]
    gap = singular_value(A, r) - singular_value(B, r + 1) if gap is None else gap
    return Sides(gap - make.norm(B - A), torch.minimum(*own) + 1e-12)


def _no_tie(seed: int, count: int) -> Sides:
    """With small disturbances, so that δ exceeds ‖E‖ often; a third with ties."""
    if seed % 3 == 2:
        c = tied(seed, count)
        return _tie_excluded(c.A, c.B, c.r)
    A, B, r = pair(seed, count)
    share = make.log_uniform(seed, "share", -4, 0, count, 1, 1)
    return _tie_excluded(A, A + share * (B - A), r)


def _no_tie_extremal() -> Sides:
    """diag(1, 0) shortened to 0.8, then diag(1, 0.3) whose second value falls to 0.1."""
    shorter = _tie_excluded(*_diagonals((1, 0), (0.8, 0)), 1)
    lower = _tie_excluded(*_diagonals((1, 0.3), (1, 0.1)), 1)
    return make.one(min(shorter.tightest, lower.tightest), 1.0)


def _diagonals(first: tuple[float, float], second: tuple[float, float]) -> tuple[Tensor, Tensor]:
    return torch.diag(make.vector(*first))[None], torch.diag(make.vector(*second))[None]


def _gap_of_A() -> Sides:
    """The gap ½ of A in place of δ: half of it is left, and B has a gap of 0.1."""
    return _tie_excluded(*_diagonals((1, 0.5), (0.8, 0.7)), 1, make.vector(0.5))


def _half_of_E() -> Sides:
    """δ − ‖E‖/2: for A = diag(1, 0), B = I/2 it is positive, and B has a tie."""
    A, B = _diagonals((1, 0), (0.5, 0.5))
    return _tie_excluded(A, B, 1, 0.5 + make.norm(B - A) / 2)


statement(
    "no-tie-below-the-gap",
    "Lemma 3.9",
    "δ − ‖E‖ ≤ s_r − s_{r+1} for A and for B: below the gap both leading row spaces are unique",
    _no_tie,
    {"δ, not the gap of A alone": _gap_of_A, "the whole of ‖E‖": _half_of_E},
    _no_tie_extremal,
)


def _semidefinite(seed: int, count: int) -> Sides:
    """In all Ky Fan norms and the Frobenius norm; a third with ties and a random choice."""
    if seed % 3 == 2:
        sines, right, _, gap = tied_sides(tied(seed, count, square=True))
        return make.ratios(_ratio(sines, norms(right), gap))
    A, B, r = pair(seed, count)
    A, B = A.mT @ A, B.mT @ B
    if r >= A.shape[-1]:
        return make.nothing()
    gap = singular_value(A, r) - singular_value(B, r + 1)
    sines, right, _ = two_sides(A, B, r)
    return make.ratios(_ratio(sines, norms(right), gap))


def _semidefinite_extremal() -> Sides:
    """Projectors of ranks one and two, turned by a small angle θ: EV₁ has the norms of sin Θ.

    A further direction of A makes ‖E‖ large, which EV₁ does not see.
    """
    theta, found = 1e-3, []
    v = make.matrix([[math.cos(theta)], [math.sin(theta)]])
    A, B = make.matrix([[1, 0], [0, 0]]), v @ v.T
    for r, couple in ((1, (A, B)), (2, (torch.block_diag(A, A), torch.block_diag(B, B)))):
        first, second = beside(*couple)
        sines, right, _ = two_sides(first[None], second[None], r)
        found.append(_ratio(sines[:, :r], norms(right), torch.ones(1)).item())  # δ = 1 − 0
        found += ((norms(sines) / norms(right))[0]).tolist()
    return make.one(min(found), 1 + 1e-9)


def _indefinite() -> Sides:
    """Singular values order −1 before ½: for indefinite matrices eigenvalue gaps do not count."""
    A, B = make.matrix([[0.5, 0], [0, -0.4]]), make.matrix([[0.5, 0], [0, -0.6]])
    gap = 0.5 - (-0.6)  # between the eigenvalues λ₁(A) and λ₂(B)
    return make.one(sin_theta(A, B, 1)[0], make.norm(B - A) / gap)


statement(
    "davis-kahan",
    "Corollary 3.10",
    "‖sin Θ‖ ≤ ‖EV₁‖/(λ_r(A) − λ_{r+1}(B)) for A, B ⪰ 0, in the unitarily invariant norms",
    _semidefinite,
    {"positive semidefinite": _indefinite},
    _semidefinite_extremal,
)
