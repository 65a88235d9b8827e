"""Chapter 11, Certified labels, any layer."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import binom
from torch import Tensor

from evidence import instances as make
from evidence.certified_labels.predicted import predict, tail
from evidence.from_what_is_observed.bounded import read
from evidence.from_what_is_observed.unions import Union, union
from evidence.statement import Sides, statement
from subspace_lib.clustering import linkage_clusters
from subspace_lib.entrywise import entrywise_margin
from subspace_lib.projectors import row_projector

DRAWS = 40  # of the noise, for each instance
LEVELS = (0.05, 0.5)  # the second sees an error that the first would hide


def level(seed: int) -> float:
    return LEVELS[seed % len(LEVELS)]


def events(failed: Tensor, allowed: float) -> Sides:
    """Failures (instances, draws) that may happen with probability ``allowed`` each, at most.

    Running sums, so that every instance sharpens the test: as many as a binomial variable exceeds
    with probability exp(−LUCK) are allowed.
    """
    total = failed.sum(-1).double().cumsum(0)
    draws = failed.shape[-1] * np.arange(1, len(failed) + 1)
    return Sides(total, torch.from_numpy(binom.isf(math.exp(-make.LUCK), draws, allowed)))


# Two stages


def parts(edges: Tensor) -> Tensor:
    """The first point of every point's component: graphs (..., n, n) → (..., n)."""
    n = edges.shape[-1]
    reach = edges | torch.eye(n, dtype=torch.bool)
    for _ in range(max(1, (n - 1).bit_length())):
        reach = (reach.float() @ reach.float()) > 0
    return torch.where(reach, torch.arange(n), n).amin(-1)


def number(groups: Tensor) -> Tensor:
    """How many parts: (..., n) → (...)."""
    return (groups == torch.arange(groups.shape[-1])).sum(-1)


def inputs(seed: int, count: int, louder: float = 1.0) -> tuple[Union, Tensor, Tensor]:
    """Unions, noisy inputs X, and the links of Theorem 10.4 from the size of the noise alone.

    louder: the noise is that much larger than the certificate is told.
    """
    u = union(seed, count, points=(4, 8))
    N = make.gaussian(seed, "N", *u.A.shape)
    s = torch.linalg.svdvals(u.A)[:, u.r - 1]
    N *= (make.log_uniform(seed, "radius", -4, -1, count) * s / make.norm(N))[:, None, None]
    links = read(u.A + louder * N, u.r, make.norm(N), torch.linalg.vector_norm(N, dim=-2)).links
    return u, u.A + louder * N, links


def misplaced(u: Union) -> Tensor:
    """(count, n) the true clusters but for one point, another one each time."""
    y, every = make.labels(u.counts).repeat(len(u.A), 1), torch.arange(len(u.A))
    y[every, every % y.shape[-1]] += 1
    return y % len(u.counts)


def layers(seed: int, u: Union, X: Tensor) -> Tensor:
    """(count, p, n): what networks may make of X, from harmless to hostile, by turns.

    A mixture, bent; one that knows the true clusters; one that knows a false point; pure chance.
    """
    count, _, n = X.shape
    y = make.labels(u.counts)
    W = make.gaussian(seed, "weights", count, u.r + 3, X.shape[1])
    size = make.log_uniform(seed, "bend", -3, 0.5, count, 1, 1) * make.norm(W @ X)[:, None, None]
    bent = W @ X + size * torch.relu(W @ X / make.norm(W @ X)[:, None, None])
    told = [torch.nn.functional.one_hot(g, len(u.counts)).mT.double() for g in (y, misplaced(u))]
    kinds = [bent, *(G + 1e-3 * X[:, :1] for G in told), make.gaussian(seed, "chance", count, 5, n)]
    rows = max(Y.shape[-2] for Y in kinds)
    padded = [torch.nn.functional.pad(Y, (0, 0, 0, rows - Y.shape[-2])) for Y in kinds]
    return torch.stack(padded)[torch.arange(count) % len(padded), torch.arange(count)]


def projectors(seed: int, u: Union, X: Tensor) -> Tensor:
    """P_q(Y) of the layers, q = r or K by turns; where Y has not the rank, some choice of it."""
    V = make.leading(layers(seed, u, X), len(u.counts) if seed % 2 else u.r)
    return V.mT @ V


def shown(groups: Tensor, Q: Tensor, cut: Tensor) -> Tensor:
    """Whether the components of {|Q| > cut} are exactly these groups, (...)."""
    found = parts(Q.abs() > cut[..., None, None])
    same = groups[..., :, None] == groups[..., None, :]
    return (same == (found[..., :, None] == found[..., None, :])).all(-1).all(-1)


