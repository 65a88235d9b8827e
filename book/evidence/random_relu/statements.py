"""Chapter 12, What a random ReLU layer does."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import NEARLY
from evidence.random_relu.kernels import (
    TWO_PI,
    lost_angle,
    norm_profile_reference,
    relu_kernel,
    relu_kernel_parts,
)
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_basis, sin_theta

ROUNDING = 1e-8
EYE = make.eye(2)


def data(seed: int, count: int, least: int = 1, extra: int = 2) -> Tensor:
    """X (count, m, n) of full row rank, least ≤ m ≤ n − extra, singular values in [0.3, 3]."""
    m, more = make.shape(seed, m=(least, 5), more=(extra, 6))
    spectrum = make.spectrum(seed, "spectrum", -0.5, 0.5, count, m)
    return make.with_spectrum(seed, "X", m, m + more, spectrum)


# Expectations by quadrature, independent of the closed form: a = z and b = ρz + √(1−ρ²)z' with
# z, z' ~ N(0, 1); the mean over z' is known, the integral over z > 0 is done on Gauss nodes.

NODES, WEIGHTS = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(300))
Z = 6 * (NODES + 1)  # (0, 12)
DENSITY = 6 * WEIGHTS * torch.exp(-(Z**2) / 2) / math.sqrt(TWO_PI)


def half_mean(mean: Tensor, sd: Tensor, power: int) -> Tensor:
    """E relu(g)^power for g ~ N(mean, sd²), power 1 or 2."""
    t = mean / sd.clamp(min=1e-150)
    density, mass = torch.exp(-(t**2) / 2) / math.sqrt(TWO_PI), torch.special.ndtr(t)
    if power == 1:
        return sd * density + mean * mass
    return (mean**2 + sd**2) * mass + mean * sd * density


def moments(X: Tensor, power: int, bias: float | Tensor = 0.0) -> Tensor:
    """E[relu(a_i)^power relu(a_j)^power], a ~ N(0, XᵀX + bias²). (..., m, n) → (..., n, n)."""
    covariance = X.mT @ X + torch.as_tensor(bias, dtype=X.dtype) ** 2
    h = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    sizes = h[..., :, None] * h[..., None, :]
    rho = (covariance / sizes.clamp(min=1e-300)).clamp(-1, 1)[..., None]  # 0 for a zero point
    inner = half_mean(rho * Z, ((1 - rho) * (1 + rho)).sqrt(), power)
    return sizes**power * (inner * Z**power * DENSITY).sum(-1)


def relative(A: Tensor, B: Tensor) -> Tensor:
    """‖A − B‖_F / ‖B‖_F over the last two axes."""
    return torch.linalg.matrix_norm(A - B) / torch.linalg.matrix_norm(B)


def sign_kernel(X: Tensor) -> Tensor:
    """E[relu(wᵀx_i) relu(wᵀx_j)] for w uniform on {−1, 1}^m, by listing all w."""
    m = X.shape[-2]
    signs = torch.cartesian_prod(*[make.vector(-1.0, 1.0)] * m)
    Y = torch.relu(signs.reshape(-1, m) @ X)
    return Y.mT @ Y / 2**m


def shifted_kernel(shift: float) -> Tensor:
    """The two points e_1, e_2 with pre-activations N(shift, 1), independent."""
    mean, sd = torch.tensor(shift, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    first, second = half_mean(mean, sd, 1), half_mean(mean, sd, 2)
    return first**2 + (second - first**2) * EYE


def deviates(A: Tensor, B: Tensor) -> Callable[[], Sides]:
    return lambda: make.one(relative(A, B), ROUNDING)


def _kernel(seed: int, count: int) -> Sides:
    X = data(seed, count)
    return make.rounding(relative(relu_kernel(X), moments(X, 1)), ROUNDING)


statement(
    "relu-kernel",
    "Theorem 12.2",
    "Φ_ij = h_i h_j (sin θ + (π − θ) cos θ)/(2π)",
    _kernel,
    {
        "Gaussian weights": deviates(relu_kernel(EYE), sign_kernel(EYE)),
        "weights of mean zero": deviates(relu_kernel(EYE), shifted_kernel(0.5)),
    },
    form="identity",
)


def _variance(X: Tensor) -> Tensor:
    """p E‖(1/p)YᵀY − Φ‖_F²."""
    return (moments(X, 2) - moments(X, 1) ** 2).sum((-2, -1))


def _ceiling(X: Tensor) -> Tensor:
    return 1.25 * make.square(X) ** 2


def _on_a_ray(X: Tensor) -> Tensor:
    """Whether all non-zero points are positive multiples of one."""
    h = torch.linalg.vector_norm(X, dim=-2)
    aligned = (X.mT @ X > (1 - 1e-12) * h[..., :, None] * h[..., None, :]) | (
        h[..., :, None] * h[..., None, :] == 0
    )
    return aligned.all(-1).all(-1)


def _concentration(seed: int, count: int) -> Sides:
    """The inequality; equality on a ray, and a deficit of a thousandth part at least beside it.

    The variance of one pair falls by ¾θ² and more: that is where the least deficit comes from.
    """
    X = data(seed, count)
    if seed % 3 == 0:  # a ray, some points zero; in every other one a point is turned
        sizes = make.uniform(seed, "sizes", -1, 3, count, X.shape[-1]).clamp(min=0)
        sizes[:, 0] = 1
        X = X[..., :1] * sizes[:, None, :]
        X[::2, 0, 0] *= -3.0
    variance, ceiling, ray = _variance(X), _ceiling(X), _on_a_ray(X)
    h = torch.linalg.vector_norm(X, dim=-2)
    cosine = (X.mT @ X / (h[..., :, None] * h[..., None, :]).clamp(min=1e-30)).clamp(-1, 1)
    pair = (h[..., :, None] * h[..., None, :]) ** 2 * torch.acos(cosine).square()
    deficit = 0.1 * pair.sum((-2, -1))  # ¾θ² near 0, 5/4 at π: never below θ²/10
    least = torch.where(ray, variance, variance + deficit)
    equal = torch.where(ray, (variance / ceiling - 1).abs() < 1e-9, True)
    return Sides(torch.where(equal, least, math.inf), ceiling * NEARLY)


RAY = make.matrix([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]])


def _heavy_tails() -> Sides:
    """w = √2 g or 0 with equal chances: the covariance is I, the fourth moments double."""
    second, first = 2 * moments(RAY, 2), moments(RAY, 1)
    return make.one((second - first**2).sum(), _ceiling(RAY))


def _opposite_points() -> Sides:
    """x and −x on one line, no ray: equality is claimed, and the variance is smaller."""
    X = make.matrix([[1.0, -1.0]])
    return make.one(_ceiling(X), _variance(X) * NEARLY)


def _copies() -> Sides:
    """p = 2 equal neurons: the variance does not halve."""
    return make.one(_variance(RAY), _ceiling(RAY) / 2)


statement(
    "kernel-concentrates",
    "Proposition 12.3",
    "E‖(1/p)YᵀY − Φ‖_F² ≤ 5‖h‖⁴/(4p), with equality on one ray only",
    _concentration,
    {
        "Gaussian weights": _heavy_tails,
        "independent neurons": _copies,
        "one ray (for equality)": _opposite_points,
    },
    lambda: make.one(_variance(RAY), _ceiling(RAY) * NEARLY),
)


def _series(rho: Tensor, terms: int) -> Tensor:
    """Σ a_k ρ^{2k+2}/(2k + 2), a_k = C(2k, k)/(4^k(2k + 1)): the first terms."""
    total, central = torch.zeros_like(rho), 1.0
    for k in range(terms):
        total = total + central / ((2 * k + 1) * (2 * k + 2)) * rho ** (2 * k + 2)
        central *= (2 * k + 1) / (2 * k + 2)
    return total


def _split(seed: int, count: int) -> Sides:
    """Worst of: the sum against quadrature, H against its series, H ⪰ 0, H = 0 for ρ = 0 only."""
    X = data(seed, count, least=2)
    X[..., 1] = X[..., 1] - X[..., 0] * (
        (X[..., 0] * X[..., 1]).sum(-1, keepdim=True) / X[..., 0].square().sum(-1, keepdim=True)
    )
    rank_one, linear, rest = relu_kernel_parts(X)
    h = torch.linalg.vector_norm(X, dim=-2)
    sizes = h[..., :, None] * h[..., None, :] / TWO_PI
    scale = sizes.diagonal(dim1=-2, dim2=-1).sum(-1)
    ratio = (X.mT @ X / (TWO_PI * sizes.clamp(min=1e-30))).clamp(-1, 1)
    short = sizes * _series(ratio, 60)
    tail = sizes * ratio.abs() ** 122 * (math.pi / 2 - 1)  # the rest sums to less at ρ = 1
    beyond = ((rest - short).abs() - tail).amax((-2, -1)) / scale
    total = make.largest(rank_one + linear + rest - moments(X, 1)) / scale
    least = -torch.linalg.eigvalsh(rest)[..., 0] / scale
    ordinary = (rest < sizes * ratio**2 / 2 * (1 - 1e-12)).double().amax((-2, -1))
    worst = torch.stack([beyond, total, least, rest[..., 0, 1] / scale, ordinary]).amax(0)
    return make.rounding(worst, ROUNDING)


def _rest_of(kernel: Tensor) -> Callable[[], Sides]:
    """What is left at the orthogonal pair e_1, e_2."""
    return lambda: make.one(abs(float(kernel[0, 1]) - 1 / TWO_PI), ROUNDING)


statement(
    "kernel-in-three",
    "Theorem 12.4",
    "Φ = hhᵀ/(2π) + ¼XᵀX + H, H ⪰ 0 with its series, H_ij = 0 ⇔ x_i ⟂ x_j",
    _split,
    {
        "Gaussian weights": _rest_of(sign_kernel(EYE)),
        "no bias": _rest_of(relu_kernel(torch.cat([EYE, torch.ones(1, 2).double()]))),
    },
    form="identity",
)


def _tilted(X: Tensor) -> Tensor:
    rank_one, linear, _ = relu_kernel_parts(X)
    return rank_one + linear


def half_symmetric(seed: int, count: int) -> Tensor:
    """[[a, a], [b, −b]]: the profile has nothing of the rows b, which may be strong or weak.

    So c_i = 0 for the directions of b, among them that of λ_r where b is weak; in half of the
    batches its values are equal, and λ_r is a multiple eigenvalue.
    """
    m, k, more = make.shape(seed, m=(1, 2), k=(1, 3), more=(2, 5))
    n = m + k + more
    a = make.with_spectrum(seed, "a", m, n, make.spectrum(seed, "sa", -0.3, 0.3, count, m))
    values = make.spectrum(seed, "sb", -0.3, 0.3, count, k)
    values = values[:, :1].expand(-1, k) if seed % 4 < 2 else values
    b = make.with_spectrum(
        seed, "b", k, n, values * make.log_uniform(seed, "size", -1.5, 0.5, count, 1)
    )
    return torch.cat([torch.cat([a, a], -1), torch.cat([b, -b], -1)], -2)


def secular(X: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """λ, μ, tan θ by (12.5) and its direction, as the statement has them; X of full row rank."""
    V, h = row_basis(X, X.shape[-2]), torch.linalg.vector_norm(X, dim=-2)
    lam = torch.linalg.svdvals(X).square() / 4
    c = (V @ h[..., None])[..., 0]
    beside = torch.linalg.vector_norm(h - (V.mT @ c[..., None])[..., 0], dim=-1)
    c = torch.where(c.abs() > 1e-9 * torch.linalg.vector_norm(h, dim=-1)[:, None], c, 0.0)
    star = torch.where(c == 0, math.inf, lam).amin(-1)
    low, high = torch.zeros_like(star), torch.minimum(star, beside**2 / TWO_PI)
    for _ in range(100):
        mu = (low + high) / 2
        terms = torch.where(c == 0, 0.0, c**2 / (lam - mu[:, None]))
        rising = 1 + (terms.sum(-1) - beside**2 / mu) / TWO_PI > 0
        low, high = torch.where(rising, low, mu), torch.where(rising, mu, high)
    lost = torch.where(c == 0, 0.0, c / (lam - mu[:, None]))
    size = torch.linalg.vector_norm(lost, dim=-1)
    return lam, mu, mu / beside * size, (V.mT @ lost[..., None])[..., 0] / size[:, None]


def lost_vector(X: Tensor, M: Tensor) -> tuple[Tensor, Tensor]:
    """The sines between row(X) and the leading space of M, and the vector of the largest."""
    R, top = row_basis(X, X.shape[-2]), torch.linalg.eigh(M).eigenvectors[..., -X.shape[-2] :].mT
    U, sines, _ = torch.linalg.svd(make.outside(R, top), full_matrices=False)
    return sines, (R.mT @ U[..., :1])[..., 0]


def _in_last_eigenspace(X: Tensor, v: Tensor) -> Tensor:
    """The part of v outside the eigenspace of λ_r, and whether that is apart from the others."""
    _, s, Vh = torch.linalg.svd(X, full_matrices=False)
    last = s < s[..., -1:] * (1 + 1e-6)
    own = (Vh * last[..., None]) @ v[..., None]
    return v - (Vh.mT @ own)[..., 0]


def _well_apart(X: Tensor, M: Tensor, mu: Tensor) -> Tensor:
    """Instances that rounding leaves alone: μ is away from all λ_i, and different λ_i differ."""
    values = torch.linalg.eigvalsh(M)[..., -X.shape[-2] - 1 :]
    ratio = values[..., 1:] / values[..., :-1]
    tied = ratio < 1 + 1e-9
    lam = torch.linalg.svdvals(X).square() / 4
    away = ((mu[:, None] / lam - 1).abs() > 1e-3).all(-1)
    sticks_out = mu > 1e-6 * lam[:, -1]  # h_⊥ ≠ 0
    return sticks_out & away & ((ratio > 1.001) | tied).all(-1)


def _lost(seed: int, count: int) -> Sides:
    """The largest angle against the formula, the others against zero, and the direction.

    Two of three batches have directions without a part of the profile, λ_r often among them.
    """
    X = data(seed, count) if seed % 3 == 0 else half_symmetric(seed, count)
    M = _tilted(X)
    lam, mu, tangent, direction = secular(X)
    sines, vector = lost_vector(X, M)
    below = mu < lam[:, -1]
    sine = torch.where(below, tangent / (1 + tangent**2).sqrt(), 1.0)
    along = (direction * vector).sum(-1).abs()
    right_angle = torch.linalg.vector_norm(_in_last_eigenspace(X, vector), dim=-1)
    aside = torch.where(sine > 1e-3, torch.where(below, 1 - along, right_angle), 0.0)
    worst = torch.maximum((sines[:, 0] - sine).abs(), aside)
    if X.shape[-2] > 1:
        worst = torch.maximum(worst, sines[:, 1])
    if seed % 3 == 0:  # the library's formula as well
        worst = torch.maximum(worst, (torch.sin(lost_angle(X, X.shape[-2]).angle) - sine).abs())
    return make.rounding(worst[_well_apart(X, M, mu)], 1e-6)


def _beyond_the_last() -> Sides:
    """Equation (12.5) where μ > λ_r: the angle is a right one, whatever it says."""
    X = half_symmetric(1, 200)
    lam, mu, tangent, _ = secular(X)
    sines, _ = lost_vector(X, _tilted(X))
    beyond = mu > 1.1 * lam[:, -1]
    said = tangent / (1 + tangent**2).sqrt()
    return make.rounding((sines[:, 0] - said).abs()[beyond], 1e-6)


def _larger_rank() -> Sides:
    """Three directions, asked at rank 2: the third is no part of the formula."""
    X = make.with_spectrum(3, "X", 3, 9, make.matrix([[3.0, 2.0, 1.9]]))[0]
    two = row_basis(X, 2)
    shadow = (X @ two.mT) @ two  # rank 2
    sine = torch.sin(lost_angle(shadow, 2).angle)
    return make.one((sine - sin_theta(X, _tilted(X), 2)[0]).abs(), 1e-6)


def _another_root() -> Sides:
    """The largest root of the secular equation in place of the one below λ_r."""
    X = data(4, 1)[0]
    r, h = X.shape[0], torch.linalg.vector_norm(X, dim=0)
    V, lam = row_basis(X, r), torch.linalg.svdvals(X).square() / 4
    c, root = V @ h, torch.linalg.eigvalsh(_tilted(X))[-1]
    outside = torch.linalg.vector_norm(h - V.T @ c)
    tangent = root / outside * torch.linalg.vector_norm(c / (lam - root))
    return make.one((torch.atan(tangent) - lost_angle(X, r).angle).abs(), 1e-6)


statement(
    "lost-direction",
    "Theorem 12.5",
    "one angle θ between row(X) and a top-r space of M: tan θ by the secular equation, or 90°",
    _lost,
    {
        "rank X = r": _larger_rank,
        "the root below λ_r": _another_root,
        "μ < λ_r for (12.5)": _beyond_the_last,
    },
    form="identity",
)


def _symmetric(seed: int, count: int, least: int = 1) -> Tensor:
    """[X, −X]: with each point its opposite."""
    X = data(seed, count, least)
    return torch.cat([X, -X], -1)


def _orthogonal_profile(seed: int, count: int) -> Sides:
    """The sine is 1 from rank two on and 0 at rank one, whichever λ_r.

    Where it is 1 the direction lies in the eigenspace of λ_r, of multiplicity r in half of them.
    """
    X = data(seed, count)
    r, n = X.shape[-2:]
    if seed % 2:
        X = make.with_spectrum(seed, "equal", r, n, torch.ones(count, r, dtype=torch.float64))
    X, lost = torch.cat([X, -X], -1), float(r >= 2)
    M, mu = _tilted(X), make.square(X) / TWO_PI
    weakest = torch.linalg.svdvals(X)[..., -1].square() / 4
    wrong_side = ((mu > weakest) != (r >= 2)).double()
    sines, vector = lost_vector(X, M)
    aside = lost * torch.linalg.vector_norm(_in_last_eigenspace(X, vector), dim=-1)
    worst = torch.stack([(sines[:, 0] - lost).abs(), aside, wrong_side]).amax(0)
    return make.rounding(worst[_well_apart(X, M, mu)], 1e-6)


def _not_orthogonal() -> Sides:
    """Data without symmetry: c ≠ 0, and the angle lies strictly between."""
    X = data(2, 1)[0]
    sine = float(sin_theta(X, _tilted(X), X.shape[0])[0])
    return make.one(min(sine, 1 - sine), 1e-6)


statement(
    "orthogonal-profile",
    "Corollary 12.6",
    "c = 0: θ = 90° for r ≥ 2, where ‖h‖²/(2π) > λ_r always, and 0° for r = 1",
    _orthogonal_profile,
    {"c = 0": _not_orthogonal},
    form="identity",
)


def _stays(X: Tensor, less: int = 0) -> Sides:
    """Sine from row(X) into the leading r + N − less directions of Φ; N from hhᵀ/(2π) + H."""
    rank_one, _, rest = relu_kernel_parts(X)
    weakest = torch.linalg.svdvals(X)[..., -1:].square() / 4
    even = torch.linalg.eigvalsh(rank_one + rest)
    clear = ((even / weakest - 1).abs() > 1e-3).all(-1)  # a tie leaves the order to rounding
    q = X.shape[-2] + (even > weakest).sum(-1, keepdim=True) - less
    vectors = torch.linalg.eigh(relu_kernel(X)).eigenvectors
    n = X.shape[-1]
    vectors = vectors * (torch.arange(n) >= n - q)[..., None, :]
    sine = make.norm(make.outside(row_basis(X, X.shape[-2]), vectors.mT))
    return make.rounding(sine[clear], 1e-6)


def _no_opposites() -> Sides:
    """Half of the opposites left out."""
    X = _symmetric(1, 20, least=2)
    return _stays(X[..., : 3 * X.shape[-1] // 4])


statement(
    "odd-and-even",
    "Proposition 12.7",
    "with each point its opposite: row(X) lies in the leading r + N directions, exactly",
    lambda seed, count: _stays(_symmetric(seed, count)),
    {
        "opposite points": _no_opposites,
        "all N directions": lambda: _stays(_symmetric(1, 20, least=2), less=1),
    },
    form="identity",
)


def only_rest(X: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides of Proposition 12.8 for R ⊇ row(X) + span(h); ∞ without a gap."""
    k, kernel, rest = R.shape[-2], relu_kernel(X), relu_kernel_parts(X)[2]
    values = torch.linalg.eigvalsh(kernel)
    inner = R @ kernel @ R.mT
    s2, t2 = torch.linalg.eigvalsh(inner)[..., 0], values[..., -k - 1].clamp(min=0)
    leak = make.outside(R @ rest, R)
    size = make.norm(torch.linalg.solve(inner, leak))
    tangent = size / (1 - (t2 / s2).clamp(max=1 - 1e-12))
    bound = torch.where(s2 > t2, tangent / (1 + tangent**2).sqrt(), math.inf)
    top = torch.linalg.eigh(kernel).eigenvectors[..., -k:]
    return make.norm(make.outside(R, top.mT)), bound


