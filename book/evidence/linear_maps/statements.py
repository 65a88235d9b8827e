"""Chapter 5, Linear maps."""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import NEARLY
from evidence.statement import Sides, statement
from subspace_lib.bounds import wedin_bound
from subspace_lib.projectors import projection_distance
from subspace_lib.rowspace import rounding_allowance, singular_value

EYE = make.eye(10)


def signal(seed: int, count: int) -> tuple[Tensor, Tensor, int]:
    """X* (count, m, n) of rank r with values in [0.1, 10], and a basis B of its column space."""
    m, more = make.shape(seed, m=(2, 10), more=(0, 8))
    (r,) = make.shape(seed, r=(1, m))
    values = make.log_uniform(seed, "values", -1, 1, count, r)
    clean = make.with_spectrum(seed, "clean", m, r + more, values)
    return clean, make.orthonormal(seed, "clean left", count, m, r), r


def _keeps(clean: Tensor, W: Tensor, rank: int, rank_out: int) -> Sides:
    """Projector distance where the rank is kept; containment of a smaller space elsewhere.

    Compared through the residual of the rows of WX* outside the row space of X*.
    """
    out = W @ clean
    P = torch.linalg.pinv(clean, rtol=1e-9) @ clean
    size = make.norm(W) * make.norm(clean)
    outside = make.norm(out - out @ P) / size
    if rank_out == rank:
        weakest = singular_value(out, rank)
        moved = projection_distance(clean, out, rank, "spectral")
        allowed = 1e-9 + 1e-12 * size / weakest
        return Sides(torch.maximum(moved, outside), allowed)
    smaller = make.count_rank(out) < rank
    return make.rounding(torch.where(smaller, outside, 1.0))


def _rank_kept_or_lost(seed: int, count: int) -> Sides:
    clean, B, r = signal(seed, count)
    m = clean.shape[-2]
    p, lost = make.shape(seed, p=(0, 6), lost=(0, r - 1))
    W = make.gaussian(seed, "W", count, r + p, m)
    kill = B[..., :lost]
    return _keeps(clean, W - (W @ kill) @ kill.mT, r, r - lost)


def _lost_direction() -> Sides:
    """W of rank r − 1 on the signal: the space left over is not the whole."""
    clean, W = make.matrix([[2, 0], [0, 1]]), make.matrix([[1, 0], [0, 0]])
    moved = 1.0 - singular_value(W @ clean, 2)  # no second direction: distance 1
    return make.one(moved, 1e-10)


def _full_rank_signal() -> Sides:
    """rank X* = 2, r = 1: W turns the weaker direction into the leading one."""
    clean, W = make.matrix([[2, 0], [0, 1]]), make.matrix([[1, 0], [0, 3]])
    return make.one(projection_distance(clean, W @ clean, 1), 1e-10)


statement(
    "rank-kept",
    "Lemma 5.1",
    "rank(WX*) = r ⇒ P_r(WX*) = P_r(X*); rank(WX*) < r ⇒ a proper subspace",
    _rank_kept_or_lost,
    {"rank(WX*) = r": _lost_direction, "rank X* = r": _full_rank_signal},
    form="identity",
)


def _ranks(W: Tensor, clean: Tensor, r: int) -> Sides:
    """Whether rank W = m − 1 ≥ r and rank(WX*) = r − 1 fails; W is no longer than the identity."""
    m, size = clean.shape[-2], singular_value(clean, 1)[..., None]
    out = (torch.linalg.svdvals(W @ clean) > 1e-9 * size).sum(-1)  # it may be zero altogether
    claims = (make.count_rank(W) == m - 1) & (out == r - 1)
    return make.flags(~claims | torch.tensor(m - 1 < r))


def without(u: Tensor) -> Tensor:
    """I − uuᵀ for each column vector u (..., m)."""
    return EYE[: u.shape[-1], : u.shape[-1]] - u[..., :, None] * u[..., None, :]


