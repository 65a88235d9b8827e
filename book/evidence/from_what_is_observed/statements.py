"""Chapter 10, From what is observed."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.stats import beta
from torch import Tensor

from evidence import instances as make
from evidence.from_what_is_observed import bounded, gaussian, unions
from evidence.from_what_is_observed.bounded import Noisy
from evidence.from_what_is_observed.unions import Union
from evidence.instances import NEARLY
from evidence.statement import Sides, statement
from subspace_lib import certify
from subspace_lib.certify.deterministic import entry_bounds
from subspace_lib.clustering import connectivity_margin

CONFIDENCE = 0.99
EPS = torch.finfo(torch.float64).eps
Draw = Callable[..., Tensor]  # of a seed, a purpose and a shape


def nearest(left: Tensor, right: Tensor) -> Sides:
    """One pair per instance: one that fails, else the largest left/right; both (count, many)."""
    place = torch.where(left > right, math.inf, left / right).argmax(-1, keepdim=True)
    return Sides(left.gather(-1, place)[:, 0], right.gather(-1, place)[:, 0])


def failure_rate(wrong: Tensor, upper: bool = False) -> float:
    """Clopper and Pearson's limit for the probability of ``wrong``, from below or from above."""
    n, bad = len(wrong), int(wrong.sum())
    tail = (1 - CONFIDENCE) / 2
    if upper:
        return float(beta.isf(tail, bad + 1, n - bad)) if bad < n else 1.0
    return float(beta.ppf(tail, bad, n - bad + 1)) if bad else 0.0


def within_luck(wrong: Tensor, level: Tensor | float) -> Sides:
    """A share of failures against the level and what chance may add to it."""
    share, allowed = wrong.double().mean(), torch.as_tensor(level).double().mean()
    return make.one(share, allowed + make.luck(len(wrong)))


def wrong_links(links: Tensor, across: Tensor) -> Tensor:
    return (links & across).flatten(-2).any(-1)


# Links to clusters


def graphs(seed: int, count: int, inside: bool = True) -> tuple[Tensor, Tensor]:
    """Random links (count, n, n) and labels; one of them across two clusters unless ``inside``."""
    K, more = make.shape(seed, K=(2, 4), more=(1, 4))
    y = make.labels([1 + more] * K)
    density = make.uniform(seed, "density", 0.2, 1, count, 1, 1)
    links = make.uniform(seed, "links", 0, 1, count, len(y), len(y)) < density
    links = (links | links.mT) & (y[:, None] == y)
    if not inside:
        links[:, 0, -1] = links[:, -1, 0] = True
    return links, y


def links_sides(links: Tensor, y: Tensor, needed: int) -> Sides:
    """Wrong where there are fewer components than clusters, or ``needed`` that are not they."""
    K, parts = len(y.unique()), make.components(links)
    same = y[:, None] == y
    joined = make.components(links & same) == K
    are = joined & ~(links & ~same).flatten(1).any(1)
    return make.flags((parts < K) | ((parts == needed) & ~are))


def _links(seed: int, count: int) -> Sides:
    links, y = graphs(seed, count)
    return links_sides(links, y, len(y.unique()))


def _links_unknown_K() -> Sides:
    links, y = graphs(0, 100)
    return links_sides(links, y, len(y.unique()) + 1)


statement(
    "links-to-clusters",
    "Lemma 10.2",
    "right links: K ≤ number of components; if they are equal, the components are the clusters",
    _links,
    {
        "every link is right": lambda: links_sides(*graphs(0, 100, inside=False), 99),
        "as many components as clusters": _links_unknown_K,
    },
    form="identity",  # the conclusion is yes or no
)


# Bounded noise


def reversed_sides(c: Noisy) -> Sides:
    """How far the row space of V₁ᵀ − S₁⁻¹U₁ᵀN is from that of A, and whether A has rank k."""
    V = make.leading(bounded.reversed_roles(c.Y, c.N, c.k), c.k)
    s = torch.linalg.svdvals(c.A)
    moved = make.largest(V.mT @ V - c.P) * s[:, c.k - 1] / s[:, 0]
    return make.rounding(moved + (make.count_rank(c.A, 1e-9) != c.k), 1e-9)