def _two_stages(seed: int, count: int, right: bool = True, short: int = 0) -> Sides:
    """At a threshold that works for the true clusters where one does, and at any other."""
    u, X, links = inputs(seed, count)
    K, y = len(u.counts), make.labels(u.counts)
    if not right:
        links = misplaced(u)[..., :, None] == misplaced(u)[..., None, :]
    groups = parts(links)
    chosen = number(groups) == K + short
    if not chosen.any():
        return make.nothing()
    Q = projectors(seed, u, X)[chosen]
    leak = make.largest(Q * make.across(u.counts))
    cut = leak + (entrywise_margin(Q, y) / 2).clamp(min=0)
    cut = torch.where(make.uniform(seed, "cut", 0, 1, len(Q)) < 0.7, cut, 0.9 * leak)
    return make.flags(shown(groups[chosen], Q, cut) != shown(y.expand(len(Q), -1), Q, cut))


def _several(check: object, seeds: range) -> Sides:
    return make.join(*(check(seed) for seed in seeds))  # type: ignore[operator]


statement(
    "two-stages",
    "Theorem 11.1",
    "right links with K components: a layer shows them ⇔ it shows the true clusters",
    _two_stages,
    {
        "right links": lambda: _two_stages(0, 100, right=False),
        "K components": lambda: _several(lambda seed: _two_stages(seed, 100, short=1), range(20)),
    },
    form="identity",  # the conclusion is yes or no
)


def _broken(seed: int, count: int, louder: float = 1.0, more: int = 0) -> Sides:
    """Layers in which K groups by single linkage separate two linked points."""
    u, X, links = inputs(seed, count, louder)
    Q = projectors(seed, u, X)
    found = linkage_clusters(Q.abs(), len(u.counts) + more, factor=False)
    separated = links & (found[..., :, None] != found[..., None, :])
    chosen = separated.any(-1).any(-1)
    return make.flags(entrywise_margin(Q[chosen], make.labels(u.counts)) > 1e-12)


statement(
    "certainly-broken",
    "Corollary 11.2",
    "K groups of |Q| separate two linked points ⇒ no threshold returns the clusters",
    _broken,
    {
        "right links": lambda: _several(lambda seed: _broken(seed, 100, 300), range(20)),
        "K groups": lambda: _several(lambda seed: _broken(seed, 100, more=1), range(20)),
    },
    form="identity",  # the conclusion is yes or no
)


# Norms of Gaussian products


def products(seed: int, count: int, power: float = 1.0) -> tuple[Tensor, Tensor, int]:
    """M (count, q, m) of any shape and condition, ‖MG‖ for DRAWS Gaussian G (m, d), and d."""
    q, m, d = make.shape(seed, q=(1, 5), m=(1, 6), d=(1, 12))
    k = min(q, m)
    M = make.with_spectrum(seed, "M", q, m, make.spectrum(seed, "spectrum", -2, 0, count, k))
    G = make.gaussian(seed, "G", count, DRAWS, m, d)
    G = G.sign() * G.abs() ** power
    return M, make.norm(M[:, None] @ G), d


def _norms(seed: int, count: int, power: float = 1.0) -> Sides:
    M, found, d = products(seed, count, power)
    size, norm = torch.linalg.matrix_norm(M), make.norm(M)
    allowed = size + norm * (d**0.5 + tail(level(seed)))
    return events(found > allowed[:, None], level(seed))


def _norms_without(size: float, width: float) -> Sides:
    """The identity of order 100: one of the three terms left out."""
    found = make.norm(make.gaussian(0, "G", 1, DRAWS, 100, 100))
    return events(found > size * 10 + width * 10 + tail(0.05), 0.05)


statement(
    "gaussian-norms",
    "Lemma 11.3",
    "‖MG‖ ≤ ‖M‖_F + ‖M‖(√d + √(2 ln 1/α)) with probability 1 − α",
    _norms,
    {
        "Gaussian entries": lambda: _norms(0, 100, power=4),
        "the size ‖M‖_F": lambda: _norms_without(0, 1),
        "the width √d": lambda: _norms_without(1, 0),
    },
    loose="the mean is bounded by two suprema that no pair of unit vectors attains at once",
)


# Predicted