def _misses_the_signal(seed: int, count: int) -> Sides:
    clean, B, r = signal(seed, count)
    if r == clean.shape[-2]:
        return make.flags(torch.zeros(0))  # m > r
    u = (B @ make.gaussian(seed, "u", count, r, 1))[..., 0]
    W = without(u / torch.linalg.vector_norm(u, dim=-1, keepdim=True))
    return _ranks(W, clean, r)


def _square_signal() -> Sides:
    """m = r: then rank W = r − 1, which the paper's condition would notice."""
    return _ranks(without(EYE[0, :3])[None], EYE[:3, :3][None], 3)


statement(
    "rank-misses-signal",
    "Counterexample 5.2",
    "rank(I − uuᵀ) = m − 1 ≥ r and rank((I − uuᵀ)X*) = r − 1",
    _misses_the_signal,
    {
        "u in the column space": lambda: _ranks(without(EYE[2, :3])[None], EYE[:3, :2][None], 2),
        "m > r": _square_signal,
        "a unit vector": lambda: _ranks(without(0.5 * EYE[0, :3])[None], EYE[:3, :2][None], 2),
    },
    form="identity",
)


def _loses_rank(W: Tensor, clean: Tensor, r: int) -> Sides:
    return make.flags(make.count_rank(W @ clean, 1e-13) < r)


def _almost_every_layer(seed: int, count: int) -> Sides:
    """Gaussian and uniform weights; p = r, the narrowest case, is among the draws."""
    clean, _, r = signal(seed, count)
    p, kind = make.shape(seed, p=(r, r + 3), kind=(0, 1))
    shape = count, p, clean.shape[-2]
    W = make.uniform(seed, "W", -1, 1, *shape) if kind else make.gaussian(seed, "W", *shape)
    return _loses_rank(W, clean, r)


def _sign_weights() -> Sides:
    """Weights ±1 have no density: two neurons coincide in one of four draws (m = 3)."""
    W = torch.sign(make.gaussian(0, "signs", 100, 2, 3))
    return _loses_rank(W, make.gaussian(0, "clean", 100, 3, 2), 2)


def _weights_that_know() -> Sides:
    """Gaussian weights, changed after the data were seen: the density is one given the data."""
    clean, u = EYE[:4, :2], EYE[0, :4]
    return _loses_rank(make.gaussian(0, "W", 5, 4, 4) @ without(u), clean.expand(5, 4, 2), 2)


statement(
    "wide-layers-are-safe",
    "Proposition 5.3",
    "P(rank(WX*) = r) = 1 for p ≥ r and W with a density",
    _almost_every_layer,
    {
        "p ≥ r": lambda: _loses_rank(
            make.gaussian(0, "W", 5, 1, 4), EYE[:4, :2].expand(5, 4, 2), 2
        ),
        "a density": _sign_weights,
        "weights independent of the data": _weights_that_know,
    },
    form="identity",
)


def _eaten(W: Tensor, B: Tensor, clean: Tensor, r: int) -> Sides:
    """s_min(WB) s_r(X*) against s_r(WX*)."""
    left = singular_value(W @ B, r) * singular_value(clean, r)
    out = W @ clean
    return Sides(left, singular_value(out, r) * NEARLY + rounding_allowance(out))


def _gap_eaten(seed: int, count: int) -> Sides:
    """Wide, square and narrow W, and W that damp one signal direction."""
    clean, B, r = signal(seed, count)
    (p,) = make.shape(seed, p=(1, clean.shape[-2] + 3))
    W = make.gaussian(seed, "W", count, p, clean.shape[-2])
    damp = 1 - make.log_uniform(seed, "keep", -6, 0, count, 1, 1)
    W = W - damp * (W @ B[..., :1]) @ B[..., :1].mT
    if p < r:
        return Sides(torch.zeros(count), torch.zeros(count))  # both sides are s_r := 0
    return _eaten(W, B, clean, r)


def _orthonormal_columns() -> Sides:
    W = 3 * make.orthonormal(0, "W", 1, 7, 4)
    clean = make.with_spectrum(0, "clean", 4, 6, make.log_uniform(0, "values", -1, 1, 1, 2))
    return _eaten(W, make.orthonormal(0, "clean left", 1, 4, 2), clean, 2)