def given(A: list[list[float]], N: list[list[float]], k: int) -> Noisy:
    """One layer with its noise, of which everything is known."""
    clean, noise = make.matrix(A)[None], make.matrix(N)[None]
    nu, delta = make.norm(noise), noise.norm(dim=1)
    return Noisy(clean, noise, clean + noise, k, nu, delta)


def lost() -> Noisy:
    """s = ν: the noise supplies the direction that A has lost."""
    return given([[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0.5, 0]], 2)


def two_for_one() -> Noisy:
    """A of rank 2 where k = 1 is said."""
    return given([[1, 0, 0], [0, 0.5, 0]], [[0, 0, 0], [0, 0, 0]], 1)


statement(
    "reversed-roles",
    "Lemma 10.3",
    "rank A ≤ k, s_k(Y) > ‖N‖ ⇒ rank A = k, row(A) is the row space of V₁ᵀ − S₁⁻¹U₁ᵀN",
    lambda seed, count: reversed_sides(bounded.noisy(seed, count)),
    {
        "s > ν": lambda: reversed_sides(lost()),
        "rank A ≤ k": lambda: reversed_sides(two_for_one()),
    },
    form="identity",
)


def bounded_sides(c: Noisy) -> Sides:
    """The sine against ν/s and every entry against b: the conclusion nearest to failing."""
    found = c.reading()
    moved = c.P - found.Q
    entry = nearest(moved.abs().flatten(1), (found.entries * NEARLY + 1e-13).flatten(1))
    return make.worst((entry.left, entry.right), (make.norm(moved), found.sine * NEARLY + 1e-13))


COMPARED = 3  # instances of a batch on which the library is asked as well


def _bounded(seed: int, count: int) -> Sides:
    """The theorem; and the library's bound, which allows for rounding, is not below it."""
    c = bounded.noisy(seed, count)
    sides, found = bounded_sides(c), c.reading()
    b = torch.minimum(found.entries, found.sine[:, None, None])
    for i in range(min(COMPARED, len(c.Y))):
        library, _ = entry_bounds(c.Y[i], c.k, c.nu[i], c.delta[i], EPS)
        if (library.bound() < b[i] / NEARLY).any():
            sides.left[i] = math.inf
    return sides


def turned(nu: float = 1e-3) -> Noisy:
    """Y = (1, 0) and noise of length ν at a right angle to the clean row, which is (s, −ν)/…"""
    cosine = (1 - nu**2) ** 0.5
    N = [[nu**2, nu * cosine]]
    return given([[1 - nu**2, -nu * cosine]], N, 1)


def _bounded_extremal() -> Sides:
    c = turned()
    found, moved = c.reading(), c.P - c.reading().Q
    sine = Sides(make.norm(moved), found.sine * NEARLY)
    return make.every(sine, Sides(moved[:, 0, 1].abs(), found.entries[:, 0, 1]))


def _noise_understated() -> Sides:
    c = turned()
    return bounded_sides(c._replace(nu=c.nu / 2, delta=c.delta / 2))


def _no_gap() -> Sides:
    """s = 0.5 < ν = 1: the clean row is the second axis, the observed one the first."""
    c = given([[0, 1, 0]], [[0.5, -1, 0]], 1)
    return bounded_sides(c)


statement(
    "observed-bounded",
    "Theorem 10.4",
    "‖P − Q‖ ≤ ν/s and |P − Q|_ij ≤ b_ij",
    _bounded,
    {
        "ν ≥ ‖N‖": _noise_understated,
        "s > ν": _no_gap,
        "rank A ≤ k": lambda: bounded_sides(two_for_one()),
    },
    _bounded_extremal,
)


