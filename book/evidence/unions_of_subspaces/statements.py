"""Chapter 1, Unions of subspaces."""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.statement import Sides, statement

NEARLY = 1e-4  # ranks of instances nearer to a lower rank than this are left to exact arithmetic


def dims(seed: int, most: int = 4) -> list[int]:
    """Dimensions r_1, …, r_K of 1 to ``most`` subspaces, 1 to 3 each."""
    (K,) = make.shape(seed, subspaces=(1, most))
    return make.sizes(seed, "r", K, 1, 3)


def bases(seed: int, count: int, m: int, sizes: list[int]) -> Tensor:
    """U = [U_1 … U_K]: (count, m, r), uniformly random subspaces."""
    parts = [make.orthonormal(seed, f"U{k}", count, m, r) for k, r in enumerate(sizes)]
    return torch.cat(parts, -1)


def coefficients(seed: int, count: int, sizes: list[int], counts: list[int]) -> Tensor:
    """V: (count, r, n) block diagonal, each block with singular values in [0.1, 10]."""
    blocks = []
    for k, (r, n) in enumerate(zip(sizes, counts, strict=True)):
        values = make.log_uniform(seed, f"values {k}", -1, 1, count, r)
        blocks.append(make.with_spectrum(seed, f"V{k}", r, n, values))
    return make.block_diagonal(blocks)


def make_dependent(U: Tensor, sizes: list[int]) -> Tensor:
    """The last subspace receives one direction that the others span: the rank falls by one."""
    first = sum(sizes[:-1])
    shared = U[..., :first].sum(-1, keepdim=True)
    shared = shared / torch.linalg.vector_norm(shared, dim=-2, keepdim=True)
    last = torch.cat([shared, U[..., first + 1 :]], -1)
    return torch.cat([U[..., :first], torch.linalg.qr(last).Q], -1)


def decided(U: Tensor) -> Tensor:
    """Instances whose rank is beyond rounding: no singular value between 1e-9 and ``NEARLY``."""
    s = torch.linalg.svdvals(U)
    return ~((s > 1e-9) & (s < NEARLY)).any(-1)


