"""Row spaces, their projectors, and how far two of them are apart.

P_r(A) = V_r V_rᵀ projects R^n onto the span of the top r right singular vectors of A (m, n). It is
well defined if and only if s_r(A) > s_{r+1}(A).
"""

from __future__ import annotations

import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib import rowspace
from subspace_lib.rowspace import NORMS, sines, singular_values


@check.numpy_in_numpy_out
def row_basis(A: Tensor, rank: int) -> Tensor:
    """Top right singular vectors of A as orthonormal rows.

    A: (..., m, n). Returns V: (..., rank, n) with V Vᵀ = I and P_r(A) = Vᵀ V.
    The singular value decomposition is taken of A itself (of its triangular factor when n ≫ m):
    a Gram matrix would be faster and lose half of the digits.
    Raises ValueError if rank is outside 1..min(m, n), exceeds the numerical rank of A, or A holds
    NaN; TypeError for other than real floating-point input.

    >>> V = sl.row_basis(data.X, rank=6)
    >>> V.shape, torch.allclose(V @ V.mT, torch.eye(6).double())
    (torch.Size([6, 60]), True)
    """
    A = check.matrix(A, "A")
    r = check.rank_within(rank, A)
    space = rowspace.factor(A, r)
    if (space.rank < r).any():
        raise ValueError(
            f"rank must not exceed the numerical rank of A, got rank {r} with s_{r}(A) = "
            f"{float(space.value(r).min()):.2g}: its row space has fewer than {r} dimensions; "
            f"numerical_rank(A) suggests one"
        )
    return space.V


@check.numpy_in_numpy_out
def row_projector(A: Tensor, rank: int) -> Tensor:
    """P_r(A) = Vᵀ V: (..., n, n), symmetric and idempotent with trace r.

    A: (..., m, n). Raises as ``row_basis``. For n beyond some thousands keep the basis instead.

    >>> P = sl.row_projector(data.X, rank=6)
    >>> across = data.labels[:, None] != data.labels
    >>> bool((P[across].abs() < 1e-12).all())  # block diagonal
    True
    """
    A = check.matrix(A, "A")
    check.room(A.shape[:-2].numel() * A.shape[-1] ** 2, "A: its projector", A.device)
    V = row_basis(A, rank)
    return V.mT @ V


def numerical_rank(A: Tensor) -> int | Tensor:
    """Number of singular values above max(m, n) · eps · s_1.

    A: (..., m, n). Returns an int, or an integer tensor for a batch. It suggests a rank for exact
    data; for noisy data, where every singular value is positive, the rank is the caller's choice.
    """
    A = check.matrix(A, "A")
    count = rowspace.rank_of(singular_values(A), max(A.shape[-2:]), torch.finfo(A.dtype).eps)
    return int(count) if count.ndim == 0 else count


@check.numpy_in_numpy_out
def sin_theta(A: Tensor, B: Tensor, rank: int) -> Tensor:
    """Sines of the principal angles between the top-r row spaces, largest first.

    sin Θ = singular values of (I − Q) V_Aᵀ: from the residual, not from arccos of a cosine, which
    cannot see angles below 1e-8. A: (..., m, n), B: (..., p, n). Returns (..., rank) in [0, 1].
    Source: Björck and Golub (1973), doi:10.2307/2005662.
    """
    return sines(*_two_bases(A, B, rank, rank))


@check.numpy_in_numpy_out
def principal_angles(A: Tensor, B: Tensor, rank: int) -> Tensor:
    """Principal angles in radians between the top-r row spaces, largest first.

    Small angles come from their sines and large ones from their cosines; each is inaccurate where
    the other is good. A: (..., m, n), B: (..., p, n). Returns (..., rank) in [0, π/2].

    >>> print(*(f"{a:.3f}" for a in sl.principal_angles(data.X, noisy.X, rank=6)))
    0.021 0.018 0.015 0.013 0.010 0.008
    """
    V, U = _two_bases(A, B, rank, rank)
    cosine = singular_values(V @ U.mT).flip(-1)  # above 1 by rounding only where the sine is small
    sine = sines(V, U)
    return torch.where(sine < cosine, torch.asin(sine), torch.acos(cosine))


@check.numpy_in_numpy_out
def projection_distance(A: Tensor, B: Tensor, rank: int, norm: str = "max") -> Tensor:
    """‖P_r(A) − P_r(B)‖ in the entrywise maximum, spectral or Frobenius norm.

    A: (..., m, n), B: (..., p, n); only the columns must match. Returns (...).
    "max": largest absolute entry, computed in tiles, so that no n×n matrix is formed.
    "spectral" = largest sine; "fro" = √2 ‖sin Θ‖_F (equal ranks).
    Raises ValueError for another norm, mismatched columns, or a bad rank.

    >>> for norm in ("max", "spectral", "fro"):
    ...     print(norm, f"{sl.projection_distance(data.X, noisy.X, 6, norm):.3f}")
    max 0.004
    spectral 0.021
    fro 0.052
    """
    check.one_of(norm, NORMS, "norm")
    V, U = _two_bases(A, B, rank, rank)
    return rowspace.distance(V, U, norm)


@check.numpy_in_numpy_out
def containment_distance(A: Tensor, B: Tensor, rank: int, larger_rank: int) -> Tensor:
    """‖(I − Q) P‖, P = P_rank(A), Q = P_larger_rank(B): 0 when A's row space lies in B's.

    The sine of the largest angle from A's row space into B's larger one.
    A: (..., m, n), B: (..., p, n). Returns (...). Raises ValueError if larger_rank < rank.

    >>> Y = data.X + 1  # a bias: the constant direction comes in
    >>> [round(float(sl.projectors.containment_distance(data.X, Y, 6, q)), 2) for q in (6, 7)]
    [0.98, 0.0]
    """
    A, B = check.matrices(A=A, B=B)
    r, q = check.rank_within(rank, A), check.rank_within(larger_rank, B, "B", "larger_rank")
    if q < r:
        raise ValueError(
            f"larger_rank must be at least rank = {r}, got {q}: a space cannot lie in a smaller one"
        )
    return rowspace.largest_sine(*_two_bases(A, B, r, q))


def _two_bases(A: Tensor, B: Tensor, rank_A: int, rank_B: int) -> list[Tensor]:
    """Each basis in the precision of its matrix, then both in the finer one."""
    A, B = check.matrices(A=A, B=B)
    check.rank_within(rank_B, B, "B")
    bases, finer = (
        (row_basis(A, rank_A), row_basis(B, rank_B)),
        torch.promote_types(A.dtype, B.dtype),
    )
    return [V.to(finer) for V in bases]