def _wrong_basis() -> Sides:
    """W kills the signal, B spans another line."""
    W, clean = without(EYE[0, :2]), EYE[:2, :1]
    return _eaten(W[None], EYE[:2, 1:2][None], clean[None], 1)


def _long_basis() -> Sides:
    """A basis, but of length 3: s_min(WB) is then not what W does."""
    return _eaten(EYE[:2, :2][None], 3 * EYE[:2, :1][None], EYE[:2, :1][None], 1)


statement(
    "gap-eaten",
    "Proposition 5.4",
    "s_r(WX*) ≥ s_min(WB) s_r(X*)",
    _gap_eaten,
    {"B spans the column space": _wrong_basis, "B orthonormal": _long_basis},
    _orthonormal_columns,
)


def _linear(clean: Tensor, W: Tensor, Z: Tensor, r: int, gap: Tensor | None = None) -> Sides:
    """Both norms of (5.1), and P_r(WX*) = P_r(X*): the worst of the three ratios against 1."""
    A, B = W @ clean, W @ (clean + Z)
    cert = wedin_bound(A, B, r)
    keep = torch.isfinite(cert.bound) if gap is None else torch.ones(len(A), dtype=torch.bool)
    A, B, clean, bound = A[keep], B[keep], clean[keep], cert.bound[keep]
    if gap is not None:
        bound = make.norm(B - A) / gap
    spectral = projection_distance(clean, B, r, "spectral")
    frobenius = projection_distance(clean, B, r, "fro")
    same = projection_distance(clean, A, r, "spectral")
    allowed = 1e-9 + 1e-12 * make.norm(A) / singular_value(A, r)
    right = bound + allowed
    together = frobenius / ((2 * r) ** 0.5 * right)
    return make.ratios(spectral / right, together, same / allowed * 0.99)


def _linear_link(seed: int, count: int) -> Sides:
    clean, _, r = signal(seed, count)
    m, n = clean.shape[-2:]
    (p,) = make.shape(seed, p=(0, 6))
    W = make.gaussian(seed, "W", count, r + p, m) * make.log_uniform(seed, "W size", -2, 2)
    Z = make.gaussian(seed, "Z", count, m, n)
    if seed % 4 == 0:  # equal turns of r directions: the Frobenius form with equality
        clean, Z = (make.block_diagonal([M] * r).expand(count, -1, -1) for M in _turn(seed))
        W = make.orthonormal(seed, "W", count, 2 * r + p, 2 * r)
        return _linear(clean, W, Z, r)
    return _linear(clean, W, Z * make.log_uniform(seed, "size", -4, 0, count, 1, 1), r)


def _turn(seed: int) -> tuple[Tensor, Tensor]:
    """diag(1, 0) and the noise that turns it as far as Wedin allows."""
    A, B = make.turned(float(make.uniform(seed, "θ", 0.01, 1.2, 1)))
    return A, B - A


def _turned_through_a_layer() -> Sides:
    """Wedin with equality, seen through a layer with orthonormal columns; both norms at r = 2."""
    A, B = (torch.block_diag(M, M) for M in make.turned(0.3))
    W = 2 * make.orthonormal(0, "W", 1, 6, 4)[0]
    bound = make.norm(W @ (B - A)) / singular_value(W @ A, 2)  # s_3(WX) = 0
    moved = [projection_distance(A, W @ B, 2, norm) for norm in ("spectral", "fro")]
    return make.one(min(moved[0] / bound, moved[1] / (2 * bound)), 1 + 1e-9)


def _without_root() -> Sides:
    """Two equal rotations, r = 2: the Frobenius distance is twice the bound, not √2 times it."""
    A, B = (torch.block_diag(M, M) for M in make.turned(0.3))
    fro = projection_distance(A, B, 2, "fro")
    return make.one(fro, 2**0.5 * wedin_bound(A, B, 2).bound)


def _gap_of_one_matrix() -> Sides:
    """s_1(WX*) − s_2(WX*) = 1 in place of δ₂: the noise exchanges the directions."""
    clean, Z = make.matrix([[1, 0], [0, 0]]), make.matrix([[-0.501, 0], [0, 0.501]])
    return _linear(clean[None], EYE[None, :2, :2], Z[None], 1, torch.ones(1))


