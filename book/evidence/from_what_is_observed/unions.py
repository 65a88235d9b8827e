"""Random unions of independent subspaces, seen through a linear layer and Gaussian noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from evidence import instances as make
from subspace_lib import _random as rnd

FREEDOM = 2.5  # of the heavy-tailed noise: a variance, and no more than that


class Union(NamedTuple):
    """Clean layers A (count, p, n) of rank r, their clusters, and a σ for each of them."""

    A: Tensor
    counts: list[int]
    r: int
    sigma: Tensor
    mixing: Tensor  # (count, p, r), p > 2r: what A does to the coefficients

    @property
    def across(self) -> Tensor:
        return make.across(self.counts)

    @property
    def P(self) -> Tensor:
        V = make.leading(self.A, self.r)
        return (V.mT @ V).masked_fill(self.across, 0)

    def again(self, seed: int) -> Tensor:
        """Another clean batch of the same source: the same layer, other coefficients."""
        sizes = [self.r // len(self.counts)] * len(self.counts)
        return self.mixing @ coefficients(seed, len(self.A), sizes, self.counts)


def coefficients(seed: int, count: int, dims: list[int], counts: list[int]) -> Tensor:
    blocks = [
        make.gaussian(seed, f"block {j}", count, d, n)
        for j, (d, n) in enumerate(zip(dims, counts, strict=True))
    ]
    return make.block_diagonal(blocks)


def union(seed: int, count: int, points: tuple[int, int] = (6, 20), rows: int = 12) -> Union:
    """Two or three clusters of one dimension, 1 to 3; condition numbers to 10, small angles."""
    K, d, p = make.shape(seed, K=(2, 3), d=(1, 3), p=(1, rows))
    counts = [max(3 * d + 1, n) for n in make.sizes(seed, "n", K, *points)]
    r = K * d
    spectrum = make.spectrum(seed, "angles", -1, 0, count, r)
    mixing = make.with_spectrum(seed, "mixing", 2 * r + p, r, spectrum)
    A = mixing @ coefficients(seed, count, [d] * K, counts)
    weakest = torch.linalg.svdvals(A)[:, r - 1]
    size = make.log_uniform(seed, "noise", -2.5, -0.3, count)
    return Union(A, counts, r, size * weakest / sum(counts) ** 0.5, mixing)


def heavy(seed: int, purpose: str, *shape: int) -> Tensor:
    """Student's t of FREEDOM degrees, scaled to variance one."""
    drawn = rnd.generator(seed, purpose, 0).standard_t(FREEDOM, shape)
    return torch.from_numpy(drawn) * ((FREEDOM - 2) / FREEDOM) ** 0.5


def with_room(P: Tensor, counts: list[int], k: int) -> Tensor:
    """P of rank r and k − r further directions, each of them inside one cluster.

    Directions orthogonal to P's row space and supported in one cluster, cluster by cluster;
    Proposition 10.9 needs Σ(n_a − r_a) ≥ k − r of them.
    """
    found, starts = P.clone(), [sum(counts[:a]) for a in range(len(counts))]
    missing = k - round(float(P[0].trace()))
    for start, n in zip(starts, counts, strict=True):
        block = slice(start, start + n)
        inside = found[:, block, block]
        rank = round(float(inside[0].trace()))
        more = min(missing, n - rank)
        # eigenvectors of the block to eigenvalue 0 come first
        V = torch.linalg.eigh(inside).eigenvectors[..., :more]
        found[:, block, block] = inside + V @ V.mT
        missing -= more
    if missing:
        raise ValueError(f"{sum(counts)} points have no room for a projector of rank {k}")
    return found