def two_lines(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """X* of two lines with two points each, as in [[1, 2, 0, 0], [0, 0, 1, 1]], and one row W."""
    X = make.uniform(seed, "X", 0.5, 2, count, 2, 4)
    X = X * torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]], dtype=torch.float64)
    return X, make.uniform(seed, "W", 0.5, 2, count, 1, 2)


def merged_sides(Y: Tensor, k: int) -> Sides:
    """Wrong where Theorem 10.4, with next to no noise, does not link all four points."""
    found = bounded.read(Y, k, torch.full(Y.shape[:1], 1e-6, dtype=torch.float64))
    return make.flags(~make.connected(found.links))


def _merged(seed: int, count: int) -> Sides:
    X, W = two_lines(seed, count)
    return merged_sides(W @ X, 1)


statement(
    "a-lost-direction",
    "Counterexample 10.5",
    "two lines seen through one row: all points are linked, and rightly, for P",
    _merged,
    {"k below the rank of X*": lambda: merged_sides(two_lines(0, 50)[0], 2)},
    form="identity",  # the conclusion is yes or no
)


# Cuts


def columns_sides(c: Noisy) -> tuple[Tensor, Tensor]:
    """‖(P − Q)e_i‖ against d_i, at the point that comes nearest."""
    found = c.reading()
    sides = nearest((c.P - found.Q).norm(dim=-2), found.columns * NEARLY + 1e-13)
    return sides.left, sides.right


def mixed(seed: int, count: int) -> tuple[Noisy, Tensor]:
    """Noisy unions of two or three lines or planes, and labels."""
    u = unions.union(seed, count, points=(2, 4), rows=2)
    kind = bounded.ATTACKS[seed % (len(bounded.ATTACKS) - 1)]
    scale = make.log_uniform(seed, "size", -3, -0.2, count, 1, 1)
    weakest = torch.linalg.svdvals(u.A)[:, u.r - 1, None, None]
    N = scale * weakest * bounded.direction(seed, kind, u.A, u.r)
    Y, nu, delta = u.A + N, make.norm(N) * NEARLY, N.norm(dim=1) * NEARLY
    keep = torch.linalg.svdvals(Y)[:, u.r - 1] > 1.001 * nu
    y = make.labels(u.counts)
    return Noisy(u.A, N, Y, u.r, nu, delta).kept(keep), y


def _cuts(seed: int, count: int) -> Sides:
    """λ₂ of sets that meet two clusters, random ones and all pairs, against 2; columns against d.

    The library, which uses entries and cuts, links no two clusters.
    """
    c, y = mixed(seed, min(count, 20))
    if not len(c.A):
        return make.nothing()
    found, values = c.reading(), []
    chosen = make.uniform(seed, "chosen", 0, 1, *found.columns.shape) < 0.5
    across = y[:, None] != y
    for Q, d, J in zip(found.Q, found.columns, chosen, strict=True):
        J[0] = J[-1] = True  # of the first and of the last cluster
        pairs = (bounded.pair_eigenvalues(Q, d) * across).max()
        values.append(torch.maximum(bounded.second_eigenvalue(Q, d, J), pairs))
    for i in range(min(COMPARED, len(c.Y))):
        radius = float(c.nu[i]), c.delta[i].numpy()
        linked = certify.must_links(c.Y[i], c.k, radius=radius).links
        values[i] = torch.where((linked & across).any(), math.inf, values[i])
    cut = torch.stack(values)
    return make.worst((cut, torch.full_like(cut, 2 * NEARLY)), columns_sides(c))


def _cut_extremal() -> Sides:
    """Two points, the second zero but for noise: the cut and d_i² are equal to first order."""
    c = given([[1, 0]], [[0, 1e-3]], 1)
    found = c.reading()
    cut = bounded.second_eigenvalue(found.Q[0], found.columns[0], torch.ones(2, dtype=torch.bool))
    column = Sides((c.P - found.Q).norm(dim=-2)[:, 1], found.columns[:, 1])
    return make.every(make.one(cut, 2.0), column)


