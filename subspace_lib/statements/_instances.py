"""Random matrices for the checkers: prescribed spectra, unions of subspaces, perturbations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from subspace_lib import _random as rnd
from subspace_lib.statements._registry import Sides


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
    g = rnd.generator(seed, "shape", 0)
    return [int(g.integers(low, high + 1)) for low, high in limits.values()]
