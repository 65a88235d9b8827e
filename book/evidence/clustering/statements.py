"""Chapter 23, Clustering without a rank."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from evidence import instances as make
from evidence.clustering.contrast import (
    EULER,
    absolute_moment,
    contrast,
    formula,
    frame,
    ignorance,
    moments,
    squares_at,
)
from evidence.statement import Sides, statement

DRAWS = 400


def averages(found: Tensor, expected: Tensor) -> Sides:
    """Means over the draws (instances, draws) against what is expected, (instances,).

    Running sums, so that every instance sharpens the test; they may be off by √(2·LUCK) of their
    standard deviations, which a normal variable is with probability 2·exp(−LUCK).
    """
    deviation = (found.mean(-1) - expected).cumsum(0)
    variance = (found.var(-1) / found.shape[-1]).cumsum(0)
    return Sides(deviation.abs(), (2 * make.LUCK * variance).sqrt() + make.ROUNDING)


# A projector in general position


def _uniform(seed: int, count: int, turned: bool = True, more: int = 0) -> Sides:
    """(xᵀQy)² for a fixed Q and a uniformly turned pair x, y: the same as for a turned Q."""
    (R,) = make.shape(seed, R=(2, 8))
    (r,) = make.shape(seed, r=(1, R))
    cosine = make.uniform(seed, "cosine", -1, 1, count, 1)
    x = make.gaussian(seed, "x", count, DRAWS, R)
    if not turned:
        x = x.abs() ** 4
    x = x / x.norm(dim=-1, keepdim=True)
    e = make.gaussian(seed, "e", count, DRAWS, R)
    e = e - (e * x).sum(-1, keepdim=True) * x
    y = cosine[..., None] * x + (1 - cosine**2).sqrt()[..., None] * e / e.norm(dim=-1, keepdim=True)
    found = (x * y)[..., :r].sum(-1) ** 2
    same, crossed = moments(min(r + more, R), R)
    return averages(found, (same * cosine**2 + crossed * (1 + cosine**2))[:, 0])


statement(
    "uniform-projector",
    "Lemma 23.1",
    "E (xᵀQy)² = α(x·y)² + β(‖x‖²‖y‖² + (x·y)²), β = r(R−r)/((R−1)R(R+2))",
    _uniform,
    {
        "uniform": lambda: make.join(*(_uniform(s, 100, turned=False) for s in range(5))),
        "its rank": lambda: make.join(*(_uniform(s, 100, more=1) for s in range(5))),
    },
    form="identity",
)


# Entries of P_r at any rank


def union(seed: int, count: int) -> tuple[Tensor, list[int]]:
    """V (count, R, n) block diagonal with orthonormal rows, and the counts."""
    K, room = make.shape(seed, K=(2, 3), room=(1, 3))
    dims = make.sizes(seed, "d", K, 1, 2)
    counts = [d + room for d in dims]
    pairs = zip(dims, counts, strict=True)
    blocks = [make.orthonormal(seed, f"V{k}", count, n, d).mT for k, (d, n) in enumerate(pairs)]
    return make.block_diagonal(blocks), counts


def _entries(seed: int, count: int, turned: bool = True, random: bool = True) -> Sides:
    """Sums of squares within clusters and across, r below R and above by turns."""
    draws = 60
    V, counts = union(seed, count)
    R, n = V.shape[-2:]
    above = seed % 2 == 1
    (step,) = make.shape(seed, step=(1, n - R - 1 if above else R - 1))
    r = R + step if above else step
    W = V[:, None].expand(-1, draws, -1, -1)
    if not above:
        turn = make.orthonormal(seed, "turn", count * draws, R, r).mT.unflatten(0, (count, draws))
        W = turn @ W if turned else W[..., :r, :]
    else:
        noise = make.gaussian(seed, "noise", count, draws, n, r - R)
        if not random:
            noise = noise * torch.arange(n)[:, None] ** 4
        noise = noise - V[:, None].mT @ (V[:, None] @ noise)
        W = torch.cat([W, torch.linalg.qr(noise).Q.mT], -2)
    found = (W.mT @ W).square()
    expected = squares_at(V.mT @ V, r, n)
    across = make.across(counts)
    within = ~across & ~torch.eye(n, dtype=torch.bool)
    sides = [averages(found[..., m].sum(-1), expected[..., m].sum(-1)) for m in (across, within)]
    return make.ratios(*(s.left / s.right for s in sides))


statement(
    "entries-at-any-rank",
    "Theorem 23.2",
    "E (P_r)_ij²: α, β mix P_ij² with P_iiP_jj below R, with (1 − P_ii)(1 − P_jj) above",
    _entries,
    {
        "singular vectors in general position": lambda: make.join(
            *(_entries(s, 50, turned=False) for s in range(0, 10, 2))
        ),
        "noise without a direction": lambda: make.join(
            *(_entries(s, 50, random=False) for s in range(1, 20, 2))
        ),
    },
    form="identity",
)


# Half the rank costs as much as twice the rank


def _contrast(seed: int, count: int, equal: bool = True, turned: bool = True) -> Sides:
    K, d = make.shape(seed, K=(2, 4), d=(1, 4))
    (points,) = make.shape(seed, points=(d + 1, d + 8))
    R, n, y = K * d, K * points, make.labels([points] * K)
    block = frame(d, points)
    if not equal:
        block = torch.linalg.qr(block.T * torch.arange(1, points + 1)[:, None] ** 4).Q.T
    V = make.block_diagonal([block] * K)
    r = make.uniform(seed, "r", 1, n, count).floor()
    r = r[(r != R) & (r < n)]
    if not len(r):
        return make.nothing()
    squares = squares_at((V.T @ V).expand(len(r), n, n), r, n)
    if not turned:  # the leading ones of a cluster's own directions
        kept = (torch.arange(R) < r[:, None]).double()
        squares = (V.T @ (kept[:, :, None] * V)).square()
        squares, r = squares[r < R], r[r < R]
    return bounds(contrast(squares, y), r, R, K, d, points)


def bounds(rho: Tensor, r: Tensor, R: int, K: int, d: int, points: int) -> Sides:
    """Both conclusions of Theorem 23.3, as left ≤ right."""
    n = K * points
    F = torch.from_numpy(formula(r.numpy(), R, K)) - 1
    s, m, below = r - R, n - R, r < R
    lost = torch.where(below, 0.0, s / m)
    upper = torch.where(below, (1 + 1 / R) * F + 1 / d, (1 + 1 / m) * F)
    lower = F * (1 - (d - 1) / (points - 1)) * (1 - lost)
    slack = 1 + 1e-9
    return make.worst((lower, slack * (rho - 1)), (rho - 1, slack * upper))


def _contrast_extremal() -> Sides:
    """Two lines, rank 1 of 2: the formula is exact."""
    V = make.block_diagonal([frame(1, 3)] * 2)
    squares = squares_at((V.T @ V)[None], torch.ones(1), 6)
    rho = contrast(squares, make.labels([3, 3]))
    return Sides(torch.from_numpy(formula(np.ones(1), 2, 2)) - 1, rho - 1 + 1e-12)


statement(
    "contrast",
    "Theorem 23.3",
    "within/across = 1 + K/(max(r,R)/min(r,R) − 1), up to (d−1)/(n₁−1), 1/R, (r−R)/(n−R)",
    _contrast,
    {
        "equal leverages": lambda: make.join(*(_contrast(s, 100, equal=False) for s in range(9))),
        "singular vectors in general position": lambda: make.join(
            *(_contrast(s, 100, turned=False) for s in range(9))
        ),
    },
    _contrast_extremal,
)


# Not to know the rank


def log_mean(low: np.ndarray, high: np.ndarray, even: bool = False) -> np.ndarray:
    """Mean of −log(e^|x| − 1) over [low, high], which do not change sign; even: over e^x instead.

    Gauss's rule in the fourth root, because of the logarithm at 0.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    u, w = (nodes + 1) / 2, weights / 2
    if even:
        first, last = np.expm1(low), np.expm1(high)
        x = np.log1p(first[:, None] + (last - first)[:, None] * u**4)
    else:
        x = low[:, None] + (high - low)[:, None] * u**4
    return -(np.log(np.expm1(x)) * 4 * u**3) @ w