def _cut_inside() -> Sides:
    """Two points of one line: nothing keeps λ₂ below 2."""
    c = given([[1, 1]], [[1e-3, 0]], 1)
    found = c.reading()
    both = torch.ones(2, dtype=torch.bool)
    return make.one(bounded.second_eigenvalue(found.Q[0], found.columns[0], both), 2.0)


def _cut_understated() -> Sides:
    c = turned()
    return Sides(*columns_sides(c._replace(nu=c.nu / 2, delta=c.delta / 2)))


statement(
    "observed-cuts",
    "Theorem 10.6",
    "‖(P − Q)e_i‖ ≤ d_i; where J meets two clusters, λ₂ ≤ 2",
    _cuts,
    {
        "J meets two clusters": _cut_inside,
        "ν ≥ ‖N‖": _cut_understated,
        "rank A ≤ k": lambda: Sides(*columns_sides(two_for_one())),
    },
    _cut_extremal,
)


# Gaussian noise


def noise(seed: int, purpose: str, u: Union, draw: Draw = make.gaussian) -> Tensor:
    return u.sigma[:, None, None] * draw(seed, purpose, *u.A.shape)


def batches(seed: int, u: Union, draw: Draw = make.gaussian) -> tuple[Tensor, Tensor]:
    """A noisy layer, and another batch of the same source."""
    other = u.again(seed + 1_000_003) + noise(seed, "other noise", u)
    return u.A + noise(seed, "noise", u, draw), other


def levels(seed: int) -> float:
    """Of tests that often fail and of tests that seldom do: both kinds must be right."""
    return (0.05, 0.5, 0.9)[seed % 3]


def on_the_events(
    T: Tensor,
    P: Tensor,
    null: Tensor,
    sigma: Tensor,
    level: float,
    spread: tuple[Tensor, Tensor] | None = None,
) -> Sides:
    """The two halves of the theorem, on draws of T.

    Where all three events occur, |P̂_ij| ≤ b_ij for every pair of ``null``; and all of them occur
    but in a share ``level`` of the draws (up to chance).
    """
    low, high = (sigma, sigma) if spread is None else spread
    found = gaussian.estimate(T, level, low, high)
    occur = gaussian.events(T, P, sigma, level).all(-1) & (low <= sigma) & (sigma <= high)
    left = (found.P.abs() * null).flatten(1)[occur]
    right = found.bound.flatten(1)[occur] * NEARLY
    certain = nearest(left, right) if len(left) else make.nothing()
    return make.join(certain, within_luck(~occur, level))


def _gaussian(seed: int, count: int) -> Sides:
    u = unions.union(seed, max(1, count - 1))  # one place for the share of failures
    T = gaussian.other_batch(*batches(seed, u), u.r)
    return on_the_events(T, u.P, u.across, u.sigma, levels(seed))


def _gaussian_extremal() -> Sides:
    """Two points of two lines, moved towards each other as far as the first event allows."""
    sigma, n, level = make.vector(1e-7), 8, 0.05
    r = gaussian.quantiles(2, n, level).r
    T = torch.zeros(1, 2, n, dtype=torch.float64)
    T[0, 0, :4] = T[0, 1, 4:] = 1
    # ε_i along x_j and ε_j along x_i, orthogonal to the rows of P as noise T(I − P) is
    step = r * float(sigma) / math.sqrt(2)
    T[0, 1, :2] = torch.tensor([step, -step])
    T[0, 0, 4:6] = torch.tensor([step, -step])
    found = gaussian.estimate(T, level, sigma)
    return Sides(found.P[:, 0, 4].abs(), found.bound[:, 0, 4])


def error_of(links: list[Tensor], across: list[Tensor], level: float = 0.05) -> Sides:
    """The lower confidence limit of the family-wise error against the level."""
    wrong = torch.cat([wrong_links(L, a) for L, a in zip(links, across, strict=True)])
    return make.one(failure_rate(wrong), level)