def conditions(U: Tensor, V: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(a), (b), (c), (d) of Lemma 1.3, each from its own definition."""
    r = sum(sizes)
    kernel = torch.linalg.svd(U).Vh  # full: rows beyond the rank span the kernel of U
    s = torch.linalg.svdvals(U)
    s = torch.nn.functional.pad(s, (0, r - s.shape[-1]))
    a = kernel * (s < 1e-9)[..., None]  # kernel vectors, the other rows zero
    pieces = zip(U.split(sizes, -1), a.split(sizes, -1), strict=True)
    parts = [torch.linalg.vector_norm(b @ x.mT, dim=(-2, -1)) for b, x in pieces]
    independent = torch.stack(parts).amax(0) < 1e-6
    projectors = sum(b @ torch.linalg.pinv(b) for b in U.split(sizes, -1))
    dimension = make.count_rank(projectors, 1e-10)
    own = sum(make.count_rank(b) for b in U.split(sizes, -1))
    return independent, make.count_rank(U) == r, dimension == own, make.count_rank(U @ V) == r


def disagree(U: Tensor, V: Tensor, sizes: list[int]) -> Tensor:
    """The four conditions differ, or they hold although r > m."""
    votes = torch.stack(conditions(U, V, sizes))
    return (votes.any(0) & ~votes.all(0)) | (votes.any(0) & (sum(sizes) > U.shape[-2]))


def _independence(seed: int, count: int) -> Sides:
    sizes = dims(seed)
    (m,) = make.shape(seed, m=(max(sizes), sum(sizes) + 3))
    counts = make.shape(seed, **{f"n{k}": (r, r + 3) for k, r in enumerate(sizes)})
    U = bases(seed, count, m, sizes)
    if len(sizes) > 1:
        U[::2] = make_dependent(U[::2], sizes)
    U = U[decided(U)]
    V = coefficients(seed, len(U), sizes, counts)
    return make.flags(disagree(U, V, sizes))


def _repeated_column() -> Sides:
    """U_1 = [e₁ e₁]: one subspace is independent, and rank U = 1 < r = 2."""
    U, V = make.matrix([[1, 1], [0, 0]]), make.matrix([[1, 0, 1], [0, 1, 1]])
    return make.flags(disagree(U[None], V[None], [2]))


def _thin_coefficients() -> Sides:
    """V_2 of rank 0: the lines are independent, and rank X* = 1 < 2."""
    U, V = make.matrix([[1, 0], [0, 1]]), make.matrix([[1, 2, 0, 0], [0, 0, 0, 0]])
    return make.flags(disagree(U[None], V[None], [1, 1]))


statement(
    "independence-is-a-rank",
    "Lemma 1.3",
    "independent ⇔ rank U = r ⇔ dim ΣS_k = Σ dim S_k ⇔ rank X* = r; then r ≤ m",
    _independence,
    {
        "U_k with independent columns": _repeated_column,
        "V_k of rank r_k": _thin_coefficients,
    },
    form="identity",
)


def _random_subspaces(seed: int, count: int) -> Sides:
    """The event has probability one; r = m, the narrowest case, is among the draws."""
    sizes = dims(seed)
    (m,) = make.shape(seed, m=(sum(sizes), sum(sizes) + 2))
    return make.flags(make.count_rank(bases(seed, count, m, sizes), 1e-13) < sum(sizes))


def _signs() -> Sides:
    """Entries ±1 have no density: two such lines in a plane coincide half of the time."""
    U = torch.sign(make.gaussian(0, "signs", 100, 2, 2))
    return make.flags(make.count_rank(U) < 2)


def _copied_subspace() -> Sides:
    """Each basis Gaussian, but the second a copy of the first."""
    U = make.orthonormal(0, "U", 20, 4, 2)
    return make.flags(make.count_rank(torch.cat([U, U], -1)) < 4)


statement(
    "random-subspaces",
    "Proposition 1.4",
    "P(rank U = r) = 1 for Gaussian bases and r ≤ m",
    _random_subspaces,
    {
        "r ≤ m": lambda: make.flags(make.count_rank(bases(0, 20, 3, [2, 2])) < 4),
        "a density (Gaussian)": _signs,
        "independent bases": _copied_subspace,
    },
    form="identity",
)


def split_into_lines(U: Tensor, V: Tensor, sizes: list[int], points: int) -> Sides:
    """The first ``points`` points, all of cluster 1, become lines; the others stay as they are.

    The same matrix, independent subspaces, and another partition of the points.
    """
    X, r_1 = U @ V, sizes[0]
    length = torch.linalg.vector_norm(X[..., :points], dim=-2)
    finer = torch.cat([X[..., :points] / length[:, None, :], U[..., r_1:]], -1)
    scale = torch.zeros(len(V), finer.shape[-1], V.shape[-1], dtype=torch.float64)
    scale[:, :points, :points] = torch.diag_embed(length)
    scale[:, points:, points:] = V[:, r_1:, points:]
    unchanged = make.largest(finer @ scale - X)
    dependent = make.count_rank(finer) < finer.shape[-1]
    return make.rounding(unchanged + dependent.double() + float(points < 2))


def _points_as_lines(seed: int, count: int) -> Sides:
    sizes = dims(seed, 3)
    sizes[0] = max(sizes[0], 2)
    (m,) = make.shape(seed, m=(sum(sizes), sum(sizes) + 3))
    counts = [sizes[0], *(r + 2 for r in sizes[1:])]
    U = bases(seed, count, m, sizes)
    s = torch.linalg.svdvals(U)
    U = U[s[:, -1] > NEARLY]
    return split_into_lines(U, coefficients(seed, len(U), sizes, counts), sizes, sizes[0])


def _one_point_more() -> Sides:
    """Three points in a plane: three lines, but not independent."""
    U, V = make.orthonormal(0, "U", 1, 5, 2), coefficients(0, 1, [2], [3])
    return split_into_lines(U, V, [2], 3)


def _parallel_points() -> Sides:
    """Two points in a plane, on one line: V_k is square and has rank 1."""
    U, V = make.orthonormal(0, "U", 1, 5, 2), make.matrix([[1, 2], [0, 0]])
    return split_into_lines(U, V[None], [2], 2)


def _single_point() -> Sides:
    """One point on a line of its own: the finer description is the old one."""
    U, V = make.orthonormal(0, "U", 1, 5, 3), coefficients(0, 1, [1, 2], [1, 3])
    return split_into_lines(U, V, [1, 2], 1)


def _dependent_cluster() -> Sides:
    """The plane of cluster 1 contains the line of cluster 2."""
    U = make.matrix([[1, 0, 1], [0, 1, 1], [0, 0, 0]])
    return split_into_lines(U[None], coefficients(0, 1, [2, 1], [2, 3]), [2, 1], 2)


statement(
    "points-as-lines",
    "Proposition 1.5",
    "n_k = r_k ≥ 2: the points of the cluster lie on independent lines, and X* is the same",
    _points_as_lines,
    {
        "n_k = r_k": _one_point_more,
        "r_k ≥ 2": _single_point,
        "V_k of rank r_k": _parallel_points,
        "independent subspaces": _dependent_cluster,
    },
    form="identity",
)


def _centres(C: Tensor, X: Tensor, counts: list[int]) -> Sides:
    """X against UV with U_k = c_k/‖c_k‖, V_k = ‖c_k‖(1, …, 1), and the rank of U against K."""
    length = torch.linalg.vector_norm(C, dim=-2, keepdim=True)
    V = (make.indicators(counts) > 0) * length.mT
    U = C / length
    wrong = make.largest(U @ V - X)
    return make.rounding(wrong + (make.count_rank(U.nan_to_num()) < len(counts)).double())


def _centres_are_lines(seed: int, count: int) -> Sides:
    K, extra = make.shape(seed, K=(1, 5), extra=(0, 4))
    counts = make.sizes(seed, "n", K, 1, 5)
    values = make.log_uniform(seed, "values", -1, 1, count, K)
    C = make.with_spectrum(seed, "C", K + extra, K, values)
    return _centres(C, C.repeat_interleave(torch.tensor(counts), -1), counts)


def _scattered() -> Sides:
    C = make.matrix([[1, 0], [0, 2]])
    X = C.repeat_interleave(2, -1) + 0.01 * make.gaussian(0, "scatter", 2, 4)
    return _centres(C[None], X[None], [2, 2])


def _zero_centre() -> Sides:
    C = make.matrix([[1, 0], [0, 0]])
    return _centres(C[None], C.repeat_interleave(2, -1)[None], [2, 2])


def _dependent_centres() -> Sides:
    C = make.matrix([[1, 0, 1], [0, 1, 1], [0, 0, 0]])
    return _centres(C[None], C.repeat_interleave(2, -1)[None], [2, 2, 2])


statement(
    "centres-as-lines",
    "Proposition 1.6",
    "clusters at independent centres are a union of independent lines",
    _centres_are_lines,
    {
        "every point at its centre": _scattered,
        "c_k ≠ 0": _zero_centre,
        "independent centres": _dependent_centres,
    },
    form="identity",
)


POINTS = 300  # per instance: enough for the running mean of a batch to tell 5 % apart


def _energies(U: Tensor, V: Tensor, Z: Tensor, s2: Tensor) -> Sides:
    """Points of signal and of noise in units of their variances; U: (…, m, r_k), V, Z: (…, N)."""
    m, r_k, N = U.shape[-2], V.shape[-2], V.shape[-1]
    signal, noise = make.square(U @ V) * m, make.square(Z) / s2
    freedom = torch.ones_like(signal)
    sides = make.chi_square(signal, N * r_k * freedom), make.chi_square(noise, N * m * freedom)
    return make.ratios(*(s.left / s.right for s in sides))


def _draw(seed: int, count: int, m: int, r_k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    s2 = make.log_uniform(seed, "variance", -3, 1, count)
    V = make.gaussian(seed, "V", count, r_k, POINTS) / m**0.5
    Z = make.gaussian(seed, "Z", count, m, POINTS) * s2[:, None, None].sqrt()
    return make.orthonormal(seed, "U", count, m, r_k), V, Z, s2


def _per_point(seed: int, count: int) -> Sides:
    (m,) = make.shape(seed, m=(1, 20))
    (r_k,) = make.shape(seed, r_k=(1, m))
    return _energies(*_draw(seed, count, m, r_k))


def _long_basis() -> Sides:
    U, V, Z, s2 = _draw(0, 200, 8, 3)
    return _energies(1.5 * U, V, Z, s2)


def _other_coefficients() -> Sides:
    U, V, Z, s2 = _draw(0, 200, 8, 3)
    return _energies(U, V * 8**0.5, Z, s2)


def _shifted_noise() -> Sides:
    """Variance s² around a mean that is not zero."""
    U, V, Z, s2 = _draw(0, 200, 8, 3)
    return _energies(U, V, Z + s2[:, None, None].sqrt(), s2)


statement(
    "energy-per-point",
    "Lemma 1.7",
    "E‖x*‖² = r_k/m and E‖z‖² = m s², as running means over random points",
    _per_point,
    {
        "orthonormal U_k": _long_basis,
        "coefficients N(0, 1/m)": _other_coefficients,
        "noise of mean zero": _shifted_noise,
    },
    form="identity",
)


def _drowns(Z: Tensor, s2: Tensor) -> Sides:
    """s² max(m, n) against the running mean of ‖Z‖², in units of s², Z with entries N(0, s²).

    ‖Z‖² ≥ ‖Z‖_F²/min(m, n), and the sum of ‖Z‖_F² is χ²: chance may lower it by 2√(D x).
    """
    m, n = Z.shape[-2:]
    number = torch.arange(1, len(Z) + 1, dtype=torch.float64)
    freedom = number * m * n
    luck = 2 * (freedom * make.LUCK).sqrt() / min(m, n)
    total = (make.norm(Z).square() / s2).cumsum(0)
    return Sides(max(m, n) * number - luck, total)


def _signal_drowns(seed: int, count: int) -> Sides:
    """Both claims on each instance: the noise from below, the whole signal as an identity."""
    m, n = make.shape(seed, m=(1, 12), n=(1, 12))
    s2 = make.log_uniform(seed, "variance", -3, 1, count)
    noise = _drowns(make.gaussian(seed, "Z", count, m, n) * s2[:, None, None].sqrt(), s2)
    sizes = dims(seed, 3)
    counts = make.sizes(seed, "n", len(sizes), 1, 40)
    (ambient,) = make.shape(seed, ambient=(max(sizes), 12))
    X = [
        make.orthonormal(seed, f"U{k}", count, ambient, r)
        @ make.gaussian(seed, f"V{k}", count, r, n)
        for k, (r, n) in enumerate(zip(sizes, counts, strict=True))
    ]
    energy = make.square(torch.cat(X, -1) / ambient**0.5) * ambient
    expected = sum(r * n for r, n in zip(sizes, counts, strict=True))
    signal = make.chi_square(energy, torch.full_like(energy, expected))
    broken = signal.left > signal.right
    return Sides(torch.where(broken, torch.inf, noise.left), noise.right)


def _drowns_extremal() -> Sides:
    """One row: ‖Z‖ = ‖Z‖_F, and 200,000 draws leave half a per cent to chance."""
    sides = _drowns(make.gaussian(0, "Z", 200_000, 1, 12), torch.ones(200_000))
    return make.one(sides.left[-1], sides.right[-1])


def _one_noisy_column() -> Sides:
    """Only one of eight points is noisy: E‖Z‖² = m s², and n > m."""
    Z = make.gaussian(0, "Z", 5000, 2, 8)
    Z[..., 1:] = 0
    return _drowns(Z, torch.ones(5000))


def _other_signal() -> Sides:
    """Coefficients of variance 1 instead of 1/m."""
    energy = make.gaussian(0, "V", 200, 3 * 20).square().sum(-1) * 8
    return make.chi_square(energy, torch.full_like(energy, 3 * 20))


statement(
    "signal-drowns",
    "Proposition 1.8",
    "E‖Z‖² ≥ s² max(m, n), E‖X*‖_F² = Σ n_k r_k/m, as running means",
    _signal_drowns,
    {
        "every entry of Z has variance s²": _one_noisy_column,
        "coefficients of variance 1/m": _other_signal,
    },
    _drowns_extremal,
)