def _window(seed: int, count: int, inside: bool = True, even: bool = False) -> Sides:
    """Windows [R/a, Rb], of any shape."""
    a, b = (10 ** make.uniform(seed, name, 0.05, 1.5, count).numpy() for name in "ab")
    A, B, none = np.log(a), np.log(b), np.zeros(count)
    start = none if inside else B
    parts = A * log_mean(none, A, even) + B * log_mean(start, start + B, even)
    found = (A * ignorance(a) + B * ignorance(b)) / (A + B)
    return make.rounding(torch.from_numpy(np.abs(parts / (A + B) - found)), 1e-8)


statement(
    "log-average",
    "Proposition 23.4",
    "the mean of log(F − 1) over log r in [R/a, Rb] is log K + a constant of a and b",
    _window,
    {
        "R in the window": lambda: _window(0, 50, inside=False),
        "ranks a constant factor apart": lambda: _window(0, 50, even=True),
    },
    form="identity",
)


# And, not or


def _soft_and(seed: int, count: int, independent: bool = True, geometric: bool = True) -> Sides:
    (T,) = make.shape(seed, T=(2, 12))
    p = make.uniform(seed, "power", 0.5, 2, count, 1)
    Z = make.gaussian(seed, "Z", count, DRAWS, T).abs()
    if not independent:
        Z = Z[..., :1].expand_as(Z)
    product = (Z.log().sum(-1) * p / T).exp() if geometric else (Z ** p[..., None]).mean(-1)
    values = p[:, 0].numpy()
    chain = [absolute_moment(values / t) ** t for t in (1, T, T + 1)]
    chain.append(np.exp(-values * (EULER + np.log(2)) / 2))
    steps = [torch.from_numpy(b / a) for a, b in pairwise(chain)]
    mean = averages(product, torch.from_numpy(chain[1]))
    return make.ratios(mean.left / mean.right, *(step - 1e-12 for step in steps))


