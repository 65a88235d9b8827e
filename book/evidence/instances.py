"""Random matrices for the checkers: prescribed spectra, unions of subspaces, perturbations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from evidence.statement import Sides
from subspace_lib import _random as rnd


def gaussian(seed: int, purpose: str, *shape: int) -> Tensor:
    """Standard normal float64 numbers from the stream (seed, purpose)."""
    return torch.from_numpy(rnd.generator(seed, purpose, 0).standard_normal(shape))


def uniform(seed: int, purpose: str, low: float, high: float, *shape: int) -> Tensor:
    """Uniform float64 numbers in [low, high) from the stream (seed, purpose)."""
    return torch.from_numpy(rnd.generator(seed, purpose, 0).uniform(low, high, shape))


def log_uniform(seed: int, purpose: str, low: float, high: float, *shape: int) -> Tensor:
    """10 to the power of uniform numbers in [low, high)."""
    return 10 ** uniform(seed, purpose, low, high, *shape)


def orthonormal(seed: int, purpose: str, count: int, size: int, columns: int) -> Tensor:
    """(count, size, columns) with orthonormal columns, uniformly distributed."""
    return torch.linalg.qr(gaussian(seed, purpose, count, size, columns)).Q


def with_spectrum(seed: int, purpose: str, m: int, n: int, spectrum: Tensor) -> Tensor:
    """(count, m, n) with singular values ``spectrum`` (count, k) and random singular vectors."""
    count, k = spectrum.shape
    U = orthonormal(seed, purpose + " left", count, m, k)
    V = orthonormal(seed, purpose + " right", count, n, k)
    return (U * spectrum[:, None, :]) @ V.mT


def one(left: float | Tensor, right: float | Tensor) -> Sides:
    """A single instance."""
    return Sides(*(torch.as_tensor([float(v)], dtype=torch.float64) for v in (left, right)))


def matrix(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def shape(seed: int, **limits: tuple[int, int]) -> list[int]:
    """One integer per keyword, drawn uniformly from its closed range; a batch shares its shape."""
    # named after what is drawn: two calls with one seed must not repeat the same random numbers
    g = rnd.generator(seed, "shape " + " ".join(limits), 0)
    return [int(g.integers(low, high + 1)) for low, high in limits.values()]


def flags(wrong: Tensor) -> Sides:
    """Sides of an equivalence or an event: 1 where ``wrong``, against 0."""
    return Sides(wrong.double(), torch.zeros(len(wrong), dtype=torch.float64))


def rounding(deviation: Tensor, allowed: float = 1e-10) -> Sides:
    """Sides of an identity: the deviation against what rounding may leave."""
    return Sides(deviation, torch.full_like(deviation, allowed))


def count_rank(A: Tensor, tolerance: float = 1e-9) -> Tensor:
    """Rank of each matrix of a batch, singular values up to tolerance · s_1 counted as zero."""
    s = torch.linalg.svdvals(A)
    return (s > tolerance * s[..., :1]).sum(-1)


LUCK = 25.0  # a correct statement is refuted by chance with probability below 2·exp(−25)


def chi_square(total: Tensor, freedom: Tensor) -> Sides:
    """Σ over the instances so far of χ² variables against its mean, the degrees of freedom.

    |χ²_D − D| ≤ 2√(Dx) + 2x but with probability 2e^{−x}: Laurent and Massart (2000), Lemma 1,
    doi:10.1214/aos/1015957395. Running sums, so that every instance sharpens the test.
    """
    total, D = total.cumsum(0), freedom.double().cumsum(0)
    return Sides((total - D).abs(), 2 * (D * LUCK).sqrt() + 2 * LUCK)


def connected(edges: Tensor) -> Tensor:
    """Whether each graph with adjacency ``edges`` (..., n, n, bool) is connected. Returns (...)."""
    n = edges.shape[-1]
    reach = edges | torch.eye(n, dtype=torch.bool)
    for _ in range(max(1, (n - 1).bit_length())):  # paths of length 2, 4, 8, … up to n
        reach = (reach.float() @ reach.float()) > 0
    return reach.all(-1).all(-1)


def join(*sides: Sides) -> Sides:
    """Several conclusions of one statement; those of one instance become one where they can."""
    return Sides(torch.cat([s.left for s in sides]), torch.cat([s.right for s in sides]))