def _signal_of_higher_rank() -> Sides:
    """rank X* = 2, r = 1, no noise: W makes the weaker direction the leading one, δ₂ = 0.8."""
    clean, W = make.matrix([[1, 0], [0, 0.9]]), make.matrix([[0.1, 0], [0, 1]])
    return _linear(clean[None], W[None], torch.zeros(1, 2, 2, dtype=torch.float64), 1)


statement(
    "layer-link",
    "Lemma 5.5",
    "‖P_r(WX) − P_r(X*)‖ ≤ ‖WZ‖/δ₂, ‖·‖_F ≤ √(2r) ‖WZ‖/δ₂, P_r(WX*) = P_r(X*)",
    _linear_link,
    {
        "δ₂ = s_r(WX*) − s_{r+1}(WX) > 0": _gap_of_one_matrix,
        "rank X* = r": _signal_of_higher_rank,
        "the factor √r": _without_root,
    },
    _turned_through_a_layer,
)


NODES, CHANCES = make.vector(-(3**0.5), 0, 3**0.5), make.vector(1 / 6, 2 / 3, 1 / 6)
SIGNS, HALVES = make.vector(-1, 1), make.vector(0.5, 0.5)


def every_layer(p: int, m: int, nodes: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    """All W (p × m) with entries among the nodes, over √p, and their chances.

    Three Gauss–Hermite nodes give the means of all polynomials of degree five in each N(0, 1)
    number, so the mean over these layers is the mean over Gaussian ones, without sampling.
    """
    size = p * m
    W = torch.cartesian_prod(*[nodes] * size).reshape(-1, p, m) / p**0.5
    return W, torch.cartesian_prod(*[chances] * size).reshape(-1, size).prod(-1)


def _gram_error(layers: tuple[Tensor, Tensor], A: Tensor, p: int) -> Sides:
    """The two means of the statement, exactly, relative to the second: A (count, m, n)."""
    W, chance = layers
    K = A.mT @ A
    WA = W @ A[:, None]
    error = WA.mT @ WA - K[:, None]  # (count, layers, n, n)
    mean = (chance[:, None, None] * error).sum(-3)
    spread = (chance * make.square(error)).sum(-1)
    predicted = (make.square(A) ** 2 + make.square(K)) / p
    return make.rounding(make.largest(mean) / predicted.sqrt() + (spread / predicted - 1).abs())


SHAPES = [(1, 1), (1, 2), (2, 1), (1, 4), (4, 1), (2, 2), (2, 3), (3, 2), (6, 1), (1, 6)]


def _wide_layer(seed: int, count: int) -> Sides:
    (which, n) = make.shape(seed, which=(0, len(SHAPES) - 1), n=(1, 6))
    p, m = SHAPES[which]
    values = make.log_uniform(seed, "values", -1, 1, count, min(m, n))
    A = make.with_spectrum(seed, "A", m, n, values)
    return _gram_error(every_layer(p, m, NODES, CHANCES), A, p)


def _other_weights(scale: float = 1.0, equal: bool = False, signs: bool = False) -> Sides:
    A = make.gaussian(0, "A", 5, 2, 4)
    W, chance = every_layer(2, 2, *((SIGNS, HALVES) if signs else (NODES, CHANCES)))
    W = W[:, :1].expand_as(W) if equal else W
    return _gram_error((scale * W, chance), A, 2)


statement(
    "wide-layers-keep-angles",
    "Proposition 5.6",
    "E(WA)ᵀWA = AᵀA, E‖(WA)ᵀWA − AᵀA‖_F² = (‖A‖_F⁴ + ‖AᵀA‖_F²)/p, exactly",
    _wide_layer,
    {
        "variance 1/p": lambda: _other_weights(scale=1.01),
        "independent neurons": lambda: _other_weights(equal=True),
        "Gaussian entries": lambda: _other_weights(signs=True),
    },
    form="identity",
)
