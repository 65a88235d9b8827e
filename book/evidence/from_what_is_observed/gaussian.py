"""Gaussian noise: what Theorem 10.7 says, written out from its statement.

Nothing here is taken from ``subspace_lib.certify``, which is compared with these lines.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from scipy.stats import norm
from torch import Tensor

from evidence import instances as make
from subspace_lib import _random as rnd

# The three events of the proof and their shares of the level: most to the one that carries b.
EVENTS = {"pairs": 0.7, "lengths": 0.1, "spectrum": 0.2}


class Quantiles(NamedTuple):
    """The numbers that depend on k, n and the level alone."""

    r: float  # of both orders of all pairs
    z: float  # of all points
    low: float  # eigenvalues of 𝓔𝓔ᵀ over σ², from below and from above
    high: float


def quantiles(k: int, n: int, level: float) -> Quantiles:
    pairs, lengths, spectrum = (share * level for share in EVENTS.values())
    r = math.sqrt(2 * math.log(n * (n - 1) / pairs))
    c = math.sqrt(2 * math.log(2 / spectrum))
    wide, narrow = math.sqrt(n - k), math.sqrt(k)
    low, high = max(wide - narrow - c, 0.0) ** 2, (wide + narrow + c) ** 2
    return Quantiles(r, float(norm.isf(lengths / n)), low, high)


class Estimate(NamedTuple):
    """P̂ and the b that it must exceed; b = ∞ where λ̂₁ ≤ ω."""

    P: Tensor  # (..., n, n)
    bound: Tensor  # (..., n, n)

    @property
    def links(self) -> Tensor:
        off = ~torch.eye(self.P.shape[-1], dtype=torch.bool)
        return (self.P.abs() > self.bound) & off


def estimate(
    T: Tensor,
    level: float,
    low: Tensor,
    high: Tensor | None = None,
    numbers: Quantiles | None = None,
) -> Estimate:
    """T (..., k, n) and σ (...), or an interval that holds σ, as in Corollary 10.11."""
    high = low if high is None else high
    k, n = T.shape[-2:]
    q = quantiles(k, n, level) if numbers is None else numbers
    below, above = low**2 * q.low, high**2 * q.high
    mu, omega = (below + above) / 2, (above - below) / 2
    eigenvalues, basis = torch.linalg.eigh(T @ T.mT - mu[..., None, None] * make.eye(k))
    first = eigenvalues[..., 0]
    usable = first > omega
    safe = torch.where(usable[..., None], eigenvalues, omega[..., None] + 1)
    solved = (basis.mT @ T) / safe[..., None]  # Ψ̂⁻¹T in the eigenvectors' basis
    least = safe[..., 0] - omega
    a = solved.norm(dim=-2)
    A = a * (safe[..., 0] / least)[..., None]
    g = A + (q.z * high / least)[..., None]
    one = (g[..., :, None] ** 2 + A[..., None, :] ** 2).sqrt()
    pairs = q.r * high[..., None, None] * torch.minimum(one, one.mT)
    spectrum = omega[..., None, None] * a[..., :, None] * A[..., None, :]
    bound = torch.where(usable[..., None, None], pairs + spectrum, math.inf)
    return Estimate((basis.mT @ T).mT @ solved, bound)


def events(T: Tensor, P: Tensor, sigma: Tensor, level: float) -> Tensor:
    """(..., 3): whether each event of the proof occurs, computed from the truth P."""
    k, n = T.shape[-2:]
    q, off = quantiles(k, n, level), ~torch.eye(n, dtype=torch.bool)
    X = T @ P
    E = T - X
    inverse = torch.linalg.inv(X @ X.mT)
    null = (P.abs() < 1e-9) & off
    gamma, seen = (inverse @ X).norm(dim=-2), (inverse @ T).norm(dim=-2)
    noise = (E.mT @ inverse @ T + X.mT @ inverse @ E).abs()
    allowed = (gamma[..., :, None] ** 2 + seen[..., None, :] ** 2).sqrt()
    too_much = (noise > q.r * sigma[..., None, None] * allowed) & null
    along = ((inverse @ X) * (inverse @ E)).sum(-2)  # of Ψ⁻¹ε_i along Ψ⁻¹x_i, times γ_i
    turned = (inverse @ inverse @ X).norm(dim=-2)
    # of rank n − k < k, E has the eigenvalue 0, which rounding may turn negative
    spectrum = torch.linalg.eigvalsh(E @ E.mT) / sigma[..., None] ** 2
    return torch.stack(
        [
            ~too_much.flatten(-2).any(-1),
            (along >= -q.z * sigma[..., None] * turned).all(-1),
            (spectrum[..., 0].clamp(min=0) >= q.low) & (spectrum[..., -1] <= q.high),
        ],
        -1,
    )


# Where k independent rows come from


def left_basis(Y: Tensor, k: int) -> Tensor:
    """The k leading left singular vectors, (..., p, k)."""
    return torch.linalg.svd(Y, full_matrices=False).U[..., :k]


def other_batch(Y: Tensor, other: Tensor, k: int) -> Tensor:
    """T = UᵀY with U from a batch whose noise is independent of Y's."""
    return left_basis(other, k).mT @ Y