def misled(
    shapes: int = 5, *, draw: Draw = make.gaussian, said: float = 1.0, fewer: int = 0
) -> Sides:
    """The error where the noise is another, its σ is ``said`` times the true one, or rows miss."""
    links, across = [], []
    for seed in range(shapes):
        u = unions.union(seed, 100)
        T = gaussian.other_batch(*batches(seed, u, draw), u.r - fewer)
        links.append(gaussian.estimate(T, 0.05, said * u.sigma).links)
        across.append(u.across)
    return error_of(links, across)


statement(
    "observed-gaussian",
    "Theorem 10.7",
    "but with probability α, |P̂_ij| ≤ b_ij for all pairs with P_ij = 0",
    _gaussian,
    {
        "σ": lambda: misled(said=0.5),
        "Gaussian noise": lambda: misled(60, draw=unions.heavy),
    },
    _gaussian_extremal,
)


def sources(seed: int, count: int) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """(T, P, null pairs, σ of T) by another batch, by half of the columns, by thinning."""
    u = unions.union(seed, count)
    Y, other = batches(seed, u)
    learn, test = gaussian.halves(Y.shape[-1], 1, seed)[0]
    half = u.A[..., test]
    kept = make.row_space(half, u.r)
    across = u.across[test][:, test]
    P = (kept.mT @ kept).masked_fill(across, 0)
    split = gaussian.other_batch(Y[..., test], Y[..., learn], u.r)
    T, sigma = gaussian.thinned(Y, u.r, u.sigma, make.gaussian(seed, "G", *Y.shape))
    found = [
        (gaussian.other_batch(Y, other, u.r), u.P, u.across, u.sigma),
        (T, u.P, u.across, sigma),
    ]
    full = (make.count_rank(half) == u.r).all()  # else P needs the directions of Proposition 10.9
    return [*found, (split, P, across, u.sigma)] if full else found