def _rest_only(seed: int, count: int) -> Sides:
    X = data(seed, count, least=2, extra=3)
    sine, bound = only_rest(X, norm_profile_reference(X, X.shape[-2]))
    keep = bound < math.inf
    return Sides(sine[keep], bound[keep] + 1e-7)


def _rest_only_extremal() -> Sides:
    """Five points in the plane, H small on what is left of the space: the best of 500."""
    X = data(6, 500, least=2, extra=3)
    sine, bound = only_rest(X, norm_profile_reference(X, X.shape[-2]))
    i = int(torch.where((sine > 1e-3) & (bound < math.inf), sine / bound, 0.0).argmax())
    return make.one(sine[i], bound[i])


def _without_profile() -> Sides:
    """R = row(X) alone: the norms disturb too, and H does not account for it."""
    X = data(2, 50, least=2, extra=3)
    sine, bound = only_rest(X, row_basis(X, X.shape[-2]))
    keep = bound < math.inf
    return Sides(sine[keep], bound[keep] + 1e-7)


def _without_factor() -> Sides:
    """1/(1 − t²/s²) left out."""
    left, right = [], []
    for seed in range(12):
        X = data(seed, 100, least=2, extra=3)
        R = norm_profile_reference(X, X.shape[-2])
        kernel = relu_kernel(X)
        s2 = torch.linalg.eigvalsh(R @ kernel @ R.mT)[..., 0]
        t2 = torch.linalg.eigvalsh(kernel)[..., -R.shape[-2] - 1].clamp(min=0)
        sine, bound = only_rest(X, R)
        keep = bound < math.inf
        tangent = (bound / (1 - bound**2).sqrt() * (1 - t2 / s2))[keep]
        left.append(sine[keep])
        right.append(tangent / (1 + tangent**2).sqrt())
    return Sides(torch.cat(left), torch.cat(right))