def scene(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clean layers A (count, p, n), R, W (count, p, m), and a deviation of the noise, (count,)."""
    k, extra, n, more = make.shape(seed, k=(1, 3), p=(0, 3), n=(6, 10), m=(0, 3))
    p, m = k + extra, k + extra + more
    R = make.orthonormal(seed, "R", count, n, k).mT
    W = make.gaussian(seed, "W", count, p, m)
    A = W @ make.gaussian(seed, "clean", count, m, k) @ R
    s = torch.linalg.svdvals(A)[:, k - 1]
    size = make.log_uniform(seed, "size", -4, -1, count) * s / make.norm(W)
    return A, R, W, size


def unit_noise(seed: int, W: Tensor, n: int, outliers: float = 0.0) -> Tensor:
    """(count, DRAWS, m, n) of variance 1: Gaussian, or the noise of some points 20 times larger."""
    rare = make.uniform(seed, "rare", 0, 1, len(W), DRAWS, 1, n) < outliers
    scale = torch.where(rare, 20.0, 1.0) / (1 + 399 * outliers) ** 0.5
    return scale * make.gaussian(seed, "Z", len(W), DRAWS, W.shape[-1], n)


def missed(
    A: Tensor, R: Tensor, W: Tensor, Z: Tensor, told: Tensor, alpha: float, with_rest: bool = True
) -> Tensor:
    """(count, DRAWS) whether some entry moves by more than was predicted from YRᵀ, W and told."""
    several = [X[:, None].expand(-1, Z.shape[1], *X.shape[1:]) for X in (A, R, W, told)]
    A, R, W, told = several
    Y = A + W @ Z
    found = predict(Y @ R.mT, R, W, told, alpha)
    moved = (row_projector(Y, R.shape[-2]) - found.P).abs()
    return (moved > (found.bound if with_rest else found.first) + 1e-12).any(-1).any(-1)


def _predicted(
    seed: int,
    count: int,
    told: float = 1.0,
    outliers: float = 0.0,
    louder: float = 1.0,
    with_rest: bool = True,
) -> Sides:
    A, R, W, size = scene(seed, count)
    size = louder * size
    Z = size[:, None, None, None] * unit_noise(seed, W, R.shape[-1], outliers)
    return events(missed(A, R, W, Z, told * size, level(seed), with_rest), level(seed))


def _chosen_after_the_noise(count: int = 100) -> Sides:
    """W looks at the noise: its row is the direction in which the noise is largest outside R."""
    n, m, size = 10, 60, 0.01
    R = make.orthonormal(0, "R", count, n, 1).mT
    Z = size * make.gaussian(0, "Z", count, 1, m, n)
    outside = Z - (Z @ R[:, None].mT) @ R[:, None]
    W = torch.linalg.svd(outside).U[..., :1].mT
    told, A = torch.full((count, 1), size, dtype=torch.float64), R[:, None]
    Y = A + W @ Z
    found = predict(Y @ R[:, None].mT, R[:, None], W, told)
    moved = (row_projector(Y, 1) - found.P).abs()
    return events((moved > found.bound).any(-1).any(-1), 0.05)


def _predicted_extremal(alpha: float = 0.05, grid: int = 20_001) -> Sides:
    """Two points, one row: what moves is one Gaussian number z, so the failures can be counted.

    Nearly all of the level goes to the first order, and the pair (1, 2) alone is looked at, by its
    own quantile: the noise is small, so what remains is the probability of |L₁₂| > z_α √v₁₂.
    """
    shares = (0.998, *(0.0005,) * 4)
    turn, size = 0.4, 1e-6
    R = make.matrix([[math.cos(turn), math.sin(turn)]])
    away = make.matrix([[-math.sin(turn), math.cos(turn)]])
    z = torch.from_numpy(ndtri((np.arange(grid) + 0.5) / grid))[:, None, None]
    Y, W = R + size * z * away, torch.ones(grid, 1, 1, dtype=torch.float64)
    found = predict(Y @ R.mT, R.expand(grid, 1, 2), W, torch.full((grid,), size), 3 * alpha, shares)
    moved = (row_projector(Y, 1) - found.P).abs()[:, 0, 1]
    return make.one(float((moved > found.bound[:, 0, 1]).double().mean()), alpha)


statement(
    "predicted",
    "Theorem 11.4",
    "|Q − P|_ij ≤ z√v_ij + rem_ij for all i ≤ j at once, with probability 1 − α",
    _predicted,
    {
        "the deviation of the noise": lambda: _predicted(0, 100, told=0.5),
        "Gaussian noise": lambda: _predicted(0, 300, outliers=0.02),
        "W without knowledge of the noise": _chosen_after_the_noise,
        "the remainder": lambda: _predicted(0, 100, louder=5, with_rest=False),
    },
    _predicted_extremal,
)