def _sources(seed: int, count: int) -> Sides:
    found = [on_the_events(*source, levels(seed)) for source in sources(seed, -(-count // 4))]
    return make.join(*found) if count > 20 else found[seed % len(found)]


def own_noise(rows: int = 1000) -> tuple[Tensor, Union]:
    """Many rows, few points, and U from the very matrix whose links are asked for."""
    u = unions.union(3, 100, points=(6, 10), rows=1)
    lift = make.orthonormal(3, "lift", 1, rows, u.A.shape[-2])
    u = u._replace(A=lift @ u.A, sigma=10 * u.sigma)
    Y = u.A + noise(3, "noise", u)
    return gaussian.other_batch(Y, Y, u.r), u


def _own_noise() -> Sides:
    T, u = own_noise()
    return error_of([gaussian.estimate(T, 0.05, u.sigma).links], [u.across])


def _thinned_alike() -> Sides:
    """Y + τG and Y + G/τ, which share G: many rows, and the noise shows the directions."""
    u = own_noise()[1]
    Y = u.A + noise(3, "noise", u)
    G = noise(3, "G", u)
    T = gaussian.left_basis(Y + 2 * G, u.r).mT @ (Y + G / 2)
    sigma = u.sigma * (1 + 2.0**-2) ** 0.5
    return error_of([gaussian.estimate(T, 0.05, sigma).links], [u.across])


statement(
    "independent-rows",
    "Proposition 10.8",
    "UᵀY satisfies Theorem 10.7 for U from another batch, from other columns, or by thinning",
    _sources,
    {"U independent of the noise": _own_noise, "thinning with opposite signs": _thinned_alike},
    loose="it hands Theorem 10.7 its hypotheses; that theorem's extremal instance is tight",
)


def _more_rows(seed: int, count: int) -> Sides:
    """k above the rank of X*, and layers that have lost directions."""
    u = unions.union(seed, max(1, count - 1))
    extra, gone = make.shape(seed, extra=(0, 2), gone=(0, 1))
    k = min(u.r + extra, u.A.shape[-2])
    P = unions.with_room(u.P, u.counts, k)
    U, s, Vh = torch.linalg.svd(u.A, full_matrices=False)
    s = s.clone()
    s[:, u.r - gone :] = 0
    u = u._replace(A=(U * s[:, None, :]) @ Vh)
    T = gaussian.other_batch(u.A + noise(seed, "noise", u), noise(seed, "U", u), k)
    return on_the_events(T, P, u.across, u.sigma, levels(seed))


statement(
    "more-rows",
    "Proposition 10.9",
    "k ≥ rank X*: no wrong link but with probability α, whatever rank the layer has kept",
    _more_rows,
    {"k ≥ rank X*": lambda: misled(fewer=1)},
    loose="it hands Theorem 10.7 its hypotheses; that theorem's extremal instance is tight",
)


# The noise level


def levels_sides(A: Tensor, N: Tensor, k: int) -> Sides:
    """s_i(G) ≤ s_i(A + N) ≤ s_{i−k}(G) for every i > k, G = NV_⊥: the one nearest to failing."""
    rest = torch.linalg.svd(A, full_matrices=True).Vh[..., k:, :].mT
    s, g = torch.linalg.svdvals(A + N), torch.linalg.svdvals(N @ rest)
    last = min(s.shape[-1], g.shape[-1])
    below = g[:, k:last], s[:, k:last] * NEARLY + 1e-13
    above = s[:, k:], (g * NEARLY + 1e-13)[:, : s.shape[-1] - k]
    left = torch.cat([below[0], above[0]], -1)
    return nearest(left, torch.cat([below[1], above[1]], -1))


def _levels(seed: int, count: int) -> Sides:
    k, p, n = make.shape(seed, k=(1, 3), p=(1, 5), n=(1, 8))
    A = make.with_spectrum(seed, "A", k + p, k + n, make.spectrum(seed, "s", -2, 2, count, k))
    return levels_sides(A, make.gaussian(seed, "N", count, k + p, k + n), k)


def _levels_extremal() -> Sides:
    """A beside N in rows and in columns; and A = 0, with noise that V_⊥ sees completely."""
    A, N = torch.diag(make.vector(9, 0, 0)), torch.diag(make.vector(0, 2, 1))
    rest = torch.linalg.svd(torch.zeros_like(A), full_matrices=True).Vh[1:]
    seen = torch.diag(make.vector(3, 2, 1))[:, :2] @ rest
    return make.every(
        levels_sides(A[None], N[None], 1), levels_sides(torch.zeros_like(A)[None], seen[None], 1)
    )


def _levels_of_more() -> Sides:
    A = torch.diag(make.vector(9, 9, 0))[None]
    return levels_sides(A, 0.1 * make.gaussian(0, "N", 1, 3, 3), 1)


statement(
    "noise-level",
    "Proposition 10.10",
    "s_i(G) ≤ s_i(Y)/σ ≤ s_{i−k}(G), i > k, for a p × (n − k) Gaussian matrix G",
    _levels,
    {"rank A ≤ k": _levels_of_more},
    _levels_extremal,
)


def _unknown(seed: int, count: int) -> Sides:
    """An interval that holds σ in the place of σ; at its ends σ itself, now and then."""
    u = unions.union(seed, max(1, count - 1))
    T = gaussian.other_batch(*batches(seed, u), u.r)
    low = u.sigma * (1 - make.uniform(seed, "low", 0, 0.5, len(T)).round(decimals=1))
    high = u.sigma * (1 + make.uniform(seed, "high", 0, 0.5, len(T)).round(decimals=1))
    return on_the_events(T, u.P, u.across, u.sigma, levels(seed), (low, high))


def _missed() -> Sides:
    """An interval that ends at half of σ."""
    links, across = [], []
    for seed in range(5):
        u = unions.union(seed, 100)
        T = gaussian.other_batch(*batches(seed, u), u.r)
        links.append(gaussian.estimate(T, 0.05, u.sigma / 4, u.sigma / 2).links)
        across.append(u.across)
    return error_of(links, across, 0.05)


statement(
    "noise-unknown",
    "Corollary 10.11",
    "with [σ_lo, σ_hi] in the place of σ Theorem 10.7 holds, the levels added",
    _unknown,
    {"σ inside the interval": _missed},
    loose="at σ_lo = σ = σ_hi it is Theorem 10.7, whose extremal instance is tight",
)


# What cannot be had


def one_cluster(seed: int, count: int, full: bool = False) -> Sides:
    """Wrong where a small change of the row space leaves an entry of P at zero."""
    K, d, more = make.shape(seed, K=(2, 3), d=(1, 2), more=(0 if full else 1, 3))
    sizes = [d + (0 if full else more)] * K
    A = unions.coefficients(seed, count, [d] * K, sizes)
    step = make.log_uniform(seed, "step", -4, -1, count, 1, 1)
    moved = A + step * make.gaussian(seed, "change", *A.shape)
    V = make.leading(moved, K * d)
    smallest = (V.mT @ V).abs().flatten(1).amin(1)
    return make.flags(smallest < 1e-14 if not full else smallest < 1e-12)


statement(
    "no-cannot-links",
    "Proposition 10.12",
    "near every A of rank k < n lies one of rank k whose P has no zero entry",
    lambda seed, count: one_cluster(seed, count),
    {"k < n": lambda: one_cluster(0, 50, full=True)},
    form="identity",  # the conclusion is yes or no
)


def margin_sides(seed: int, count: int, factor: float, widen: float = 1.0) -> Sides:
    """Wrong where a component of {|Q| + b ≥ e₀} cuts a cluster; e₀ = factor · margin."""
    c, y = mixed(seed, count)
    margin = connectivity_margin(c.P.masked_fill(y[:, None] != y, 0), y)
    c, margin = c.kept(margin > 1e-6), margin[margin > 1e-6]
    if not len(c.A):
        return make.nothing()
    found = c.reading()
    e0 = (factor * margin)[:, None, None]
    joined = (found.Q.abs() + widen * found.entries >= e0) | torch.eye(len(y), dtype=torch.bool)
    for _ in range(4):
        joined = (joined.double() @ joined.double()) > 0
    return make.flags((~joined & (y[:, None] == y)).flatten(1).any(1))


statement(
    "a-known-margin",
    "Proposition 10.13",
    "margin ≥ e₀, and |Q_ij| + b_ij < e₀ between J and the rest: J is a union of clusters",
    lambda seed, count: margin_sides(seed, count, 1 - 1e-9),
    {
        "margin ≥ e₀": lambda: margin_sides(0, 100, 1.5),
        "b_ij": lambda: make.join(*(margin_sides(s, 100, 1 - 1e-9, 0.0) for s in range(5))),
    },
    form="identity",  # the conclusion is yes or no
)

ONE = make.matrix([[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]])
OTHER = make.matrix([[1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1]])


def twins(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Two unions of two lines in R⁴, their points stretched, their coordinates permuted."""
    stretch = make.uniform(seed, "stretch", 0.2, 5, count, 1, 4)
    order = torch.argsort(make.uniform(seed, "order", 0, 1, 4))
    return (ONE * stretch)[:, order], (OTHER * stretch)[:, order]


def twins_sides(one: Tensor, other: Tensor) -> Sides:
    """Wrong where the two can be told apart, or are not two lines with the clusters that differ."""
    told = (one - other).abs().flatten(1).amax(1) > 0
    return make.flags(told)


def _twins(seed: int, count: int) -> Sides:
    X, other = twins(seed, count)
    wrong = twins_sides(X.relu(), other.relu()).left > 0
    for matrix, y in ((X, [0, 0, 1, 1]), (other, [0, 1, 0, 1])):
        V, labels = make.leading(matrix, 2), torch.tensor(y)
        wrong |= make.count_rank(matrix) != 2
        wrong |= make.wrong_clusters(V.mT @ V, labels, torch.full((len(V),), 1e-9).double())
    return make.flags(wrong)


statement(
    "a-relu-alone",
    "Counterexample 10.14",
    "two unions with different clusters and the same ReLU output",
    _twins,
    {"the ReLU": lambda: twins_sides(*twins(0, 5))},
    form="identity",  # the conclusion is yes or no
)