statement(
    "only-the-rest-disturbs",
    "Proposition 12.8",
    "tan θ ≤ ‖(I − P)HRᵀ(RΦRᵀ)⁻¹‖/(1 − t²/s²) for R ⊇ row(X) + span(h)",
    _rest_only,
    {"R contains the profile": _without_profile, "the factor 1 − t²/s²": _without_factor},
    _rest_only_extremal,
)


def _union(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Clean data of K independent random subspaces, and labels."""
    K, r_k, n_k = make.shape(seed, K=(2, 4), r_k=(1, 3), n_k=(5, 8))
    U = make.orthonormal(seed, "bases", count, K * r_k + 2, K * r_k)
    U = U + 0.3 * make.gaussian(seed, "lean", *U.shape)  # independent, no longer orthogonal
    blocks = [make.gaussian(seed, f"coefficients {k}", count, r_k, n_k) for k in range(K)]
    for block in blocks:
        block[..., 1] = -block[..., 0]  # no cluster on a ray, where the profile is linear
    return U @ make.block_diagonal(blocks), make.labels([n_k] * K)


def _across(R: Tensor, labels: Tensor) -> Tensor:
    pairs = labels[:, None] != labels[None, :]
    return (R.mT @ R)[..., pairs].abs().amax(-1)


def _block_diagonal(seed: int, count: int) -> Sides:
    X, labels = _union(seed, count)
    rank = int(torch.linalg.matrix_rank(X[0]))
    R, K = norm_profile_reference(X, rank, labels), int(labels.max()) + 1
    h = torch.linalg.vector_norm(X, dim=-2, keepdim=True)
    size = torch.full((count,), float(R.shape[-2] != rank + K), dtype=torch.float64)
    inside = [
        torch.linalg.matrix_norm(make.outside(v, R)) / torch.linalg.matrix_norm(v)
        for v in (X, h, *(h * (labels == k) for k in range(K)))
    ]
    return make.rounding(torch.stack([_across(R, labels), size, *inside]).amax(0), ROUNDING)


def _one_for_all() -> Sides:
    X, labels = _union(0, 1)
    R = norm_profile_reference(X[0], int(torch.linalg.matrix_rank(X[0])))
    return make.one(_across(R, labels), ROUNDING)


def _dependent() -> Sides:
    """Three lines in a plane, four points on each."""
    angle = torch.arange(3, dtype=torch.float64).repeat_interleave(4)
    size = make.vector(1.0, -2.0, 3.0, -1.5).repeat(3)  # no rays
    X = size * torch.stack([angle.cos(), angle.sin()])
    return make.one(_across(norm_profile_reference(X, 2, angle.long()), angle), ROUNDING)


statement(
    "profile-per-cluster",
    "Proposition 12.9",
    "the projector onto row(X*) + span(h_1, …, h_K) ∋ h is block diagonal, of rank r + K",
    _block_diagonal,
    {"one profile for each cluster": _one_for_all, "independent subspaces": _dependent},
    form="identity",
)


def _lifted(X: Tensor, size: Tensor) -> Tensor:
    """The kernel of the points (x_j, β)."""
    row = size[..., None, None].expand(*X.shape[:-2], 1, X.shape[-1])
    return relu_kernel(torch.cat([X, row], -2))


def _bias(seed: int, count: int) -> Sides:
    X, size = data(seed, count), make.log_uniform(seed, "size", -2, 1, count)
    return make.rounding(relative(_lifted(X, size), moments(X, 1, size[:, None, None])), ROUNDING)


def _bias_of_two_values() -> Sides:
    """b = ±2 with equal chances, the same variance as N(0, 4)."""
    value = (shifted_kernel(2.0) + shifted_kernel(-2.0)) / 2
    return make.one(relative(value, _lifted(EYE, make.vector(2)[0])), ROUNDING)


def _dependent_bias() -> Sides:
    """b = w_1: the point e_1 becomes 2e_1 and e_2 becomes e_1 + e_2."""
    value = relu_kernel(EYE + make.matrix([[1, 1], [0, 0]]))
    return make.one(relative(value, _lifted(EYE, make.vector(1)[0])), ROUNDING)


statement(
    "gaussian-bias",
    "Proposition 12.10",
    "with a bias N(0, β²) the kernel is that of the points (x_j, β)",
    _bias,
    {
        "Gaussian bias": _bias_of_two_values,
        "bias independent of the weights": _dependent_bias,
    },
    form="identity",
)


def _signs(seed: int, count: int) -> Sides:
    """Random signs as weights and the points a e_1, b e_2, in two to six coordinates."""
    a = make.log_uniform(seed, "a", -1, 1, count, 2)
    (m,) = make.shape(seed, m=(2, 6))
    X = torch.nn.functional.pad(torch.diag_embed(a), (0, 0, 0, m - 2))
    return make.rounding((sign_kernel(X)[..., 0, 1] / a.prod(-1) - 0.25).abs())


def _spread_points() -> Sides:
    """Orthogonal points spread over ten coordinates: sums of signs are nearly Gaussian."""
    half = make.matrix([[1, 1], [1, -1]])
    X = half.repeat(5, 1) / math.sqrt(10)
    return make.one(abs(float(sign_kernel(X)[0, 1]) - 0.25), 0.05)


statement(
    "sign-weights",
    "Counterexample 12.11",
    "weights ±1, orthogonal points a e_1, b e_2: Φ_12 = h_1h_2/4, and not h_1h_2/(2π)",
    _signs,
    {
        "weights that are not Gaussian": lambda: make.one(
            abs(float(relu_kernel(EYE)[0, 1]) - 0.25), ROUNDING
        ),
        "points on few axes": _spread_points,
    },
    form="identity",
)
