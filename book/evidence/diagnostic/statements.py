"""Chapter 24, The diagnostic on your own model."""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_basis


def worst(*sides: tuple[Tensor, Tensor]) -> Sides:
    """Several conclusions about one instance as the largest left/right, against 1."""
    return make.ratios(*(left / (right + ROUNDING) for left, right in sides))


def _rows(seed: int, purpose: str, count: int, k: int, n: int) -> Tensor:
    return make.orthonormal(seed, purpose, count, n, k).mT


def _reading(R: Tensor, V: Tensor, D: Tensor, larger: Tensor) -> Sides:
    """Least squares, mean against maximum, and what a linear layer cannot add."""
    k, share = R.shape[-2], make.share(R, V)
    best, gamma = make.square(make.outside(R, V)), make.norm(make.outside(R, V)).square()
    return worst(
        ((best - k * (1 - share)).abs(), torch.zeros_like(share)),  # attained at D = RVᵀ
        (k * (1 - share), make.square(R - D @ V)),
        (gamma, k * (1 - share)),
        (1 - share, gamma),
        (share, larger),
    )


def _sizes(seed: int) -> tuple[int, int, int, int, int]:
    p, more, k, h = make.shape(seed, p=(1, 4), more=(1, 4), k=(1, 3), h=(1, 4))
    n = max(p, k) + more
    (q,) = make.shape(seed, q=(1, min(p, h)))
    return p, n, k, h, q


def _readings(seed: int, count: int, activation: bool = False) -> Sides:
    """R against the leading q rows of Z = WY; Y itself close to R in some instances."""
    p, n, k, h, q = _sizes(seed)
    R = _rows(seed, "R", count, k, n)
    near = make.log_uniform(seed, "near", -3, 1, count, 1, 1)
    Y = make.gaussian(seed, "M", count, p, k) @ R + near * make.gaussian(seed, "Y", count, p, n)
    Z = make.gaussian(seed, "W", count, h, p) @ Y
    V = row_basis(torch.relu(Z) if activation else Z, q)
    D = R @ V.mT + near * make.gaussian(seed, "D", count, k, q)
    return _reading(R, V, D, make.share(R, row_basis(Y, p)))


def _equal_sines() -> Sides:
    """Of k = 2 sines both are .8, and 1 − share = γ²; or one is 0, and 1 − share = γ²/2."""
    V, found = make.eye(4)[:2], []
    for turned in ((0.8, 0.8), (0.8, 0.0)):
        sine = make.vector(*turned)
        R = torch.cat([torch.diag((1 - sine.square()).sqrt()), torch.diag(sine)], 1)
        missed, gamma = 1 - make.share(R, V), make.norm(make.outside(R, V)).square()
        both_ends = (missed, gamma) if turned[1] else (gamma / 2, missed)
        found += [
            make.one(*both_ends),
            _reading(R[None], V[None], (R @ V.mT)[None], make.vector(1)),
        ]
    return make.every(*found)


def _long_rows() -> Sides:
    """R = (2, 0) is no orthonormal row: its part outside V = (0, 1) is 4, not 1."""
    R, V = make.matrix([[2, 0]]), make.matrix([[0, 1]])
    return _reading(R[None], V[None], (R @ V.mT)[None], make.vector(1))


def _activated() -> Sides:
    """Y = (1, −1) holds nothing of R = (1, 1)/√2, relu(Y) = (1, 0) half of it."""
    R, Y = make.matrix([[1, 1]]) / 2**0.5, make.matrix([[1, -1]])
    V = row_basis(torch.relu(Y), 1)
    return _reading(R[None], V[None], (R @ V.mT)[None], make.share(R, row_basis(Y, 1))[None])


statement(
    "share-says",
    "Proposition 24.1",
    "min_D ‖R − DV‖_F² = k(1 − share), γ²/k ≤ 1 − share ≤ γ², share(WY) ≤ share(Y)",
    _readings,
    {"orthonormal rows": _long_rows, "a linear layer": _activated},
    _equal_sines,
)