def thinned(Y: Tensor, k: int, sigma: Tensor, G: Tensor, tau: float = 2.0) -> tuple[Tensor, Tensor]:
    """U from Y + τσG, T from Y − σG/τ: two noises that are independent. Returns T and its σ."""
    G = sigma[..., None, None] * G
    T = left_basis(Y + tau * G, k).mT @ (Y - G / tau)
    return T, sigma * math.sqrt(1 + tau**-2)


def halves(n: int, number: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Random splits of the columns, each one both ways: (columns for U, columns for T)."""
    found = []
    for number_ in range(number):
        order = torch.from_numpy(rnd.generator(seed, f"split {number_}", 0).permutation(n))
        one, two = order[: n // 2], order[n // 2 :]
        found += [(one, two), (two, one)]
    return found


def split_links(
    Y: Tensor, k: int, level: float, low: Tensor, high: Tensor, seed: int, splits: int = 3
) -> Tensor:
    """(..., n, n): the links of all splits together, each way at its share of the level."""
    n = Y.shape[-1]
    found = torch.zeros(*Y.shape[:-2], n, n, dtype=torch.bool)
    for learn, test in halves(n, splits, seed):
        T = other_batch(Y[..., test], Y[..., learn], k)
        part = estimate(T, level / (2 * splits), low, high).links
        found[..., test[:, None], test] |= part
    return found


# The noise level


def order(p: int, n: int, k: int) -> int:
    """Which singular value reads the noise level: fixed by the shape alone, before the data."""
    return min(2 * k + 1, p, n - k)


@cache
def laws(p: int, n: int, k: int, draws: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sorted draws of s_i(G) and s_{i−k}(G) for standard Gaussian G of p rows, n − k columns."""
    i = order(p, n, k)
    G = torch.from_numpy(rnd.generator(seed, "noise laws", 0).standard_normal((draws, p, n - k)))
    s = torch.linalg.svdvals(G)
    return s[:, i - 1].sort().values, s[:, i - k - 1].sort().values


def noise_interval(
    Y: Tensor, k: int, level: float, draws: int = 999, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """[σ_lo, σ_hi] (...), which holds σ but with probability ``level``; Proposition 10.10."""
    p, n = Y.shape[-2:]
    i = order(p, n, k)
    if i <= k:
        raise ValueError(f"a noise level needs more than k = {k} rows, and n > 2k; got {p} × {n}")
    rank = int(level / 2 * (draws + 1))
    if rank < 1:
        raise ValueError(f"level {level} needs at least {math.ceil(2 / level)} draws, got {draws}")
    lower, upper = laws(p, n, k, draws, seed)
    s = torch.linalg.svdvals(Y)[..., i - 1]
    return s / upper[draws - rank], s / lower[rank - 1]