statement(
    "soft-and",
    "Proposition 23.5",
    "E Π|Z_t|^{p/T} = M(p/T)^T falls in T, from M(p) to exp(−p(γ + log 2)/2)",
    _soft_and,
    {
        "independent ranks": lambda: _soft_and(1, 100, independent=False),
        "a geometric mean": lambda: _soft_and(1, 100, geometric=False),
    },
    form="identity",
)


# Cutting clean data


def _cut(seed: int, count: int, dependent: bool = False, short: int = 0) -> Sides:
    """Unions of clusters and other sets, by turns."""
    V, counts = union(seed, count)
    R, n = V.shape[-2:]
    X = make.gaussian(seed, "U", count, R + 2, R) @ V
    if dependent:
        X = make.gaussian(seed, "fewer", count, R - 1, R + 2) @ X
    V = make.leading(X, R - dependent - short)
    y, every = make.labels(counts), torch.arange(count)
    chosen = make.uniform(seed, "clusters", 0, 1, count, len(counts)) < 0.5
    S = chosen[:, y] ^ ((torch.arange(n) == (every % n)[:, None]) & (every % 2 == 1)[:, None])
    D = S.double()[:, None, :]
    gram, P = (V * D) @ V.mT, V.mT @ V
    projector = make.largest(gram @ gram - gram) < 1e-8
    leak = make.largest(P * D * (1 - D.mT))
    commutes, clusters = leak < 1e-8, every % 2 == 0
    # G² − G is of the size of the leak's square: what is neither zero nor seen is left out
    decided = commutes | (leak > 1e-3)
    return make.flags(((projector != commutes) | (projector != clusters))[decided])


statement(
    "cut",
    "Proposition 23.6",
    "S is a union of clusters ⇔ V_S V_Sᵀ is a projector ⇔ P has no entry from S to its outside",
    _cut,
    {
        "independent subspaces": lambda: _cut(0, 100, dependent=True),
        "all R directions": lambda: make.join(*(_cut(s, 100, short=1) for s in range(5))),
    },
    form="identity",
)


# The constant row


def _affine(seed: int, count: int, dependent: bool = False, inside: bool = False) -> Sides:
    V, counts = union(seed, count)
    R, n = V.shape[-2:]
    X = make.gaussian(seed, "U", count, R + 2, R) @ V
    if dependent:
        X = make.gaussian(seed, "fewer", count, R - 1, R + 2) @ X
        R -= 1
    one = torch.ones(count, 1, n, dtype=torch.float64)
    V = make.leading(X, R)
    if inside:
        V = torch.cat([one / n**0.5, make.outside(V[:, 1:], one / n**0.5)], -2)
        X = make.gaussian(seed, "again", count, R, R) @ V
        V = make.leading(X, R)
    tau = make.log_uniform(seed, "tau", -1, 1, count, 1, 1)
    W = make.leading(torch.cat([X, tau * one], -2), R + 1)
    u = make.outside(one, V)
    u = u / u.norm(dim=-1, keepdim=True)
    off = (W.mT @ W - u.mT @ u) * make.across(counts)
    return make.rounding(make.largest(off), 1e-8)


statement(
    "affine-row",
    "Proposition 23.7",
    "P_{R+1}([X; τ1ᵀ])_ij = u_iu_j across clusters, u the direction of (I − P)1",
    _affine,
    {
        "independent subspaces": lambda: _affine(0, 50, dependent=True),
        "a constant outside row(X)": lambda: _affine(0, 50, inside=True),
    },
    form="identity",
)
